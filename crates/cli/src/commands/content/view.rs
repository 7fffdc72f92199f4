//! An article as the server shows it.

use quillwork_domain::id::JobId;
use quillwork_domain::time::Timestamp;
use serde::Deserialize;

/// What is known of an article, as far as people look at it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ContentView {
    pub(super) id: JobId,
    pub(super) views: u64,
    pub(super) ratings: u64,
    average_rating: Option<f64>,
    seo_score: Option<f64>,
    pub(super) updated_at: Timestamp,
}

impl ContentView {
    /// The average of the stars, or `none`.
    pub(super) fn rating(&self) -> String {
        self.average_rating.map_or("none".to_owned(), |average| format!("{average:.2}"))
    }

    /// The score of the `seo` stage, or `none`.
    pub(super) fn seo(&self) -> String {
        self.seo_score.map_or("none".to_owned(), |score| score.to_string())
    }
}
