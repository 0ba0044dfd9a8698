//! The login of a session: which mechanism, what goes over the wire, and what its end means.

use zeroize::Zeroizing;

use super::Session;
use crate::{
    config::{Mechanism, Profile},
    mail::{Cause, Reply, Secret, Stage, Trouble, clean},
    smtp::sasl::{Login, binding_for, candidates, login_refused},
};

/// A longer initial response does not fit into a command line of 512 octets (RFC 4954, 4).
const MAX_INITIAL: usize = 400;

enum Attempt {
    Done,
    /// No verdict about the secret.
    NotThisWay(Reply),
    Refused(Trouble),
}

impl Session {
    /// Logs in with the first mechanism that both sides know. A refused secret is not tried again in any way. Returns
    /// `false` if what is left to try takes a secret and there is none: call it again with one.
    ///
    /// # Errors
    /// [`Cause::Login`] if it is refused, or the server cannot prove what it should; [`Cause::Unsupported`] if no
    /// mechanism fits or the connection is not protected, [`Cause::Configuration`] if the profile lacks what its
    /// mechanisms need, [`Cause::Busy`] if it does not work now.
    pub async fn login(&mut self, profile: &Profile, secret: Option<&Secret>) -> Result<bool, Trouble> {
        for mechanism in self.mechanisms(profile)? {
            if self.unfit.iter().any(|(unfit, _)| *unfit == mechanism) {
                continue;
            }
            if mechanism.takes_secret() && secret.is_none() {
                return Ok(false);
            }
            match self.try_login(mechanism, profile, secret).await? {
                Attempt::Done => {
                    let name =
                        profile.username.as_deref().map_or_else(String::new, |user| format!(" as {}", clean(user)));
                    self.connection.listener.note(format!("logged in{name} by {}", mechanism.as_str())).await;
                    self.connection.replies.hide_nothing();
                    self.login = Some(mechanism);
                    return Ok(true);
                }
                Attempt::NotThisWay(reply) => self.unfit.push((mechanism, reply)),
                Attempt::Refused(trouble) => return Err(trouble),
            }
        }
        let trouble =
            Trouble::new(Stage::Auth, Cause::Unsupported, "the server refuses the login mechanisms it offers");
        Err(self.unfit.last().map(|(_, reply)| reply.clone()).into_iter().fold(trouble, Trouble::reply))
    }

    /// The mechanisms to try. Fails without asking for any secret.
    ///
    /// # Errors
    /// [`Cause::Unsupported`] and [`Cause::Configuration`] as for [`Session::login`].
    pub fn mechanisms(&self, profile: &Profile) -> Result<Vec<Mechanism>, Trouble> {
        candidates(profile, &self.capabilities.mechanisms(), self.tls.as_ref())
    }

    async fn try_login(
        &mut self,
        mechanism: Mechanism,
        profile: &Profile,
        secret: Option<&Secret>,
    ) -> Result<Attempt, Trouble> {
        let name = mechanism.as_str();
        let offered = self.capabilities.mechanisms();
        let binding = binding_for(mechanism, profile, &offered, self.tls.as_ref());
        let mut login = Login::new(mechanism, profile, secret, binding)?;
        self.connection.replies.hide(login.secrets());
        let mut initial = login.initial();
        let mut reply = match initial.take_if(|initial| initial.len() <= MAX_INITIAL) {
            Some(initial) => {
                // What is empty has a sign of its own (RFC 4954, 4).
                let initial = if initial.is_empty() { "=" } else { initial.as_str() };
                let line = Zeroizing::new(format!("AUTH {name} {initial}\r\n"));
                self.say_secret(&line, &format!("AUTH {name} ***")).await?
            }
            None => self.say(format!("AUTH {name}\r\n"), Stage::Auth).await?,
        };
        while reply.code == 334 {
            let challenge = reply.lines.first().map_or("", String::as_str);
            let answer = match initial.take() {
                Some(initial) => Ok(Some(initial)),
                None => login.answer(challenge),
            };
            let trouble = match answer {
                Ok(Some(answer)) => {
                    self.connection.replies.hide(login.secrets());
                    reply = self.say_secret(&Zeroizing::new(format!("{}\r\n", *answer)), "***").await?;
                    continue;
                }
                Ok(None) => {
                    Trouble::new(Stage::Auth, Cause::Protocol, format!("the server asks more than {name} can answer"))
                }
                Err(trouble) => trouble,
            };
            // The way to break off (RFC 4954, 4).
            self.say("*\r\n".to_owned(), Stage::Auth).await?;
            return Err(trouble);
        }
        Ok(match reply.code {
            200..300 => {
                login.succeed(&reply.text())?;
                Attempt::Done
            }
            // Unrecognized, not implemented: no verdict about the password.
            500..=504 => Attempt::NotThisWay(reply),
            400..500 => {
                Attempt::Refused(Trouble::new(Stage::Auth, Cause::Busy, "the login does not work now").reply(reply))
            }
            _ => {
                login.fail(&reply.text())?;
                if login.complaint.is_unfit_binding {
                    return Ok(Attempt::NotThisWay(reply));
                }
                self.token_was_refused = mechanism.takes_token()
                    && match &login.complaint.words {
                        Some(_) => login.complaint.is_about_token,
                        // Who says nothing more says that what was shown is not right: a token is all there was.
                        None => reply.code == 535 && !reply.text().contains("5.7.139"),
                    };
                Attempt::Refused(login_refused(profile, mechanism, reply, &login.complaint))
            }
        })
    }

    async fn say_secret(&mut self, line: &str, shown: &str) -> Result<Reply, Trouble> {
        self.connection.command(line.as_bytes(), shown, Stage::Auth, self.timeouts.command).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Auth, mail::Step, smtp::Listener};
    use std::time::Duration;
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader, duplex, split},
        sync::mpsc,
    };

    /// Logs in at a server that answers line by line so; returns the end, and what was said.
    async fn log_in(mechanism: Mechanism, replies: &[&str]) -> (Result<bool, Trouble>, bool, Vec<String>) {
        let mut profile = Profile {
            username: Some("ada".to_owned()),
            auth: Auth::List(vec![mechanism]),
            allow_plaintext_auth: true,
            ..Profile::default()
        };
        profile.timeouts.greeting = Duration::from_secs(60);
        profile.timeouts.command = Duration::from_secs(60);
        let (ours, theirs) = duplex(4096);
        let (steps, _told) = mpsc::channel::<Step>(64);
        let listener = Listener { steps, wants_trace: false };
        let mut session = Session::new(Box::new(ours), None, None, false, &profile, listener);
        let secret = Secret::new(b"token".to_vec());
        let serving = async {
            let (reader, mut writer) = split(theirs);
            let (mut lines, mut said) = (BufReader::new(reader).lines(), Vec::new());
            writer.write_all(b"220 mx\r\n").await.unwrap();
            lines.next_line().await.unwrap();
            writer.write_all(format!("250-mx\r\n250 AUTH {}\r\n", mechanism.as_str()).as_bytes()).await.unwrap();
            for reply in replies {
                said.push(lines.next_line().await.unwrap().unwrap());
                writer.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
            }
            said
        };
        let talking = async {
            session.greet().await?;
            session.hello().await?;
            session.login(&profile, Some(&secret)).await
        };
        let (ended, said) = tokio::join!(talking, serving);
        (ended, session.token_was_refused, said)
    }

    #[tokio::test]
    async fn a_token_that_another_could_replace() {
        // {"status":"401"}, {"status":"403"}
        let (expired, forbidden) = ("334 eyJzdGF0dXMiOiI0MDEifQ==", "334 eyJzdGF0dXMiOiI0MDMifQ==");
        for (mechanism, replies, is_about_token) in [
            (Mechanism::XOAuth2, &[expired, "535 5.7.8 no"][..], true),
            (Mechanism::OAuthBearer, &[expired, "535 5.7.8 no"], true),
            (Mechanism::XOAuth2, &[forbidden, "535 5.7.8 no"], false),
            (Mechanism::XOAuth2, &["535 5.7.3 Authentication unsuccessful"], true),
            (Mechanism::XOAuth2, &["535 5.7.139 SmtpClientAuthentication is disabled"], false),
            (Mechanism::XOAuth2, &["550 5.7.30 no"], false),
            (Mechanism::Plain, &["535 5.7.8 no"], false),
        ] {
            let (ended, was_refused, said) = log_in(mechanism, replies).await;
            assert_eq!(ended.unwrap_err().cause, Cause::Login);
            assert_eq!((was_refused, said.len()), (is_about_token, replies.len()), "{replies:?}");
        }
        let (ended, was_refused, _) = log_in(Mechanism::XOAuth2, &["235 ok"]).await;
        assert!(ended.unwrap() && !was_refused);
    }
}
