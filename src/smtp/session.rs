//! From a connected stream to a session that can carry mail: greeting, EHLO, STARTTLS, login.

mod login;

use std::net::IpAddr;

use super::{
    capabilities::Capabilities,
    connection::{Connection, Listener},
    sasl::login_hint,
    terms::Terms,
};
use crate::{
    config::{Mechanism, Profile, Timeouts},
    mail::{Cause, Reply, Stage, Trouble},
    net::{Stream, Tls, TlsInfo, host_name},
};

/// A session, as far as it has come. Its steps are called in their order; what was learnt stays after a failure.
pub struct Session {
    connection: Connection,
    /// The server's first words.
    pub greeting: Option<Reply>,
    /// What was offered before STARTTLS; worth nothing since.
    pub before_tls: Option<Capabilities>,
    /// What is offered now.
    pub capabilities: Capabilities,
    /// TLS, if there is.
    pub tls: Option<TlsInfo>,
    /// The mechanism that worked.
    pub login: Option<Mechanism>,
    /// The server has refused the access token in a way that another token may help: it has expired or is none.
    pub token_was_refused: bool,
    /// Mechanisms that the server does not know after all, and what it said.
    unfit: Vec<(Mechanism, Reply)>,
    is_lmtp: bool,
    name: String,
    timeouts: Timeouts,
}

impl Session {
    /// Takes over a stream; `tls` is what is known of one that is TLS already, `local` our own address on it.
    pub fn new(
        stream: Stream,
        tls: Option<TlsInfo>,
        local: Option<IpAddr>,
        is_lmtp: bool,
        profile: &Profile,
        listener: Listener,
    ) -> Self {
        Self {
            connection: Connection::new(stream, listener),
            greeting: None,
            before_tls: None,
            capabilities: Capabilities::default(),
            tls,
            login: None,
            token_was_refused: false,
            unfit: Vec::new(),
            is_lmtp,
            name: ehlo_name(profile.ehlo_name.as_deref(), &host_name(), local),
            timeouts: profile.timeouts,
        }
    }

    /// Waits for the greeting. Nothing was sent before.
    ///
    /// # Errors
    /// [`Cause::Busy`] or [`Cause::Refused`] if the server does not want us, [`Cause::Protocol`] if it is none.
    pub async fn greet(&mut self) -> Result<(), Trouble> {
        let is_plain = self.tls.is_none();
        let greeting = self.connection.reply(Stage::Greeting, self.timeouts.greeting).await.map_err(|trouble| {
            match trouble.cause {
                Cause::TimedOut | Cause::Lost if is_plain => {
                    trouble.hint("if this port wants TLS from the first byte, as 465 does: -o security=tls")
                }
                _ => trouble,
            }
        })?;
        self.greeting = Some(greeting.clone());
        expect(&greeting, 220, Stage::Greeting, "the server does not want to talk", "the greeting is none")
    }

    /// Says EHLO (LHLO), or HELO to a server that knows no better, and takes in what is offered.
    ///
    /// # Errors
    /// As [`Session::greet`].
    pub async fn hello(&mut self) -> Result<(), Trouble> {
        let verb = if self.is_lmtp { "LHLO" } else { "EHLO" };
        let reply = self.say(format!("{verb} {}\r\n", self.name), Stage::Greeting).await?;
        self.capabilities = Capabilities::from_ehlo(&reply);
        // RFC 5321, 3.2
        if !reply.is_permanent() || self.is_lmtp {
            return expect(&reply, 250, Stage::Greeting, "the server refuses EHLO", "the reply to EHLO is none");
        }
        self.capabilities = Capabilities::default();
        let reply = self.say(format!("HELO {}\r\n", self.name), Stage::Greeting).await?;
        expect(&reply, 250, Stage::Greeting, "the server refuses EHLO and HELO", "the reply to HELO is none")
    }

    /// Changes to TLS and says EHLO again; only that one counts.
    ///
    /// # Errors
    /// [`Cause::Unsupported`] if it is not offered or refused, [`Cause::Protocol`] if there is anything behind the
    /// server's consent: somebody put it there (RFC 3207, 4.2 and 6). Nothing was sent in the clear but EHLO.
    pub async fn starttls(&mut self, tls: &Tls, host: &str) -> Result<(), Trouble> {
        if !self.capabilities.has("STARTTLS") {
            let what = "the server does not offer STARTTLS, so nothing is sent to it";
            return Err(Trouble::new(Stage::Tls, Cause::Unsupported, what)
                .hint("if it takes TLS from the first byte on another port: -o security=tls (465)")
                .hint("if the connection needs no protection: -o security=none"));
        }
        let reply = self.say("STARTTLS\r\n".to_owned(), Stage::Tls).await?;
        match reply.code {
            220 => {}
            421 => return Err(Trouble::new(Stage::Tls, Cause::Busy, "the server closes the connection").reply(reply)),
            400.. => {
                let what = "the server refuses STARTTLS, so nothing is sent to it";
                return Err(Trouble::new(Stage::Tls, Cause::Unsupported, what).reply(reply));
            }
            _ => return Err(Trouble::new(Stage::Tls, Cause::Protocol, "the reply to STARTTLS is none").reply(reply)),
        }
        if !self.connection.replies.is_empty() {
            let what = "there is plaintext behind the server's consent to STARTTLS: somebody in between put it there";
            return Err(Trouble::new(Stage::Tls, Cause::Protocol, what));
        }
        self.before_tls = Some(std::mem::take(&mut self.capabilities));
        let info = self.connection.secure(tls, host, self.timeouts.command).await?;
        self.connection.listener.note(format!("{}, trusted by {}", info.version, info.trusted_by)).await;
        self.tls = Some(info);
        self.hello().await
    }

    /// What server and profile allow in this session.
    ///
    /// # Errors
    /// See [`Terms::new`].
    pub fn terms(&self, profile: &Profile, depth: usize) -> Result<Terms, Trouble> {
        let terms = Terms::new(&self.capabilities, &profile.extensions, self.is_lmtp, self.tls.is_some(), depth)?;
        Ok(Terms { login_hint: login_hint(profile), ..terms })
    }

    async fn say(&mut self, line: String, stage: Stage) -> Result<Reply, Trouble> {
        self.connection.command(line.as_bytes(), &line, stage, self.timeouts.command).await
    }

    /// What is left when mail is to be carried.
    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }

    /// Says QUIT and goes.
    pub async fn quit(self) {
        self.connection.quit().await;
    }
}

/// Turns a reply other than `wanted` into trouble.
fn expect(reply: &Reply, wanted: u16, stage: Stage, refused: &str, nonsense: &str) -> Result<(), Trouble> {
    let trouble = |cause, what: &str| Err(Trouble::new(stage, cause, what).reply(reply.clone()));
    match reply.code {
        code if code == wanted => Ok(()),
        400..500 => trouble(Cause::Busy, refused),
        500.. => trouble(Cause::Refused, refused),
        _ => trouble(Cause::Protocol, nonsense),
    }
}

/// The name to give: the profile's, this machine's if it is a domain name, else an address literal (RFC 5321, 4.1.4).
fn ehlo_name(configured: Option<&str>, host: &str, local: Option<IpAddr>) -> String {
    let is_domain = host.contains('.')
        && !host.starts_with(['.', '-'])
        && !host.ends_with(['.', '-'])
        && host.len() <= 253
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    match (configured, local) {
        (Some(name), _) => name.to_owned(),
        (None, _) if is_domain => host.to_owned(),
        (None, Some(IpAddr::V6(ip))) => format!("[IPv6:{ip}]"),
        (None, Some(IpAddr::V4(ip))) => format!("[{ip}]"),
        (None, None) => "localhost".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_ehlo() {
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let v6: IpAddr = "::1".parse().unwrap();
        assert_eq!(ehlo_name(Some("given.example"), "host.example", Some(v4)), "given.example");
        assert_eq!(ehlo_name(None, "host.example", Some(v4)), "host.example");
        assert_eq!(ehlo_name(None, "laptop", Some(v4)), "[192.0.2.1]");
        assert_eq!(ehlo_name(None, "bad name.example", Some(v6)), "[IPv6:::1]");
        assert_eq!(ehlo_name(None, "a.b\r\nRSET", Some(v4)), "[192.0.2.1]");
    }
}
