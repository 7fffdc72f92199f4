//! Free ports on the loopback interface.

use std::net::{Ipv4Addr, TcpListener};

use uuid::Uuid;

/// Below the ports that Linux gives to outgoing connections. From among those, a client that keeps trying to reach a
/// stopped server can be given the server's own port, is then connected to itself, and the server cannot come back.
const FIRST: u16 = 16_384;
const COUNT: u16 = 16_384;

/// A port that was free a moment ago; whoever binds it must be ready to have lost the race.
pub(crate) fn free() -> u16 {
    loop {
        let [.., high, low] = *Uuid::now_v7().as_bytes();
        let port = FIRST + u16::from_be_bytes([high, low]) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
