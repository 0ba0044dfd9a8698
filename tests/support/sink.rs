//! A server for batches: it takes any number of messages over any number of connections, each heard on a thread of its
//! own, and remembers all of them with their envelopes. It is as obliging as can be, unless a test has it otherwise.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// A read that takes longer hangs: the test has gone wrong.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of a chunk about so many octets are kept.
const KEPT: usize = 1 << 20;

/// Such a server on a free port of 127.0.0.1.
pub struct Sink {
    pub port: u16,
    store: Arc<Store>,
    listener: Option<JoinHandle<()>>,
}

/// A message, and how it came.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    pub sender: String,
    pub recipients: Vec<String>,
    /// As text; every composed message is 7-bit.
    pub content: String,
}

/// What a connection has just heard.
pub enum Heard<'a> {
    /// Somebody has connected.
    Connect,
    /// AUTH.
    Login,
    /// MAIL FROM.
    Mail,
    /// The address in RCPT TO, and how many the transaction has already.
    Rcpt(&'a str, usize),
    /// The whole message.
    Content(&'a Taken),
}

/// Where that was heard.
pub struct Moment<'a> {
    /// From 0.
    pub connection: usize,
    /// Messages that this connection has given so far.
    pub taken: usize,
    pub heard: Heard<'a>,
}

/// What it does then.
pub enum Act {
    /// Agree.
    Agree,
    /// Say this instead; 421 hangs up, too.
    Say(String),
    /// Hang up.
    HangUp,
    /// Store the message, and hang up without a word.
    Swallow,
}

type Manner = dyn Fn(&Moment<'_>) -> Act + Send + Sync;

struct Store {
    offers: Vec<String>,
    manner: Box<Manner>,
    taken: Mutex<Vec<Taken>>,
    streams: Mutex<Vec<TcpStream>>,
    /// Connections that are still heard.
    heard: AtomicUsize,
    stop: AtomicBool,
}

impl Store {
    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for recipient in locked(&self.taken).iter().flat_map(|taken| &taken.recipients) {
            *counts.entry(recipient.clone()).or_default() += 1;
        }
        counts
    }
}

impl Sink {
    /// Offers these extensions, a comma between them, and agrees to everything.
    pub fn new(offers: &str) -> Self {
        Self::with(offers, |_| Act::Agree)
    }

    /// Agrees to everything, but takes this time for each message.
    pub fn slow(offers: &str, time: Duration) -> Self {
        Self::slow_at(0, offers, time)
    }

    /// The same on this port.
    pub fn slow_at(port: u16, offers: &str, time: Duration) -> Self {
        Self::at(port, offers, move |moment| {
            if let Heard::Content(_) = moment.heard {
                thread::sleep(time);
            }
            Act::Agree
        })
    }

    /// Does what `manner` says.
    pub fn with(offers: &str, manner: impl Fn(&Moment<'_>) -> Act + Send + Sync + 'static) -> Self {
        Self::at(0, offers, manner)
    }

    /// The same on this port.
    pub fn at(port: u16, offers: &str, manner: impl Fn(&Moment<'_>) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let store = Arc::new(Store {
            offers: offers.split(',').map(|offer| offer.trim().to_owned()).filter(|offer| !offer.is_empty()).collect(),
            manner: Box::new(manner),
            taken: Mutex::default(),
            streams: Mutex::default(),
            heard: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let thread = thread::spawn({
            let store = store.clone();
            move || {
                let mut lines = Vec::new();
                for (number, stream) in listener.incoming().enumerate() {
                    if store.stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let stream = stream.expect("a connection");
                    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
                    stream.set_nodelay(true).expect("no delay");
                    locked(&store.streams).push(stream.try_clone().expect("a second handle"));
                    let store = store.clone();
                    store.heard.fetch_add(1, Ordering::SeqCst);
                    lines.push(thread::spawn(move || {
                        let _until_here = Heartbeat(&store.heard);
                        Line::new(stream, number, &store).run();
                    }));
                }
                for line in lines {
                    // A manner that fails has said so on standard error.
                    let _ = line.join();
                }
            }
        });
        Self { port, store, listener: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// All messages so far.
    pub fn taken(&self) -> Vec<Taken> {
        locked(&self.store.taken).clone()
    }

    /// How many messages each recipient has got.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.store.counts()
    }

    /// Goes away; how many messages each recipient had got by then.
    pub fn end(self) -> BTreeMap<String, usize> {
        let store = self.store.clone();
        drop(self);
        store.counts()
    }

    /// Waits until everything is heard that a client has left behind.
    pub fn rest(&self) {
        let start = std::time::Instant::now();
        while self.store.heard.load(Ordering::SeqCst) > 0 {
            assert!(start.elapsed() < PATIENCE, "a connection does not end");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// How many messages there are.
    pub fn count(&self) -> usize {
        locked(&self.store.taken).len()
    }
}

/// A connection that is heard, however it ends.
struct Heartbeat<'a>(&'a AtomicUsize);

impl Drop for Heartbeat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.store.stop.store(true, Ordering::SeqCst);
        for stream in locked(&self.store.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes it up.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Taken {
    /// The field of this name, unfolded.
    pub fn field(&self, name: &str) -> Option<String> {
        let head = self.content.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ");
        let start = format!("{name}: ");
        head.lines().find_map(|line| line.strip_prefix(&start).map(|value| value.trim_end().to_owned()))
    }

    /// What stands behind the header.
    pub fn body(&self) -> &str {
        self.content.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection.
struct Line<'a> {
    stream: TcpStream,
    store: &'a Store,
    number: usize,
    buffer: Vec<u8>,
    /// Replies that leave once nothing more is here to be heard.
    replies: Vec<u8>,
    taken: usize,
    open: Option<Taken>,
}

/// The conversation is over.
struct Over;

impl<'a> Line<'a> {
    fn new(stream: TcpStream, number: usize, store: &'a Store) -> Self {
        Self { stream, store, number, buffer: Vec::new(), replies: Vec::new(), taken: 0, open: None }
    }

    fn run(mut self) {
        // Whether it was the client or the server that has ended it is the test's business.
        let _ = self.talk();
        let _ = self.flush();
        // A client that still sends must not lose the replies to a reset.
        let _ = self.stream.shutdown(Shutdown::Write);
        let _ = io::copy(&mut self.stream, &mut io::sink());
    }

    fn talk(&mut self) -> Result<(), Over> {
        self.act(Heard::Connect, "220 sink.example ESMTP")?;
        loop {
            let line = self.line()?;
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => {
                    let offers = ["sink.example"].into_iter().chain(self.store.offers.iter().map(String::as_str));
                    let mut lines: Vec<String> = offers.map(|offer| format!("250-{offer}\r\n")).collect();
                    if let Some(last) = lines.last_mut() {
                        last.replace_range(3..4, " ");
                    }
                    self.replies.extend_from_slice(lines.concat().as_bytes());
                }
                "AUTH" => drop(self.act(Heard::Login, "235 2.7.0 welcome")?),
                "MAIL" => {
                    self.open = None;
                    let sender = address(&line);
                    if self.act(Heard::Mail, "250 2.1.0 Ok")? {
                        self.open = Some(Taken { sender, ..Taken::default() });
                    }
                }
                "RCPT" => {
                    let recipient = address(&line);
                    match self.open.as_ref().map(|open| open.recipients.len()) {
                        None => self.say("503 5.5.1 no MAIL"),
                        Some(count) => {
                            if self.act(Heard::Rcpt(&recipient, count), "250 2.1.5 Ok")?
                                && let Some(open) = &mut self.open
                            {
                                open.recipients.push(recipient);
                            }
                        }
                    }
                }
                "DATA" => match self.open.take_if(|open| !open.recipients.is_empty()) {
                    None => self.say("554 5.5.1 no valid recipients"),
                    Some(open) => {
                        self.say("354 go ahead");
                        let content = self.data()?;
                        self.content(open, content)?;
                    }
                },
                "BDAT" => {
                    let size = line.split(' ').nth(1).and_then(|size| size.parse().ok()).expect("a size");
                    let content = self.octets(size)?;
                    match self.open.take_if(|open| !open.recipients.is_empty()) {
                        None => self.say("503 5.5.1 no valid recipients"),
                        Some(mut open) => {
                            open.content.push_str(&String::from_utf8_lossy(&content));
                            if line.to_ascii_uppercase().ends_with(" LAST") {
                                self.content(open, Vec::new())?;
                            } else {
                                self.open = Some(open);
                                self.say("250 2.0.0 more");
                            }
                        }
                    }
                }
                "RSET" => {
                    self.open = None;
                    self.say("250 2.0.0 Ok");
                }
                "QUIT" => {
                    self.say("221 2.0.0 bye");
                    return Err(Over);
                }
                _ => self.say("250 2.0.0 Ok"),
            }
        }
    }

    fn content(&mut self, mut open: Taken, content: Vec<u8>) -> Result<(), Over> {
        open.content.push_str(&String::from_utf8_lossy(&content));
        match self.decide(Heard::Content(&open)) {
            Act::Agree => {
                locked(&self.store.taken).push(open);
                self.taken += 1;
                self.say("250 2.0.0 Ok: queued");
                Ok(())
            }
            Act::Say(text) => self.say_or_end(&text),
            Act::HangUp => Err(Over),
            Act::Swallow => {
                locked(&self.store.taken).push(open);
                Err(Over)
            }
        }
    }

    /// Does what it has to, or agrees with `usual`; tells whether it has agreed.
    fn act(&mut self, heard: Heard<'_>, usual: &str) -> Result<bool, Over> {
        match self.decide(heard) {
            Act::Agree => {
                self.say(usual);
                Ok(true)
            }
            Act::Say(text) => self.say_or_end(&text).map(|()| false),
            Act::HangUp | Act::Swallow => Err(Over),
        }
    }

    fn decide(&self, heard: Heard<'_>) -> Act {
        (self.store.manner)(&Moment { connection: self.number, taken: self.taken, heard })
    }

    fn say_or_end(&mut self, text: &str) -> Result<(), Over> {
        self.say(text);
        if text.starts_with("421") { Err(Over) } else { Ok(()) }
    }

    fn say(&mut self, text: &str) {
        self.replies.extend_from_slice(text.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
    }

    fn flush(&mut self) -> Result<(), Over> {
        let result = self.stream.write_all(&self.replies);
        self.replies.clear();
        result.map_err(|_| Over)
    }

    /// Hears more; what is to be said is said before.
    fn hear(&mut self) -> Result<(), Over> {
        self.flush()?;
        let mut block = [0; 64 * 1024];
        match self.stream.read(&mut block) {
            Ok(0) | Err(_) => Err(Over),
            Ok(count) => {
                self.buffer.extend_from_slice(&block[..count]);
                Ok(())
            }
        }
    }

    fn line(&mut self) -> Result<String, Over> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.hear()?;
        }
    }

    /// So many octets; of very many only the first are kept.
    fn octets(&mut self, count: usize) -> Result<Vec<u8>, Over> {
        let mut octets = Vec::new();
        let mut left = count;
        while left > 0 {
            if self.buffer.is_empty() {
                self.hear()?;
            }
            let part = self.buffer.drain(..left.min(self.buffer.len()));
            left -= part.len();
            if octets.len() < KEPT {
                octets.extend(part);
            }
        }
        Ok(octets)
    }

    /// A message up to its lone dot, the dots taken away.
    fn data(&mut self) -> Result<Vec<u8>, Over> {
        let mut message = Vec::new();
        loop {
            let line = loop {
                match memchr(&self.buffer) {
                    Some(end) => break self.buffer.drain(..=end).collect::<Vec<u8>>(),
                    None => self.hear()?,
                }
            };
            if line == b".\r\n" {
                return Ok(message);
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }
}

fn memchr(buffer: &[u8]) -> Option<usize> {
    buffer.iter().position(|&byte| byte == b'\n')
}

/// What stands in angle brackets.
fn address(line: &str) -> String {
    line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(address, _)| address).to_owned()
}
