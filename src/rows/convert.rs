//! Tables in other encodings, and arrays of JSON, become lines of UTF-8; block by block, so nothing is held.

use std::io::{self, Read, Write};

use encoding_rs::{DecoderResult, Encoding, UTF_8};
use ring::digest::{Context, SHA256};

use super::{RowsError, fetch::NotCopied, json::Splitter};

/// Octets that are decoded at once.
const BLOCK: usize = 64 * 1024;
/// Stands for what is not in the encoding: no UTF-8, and no other text either, so that the row is wrong whoever reads it.
const WRONG: &[u8] = b"\xFF\0";

/// Writes `input` as UTF-8 without its mark, and as lines if it is JSON; gives back the SHA-256 of what was written, in
/// hexadecimal digits.
pub(super) fn convert(
    mut input: impl Read,
    encoding: &'static Encoding,
    is_json: bool,
    name: &str,
    out: &mut impl Write,
) -> Result<String, NotCopied> {
    let mut splitter = is_json.then(Splitter::default);
    let mut digest = Context::new(&SHA256);
    let mut lines = Vec::new();
    let mut give = |text: &[u8], is_last: bool| -> Result<(), NotCopied> {
        let lines = match &mut splitter {
            None => text,
            Some(splitter) => {
                lines.clear();
                let split = splitter.split(text, &mut lines).and_then(|()| splitter.end(is_last));
                split.map_err(|what| NotCopied::Source(RowsError::wrong(format!("{name}: {what}"))))?;
                &lines
            }
        };
        digest.update(lines);
        out.write_all(lines).map_err(NotCopied::Copy)
    };
    let fail = |error: io::Error| NotCopied::Source(RowsError::unreadable(format!("{name} cannot be read: {error}")));
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let mut block = vec![0; BLOCK];
    let mut text = vec![0; BLOCK * 3];
    loop {
        let count = match input.read(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count.map_err(fail)?,
        };
        let (mut rest, is_last) = (&block[..count], count == 0);
        loop {
            let (result, read, written) = decoder.decode_to_utf8_without_replacement(rest, &mut text, is_last);
            rest = &rest[read..];
            give(&text[..written], false)?;
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => give(WRONG, false)?,
            }
        }
        if is_last {
            break;
        }
    }
    give(b"", true)?;
    out.flush().map_err(NotCopied::Copy)?;
    Ok(super::hex(digest.finish().as_ref()))
}

/// The first octets in UTF-8, without a mark; what is wrong in them is left out.
pub(super) fn sample(octets: &[u8], encoding: &'static Encoding) -> Vec<u8> {
    if encoding == UTF_8 {
        return octets.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(octets).to_vec();
    }
    encoding.decode_with_bom_removal(octets).0.into_owned().into_bytes()
}
