//! The octets of a content, block by block, as they go out: what is in files is read and encoded on the way.

use std::{
    fs::File,
    io::{self, Read},
    sync::Arc,
    time::SystemTime,
};

use super::lines::Crlf;
use crate::mail::{Content, Encoding, Piece, Source};

/// Input of a block: whole lines of Base64, so that blocks can be encoded one by one.
const BASE64_BLOCK: usize = 57 * 1_149;
const PLAIN_BLOCK: usize = 64 * 1_024;

/// Blocks of at most some 90 KB. Blocks on the disk; runs on a thread of its own while a message is sent.
pub struct Blocks {
    pieces: std::vec::IntoIter<Piece>,
    current: Option<Current>,
}

struct Current {
    reader: PlainReader,
    encoding: Encoding,
    left: u64,
    encoded_left: u64,
    lines: Crlf,
    /// Room for what is read, used again for each block: fresh room would be cleared each time.
    input: Vec<u8>,
}

impl Blocks {
    /// Starts at the beginning of `content`.
    pub fn new(content: &Content) -> Self {
        Self::of_pieces(content.pieces().to_vec())
    }

    /// Starts at the beginning of these pieces.
    pub fn of_pieces(pieces: Vec<Piece>) -> Self {
        Self { pieces: pieces.into_iter(), current: None }
    }
}

impl Iterator for Blocks {
    type Item = io::Result<Vec<u8>>;

    /// The next block. An error ends the message: a file that cannot be read, or is not as long any more as when the
    /// message was made.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(current) = &mut self.current {
                match current.block() {
                    Ok(Some(block)) => return Some(Ok(block)),
                    Ok(None) => self.current = None,
                    Err(error) => return Some(Err(error)),
                }
            }
            match self.pieces.next()? {
                Piece::Bytes(bytes) => return Some(Ok(bytes.to_vec())),
                piece @ Piece::File { length, encoding, encoded_length, .. } => match PlainReader::new(&piece) {
                    Ok(reader) => {
                        self.current = Some(Current {
                            reader,
                            encoding,
                            left: length,
                            encoded_left: encoded_length,
                            lines: Crlf::default(),
                            input: Vec::new(),
                        });
                    }
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }
}

impl Current {
    fn block(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.left == 0 {
            self.reader.check()?;
            return match (self.encoded_left, self.reader.read(&mut [0])?) {
                (0, 0) => Ok(None),
                _ => Err(changed()),
            };
        }
        let size = match self.encoding {
            Encoding::Base64 => BASE64_BLOCK,
            Encoding::Crlf | Encoding::Verbatim => PLAIN_BLOCK,
        };
        self.input.resize(size.min(usize::try_from(self.left).unwrap_or(size)), 0);
        let input = &mut self.input[..];
        self.reader.read_exact(input).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => changed(),
            _ => error,
        })?;
        self.left -= input.len() as u64;
        let output = match self.encoding {
            Encoding::Base64 => {
                let mut output = encodify::base64::MIME.encode(&*input).into_bytes();
                if self.left == 0 {
                    output.truncate(output.trim_ascii_end().len());
                }
                output
            }
            Encoding::Crlf => {
                let mut output = Vec::with_capacity(input.len() + input.len() / 16 + 2);
                self.lines.write(input, &mut output);
                if self.left == 0 {
                    self.lines.finish(&mut output);
                }
                output
            }
            Encoding::Verbatim => std::mem::take(&mut self.input),
        };
        self.encoded_left = self.encoded_left.checked_sub(output.len() as u64).ok_or_else(changed)?;
        Ok(Some(output))
    }
}

fn changed() -> io::Error {
    io::Error::other("the file was changed while the message was sent")
}

/// Reads a file piece as it is, from its offset; reads past its length tell that the file has grown.
pub(super) struct PlainReader {
    file: Arc<File>,
    at: u64,
    end: Option<u64>,
    modified: Option<SystemTime>,
}

impl PlainReader {
    pub fn new(piece: &Piece) -> io::Result<Self> {
        match piece {
            Piece::Bytes(_) => Err(io::Error::other("not a file")),
            Piece::File { source: Source::Path { path, modified }, offset, .. } => {
                let reader = Self { file: Arc::new(File::open(path)?), at: *offset, end: None, modified: *modified };
                reader.check().map(|()| reader)
            }
            // A spooled file may have been appended to behind what was counted; what was counted is the message.
            Piece::File { source: Source::Spooled(file), offset, length, .. } => {
                Ok(Self { file: file.clone(), at: *offset, end: Some(offset + length), modified: None })
            }
        }
    }

    /// Whether the file is still the one that was looked at when the message was made.
    pub fn check(&self) -> io::Result<()> {
        match self.modified {
            Some(modified) if self.file.metadata()?.modified().ok() != Some(modified) => Err(changed()),
            _ => Ok(()),
        }
    }
}

impl Read for PlainReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = self.end.map_or(buffer.len(), |end| {
            buffer.len().min(usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX))
        });
        let count = read_at(&self.file, &mut buffer[..room], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, at)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file(folder: &tempfile::TempDir, bytes: &[u8]) -> Source {
        let path = folder.path().join("f");
        fs::write(&path, bytes).unwrap();
        let modified = fs::metadata(&path).unwrap().modified().ok();
        Source::Path { path, modified }
    }

    fn all(content: &Content) -> io::Result<Vec<u8>> {
        Ok(Blocks::new(content).collect::<io::Result<Vec<_>>>()?.concat())
    }

    #[test]
    fn a_file_is_encoded_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        for length in [1, 56, 57, 58, BASE64_BLOCK - 1, BASE64_BLOCK, BASE64_BLOCK + 1, 3 * BASE64_BLOCK + 5] {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 7 + n / 251) as u8).collect();
            let mut content = Content::from_bytes(b"head\r\n".to_vec());
            content.push(Piece::base64(file(&folder, &bytes), 0, length as u64));
            content.push(Piece::Bytes(b"\r\ntail\r\n"[..].into()));
            let sent = all(&content).unwrap();
            assert_eq!(sent.len() as u64, content.len(), "{length}");
            let body = sent.strip_prefix(b"head\r\n").unwrap().strip_suffix(b"\r\ntail\r\n").unwrap();
            assert!(body.split(|&b| b == b'\n').all(|line| line.len() <= 77));
            assert_eq!(encodify::base64::MIME.decode(body).unwrap(), bytes, "{length}");
        }
    }

    #[test]
    fn a_message_in_a_file_goes_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        for length in [1, PLAIN_BLOCK - 1, PLAIN_BLOCK, PLAIN_BLOCK + 1, 3 * PLAIN_BLOCK + 5] {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 7 + n / 251) as u8).collect();
            let mut content = Content::default();
            content.push(Piece::verbatim(file(&folder, &bytes), length as u64));
            assert_eq!(content.len(), length as u64);
            assert_eq!(all(&content).unwrap(), bytes, "{length}");
        }
    }

    #[test]
    fn a_changed_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut content = Content::default();
        let Source::Path { path, modified } = file(&folder, &[1; 100_000]) else { panic!("no file") };
        // Where nobody keeps the time, the length has to tell.
        content.push(Piece::base64(Source::Path { path: path.clone(), modified: None }, 0, 100_000));
        assert!(all(&content).is_ok());
        let mut dated = Content::default();
        dated.push(Piece::base64(Source::Path { path: path.clone(), modified }, 0, 100_000));
        assert!(all(&dated).is_ok());
        // The same length, another time.
        let later = modified.unwrap() + std::time::Duration::from_secs(1);
        fs::File::open(&path).unwrap().set_modified(later).unwrap();
        assert!(all(&dated).unwrap_err().to_string().contains("changed"));
        for length in [0, 99_999, 100_001] {
            fs::write(&path, vec![1; length]).unwrap();
            assert!(all(&content).unwrap_err().to_string().contains("changed"), "{length}");
        }
        fs::remove_file(folder.path().join("f")).unwrap();
        assert_eq!(all(&content).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
