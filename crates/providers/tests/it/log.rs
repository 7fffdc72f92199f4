//! What the code says while a test listens.

use std::cell::RefCell;
use std::io::Write;
use std::sync::{Arc, Mutex, Once};

thread_local! {
    /// Each test has a thread of its own.
    static LISTENING: RefCell<Log> = RefCell::default();
}

/// The lines of this thread, and so of a test on a runtime of one thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn listen() -> Self {
        // One subscriber for all: of several that come and go, tracing remembers the wrong one's interests.
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            let builder = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
            builder.with_writer(|| LISTENING.with_borrow(Self::clone)).init();
        });
        LISTENING.with_borrow(Self::clone)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// How many lines contain `part`.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.text().lines().filter(|line| line.contains(part)).count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
