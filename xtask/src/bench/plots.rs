//! The charts of the page.

use super::figures::{Figures, Store};
use super::generator::Latency;
use super::plot::{Axis, Chart, Look, Series};

type Quantile = fn(Latency) -> f64;

/// Files and what is in them.
pub(super) fn render(figures: &Figures) -> [(&'static str, String); 2] {
    [("throughput.svg", throughput(figures).svg()), ("latency.svg", latency(figures).svg())]
}

fn throughput(figures: &Figures) -> Chart {
    let series: Vec<_> = figures
        .stores
        .iter()
        .map(|store| {
            let points = store.single.iter().map(|runs| {
                let jobs = &runs.median().jobs;
                (f64::from(jobs.clients), jobs.jobs_per_second)
            });
            Series {
                name: store.store.name().to_owned(),
                look: look(store.store, false),
                points: points.collect(),
            }
        })
        .collect();
    let mut connections: Vec<f64> = points(&series).map(|(x, _)| x).collect();
    connections.sort_by(f64::total_cmp);
    connections.dedup();
    let most = points(&series).map(|(_, y)| y).fold(0.0, f64::max);
    Chart {
        title: "Completed jobs per second against connections",
        x: Axis::at("connections that submit single jobs", connections),
        y: Axis::linear("jobs/s", most),
        series,
    }
}

fn latency(figures: &Figures) -> Chart {
    let quantiles: [(&str, Quantile); 2] = [("p50", |it| it.p50), ("p99", |it| it.p99)];
    let series: Vec<_> = figures
        .stores
        .iter()
        .flat_map(|store| {
            quantiles.map(|(name, of)| {
                let point = |run: &super::figures::JobRun| Some((run.jobs.rate?, of(run.jobs.end_to_end_ms)));
                Series {
                    name: format!("{} {name}", store.store.name()),
                    look: look(store.store, name == "p99"),
                    points: store.rates.iter().filter_map(point).collect(),
                }
            })
        })
        .collect();
    let range = |of: fn((f64, f64)) -> f64| {
        let values = points(&series).map(of);
        values.clone().fold(f64::INFINITY, f64::min)..values.fold(0.0, f64::max)
    };
    let (rates, millis) = (range(|(x, _)| x), range(|(_, y)| y));
    Chart {
        title: "Time from submission to completion against the rate",
        x: Axis::logarithmic("jobs/s on a schedule", rates.start, rates.end),
        y: Axis::logarithmic("ms", millis.start, millis.end),
        series,
    }
}

fn points(series: &[Series]) -> impl Iterator<Item = (f64, f64)> + Clone {
    series.iter().flat_map(|series| series.points.iter().copied())
}

fn look(store: Store, dashed: bool) -> Look {
    Look { second_colour: store == Store::Postgres, dashed }
}

#[cfg(test)]
mod tests {
    use super::super::page::tests::figures;
    use super::*;

    #[test]
    fn charts_show_what_was_measured() {
        let figures = figures();
        let throughput = throughput(&figures);
        assert_eq!(throughput.x.ticks, [1.0, 64.0]);
        assert_eq!(throughput.series[0].points, [(1.0, 1_300.0), (64.0, 12_345.6)]);
        let latency = latency(&figures);
        let lines: Vec<_> = latency.series.iter().map(|it| (it.name.as_str(), it.points.clone())).collect();
        assert_eq!(lines, [("SQLite p50", vec![(20.0, 2.5)]), ("SQLite p99", vec![(20.0, 36.0)])]);
        assert_eq!(render(&figures).map(|(name, _)| name), ["throughput.svg", "latency.svg"]);
    }
}
