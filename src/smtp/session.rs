//! From a connected stream to a session that can carry mail: greeting, EHLO, STARTTLS, login.

use std::net::IpAddr;

use zeroize::Zeroizing;

use super::{
    capabilities::Capabilities,
    connection::{Connection, Listener},
    sasl::{Login, candidates, login_wanted, wants_login},
};
use crate::{
    config::{Mechanism, Profile, Timeouts},
    mail::{Cause, Reply, Secret, Stage, Trouble, clean},
    net::{Stream, Tls, TlsInfo, host_name},
};

/// A longer initial response does not fit into a command line of 512 octets (RFC 4954, 4).
const MAX_INITIAL: usize = 400;

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

    /// Logs in with the first mechanism that both sides know. A refused password is not tried again in any way.
    ///
    /// # Errors
    /// [`Cause::Login`] if it is refused, [`Cause::Unsupported`] if no mechanism fits or the connection is not
    /// protected, [`Cause::Busy`] if it does not work now.
    pub async fn login(&mut self, profile: &Profile, user: &str, secret: &Secret) -> Result<(), Trouble> {
        let candidates = self.mechanisms(profile)?;
        let mut refusal = None;
        for mechanism in candidates {
            match self.try_login(mechanism, user, secret).await? {
                Attempt::Done => {
                    self.connection
                        .listener
                        .note(format!("logged in as {} by {}", clean(user), mechanism.as_str()))
                        .await;
                    self.connection.replies.hide_nothing();
                    self.login = Some(mechanism);
                    return Ok(());
                }
                Attempt::NotThisWay(reply) => refusal = Some(reply),
                Attempt::Refused(trouble) => return Err(trouble),
            }
        }
        let trouble =
            Trouble::new(Stage::Auth, Cause::Unsupported, "the server refuses the login mechanisms it offers");
        Err(refusal.into_iter().fold(trouble, Trouble::reply))
    }

    /// The mechanisms to try. Fails without asking for any secret.
    ///
    /// # Errors
    /// [`Cause::Unsupported`] as for [`Session::login`].
    pub fn mechanisms(&self, profile: &Profile) -> Result<Vec<Mechanism>, Trouble> {
        let unsupported = |what: String| Trouble::new(Stage::Auth, Cause::Unsupported, what);
        let offered = self.capabilities.mechanisms();
        if self.tls.is_none() && !profile.allow_plaintext_auth {
            return Err(unsupported("the connection is not protected, so no password is sent over it".to_owned())
                .hint("use TLS: -o security=starttls, or -o security=tls")
                .hint("if everybody in between may read it: -o allow-plaintext-auth=true"));
        }
        if offered.is_empty() {
            return Err(unsupported("the server offers no login".to_owned())
                .hint("if it wants none, leave the user out: -o username= or a URL without USER@"));
        }
        let candidates = candidates(&profile.auth, &offered);
        if candidates.is_empty() {
            let known = "PLAIN, LOGIN and XOAUTH2 are known, XOAUTH2 only where auth names it";
            return Err(unsupported(format!("no login mechanism fits: the server offers {}", offered.join(", ")))
                .hint(format!("{known}: -o auth=…")));
        }
        Ok(candidates)
    }

    async fn try_login(&mut self, mechanism: Mechanism, user: &str, secret: &Secret) -> Result<Attempt, Trouble> {
        let name = mechanism.as_str();
        let mut login = Login::new(mechanism, user, secret);
        self.connection.replies.hide(login.secrets());
        let mut initial = login.initial();
        let mut reply = match initial.take_if(|initial| initial.len() <= MAX_INITIAL) {
            Some(initial) => {
                let line = Zeroizing::new(format!("AUTH {name} {}\r\n", *initial));
                self.say_secret(&line, &format!("AUTH {name} ***")).await?
            }
            None => self.say(format!("AUTH {name}\r\n"), Stage::Auth).await?,
        };
        while reply.code == 334 {
            let challenge = reply.lines.first().map_or("", String::as_str);
            let answer = match initial.take() {
                Some(initial) => Some(initial),
                None => login.answer(challenge),
            };
            reply = match answer {
                Some(answer) => self.say_secret(&Zeroizing::new(format!("{}\r\n", *answer)), "***").await?,
                None => {
                    // The way to break off (RFC 4954, 4).
                    self.say("*\r\n".to_owned(), Stage::Auth).await?;
                    let what = format!("the server asks more than {name} can answer");
                    return Err(Trouble::new(Stage::Auth, Cause::Protocol, what));
                }
            };
        }
        Ok(match reply.code {
            200..300 => Attempt::Done,
            // Unrecognized, not implemented: no verdict about the password.
            500..=504 => Attempt::NotThisWay(reply),
            400..500 => {
                Attempt::Refused(Trouble::new(Stage::Auth, Cause::Busy, "the login does not work now").reply(reply))
            }
            _ => Attempt::Refused(login_refused(reply, login.complaint)),
        })
    }

    async fn say(&mut self, line: String, stage: Stage) -> Result<Reply, Trouble> {
        self.connection.command(line.as_bytes(), &line, stage, self.timeouts.command).await
    }

    async fn say_secret(&mut self, line: &str, shown: &str) -> Result<Reply, Trouble> {
        self.connection.command(line.as_bytes(), shown, Stage::Auth, self.timeouts.command).await
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

enum Attempt {
    Done,
    NotThisWay(Reply),
    Refused(Trouble),
}

fn login_refused(reply: Reply, complaint: Option<String>) -> Trouble {
    if wants_login(&reply) && reply.code == 530 {
        return login_wanted(Stage::Auth, reply);
    }
    let what = match complaint {
        Some(complaint) => format!("the login was refused ({complaint})"),
        None => "the login was refused".to_owned(),
    };
    Trouble::new(Stage::Auth, Cause::Login, what)
        .reply(reply)
        .hint("check the user, and store the right password: mailsend login")
        .hint("providers with two-factor login want an app password here, or an access token (auth = \"XOAUTH2\")")
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
