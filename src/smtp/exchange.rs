//! Mail transactions over one open session, without I/O: which bytes may go out, and what each reply means for whom.
//!
//! Submissions go in by [`Exchange::take`], replies by [`Exchange::reply`]; [`Exchange::next_out`] gives what to send,
//! and settlements come out. The caller owns the socket, the clock and the streaming. However the connection ends,
//! every recipient of every submission that was taken is settled once or its submission is handed back, never both.

mod replies;
mod settling;
mod transaction;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use self::transaction::{Progress, Recipient, Transaction, closing};
use super::{command, terms::Terms};
use crate::mail::{Cause, Outcome, Piece, Reply, Stage, State, Submission, Trouble};

/// Content up to this goes in one group with MAIL and RCPT; larger content waits until somebody wants it.
const GROUPED: u64 = 64 * 1024;
/// Servers hang up on clients whose recipients are refused: Postfix after 10 such messages, Exim after 10 refusals.
const MAX_UNWILLING: usize = 8;

/// Something to send, in its order.
#[derive(Debug)]
pub enum Out {
    /// A command that will be answered, with its CRLF.
    Command(Vec<u8>),
    /// A line without an answer of its own: BDAT before its octets, the lone dot behind a content.
    Line(Vec<u8>),
    /// What follows completes this submission: the feed has to consent before it leaves.
    Gate(u64),
    /// The content begins: so many octets, to be dot-stuffed or not.
    Begin {
        /// The submission.
        id: u64,
        /// Octets before stuffing.
        length: u64,
        /// DATA, not BDAT.
        stuffed: bool,
        /// Answers that it will get.
        replies: usize,
    },
    /// A stretch of the content.
    Piece(Piece),
    /// The last octet of this submission lies before here.
    End(u64),
}

/// Recipients of a submission that are settled.
#[derive(Debug)]
pub struct Settlement {
    /// The feed's number.
    pub id: u64,
    /// One each.
    pub outcomes: Vec<Outcome>,
}

/// Why the session cannot go on.
#[derive(Debug, Clone)]
pub enum Ending {
    /// This session is over; another may do better.
    Broken(Trouble),
    /// The login was refused or is missing: no other session will do better.
    Stop(Trouble),
}

/// Which time limit holds for the next reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The reply to a command.
    Command,
    /// The reply to a whole message.
    FinalReply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Reset,
    Mail,
    Rcpt(usize),
    Data,
    Content,
    LoneDot,
}

/// The transactions of one session.
#[derive(Debug)]
pub struct Exchange {
    terms: Terms,
    transactions: VecDeque<Transaction>,
    /// Commands that may go out one after the other: all at once with PIPELINING.
    script: VecDeque<(Vec<u8>, u64, Expect)>,
    out: VecDeque<Out>,
    expected: VecDeque<(u64, Expect)>,
    /// Of the expected replies so many belong to what was given out: others cannot have come yet.
    asked: usize,
    /// The server may still hold a transaction that must be reset.
    needs_reset: bool,
    unwilling: usize,
    has_accepted: bool,
    settled: Vec<Settlement>,
    handed_back: Vec<Submission>,
    ending: Option<Ending>,
    /// Others may take what this server wants a login for.
    is_fallback: bool,
    /// A login was wanted: the session ends so once nothing is under way.
    stop: Option<Trouble>,
    /// Nothing new is begun; what is out is waited for.
    is_retiring: bool,
    /// Something was begun in this session that is not to be completed.
    is_cut_off: bool,
    /// It was us who gave the session up.
    was_aborted: bool,
}

impl Exchange {
    /// Begins where EHLO, TLS and login have ended.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            transactions: VecDeque::new(),
            script: VecDeque::new(),
            out: VecDeque::new(),
            expected: VecDeque::new(),
            asked: 0,
            needs_reset: false,
            unwilling: 0,
            has_accepted: false,
            settled: Vec::new(),
            handed_back: Vec::new(),
            ending: None,
            is_fallback: false,
            stop: None,
            is_retiring: false,
            is_cut_off: false,
            was_aborted: false,
        }
    }

    /// The same for a server that stands in for others: what it wants a login for is handed back.
    pub fn of_fallback(terms: Terms) -> Self {
        Self { is_fallback: true, ..Self::new(terms) }
    }

    /// How many more submissions may be taken now.
    pub fn room(&self) -> usize {
        if self.ending.is_some() || self.is_retiring {
            return 0;
        }
        let limit = match (self.terms.pipelining, self.terms.chunking && !self.terms.lmtp) {
            // A server that hangs up on us in the middle of a window leaves all in doubt that it has not answered.
            (true, true) if !self.has_accepted || self.unwilling > 0 => {
                self.terms.depth.min(MAX_UNWILLING.saturating_sub(self.unwilling).max(1))
            }
            (true, true) => self.terms.depth,
            // The content of one goes along with the envelope of the next; further ones would only be held.
            (true, false) => self.terms.depth.min(2),
            (false, _) => 1,
        };
        limit.saturating_sub(self.transactions.len())
    }

    /// Takes a submission. What cannot be sent in this session is settled at once.
    pub fn take(&mut self, submission: Submission) {
        let (transaction, outcomes) = Transaction::new(submission, &self.terms);
        if !outcomes.is_empty() {
            self.settled.push(Settlement { id: transaction.submission.id, outcomes });
        }
        if transaction.is_open() {
            self.transactions.push_back(transaction);
            self.advance();
        }
    }

    /// The next thing to send.
    pub fn next_out(&mut self) -> Option<Out> {
        if self.ending.is_some() {
            return None;
        }
        let out = self.out.pop_front()?;
        match &out {
            Out::Command(_) => self.asked += 1,
            Out::Begin { replies, .. } => self.asked += replies,
            _ => {}
        }
        Some(out)
    }

    /// Submissions that can be completed together: those gated from here to the next that must be streamed.
    pub fn gates_ahead(&self) -> Vec<u64> {
        self.out
            .iter()
            .take_while(|out| !matches!(out, Out::Piece(Piece::File { .. })))
            .filter_map(|out| if let Out::Gate(id) = out { Some(*id) } else { None })
            .collect()
    }

    /// The last byte of this submission was handed to the socket.
    pub fn completed(&mut self, id: u64) {
        if let Some(transaction) = self.transactions.iter_mut().find(|transaction| transaction.submission.id == id) {
            transaction.is_complete = true;
        }
    }

    /// What is waited for.
    pub fn awaited(&self) -> Option<Awaited> {
        self.expected.front().map(|(_, expect)| match expect {
            Expect::Content => Awaited::FinalReply,
            _ => Awaited::Command,
        })
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.transactions.is_empty() && self.expected.is_empty()
    }

    /// Why no more can be done, if so.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Whether this end does not speak against the server: it was ours, or it follows messages that found no willing
    /// recipient, after some of which servers hang up.
    pub fn is_blameless(&self, trouble: &Trouble) -> bool {
        self.was_aborted || (self.unwilling > 0 && matches!(trouble.cause, Cause::Lost | Cause::Busy))
    }

    /// The login that was wanted: no session to this server is of use.
    pub fn wanted_login(&self) -> Option<&Trouble> {
        match &self.ending {
            Some(Ending::Stop(trouble)) => Some(trouble),
            _ => self.stop.as_ref(),
        }
    }

    /// Whether the session is to be replaced once nothing is under way.
    pub fn is_retiring(&self) -> bool {
        self.is_retiring
    }

    /// Begins nothing new; hands back what has not begun.
    pub fn retire(&mut self) {
        self.is_retiring = true;
        let begun =
            self.transactions.iter().take_while(|transaction| transaction.progress != Progress::Waiting).count();
        while self.transactions.len() > begun {
            self.hand_back(begun);
        }
    }

    /// The feed has not consented to this submission, nor to any behind it: none of them is completed, and all are handed
    /// back. What went before is waited for; the session ends then.
    pub fn withhold(&mut self, id: u64) {
        self.is_retiring = true;
        self.out.clear();
        self.script.clear();
        if let Some(at) = self.transactions.iter().position(|transaction| transaction.submission.id == id) {
            let asked = self.expected.iter().take(self.asked);
            let before =
                asked.take_while(|(id, _)| self.transactions.range(..at).any(|t| t.submission.id == *id)).count();
            self.is_cut_off = before < self.asked;
            self.asked = before;
            while self.transactions.len() > at {
                self.hand_back(at);
            }
        }
        self.end_if_cut_off();
    }

    /// A content that was begun cannot be ended, and the server hears nothing else meanwhile.
    fn end_if_cut_off(&mut self) {
        if self.is_cut_off && self.is_idle() {
            self.was_aborted = true;
            self.end(Trouble::new(Stage::Data, Cause::Stopped, "nothing may be sent any more"));
        }
    }

    /// Takes the settlements made since the last call.
    pub fn take_settled(&mut self) -> Vec<Settlement> {
        std::mem::take(&mut self.settled)
    }

    /// Takes the submissions handed back since the last call, in their order.
    pub fn take_handed_back(&mut self) -> Vec<Submission> {
        std::mem::take(&mut self.handed_back)
    }

    /// Takes in a reply.
    pub fn reply(&mut self, reply: Reply) {
        if self.ending.is_some() {
            return;
        }
        if self.asked == 0 {
            return match reply.code {
                421 => self.end(closing(Stage::Mail, reply)),
                _ => self.out_of_step(None, reply),
            };
        }
        let Some((id, expect)) = self.expected.pop_front() else { return self.out_of_step(None, reply) };
        self.asked -= 1;
        let Some(at) = self.transactions.iter().position(|transaction| transaction.submission.id == id) else {
            return self.out_of_step(None, reply);
        };
        if reply.code == 421 {
            return self.closing(at, expect, reply);
        }
        match expect {
            Expect::Reset => self.on_reset(at, &reply),
            Expect::Mail => self.on_mail(at, reply),
            Expect::Rcpt(number) => self.on_rcpt(at, number, reply),
            Expect::Data => self.on_data(at, reply),
            Expect::Content => self.on_content(at, reply),
            Expect::LoneDot => self.finish(at, false),
        }
        self.advance();
        if self.ending.is_none() && self.is_idle() {
            self.ending = self.stop.take().map(Ending::Stop);
        }
        if self.ending.is_none() {
            self.end_if_cut_off();
        }
    }

    /// The connection is over. What was complete and unanswered is unknown, what was under way is deferred, what
    /// had not begun is handed back.
    pub fn end(&mut self, trouble: Trouble) {
        self.end_all(&trouble, None);
        let ending = self.stop.take().map_or(Ending::Broken(trouble), Ending::Stop);
        self.ending.get_or_insert(ending);
    }

    /// A message cannot be sent whole: it has failed for good, and the session with it, for nothing but the end of the
    /// connection takes back what was sent of it.
    pub fn abort(&mut self, id: Option<u64>, trouble: &Trouble) {
        let at = self.transactions.iter().position(|transaction| Some(transaction.submission.id) == id);
        if let Some(at) = at {
            let verdict = (State::Failed, trouble.stage, None, Some(trouble.clone()));
            self.settle(at, |recipient| recipient.is_open().then(|| verdict.clone()));
        }
        self.was_aborted = true;
        self.end(Trouble::new(Stage::Data, Cause::Lost, "the session was given up over another message"));
    }

    /// Sends what may be sent by now.
    fn advance(&mut self) {
        if self.ending.is_some() {
            return;
        }
        self.run_script();
        while !self.is_retiring && self.script.is_empty() {
            let may_begin = self.terms.pipelining || self.expected.is_empty();
            let Some(next) = self.transactions.iter().position(|t| t.progress != Progress::Content) else { return };
            if self.transactions[next].progress != Progress::Waiting || !may_begin {
                return;
            }
            self.begin(next);
            self.run_script();
        }
    }

    fn run_script(&mut self) {
        while self.terms.pipelining || self.expected.is_empty() {
            let Some((line, id, expect)) = self.script.pop_front() else { return };
            self.out.push_back(Out::Command(line));
            self.expected.push_back((id, expect));
        }
    }

    fn begin(&mut self, at: usize) {
        let is_grouped = self.terms.pipelining
            && self.terms.chunking
            && !self.terms.lmtp
            && self.transactions[at].submission.content.len() <= GROUPED;
        let transaction = &mut self.transactions[at];
        let submission = &transaction.submission;
        let id = submission.id;
        if is_grouped {
            self.out.push_back(Out::Gate(id));
        }
        // In a window, what went before is not known to have ended: when all its recipients were refused, Exim
        // would take the next message with the previous sender.
        if self.needs_reset || (self.terms.chunking && !self.expected.is_empty()) {
            self.script.push_back((b"RSET\r\n".to_vec(), id, Expect::Reset));
            self.needs_reset = false;
        }
        self.script.push_back((command::mail(submission, &self.terms, transaction.uses_utf8), id, Expect::Mail));
        for (number, (address, recipient)) in transaction.recipients.iter().enumerate() {
            if matches!(recipient, Recipient::Open) {
                self.script.push_back((command::rcpt(address, &submission.dsn, &self.terms), id, Expect::Rcpt(number)));
            }
        }
        transaction.progress = Progress::Envelope;
        if is_grouped {
            self.run_script();
            self.push_content(at, true);
        } else if self.terms.pipelining && !self.terms.chunking {
            self.script.push_back((b"DATA\r\n".to_vec(), id, Expect::Data));
        }
    }

    /// Sends the content to the recipients that are willing.
    fn send_content(&mut self, at: usize) {
        self.push_content(at, false);
    }

    fn push_content(&mut self, at: usize, is_gated: bool) {
        let transaction = &mut self.transactions[at];
        let submission = &transaction.submission;
        let (id, length) = (submission.id, submission.content.len());
        let stuffed = !self.terms.chunking;
        if self.terms.chunking {
            self.out.push_back(Out::Line(command::bdat_last(length)));
        }
        let replies = if self.terms.lmtp { transaction.willing().count() } else { 1 };
        self.out.push_back(Out::Begin { id, length, stuffed, replies });
        let pieces = submission.content.pieces();
        for (number, piece) in pieces.iter().enumerate() {
            // As late as possible: what is not consented to has not been sent.
            if !is_gated && number + 1 == pieces.len() {
                self.out.push_back(Out::Gate(id));
            }
            self.out.push_back(Out::Piece(piece.clone()));
        }
        if pieces.is_empty() && !is_gated {
            self.out.push_back(Out::Gate(id));
        }
        if stuffed {
            self.out.push_back(Out::Line(b".\r\n".to_vec()));
        }
        self.out.push_back(Out::End(id));
        transaction.progress = Progress::Content;
        self.expected.extend(std::iter::repeat_n((id, Expect::Content), replies));
    }

    /// Takes a transaction off whose replies are all in.
    fn finish(&mut self, at: usize, needs_reset: bool) {
        let Some(transaction) = self.transactions.get(at) else { return };
        let had_willing = transaction.had_willing;
        match transaction.goes_elsewhere() {
            true => self.hand_back(at),
            false => drop(self.transactions.remove(at)),
        }
        self.needs_reset |= needs_reset;
        if !had_willing {
            self.unwilling += 1;
            if self.unwilling >= MAX_UNWILLING {
                self.retire();
            }
        }
    }
}
