//! Learning of the ends of jobs from the server's event stream.
//!
//! Only events that end a job are asked for; in them the line that names the kind is looked at, and the stream's name.

use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;
use uuid::Uuid;

use super::collect::{End, Note};
use super::connection::{CallError, Target};
use super::submit::find;

/// Pause before a new connection after one that ended.
const RECONNECT: Duration = Duration::from_millis(200);

/// Reports the end of every job after `position`, for ever; after a break it goes on where it was.
pub(super) async fn follow(target: Target, position: u64, notes: Sender<Note>) {
    let mut scanner = Scanner { position, ..Scanner::default() };
    loop {
        let error = read(&target, &mut scanner, &notes).await;
        if let Err(error) = error {
            let kind = match error {
                CallError::Busy { status, .. } | CallError::Refused(status) => {
                    format!("events: HTTP {}", status.as_u16())
                }
                CallError::Broken(what) => format!("events: broken {what}"),
            };
            // Nobody listening means that it is over.
            let _ = notes.send(Note::Trouble(kind)).await;
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn read(target: &Target, scanner: &mut Scanner, notes: &Sender<Note>) -> Result<(), CallError> {
    let mut connection = target.connect().await?;
    let path = format!("/v1/events?after={}&kinds=JobCompleted,JobFailed,JobCancelled", scanner.position);
    let mut body = connection.stream(&path).await?;
    scanner.restart();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| CallError::Broken("stream"))?;
        let Some(bytes) = frame.data_ref() else { continue };
        let at = Instant::now();
        let mut ends = Vec::new();
        scanner.scan(bytes, |job, end| ends.push((job, end)));
        if !ends.is_empty() {
            // As above.
            let _ = notes.send(Note::Ended { ends, at }).await;
        }
    }
    Ok(())
}

/// Finds the ends of jobs in a byte stream that may be cut anywhere.
#[derive(Default)]
struct Scanner {
    /// The last event whose id was seen.
    position: u64,
    /// The beginning of a line whose end has not come yet.
    pending: Vec<u8>,
    /// What the event says whose data line comes next.
    end: Option<End>,
}

impl Scanner {
    /// Forgets what a broken connection left.
    fn restart(&mut self) {
        self.pending.clear();
        self.end = None;
    }

    fn scan(&mut self, bytes: &[u8], mut each: impl FnMut(u128, End)) {
        let mut rest = bytes;
        while let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(length);
            if self.pending.is_empty() {
                self.line(line, &mut each);
            } else {
                let mut whole = std::mem::take(&mut self.pending);
                whole.extend_from_slice(line);
                self.line(&whole, &mut each);
                whole.clear();
                self.pending = whole;
            }
            rest = &after[1..];
        }
        self.pending.extend_from_slice(rest);
    }

    fn line(&mut self, line: &[u8], each: &mut impl FnMut(u128, End)) {
        if let Some(kind) = line.strip_prefix(b"event: ") {
            self.end = match kind {
                b"JobCompleted" => Some(End::Completed),
                b"JobFailed" | b"JobCancelled" => Some(End::Failed),
                // Everything else ends no job.
                _ => None,
            };
        } else if let Some(id) = line.strip_prefix(b"id: ") {
            let id = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
            self.position = id.unwrap_or(self.position);
        } else if let Some(data) = line.strip_prefix(b"data: ")
            && let Some(end) = self.end.take()
            && let Some(job) = job_of(data)
        {
            each(job, end);
        }
    }
}

/// The job of an exported event. Its stream stands near the beginning.
fn job_of(data: &[u8]) -> Option<u128> {
    const KEY: &[u8] = b"\"stream\":\"job-";
    let at = find(data, KEY)? + KEY.len();
    Uuid::try_parse_ascii(data.get(at..at + 36)?).ok().map(|id| id.as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_found_wherever_the_stream_is_cut() {
        let (a, b) = (Uuid::from_u128(0xA), Uuid::from_u128(0xB));
        let stream = format!(
            "retry: 1000\n\nid: 5\nevent: StageCompleted\ndata: {{\"position\":5,\"stream\":\"job-{a}\"}}\n\n:\n\n\
             id: 6\nevent: JobCompleted\ndata: {{\"position\":6,\"stream\":\"job-{a}\"}}\n\n\
             id: 7\nevent: JobFailed\ndata: {{\"position\":7,\"stream\":\"job-{b}\"}}\n\n"
        );
        for cut in 0..stream.len() {
            let mut scanner = Scanner::default();
            let mut ends = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                scanner.scan(part.as_bytes(), |job, end| ends.push((job, end)));
            }
            assert_eq!(ends, [(0xA, End::Completed), (0xB, End::Failed)], "cut at {cut}");
            assert_eq!(scanner.position, 7);
        }
    }
}
