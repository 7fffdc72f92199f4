//! `GET /v1/usage`.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use quillwork_domain::id::Position;
use quillwork_domain::time::Day;
use quillwork_projections::{UsageFilter, UsageGroup, UsagePlace, UsageRow};
use serde::{Deserialize, Serialize};

use crate::jobs::show::reach;
use crate::params::{MAX_POSITION, Params, clip};
use crate::problem::Problem;
use crate::state::ApiState;
use crate::view::{Page, usd};
use crate::{schema, tenant};

const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1_000;
const MAX_NAME_CHARS: usize = 256;

/// What was paid for.
#[derive(Debug, Serialize)]
pub(crate) struct UsageView {
    #[serde(flatten)]
    place: PlaceView,
    calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    #[serde(serialize_with = "usd")]
    cost_usd: u64,
}

impl From<UsageRow> for UsageView {
    fn from(UsageRow { place, paid }: UsageRow) -> Self {
        Self {
            place: place.into(),
            calls: paid.calls,
            input_tokens: paid.input_tokens,
            output_tokens: paid.output_tokens,
            cost_usd: paid.cost_micros,
        }
    }
}

/// What a row is of; null where it adds up. Also what a cursor says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceView {
    day: Option<Day>,
    tenant: Option<String>,
    provider: Option<String>,
    model: Option<String>,
}

impl From<UsagePlace> for PlaceView {
    fn from(UsagePlace { day, tenant, provider, model }: UsagePlace) -> Self {
        Self { day, tenant, provider, model }
    }
}

impl From<PlaceView> for UsagePlace {
    fn from(PlaceView { day, tenant, provider, model }: PlaceView) -> Self {
        Self { day, tenant, provider, model }
    }
}

/// Show what was paid to providers.
///
/// One row for each day, tenant, provider and model; with `group` one for each day, model or tenant. Days are in UTC.
#[utoipa::path(
    get, path = "/v1/usage", tag = "operations", operation_id = "getUsage",
    params(schema::UsageQuery),
    responses((status = 200, description = "A page of rows, in order", body = schema::UsagePage), schema::ReadProblems)
)]
pub(crate) async fn usage(State(state): State<ApiState>, uri: Uri) -> Result<Json<Page<UsageView>>, Problem> {
    let params = Params::read(&uri, &PARAMETERS)?;
    let (filter, group, after) = query(&params)?;
    let limit = params.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    if let Some(position) = params.number("min_position", 0..=MAX_POSITION)? {
        reach(&state, Position(position)).await?;
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = state.models.usage(&filter, group, after, limit).await?;
    let next_cursor = page.next.map(cursor).transpose()?;
    Ok(Json(Page { items: page.items.into_iter().map(UsageView::from).collect(), next_cursor }))
}

const PARAMETERS: [&str; 9] =
    ["tenant", "provider", "model", "from", "to", "group", "cursor", "limit", "min_position"];

fn query(params: &Params) -> Result<(UsageFilter, UsageGroup, UsagePlace), Problem> {
    let tenant = params.get("tenant", |name| match tenant::is_name(name) {
        true => Ok(name.to_owned()),
        false => Err(format!("{}, got {:?}", tenant::EXPECTED, clip(name))),
    })?;
    let name = |parameter: &str| {
        params.get(parameter, |name| match name.chars().count() {
            1..=MAX_NAME_CHARS => Ok(name.to_owned()),
            n => Err(format!("expected 1 to {MAX_NAME_CHARS} characters, got {n}")),
        })
    };
    let day =
        |parameter: &str| params.get(parameter, |day| day.parse::<Day>().map_err(|error| error.to_string()));
    let filter = UsageFilter {
        tenant,
        provider: name("provider")?,
        model: name("model")?,
        from: day("from")?,
        to: day("to")?,
    };
    let group = params.get("group", |name| {
        let found = UsageGroup::NAMED.into_iter().find(|(known, _)| *known == name);
        let known = UsageGroup::NAMED.map(|(known, _)| known).join(", ");
        found.map(|(_, group)| group).ok_or_else(|| format!("expected one of {known}, got {:?}", clip(name)))
    })?;
    let after = params.get("cursor", |text| {
        let place = serde_json::from_str::<PlaceView>(text);
        place.map_err(|_| format!("expected the next_cursor of a page, got {:?}", clip(text)))
    })?;
    Ok((filter, group.unwrap_or_default(), after.map(UsagePlace::from).unwrap_or_default()))
}

/// The cursor of the page after `place`.
fn cursor(place: UsagePlace) -> Result<String, Problem> {
    Ok(serde_json::to_string(&PlaceView::from(place))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<(UsageFilter, UsageGroup, UsagePlace), Problem> {
        let uri = format!("/?{query}").parse().unwrap();
        super::query(&Params::read(&uri, &PARAMETERS).unwrap())
    }

    #[test]
    fn filters_are_read() {
        let (filter, group, after) = read("tenant=acme&model=writer&from=2026-01-31&group=day").unwrap();
        assert_eq!((filter.tenant.as_deref(), filter.model.as_deref()), (Some("acme"), Some("writer")));
        assert_eq!(filter.from.map(|day| day.to_string()).as_deref(), Some("2026-01-31"));
        assert_eq!((group, after), (UsageGroup::Day, UsagePlace::default()));
        for (query, field) in [
            ("tenant=a%20b", "tenant"),
            ("provider=", "provider"),
            ("from=yesterday", "from"),
            ("to=2026-02-30", "to"),
            ("group=year", "group"),
            ("cursor=x", "cursor"),
        ] {
            assert_eq!(read(query).unwrap_err().errors[0].field, field);
        }
    }

    #[test]
    fn cursors_return() {
        let place = UsagePlace {
            day: Some(Day::from_number(9)),
            model: Some("a \"b\"".into()),
            ..Default::default()
        };
        let text = cursor(place.clone()).unwrap();
        let place_again = serde_json::from_str::<PlaceView>(&text).unwrap();
        assert_eq!(UsagePlace::from(place_again), place);
    }
}
