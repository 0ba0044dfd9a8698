//! The server's side of a session (RFC 5321), without I/O: octets of a client in, replies and what the caller is to do out.
//!
//! [`Server::push`] takes what was read, [`Server::advance`] tells what comes of it, and [`Server::take_replies`] gives
//! what is to be written; the caller owns the stream, the clock, and where contents are kept. However the octets are cut, the
//! same comes of them. A message is handed out once, when its end has come, and answered when its caller has decided; what
//! has not ended is none.
//!
//! The first command decides how lines end. Where that is CRLF, a content ends with CRLF.CRLF and nothing else, and one
//! with a CR or LF alone is refused: some server behind might see an end there, and commands of a stranger behind it. Octets
//! behind DATA are content whatever became of MAIL and RCPT before it: a client that does not look at replies, such as a
//! script that writes into a pipe, would otherwise have the text of its message taken for commands.

mod command;
mod content;
mod input;
mod parameters;
mod path;
mod replies;
mod transaction;

#[cfg(test)]
mod tests;

use self::{
    command::Verb,
    content::Content,
    input::{Input, TooLong},
    parameters::RcptParameters,
    transaction::Open,
};
pub use self::{replies::Refusal, transaction::Transaction};
use crate::mail::{Address, EnhancedStatus};

/// The domain of recipients that name none: the names of this machine (RFC 5321, 4.1.1.3 for `postmaster`).
const LOCAL: &str = "localhost";

/// What a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a message.
    pub size: u64,
    /// Recipients of a message.
    pub recipients: usize,
    /// Commands in a row that make no sense; the last of them ends the session.
    pub errors: u32,
}

impl Default for Limits {
    /// More than anybody sends who means it.
    fn default() -> Self {
        Self { size: 1 << 30, recipients: 100_000, errors: 20 }
    }
}

/// What the caller is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Whether this recipient is taken: tell by [`Server::answer`].
    Recipient(Address),
    /// A stretch of the message that is coming, without the dots of the protocol. Lines end as those of the session.
    Content(Vec<u8>),
    /// The message has come whole, its content is what was handed out since the last one: take it, and tell by
    /// [`Server::answer`].
    Message(Transaction),
    /// What was handed out of a content is of no use: no message comes of it.
    Discard,
    /// Write the replies, and close. What came behind is not looked at.
    End {
        /// The client has said QUIT; else it was sent away.
        has_quit: bool,
    },
}

/// What the next octets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Command,
    Data,
    /// A chunk, of which so many octets are still to come.
    Chunk {
        left: u64,
        is_last: bool,
    },
    Ending {
        has_quit: bool,
    },
    Ended,
}

/// What the caller was asked.
#[derive(Debug)]
enum Asked {
    Recipient(Address, RcptParameters),
    Message,
}

/// A content that is coming.
#[derive(Debug)]
struct Receiving {
    content: Content,
    size: u64,
    /// Something of it was handed out.
    has_begun: bool,
    /// Why no message comes of it; its octets are dropped.
    fault: Option<Refusal>,
}

/// A session with a client.
#[derive(Debug)]
pub struct Server {
    domain: String,
    limits: Limits,
    input: Input,
    replies: Vec<u8>,
    phase: Phase,
    open: Option<Open>,
    /// MAIL was refused: what belongs to it comes all the same if the client does not wait for replies.
    was_refused: bool,
    /// From DATA or the first BDAT to the end of the transaction.
    receiving: Option<Receiving>,
    must_discard: bool,
    asked: Option<Asked>,
    errors: u32,
}

impl Server {
    /// Begins a session; the greeting is the first reply. `domain` is the server's name, and that of senders who name none.
    pub fn new(domain: &str, limits: Limits) -> Self {
        let mut server = Self {
            domain: domain.to_owned(),
            limits,
            input: Input::default(),
            replies: Vec::new(),
            phase: Phase::Command,
            open: None,
            was_refused: false,
            receiving: None,
            must_discard: false,
            asked: None,
            errors: 0,
        };
        replies::write(&mut server.replies, 220, None, &format!("{domain} ESMTP mailsend"));
        server
    }

    /// Takes octets that were read.
    pub fn push(&mut self, octets: &[u8]) {
        self.input.push(octets);
    }

    /// What is to be written now. Replies to commands that came together go out together if this is asked for when
    /// [`Server::advance`] wants more.
    pub fn take_replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.replies)
    }

    /// Whether a content has begun that has not ended: if nothing more comes, its client was cut off.
    pub fn is_receiving(&self) -> bool {
        self.receiving.is_some()
    }

    /// Goes on as far as it can; `None` when more octets are wanted, an answer is, or the session has ended.
    pub fn advance(&mut self) -> Option<Next> {
        while self.asked.is_none() {
            if std::mem::take(&mut self.must_discard) {
                return Some(Next::Discard);
            }
            let next = match self.phase {
                Phase::Command => {
                    let line = self.input.line()?;
                    self.line(line)
                }
                Phase::Data | Phase::Chunk { left: 1.., .. } if self.input.rest().is_empty() => return None,
                Phase::Data => self.data(),
                Phase::Chunk { left: 0, is_last } => self.chunk_end(is_last),
                Phase::Chunk { left, is_last } => self.chunk(left, is_last),
                Phase::Ending { has_quit } => {
                    self.phase = Phase::Ended;
                    return Some(Next::End { has_quit });
                }
                Phase::Ended => return None,
            };
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// Answers what was asked last: with words for the client, of which a recipient needs none, or with a refusal. Nothing
    /// happens if nothing was asked.
    pub fn answer(&mut self, verdict: Result<String, Refusal>) {
        let enhanced = |subject, detail| Some(EnhancedStatus { class: 2, subject, detail });
        match (self.asked.take(), verdict) {
            (None, _) => {}
            (Some(Asked::Recipient(recipient, parameters)), Ok(text)) => {
                if let Some(open) = &mut self.open {
                    open.add(recipient, &parameters);
                }
                self.say(250, enhanced(1, 5), if text.is_empty() { "Ok" } else { &text });
            }
            (Some(Asked::Message), Ok(text)) => self.say(250, enhanced(0, 0), &text),
            (Some(_), Err(refusal)) => self.refuse(&refusal),
        }
    }

    fn say(&mut self, code: u16, enhanced: Option<EnhancedStatus>, text: &str) {
        self.errors = 0;
        replies::write(&mut self.replies, code, enhanced, text);
    }

    fn ok(&mut self, text: &str) {
        self.say(250, Some(EnhancedStatus { class: 2, subject: 0, detail: 0 }), text);
    }

    fn refuse(&mut self, refusal: &Refusal) {
        replies::write(&mut self.replies, refusal.code, Some(refusal.enhanced), &refusal.text);
        if refusal.code == 421 {
            self.phase = Phase::Ending { has_quit: false };
        }
    }

    /// The transaction is over, or there is none.
    fn reset(&mut self) {
        self.must_discard |= self.receiving.take().is_some_and(|receiving| receiving.has_begun);
        self.open = None;
        self.was_refused = false;
    }

    fn line(&mut self, line: Result<Vec<u8>, TooLong>) -> Option<Next> {
        let too_long = || Refusal::new(500, 5, 2, "The command is too long");
        let read = line.as_deref().map_err(|TooLong| too_long()).and_then(command::read);
        let (verb, argument) = match read {
            Ok(read) => read,
            Err(refusal) => {
                // It may have been MAIL.
                self.was_refused |= self.open.is_none();
                return self.mistake(refusal);
            }
        };
        // These belong to a transaction that has failed, and were under way when it did.
        let is_left_over = matches!(verb, Verb::Rcpt | Verb::Bdat) && self.was_refused;
        match self.command(verb, argument) {
            Ok(next) => next,
            Err(refusal) if refusal.is_about_the_command() && !is_left_over => self.mistake(refusal),
            Err(refusal) => {
                self.refuse(&refusal);
                None
            }
        }
    }

    fn mistake(&mut self, refusal: Refusal) -> Option<Next> {
        self.errors += 1;
        let refusal = match self.errors < self.limits.errors {
            true => refusal,
            false => Refusal::new(421, 7, 0, "Too many errors"),
        };
        self.refuse(&refusal);
        None
    }

    fn command(&mut self, verb: Verb, argument: &str) -> Result<Option<Next>, Refusal> {
        let has_argument = !argument.is_empty();
        match verb {
            Verb::Ehlo | Verb::Helo | Verb::Vrfy | Verb::Expn if !has_argument => {
                return Err(Refusal::new(501, 5, 4, "An argument is wanted"));
            }
            Verb::Data | Verb::Rset | Verb::Quit if has_argument => {
                return Err(Refusal::new(501, 5, 4, "No argument is wanted"));
            }
            Verb::Ehlo => {
                self.reset();
                self.errors = 0;
                let offers = self.offers();
                replies::write_lines(&mut self.replies, 250, &offers);
            }
            Verb::Helo => {
                self.reset();
                self.say(250, None, &self.domain.clone());
            }
            Verb::Mail => self.mail(argument)?,
            Verb::Rcpt => return self.rcpt(argument),
            Verb::Data => self.begin_data()?,
            Verb::Bdat => self.begin_chunk(argument)?,
            Verb::Rset => {
                self.reset();
                self.ok("Ok");
            }
            Verb::Noop => self.ok("Ok"),
            // RFC 5321, 7.3
            Verb::Vrfy => {
                let enhanced = EnhancedStatus { class: 2, subject: 0, detail: 0 };
                self.say(252, Some(enhanced), "It is not looked up, but mail to it is tried");
            }
            Verb::Expn => return Err(Refusal::new(502, 5, 1, "Lists are not shown")),
            Verb::Help => {
                let verbs = Verb::ALL.map(|(name, _)| name).join(" ");
                self.say(214, Some(EnhancedStatus { class: 2, subject: 0, detail: 0 }), &verbs);
            }
            Verb::Quit => {
                self.reset();
                self.say(221, Some(EnhancedStatus { class: 2, subject: 0, detail: 0 }), "Bye");
                self.phase = Phase::Ending { has_quit: true };
            }
        }
        Ok(None)
    }

    /// The reply to EHLO: the server's name, and the extensions.
    fn offers(&self) -> Vec<String> {
        let size = format!("SIZE {}", self.limits.size);
        let offers = ["PIPELINING", &size, "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "CHUNKING"];
        std::iter::once(self.domain.as_str()).chain(offers).map(str::to_owned).collect()
    }

    fn mail(&mut self, argument: &str) -> Result<(), Refusal> {
        if self.open.is_some() {
            return Err(out_of_order("There is a sender already: RSET begins anew"));
        }
        // Until all of it is right.
        self.was_refused = true;
        let (path, parameters) = path::split(command::behind("FROM:", argument)?).ok_or_else(no_path)?;
        let parameters = parameters::mail(parameters)?;
        check_ascii(path, parameters.is_utf8)?;
        let from = match path {
            "" => None,
            path => Some(path::address(path, &self.domain).map_err(|why| Refusal::new(553, 1, 7, why))?),
        };
        if parameters.size.is_some_and(|size| size > self.limits.size) {
            return Err(too_large(self.limits.size));
        }
        self.open = Some(Open::new(from, parameters));
        self.was_refused = false;
        self.say(250, Some(EnhancedStatus { class: 2, subject: 1, detail: 0 }), "Ok");
        Ok(())
    }

    fn rcpt(&mut self, argument: &str) -> Result<Option<Next>, Refusal> {
        let Some(open) = &self.open else { return Err(out_of_order("MAIL comes first")) };
        if self.receiving.is_some() {
            return Err(out_of_order("The content has begun"));
        }
        let (path, parameters) = path::split(command::behind("TO:", argument)?).ok_or_else(no_path)?;
        let parameters = parameters::rcpt(parameters, open.is_utf8())?;
        check_ascii(path, open.is_utf8())?;
        let recipient = path::address(path, LOCAL).map_err(|why| Refusal::new(553, 1, 3, why))?;
        if !open.knows(&recipient) && open.len() >= self.limits.recipients {
            return Err(Refusal::new(452, 5, 3, "Too many recipients"));
        }
        self.asked = Some(Asked::Recipient(recipient.clone(), parameters));
        Ok(Some(Next::Recipient(recipient)))
    }

    fn begin_data(&mut self) -> Result<(), Refusal> {
        if self.receiving.is_some() {
            return Err(out_of_order("The content comes by BDAT"));
        }
        if self.open.is_none() && !self.was_refused {
            return Err(out_of_order("MAIL comes first"));
        }
        // RFC 2920, 3.1 lets a server say so even if nobody is to have the message, and refuse it at its end.
        self.receiving = Some(self.receiving(true));
        self.phase = Phase::Data;
        self.say(354, None, "End data with <CR><LF>.<CR><LF>");
        Ok(())
    }

    /// What comes behind BDAT is content even where that is refused (RFC 3030, 2).
    fn begin_chunk(&mut self, argument: &str) -> Result<(), Refusal> {
        let Some((left, is_last)) = command::chunk(argument) else {
            // Nobody knows where the next command begins.
            self.phase = Phase::Ending { has_quit: false };
            return Err(Refusal::new(501, 5, 4, "BDAT SIZE or BDAT SIZE LAST is wanted"));
        };
        if self.receiving.is_none() {
            self.receiving = Some(self.receiving(false));
        }
        self.phase = Phase::Chunk { left, is_last };
        Ok(())
    }

    fn receiving(&self, is_stuffed: bool) -> Receiving {
        let fault = match &self.open {
            Some(open) if open.len() > 0 => None,
            Some(_) => Some(Refusal::new(554, 5, 1, "No valid recipients")),
            None if is_stuffed => Some(Refusal::new(554, 5, 1, "No valid sender")),
            None => Some(out_of_order("MAIL comes first")),
        };
        let content = Content::new(self.input.line_end(), is_stuffed);
        Receiving { content, size: 0, has_begun: false, fault }
    }

    fn data(&mut self) -> Option<Next> {
        let receiving = self.receiving.as_mut()?;
        let mut block = Vec::new();
        let (count, is_end) = receiving.content.take(self.input.rest(), &mut block);
        self.input.consume(count);
        if is_end {
            // The message itself follows once this stretch is handed out.
            self.phase = Phase::Chunk { left: 0, is_last: true };
        }
        self.keep(block)
    }

    fn chunk(&mut self, left: u64, is_last: bool) -> Option<Next> {
        let receiving = self.receiving.as_mut()?;
        let rest = self.input.rest();
        let count = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        let mut block = Vec::new();
        receiving.content.take(&rest[..count], &mut block);
        self.input.consume(count);
        self.phase = Phase::Chunk { left: left - count as u64, is_last };
        self.keep(block)
    }

    /// Hands out a stretch of the content, unless no message comes of it.
    fn keep(&mut self, block: Vec<u8>) -> Option<Next> {
        let limit = self.limits.size;
        let receiving = self.receiving.as_mut()?;
        receiving.size = receiving.size.saturating_add(block.len() as u64);
        if receiving.size > limit {
            receiving.fault.get_or_insert_with(|| too_large(limit));
        }
        if receiving.fault.is_some() || receiving.content.has_bare || block.is_empty() {
            return None;
        }
        receiving.has_begun = true;
        Some(Next::Content(block))
    }

    /// A chunk has come whole, or all of DATA.
    fn chunk_end(&mut self, is_last: bool) -> Option<Next> {
        self.phase = Phase::Command;
        let receiving = self.receiving.as_mut()?;
        if is_last && receiving.content.ends_bare() {
            receiving.fault.get_or_insert_with(bare);
        }
        let (fault, size) = (receiving.fault.clone(), receiving.size);
        match fault {
            Some(fault) => {
                // What still comes of this transaction is refused as RFC 3030, 2 wants it.
                receiving.fault = Some(out_of_order("The transaction has failed: RSET begins anew"));
                if is_last || self.open.is_none() {
                    let was_refused = self.was_refused && !is_last;
                    self.reset();
                    self.was_refused = was_refused;
                }
                self.refuse(&fault);
                None
            }
            None if !is_last => {
                self.ok(&format!("{size} octets so far"));
                None
            }
            None => {
                self.receiving = None;
                let open = self.open.take()?;
                self.asked = Some(Asked::Message);
                Some(Next::Message(open.close()))
            }
        }
    }
}

fn too_large(limit: u64) -> Refusal {
    Refusal::new(552, 3, 4, format!("The message is over {limit} octets"))
}

fn out_of_order(text: &str) -> Refusal {
    Refusal::new(503, 5, 1, text)
}

fn no_path() -> Refusal {
    Refusal::new(501, 5, 4, "An address in <> is wanted")
}

fn bare() -> Refusal {
    Refusal::new(550, 6, 11, "There is a CR or LF alone in the message: lines end with CRLF")
}

/// RFC 6531, 3.5
fn check_ascii(path: &str, is_utf8: bool) -> Result<(), Refusal> {
    match path.is_ascii() || is_utf8 {
        true => Ok(()),
        false => Err(Refusal::new(553, 6, 7, "An address that is not ASCII needs SMTPUTF8")),
    }
}
