//! What each reply means: for its recipients, and for what may be sent next.

use super::{
    Ending, Exchange, Expect, Out,
    transaction::{Progress, Recipient, closing},
};
use crate::{
    mail::{Cause, Reply, Stage, State, Trouble},
    smtp::sasl::{login_wanted, wants_login},
};

impl Exchange {
    pub(super) fn on_reset(&mut self, at: usize, reply: &Reply) {
        if reply.is_positive() {
            return;
        }
        if self.terms.lmtp {
            // Nothing of it is out but its envelope.
            self.hand_back(at);
            return self.end(closing(Stage::Mail, reply.clone()));
        }
        // The server may or may not do what was sent behind: read on, believe acceptances only, begin nothing.
        for transaction in self.transactions.iter_mut().skip(at) {
            transaction.is_suspect = true;
        }
        self.retire();
    }

    pub(super) fn on_mail(&mut self, at: usize, reply: Reply) {
        if reply.code / 100 == 3 {
            return self.out_of_step(Some(at), reply);
        }
        self.stop_if_login_wanted(Stage::Mail, &reply);
        let transaction = &mut self.transactions[at];
        let is_positive = reply.is_positive();
        if !is_positive {
            for (_, recipient) in &mut transaction.recipients {
                if matches!(recipient, Recipient::Open) {
                    *recipient = Recipient::Refused(reply.clone(), Stage::Mail);
                }
            }
        }
        transaction.mail = Some(reply);
        if !is_positive && !self.terms.pipelining {
            self.script.clear();
            self.give_up(at, None);
        }
    }

    pub(super) fn on_rcpt(&mut self, at: usize, number: usize, reply: Reply) {
        if reply.code / 100 == 3 {
            return self.out_of_step(Some(at), reply);
        }
        self.stop_if_login_wanted(Stage::Rcpt, &reply);
        let transaction = &mut self.transactions[at];
        if let (_, recipient @ Recipient::Open) = &mut transaction.recipients[number] {
            *recipient = if reply.is_positive() {
                transaction.had_willing = true;
                Recipient::Willing
            } else {
                Recipient::Refused(reply, Stage::Rcpt)
            };
        }
        let id = self.transactions[at].submission.id;
        let is_rcpt = |id_expect: (u64, Expect)| id_expect.0 == id && matches!(id_expect.1, Expect::Rcpt(_));
        let is_last = !self.expected.iter().any(|&expected| is_rcpt(expected))
            && !self.script.iter().any(|&(_, id, expect)| is_rcpt((id, expect)));
        // With a group that holds DATA or the content, the next reply tells how it goes on.
        let is_group =
            || self.transactions[at].progress == Progress::Content || self.expected.contains(&(id, Expect::Data));
        if is_last && !is_group() {
            self.after_recipients(at);
        }
    }

    /// All recipients are answered and nothing else of this transaction is out.
    pub(super) fn after_recipients(&mut self, at: usize) {
        if !self.transactions[at].has_willing() {
            return self.give_up(at, None);
        }
        self.settle_refused(at);
        let id = self.transactions[at].submission.id;
        if self.terms.chunking {
            self.send_content(at);
        } else {
            self.script.push_back((b"DATA\r\n".to_vec(), id, Expect::Data));
        }
    }

    pub(super) fn on_data(&mut self, at: usize, reply: Reply) {
        self.stop_if_login_wanted(Stage::Data, &reply);
        let transaction = &self.transactions[at];
        let is_mail_refused = transaction.mail.as_ref().is_some_and(|mail| !mail.is_positive());
        match reply.code {
            354 if is_mail_refused => self.out_of_step(Some(at), reply),
            354 if transaction.has_willing() => {
                self.settle_refused(at);
                self.send_content(at);
            }
            // RFC 2920, 3.1: a server that says 354 though nobody is willing gets an empty message. LMTP would answer
            // it once per willing recipient: never.
            354 if !self.terms.lmtp => {
                self.settle_refused(at);
                let id = self.transactions[at].submission.id;
                self.out.push_back(Out::Command(b".\r\n".to_vec()));
                self.expected.push_back((id, Expect::LoneDot));
                self.transactions[at].progress = Progress::Content;
            }
            code if code < 400 => self.out_of_step(Some(at), reply),
            _ => self.give_up(at, Some(&reply)),
        }
    }

    /// The content is not sent: nobody is willing, or `reply` to DATA refuses those who are.
    pub(super) fn give_up(&mut self, at: usize, reply: Option<&Reply>) {
        if self.transactions[at].is_suspect {
            return self.hand_back(at);
        }
        self.settle_refused(at);
        if let Some(reply) = reply {
            self.settle_willing(at, reply.clone());
        }
        self.finish(at, true);
    }

    pub(super) fn on_content(&mut self, at: usize, reply: Reply) {
        self.stop_if_login_wanted(Stage::Data, &reply);
        let transaction = &self.transactions[at];
        let has_willing = transaction.has_willing();
        if reply.code / 100 == 3 || (reply.is_positive() && (!has_willing || !transaction.is_complete)) {
            return self.out_of_step(Some(at), reply);
        }
        let is_early = !transaction.is_complete;
        let is_positive = reply.is_positive();
        self.has_accepted |= is_positive;
        if transaction.is_suspect && !is_positive {
            return self.hand_back(at);
        }
        // LMTP has thousands of answers; the refused are settled with the first.
        if self.transactions[at].settled_before == 0 {
            self.settle_refused(at);
        }
        let refusal = is_early.then(|| reply.clone());
        if self.terms.lmtp {
            self.settle_next_willing(at, reply);
        } else {
            self.settle_willing(at, reply);
        }
        if let Some(reply) = refusal {
            // The rest of the content cannot be taken back, and what the server does with it is anybody's guess.
            self.end(
                Trouble::new(Stage::Data, Cause::Lost, "the server refused the message before it was sent whole")
                    .reply(reply),
            );
        } else if !self.transactions[at].is_open() {
            self.finish(at, self.terms.chunking && !is_positive);
        }
    }

    /// 421: the server goes. Who was answered keeps the answer, this one is deferred, all behind is due again.
    pub(super) fn closing(&mut self, at: usize, expect: Expect, reply: Reply) {
        let stage = match expect {
            Expect::Reset | Expect::Mail => Stage::Mail,
            Expect::Rcpt(_) => Stage::Rcpt,
            Expect::Data | Expect::Content | Expect::LoneDot => Stage::Data,
        };
        while self.transactions.len() > at + 1 {
            self.hand_back(at + 1);
        }
        let trouble = closing(stage, reply.clone());
        if expect == Expect::Reset {
            self.hand_back(at);
        } else {
            self.settle_refused(at);
            if self.terms.lmtp && expect == Expect::Content {
                // Who comes behind may have the message or not; the end of all tells which.
                self.settle_next_willing(at, reply);
            } else {
                let verdict = (State::Deferred, stage, Some(reply), None);
                self.settle(at, |recipient| recipient.is_open().then(|| verdict.clone()));
            }
        }
        self.end(trouble);
    }

    /// A missing login is nobody's refusal: this session, and every other to this server, is of no use.
    pub(super) fn stop_if_login_wanted(&mut self, stage: Stage, reply: &Reply) {
        if wants_login(reply) {
            self.stop.get_or_insert_with(|| login_wanted(stage, reply.clone(), self.terms.login_hint.as_deref()));
            self.retire();
        }
    }

    /// A reply that does not fit: nothing that comes can be trusted to belong to what it seems to.
    pub(super) fn out_of_step(&mut self, at: Option<usize>, reply: Reply) {
        let stage = if at.is_some_and(|at| self.transactions[at].is_complete) { Stage::Final } else { Stage::Data };
        let trouble =
            Trouble::new(stage, Cause::Protocol, "the server is out of step; its reply fits no command").reply(reply);
        let id = at.map(|at| self.transactions[at].submission.id);
        self.end_all(&trouble, id);
        self.ending = Some(Ending::Broken(trouble));
    }
}
