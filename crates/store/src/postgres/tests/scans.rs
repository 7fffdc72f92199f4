//! No statement of the hot path reads a whole table, whatever the planner knows of it, and no claim walks over tasks that
//! it does not take. Counted by the server, for the statements as they really are sent.

use std::sync::Arc;

use quillwork_app::ports::store::{Batch, Claim, Holder, LogReader as _, LogWriter as _, Removal, TaskWrite};
use quillwork_domain::id::{Position, Version};
use quillwork_domain::time::Timestamp;

use super::*;
use crate::conformance::{TTL, at, commit, entries, job, key, task, waiting};
use crate::postgres::sweeper::SWEEP;

/// Every statement that runs often, on 200 jobs of their own.
async fn everything(writer: &mut PostgresWriter, reader: &PostgresReader, first: u128) {
    let lease = writer.open_lease("me", TTL).await.unwrap();
    let head = writer.survey().await.unwrap().head;
    let ids: Vec<u128> = (first..first + 200).collect();
    let events: Vec<(u128, u64)> = ids.iter().map(|id| (*id, 1)).collect();
    let batch = Batch {
        entries: entries(head, &events),
        tasks: ids.iter().map(|id| waiting(task(*id, 0, 1))).collect(),
        ..Batch::default()
    };
    writer.commit(head, &batch).await.unwrap();
    let take = |id: &u128| TaskWrite::Move {
        key: key(*id),
        held_by: Holder::Nobody,
        lease: Some(lease),
        run_at: None,
    };
    commit(writer, &[(first, 2)], ids.iter().map(take).collect()).await.unwrap();
    let echo: Vec<Arc<str>> = vec!["echo".into()];
    writer.orphans(lease, 10).await.unwrap();
    assert_eq!(writer.held(lease).await.unwrap().len(), 200);
    assert_eq!(writer.held_by_handler(&echo).await.unwrap(), [200]);
    writer.next_due(&echo, at(0)).await.unwrap();
    writer.handlers().await.unwrap();
    writer.ready(&[Claim { handler: "echo".into(), after: "".into(), limit: 10 }], at(5)).await.unwrap();
    let streams: Vec<_> = ids.iter().map(|id| (job(*id).into(), Version(0))).collect();
    writer.load(&streams).await.unwrap();
    let delete = |id: &u128| TaskWrite::Delete { key: key(*id), held_by: Holder::Lease(lease) };
    writer.lock().await.unwrap();
    commit(writer, &[(first, 3)], ids.iter().map(delete).collect()).await.unwrap();
    let lost = commit(writer, &[(first, 4)], ids.iter().map(delete).collect()).await;
    lost.unwrap_err();
    writer.close_lease(lease).await.unwrap();
    let head = writer.survey().await.unwrap().head;
    let gone: Vec<_> = ids[1..].iter().map(|id| (job(*id).into(), Version(1))).collect();
    let removal = Removal { streams: gone, ..Removal::default() };
    let batch = Batch { entries: entries(head, &[(first, 4)]), removal, ..Batch::default() };
    writer.commit(head, &batch).await.unwrap();
    reader.archived_runs(Position(0), 10).await.unwrap();
    reader.stream(job(first).into(), Version(0), 10).await.unwrap();
    reader.read_all(Position(0), 100).await.unwrap();
    reader.read_all(Position(0), 4_096).await.unwrap();
    reader.replay(Position(0), 4_096).await.unwrap();
    let kinds = ["JobCompleted".to_owned()];
    reader.read_kinds(&kinds, (Position(0), Position(4_096)), 100).await.unwrap();
    reader.tasks(Some(key(first)), 10).await.unwrap();
}

/// Rows that were read from whole tables. The counters of a connection arrive when it ends.
async fn read_by_scans(server: &OnServer) -> i64 {
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    soon(async {
        while server.psql(others).trim() != "0" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let sum = "SELECT sum(seq_tup_read) FROM pg_stat_user_tables
               WHERE relname IN ('events', 'tasks', 'blobs', 'idempotency_keys')";
    server.psql(sum).trim().parse().unwrap()
}

/// Tasks that wait, and an event of each, so that a scan would be seen.
fn fill(server: &OnServer, n: u32) {
    server.psql(&format!(
        "INSERT INTO quillwork.tasks SELECT ('00000000-0000-0000-0001-' || lpad(to_hex(n), 12, '0'))::uuid, 0,
           'echo', 'crowd', 0, n, NULL FROM generate_series(1, {n}) n;
         INSERT INTO quillwork.events
           (position, stream, version, event_id, kind, schema_version, data, meta, recorded_at, hash)
         SELECT 1000000 + n, ('00000000-0000-0000-0001-' || lpad(to_hex(n), 12, '0'))::uuid, 1,
           gen_random_uuid(), 'JobCancelled', 1, '{{}}', '{{\"actor\":\"a\",\"tenant\":\"t\",\"correlation_id\":\"00000000-0000-0000-0000-000000000001\"}}', 0,
           decode(repeat('00', 32), 'hex') FROM generate_series(1, {n}) n;
         UPDATE quillwork.head SET backlog = backlog + {n}"
    ));
}

/// What the planner knows of the queue when it is full.
#[derive(Debug, Clone, Copy)]
enum Known {
    Nothing,
    Everything,
    /// That it was empty when the dead rows were removed: it looks as if it always had hardly any.
    Emptiness,
}

/// The connections are those of before, when the tables were empty and plans for them good for nothing.
#[tokio::test]
async fn no_hot_statement_scans_a_table() {
    for known in [Known::Nothing, Known::Everything, Known::Emptiness] {
        let server = OnServer::direct();
        let reader = server.opened().await;
        let mut writer = server.writer();
        for first in (100_000..).step_by(200).take(7) {
            everything(&mut writer, &reader, first).await;
        }
        if let Known::Emptiness = known {
            server.psql(SWEEP);
        }
        fill(&server, 30_000);
        if let Known::Everything = known {
            server.psql("ANALYZE quillwork.tasks, quillwork.events, quillwork.head");
        }
        for first in (200_000..).step_by(200).take(3) {
            everything(&mut writer, &reader, first).await;
        }
        reader.close().await;
        drop(writer);
        // Small tables may be scanned.
        let n_read = read_by_scans(&server).await;
        assert!(n_read < 20_000, "{n_read} rows were read by scans, known: {known:?}");
        // One walk over the queue for each of the statements would read 270,000. Dead entries count too, and an autovacuum
        // that looks at the database meanwhile keeps them.
        let n_entries = index_entries_read(&server);
        assert!(
            n_entries < 100_000,
            "{n_entries} entries of the queue's indexes were read, known: {known:?}"
        );
    }
}

fn index_entries_read(server: &OnServer) -> i64 {
    let sum = "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'tasks'";
    server.psql(sum).trim().parse().unwrap()
}

/// 30,000 tasks of one tenant between two others, and 3,000 tenants.
#[tokio::test]
async fn a_claim_reads_what_it_takes() {
    let server = OnServer::direct();
    server.opened().await.close().await;
    fill(&server, 30_000);
    server.psql(
        "INSERT INTO quillwork.tasks SELECT gen_random_uuid(), 0, 'echo', 'tenant-' || n, 0, 1, NULL
         FROM generate_series(1, 3000) n;
         INSERT INTO quillwork.tasks SELECT gen_random_uuid(), 0, 'echo', 'a', 0, 1, NULL",
    );
    let before = index_entries_read(&server);
    let mut writer = server.writer();
    let claim = |after: &str, limit| Claim { handler: "echo".into(), after: after.into(), limit };
    let now = Timestamp::MAX;
    let ready = writer.ready(&[claim("", 20), claim("crowd", 1), claim("tenant-999", 3)], now).await.unwrap();
    let tenants = |tasks: &[quillwork_app::ports::store::Task]| {
        tasks.iter().map(|task| task.tenant.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(tenants(&ready[0])[..4], ["a", "crowd", "tenant-1", "tenant-10"]);
    assert_eq!(tenants(&ready[1]), ["tenant-1"]);
    assert_eq!(tenants(&ready[2]), ["a", "crowd", "tenant-1"]);
    writer.next_due(&["echo".into()], at(0)).await.unwrap();
    drop(writer);
    assert!(read_by_scans(&server).await < 1_000);
    let n_read = index_entries_read(&server) - before;
    assert!(n_read < 500, "{n_read} index entries for 24 tasks");
}
