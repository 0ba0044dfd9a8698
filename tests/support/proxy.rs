//! Small proxies: they log what they are asked for, and lead to a server of the test's, whatever its name.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// A proxy on a free port of 127.0.0.1.
pub struct Proxy {
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a proxy does with who calls.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// SOCKS 5, for everybody.
    Socks,
    /// SOCKS 5, for who has this login.
    SocksLogin(&'static str, &'static str),
    /// SOCKS 5 that answers a request with this code.
    SocksCode(u8),
    /// SOCKS 5 that says with its own answer what the server has said by then.
    SocksAtOnce,
    /// HTTP, for everybody.
    Connect,
    /// HTTP, for who has this login in Base64.
    ConnectLogin(&'static str),
    /// Says this to whatever is said, and closes.
    Says(&'static str),
    /// Says nothing.
    Silent,
}

impl Proxy {
    /// A proxy that leads to `server`, a port of 127.0.0.1.
    pub fn new(manner: Manner, server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (asked, stop) = (asked.clone(), stop.clone());
            move || {
                let mut calls = Vec::new();
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let (asked, stream) = (asked.clone(), stream.expect("a connection"));
                    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
                    // Who goes away in between has its reasons; what was asked is what counts.
                    calls.push(thread::spawn(move || drop(serve(manner, stream, server, &asked))));
                }
                for call in calls {
                    call.join().expect("a proxy that works");
                }
            }
        });
        Self { port, asked, stop, thread: Some(thread) }
    }

    /// Everything that was asked for: "mx.example:587", a login before it as "ada/secret ".
    pub fn asked(mut self) -> Vec<String> {
        self.finish();
        self.asked.lock().expect("no test panics with it").clone()
    }

    fn finish(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stop.store(true, Ordering::SeqCst);
        // Wakes it up.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if !thread::panicking() {
            thread.join().expect("a proxy that works");
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.finish();
    }
}

fn serve(manner: Manner, mut stream: TcpStream, server: u16, asked: &Mutex<Vec<String>>) -> io::Result<()> {
    let note = |what: String| asked.lock().expect("no test panics with it").push(what);
    match manner {
        Manner::Silent => {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).map(drop)
        }
        Manner::Says(text) => {
            let mut heard = [0; 4096];
            let count = stream.read(&mut heard)?;
            note(String::from_utf8_lossy(&heard[..count]).into_owned());
            stream.write_all(text.as_bytes())
        }
        Manner::Connect | Manner::ConnectLogin(_) => {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).expect("a request in UTF-8");
            let target = head.lines().next().expect("a line").strip_prefix("CONNECT ").expect("CONNECT");
            note(target.strip_suffix(" HTTP/1.1").expect("HTTP/1.1").to_owned());
            if let Manner::ConnectLogin(login) = manner
                && !head.contains(&format!("\r\nProxy-Authorization: Basic {login}\r\n"))
            {
                // Some give back what they heard.
                let heard = head.replace("\r\n", " ");
                return stream.write_all(format!("HTTP/1.1 407 {heard}\r\n\r\n").as_bytes());
            }
            let upstream = TcpStream::connect(("127.0.0.1", server))?;
            stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")?;
            pump(stream, upstream)
        }
        Manner::Socks | Manner::SocksLogin(..) | Manner::SocksCode(_) | Manner::SocksAtOnce => {
            let Some(target) = socks_request(manner, &mut stream)? else { return Ok(()) };
            note(target);
            let code = if let Manner::SocksCode(code) = manner { code } else { 0 };
            let mut answer = [&[5, code, 0, 1][..], &[0; 6]].concat();
            if code != 0 {
                return stream.write_all(&answer);
            }
            let mut upstream = TcpStream::connect(("127.0.0.1", server))?;
            if let Manner::SocksAtOnce = manner {
                let mut greeting = [0; 4096];
                let count = upstream.read(&mut greeting)?;
                answer.extend_from_slice(&greeting[..count]);
            }
            stream.write_all(&answer)?;
            pump(stream, upstream)
        }
    }
}

/// Hears methods, login and request; gives back what is asked for.
fn socks_request(manner: Manner, stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut exactly = |count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).map(|()| bytes)
    };
    let head = exactly(2)?;
    assert_eq!(head[0], 5, "SOCKS 5");
    let methods = exactly(usize::from(head[1]))?;
    let mut target = String::new();
    if let Manner::SocksLogin(user, password) = manner {
        if !methods.contains(&2) {
            stream.write_all(&[5, 0xFF])?;
            return Ok(None);
        }
        stream.write_all(&[5, 2])?;
        let mut text = |skip: usize| {
            let mut head = vec![0; skip + 1];
            stream.read_exact(&mut head)?;
            let mut text = vec![0; usize::from(head[skip])];
            stream.read_exact(&mut text)?;
            Ok::<_, io::Error>(String::from_utf8(text).expect("text"))
        };
        let login = (text(1)?, text(0)?);
        let is_right = login == (user.to_owned(), password.to_owned());
        stream.write_all(&[1, u8::from(!is_right)])?;
        if !is_right {
            return Ok(None);
        }
        target = format!("{}/{} ", login.0, login.1);
    } else {
        stream.write_all(&[5, 0])?;
    }
    let mut exactly = |count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).map(|()| bytes)
    };
    let host = match exactly(4)?[3] {
        1 => exactly(4)?.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
        3 => {
            let length = usize::from(exactly(1)?[0]);
            String::from_utf8(exactly(length)?).expect("a name")
        }
        kind => panic!("address of kind {kind}"),
    };
    let port = exactly(2)?;
    Ok(Some(format!("{target}{host}:{}", u16::from_be_bytes([port[0], port[1]]))))
}

/// Moves bytes both ways until both sides have ended.
fn pump(client: TcpStream, server: TcpStream) -> io::Result<()> {
    let one_way = |mut from: TcpStream, mut to: TcpStream| {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        })
    };
    let up = one_way(client.try_clone()?, server.try_clone()?);
    let down = one_way(server, client);
    up.join().and_then(|()| down.join()).expect("bytes move");
    Ok(())
}
