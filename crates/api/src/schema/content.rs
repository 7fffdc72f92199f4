//! Articles and their readers as `/openapi.json` describes them.

use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Views that were counted together.
#[derive(ToSchema)]
pub(crate) struct NewViews {
    #[schema(minimum = 1, maximum = 1000, default = 1)]
    count: Option<u64>,
}

#[derive(ToSchema)]
pub(crate) struct NewRating {
    #[schema(minimum = 1, maximum = 5)]
    stars: u8,
    /// Who rates, by any name that the client chooses: 1 to 64 characters, no control characters.
    #[schema(min_length = 1, max_length = 64)]
    rater: Option<String>,
}

/// A view or a rating was noted.
#[derive(ToSchema)]
pub(crate) struct Noted {
    /// The job that wrote the article.
    id: Uuid,
    /// Give it as `min_position` to a query that must show this.
    position: u64,
}

/// What is known of an article.
#[derive(ToSchema)]
pub(crate) struct Content {
    /// The job that wrote it.
    id: Uuid,
    views: u64,
    /// Ratings that count: the latest one of each rater.
    ratings: u64,
    /// From 1 to 5; null without a rating.
    average_rating: Option<f64>,
    /// As the last `seo` stage gave it; null if there was none, or if its output was too large for an event.
    seo_score: Option<f64>,
    /// When it was last viewed or rated, or made.
    #[schema(format = DateTime)]
    updated_at: String,
}

#[derive(ToSchema)]
pub(crate) struct ContentPage {
    items: Vec<Content>,
    next_cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ContentQuery {
    /// `views`, `rating` or `updated`; the most, best or latest first.
    #[param(default = "views")]
    sort: Option<String>,
    /// The `next_cursor` of the page before, in the same order.
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// Wait, for at most 5 s, until the answer shows this position.
    min_position: Option<u64>,
}
