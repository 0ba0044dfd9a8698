//! One message in the conversation: how far it has come, and what its replies mean for each recipient.

use std::time::Duration;

use tokio::time::Instant;

use super::Terms;
use crate::mail::{Address, Cause, Outcome, Reply, Stage, State, Submission, Trouble};
use crate::smtp::sasl::{login_wanted, wants_login};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing of it is out.
    Waiting,
    /// Its envelope is out, or on its way.
    Envelope,
    /// Its content is out, or on its way.
    Content,
}

#[derive(Debug)]
pub(super) enum Recipient {
    /// Not answered.
    Open,
    /// The server takes it.
    Willing,
    /// The server does not; the outcome is held back until the next reply has shown that both are in step.
    Refused(Reply, Stage),
    /// A login was wanted for it, and others may do without: it is handed back once nothing more is answered.
    Elsewhere,
    /// Its outcome is out.
    Settled,
}

impl Recipient {
    /// Whether this session still has to tell what becomes of it.
    pub fn is_open(&self) -> bool {
        !matches!(self, Recipient::Elsewhere | Recipient::Settled)
    }
}

#[derive(Debug)]
pub(super) struct Transaction {
    pub submission: Submission,
    pub taken: Instant,
    pub recipients: Vec<(Address, Recipient)>,
    pub uses_utf8: bool,
    pub progress: Progress,
    pub mail: Option<Reply>,
    pub had_willing: bool,
    /// LMTP: all before this one are settled; the next answer to the content is for one behind them.
    pub settled_before: usize,
    /// The last byte was handed to the socket.
    pub is_complete: bool,
    /// The RSET before it was refused: only its own acceptance counts.
    pub is_suspect: bool,
}

pub(super) type Verdict = (State, Stage, Option<Reply>, Option<Trouble>);

impl Transaction {
    /// Begins with what can be told before anything is sent: the recipients that this session cannot serve, with
    /// their outcomes.
    pub fn new(submission: Submission, terms: &Terms) -> (Self, Vec<Outcome>) {
        let is_utf8 = |address: &Address| !address.user().is_ascii();
        let content = &submission.content;
        let needs_utf8 = content.has_utf8_headers || submission.envelope.from().is_some_and(is_utf8);
        let lacks_utf8 = needs_utf8 && !terms.smtputf8;
        let refusal = match terms.size_limit {
            Some(limit) if content.len() > limit => Some(Trouble::new(
                Stage::Mail,
                Cause::TooLarge,
                format!("the message has {} octets, the server takes {limit}", content.len()),
            )),
            _ if lacks_utf8 && content.has_utf8_headers => Some(no_utf8_headers()),
            _ if lacks_utf8 => Some(no_smtputf8()),
            _ if content.is_8bit && !terms.eight_bit => Some(
                Trouble::new(
                    Stage::Mail,
                    Cause::Unsupported,
                    "the message is 8-bit and the server does not offer 8BITMIME",
                )
                .hint("let the message be made here, without --raw: then it is encoded"),
            ),
            _ => None,
        };
        let recipients: Vec<_> =
            submission.envelope.to().iter().map(|address| (address.clone(), Recipient::Open)).collect();
        let mut transaction = Self {
            uses_utf8: terms.smtputf8 && (needs_utf8 || submission.envelope.to().iter().any(is_utf8)),
            submission,
            taken: Instant::now(),
            recipients,
            progress: Progress::Waiting,
            mail: None,
            had_willing: false,
            settled_before: 0,
            is_complete: false,
            is_suspect: false,
        };
        let mut outcomes = Vec::new();
        for at in 0..transaction.recipients.len() {
            let is_refused_alone = !terms.smtputf8 && is_utf8(&transaction.recipients[at].0);
            if let Some(trouble) = refusal.clone().or_else(|| is_refused_alone.then(no_smtputf8)) {
                outcomes.push(transaction.settle(terms, at, (State::Failed, trouble.stage, None, Some(trouble))));
            }
        }
        (transaction, outcomes)
    }

    pub fn willing(&self) -> impl Iterator<Item = &Address> {
        self.recipients[self.settled_before..]
            .iter()
            .filter(|(_, recipient)| matches!(recipient, Recipient::Willing))
            .map(|(address, _)| address)
    }

    pub fn has_willing(&self) -> bool {
        self.willing().next().is_some()
    }

    pub fn is_open(&self) -> bool {
        self.recipients[self.settled_before..].iter().any(|(_, recipient)| recipient.is_open())
    }

    /// Whether the submission is to be handed back for some of its recipients.
    pub fn goes_elsewhere(&self) -> bool {
        self.recipients.iter().any(|(_, recipient)| matches!(recipient, Recipient::Elsewhere))
    }

    /// How far its replies say it has come.
    pub fn stage(&self) -> Stage {
        let is_unanswered = self.recipients.iter().any(|(_, recipient)| matches!(recipient, Recipient::Open));
        match &self.mail {
            None => Stage::Mail,
            Some(_) if is_unanswered => Stage::Rcpt,
            Some(_) => Stage::Data,
        }
    }

    /// Settles a recipient; its outcome has to go out.
    pub fn settle(&mut self, terms: &Terms, number: usize, verdict: Verdict) -> Outcome {
        let (state, stage, reply, trouble) = verdict;
        self.recipients[number].1 = Recipient::Settled;
        let remote_id = reply.as_ref().filter(|_| state == State::Accepted).and_then(Reply::remote_id);
        Outcome {
            recipient: self.recipients[number].0.clone(),
            state,
            stage,
            reply,
            trouble,
            remote_id,
            dsn: self.submission.dsn.is_wanted().then_some(terms.dsn),
            elapsed: Instant::now().saturating_duration_since(self.taken).max(Duration::ZERO),
        }
    }
}

/// What a reply to this recipient, or to the content, means; `login_hint` is what helps if it is about the login.
pub(super) fn verdict_of(reply: Reply, stage: Stage, login_hint: Option<&str>) -> Verdict {
    if wants_login(&reply) {
        // Nobody's refusal: the session as a whole may not do this.
        let trouble = login_wanted(stage, reply.clone(), login_hint);
        return (State::Deferred, stage, Some(reply), Some(trouble));
    }
    let state = match (reply.code, stage) {
        // At RCPT without an enhanced code: the old way to say "too many recipients" (RFC 5321, 4.5.3.1.10).
        (552, Stage::Rcpt) if reply.enhanced().is_none() => State::Deferred,
        (200..300, _) => State::Accepted,
        (400..500, _) => State::Deferred,
        _ => State::Failed,
    };
    (state, stage, Some(reply), None)
}

pub(super) fn closing(stage: Stage, reply: Reply) -> Trouble {
    Trouble::new(stage, Cause::Busy, "the server closes the connection").reply(reply)
}

pub(super) fn no_smtputf8() -> Trouble {
    Trouble::new(
        Stage::Mail,
        Cause::Unsupported,
        "the address has letters beyond ASCII before its '@', and the server does not offer SMTPUTF8",
    )
    .hint("ask for another address of this person, or use a server that offers it")
}

fn no_utf8_headers() -> Trouble {
    let what =
        "the header holds text beyond ASCII as it is, such as in an address, and the server does not offer SMTPUTF8";
    Trouble::new(Stage::Mail, Cause::Unsupported, what).hint(
        "write such addresses to --bcc, or use a server that offers it; text of an existing message must be encoded",
    )
}
