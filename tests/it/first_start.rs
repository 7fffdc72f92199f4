//! All processes of a fleet may be started at once on an empty database, as an orchestrator does it.

use quillwork_test_servers::Postgres;
use quillwork_tests::fleet::{Fleet, Role};

/// Whether two of them get in each other's way is a matter of luck.
const N_TRIES: usize = 5;

#[tokio::test]
async fn all_processes_may_start_at_once_on_an_empty_database() {
    for _ in 0..N_TRIES {
        let database = Postgres::shared().database();
        let fleet = Fleet::on(database.url(), "");
        let roles = [Role::Api, Role::Projector, Role::Worker, Role::Api, Role::Projector, Role::Worker];
        let member = |(n, role): (usize, &Role)| fleet.member(*role, &format!("{role:?}-{n}"));
        let mut members: Vec<_> = roles.iter().enumerate().map(member).collect();
        members.iter_mut().for_each(|member| member.start());
        for member in &members {
            member.said("\"message\":\"started\"").await;
        }
    }
}
