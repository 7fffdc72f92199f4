//! `content_analytics`: what readers did with each article, and what the `seo` stage said of it.
//!
//! An article has a row once it was viewed or rated, or once the stage gave it a score. When its job leaves the log, what
//! follows from the events of the job goes with it; what readers did stays.

use std::collections::{HashMap, HashSet};

use quillwork_app::ports::store::Entry;
use quillwork_domain::content::{self, Content, ContentEvent, Rater, Stars};
use quillwork_domain::id::{JobId, StreamId, Version};
use quillwork_domain::job::Event;
use quillwork_domain::payload::Payload;
use quillwork_domain::time::Timestamp;
use serde::Deserialize;

/// What is known of one article.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContentAnalytics {
    /// The job that wrote it.
    pub id: JobId,
    pub views: u64,
    /// Ratings that count: the latest one of each rater.
    pub ratings: u64,
    /// The stars of those, together.
    pub stars: u64,
    /// As the last `seo` stage gave it, on its own scale; None without one, or if its output was too large for an event.
    pub seo_score: Option<f64>,
    /// The time of the last event that is folded in.
    pub updated_at: Timestamp,
    /// How many events of the article's own stream are folded in.
    pub version: Version,
}

/// In which order articles are listed: the most, the best or the latest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentSort {
    #[default]
    Views,
    /// By the average of the stars; those without a rating last.
    Rating,
    Updated,
}

/// A place in a list: the value that it is in the order of, and among equal ones the article.
pub type ContentPlace = (i64, JobId);

/// Some articles, and the place to go on after if there may be more.
#[derive(Clone, Debug, PartialEq)]
pub struct ContentPage {
    pub items: Vec<ContentAnalytics>,
    pub next: Option<ContentPlace>,
}

impl ContentAnalytics {
    /// An article of which nothing is known but that it was there at `at`.
    pub fn new(id: JobId, at: Timestamp) -> Self {
        Self { id, views: 0, ratings: 0, stars: 0, seo_score: None, updated_at: at, version: Version(0) }
    }

    /// The average of the stars, from 1 to 5; None without a rating.
    pub fn average_rating(&self) -> Option<f64> {
        (self.ratings > 0).then(|| self.rating() as f64 / 1e6)
    }

    /// The average in millionths of a star; 0 without a rating.
    pub(crate) fn rating(&self) -> i64 {
        let average = u128::from(self.stars) * 1_000_000 / u128::from(self.ratings.max(1));
        i64::try_from(average).unwrap_or(i64::MAX)
    }

    /// Where it stands in a list.
    pub(crate) fn place(&self, sort: ContentSort) -> ContentPlace {
        let value = match sort {
            ContentSort::Views => i64::try_from(self.views).unwrap_or(i64::MAX),
            ContentSort::Rating => self.rating(),
            ContentSort::Updated => self.updated_at.as_millis(),
        };
        (value, self.id)
    }

    fn fold(&mut self, event: &ContentEvent, replaced: Option<Stars>) {
        let Self { views, ratings, stars, version, .. } = *self;
        let folded = content::evolve(Content { version, views, ratings, stars }, event, replaced);
        (self.views, self.ratings, self.stars) = (folded.views, folded.ratings, folded.stars);
        self.version = folded.version;
    }
}

/// What one commit changes of articles.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContentChanges {
    /// The rows of articles that have news; None for one that has no row, or loses it.
    pub(crate) rows: HashMap<JobId, Option<ContentAnalytics>>,
    /// How many stars a rater gave; None if he has not rated.
    pub(crate) raters: HashMap<(JobId, Rater), Option<Stars>>,
}

/// What must be looked up before a page of events can be folded.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) articles: HashSet<JobId>,
    pub(crate) raters: HashSet<(JobId, Rater)>,
}

impl Wanted {
    /// Adds what `entry` is about, but for what `known` has.
    pub(crate) fn add(&mut self, entry: &Entry, known: &ContentChanges) {
        let mut article = |id| {
            if !known.rows.contains_key(&id) {
                self.articles.insert(id);
            }
        };
        match (entry.recorded.stream, &entry.event) {
            (StreamId::Content(id), event) => {
                article(id);
                if let Some(rater) = rater(event).filter(|rater| !known.raters.contains_key(&(id, *rater))) {
                    self.raters.insert((id, rater));
                }
            }
            (StreamId::Job(id), event) => {
                if seo_score(event).is_some() {
                    article(id);
                }
            }
            (StreamId::Archive, Event::Archive(archived)) => {
                archived.jobs.iter().for_each(|job| article(job.id));
            }
            (StreamId::Archive | StreamId::Queues, _) => {}
        }
    }
}

impl ContentChanges {
    /// The row of an article, as far as it was looked up.
    fn row(&mut self, id: JobId) -> &mut Option<ContentAnalytics> {
        self.rows.entry(id).or_default()
    }

    /// How many events of the article's own stream are folded.
    pub(crate) fn version(&mut self, id: JobId) -> Version {
        self.row(id).map_or(Version(0), |row| row.version)
    }

    /// Folds an event of the stream of an article.
    pub(crate) fn fold(&mut self, id: JobId, entry: &Entry) {
        let Event::Content(event) = &entry.event else { return };
        let replaced = match (event, rater(&entry.event)) {
            (ContentEvent::Rated(rated), Some(rater)) => {
                self.raters.insert((id, rater), Some(rated.stars)).flatten()
            }
            (ContentEvent::Rated(_) | ContentEvent::Viewed(_), _) => None,
        };
        let at = entry.recorded.recorded_at;
        let row = self.row(id).get_or_insert_with(|| ContentAnalytics::new(id, at));
        row.fold(event, replaced);
        row.updated_at = at;
    }

    /// Folds an event of the job that writes an article.
    pub(crate) fn fold_job(&mut self, id: JobId, entry: &Entry) {
        let Some(score) = seo_score(&entry.event) else { return };
        let at = entry.recorded.recorded_at;
        let row = self.row(id).get_or_insert_with(|| ContentAnalytics::new(id, at));
        row.seo_score = Some(score);
        row.updated_at = at;
    }

    /// A job left the log with its events.
    pub(crate) fn archive(&mut self, id: JobId) {
        let row = self.row(id);
        match row {
            Some(row) if row.version > Version(0) => row.seo_score = None,
            Some(_) | None => *row = None,
        }
    }
}

fn rater(event: &Event) -> Option<Rater> {
    match event {
        Event::Content(ContentEvent::Rated(rated)) => rated.rater,
        Event::Content(ContentEvent::Viewed(_))
        | Event::JobSubmitted(_)
        | Event::StageStarted(_)
        | Event::StepRecorded(_)
        | Event::StageCompleted(_)
        | Event::StageFailed(_)
        | Event::JobCompleted(_)
        | Event::JobFailed(_)
        | Event::JobCancelled(_)
        | Event::JobRetried(_)
        | Event::StagesReopened(_)
        | Event::JobPaused(_)
        | Event::JobResumed(_)
        | Event::BudgetSet(_)
        | Event::Queue(_)
        | Event::Archive(_) => None,
    }
}

/// The part of the output of an `seo` stage that is shown here.
#[derive(Deserialize)]
struct SeoOutput {
    kind: String,
    score: f64,
}

/// The score that an `seo` stage gave, if `event` is its result and holds it.
fn seo_score(event: &Event) -> Option<f64> {
    let Event::StageCompleted(completed) = event else { return None };
    let Payload::Inline(json) = &completed.output else { return None };
    // Most results are of other stages, and need not be parsed.
    if !json.get().contains("\"seo\"") {
        return None;
    }
    let output: SeoOutput = serde_json::from_str(json.get()).ok()?;
    (output.kind == "seo").then_some(output.score)
}

#[cfg(test)]
mod tests {
    use quillwork_domain::id::Attempt;
    use quillwork_domain::job::StageCompleted;
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn only_the_result_of_an_seo_stage_has_a_score() {
        let cases = [
            (r#"{"kind":"seo","score":87.5,"checks":[]}"#, Some(87.5)),
            (r#"{"score":0,"kind":"seo"}"#, Some(0.0)),
            (r#"{"kind":"quality","score":3,"of":"seo"}"#, None),
            (r#"{"kind":"seo","score":null}"#, None),
            (r#"{"kind":"seo"}"#, None),
            (r#"["seo"]"#, None),
            ("1", None),
        ];
        for (json, expected) in cases {
            let output = Payload::inline(RawValue::from_string(json.into()).unwrap()).unwrap();
            let completed =
                StageCompleted { stage: "s".into(), attempt: Attempt(1), output, usage: None, rework: None };
            assert_eq!(seo_score(&Event::StageCompleted(completed)), expected, "{json}");
        }
    }

    #[test]
    fn averages() {
        let id = JobId("0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee".parse().unwrap());
        for (ratings, stars, average) in [(0, 0, None), (1, 4, Some(4.0)), (3, 10, Some(3.333_333))] {
            let row = ContentAnalytics { ratings, stars, ..ContentAnalytics::new(id, Timestamp::default()) };
            assert_eq!(row.average_rating(), average);
        }
    }
}
