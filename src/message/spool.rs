//! Input that is read when it is time to send: files as they lie there, everything else copied once.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    path::PathBuf,
    sync::Arc,
};

use super::{ComposeError, lines::with_crlf};
use crate::mail::{Encoding, Piece, Source};

/// What is not larger is kept in memory.
const SMALL: u64 = 64 * 1024;

/// A file, or standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file.
    Path(PathBuf),
    /// Standard input; the caller sees to it that it is claimed once.
    Stdin,
}

/// Input that can be read more than once, its length known.
#[derive(Debug, Clone)]
pub(super) enum Data {
    Memory(Arc<[u8]>),
    File { source: Source, offset: u64, length: u64 },
}

impl Input {
    /// `-` is standard input.
    pub fn from_word(word: &str) -> Self {
        if word == "-" { Input::Stdin } else { Input::Path(PathBuf::from(word)) }
    }

    /// Where it comes from, for messages.
    pub fn path(&self) -> PathBuf {
        match self {
            Input::Path(path) => path.clone(),
            Input::Stdin => PathBuf::from("standard input"),
        }
    }

    /// Reads all of it into memory.
    ///
    /// # Errors
    /// If it cannot be read, or is a directory.
    pub fn read(&self) -> Result<Vec<u8>, ComposeError> {
        let mut bytes = Vec::new();
        let result = match self {
            Input::Stdin => io::stdin().lock().read_to_end(&mut bytes),
            Input::Path(path) => File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)),
        };
        result.map(|_| bytes).map_err(|error| self.error(error))
    }

    /// Makes it readable more than once. A regular file stays where it is; standard input and pipes are copied to a
    /// temporary file without a name.
    pub(super) fn open(&self) -> Result<Data, ComposeError> {
        self.try_open().map_err(|error| self.spool_error(error))
    }

    /// Makes a file readable that was opened in its place.
    pub(super) fn take(&self, file: File) -> Result<Data, ComposeError> {
        let metadata = file.metadata().map_err(|error| self.error(error))?;
        match metadata.len() {
            _ if !metadata.is_file() => Err(self.error(io::Error::other("it is no regular file"))),
            0..=SMALL => spool(file).map_err(|error| self.spool_error(error)),
            length => Ok(Data::File { source: Source::Spooled(Arc::new(file)), offset: 0, length }),
        }
    }

    /// Copies what `reader` gives in its place.
    pub(super) fn copy(&self, reader: impl Read) -> Result<Data, ComposeError> {
        spool(reader).map_err(|error| self.spool_error(error))
    }

    fn spool_error(&self, error: SpoolError) -> ComposeError {
        match error {
            SpoolError::Read(error) => self.error(error),
            SpoolError::Write(error) => ComposeError::Spool(error),
        }
    }

    fn error(&self, error: io::Error) -> ComposeError {
        ComposeError::File { path: self.path(), error }
    }

    fn try_open(&self) -> Result<Data, SpoolError> {
        match self {
            Input::Path(path) => {
                if fs::metadata(path)?.is_dir() {
                    return Err(io::Error::other("it is a directory").into());
                }
                let file = File::open(path)?;
                let metadata = file.metadata()?;
                if !metadata.is_file() || metadata.len() <= SMALL {
                    return spool(file);
                }
                let source = Source::Path { path: path.clone(), modified: metadata.modified().ok() };
                Ok(Data::File { source, offset: 0, length: metadata.len() })
            }
            Input::Stdin => open_stdin(),
        }
    }
}

#[cfg(unix)]
fn open_stdin() -> Result<Data, SpoolError> {
    use std::os::fd::AsFd;
    let mut file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::other("it is a directory").into());
    }
    // Redirected from a file: no need for a copy of it.
    if metadata.is_file() {
        let offset = file.stream_position()?;
        let length = metadata.len().saturating_sub(offset);
        if length > SMALL {
            return Ok(Data::File { source: Source::Spooled(Arc::new(file)), offset, length });
        }
    }
    spool(file)
}

#[cfg(not(unix))]
fn open_stdin() -> Result<Data, SpoolError> {
    spool(io::stdin())
}

/// Which side of the copy has failed.
enum SpoolError {
    Read(io::Error),
    Write(io::Error),
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

fn spool(mut reader: impl Read) -> Result<Data, SpoolError> {
    let mut block = Vec::new();
    let mut read = |block: &mut Vec<u8>| {
        block.clear();
        (&mut reader).take(SMALL + 1).read_to_end(block)
    };
    read(&mut block)?;
    if block.len() as u64 <= SMALL {
        return Ok(Data::Memory(block.into()));
    }
    let mut file = tempfile::tempfile().map_err(SpoolError::Write)?;
    let mut length = 0;
    while !block.is_empty() {
        file.write_all(&block).map_err(SpoolError::Write)?;
        length += block.len() as u64;
        read(&mut block)?;
    }
    Ok(Data::File { source: Source::Spooled(Arc::new(file)), offset: 0, length })
}

impl Data {
    pub fn len(&self) -> u64 {
        match self {
            Data::Memory(bytes) => bytes.len() as u64,
            Data::File { length, .. } => *length,
        }
    }

    /// What is left without its first `count` octets.
    pub fn skip(&self, count: u64) -> Self {
        let count = count.min(self.len());
        match self {
            Data::Memory(bytes) => Data::Memory(bytes[count as usize..].into()),
            Data::File { source, offset, length } => {
                Data::File { source: source.clone(), offset: offset + count, length: length - count }
            }
        }
    }

    /// Its first `count` octets, or all there are.
    pub fn head(&self, count: usize) -> Result<Vec<u8>, ComposeError> {
        let mut head = Vec::new();
        let part = match self {
            Data::Memory(bytes) => return Ok(bytes[..count.min(bytes.len())].to_vec()),
            Data::File { source, offset, length } => {
                Data::File { source: source.clone(), offset: *offset, length: (*length).min(count as u64) }
            }
        };
        part.for_each_block(|block| {
            head.extend_from_slice(&block[..block.len().min(count - head.len())]);
            Ok(())
        })?;
        Ok(head)
    }

    /// The piece that sends it in Base64.
    pub fn base64_piece(&self) -> Piece {
        match self {
            Data::Memory(bytes) => {
                let mut encoded = encodify::base64::MIME.encode(bytes).into_bytes();
                // The boundary brings the end of the last line.
                encoded.truncate(encoded.trim_ascii_end().len());
                Piece::Bytes(encoded.into())
            }
            Data::File { source, offset, length } => Piece::base64(source.clone(), *offset, *length),
        }
    }

    /// The piece that sends it as text from the `from`th octet on; `encoded_length` octets go out.
    pub fn crlf_piece(&self, from: u64, encoded_length: u64) -> Piece {
        match self {
            Data::Memory(bytes) => Piece::Bytes(with_crlf(&bytes[from as usize..]).into()),
            Data::File { source, offset, length } => Piece::File {
                source: source.clone(),
                offset: offset + from,
                length: length - from,
                encoding: Encoding::Crlf,
                encoded_length,
            },
        }
    }

    /// Calls `each` with the octets, block by block.
    pub fn for_each_block(&self, mut each: impl FnMut(&[u8]) -> Result<(), ComposeError>) -> Result<(), ComposeError> {
        match self {
            Data::Memory(bytes) => each(bytes),
            Data::File { source, offset, length } => {
                let piece = Piece::File {
                    source: source.clone(),
                    offset: *offset,
                    length: *length,
                    encoding: Encoding::Crlf,
                    encoded_length: 0,
                };
                let mut reader =
                    super::stream::PlainReader::new(&piece).map_err(|error| source_error(source, error))?;
                let mut block = vec![0; SMALL as usize];
                loop {
                    match reader.read(&mut block) {
                        Ok(0) => return Ok(()),
                        Ok(count) => each(&block[..count])?,
                        Err(error) => return Err(source_error(source, error)),
                    }
                }
            }
        }
    }
}

fn source_error(source: &Source, error: io::Error) -> ComposeError {
    let path = match source {
        Source::Path { path, .. } => path.clone(),
        Source::Spooled(_) => PathBuf::from("standard input"),
    };
    ComposeError::File { path, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_is_memory_large_is_a_file() {
        assert!(matches!(spool(&[1_u8; 65_536][..]), Ok(Data::Memory(_))));
        let Ok(large @ Data::File { length: 65_537, .. }) = spool(&[1_u8; 65_537][..]) else { panic!("no file") };
        let mut count = 0;
        large
            .for_each_block(|block| {
                count += block.len();
                Ok(())
            })
            .unwrap();
        assert_eq!(count, 65_537);
    }

    #[test]
    fn a_directory_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = Input::Path(folder.path().to_owned()).open().unwrap_err();
        assert!(error.to_string().ends_with("it is a directory"), "{error}");
        assert!(matches!(Input::Path(folder.path().join("none")).open(), Err(ComposeError::File { .. })));
    }
}
