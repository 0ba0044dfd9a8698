//! A scripted SMTP server: what it says to what it hears is the test's, line by line. It hears on a thread of its own;
//! a script that fails makes the test fail, and so does a server that nobody called.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    panic,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::certificates::{Identity, authority};

/// A read that takes longer hangs: the test has gone wrong.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a free port of 127.0.0.1.
pub struct Server {
    pub port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
    stop: Arc<AtomicBool>,
    must_be_called: bool,
    thread: Option<JoinHandle<()>>,
}

/// What one connection has said.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// Every line that was heard as a command.
    pub commands: Vec<String>,
    /// Every message, its dots taken away.
    pub messages: Vec<Vec<u8>>,
    /// Whether TLS was spoken.
    pub is_tls: bool,
}

impl Server {
    /// Runs `script` for each connection; it gets the connection's number, from 0.
    pub fn new(script: impl Fn(&mut Talk, usize) + Send + Sync + 'static) -> Self {
        Self::start(script, true)
    }

    /// A server that nobody may call.
    pub fn uncalled() -> Self {
        Self::start(|_, _| panic!("somebody connected"), false)
    }

    fn start(script: impl Fn(&mut Talk, usize) + Send + Sync + 'static, must_be_called: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let script = Arc::new(script);
        let thread = thread::spawn({
            let (heard, stop) = (heard.clone(), stop.clone());
            move || {
                let mut talks = Vec::new();
                for (number, stream) in listener.incoming().enumerate() {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let (script, heard) = (script.clone(), heard.clone());
                    heard.lock().expect("no test panics with it").push(Heard::default());
                    talks.push(thread::spawn(move || {
                        let mut talk = Talk::new(stream.expect("a connection"));
                        let ended = panic::catch_unwind(panic::AssertUnwindSafe(|| script(&mut talk, number)));
                        heard.lock().expect("no test panics with it")[number] = talk.heard;
                        if let Err(error) = ended {
                            panic::resume_unwind(error);
                        }
                    }));
                }
                for talk in talks {
                    if let Err(error) = talk.join() {
                        panic::resume_unwind(error);
                    }
                }
            }
        });
        Self { port, heard, stop, must_be_called, thread: Some(thread) }
    }

    /// What all connections said, once the script of each has ended.
    pub fn heard(mut self) -> Vec<Heard> {
        self.finish();
        self.heard.lock().expect("no test panics with it").clone()
    }

    /// What the only connection said.
    #[track_caller]
    pub fn only(self) -> Heard {
        let mut heard = self.heard();
        assert_eq!(heard.len(), 1, "connections");
        heard.remove(0)
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    fn finish(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stop.store(true, Ordering::SeqCst);
        // Wakes it up.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Err(error) = thread.join()
            && !thread::panicking()
        {
            panic::resume_unwind(error);
        }
        let is_called = !self.heard.lock().expect("no test panics with it").is_empty();
        if !thread::panicking() {
            assert_eq!(is_called, self.must_be_called, "whether the server was called");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.finish();
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
    Gone,
}

/// One connection, from the server's side.
pub struct Talk {
    stream: Stream,
    buffer: Vec<u8>,
    pub heard: Heard,
}

impl Talk {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        stream.set_nodelay(true).expect("no delay");
        Self { stream: Stream::Plain(stream), buffer: Vec::new(), heard: Heard::default() }
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut block = [0; 64 * 1024];
        let count = match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut block)?,
            Stream::Tls(stream) => stream.read(&mut block)?,
            Stream::Gone => 0,
        };
        self.buffer.extend_from_slice(&block[..count]);
        Ok(count)
    }

    /// Says bytes as they are. A client that has gone does not hear them.
    pub fn say_bytes(&mut self, bytes: &[u8]) {
        let _ = match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Stream::Gone => Ok(()),
        };
    }

    /// Says lines, each of `text` ended by CRLF.
    pub fn say(&mut self, text: &str) {
        self.say_bytes((text.replace('\n', "\r\n") + "\r\n").as_bytes());
    }

    /// The next line without its CRLF, or `None` at the end.
    pub fn hear_or_end(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line = String::from_utf8(line).expect("a command in UTF-8");
                let line = line.strip_suffix("\r\n").expect("a command ends with CRLF").to_owned();
                self.heard.commands.push(line.clone());
                return Some(line);
            }
            match self.read() {
                Ok(0) => return None,
                Ok(_) => {}
                // A client that is killed, or breaks off a handshake, ends so.
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return None,
                Err(_) => panic!("nothing is heard any more; so far: {:#?}", self.heard.commands),
            }
        }
    }

    /// The next line.
    #[track_caller]
    pub fn hear(&mut self) -> String {
        let so_far = self.heard.commands.clone();
        self.hear_or_end().unwrap_or_else(|| panic!("the client has gone; so far: {so_far:#?}"))
    }

    /// The next line, which begins so.
    #[track_caller]
    pub fn expect(&mut self, start: &str) -> String {
        let line = self.hear();
        assert!(line.starts_with(start), "'{line}' is heard instead of '{start}'");
        line
    }

    /// Hears a command that begins so, and answers.
    #[track_caller]
    pub fn answer(&mut self, start: &str, reply: &str) -> String {
        let line = self.expect(start);
        self.say(reply);
        line
    }

    /// Greets, and answers EHLO with these offers.
    #[track_caller]
    pub fn greet(&mut self, offers: &str) {
        self.say("220 mx.example ESMTP");
        self.hello(offers);
    }

    /// Answers EHLO with these offers.
    #[track_caller]
    pub fn hello(&mut self, offers: &str) {
        let mut lines: Vec<&str> = vec!["mx.example"];
        lines.extend(offers.split(',').map(str::trim).filter(|offer| !offer.is_empty()));
        let last = lines.len() - 1;
        let reply: Vec<String> = lines
            .iter()
            .enumerate()
            .map(|(number, line)| format!("250{}{line}", if number == last { ' ' } else { '-' }))
            .collect();
        self.answer("EHLO ", &reply.join("\n"));
    }

    /// Hears a message up to its lone dot, takes the dots away and keeps it.
    #[track_caller]
    pub fn data(&mut self) -> Vec<u8> {
        let end = loop {
            if self.buffer.starts_with(b".\r\n") {
                break 0;
            }
            if let Some(at) = self.buffer.windows(5).position(|five| five == b"\r\n.\r\n") {
                break at + 2;
            }
            assert!(self.read().is_ok_and(|count| count > 0), "the message ends before its lone dot");
        };
        let stuffed: Vec<u8> = self.buffer.drain(..end).collect();
        self.buffer.drain(..3);
        let mut message = Vec::new();
        for line in stuffed.split_inclusive(|&byte| byte == b'\n') {
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        self.heard.messages.push(message.clone());
        message
    }

    /// Hears BDAT LAST and its octets.
    #[track_caller]
    pub fn bdat(&mut self) -> Vec<u8> {
        let line = self.expect("BDAT ");
        let size: usize = line
            .strip_prefix("BDAT ")
            .and_then(|rest| rest.strip_suffix(" LAST"))
            .expect("BDAT n LAST")
            .parse()
            .expect("a size");
        while self.buffer.len() < size {
            assert!(self.read().is_ok_and(|count| count > 0), "the chunk ends before its size");
        }
        let message: Vec<u8> = self.buffer.drain(..size).collect();
        self.heard.messages.push(message.clone());
        message
    }

    /// Whether something more is here within the time.
    pub fn has_more_within(&mut self, time: Duration) -> bool {
        if !self.buffer.is_empty() {
            return true;
        }
        self.limit(time);
        let more = self.read().is_ok_and(|count| count > 0);
        self.limit(PATIENCE);
        more
    }

    fn limit(&mut self, time: Duration) {
        let stream = match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref(),
            Stream::Gone => return,
        };
        stream.set_read_timeout(Some(time)).expect("a time limit");
    }

    /// Hears everything up to the client's end.
    pub fn hear_to_the_end(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.hear_or_end()).collect()
    }

    /// Waits until the client has gone, whatever it still says.
    pub fn hear_to_the_end_or_reset(&mut self) {
        while self.read().is_ok_and(|count| count > 0) {
            self.buffer.clear();
        }
    }

    /// Changes to TLS; tells whether the client agreed.
    pub fn tls(&mut self, identity: &Identity) -> bool {
        self.tls_with(identity, false)
    }

    /// The same; the client must show a certificate of the authority.
    pub fn tls_with(&mut self, identity: &Identity, wants_client: bool) -> bool {
        self.tls_of(&[&rustls::version::TLS13, &rustls::version::TLS12], identity, wants_client)
    }

    /// The same, with these versions.
    pub fn tls_of(
        &mut self,
        versions: &[&'static SupportedProtocolVersion],
        identity: &Identity,
        wants_client: bool,
    ) -> bool {
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else { panic!("TLS twice") };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).expect("versions");
        let builder = if wants_client {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority().ca.as_bytes()).expect("PEM")).expect("a root");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(identity.chain.as_bytes()).map(|der| der.expect("PEM")).collect();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
        let config = Arc::new(builder.with_single_cert(chain, key).expect("an identity"));
        let mut connection = ServerConnection::new(config).expect("a connection");
        let mut stream = stream;
        while connection.is_handshaking() {
            if connection.complete_io(&mut stream).is_err() {
                // The alert still goes out.
                let _ = connection.complete_io(&mut stream);
                return false;
            }
        }
        self.heard.is_tls = true;
        self.stream = Stream::Tls(Box::new(StreamOwned::new(connection, stream)));
        true
    }

    /// What only the two ends of this TLS connection know (RFC 9266).
    pub fn exported(&self) -> Vec<u8> {
        let Stream::Tls(stream) = &self.stream else { panic!("no TLS") };
        stream.conn.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None).expect("a binding")
    }

    /// Ends without a word.
    pub fn close(&mut self) {
        match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Plain(stream) => drop(stream.shutdown(Shutdown::Both)),
            Stream::Tls(stream) => drop(stream.get_ref().shutdown(Shutdown::Both)),
            Stream::Gone => {}
        }
    }

    /// Ends with a reset instead of a farewell.
    pub fn reset(&mut self) {
        let stream = match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.into_parts().1,
            Stream::Gone => return,
        };
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("no lingering");
    }

    /// The whole of a plain transaction for one message with DATA: everybody is willing.
    #[track_caller]
    pub fn take_one(&mut self, recipients: usize) -> Vec<u8> {
        self.answer("MAIL FROM:", "250 2.1.0 Ok");
        for _ in 0..recipients {
            self.answer("RCPT TO:", "250 2.1.5 Ok");
        }
        self.answer("DATA", "354 go ahead");
        let message = self.data();
        self.say("250 2.0.0 Ok: queued as 4F2");
        message
    }

    /// Hears a window of so many messages with BDAT, one recipient each, and answers nothing.
    #[track_caller]
    pub fn window(&mut self, messages: usize) {
        for message in 0..messages {
            if message > 0 {
                self.expect("RSET");
            }
            self.expect("MAIL");
            self.expect("RCPT");
            self.bdat();
        }
    }
}
