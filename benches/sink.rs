//! A mail server that takes everything and keeps nothing: as little work as possible, the same for all.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use memchr::{memchr, memmem};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

const BUFFER: usize = 256 * 1024;
const END: &[u8] = b"\r\n.\r\n";

/// A server on a free port of 127.0.0.1, as long as the process lives.
pub struct Sink {
    pub port: u16,
    taken: Arc<AtomicU64>,
    octets: Arc<AtomicU64>,
}

/// A private authority's certificate in PEM, and a server of that authority.
pub struct Authority {
    pub ca: String,
    config: Arc<ServerConfig>,
}

impl Authority {
    pub fn new() -> Self {
        let ca_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        // Two certificates of one name look self-signed to OpenSSL.
        params.distinguished_name.push(DnType::CommonName, "Authority of the benchmarks");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).expect("a certificate").pem();
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().expect("a key");
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let own = CertificateParams::new(names).expect("valid names").signed_by(&key, &issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(own.pem().as_bytes()).expect("PEM")],
                PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("PEM"),
            )
            .expect("an identity");
        Self { ca, config: Arc::new(config) }
    }
}

impl Sink {
    /// Offers these extensions; STARTTLS among them is done with the authority.
    pub fn new(offers: &'static [&'static str], authority: &Authority) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (taken, octets) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let sink = Self { port, taken: taken.clone(), octets: octets.clone() };
        let config = authority.config.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let talk = Talk {
                    offers,
                    config: config.clone(),
                    taken: taken.clone(),
                    octets: octets.clone(),
                    buffer: vec![0; BUFFER],
                    ahead: 0..0,
                    replies: Vec::new(),
                };
                // Who goes in the middle is missed by the count.
                thread::spawn(move || drop(talk.run(stream)));
            }
        });
        sink
    }

    /// Messages taken so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }

    /// Octets of contents taken so far, as they came.
    pub fn octets(&self) -> u64 {
        self.octets.load(Ordering::SeqCst)
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

struct Talk {
    offers: &'static [&'static str],
    config: Arc<ServerConfig>,
    taken: Arc<AtomicU64>,
    octets: Arc<AtomicU64>,
    buffer: Vec<u8>,
    /// What of the buffer is read and not used yet.
    ahead: Range<usize>,
    replies: Vec<u8>,
}

impl Talk {
    fn run(mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut plain = stream.try_clone()?;
        plain.write_all(b"220 sink.example ESMTP\r\n")?;
        if self.converse(&mut plain, false)? {
            let connection = ServerConnection::new(self.config.clone()).map_err(io::Error::other)?;
            self.converse(&mut StreamOwned::new(connection, stream), true)?;
        }
        Ok(())
    }

    /// Answers until the end; true if TLS is to begin.
    fn converse(&mut self, stream: &mut dyn Stream, is_tls: bool) -> io::Result<bool> {
        while let Some(line) = self.line(stream)? {
            let upper = line.to_ascii_uppercase();
            let mut words = upper.split(' ');
            let reply: &[u8] = match words.next().unwrap_or_default() {
                "EHLO" => {
                    let offers = self.offers.iter().filter(|offer| !(is_tls && **offer == "STARTTLS"));
                    let mut reply = String::from("250-sink.example\r\n");
                    offers.for_each(|offer| reply += &format!("250-{offer}\r\n"));
                    reply += "250 8BITMIME\r\n";
                    self.replies.extend_from_slice(reply.as_bytes());
                    continue;
                }
                "STARTTLS" => {
                    self.replies.extend_from_slice(b"220 go ahead\r\n");
                    self.answer(stream)?;
                    return Ok(true);
                }
                "AUTH" if words.clone().count() < 2 => {
                    self.replies.extend_from_slice(b"334 \r\n");
                    self.line(stream)?;
                    b"235 logged in\r\n"
                }
                "AUTH" => b"235 logged in\r\n",
                "DATA" => {
                    self.replies.extend_from_slice(b"354 go ahead\r\n");
                    self.data(stream)?;
                    self.taken.fetch_add(1, Ordering::SeqCst);
                    b"250 taken\r\n"
                }
                "BDAT" => {
                    let length = words.next().and_then(|length| length.parse().ok()).unwrap_or(0);
                    self.skip(stream, length)?;
                    if words.next() == Some("LAST") {
                        self.taken.fetch_add(1, Ordering::SeqCst);
                    }
                    b"250 taken\r\n"
                }
                "QUIT" => {
                    // Who does not wait for it is gone.
                    self.replies.extend_from_slice(b"221 bye\r\n");
                    let _ = self.answer(stream);
                    return Ok(false);
                }
                _ => b"250 fine\r\n",
            };
            self.replies.extend_from_slice(reply);
        }
        Ok(false)
    }

    /// Answers everything that has come.
    fn answer(&mut self, stream: &mut dyn Stream) -> io::Result<()> {
        if !self.replies.is_empty() {
            stream.write_all(&self.replies)?;
            stream.flush()?;
            self.replies.clear();
        }
        Ok(())
    }

    fn ahead(&self) -> &[u8] {
        &self.buffer[self.ahead.clone()]
    }

    /// Reads behind what is there; false at the end. What has come is answered first: all of a group at once.
    fn more(&mut self, stream: &mut dyn Stream) -> io::Result<bool> {
        self.answer(stream)?;
        self.buffer.copy_within(self.ahead.clone(), 0);
        self.ahead = 0..self.ahead.len();
        let count = stream.read(&mut self.buffer[self.ahead.end..])?;
        self.ahead.end += count;
        Ok(count > 0)
    }

    fn line(&mut self, stream: &mut dyn Stream) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = memchr(b'\n', self.ahead()) {
                let line = String::from_utf8_lossy(&self.ahead()[..end]).trim_end().to_owned();
                self.ahead.start += end + 1;
                return Ok(Some(line));
            }
            if !self.more(stream)? {
                return Ok(None);
            }
        }
    }

    fn data(&mut self, stream: &mut dyn Stream) -> io::Result<()> {
        loop {
            if let Some(at) = memmem::find(self.ahead(), END) {
                self.octets.fetch_add(at as u64 + 2, Ordering::SeqCst);
                self.ahead.start += at + END.len();
                return Ok(());
            }
            // The end may be cut.
            let done = self.ahead.len().saturating_sub(END.len() - 1);
            self.octets.fetch_add(done as u64, Ordering::SeqCst);
            self.ahead.start += done;
            if !self.more(stream)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn skip(&mut self, stream: &mut dyn Stream, length: usize) -> io::Result<()> {
        let mut left = length;
        loop {
            let done = self.ahead.len().min(left);
            self.ahead.start += done;
            left -= done;
            if left == 0 {
                self.octets.fetch_add(length as u64, Ordering::SeqCst);
                return Ok(());
            }
            if !self.more(stream)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
