//! The doors out: an SMTP or LMTP server, a sendmail program, a maildir.
//!
//! A door opens a session; a session carries submissions and answers for each recipient. Which session opens when,
//! and what happens to what it could not carry, is decided above. What aliases lead to on this machine is no door: it
//! gets one message, at once.

mod local;
mod maildir;
mod mbox;
mod network;
mod program;
mod sendmail;

use std::{sync::Arc, time::Duration};

pub use local::deliver_locally;
pub use network::Opening;

use crate::{
    config::{Profile, Server},
    mail::{Cause, Outcome, Route, Stage, State, Submission, Trouble},
    secret::{self, Found, Wanted},
    smtp::{Duty, Ended, Listener, Supply},
};

/// A way out, with everything that its sessions need.
#[derive(Debug)]
pub struct Door {
    way: Way,
    route: Arc<Route>,
}

#[derive(Debug)]
enum Way {
    Network(Box<network::Network>),
    Sendmail(sendmail::Sendmail),
    Maildir(maildir::Maildir),
}

/// A session that is open.
pub enum Session<'a> {
    /// With a server.
    Network(Box<network::Carrier>),
    /// With a program, started for each message.
    Sendmail(&'a sendmail::Sendmail),
    /// With a folder.
    Maildir(&'a maildir::Maildir),
}

impl Door {
    /// Makes the door of a profile. `secret` says where the password comes from; it is asked when a session opens.
    ///
    /// # Errors
    /// [`Cause::Configuration`] if the profile has no server, or its files cannot be used.
    pub fn new(profile: Arc<Profile>, secret: Option<Wanted>) -> Result<Self, Trouble> {
        secret::withhold(&profile);
        let Some(server) = profile.server.clone() else {
            return Err(Trouble::new(Stage::Connect, Cause::Configuration, "the profile names no server"));
        };
        let route = Arc::new(Route { profile: profile.name.clone(), server: server.to_string() });
        let way = match server {
            Server::Network { is_lmtp, endpoint, security, socket: _ } => {
                Way::Network(Box::new(network::Network::new(is_lmtp, endpoint, security, profile, secret)?))
            }
            Server::Sendmail { program } => Way::Sendmail(sendmail::Sendmail::new(program, profile.timeouts)?),
            Server::Maildir { path } => Way::Maildir(maildir::Maildir::new(path)),
        };
        Ok(Self { way, route })
    }

    /// Takes a secret that was asked for already.
    pub fn remember(&mut self, found: Found) {
        if let Way::Network(network) = &mut self.way {
            network.remember(found);
        }
    }

    /// How records name this way.
    pub fn route(&self) -> Arc<Route> {
        self.route.clone()
    }

    /// Opens a session that may have up to `depth` submissions under way.
    ///
    /// # Errors
    /// What stopped it: nobody was asked for anything.
    pub async fn open(&self, depth: usize, listener: &Listener) -> Result<Session<'_>, Trouble> {
        Ok(match &self.way {
            Way::Network(network) => Session::Network(Box::new(network.open(depth, listener).await?)),
            Way::Sendmail(sendmail) => Session::Sendmail(sendmail),
            Way::Maildir(maildir) => Session::Maildir(maildir),
        })
    }

    /// The steps of opening, one by one, for a network door: what was learnt stays after a failure.
    pub fn opening(&self) -> Option<Opening<'_>> {
        match &self.way {
            Way::Network(network) => Some(Opening::new(network)),
            _ => None,
        }
    }
}

impl Session<'_> {
    /// Carries `first` and whatever comes behind it.
    pub async fn carry(self, first: Submission, duty: &mut Duty<impl Supply>) -> Ended {
        match self {
            Session::Network(carrier) => carrier.carry(first, duty).await,
            Session::Sendmail(sendmail) => {
                let mut next = Some(first);
                while let Some(submission) = next {
                    if let Some(trouble) = sendmail.carry(&submission, duty).await {
                        return Ended::Broken(trouble);
                    }
                    next = duty.following().await;
                }
                Ended::Done
            }
            Session::Maildir(maildir) => {
                let mut next = Some(first);
                while let Some(submission) = next {
                    if let Some(trouble) = maildir.carry(&submission, duty).await {
                        return Ended::Broken(trouble);
                    }
                    next = duty.following().await;
                }
                Ended::Done
            }
        }
    }
}

/// The same outcome for every recipient of a submission.
pub fn same_for_all(
    submission: &Submission,
    state: State,
    stage: Stage,
    trouble: Option<&Trouble>,
    remote_id: Option<&str>,
    elapsed: Duration,
) -> Vec<Outcome> {
    let outcome = |recipient: &crate::mail::Address| Outcome {
        recipient: recipient.clone(),
        state,
        stage,
        reply: trouble.and_then(|trouble| trouble.reply.clone()),
        trouble: trouble.cloned(),
        remote_id: remote_id.map(str::to_owned),
        // A door that cannot pass a wish on says so; the sendmail door does its best.
        dsn: submission.dsn.is_wanted().then_some(false),
        elapsed,
    };
    submission.envelope.to().iter().map(outcome).collect()
}

/// Whether trouble with one message tells of the way that it should go.
fn is_of_the_way(trouble: &Trouble) -> bool {
    matches!(
        trouble.cause,
        Cause::Busy | Cause::Lost | Cause::TimedOut | Cause::Output | Cause::Configuration | Cause::Internal
    )
}
