//! Starts servers, says their pids, and waits to be killed: the process that the tests of the guardian kill.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "speaks to the test that started it")]

use std::io::Read as _;

use quillwork_test_servers::{PgBouncer, Postgres, Redis};

fn main() {
    // Shared servers are never dropped; those of a variable only by a process that ends in order.
    println!("{}", Postgres::shared().pid());
    println!("{}", Redis::shared().pid());
    let postgres = Postgres::start();
    println!("{}", postgres.pid());
    let pgbouncer = PgBouncer::start(&postgres);
    println!("{}", pgbouncer.pid());
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("the input of a test can be read");
}
