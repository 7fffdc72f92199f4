use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use quillwork_test_servers::Redis;

/// The first line of the answer to an inline command.
fn ask(server: &Redis, command: &str) -> String {
    let mut stream = TcpStream::connect(server.url().strip_prefix("redis://").unwrap()).unwrap();
    stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn a_killed_server_comes_back_empty_on_its_port() {
    let server = Redis::start();
    let port = server.port();
    assert_eq!(ask(&server, "SET key value"), "+OK");
    assert_eq!(ask(&server, "EXISTS key"), ":1");
    server.kill();
    TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    server.start_again();
    assert_eq!(server.port(), port);
    assert_eq!(ask(&server, "EXISTS key"), ":0");
}

#[test]
fn the_shared_server_is_one() {
    assert!(std::ptr::eq(Redis::shared(), Redis::shared()));
    assert_eq!(ask(Redis::shared(), "PING"), "+PONG");
}
