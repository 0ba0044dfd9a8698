//! Who is settled how, one after the other or all at once.

use super::{
    Exchange, Settlement,
    transaction::{Progress, Recipient, Verdict, verdict_of},
};
use crate::mail::{Address, Cause, Envelope, Reply, Stage, State, Trouble};

impl Exchange {
    pub(super) fn settle_refused(&mut self, at: usize) {
        let is_refused = |(_, recipient): &(Address, Recipient)| matches!(recipient, Recipient::Refused(..));
        if !self.transactions[at].recipients.iter().any(is_refused) {
            return;
        }
        let hint = self.terms.login_hint.clone();
        self.settle(at, |recipient| match recipient {
            Recipient::Refused(reply, stage) => Some(verdict_of(reply.clone(), *stage, hint.as_deref())),
            _ => None,
        });
    }

    pub(super) fn settle_willing(&mut self, at: usize, reply: Reply) {
        let mut left = self.transactions[at].willing().count();
        let mut verdict = Some(verdict_of(reply, Stage::Data, self.terms.login_hint.as_deref()));
        self.settle(at, |recipient| {
            if !matches!(recipient, Recipient::Willing) {
                return None;
            }
            left = left.saturating_sub(1);
            // Most messages have one recipient: it takes the verdict as it is.
            if left == 0 { verdict.take() } else { verdict.clone() }
        });
    }

    /// LMTP: the replies come in the order of the willing recipients.
    pub(super) fn settle_next_willing(&mut self, at: usize, reply: Reply) {
        let transaction = &mut self.transactions[at];
        let from = transaction.settled_before;
        let rest = transaction.recipients[from..].iter();
        let willing = rest.enumerate().find(|(_, (_, recipient))| matches!(recipient, Recipient::Willing));
        let Some(number) = willing.map(|(number, _)| from + number) else { return };
        transaction.settled_before = number + 1;
        let verdict = verdict_of(reply, Stage::Data, self.terms.login_hint.as_deref());
        if self.is_fallback && wants_login_by(&verdict) {
            transaction.recipients[number].1 = Recipient::Elsewhere;
            return;
        }
        let outcome = transaction.settle(&self.terms, number, verdict);
        self.settled.push(Settlement { id: transaction.submission.id, outcomes: vec![outcome] });
    }

    pub(super) fn settle(&mut self, at: usize, mut verdict: impl FnMut(&Recipient) -> Option<Verdict>) {
        let is_fallback = self.is_fallback;
        let transaction = &mut self.transactions[at];
        let mut outcomes = Vec::new();
        for number in 0..transaction.recipients.len() {
            if let Some(verdict) = verdict(&transaction.recipients[number].1) {
                if is_fallback && wants_login_by(&verdict) {
                    transaction.recipients[number].1 = Recipient::Elsewhere;
                    continue;
                }
                outcomes.push(transaction.settle(&self.terms, number, verdict));
            }
        }
        if !outcomes.is_empty() {
            self.settled.push(Settlement { id: transaction.submission.id, outcomes });
        }
    }

    /// Gives a submission back as if it had not been begun; recipients that are settled stay settled.
    pub(super) fn hand_back(&mut self, at: usize) {
        let Some(transaction) = self.transactions.remove(at) else { return };
        let open: Vec<Address> = transaction
            .recipients
            .into_iter()
            .filter(|(_, recipient)| !matches!(recipient, Recipient::Settled))
            .map(|(address, _)| address)
            .collect();
        let mut submission = transaction.submission;
        let id = submission.id;
        // Only what nobody answers any more is handed back, or what is not listened for.
        self.expected.retain(|(expected, _)| *expected != id);
        if let Ok(envelope) = Envelope::new(submission.envelope.from().cloned(), open) {
            submission.envelope = envelope;
            self.handed_back.push(submission);
        }
    }

    /// Settles or hands back all; `inconsistent` is the one whose replies contradict each other.
    pub(super) fn end_all(&mut self, trouble: &Trouble, inconsistent: Option<u64>) {
        self.script.clear();
        self.out.clear();
        self.expected.clear();
        self.asked = 0;
        while let Some(transaction) = self.transactions.front() {
            if transaction.progress == Progress::Waiting {
                self.hand_back(0);
                continue;
            }
            let is_complete = transaction.is_complete;
            let is_inconsistent = inconsistent == Some(transaction.submission.id);
            // A session that had had enough says nothing about the next message. It has taken one at least: whatever
            // comes back so comes to its end.
            let has_ended = self.has_accepted && trouble.cause == Cause::Lost;
            if has_ended && !is_complete && transaction.mail.is_none() && !is_inconsistent {
                self.hand_back(0);
                continue;
            }
            if !is_inconsistent {
                self.settle_refused(0);
            }
            let stage = self.transactions[0].stage();
            let mut trouble = trouble.clone();
            let verdict: Verdict = if is_complete {
                trouble.stage = Stage::Final;
                (State::Unknown, Stage::Final, None, Some(trouble))
            } else {
                trouble.stage = stage;
                (State::Deferred, stage, None, Some(trouble))
            };
            self.settle(0, |recipient| recipient.is_open().then(|| verdict.clone()));
            match self.transactions[0].goes_elsewhere() {
                true => self.hand_back(0),
                false => drop(self.transactions.pop_front()),
            }
        }
    }
}

/// Whether a login would have helped.
fn wants_login_by((.., trouble): &Verdict) -> bool {
    trouble.as_ref().is_some_and(|trouble| trouble.cause == Cause::Login)
}
