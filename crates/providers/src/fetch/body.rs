//! Takes in a body up to a limit, counted as it unpacks.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use reqwest::Response;
use reqwest::header::CONTENT_ENCODING;
use url::Url;

use crate::fetch::setback::Setback;
use crate::fetch::web::broken;

/// The bytes of a body without its content coding, and whether they are all.
pub(super) async fn take(mut response: Response, url: &Url, max: usize) -> Result<(Vec<u8>, bool), Setback> {
    let mut unpacking = Unpacking::new(&coding(&response), max).ok_or_else(|| {
        Setback::skip(format!("{url} is packed in a way that was not asked for; only gzip is read"))
    })?;
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error, url))? {
        match unpacking.push(&chunk) {
            Ok(()) => {}
            Err(_) if unpacking.is_full() => return Ok((unpacking.into_bytes(), false)),
            Err(error) => return Err(damaged(url, &error)),
        }
    }
    match unpacking.finish() {
        Ok(()) => Ok((unpacking.into_bytes(), true)),
        Err(_) if unpacking.is_full() => Ok((unpacking.into_bytes(), false)),
        Err(error) => Err(damaged(url, &error)),
    }
}

fn coding(response: &Response) -> String {
    let values = response.headers().get_all(CONTENT_ENCODING).iter();
    let codings: Vec<_> =
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase()).collect();
    codings.join(",")
}

fn damaged(url: &Url, error: &io::Error) -> Setback {
    Setback::passing(format!("{url} came damaged: cannot unpack it: {error}"))
}

enum Unpacking {
    Plain(Bounded),
    Gzip(MultiGzDecoder<Bounded>),
}

impl Unpacking {
    fn new(coding: &str, max: usize) -> Option<Self> {
        let bounded = Bounded { bytes: Vec::new(), max, full: false };
        match coding {
            "" | "identity" => Some(Self::Plain(bounded)),
            "gzip" | "x-gzip" => Some(Self::Gzip(MultiGzDecoder::new(bounded))),
            _ => None,
        }
    }

    fn push(&mut self, chunk: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(bounded) => bounded.write_all(chunk),
            Self::Gzip(decoder) => decoder.write_all(chunk),
        }
    }

    /// Fails if the end is missing.
    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(decoder) => decoder.try_finish(),
        }
    }

    fn is_full(&self) -> bool {
        self.bounded().full
    }

    fn bounded(&self) -> &Bounded {
        match self {
            Self::Plain(bounded) => bounded,
            Self::Gzip(decoder) => decoder.get_ref(),
        }
    }

    fn into_bytes(mut self) -> Vec<u8> {
        match &mut self {
            Self::Plain(bounded) => std::mem::take(&mut bounded.bytes),
            Self::Gzip(decoder) => std::mem::take(&mut decoder.get_mut().bytes),
        }
    }
}

/// Takes as many bytes as it may, and fails on the next one.
struct Bounded {
    bytes: Vec<u8>,
    max: usize,
    full: bool,
}

impl Write for Bounded {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        let room = self.max - self.bytes.len();
        if room == 0 && !chunk.is_empty() {
            self.full = true;
            return Err(io::Error::other("it is larger than allowed"));
        }
        let taken = chunk.get(..room).unwrap_or(chunk);
        self.bytes.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Feeds `packed` in small pieces; `Err` tells whether the limit was met.
    fn unpack(coding: &str, packed: &[u8], max: usize) -> Result<Vec<u8>, bool> {
        let mut unpacking = Unpacking::new(coding, max).unwrap();
        for chunk in packed.chunks(100) {
            unpacking.push(chunk).map_err(|_| unpacking.is_full())?;
            assert!(unpacking.bounded().bytes.len() <= max);
        }
        unpacking.finish().map_err(|_| unpacking.is_full())?;
        Ok(unpacking.into_bytes())
    }

    #[test]
    fn the_limit_counts_what_comes_out() {
        let bomb = gzip(&vec![b'a'; 10_000_000]);
        assert!(bomb.len() < 20_000);
        let two = [gzip(b"one "), gzip(b"two")].concat();
        let cut = &gzip(b"whole")[..12];
        let cases: [(_, &[u8], _, Result<&[u8], _>); 10] = [
            ("", b"plain", 5, Ok(b"plain")),
            ("identity", b"plain", 4, Err(true)),
            ("", b"", 0, Ok(b"")),
            ("gzip", &gzip(b"packed"), 6, Ok(b"packed")),
            ("x-gzip", &gzip(b"packed"), 5, Err(true)),
            ("gzip", &bomb, 100_000, Err(true)),
            ("gzip", &two, 7, Ok(b"one two")),
            ("gzip", cut, 100, Err(false)),
            ("gzip", b"no gzip at all", 100, Err(false)),
            ("gzip", &[0x1f, 0x8b], 100, Err(false)),
        ];
        for (coding, packed, max, expected) in cases {
            assert_eq!(unpack(coding, packed, max), expected.map(<[u8]>::to_vec), "{coding} {max}");
        }
        for coding in ["br", "deflate", "zstd", "gzip, gzip", "gzip,br", "nonsense"] {
            assert!(Unpacking::new(coding, 1).is_none(), "{coding}");
        }
    }
}
