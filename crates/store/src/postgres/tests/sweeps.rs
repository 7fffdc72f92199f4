//! The dead rows of the queue.

use quillwork_app::ports::store::{Holder, TaskWrite};

use super::*;
use crate::conformance::{commit, key, task, waiting};

#[tokio::test]
async fn dead_rows_are_swept_when_there_are_many() {
    for server in [OnServer::direct(), OnServer::pooled()] {
        let _reader = server.opened().await;
        let mut writer = server.writer();
        // Where the server is at it already, nobody else is.
        server.psql("ALTER TABLE quillwork.tasks SET (autovacuum_enabled = off)");
        let sweeps = || server.psql("SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'tasks'");
        for round in [0, 1] {
            let insert = (1..=5_000).map(|id| waiting(task(id, 0, 1))).collect();
            commit(&mut writer, &[(1, 2 * round + 1)], insert).await.unwrap();
            assert_eq!(sweeps().trim(), "0");
            let delete = |id| TaskWrite::Delete { key: key(id), held_by: Holder::Nobody };
            commit(&mut writer, &[(1, 2 * round + 2)], (1..=5_000).map(delete).collect()).await.unwrap();
        }
        soon(async {
            while sweeps().trim() != "1" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}
