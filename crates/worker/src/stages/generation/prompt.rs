//! The texts that models are asked with: files with a version, known in events by their digest.

use std::collections::BTreeMap;

use quillwork_app::ports::model::{Message, Prompt, Role};
use quillwork_app::ports::writer::PromptRef;
use quillwork_domain::payload::Sha256Digest;

/// Comes with the binary.
const ARTICLE: &str = include_str!("../../../prompts/article.md");

/// The prompt of jobs that name none.
pub(in crate::stages) const DEFAULT: &str = "article";

/// A file of this shape:
///
/// ```text
/// version: 1
///
/// === system
/// …
/// === user
/// … {topic} … {max_words} … {sources} … {feedback} …
/// === repair
/// … {problems} …
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    reference: PromptRef,
    system: String,
    user: String,
    repair: String,
}

/// A file that is no prompt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    #[error("the first line must be `version: N`, with a number from 1")]
    NoVersion,
    #[error("the section `=== {0}` is missing")]
    NoSection(&'static str),
    #[error("the section `=== {section}` must hold {{{placeholder}}}")]
    NoPlaceholder { section: &'static str, placeholder: &'static str },
}

impl Template {
    /// Reads a file that is called `name`, without its ending.
    pub fn parse(name: &str, text: &str) -> Result<Self, InvalidTemplate> {
        let version = text.lines().next().and_then(|line| line.strip_prefix("version:"));
        let version = version.and_then(|version| version.trim().parse::<u32>().ok());
        let version = version.filter(|version| *version > 0).ok_or(InvalidTemplate::NoVersion)?;
        let sections: BTreeMap<&str, &str> =
            text.split("\n=== ").skip(1).filter_map(|section| section.split_once('\n')).collect();
        let section = |name: &'static str, placeholders: &[&'static str]| {
            let section = sections.get(name).ok_or(InvalidTemplate::NoSection(name))?.trim().to_owned();
            match placeholders.iter().find(|it| !section.contains(&format!("{{{it}}}"))) {
                Some(placeholder) => Err(InvalidTemplate::NoPlaceholder { section: name, placeholder }),
                None => Ok(section),
            }
        };
        Ok(Self {
            system: section("system", &[])?,
            user: section("user", &["topic", "sources", "feedback"])?,
            repair: section("repair", &["problems"])?,
            reference: PromptRef {
                name: name.to_owned(),
                version,
                sha256: Sha256Digest::of(text.as_bytes()),
            },
        })
    }

    /// The prompt that comes with the binary.
    pub fn article() -> Result<Self, InvalidTemplate> {
        Self::parse(DEFAULT, ARTICLE)
    }

    pub fn reference(&self) -> &PromptRef {
        &self.reference
    }
}

/// What a prompt is about.
pub(super) struct Assignment<'a> {
    pub(super) topic: &'a str,
    pub(super) max_words: usize,
    /// As [`super::material`] writes them down.
    pub(super) sources: &'a str,
    /// What was wrong with an earlier draft; empty for the first.
    pub(super) feedback: &'a str,
    pub(super) max_output_tokens: u32,
    pub(super) temperature_milli: u16,
}

impl Template {
    /// Asks for the article.
    pub(super) fn ask(&self, assignment: &Assignment<'_>) -> Prompt {
        let max_words = assignment.max_words.to_string();
        let text = fill(
            &self.user,
            &[
                ("max_words", &max_words),
                ("topic", assignment.topic),
                ("sources", assignment.sources),
                ("feedback", assignment.feedback),
            ],
        );
        Prompt {
            system: self.system.clone(),
            messages: vec![Message { role: Role::User, text }],
            max_output_tokens: assignment.max_output_tokens,
            temperature_milli: assignment.temperature_milli,
        }
    }

    /// Asks for it again, since the `answer` to `prompt` has `problems`.
    pub(super) fn ask_again(&self, prompt: Prompt, answer: &str, problems: &[String]) -> Prompt {
        let problems: Vec<String> = problems.iter().map(|problem| format!("- {problem}")).collect();
        let mut prompt = prompt;
        let answer = if answer.trim().is_empty() { "(no answer)" } else { answer };
        prompt.messages.push(Message { role: Role::Assistant, text: answer.to_owned() });
        let text = fill(&self.repair, &[("problems", &problems.join("\n"))]);
        prompt.messages.push(Message { role: Role::User, text });
        prompt
    }
}

/// Puts each value in its place, in one pass: a value that looks like a placeholder stays as it is.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let (before, after) = rest.split_at(open);
        filled.push_str(before);
        let found = values.iter().find_map(|(name, value)| {
            let rest = after.strip_prefix('{')?.strip_prefix(name)?.strip_prefix('}')?;
            Some((*value, rest))
        });
        match found {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = &after[1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_of_the_binary_is_one() {
        assert_eq!(Template::article().unwrap().reference().version, 1);
    }

    #[test]
    fn values_are_not_read_as_placeholders() {
        let filled = fill("{a} and {b} {c}{", &[("a", "{b}"), ("b", "2")]);
        assert_eq!(filled, "{b} and 2 {c}{");
    }

    #[test]
    fn a_wrong_file_is_refused_by_what_it_lacks() {
        let cases = [
            ("", InvalidTemplate::NoVersion),
            ("version: 0\n", InvalidTemplate::NoVersion),
            ("version: 1\n", InvalidTemplate::NoSection("system")),
            ("version: 1\n=== system\nx\n", InvalidTemplate::NoSection("user")),
            (
                "version: 1\n=== system\nx\n=== user\n{topic}\n=== repair\n{problems}\n",
                InvalidTemplate::NoPlaceholder { section: "user", placeholder: "sources" },
            ),
        ];
        for (text, error) in cases {
            assert_eq!(Template::parse("x", text), Err(error), "{text:?}");
        }
    }
}
