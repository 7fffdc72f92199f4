//! What a job may be about.

/// A topic has at most this many characters.
const MAX_TOPIC_CHARS: usize = 2_000;

/// A topic that no job may have; says what is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongTopic {
    #[error("expected at most {MAX_TOPIC_CHARS} characters, got {0}")]
    TooLong(usize),
    #[error("expected 1 to {MAX_TOPIC_CHARS} characters that are not all blank")]
    Blank,
    #[error("expected text without control characters such as line breaks")]
    ControlCharacters,
}

/// Checks a topic, whichever way it came in.
pub fn check_topic(topic: &str) -> Result<(), WrongTopic> {
    let n_chars = topic.chars().count();
    if n_chars > MAX_TOPIC_CHARS {
        return Err(WrongTopic::TooLong(n_chars));
    }
    if topic.trim().is_empty() {
        return Err(WrongTopic::Blank);
    }
    if topic.chars().any(char::is_control) {
        return Err(WrongTopic::ControlCharacters);
    }
    Ok(())
}
