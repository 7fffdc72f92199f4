//! Bytes of an answer, and nobody's more than they should be.

use bytes::Bytes;
use eventsource_stream::{EventStreamError, Eventsource as _};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use reqwest::Response;

/// One event: a few words of text and what stands around them.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// All events: a long answer takes some hundred bytes for each word.
const MAX_STREAM_BYTES: usize = 64 * 1024 * 1024;

/// Why an answer could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the connection broke: {0}")]
    Connection(String),
    #[error("{0}")]
    Malformed(&'static str),
    /// It is not read any further.
    #[error("{0}")]
    TooMuch(&'static str),
}

/// The data of the events of an answer, in order.
pub(super) fn events(response: Response) -> BoxStream<'static, Result<String, Broken>> {
    let bytes = response.bytes_stream().map(|chunk| chunk.map_err(broken));
    data(bytes, MAX_EVENT_BYTES, MAX_STREAM_BYTES).boxed()
}

fn data(
    bytes: impl Stream<Item = Result<Bytes, Broken>>,
    max_event: usize,
    max_all: usize,
) -> impl Stream<Item = Result<String, Broken>> {
    let (mut n_all, mut n_event) = (0_usize, 0_usize);
    let mut is_line_start = true;
    let mut bounded = move |line: &[u8]| {
        // An empty line ends an event.
        let ends_event = is_line_start && matches!(line, b"\n" | b"\r\n");
        is_line_start = line.ends_with(b"\n");
        n_event = if ends_event { 0 } else { n_event + line.len() };
        n_all += line.len();
        if n_event > max_event {
            return Err(Broken::TooMuch("a single event of its stream is over 1 MB"));
        }
        if n_all > max_all {
            return Err(Broken::TooMuch("its stream is over 64 MB"));
        }
        Ok(())
    };
    // Line by line, because the parser copies all that it has for each line in it.
    let lines = bytes.map(|chunk| match chunk {
        Ok(chunk) => {
            chunk.split_inclusive(|byte| *byte == b'\n').map(|line| Ok(chunk.slice_ref(line))).collect()
        }
        Err(error) => vec![Err(error)],
    });
    let lines = lines.flat_map(futures::stream::iter);
    let bounded =
        lines.map(move |line: Result<Bytes, Broken>| line.and_then(|line| bounded(&line).map(|()| line)));
    bounded.eventsource().map(|event| match event {
        Ok(event) => Ok(event.data),
        Err(EventStreamError::Transport(broken)) => Err(broken),
        Err(EventStreamError::Utf8(_)) => Err(Broken::Malformed("its stream is not UTF-8")),
        Err(EventStreamError::Parser(_)) => Err(Broken::Malformed("its stream is not one of events")),
    })
}

/// The first `max` bytes of a body, as text; and whether that was all.
pub(super) async fn body(mut response: Response, max: usize) -> Result<(String, bool), Broken> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        let room = max - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok((String::from_utf8_lossy(&body).into_owned(), false));
        }
    }
    Ok((String::from_utf8_lossy(&body).into_owned(), true))
}

/// The whole story of a failed connection, without the address: it is known, and may be long.
pub(super) fn broken(error: reqwest::Error) -> Broken {
    let error = error.without_url();
    let mut story = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        story = format!("{story}: {cause}");
        source = cause.source();
    }
    Broken::Connection(story)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All events, up to the first error.
    async fn read(chunks: Vec<Vec<u8>>) -> Vec<Result<String, String>> {
        let chunks = futures::stream::iter(chunks.into_iter().map(|chunk| Ok(Bytes::from(chunk))));
        let events = data(chunks, 1_000, 10_000);
        futures::pin_mut!(events);
        let mut read = Vec::new();
        while let Some(event) = events.next().await {
            let is_error = event.is_err();
            read.push(event.map_err(|error| error.to_string()));
            if is_error {
                break;
            }
        }
        read
    }

    #[tokio::test]
    async fn events_come_however_they_are_cut() {
        let text = ": comment\n\ndata: {\"a\":\"\u{e9}\"}\r\n\r\nevent: x\ndata: b\n\n: c\n\ndata: [DONE]\n\ndata: cut";
        for size in 1..text.len() {
            let chunks = text.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
            let expected = ["{\"a\":\"\u{e9}\"}", "b", "[DONE]"].map(|data| Ok(data.to_owned()));
            assert_eq!(read(chunks).await, expected, "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn nothing_is_read_without_end() {
        let line = [b"data: ".to_vec(), vec![b'x'; 1_000]];
        let error = read(line.to_vec()).await;
        assert_eq!(error, [Err("a single event of its stream is over 1 MB".to_owned())]);
        let events = vec![b": ping\n\n".repeat(100); 13];
        assert_eq!(read(events).await, [Err("its stream is over 64 MB".to_owned())]);
        let binary = vec![b"data: \xff\xff\n\n".to_vec()];
        assert_eq!(read(binary).await, [Err("its stream is not UTF-8".to_owned())]);
    }
}
