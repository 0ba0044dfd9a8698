//! A provider of tokens: device codes, consent, tokens, and a strict rotation of refresh tokens (RFC 6749, RFC 7636,
//! RFC 8628, RFC 7523). It keeps every request; a test may answer one itself.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use encodify::base64::URL_SAFE_NO_PAD;
use ring::{
    digest::{SHA256, digest},
    rsa::KeyPair,
    signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};

pub const KEY: &str = include_str!("keys/pkcs8.pem");
pub const CERTIFICATE: &str = include_str!("keys/certificate.pem");
/// The secret of the client, which no output may show.
pub const CLIENT_SECRET: &str = "canary-client-secret";

/// A request, its form or query decoded.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub path: String,
    pub fields: Vec<(String, String)>,
}

impl Asked {
    pub fn get(&self, name: &str) -> &str {
        self.fields.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }
}

/// What a test answers instead.
pub enum Answer {
    /// This status, content type and body.
    Say(u16, &'static str, String),
    /// Nothing, for as long as the client waits.
    Hang,
}

type Script = dyn Fn(&Asked) -> Option<Answer> + Send + Sync;

#[derive(Default)]
struct State {
    asked: Vec<Asked>,
    /// Seconds that tokens live.
    lifetime: u64,
    /// How often a device has to ask.
    pending: u32,
    issued: u32,
    /// The newest refresh token, and the one it was given for, which is good until the newest is used.
    newest: String,
    before: String,
    access: Vec<String>,
    /// Of the request for consent: challenge and redirect.
    consent: (String, String),
}

/// A provider on a free port of 127.0.0.1.
#[derive(Clone)]
pub struct Provider {
    state: Arc<Mutex<State>>,
    running: Arc<Running>,
}

struct Running {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        let thread = self.thread.lock().expect("no test panics with it").take().expect("one end");
        if thread.join().is_err() && !thread::panicking() {
            panic!("the provider has panicked");
        }
    }
}

impl Provider {
    pub fn new() -> Self {
        Self::with(|_| None)
    }

    /// A provider whose answers `script` may give.
    pub fn with(script: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State { lifetime: 3_600, ..State::default() }));
        let (stop, script): (_, Arc<Script>) = (Arc::new(AtomicBool::new(false)), Arc::new(script));
        let thread = thread::spawn({
            let (state, stop) = (state.clone(), stop.clone());
            move || {
                let mut talks = Vec::new();
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let (state, script) = (state.clone(), script.clone());
                    talks.push(thread::spawn(move || serve(stream.expect("a connection"), &state, &*script)));
                }
                for talk in talks {
                    talk.join().expect("a request that can be answered");
                }
            }
        });
        let running = Arc::new(Running { port, stop, thread: Mutex::new(Some(thread)) });
        Self { state, running }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.running.port)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    pub fn set_lifetime(&self, seconds: u64) {
        self.state().lifetime = seconds;
    }

    pub fn set_pending(&self, times: u32) {
        self.state().pending = times;
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// The requests for this kind of grant.
    pub fn grants(&self, kind: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.get("grant_type") == kind).collect()
    }

    pub fn newest_refresh_token(&self) -> String {
        self.state().newest.clone()
    }

    /// Whether this access token was given out.
    pub fn has_given(&self, token: &str) -> bool {
        self.state().access.iter().any(|given| given == token)
    }

    /// The newest access token.
    pub fn newest_access_token(&self) -> String {
        self.state().access.last().cloned().unwrap_or_default()
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>, script: &Script) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    // A client that was killed has nothing to say.
    let Some(asked) = hear(&mut stream) else { return };
    state.lock().expect("no test panics with it").asked.push(asked.clone());
    let (status, kind, body) = match script(&asked) {
        Some(Answer::Say(status, kind, body)) => (status, kind, body),
        Some(Answer::Hang) => {
            while stream.read(&mut [0; 16]).is_ok_and(|count| count > 0) {}
            return;
        }
        None if asked.path == "/authorize" => {
            let mut state = state.lock().expect("no test panics with it");
            assert_eq!((asked.get("response_type"), asked.get("code_challenge_method")), ("code", "S256"));
            state.consent = (asked.get("code_challenge").to_owned(), asked.get("redirect_uri").to_owned());
            let address = format!("{}?code=canary-code%2F1&state={}", asked.get("redirect_uri"), asked.get("state"));
            let head =
                format!("HTTP/1.1 302 Found\r\nLocation: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return drop(stream.write_all(head.as_bytes()));
        }
        None => {
            let answer = state.lock().expect("no test panics with it").answer(&asked);
            let status = if answer.get("error").is_some() { 400 } else { 200 };
            (status, "application/json", answer.to_string())
        }
    };
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // It may have gone meanwhile.
    let _ = stream.write_all((head + &body).as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
}

fn hear(stream: &mut TcpStream) -> Option<Asked> {
    let mut heard = Vec::new();
    let mut block = [0; 16 * 1024];
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0_usize) {
                let target = head.split(' ').nth(1)?;
                let (path, query) = target.split_once('?').unwrap_or((target, ""));
                let fields = fields(if head.starts_with("POST ") { body } else { query });
                return Some(Asked { path: path.to_owned(), fields });
            }
        }
        match stream.read(&mut block) {
            Ok(0) | Err(_) => return None,
            Ok(count) => heard.extend_from_slice(&block[..count]),
        }
    }
}

/// The fields of a query or a form.
pub fn fields(text: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| {
        let mut octets = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&octet, behind)) = rest.split_first() {
            rest = behind;
            match octet {
                b'%' => {
                    let digits = std::str::from_utf8(&rest[..2]).expect("two digits");
                    octets.push(u8::from_str_radix(digits, 16).expect("two digits"));
                    rest = &rest[2..];
                }
                b'+' => octets.push(b' '),
                octet => octets.push(octet),
            }
        }
        String::from_utf8(octets).expect("UTF-8")
    };
    let fields = text.split('&').filter_map(|field| field.split_once('='));
    fields.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Value {
        if asked.path == "/device" {
            return json!({
                "device_code": "canary-device-code", "user_code": "WDJB-MJHT", "interval": 1, "expires_in": 900,
                "verification_uri": "https://provider.example/device",
            });
        }
        assert_eq!(asked.path, "/token");
        let refusal = |code: &str| json!({ "error": code, "error_description": format!("no {code} to be had") });
        match asked.get("grant_type") {
            "urn:ietf:params:oauth:grant-type:device_code" => {
                assert_eq!(asked.get("device_code"), "canary-device-code");
                if self.pending > 0 {
                    self.pending -= 1;
                    return refusal("authorization_pending");
                }
                self.first()
            }
            "authorization_code" => {
                let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, asked.get("code_verifier").as_bytes()));
                let is_right = asked.get("code") == "canary-code/1" && asked.get("code_verifier").len() >= 43;
                match is_right && (challenge, asked.get("redirect_uri").to_owned()) == self.consent {
                    true => self.first(),
                    false => refusal("invalid_grant"),
                }
            }
            "refresh_token" => {
                let token = asked.get("refresh_token");
                if token == self.newest {
                    self.before = std::mem::take(&mut self.newest);
                } else if token != self.before || token.is_empty() {
                    return refusal("invalid_grant");
                }
                self.first()
            }
            "client_credentials" => {
                let is_right = asked.get("client_secret") == CLIENT_SECRET
                    || claims_of(asked.get("client_assertion"), asked.get("client_id")).is_some();
                if is_right { self.access() } else { refusal("invalid_client") }
            }
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
                match claims_of(asked.get("assertion"), "robot@project.example") {
                    Some(claims) if claims["sub"] == "ada" && claims["scope"] == "https://mail.google.com/" => {
                        self.access()
                    }
                    _ => refusal("invalid_grant"),
                }
            }
            _ => refusal("unsupported_grant_type"),
        }
    }

    /// An access token and a new refresh token.
    fn first(&mut self) -> Value {
        let mut answer = self.access();
        self.newest = format!("canary-refresh-{}", self.issued);
        answer["refresh_token"] = self.newest.clone().into();
        answer
    }

    fn access(&mut self) -> Value {
        self.issued += 1;
        let token = format!("canary-access-{}", self.issued);
        self.access.push(token.clone());
        json!({ "access_token": token, "token_type": "Bearer", "expires_in": self.lifetime })
    }
}

/// The claims of an assertion that the key of the tests has signed for `issuer`.
fn claims_of(assertion: &str, issuer: &str) -> Option<Value> {
    let (signed, signature) = assertion.rsplit_once('.')?;
    let part = |number: usize| -> Value {
        let octets = URL_SAFE_NO_PAD.decode(signed.split('.').nth(number).expect("three parts")).expect("Base64");
        serde_json::from_slice(&octets).expect("JSON")
    };
    let (header, claims) = (part(0), part(1));
    let der = PrivatePkcs8KeyDer::from_pem_slice(KEY.as_bytes()).expect("PEM");
    let pair = KeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("a key");
    let public = pair.public().as_ref();
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("Base64");
    let verified = match header["alg"].as_str()? {
        "RS256" => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public).verify(signed.as_bytes(), &signature),
        "PS256" => UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, public).verify(signed.as_bytes(), &signature),
        other => panic!("{other}"),
    };
    verified.ok()?;
    assert!(claims["aud"].as_str()?.ends_with("/token"));
    assert_eq!(claims["exp"].as_u64()? - claims["iat"].as_u64()?, 300);
    (claims["iss"] == issuer).then_some(claims)
}
