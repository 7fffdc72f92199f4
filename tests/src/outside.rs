//! The real binary in front of a [`World`]: its configuration, and what its events say.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::server::Server;
use crate::world::World;

/// A configuration with the world's search and model, written into `dir`. `more` are lines of TOML for the end.
pub fn config(dir: &Path, world: &World, more: &str) -> PathBuf {
    let path = dir.join("quillwork.toml");
    let addr = world.addr;
    let text = format!(
        r#"
log = "info"

[research]
search = ["web"]

[search.web]
kind = "searxng"
url = "http://{addr}"

[fetch]
allow_private_hosts = ["{addr}"]
delay = "1ms"
per_host = 20

[models.first]
url = "http://{addr}/v1"
model = "test-1"

[prices]
version = "test"
models."test-1" = {{ input = 1.0, output = 10.0 }}

[pipelines.article]
stages = [
  {{ handler = "research", backoff = {{ initial = "1ms", max = "1ms" }} }},
  {{ handler = "generation", backoff = {{ initial = "1ms", max = "1ms" }} }},
]
{more}
"#
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// Starts the binary on a data directory in `dir` with the configuration there.
pub fn start(dir: &Path, config: &Path) -> Server {
    Server::start(&dir.join("data"), &["--config", config.to_str().unwrap()])
}

/// The data of a job's events of one kind, in order.
pub async fn events(server: &Server, id: &str, kind: &str) -> Vec<Value> {
    let events = server.get(&format!("/v1/jobs/{id}/events")).await;
    let items = events["items"].as_array().unwrap();
    items.iter().filter(|event| event["kind"] == kind).map(|event| event["data"].clone()).collect()
}

/// The keys of the steps that a job has recorded, in order.
pub async fn steps(server: &Server, id: &str) -> Vec<String> {
    let recorded = events(server, id, "StepRecorded").await;
    recorded.iter().map(|step| step["step_key"].as_str().unwrap().to_owned()).collect()
}

/// The article of a completed job.
pub async fn article(server: &Server, id: &str) -> Value {
    let request = server.client.get(format!("{}/v1/jobs/{id}/result", server.url));
    let response = request.header("accept", "application/json").send().await.unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    response.json().await.unwrap()
}
