//! Free ports for servers.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

use super::StoreError;

/// Below what Linux gives to outgoing connections (from 32768), so that none of the many connections
/// of other tests sits on the port while a server is restarted.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;
/// A prime, so that processes of neighbouring ids begin far from each other.
const STEP_OF_A_PROCESS: u32 = 887;
/// How many ports a server is tried on.
const ATTEMPTS: usize = 5;

/// A port on 127.0.0.1 that nobody listens on and that this process has not given out lately.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = process::id().wrapping_mul(STEP_OF_A_PROCESS) % u32::from(COUNT);
    let offset = u16::try_from(offset).unwrap_or_default();
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (offset + next) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Starts a server on one free port after the other, for as long as somebody else is faster.
pub(crate) async fn on_a_free_port<T>(
    start: impl AsyncFn(SocketAddr) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    for _ in 1..ATTEMPTS {
        match start(free_address()).await {
            Err(StoreError::PortTaken(_)) => {}
            started => return started,
        }
    }
    start(free_address()).await
}
