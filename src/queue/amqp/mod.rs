//! RabbitMQ: a queue that machines share (AMQP 0-9-1).
//!
//! | queue | what is in it |
//! |---|---|
//! | `NAME` | messages that are due, ours and those of other programs |
//! | `NAME.delay.8s` and its like | messages that are due later: they come back to `NAME` by themselves after that time |
//! | `NAME.dead` | what cannot be read, has failed, or may have been sent, with the reason |
//! | `results` | a record for every recipient that has ended |
//!
//! All are quorum queues, and everything published is confirmed. Here is how RabbitMQ is spoken to, and what a message of
//! ours looks like there; what is done with it is the feed's matter.

mod arrival;
mod link;
mod publisher;
mod stream;
mod trouble;

use std::fmt;

use super::Time;
use crate::{
    config::{BrokerUrl, Environment, QueueTable, Secrets},
    mail::{Cause, Stage, Trouble},
    net::{Tls, TlsPolicy},
    secret::{self, Wanted},
};

pub use arrival::{Arrival, Ticket};
pub use link::{Count, Link, Purpose};
pub use publisher::{Dead, Publisher};

/// Queues for what is due later: of 2^0 to 2^14 s, more than four hours.
const RUNGS: u32 = 15;

/// A RabbitMQ, and the queues there.
pub struct Broker {
    url: BrokerUrl,
    name: String,
    results: Option<String>,
    declares: bool,
    tls: Option<Tls>,
    /// Whose password is wanted; none for RabbitMQ's own guest.
    wanted: Option<Wanted>,
}

impl Broker {
    /// The one that `[queue]` names, if it names one.
    ///
    /// # Errors
    /// [`Cause::Configuration`] if a file cannot be used, or a password would go over the net in plain text.
    pub fn new(table: &QueueTable, secrets: Secrets, environment: &Environment) -> Result<Option<Self>, Trouble> {
        let Some(url) = table.url.clone() else { return Ok(None) };
        secret::withhold_sources(table.password.iter());
        let is_open = !url.is_tls && !url.endpoint.is_loopback();
        if is_open && !table.allows_plaintext && url.user.is_some() {
            let what = format!("the password for {url} would go over the net for everybody to read");
            return Err(Trouble::new(Stage::Connect, Cause::Configuration, what)
                .hint("use amqps://, or set queue.allow-plaintext-auth = true where the net is your own"));
        }
        let tls = match url.is_tls {
            true => {
                let policy = TlsPolicy { ca_file: table.ca_file.clone(), ..TlsPolicy::default() };
                Some(Tls::new(policy).map_err(|trouble| Trouble {
                    // The key has another name here.
                    what: trouble.what.replace("tls.ca-file", "queue.ca-file"),
                    ..trouble
                })?)
            }
            false => None,
        };
        let wanted = url.user.clone().map(|user| Wanted {
            user,
            host: url.endpoint.host.clone(),
            flag: None,
            environment: environment.without(&["MAILSEND_PASSWORD", "MAILSEND_PASSWORD_FILE"]),
            profile: table.password.clone(),
            oauth: None,
            secrets,
            web: crate::config::WebWay::default(),
            profile_name: None,
            may_prompt: false,
        });
        let (name, results) = (table.name.clone(), table.results.clone());
        Ok(Some(Self { url, name, results, declares: table.declares, tls, wanted }))
    }

    /// The queue of messages that are due.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The queue of records, if somebody wants them.
    pub fn results(&self) -> Option<&str> {
        self.results.as_deref()
    }

    /// The queue of what nobody could send.
    pub fn dead(&self) -> String {
        format!("{}.dead", self.name)
    }

    /// The queue of what is due after 2^`rung` seconds.
    fn delay(&self, rung: u32) -> String {
        format!("{}.delay.{}s", self.name, 1_u32 << rung)
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Broker").field(&self.to_string()).finish()
    }
}

impl fmt::Display for Broker {
    /// `amqps://ada@rabbit.example:5671, queue 'email_queue'`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, queue '{}'", self.url, crate::mail::clean(&self.name))
    }
}

/// For how long a message waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// About so long: whoever tries again has no appointment. In milliseconds.
    About(Time),
    /// Not longer, though at least a second: what is not due then waits again. In milliseconds.
    AtMost(Time),
}

/// The queue of those that there are (a bit for each) in which something waits for about this time, if there is any.
fn rung(pause: Pause, there: u32) -> Option<u32> {
    let all = (0..RUNGS).filter(|rung| there & (1 << rung) != 0);
    let length = |rung: u32| Time::from(1_u32 << rung) * 1000;
    match pause {
        Pause::AtMost(most) => all.clone().rev().find(|rung| length(*rung) <= most).or_else(|| all.clone().next()),
        Pause::About(wanted) => {
            let wanted = wanted.max(1) as f64;
            // As many times too long is as bad as as many times too short.
            let distance = |rung: u32| (length(rung) as f64 / wanted).ln().abs();
            all.min_by(|a, b| distance(*a).total_cmp(&distance(*b)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretSource;

    fn table(url: &str) -> QueueTable {
        QueueTable { url: Some(BrokerUrl::parse(url).unwrap()), ..QueueTable::default() }
    }

    #[test]
    fn a_password_does_not_go_over_the_net_in_plain_text() {
        let of = |table: &QueueTable| Broker::new(table, Secrets::default(), &Environment::default());
        let error = of(&table("amqp://ada@rabbit.example")).unwrap_err();
        assert_eq!(error.cause, Cause::Configuration);
        assert!(error.hints[0].contains("allow-plaintext-auth"));
        for url in ["amqps://ada@rabbit.example", "amqp://ada@127.0.0.1", "amqp://rabbit.example"] {
            assert!(of(&table(url)).is_ok(), "{url}");
        }
        assert!(of(&QueueTable { allows_plaintext: true, ..table("amqp://ada@rabbit.example") }).is_ok());
        assert!(of(&QueueTable::default()).unwrap().is_none());
    }

    #[test]
    fn nothing_secret_is_shown() {
        let table =
            QueueTable { password: Some(SecretSource::Env("RABBIT".to_owned())), ..table("amqp://ada@127.0.0.1/mail") };
        let environment = Environment::from([("RABBIT", "canary")]);
        let broker = Broker::new(&table, Secrets::default(), &environment).unwrap().unwrap();
        assert_eq!(broker.to_string(), "amqp://ada@127.0.0.1:5672/mail, queue 'email_queue'");
        assert!(!format!("{broker:?}").contains("canary"));
    }

    #[test]
    fn pauses_find_their_queue() {
        let all = (1 << RUNGS) - 1;
        let about = |seconds: f64| rung(Pause::About((seconds * 1000.0) as Time), all);
        for (seconds, wanted) in
            [(0.0, 0), (0.2, 0), (1.3, 0), (1.5, 1), (2.0, 1), (5.0, 2), (6.0, 3), (300.0, 8), (1e9, 14)]
        {
            assert_eq!(about(seconds), Some(wanted), "{seconds}");
        }
        let most = |ms: Time| rung(Pause::AtMost(ms), all);
        for (ms, wanted) in [(-5, 0), (1, 0), (1999, 0), (2000, 1), (7_999, 2), (8_000, 3), (86_400_000, 14)] {
            assert_eq!(most(ms), Some(wanted), "{ms}");
        }
        let some = 0b1_0001_0000;
        assert_eq!((rung(Pause::AtMost(3_000), some), rung(Pause::About(90_000), some)), (Some(4), Some(8)));
        assert_eq!(rung(Pause::About(1), 0), None);
    }
}
