//! `GET /v1/content`.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use quillwork_domain::id::{JobId, Position};
use quillwork_projections::{ContentPlace, ContentSort};
use uuid::Uuid;

use crate::content::ContentView;
use crate::jobs::show::reach;
use crate::params::{MAX_POSITION, Params, clip};
use crate::problem::Problem;
use crate::schema;
use crate::state::ApiState;
use crate::view::Page;

const DEFAULT_LIMIT: u64 = 50;
const MAX_LIMIT: u64 = 500;

/// List articles by what readers did with them.
///
/// Those that were viewed or rated, or that an `seo` stage gave a score; the most viewed, best rated or last changed first.
/// An article that changes its place meanwhile may be on two pages, or on none.
#[utoipa::path(
    get, path = "/v1/content", tag = "content", operation_id = "listContent",
    params(schema::ContentQuery),
    responses((status = 200, description = "A page of articles", body = schema::ContentPage), schema::ReadProblems)
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    uri: Uri,
) -> Result<Json<Page<ContentView>>, Problem> {
    let params = Params::read(&uri, &["sort", "cursor", "limit", "min_position"])?;
    let (sort, after) = place(&params)?;
    let limit = params.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    if let Some(position) = params.number("min_position", 0..=MAX_POSITION)? {
        reach(&state, Position(position)).await?;
    }
    let page = state.models.contents(sort, after, usize::try_from(limit).unwrap_or(usize::MAX)).await?;
    Ok(Json(Page {
        items: page.items.into_iter().map(ContentView::from).collect(),
        next_cursor: page.next.map(|place| cursor(sort, place)),
    }))
}

fn place(params: &Params) -> Result<(ContentSort, Option<ContentPlace>), Problem> {
    let sort = params.get("sort", |name| match name {
        "views" => Ok(ContentSort::Views),
        "rating" => Ok(ContentSort::Rating),
        "updated" => Ok(ContentSort::Updated),
        other => Err(format!("expected views, rating or updated, got {:?}", clip(other))),
    })?;
    let sort = sort.unwrap_or_default();
    let after = params.get("cursor", |text| {
        let expected =
            || format!("expected the next_cursor of a page in the same order, got {:?}", clip(text));
        parse(sort, text).ok_or_else(expected)
    })?;
    Ok((sort, after))
}

/// Begins the cursors of a list in this order.
fn letter(sort: ContentSort) -> char {
    match sort {
        ContentSort::Views => 'v',
        ContentSort::Rating => 'r',
        ContentSort::Updated => 'u',
    }
}

/// The cursor of the page of articles after a place.
fn cursor(sort: ContentSort, (value, id): ContentPlace) -> String {
    format!("{}{value:x}-{}", letter(sort), id.0.simple())
}

fn parse(sort: ContentSort, cursor: &str) -> Option<ContentPlace> {
    let (value, id) = cursor.strip_prefix(letter(sort))?.split_once('-')?;
    let value = (!value.starts_with('+')).then(|| i64::from_str_radix(value, 16).ok())??;
    Some((value, JobId(Uuid::try_parse(id).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<(ContentSort, Option<ContentPlace>), Problem> {
        place(&Params::read(&format!("/?{query}").parse().unwrap(), &["sort", "cursor"]).unwrap())
    }

    #[test]
    fn orders_and_cursors_are_read() {
        let id = JobId("0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee".parse().unwrap());
        assert_eq!(read(""), Ok((ContentSort::Views, None)));
        for (name, sort) in [
            ("views", ContentSort::Views),
            ("rating", ContentSort::Rating),
            ("updated", ContentSort::Updated),
        ] {
            for value in [0, 255, i64::MAX] {
                let cursor = cursor(sort, (value, id));
                assert_eq!(read(&format!("sort={name}&cursor={cursor}")), Ok((sort, Some((value, id)))));
            }
        }
        let of_views = cursor(ContentSort::Views, (1, id));
        for (query, field) in [
            ("sort=stars", "sort"),
            ("sort=", "sort"),
            ("cursor=v", "cursor"),
            ("cursor=v1-x", "cursor"),
            ("cursor=v%2B1-0190aaaabbbb7ccc8dddeeeeeeeeeeee", "cursor"),
            (&format!("sort=rating&cursor={of_views}"), "cursor"),
        ] {
            assert_eq!(read(query).unwrap_err().errors[0].field, field, "{query}");
        }
    }
}
