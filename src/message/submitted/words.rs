//! Words of a header field: folded into lines, encoded where they cannot stand (RFC 2047).

use encodify::{qp, rfc2047::EncodedWord};

use crate::message::{lines::MAX_LINE, text::charset_of};

/// Lines of a field are folded here if they can be (RFC 5322, 2.1.1; RFC 2047, 2).
const WIDTH: usize = 76;
/// A longer word would fill a line alone.
const MAX_WORD: usize = 900;
/// Octets of an encoded word without those around its text, for the longest name of a charset that is used here.
const ROOM: usize = 75 - "=?unknown-8bit?Q??=".len();

/// Writes one field, word by word.
pub(super) struct Folder<'a> {
    out: &'a mut Vec<u8>,
    column: usize,
    has_word: bool,
}

impl<'a> Folder<'a> {
    pub fn new(name: &str, out: &'a mut Vec<u8>) -> Self {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        Self { column: name.len() + 1, out, has_word: false }
    }

    /// Adds a word with the white space before it, which becomes a fold if the line is full.
    pub fn word(&mut self, space: &[u8], word: &[u8]) {
        let space = if self.has_word && (1..WIDTH).contains(&space.len()) { space } else { b" " };
        let end = self.column + space.len() + word.len();
        if end > if self.has_word { WIDTH } else { MAX_LINE } {
            self.out.extend_from_slice(b"\r\n");
            self.column = 0;
        }
        self.out.extend_from_slice(space);
        self.out.extend_from_slice(word);
        self.column += space.len() + word.len();
        self.has_word = true;
    }

    /// Adds all words of a text; those that are `is_foreign` become encoded words, neighbours together with the white
    /// space between them. The last one is followed by `tail`.
    pub fn text(&mut self, octets: &[u8], is_foreign: impl Fn(&[u8]) -> bool, tail: &[u8]) {
        let mut words = words(octets);
        if let Some((space, _)) = words.first_mut() {
            *space = b" ";
        }
        let mut at = 0;
        while let Some(&(space, word)) = words.get(at) {
            let foreign = words[at..].iter().take_while(|(_, word)| is_foreign(word)).count();
            let end = at + foreign.max(1);
            let tail = if end == words.len() { tail } else { b"" };
            if foreign == 0 {
                self.word(space, &[word, tail].concat());
            } else {
                // White space between two encoded words is not seen (RFC 2047, 6.2): it has to be in one of them.
                let mut run = Vec::new();
                for (number, (space, word)) in words[at..end].iter().enumerate() {
                    if number > 0 || at > 0 && is_encoded(words[at - 1].1) {
                        run.extend_from_slice(space);
                    }
                    run.extend_from_slice(word);
                }
                if let Some((space, _)) = words.get(end).filter(|(_, next)| is_encoded(next)) {
                    run.extend_from_slice(space);
                }
                self.encoded(space, &run, tail);
            }
            at = end;
        }
    }

    fn encoded(&mut self, space: &[u8], octets: &[u8], tail: &[u8]) {
        let charset = charset_of(octets);
        // Q can be read as it is: worth some octets more.
        let is_q = qp::Q_PHRASE.encoded_len(octets) <= octets.len().div_ceil(3) * 6;
        let cost = |byte| if is_q { qp::Q_PHRASE.encoded_byte_len(byte) * 3 } else { 4 };
        let pieces = pieces(octets, ROOM / 4 * 4 * 3, cost);
        let last = pieces.len().saturating_sub(1);
        for (number, piece) in pieces.into_iter().enumerate() {
            let (letter, text) =
                if is_q { ('Q', qp::Q_PHRASE.encode(piece)) } else { ('B', encodify::base64::STANDARD.encode(piece)) };
            let mut word = format!("=?{charset}?{letter}?{text}?=").into_bytes();
            if number == last {
                word.extend_from_slice(tail);
            }
            self.word(if number == 0 { space } else { b" " }, &word);
        }
    }

    pub fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Whether a word cannot stand in a header.
pub(super) fn is_unfit(word: &[u8]) -> bool {
    !word.is_ascii() || word.len() > MAX_WORD
}

fn is_encoded(word: &[u8]) -> bool {
    EncodedWord::parse(word).is_some_and(|(_, length)| length == word.len())
}

/// Words with the white space before each; that behind the last is left out.
fn words(octets: &[u8]) -> Vec<(&[u8], &[u8])> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut words = Vec::new();
    let mut rest = octets;
    loop {
        let (space, text) = rest.split_at(rest.iter().position(|byte| !is_space(byte)).unwrap_or(rest.len()));
        let (word, behind) = text.split_at(text.iter().position(is_space).unwrap_or(text.len()));
        if word.is_empty() {
            return words;
        }
        words.push((space, word));
        rest = behind;
    }
}

/// Cuts a text into pieces that cost at most `room`, characters of UTF-8 whole.
pub(super) fn pieces(octets: &[u8], room: usize, cost: impl Fn(u8) -> usize) -> Vec<&[u8]> {
    let is_utf8 = std::str::from_utf8(octets).is_ok();
    let mut pieces = Vec::new();
    let (mut start, mut at, mut spent) = (0, 0, 0);
    while at < octets.len() {
        let length = if is_utf8 { (octets[at].leading_ones() as usize).max(1) } else { 1 };
        let price: usize = octets[at..at + length].iter().map(|&byte| cost(byte)).sum();
        if spent + price > room && at > start {
            pieces.push(&octets[start..at]);
            (start, spent) = (at, 0);
        }
        at += length;
        spent += price;
    }
    if start < octets.len() {
        pieces.push(&octets[start..]);
    }
    pieces
}
