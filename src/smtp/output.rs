//! The bytes on their way to the socket: commands and contents in one buffer, files streamed a few blocks ahead, and
//! the marks that tell which message has left whole.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll, ready},
};

use memchr::memmem::Finder;
use tokio::sync::{mpsc, oneshot};

use super::{
    connection::Listener,
    exchange::{Exchange, Out},
};
use crate::{
    mail::{Cause, Event, Piece, Stage, Step, Trouble},
    message::Blocks,
};

/// A group of commands and small contents goes in one write of up to some of these octets.
const WRITE_SIZE: usize = 64 * 1024;
/// Blocks read ahead of the buffer.
const BLOCKS_AHEAD: usize = 2;
/// Over TLS a write that may hold the end of a message is one record. A larger one may fail after a part of it has
/// left, and nobody tells which.
const RECORD: usize = 16 * 1024;

/// The feed's answer to a Commit, on its way.
pub(super) enum Consent {
    /// The feed has been asked.
    Asked(oneshot::Receiver<()>),
    /// It has so much to do that it could not be asked yet.
    Asking(Pin<Box<dyn Future<Output = bool> + Send>>),
}

impl Consent {
    fn ask(ids: Vec<u64>, steps: &mpsc::Sender<Step>) -> Self {
        let (ack, consent) = oneshot::channel();
        let step = match steps.try_send(Step::Commit { ids, ack }) {
            // If the feed is gone, the answer is that it does not consent.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return Consent::Asked(consent),
            Err(mpsc::error::TrySendError::Full(step)) => step,
        };
        let steps = steps.clone();
        Consent::Asking(Box::pin(async move { steps.send(step).await.is_ok() && consent.await.is_ok() }))
    }

    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        match self {
            Consent::Asked(consent) => Poll::Ready(ready!(Pin::new(consent).poll(context)).is_ok()),
            Consent::Asking(asking) => asking.as_mut().poll(context),
        }
    }
}

pub(super) type FileBlocks = mpsc::Receiver<io::Result<Vec<u8>>>;

pub(super) struct Output {
    listener: Listener,
    bytes: Vec<u8>,
    /// Octets of `bytes` that the socket has.
    written: usize,
    /// Octets put into `bytes` so far, and octets the socket has of them.
    queued: u64,
    sent: u64,
    /// The last octet of a submission lies before this one.
    marks: VecDeque<(u64, u64)>,
    consent: Option<Consent>,
    /// Whose gate was passed when the pending consent was asked for.
    passed: u64,
    /// Asked for in the pending consent beside it.
    asked: Vec<u64>,
    /// Consented to, and not passed yet.
    allowed: Vec<u64>,
    blocks: Option<FileBlocks>,
    content: Option<Content>,
    shown: Option<Shown>,
    is_tls: bool,
    is_unflushed: bool,
    /// Why nothing more can be written.
    pub failure: Option<Trouble>,
}

/// The content being put into the buffer.
struct Content {
    id: u64,
    length: u64,
    done: u64,
    dots: Option<Dots>,
}

/// The large content that is shown leaving.
struct Shown {
    id: u64,
    length: u64,
    start: u64,
}

impl Output {
    pub fn new(listener: Listener, is_tls: bool) -> Self {
        Self {
            listener,
            shown: None,
            is_tls,
            bytes: Vec::new(),
            written: 0,
            queued: 0,
            sent: 0,
            marks: VecDeque::new(),
            consent: None,
            passed: 0,
            asked: Vec::new(),
            allowed: Vec::new(),
            blocks: None,
            content: None,
            is_unflushed: false,
            failure: None,
        }
    }

    pub fn has_bytes(&self) -> bool {
        self.written < self.bytes.len() && self.failure.is_none()
    }

    pub fn needs_flush(&self) -> bool {
        self.is_unflushed && !self.has_bytes() && self.failure.is_none()
    }

    /// Whether something is to be written now or when its file is read.
    pub fn is_under_way(&self) -> bool {
        self.has_bytes() || self.needs_flush() || self.blocks.is_some()
    }

    /// Whether commands and small contents have their place.
    fn has_room(&self) -> bool {
        self.bytes.len() - self.written < WRITE_SIZE
    }

    /// Whether a block of a file has its place: only where nothing else is, which makes it the buffer as it stands.
    /// Behind a rest it would have to be copied, and a buffer that is never empty grows to the size of the file.
    pub fn wants_block(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// What the next happening may come from.
    pub fn parts(&mut self) -> (&mut Option<Consent>, &mut Option<FileBlocks>, &[u8]) {
        let is_middle =
            self.marks.is_empty() && self.content.as_ref().is_some_and(|content| content.done < content.length);
        let largest = if self.is_tls && !is_middle { RECORD } else { usize::MAX };
        let bytes = &self.bytes[self.written..];
        (&mut self.consent, &mut self.blocks, &bytes[..bytes.len().min(largest)])
    }

    /// Takes from the exchange what may go out by now, up to a good size for one write.
    pub async fn fill(&mut self, exchange: &mut Exchange, steps: &mpsc::Sender<Step>) {
        while self.failure.is_none() && self.consent.is_none() && self.blocks.is_none() && self.has_room() {
            let Some(out) = exchange.next_out() else { return };
            match out {
                Out::Command(line) | Out::Line(line) => {
                    if self.listener.wants_trace {
                        self.listener.trace("->", String::from_utf8_lossy(&line).trim_end()).await;
                    }
                    self.put(&line);
                }
                Out::Gate(id) => match self.allowed.iter().position(|&allowed| allowed == id) {
                    Some(at) => drop(self.allowed.swap_remove(at)),
                    None => self.ask(id, exchange.gates_ahead(), steps),
                },
                Out::Begin { id, length, stuffed, .. } => {
                    if self.listener.wants_trace {
                        self.listener.trace("->", &format!("[{length} octets of message]")).await;
                    }
                    self.content = Some(Content { id, length, done: 0, dots: stuffed.then(Dots::default) });
                    if length > WRITE_SIZE as u64 {
                        self.shown = Some(Shown { id, length, start: self.queued });
                    }
                }
                Out::Piece(Piece::Bytes(bytes)) => self.put_content(&bytes),
                Out::Piece(piece) => self.blocks = Some(read_ahead(piece)),
                Out::End(id) => {
                    let content = self.content.take();
                    if content.as_ref().is_some_and(|content| content.done != content.length) {
                        // Its length was announced: nothing may stand where the rest belongs.
                        return exchange.abort(Some(id), &unfinished("its files are shorter than they were"));
                    }
                    // Without dots the last octet of the content is that of the message: it has its mark.
                    if content.is_none_or(|content| content.dots.is_some() || content.length == 0) {
                        self.marks.push_back((self.queued, id));
                        self.pass_marks(exchange);
                    }
                }
            }
        }
    }

    /// Asks the feed whether these submissions may be completed: one whose gate this is, and some behind it.
    fn ask(&mut self, id: u64, ahead: Vec<u64>, steps: &mpsc::Sender<Step>) {
        let mut ids = Vec::with_capacity(1 + ahead.len());
        ids.push(id);
        ids.extend(&ahead);
        (self.passed, self.asked) = (id, ahead);
        self.consent = Some(Consent::ask(ids, steps));
    }

    /// The feed has consented. The first gate was passed when it was asked for.
    pub fn consented(&mut self) {
        self.consent = None;
        self.allowed.append(&mut self.asked);
    }

    /// The feed has not consented: nothing more is begun, and what may leave still leaves.
    pub fn refused(&mut self, exchange: &mut Exchange) {
        self.consent = None;
        self.asked.clear();
        exchange.withhold(self.passed);
    }

    /// A block of a file has come, or its end.
    pub fn block(&mut self, block: Option<io::Result<Vec<u8>>>, exchange: &mut Exchange) {
        match block {
            Some(Ok(block)) if self.wants_block() && self.takes_as_it_is(&block) => {
                self.queued += block.len() as u64;
                (self.bytes, self.written) = (block, 0);
                self.mark_end();
            }
            Some(Ok(block)) => self.put_content(&block),
            Some(Err(error)) => {
                let id = self.content.as_ref().map(|content| content.id);
                exchange.abort(id, &unfinished(&error.to_string()));
            }
            None => self.blocks = None,
        }
    }

    /// So many octets were handed to the socket.
    pub fn wrote(&mut self, count: usize, exchange: &mut Exchange) {
        self.written += count;
        self.sent += count as u64;
        self.is_unflushed = true;
        self.pass_marks(exchange);
        if let Some(Shown { id, length, start }) = self.shown {
            let sent = self.sent.saturating_sub(start).min(length);
            // Where nobody looks, a lost step of progress hurts nobody.
            let _ = self.listener.steps.try_send(Step::Event(Event::Progress { id, sent, total: length }));
            self.shown.take_if(|_| sent == length);
        }
        if self.wants_block() {
            self.bytes.clear();
            self.bytes.shrink_to(2 * WRITE_SIZE);
            self.written = 0;
        }
    }

    /// Tells of the submissions whose last octet the socket has.
    fn pass_marks(&mut self, exchange: &mut Exchange) {
        while let Some((_, id)) = self.marks.pop_front_if(|(end, _)| *end <= self.sent) {
            exchange.completed(id);
        }
    }

    pub fn flushed(&mut self) {
        self.is_unflushed = false;
    }

    /// Nothing more can be written; what was not written has not left.
    pub fn failed(&mut self, trouble: Trouble) {
        self.failure = Some(trouble);
        self.bytes.clear();
        self.written = 0;
        (self.consent, self.blocks) = (None, None);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.queued += bytes.len() as u64;
    }

    /// Counts a block of the content that no dot must be put into.
    fn takes_as_it_is(&mut self, block: &[u8]) -> bool {
        let Some(content) = &mut self.content else { return true };
        let takes = content.dots.as_mut().is_none_or(|dots| dots.pass(block));
        if takes {
            content.done += block.len() as u64;
        }
        takes
    }

    fn put_content(&mut self, bytes: &[u8]) {
        let before = self.bytes.len();
        match &mut self.content {
            Some(Content { dots: Some(dots), done, .. }) => {
                *done += bytes.len() as u64;
                dots.stuff(bytes, &mut self.bytes);
            }
            content => {
                if let Some(content) = content {
                    content.done += bytes.len() as u64;
                }
                self.bytes.extend_from_slice(bytes);
            }
        }
        self.queued += (self.bytes.len() - before) as u64;
        self.mark_end();
    }

    /// A chunk is complete with its last octet, and its answer may come before anything else is looked at.
    fn mark_end(&mut self) {
        if let Some(Content { id, length, done, dots: None }) = self.content
            && done == length
        {
            self.marks.push_back((self.queued, id));
        }
    }
}

fn unfinished(why: &str) -> Trouble {
    Trouble::new(Stage::Data, Cause::Input, format!("the message could not be sent whole: {why}"))
}

/// Reads a file piece on a thread of its own, a few blocks ahead.
fn read_ahead(piece: Piece) -> FileBlocks {
    let (sender, blocks) = mpsc::channel(BLOCKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        for block in Blocks::of_pieces(vec![piece]) {
            let is_last = block.is_err();
            // The session has ended meanwhile.
            if sender.blocking_send(block).is_err() || is_last {
                return;
            }
        }
    });
    blocks
}

/// Doubles the dot at the beginning of each line (RFC 5321, 4.5.2), however the content is cut. Lines end with CRLF
/// here, so the octet before a line is LF.
#[derive(Debug)]
struct Dots {
    is_line_start: bool,
}

impl Default for Dots {
    fn default() -> Self {
        Self { is_line_start: true }
    }
}

impl Dots {
    /// Takes note of bytes in which no line begins with a dot; false, and nothing is noted, if one does.
    fn pass(&mut self, bytes: &[u8]) -> bool {
        let is_clear = self.found(bytes).next().is_none();
        if is_clear {
            self.note(bytes);
        }
        is_clear
    }

    /// Where the lines that begin with a dot begin.
    fn found<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        static DOTTED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n."));
        let first = (self.is_line_start && bytes.first() == Some(&b'.')).then_some(0);
        first.into_iter().chain(DOTTED.find_iter(bytes).map(|at| at + 1))
    }

    fn note(&mut self, bytes: &[u8]) {
        if let Some(&last) = bytes.last() {
            self.is_line_start = last == b'\n';
        }
    }

    fn stuff(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut copied = 0;
        for at in self.found(bytes) {
            out.extend_from_slice(&bytes[copied..=at]);
            out.push(b'.');
            copied = at + 1;
        }
        out.extend_from_slice(&bytes[copied..]);
        self.note(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stuffed(parts: &[&[u8]]) -> Vec<u8> {
        let mut dots = Dots::default();
        let mut out = Vec::new();
        for part in parts {
            match dots.pass(part) {
                true => out.extend_from_slice(part),
                false => dots.stuff(part, &mut out),
            }
        }
        out
    }

    #[test]
    fn dots_at_line_starts_are_doubled() {
        assert_eq!(stuffed(&[b".\r\n..\r\na.b.\r\n.\r\n"]), b"..\r\n...\r\na.b.\r\n..\r\n");
        assert_eq!(stuffed(&[b"a\r\n", b".\r\n"]), b"a\r\n..\r\n");
        assert_eq!(stuffed(&[b"a\r", b"\n", b"", b".x"]), b"a\r\n..x");
        assert_eq!(stuffed(&[b"a.", b"."]), b"a..");
    }

    proptest! {
        /// However a text is cut, a server that takes the dots away gets it back, and no line of it is a lone dot.
        #[test]
        fn no_cut_lets_a_dot_through(text in "[.a\n]{0,60}", cuts in proptest::collection::vec(0_usize..60, 0..4)) {
            let text = text.replace('\n', "\r\n") + "\r\n";
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= text.len()).collect();
            cuts.sort_unstable();
            let mut parts = Vec::new();
            let mut from = 0;
            for cut in cuts { parts.push(&text.as_bytes()[from..cut]); from = cut; }
            parts.push(&text.as_bytes()[from..]);
            let sent = String::from_utf8(stuffed(&parts)).unwrap();
            prop_assert!(!sent.starts_with(".\r\n") && !sent.contains("\r\n.\r\n"));
            let received: String = sent.split_inclusive("\r\n").map(|line| line.strip_prefix('.').unwrap_or(line)).collect();
            prop_assert_eq!(received, text);
        }
    }
}
