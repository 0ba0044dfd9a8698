//! The bytes of a message as data: what is in memory, and what is still in a file.

use std::{fs::File, path::PathBuf, sync::Arc, time::SystemTime};

/// Base64 lines carry 57 octets in 76 characters (RFC 2045, 6.8).
const LINE_INPUT: u64 = 57;
const LINE_OUTPUT: u64 = 76;

/// A composed or raw message. Every line ends with CRLF, the last one included; no line is over 998 octets.
///
/// Cheap to clone. A composed message is 7-bit unless an address in its headers needs UTF-8.
#[derive(Debug, Clone, Default)]
pub struct Content {
    pieces: Vec<Piece>,
    /// Some octet is over 127: 8BITMIME is needed (RFC 6152).
    pub is_8bit: bool,
    /// The header fields hold UTF-8: SMTPUTF8 is needed (RFC 6532).
    pub has_utf8_headers: bool,
}

/// A stretch of a message.
#[derive(Debug, Clone)]
pub enum Piece {
    /// Octets as they go out.
    Bytes(Arc<[u8]>),
    /// Octets of a file, read and encoded while they go out.
    File {
        /// Where to read.
        source: Source,
        /// First octet to read.
        offset: u64,
        /// Octets to read; the file must still have exactly this many behind `offset` then.
        length: u64,
        /// What happens to them.
        encoding: Encoding,
        /// Octets that come out of the encoding.
        encoded_length: u64,
    },
}

/// A file that can be read more than once.
#[derive(Debug, Clone)]
pub enum Source {
    /// A regular file, opened when its turn comes. One that was written to meanwhile is another.
    Path {
        /// Where it is.
        path: PathBuf,
        /// When it was last written to; `None` where nobody keeps that.
        modified: Option<SystemTime>,
    },
    /// A copy of what could be read only once: standard input, a pipe.
    Spooled(Arc<File>),
}

/// How octets of a file go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Base64 in lines of 76, without an end of line after the last (the boundary brings it).
    Base64,
    /// A bare LF becomes CRLF; nothing else changes.
    Crlf,
    /// As they are: they are a message already.
    Verbatim,
}

impl Content {
    /// Returns the content made of these octets.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        let mut content = Self::default();
        content.push(Piece::Bytes(bytes.into()));
        content
    }

    /// Appends a piece; an empty one is left out.
    pub fn push(&mut self, piece: Piece) {
        if !piece.is_empty() {
            self.is_8bit |= matches!(&piece, Piece::Bytes(bytes) if !bytes.is_ascii());
            self.pieces.push(piece);
        }
    }

    /// The pieces in their order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Octets on the wire before dot-stuffing: what SIZE and BDAT announce.
    pub fn len(&self) -> u64 {
        self.pieces.iter().map(Piece::len).sum()
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether the whole message is in memory.
    pub fn is_in_memory(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Bytes(_)))
    }
}

impl Piece {
    /// Returns the piece that sends `length` octets of `source` in Base64.
    pub fn base64(source: Source, offset: u64, length: u64) -> Self {
        Piece::File { source, offset, length, encoding: Encoding::Base64, encoded_length: base64_length(length) }
    }

    /// Returns the piece that sends the first `length` octets of `source` as they are.
    pub fn verbatim(source: Source, length: u64) -> Self {
        Piece::File { source, offset: 0, length, encoding: Encoding::Verbatim, encoded_length: length }
    }

    /// Octets on the wire.
    pub fn len(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::File { encoded_length, .. } => *encoded_length,
        }
    }

    /// Whether nothing goes out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Octets that `length` octets become as Base64 lines, without the last end of line.
fn base64_length(length: u64) -> u64 {
    match length {
        0 => 0,
        _ => {
            let full_lines = (length - 1) / LINE_INPUT;
            let rest = length - full_lines * LINE_INPUT;
            full_lines * (LINE_OUTPUT + 2) + rest.div_ceil(3) * 4
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_lengths_are_those_of_an_encoder() {
        for length in (0..400).chain([57 * 1149, 57 * 1149 + 1]) {
            let mut encoded = encodify::base64::MIME.encode(vec![0_u8; length]);
            while encoded.ends_with("\r\n") {
                encoded.truncate(encoded.len() - 2);
            }
            assert_eq!(base64_length(length as u64), encoded.len() as u64, "{length}");
        }
    }

    #[test]
    fn eight_bits_are_noticed() {
        assert!(!Content::from_bytes(b"Subject: x\r\n".to_vec()).is_8bit);
        assert!(Content::from_bytes("Subject: ü\r\n".into()).is_8bit);
    }
}
