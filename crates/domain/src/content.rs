//! What readers do with an article: they view it, and they rate it. One stream for each article, apart from the stream of
//! the job that wrote it, which has ended by then.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::id::{JobId, Version};
use crate::payload::Sha256Digest;

/// A rating: 1 to 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Stars(u8);

/// Not a number of stars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 5, got {0}")]
pub struct NotStars(u64);

impl TryFrom<u64> for Stars {
    type Error = NotStars;

    fn try_from(n: u64) -> Result<Self, NotStars> {
        match u8::try_from(n) {
            Ok(stars @ 1..=5) => Ok(Self(stars)),
            Ok(_) | Err(_) => Err(NotStars(n)),
        }
    }
}

impl From<Stars> for u64 {
    fn from(stars: Stars) -> Self {
        stars.0.into()
    }
}

/// Who rated an article, without saying who: the log keeps it for ever. Of the same reader it is another one for each
/// article.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rater(pub Uuid);

impl Rater {
    /// The reader that a client calls `name`, for one article.
    pub fn of(article: JobId, name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(article.0.as_bytes());
        hash.update(name);
        let digest: [u8; 32] = hash.finalize().into();
        let [half @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = digest;
        Self(Uuid::from_bytes(half))
    }
}

/// What readers do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentCommand {
    /// So many views, of whomever.
    View {
        count: u64,
    },
    Rate(ContentRated),
}

/// What can have happened to an article. Shapes are frozen by the golden files in `tests/wire/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentEvent {
    Viewed(ContentViewed),
    Rated(ContentRated),
}

/// Readers viewed the article.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentViewed {
    pub count: u64,
}

/// A reader rated the article. A later rating of the same rater takes the place of the earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentRated {
    pub stars: Stars,
    /// Absent for a rating that nothing takes the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rater: Option<Rater>,
    /// The client's key, unique per tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Digest of the request that came with the key, to tell a repetition from a mistake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_digest: Option<Sha256Digest>,
}

/// What readers did with one article, folded from its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// How many events were folded.
    pub version: Version,
    pub views: u64,
    /// Ratings that count: the latest one of each rater.
    pub ratings: u64,
    /// The stars of those, together.
    pub stars: u64,
}

/// Decides what `command` makes happen. No events means that nothing happened. What came before does not matter: everybody
/// may view, and may rate again.
pub fn decide(command: ContentCommand) -> Vec<ContentEvent> {
    match command {
        ContentCommand::View { count: 0 } => vec![],
        ContentCommand::View { count } => vec![ContentEvent::Viewed(ContentViewed { count })],
        ContentCommand::Rate(rated) => vec![ContentEvent::Rated(rated)],
    }
}

/// Folds one event. `replaced` is the rating of the same rater that counted until now, if there was one.
pub fn evolve(mut content: Content, event: &ContentEvent, replaced: Option<Stars>) -> Content {
    content.version = content.version.next();
    match event {
        ContentEvent::Viewed(viewed) => content.views = content.views.saturating_add(viewed.count),
        ContentEvent::Rated(rated) => {
            if let Some(replaced) = replaced {
                content.ratings = content.ratings.saturating_sub(1);
                content.stars = content.stars.saturating_sub(replaced.into());
            }
            content.ratings = content.ratings.saturating_add(1);
            content.stars = content.stars.saturating_add(rated.stars.into());
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn article(n: u128) -> JobId {
        JobId(Uuid::from_u128(n))
    }

    fn view(count: u64) -> ContentCommand {
        ContentCommand::View { count }
    }

    fn rate(stars: u64, rater: Option<&str>) -> ContentCommand {
        ContentCommand::Rate(ContentRated {
            stars: stars.try_into().unwrap(),
            rater: rater.map(|name| Rater::of(article(1), name)),
            idempotency_key: None,
            request_digest: None,
        })
    }

    /// Obeys commands in turn, and remembers who gave how many stars.
    fn obey(commands: Vec<ContentCommand>) -> Content {
        let mut known = HashMap::new();
        let mut content = Content::default();
        for event in commands.into_iter().flat_map(decide) {
            let replaced = match &event {
                ContentEvent::Rated(ContentRated { stars, rater: Some(rater), .. }) => {
                    known.insert(*rater, *stars)
                }
                ContentEvent::Rated(_) | ContentEvent::Viewed(_) => None,
            };
            content = evolve(content, &event, replaced);
        }
        content
    }

    #[test]
    fn what_is_counted() {
        let cases = [
            (vec![], (0, 0, 0, 0)),
            (vec![view(0)], (0, 0, 0, 0)),
            (vec![view(1), view(41)], (2, 42, 0, 0)),
            (vec![view(u64::MAX), view(1)], (2, u64::MAX, 0, 0)),
            (vec![rate(5, None), rate(1, None)], (2, 0, 2, 6)),
            (vec![rate(5, Some("ann")), rate(2, Some("bob"))], (2, 0, 2, 7)),
            (vec![rate(5, Some("ann")), rate(2, Some("ann"))], (2, 0, 1, 2)),
            (vec![rate(2, Some("ann")), rate(2, Some("ann")), rate(3, None)], (3, 0, 2, 5)),
        ];
        for (commands, (version, views, ratings, stars)) in cases {
            let expected = Content { version: Version(version), views, ratings, stars };
            assert_eq!(obey(commands.clone()), expected, "{commands:?}");
        }
    }

    #[test]
    fn stars_are_from_one_to_five() {
        for n in [0, 6, 256, 257, u64::MAX] {
            assert_eq!(Stars::try_from(n), Err(NotStars(n)));
        }
        for n in 1..=5 {
            assert_eq!(Stars::try_from(n).map(u64::from), Ok(n));
        }
        assert!(serde_json::from_str::<Stars>("6").is_err());
    }

    #[test]
    fn a_rater_is_known_again_for_the_same_article_only() {
        assert_eq!(Rater::of(article(1), "ann"), Rater::of(article(1), "ann"));
        assert_ne!(Rater::of(article(1), "ann"), Rater::of(article(1), "bob"));
        assert_ne!(Rater::of(article(1), "ann"), Rater::of(article(2), "ann"));
    }
}
