//! A long line to a server on this machine: everything arrives half a round trip later.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Starts a proxy in front of `target` and returns its port.
///
/// The kernel connects a client to the proxy at once. The round trip that connecting takes on a long line is made good
/// by letting the first word of the server, for which every client waits, leave a whole round trip later.
pub fn start(target: u16, round_trip: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let connected = Instant::now() + round_trip;
            let server = TcpStream::connect(("127.0.0.1", target)).expect("the server behind the proxy");
            let pairs = [(&client, &server), (&server, &client)];
            for (from, to) in pairs.map(|(from, to)| (from.try_clone(), to.try_clone())) {
                let (from, to) = (from.expect("a socket"), to.expect("a socket"));
                to.set_nodelay(true).expect("no delay");
                carry(from, to, connected, round_trip);
            }
        }
    });
    port
}

fn carry(mut from: TcpStream, mut to: TcpStream, connected: Instant, round_trip: Duration) {
    let (sender, line) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut block = vec![0; 64 * 1024];
        loop {
            // A reset ends like a farewell.
            let count = from.read(&mut block).unwrap_or(0);
            let due = Instant::now().max(connected) + round_trip / 2;
            if sender.send((due, block[..count].to_vec())).is_err() || count == 0 {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in line {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if bytes.is_empty() || to.write_all(&bytes).is_err() {
                break;
            }
        }
        // It may be gone already.
        let _ = to.shutdown(Shutdown::Write);
    });
}
