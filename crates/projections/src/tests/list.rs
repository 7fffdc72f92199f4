//! No query reads a table from end to end, and lists that look at a bounded number of jobs find all of them in the end.

use quillwork_domain::id::Position;
use quillwork_domain::job::Status;
use quillwork_domain::time::Timestamp;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::place::Pg;
use crate::job_row::status_code;
use crate::job_summary::JobFilter;
use crate::postgres::{list, query};

/// Jobs in the tables. Most are completed, and one in 3,000 has the label and the topic that are hard to find.
const N_JOBS: i32 = 30_000;

async fn filled() -> Pg {
    let pg = Pg::new();
    pg.tables().await;
    let [failed, scheduled, queued, completed] =
        [Status::Failed, Status::Scheduled, Status::Queued, Status::Completed].map(status_code);
    let fill = format!(
        "INSERT INTO {{schema}}.job_summary (submitted_position, id, status, pipeline, tenant, due_at, finished_at, topic,
                                             details)
         SELECT n, ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
                CASE WHEN n % 100 = 0 THEN {failed} WHEN n % 100 = 1 THEN {scheduled} WHEN n > 29900 THEN {queued}
                     ELSE {completed} END,
                'pipeline-' || n % 3, 'tenant-' || n % 7, CASE WHEN n % 100 = 1 THEN n END,
                CASE WHEN n % 100 = 0 OR n <= 29900 THEN n END,
                CASE WHEN n % 3000 = 0 THEN 'Rare' ELSE 'frequent' END, ''
         FROM generate_series(1, {N_JOBS}) n;
         INSERT INTO {{schema}}.job_label SELECT 'team:blue', n FROM generate_series(1, {N_JOBS}) n;
         INSERT INTO {{schema}}.job_timeline (submitted_position, stage_index, attempt, outcome) SELECT n, 0, 1, 2
         FROM generate_series(1, {N_JOBS}) n"
    );
    sqlx::raw_sql(pg.live().sql(&fill)).execute(&pg.pool).await.unwrap();
    pg
}

/// Of every combination of what the API offers.
fn filters() -> Vec<JobFilter> {
    let mut filters = Vec::new();
    for status in std::iter::once(None).chain(Status::ALL.map(Some)) {
        for mask in 0..32 {
            let given = |bit: u32, value: &str| (mask & bit != 0).then(|| value.to_owned());
            filters.push(JobFilter {
                status,
                pipeline: given(1, "pipeline-1"),
                tenant: given(2, "tenant-1"),
                label: given(4, "team:blue"),
                search: given(8, "rare"),
                before: (mask & 16 != 0).then_some(Position(20_000)),
            });
        }
    }
    filters
}

async fn explain(pg: &Pg, mut query: QueryBuilder<Postgres>) -> String {
    let mut tx = pg.pool.begin().await.unwrap();
    let plan = query.build().persistent(false).fetch_all(&mut *tx).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    plan.join("\n")
}

#[track_caller]
fn check(plan: &str, of: &str) {
    for table in ["job_summary", "job_label", "job_timeline"] {
        assert!(!plan.contains(&format!("Seq Scan on {table}")), "{of}:\n{plan}");
    }
}

#[tokio::test]
async fn no_list_reads_a_table_from_end_to_end() {
    let pg = filled().await;
    // As autovacuum leaves it. Not even the setting that lists make for themselves is needed.
    sqlx::raw_sql("ANALYZE").execute(&pg.pool).await.unwrap();
    for filter in filters() {
        let due = match filter.status {
            Some(Status::Scheduled) => {
                vec![Some(Ok(Timestamp::from_millis(9))), Some(Err(Timestamp::from_millis(9)))]
            }
            _ => vec![None],
        };
        for due in due {
            let mut sql = QueryBuilder::new("EXPLAIN ");
            list::push(&mut sql, pg.live().schema(), &filter, due, 51);
            check(&explain(&pg, sql).await, &format!("{filter:?} {due:?}"));
        }
    }
}

#[tokio::test]
async fn no_other_query_reads_a_table_from_end_to_end() {
    let pg = filled().await;
    sqlx::raw_sql("ANALYZE").execute(&pg.pool).await.unwrap();
    let ids: Vec<Uuid> = (1..200).map(Uuid::from_u128).collect();
    let scan = QueryBuilder::new(format!(
        "EXPLAIN SELECT count(*) FROM {}.job_summary WHERE details = 'rare'",
        pg.live().schema()
    ));
    assert!(explain(&pg, scan).await.contains("Seq Scan on job_summary"), "this is what is looked for");
    for text in [query::TIMELINE, query::DUE, query::STATS, query::QUEUES, query::ROWS, query::FINISHED] {
        let sql = pg.live().sql(&format!("EXPLAIN {text}"));
        let mut asked = sqlx::query(sql);
        if text == query::FINISHED {
            asked = asked.bind(20_000_i64).bind(10_000_i64).bind(10_000_i64).bind(250_i64);
        } else if text == query::DUE {
            asked = asked.bind(9_i64);
        } else if text == query::ROWS {
            asked = asked.bind(&ids);
        } else if text == query::TIMELINE {
            asked = asked.bind(7_i64);
        }
        let plan = asked.persistent(false).fetch_all(&pg.pool).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        check(&plan.join("\n"), text);
    }
}

/// The submitted positions of all pages.
async fn walk(pg: &Pg, mut filter: JobFilter) -> Vec<u64> {
    // Rows without stages are of no use to clients, so pages are read here as their query gives them.
    let mut found = Vec::new();
    loop {
        let mut sql = QueryBuilder::new("");
        list::push(&mut sql, pg.live().schema(), &filter, None, 4);
        let rows = sql.build().persistent(false).fetch_all(&pg.pool).await.unwrap();
        let position = |row: &sqlx::postgres::PgRow| row.get::<i64, _>("submitted_position") as u64;
        let (jobs, looked_to): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| row.get::<Option<&str>, _>("details").is_some());
        found.extend(jobs.iter().map(|row| position(row)));
        let next = if jobs.len() == 4 { jobs.last() } else { looked_to.first() };
        let Some(next) = next else { return found };
        filter.before = Some(Position(position(next)));
    }
}

#[tokio::test]
async fn pages_find_what_is_rare_in_the_end() {
    let pg = filled().await;
    let every = |n: u64| (1..=N_JOBS as u64).rev().filter(move |job| job % n == 0).collect::<Vec<_>>();
    let search = JobFilter { search: Some("RARE".into()), ..JobFilter::default() };
    assert_eq!(walk(&pg, search.clone()).await, every(3_000));
    let labelled = JobFilter { label: Some("team:blue".into()), ..search };
    assert_eq!(walk(&pg, labelled.clone()).await, every(3_000));
    let more = JobFilter { tenant: Some("tenant-0".into()), ..labelled };
    assert_eq!(walk(&pg, more).await, every(21_000));
    let failed =
        JobFilter { status: Some(Status::Failed), label: Some("team:blue".into()), ..JobFilter::default() };
    assert_eq!(walk(&pg, failed).await, every(100));
    let indexed = JobFilter { tenant: Some("tenant-0".into()), ..JobFilter::default() };
    assert_eq!(walk(&pg, indexed).await, every(7));
}
