//! Runs of `quillwork bench`, and what they say.

use std::path::Path;
use std::process::{Child, Output, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::server::command;

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

/// What is used of the report of a load of jobs.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Jobs {
    pub(super) clients: u32,
    pub(super) batch: u32,
    /// Jobs per second on a schedule; None for as fast as answers come.
    pub(super) rate: Option<f64>,
    pub(super) jobs_completed: u64,
    pub(super) jobs_per_second: f64,
    pub(super) submit_ms: Latency,
    pub(super) end_to_end_ms: Latency,
    pub(super) schedule: Option<Schedule>,
}

/// How the schedule was kept.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Schedule {
    pub(super) overdue: u64,
    pub(super) timer_late_ms: Latency,
}

/// What is used of the report of a load of queries.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Queries {
    pub(super) clients: u32,
    pub(super) queries_answered: u64,
    pub(super) queries_per_second: f64,
    pub(super) query_ms: Latency,
}

/// A load of jobs to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) jobs: u64,
    pub(super) clients: u32,
    pub(super) batch: u32,
    pub(super) rate: Option<f64>,
}

impl Order {
    fn args(&self) -> Vec<String> {
        let mut args = vec![
            "--jobs".to_owned(),
            self.jobs.to_string(),
            "--clients".to_owned(),
            self.clients.to_string(),
            "--batch".to_owned(),
            self.batch.to_string(),
        ];
        if let Some(rate) = self.rate {
            args.extend(["--rate".to_owned(), rate.to_string()]);
        }
        args
    }
}

/// Runs a load of jobs to its end.
pub(super) fn jobs(binary: &Path, url: &str, order: &Order) -> Result<Jobs> {
    run(binary, url, &order.args())
}

/// Asks for jobs that the server has.
pub(super) fn queries(binary: &Path, url: &str, queries: u64, clients: u32) -> Result<Queries> {
    let args = ["--queries", &queries.to_string(), "--clients", &clients.to_string()];
    run(binary, url, &args.map(str::to_owned))
}

/// A load of jobs that goes on beside other measurements, until it is dropped.
pub(super) struct Background {
    child: Child,
}

impl Background {
    pub(super) fn start(binary: &Path, url: &str, order: &Order) -> Result<Self> {
        let mut command = command(binary);
        command.args(["bench", "--server", url]).args(order.args());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Self { child: child.context("cannot run quillwork bench")? })
    }

    /// Fails if the load came to its end before what was measured beside it.
    pub(super) fn end(mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the load beside the queries ended early, with {status}"),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run<T: DeserializeOwned>(binary: &Path, url: &str, args: &[String]) -> Result<T> {
    let mut command = command(binary);
    command.args(["bench", "--json", "--server", url]).args(args);
    let output = command.output().context("cannot run quillwork bench")?;
    read(&output).with_context(|| format!("quillwork bench {} failed", args.join(" ")))
}

fn read<T: DeserializeOwned>(output: &Output) -> Result<T> {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("{}: {stdout}{stderr}", output.status);
    }
    serde_json::from_str(&stdout).context("its report is not what was expected")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_jobs_is_read() {
        let report = r#"{"server":"http://x","pipeline":"echo","jobs":300,"clients":4,"batch":1,"rate":20.0,
            "jobs_accepted":300,"jobs_completed":300,"jobs_failed":0,"jobs_unfinished":0,"seconds":15.1,
            "jobs_per_second":19.9,"submitted_per_second":20.0,
            "submit_ms":{"p50":1.5,"p90":2.0,"p99":3.25,"p999":4.0,"max":4.5,"mean":1.6},
            "end_to_end_ms":{"p50":2.5,"p90":3.0,"p99":5.0,"p999":6.0,"max":7.0,"mean":2.6},
            "submit_histogram":[{"from_ms":1.0,"to_ms":1.5,"count":150}],"end_to_end_histogram":[],
            "schedule":{"overdue":2,"timer_late_ms":{"p50":0.5,"p90":1.0,"p99":1.5,"p999":2.0,"max":3.0,"mean":0.6}},
            "errors":{}}"#;
        let jobs: Jobs = serde_json::from_str(report).unwrap();
        assert_eq!((jobs.jobs_per_second, jobs.rate), (19.9, Some(20.0)));
        assert_eq!(jobs.submit_ms, Latency { p50: 1.5, p99: 3.25, max: 4.5 });
        assert_eq!(jobs.schedule.unwrap().overdue, 2);
    }

    #[test]
    fn the_report_of_queries_is_read() {
        let report = r#"{"server":"http://x","queries":10,"clients":2,"rate":null,"jobs_known":5,
            "queries_answered":10,"queries_refused":0,"seconds":0.1,"queries_per_second":100.0,
            "query_ms":{"p50":0.1,"p90":0.2,"p99":0.3,"p999":0.4,"max":0.5,"mean":0.1},
            "query_histogram":[],"schedule":null,"errors":{}}"#;
        let queries: Queries = serde_json::from_str(report).unwrap();
        assert_eq!((queries.queries_answered, queries.query_ms.p99), (10, 0.3));
    }

    #[test]
    fn an_order_is_a_command_line() {
        let order = Order { jobs: 300, clients: 4, batch: 1, rate: Some(20.0) };
        assert_eq!(order.args().join(" "), "--jobs 300 --clients 4 --batch 1 --rate 20");
    }
}
