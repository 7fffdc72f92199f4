//! Following server-sent events without losing one: after a break, on from the last id.

use std::time::{Duration, Instant};

use reqwest::Url;
use reqwest::header::ACCEPT;

use super::Server;
use crate::exit::Unreachable;
use crate::output;

/// Wait before a new connection after one that ended.
const PAUSE: Duration = Duration::from_millis(500);

/// A server that was there may stay away this long: a restart, an upgrade.
const PATIENCE: Duration = Duration::from_secs(120);

/// A stream of events with the means to take it up again.
pub(crate) struct Follower<'a> {
    server: &'a Server,
    url: Url,
    last_id: Option<String>,
}

/// What a callback wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    More,
    Enough,
}

/// One server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SseMessage {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: String,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(server: &'a Server, url: Url) -> Self {
        Self { server, url, last_id: None }
    }

    /// Calls `each` for every message until it has enough.
    ///
    /// Fails if the server refuses, was never there or stays away for long.
    pub(crate) async fn follow(
        mut self,
        mut each: impl AsyncFnMut(SseMessage) -> anyhow::Result<Followed>,
    ) -> anyhow::Result<()> {
        let mut lost: Option<Instant> = None;
        loop {
            let request = |http: &reqwest::Client| {
                let request = http.get(self.url.clone()).header(ACCEPT, "text/event-stream");
                match &self.last_id {
                    Some(id) => request.header("Last-Event-ID", id),
                    None => request,
                }
            };
            let mut answer = match self.server.call(request).await {
                Ok(answer) => answer,
                Err(error)
                    if error.is::<Unreachable>() && lost.is_some_and(|lost| lost.elapsed() < PATIENCE) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut parser = Parser::default();
            loop {
                match answer.chunk().await {
                    Ok(Some(chunk)) => {
                        for message in parser.push(&chunk) {
                            if message.id.is_some() {
                                self.last_id.clone_from(&message.id);
                            }
                            if each(message).await? == Followed::Enough {
                                return Ok(());
                            }
                        }
                    }
                    Ok(None) => break,
                    Err(_) => {
                        output::note("the connection was lost; connecting again");
                        break;
                    }
                }
            }
            lost = Some(Instant::now());
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Cuts a byte stream into messages.
#[derive(Default)]
struct Parser {
    buffer: Vec<u8>,
    message: SseMessage,
}

impl Parser {
    fn push(&mut self, chunk: &[u8]) -> Vec<SseMessage> {
        self.buffer.extend_from_slice(chunk);
        let mut messages = Vec::new();
        let mut from = 0;
        while let Some(length) = self.buffer[from..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.buffer[from..from + length]);
            let line = line.strip_suffix('\r').unwrap_or(&line);
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "" if line.is_empty() => {
                    let message = std::mem::take(&mut self.message);
                    if !message.data.is_empty() {
                        messages.push(message);
                    }
                }
                "id" => self.message.id = Some(value.to_owned()),
                "event" => self.message.event = value.to_owned(),
                "data" => {
                    if !self.message.data.is_empty() {
                        self.message.data.push('\n');
                    }
                    self.message.data.push_str(value);
                }
                // Comments keep the connection alive; `retry` and the unknown are ignored, as the standard says.
                _ => {}
            }
            from += length + 1;
        }
        self.buffer.drain(..from);
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_may_be_cut_anywhere() {
        let stream =
            b": hello\n\nid: 7\nevent: JobCompleted\ndata: {\"a\":\ndata: 1}\n\nretry: 5\ndata:x\r\n\r\n";
        let expected = [
            SseMessage { id: Some("7".into()), event: "JobCompleted".into(), data: "{\"a\":\n1}".into() },
            SseMessage { id: None, event: String::new(), data: "x".into() },
        ];
        for cut in 0..stream.len() {
            let mut parser = Parser::default();
            let mut messages = parser.push(&stream[..cut]);
            messages.extend(parser.push(&stream[cut..]));
            assert_eq!(messages, expected, "cut at {cut}");
        }
    }
}
