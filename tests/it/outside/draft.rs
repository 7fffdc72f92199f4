//! A draft is read while it is written, by whoever comes, whenever they come.

use std::time::Duration;

use quillwork_tests::outside::{config, start};
use quillwork_tests::server::Server;
use quillwork_tests::stack::PATIENCE;
use quillwork_tests::world::Answer;
use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::sync::watch;

use super::world;

const ARTICLE: &str = "# Leap seconds\n\nA leap second is added to keep clocks near the turning of the earth. [1]\n\nComputers that count seconds without them run ahead of the clocks of people. [1]\n";

/// A reader of a job's stream.
struct Reader {
    response: reqwest::Response,
    buffer: String,
    /// The draft as far as it was read.
    draft: String,
}

impl Reader {
    async fn of(server: &Server, id: &str) -> Self {
        let request = server.client.get(format!("{}/v1/jobs/{id}/stream", server.url));
        let response = request.header("accept", "text/event-stream").send().await.unwrap();
        Self { response, buffer: String::new(), draft: String::new() }
    }

    /// The next message: its event and its data.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((message, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
                let found = field("event: ").zip(field("data: "));
                let found =
                    found.map(|(event, data)| (event.to_owned(), serde_json::from_str(data).unwrap()));
                self.buffer = rest.to_owned();
                if let Some(found) = found {
                    return found;
                }
                continue;
            }
            let chunk = self.response.chunk().await.unwrap().unwrap();
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Reads on until something is written, or until the job has ended; returns the event.
    async fn read(&mut self) -> String {
        let (event, data) = self.next().await;
        if event == "draft" {
            let offset = usize::try_from(data["offset"].as_u64().unwrap()).unwrap();
            self.draft.truncate(offset);
            assert_eq!(self.draft.len(), offset, "nothing is missing");
            self.draft.push_str(data["text"].as_str().unwrap());
        }
        event
    }

    async fn read_until(&mut self, done: impl Fn(&str, &str) -> bool) {
        let read = async {
            loop {
                let event = self.read().await;
                if done(&event, &self.draft) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE + Duration::from_secs(30), read).await.unwrap();
    }
}

#[tokio::test]
async fn early_and_late_readers_see_the_same_draft_before_it_is_finished() {
    let (dir, world) = (tempdir().unwrap(), world().await);
    let (go_on, held) = watch::channel(false);
    world.model(move |_, _| Answer::Held(ARTICLE.to_owned(), held.clone()));
    let server = start(dir.path(), &config(dir.path(), &world, ""));
    let id = server.submit(json!({"topic": "leap seconds"})).await;
    let mut early = Reader::of(&server, &id).await;
    early.read_until(|_, draft| !draft.is_empty()).await;
    let mut late = Reader::of(&server, &id).await;
    late.read_until(|_, draft| !draft.is_empty()).await;
    assert!(ARTICLE.starts_with(&late.draft) && late.draft.len() < ARTICLE.len(), "{}", late.draft);

    go_on.send(true).unwrap();
    for reader in [&mut early, &mut late] {
        reader.read_until(|event, _| event == "JobCompleted").await;
        assert_eq!(reader.draft, ARTICLE);
    }
}
