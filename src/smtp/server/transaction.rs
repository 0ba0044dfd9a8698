//! A mail transaction as the client has opened it, and the envelopes that come of it.

use std::collections::HashSet;

use super::parameters::{MailParameters, RcptParameters};
use crate::mail::{Address, DsnNotify, DsnRequest, Envelope};

/// The envelope of a message that has come whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// One for each choice of events to report (RFC 3461 lets a client wish for others with each recipient): the message
    /// goes out once with each. At least one; their recipients are distinct.
    pub envelopes: Vec<(Envelope, DsnRequest)>,
    /// BODY=8BITMIME was said (RFC 6152). What the content is, it shows itself.
    pub is_8bit: bool,
    /// SMTPUTF8 was said (RFC 6531).
    pub is_utf8: bool,
}

/// MAIL was taken.
#[derive(Debug)]
pub(super) struct Open {
    from: Option<Address>,
    parameters: MailParameters,
    recipients: Vec<(Address, Option<DsnNotify>)>,
    known: HashSet<Address>,
}

impl Open {
    pub fn new(from: Option<Address>, parameters: MailParameters) -> Self {
        Self { from, parameters, recipients: Vec::new(), known: HashSet::new() }
    }

    pub fn is_utf8(&self) -> bool {
        self.parameters.is_utf8
    }

    /// Recipients so far.
    pub fn len(&self) -> usize {
        self.recipients.len()
    }

    pub fn knows(&self, recipient: &Address) -> bool {
        self.known.contains(recipient)
    }

    /// Of a recipient that comes twice the first wish counts.
    pub fn add(&mut self, recipient: Address, parameters: &RcptParameters) {
        if self.known.insert(recipient.clone()) {
            self.recipients.push((recipient, parameters.notify));
        }
    }

    /// The message has come.
    pub fn close(self) -> Transaction {
        let mut groups: Vec<(Option<DsnNotify>, Vec<Address>)> = Vec::new();
        for (recipient, notify) in self.recipients {
            match groups.iter_mut().find(|(wish, _)| *wish == notify) {
                Some((_, group)) => group.push(recipient),
                None => groups.push((notify, vec![recipient])),
            }
        }
        let MailParameters { ret, envid, is_8bit, is_utf8, .. } = self.parameters;
        let envelopes = groups.into_iter().filter_map(|(notify, recipients)| {
            // Fails for none only.
            let envelope = Envelope::new(self.from.clone(), recipients).ok()?;
            Some((envelope, DsnRequest { notify, ret, envid: envid.clone() }))
        });
        Transaction { envelopes: envelopes.collect(), is_8bit, is_utf8 }
    }
}
