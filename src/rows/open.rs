//! From an origin to a file whose rows can be read one by one: what is told about it wins, the rest is found out.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Seek},
    path::{Path, PathBuf},
};

use encoding_rs::{Encoding, UTF_8};
use tempfile::NamedTempFile;

use super::{
    Format, Options, Origin, RowsError,
    convert::{convert, sample},
    fetch::{NotCopied, fetch},
    sniff::{self, Survey},
};
use crate::mail::clean;

/// What to do if an encoding cannot be right.
const NAME_IT: &str = "name the encoding: --encoding utf-16le, or windows-1252, shift_jis, …";

/// A file in UTF-8 whose rows stand in lines.
#[derive(Debug)]
pub(super) struct Opened {
    pub file: File,
    /// For messages.
    pub name: String,
    /// Where the header stands, or the first row of JSON.
    pub start: u64,
    /// None for JSON.
    pub delimiter: Option<u8>,
    /// As it came.
    pub encoding: &'static Encoding,
    pub digest: String,
    pub warnings: Vec<String>,
    pub copy: Option<Copy>,
}

/// A copy that rows are read from.
#[derive(Debug)]
pub(super) struct Copy {
    /// Until it is kept.
    pub temporary: Option<NamedTempFile>,
    /// Its name when it is kept.
    pub path: PathBuf,
}

impl Opened {
    /// Opens it, and copies what is no such file.
    pub fn new(origin: &Origin, options: &Options) -> Result<Self, RowsError> {
        let name = clean(&origin.to_string());
        let fail = |error: &io::Error| unread(&name, error);
        let (mut file, mut temporary, media_type) = file_of(origin, options, &name)?;
        let survey = Survey::of(&file).map_err(|error| fail(&error))?;
        if survey.sample.is_empty() {
            return Err(RowsError::wrong(format!("{name} is empty")));
        }
        if let Some(kind) = sniff::foreign(&survey.sample) {
            return Err(RowsError::wrong(format!("{name} is {kind}, a table as text is wanted"))
                .hint("save it as CSV in UTF-8"));
        }
        let mut warnings = Vec::new();
        let encoding = match options.charset {
            Some(charset) => charset.0,
            None => {
                let guess = survey.encoding();
                if !guess.is_sure {
                    warnings.push(format!("{name} is not UTF-8 and was read as {}; {NAME_IT}", guess.encoding.name()));
                }
                guess.encoding
            }
        };
        let text = sample(&survey.sample, encoding);
        let found = sniff::format(&text);
        let format = options.format.unwrap_or_else(|| {
            match format_of_name(origin).or_else(|| format_of_media_type(&media_type)) {
                // No header looks like an object: whoever named it was mistaken.
                None | Some(Format::Csv | Format::Tsv) if found != Format::Csv => found,
                named => named.unwrap_or(found),
            }
        });
        let told = Some(format).filter(|format| *format == Format::Csv).and_then(|_| sniff::told_delimiter(&text));
        let delimiter = match (format, options.delimiter) {
            (Format::Csv | Format::Tsv, Some(delimiter)) => Some(delimiter.0),
            (Format::Tsv, None) => Some(b'\t'),
            (Format::Csv, None) => {
                Some(told.map_or_else(|| sniff::delimiter(&text, survey.is_whole), |(delimiter, _)| delimiter))
            }
            (Format::JsonLines | Format::Json, _) => None,
        };
        let mut digest = survey.digest;
        let mut mark = 0;
        if encoding != UTF_8 || format == Format::Json {
            file.rewind().map_err(|error| fail(&error))?;
            let mut out = temporary_beside(&options.copy)?;
            digest = convert(file, encoding, format == Format::Json, &name, &mut BufWriter::new(out.as_file_mut()))
                .map_err(|error| of_copy(error, &options.copy))?;
            file = out.reopen().map_err(|error| not_copied(&options.copy, &error))?;
            temporary = Some(out);
        } else if survey.sample.starts_with(b"\xEF\xBB\xBF") {
            mark = 3;
        }
        let copy = temporary.map(|file| {
            let extension = match format {
                Format::Csv => "csv",
                Format::Tsv => "tsv",
                Format::JsonLines | Format::Json => "jsonl",
            };
            let mut path = options.copy.clone().into_os_string();
            path.push(".");
            path.push(extension);
            Copy { temporary: Some(file), path: path.into() }
        });
        let start = (mark + told.map_or(0, |(_, length)| length)) as u64;
        Ok(Self { file, name, start, delimiter, encoding, digest, warnings, copy })
    }
}

/// The file, the copy that it is, and the media type that somebody has told.
fn file_of(origin: &Origin, options: &Options, name: &str) -> Result<(File, Option<NamedTempFile>, String), RowsError> {
    if let Origin::File(path) = origin {
        let fail = |error: &io::Error| unread(name, error);
        let metadata = fs::metadata(path).map_err(|error| fail(&error))?;
        if metadata.is_dir() {
            return Err(RowsError::unreadable(format!("{name} is a folder, a table is wanted")));
        }
        // A pipe can be read once only.
        if metadata.is_file() {
            return Ok((File::open(path).map_err(|error| fail(&error))?, None, String::new()));
        }
    }
    let mut copy = temporary_beside(&options.copy)?;
    let media_type =
        fetch(origin, &options.environment, copy.as_file_mut()).map_err(|error| of_copy(error, &options.copy))?;
    let file = copy.reopen().map_err(|error| not_copied(&options.copy, &error))?;
    Ok((file, Some(copy), media_type))
}

/// A file that only its owner can use, in the folder where the copy will be.
fn temporary_beside(path: &Path) -> Result<NamedTempFile, RowsError> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    tempfile::Builder::new().prefix(".mailsend-rows-").tempfile_in(folder).map_err(|error| not_copied(path, &error))
}

fn format_of_name(origin: &Origin) -> Option<Format> {
    let path = match origin {
        Origin::File(path) => path.clone(),
        Origin::Web(url) => PathBuf::from(url.split(['?', '#']).next()?),
        Origin::Stdin | Origin::Command(_) => return None,
    };
    path.extension()?.to_str()?.parse().ok()
}

fn format_of_media_type(media_type: &str) -> Option<Format> {
    match media_type {
        "text/csv" | "application/csv" => Some(Format::Csv),
        "text/tab-separated-values" => Some(Format::Tsv),
        "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines" => Some(Format::JsonLines),
        "application/json" | "text/json" => Some(Format::Json),
        _ => None,
    }
}

/// It cannot be read.
pub(super) fn unread(name: &str, error: &io::Error) -> RowsError {
    RowsError::unreadable(format!("{name} cannot be read: {error}"))
}

/// The copy cannot be written.
pub(super) fn not_copied(path: &Path, error: &io::Error) -> RowsError {
    let what = format!("the copy of the rows, {}, cannot be written: {error}", clean(&path.display().to_string()));
    RowsError::unreadable(what).hint("make room, or name another place: --report FOLDER/run.jsonl")
}

fn of_copy(error: NotCopied, path: &Path) -> RowsError {
    match error {
        NotCopied::Source(error) => error,
        NotCopied::Copy(error) => not_copied(path, &error),
    }
}
