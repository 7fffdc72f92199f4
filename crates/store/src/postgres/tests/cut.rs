//! Connections that are cut in the middle of a commit, by something between us and the server.

use std::sync::Mutex;

use quillwork_app::ports::store::{Batch, CommitError, Head, LogReader as _, StoreError, TaskWrite};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::*;
use crate::conformance::{commit, entries, task, waiting};

/// What becomes of the next thing that the client says and that contains `marker`.
enum Cut {
    /// It never arrives.
    Before,
    /// It arrives, and the answer does not.
    After,
    /// The client sees its connection cut; the server gets it when the other end is dropped, and only then.
    Held(oneshot::Receiver<()>),
}

struct Trap {
    marker: &'static [u8],
    cut: Cut,
}

/// Something between a client and a server.
struct Proxy {
    port: u16,
    trap: Arc<Mutex<Option<Trap>>>,
}

impl Proxy {
    async fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let trap: Arc<Mutex<Option<Trap>>> = Arc::default();
        let set = trap.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server, set.clone()));
            }
        });
        Self { port, trap }
    }

    fn set(&self, marker: &'static [u8], cut: Cut) {
        *self.trap.lock().unwrap() = Some(Trap { marker, cut });
    }

    /// It went off.
    fn is_sprung(&self) -> bool {
        self.trap.lock().unwrap().is_none()
    }
}

/// Passes on what both say, until the trap goes off or one of them hangs up.
async fn pass(mut client: TcpStream, server: u16, trap: Arc<Mutex<Option<Trap>>>) {
    let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            n = client.read(&mut asked) => {
                let Ok(n @ 1..) = n else { return };
                let said = &asked[..n];
                match spring(&trap, said) {
                    None => server.write_all(said).await.unwrap(),
                    Some(Cut::Before) => return,
                    Some(Cut::After) => {
                        server.write_all(said).await.unwrap();
                        drop(client);
                        // Until the server has done what it was asked.
                        let _ = server.read(&mut answered).await;
                        return;
                    }
                    Some(Cut::Held(released)) => {
                        drop(client);
                        let _ = released.await;
                        let _ = server.write_all(said).await;
                        // Whatever comes of it, until the server says so or hangs up.
                        let _ = server.read(&mut answered).await;
                        return;
                    }
                }
            }
            n = server.read(&mut answered) => {
                let Ok(n @ 1..) = n else { return };
                if client.write_all(&answered[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn spring(trap: &Mutex<Option<Trap>>, said: &[u8]) -> Option<Cut> {
    let mut trap = trap.lock().unwrap();
    let marker = trap.as_ref()?.marker;
    let hit = said.windows(marker.len()).any(|window| window == marker);
    if hit { trap.take().map(|trap| trap.cut) } else { None }
}

/// What makes a batch recognizable on its way.
const MARK: &[u8] = b"the batch in doubt";
const COMMIT: &[u8] = b"COMMIT\0";

/// Event 2 of the log, and a task.
fn doubtful(head: Head) -> Batch {
    let task = task(2, 0, 1);
    let handler = std::str::from_utf8(MARK).unwrap().into();
    let task = waiting(quillwork_app::ports::store::Task { handler, ..task });
    Batch { entries: entries(head, &[(2, 1)]), tasks: vec![task], ..Batch::default() }
}

struct Scene {
    server: OnServer,
    reader: Arc<PostgresReader>,
    proxy: Proxy,
    writer: PostgresWriter,
    /// After event 1.
    head: Head,
}

impl Scene {
    async fn new(server: OnServer) -> Self {
        let reader = server.opened().await;
        let port = if server.pooled { POOLER.port() } else { Postgres::shared().port() };
        let proxy = Proxy::start(port).await;
        let url = server.config().url.replace(&format!(":{port}/"), &format!(":{}/", proxy.port));
        assert_ne!(url, server.config().url);
        let mut writer = writer(&config(&url, server.pooled)).unwrap();
        commit(&mut writer, &[(1, 1)], vec![]).await.unwrap();
        let head = reader.head().await.unwrap();
        Self { server, reader, proxy, writer, head }
    }

    /// Writes the batch into the trap.
    async fn fail(&mut self, locked: bool, marker: &'static [u8], cut: Cut) {
        if locked {
            self.writer.lock().await.unwrap();
        }
        self.proxy.set(marker, cut);
        let failed = soon(self.writer.commit(self.head, &doubtful(self.head))).await;
        assert!(matches!(failed, Err(CommitError::Store(StoreError::Unavailable(_)))), "{failed:?}");
        assert!(self.proxy.is_sprung());
    }

    /// What the writer then says is final, and what it refuses or writes agrees with it.
    async fn the_outcome_is(&mut self, written: bool, what: &str) {
        let survey = soon(self.writer.survey()).await.unwrap();
        assert_eq!(survey.head.position.0, if written { 2 } else { 1 }, "{what}");
        let retried = self.writer.commit(self.head, &doubtful(self.head)).await;
        match retried {
            Ok(()) => assert!(!written, "{what}: written twice"),
            Err(CommitError::HeadMoved) => assert!(written, "{what}: refused though it was not written"),
            Err(error) => panic!("{what}: {error:?}"),
        }
        assert_eq!(self.reader.head().await.unwrap().position.0, 2, "{what}");
        assert_eq!(self.reader.tasks(None, 10).await.unwrap().len(), 1, "{what}");
        assert_eq!(self.reader.check().await.unwrap(), [] as [String; 0], "{what}");
    }
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_not_there() {
    for server in [OnServer::direct(), OnServer::pooled()] {
        for (locked, marker) in [(false, MARK), (true, MARK), (true, COMMIT)] {
            let mut scene = Scene::new(OnServer { pooled: server.pooled, ..OnServer::direct() }).await;
            scene.fail(locked, marker, Cut::Before).await;
            scene.the_outcome_is(false, &format!("locked: {locked}, pooled: {}", server.pooled)).await;
        }
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_there() {
    // In a pool the batch is not final before the word COMMIT.
    for (pooled, locked, marker) in
        [(false, false, MARK), (false, true, COMMIT), (true, false, COMMIT), (true, true, COMMIT)]
    {
        let mut scene = Scene::new(OnServer { pooled, ..OnServer::direct() }).await;
        scene.fail(locked, marker, Cut::After).await;
        scene.the_outcome_is(true, &format!("locked: {locked}, pooled: {pooled}")).await;
    }
}

/// The worst: the server has not yet read the statement when the writer is back and asks.
#[tokio::test]
async fn a_commit_that_arrives_late_is_not_written() {
    for pooled in [false, true] {
        for (locked, marker) in [(false, MARK), (true, MARK), (true, COMMIT)] {
            let mut scene = Scene::new(OnServer { pooled, ..OnServer::direct() }).await;
            let (release, released) = oneshot::channel();
            scene.fail(locked, marker, Cut::Held(released)).await;
            let what = format!("locked: {locked}, pooled: {pooled}");
            let survey = soon(scene.writer.survey()).await.unwrap();
            assert_eq!(survey.head, scene.head, "{what}");
            drop(release);
            // The late one is dealt with when its connection is idle again or gone.
            let busy =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'
                        AND pid <> pg_backend_pid()";
            soon(async { while scene.server.psql(busy).trim() != "0" {} }).await;
            assert_eq!(scene.reader.head().await.unwrap(), scene.head, "{what}");
            scene.the_outcome_is(false, &what).await;
        }
    }
}

/// Two statements of one writer are never under way at once, so nobody is fenced off by himself.
#[tokio::test]
async fn a_writer_that_was_fenced_off_looks_again() {
    let server = OnServer::direct();
    let reader = server.opened().await;
    let (mut one, mut two) = (server.writer(), server.writer());
    commit(&mut one, &[(1, 1)], vec![]).await.unwrap();
    let head = two.survey().await.unwrap().head;
    let batch =
        Batch { entries: entries(head, &[(1, 2)]), tasks: Vec::<TaskWrite>::new(), ..Batch::default() };
    let refused = one.commit(head, &batch).await;
    assert!(matches!(refused, Err(CommitError::HeadMoved)), "{refused:?}");
    assert_eq!(one.survey().await.unwrap().head, head);
    one.commit(head, &batch).await.unwrap();
    assert_eq!(reader.head().await.unwrap().position.0, 2);
}
