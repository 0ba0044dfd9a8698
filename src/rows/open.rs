//! From an origin to a file whose rows can be read one by one: what is told about it wins, the rest is found out.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Seek},
    path::{Path, PathBuf},
};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
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
            // The name utf-16 says nothing about the order of its octets; the mark does.
            Some(charset) => match Encoding::for_bom(&survey.sample) {
                Some((marked, _)) if [marked, charset.0].iter().all(|one| *one == UTF_16LE || *one == UTF_16BE) => {
                    marked
                }
                _ => charset.0,
            },
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
        let is_json = matches!(format, Format::JsonLines | Format::Json);
        let told = if is_json { None } else { sniff::told_delimiter(&text) };
        let delimiter = match (options.delimiter, told) {
            _ if is_json => None,
            (Some(delimiter), _) => Some(delimiter.0),
            (None, Some((delimiter, _))) => Some(delimiter),
            (None, None) if format == Format::Tsv => Some(b'\t'),
            (None, None) => Some(sniff::delimiter(&text, survey.is_whole)),
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
        let extension = match format {
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::JsonLines | Format::Json => "jsonl",
        };
        let path = copy_path(&options.copy, extension);
        let copy = temporary.map(|file| Copy { temporary: Some(file), path });
        let start = (mark + told.map_or(0, |(_, length)| length)) as u64;
        Ok(Self { file, name, start, delimiter, encoding, digest, warnings, copy })
    }
}

fn copy_path(path: &Path, extension: &str) -> PathBuf {
    let mut path = path.to_owned().into_os_string();
    path.push(".");
    path.push(extension);
    path.into()
}

impl Options {
    /// The copy that an earlier run has kept, to be opened as a file without a charset; of several the newest.
    pub fn kept_copy(&self) -> Option<PathBuf> {
        let paths = ["csv", "tsv", "jsonl"].into_iter().map(|extension| copy_path(&self.copy, extension));
        paths
            .max_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
            .filter(|path| path.exists())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{Table, table::tests::rows};
    use serde_json::Value;
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    fn options(folder: &tempfile::TempDir) -> Options {
        Options { copy: folder.path().join("run.rows"), ..Options::default() }
    }

    fn content(table: &Table) -> Vec<String> {
        rows(table).into_iter().map(|row| Value::Object(row.unwrap().cells).to_string()).collect()
    }

    fn names(folder: &tempfile::TempDir) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = fs::read_dir(folder.path()).unwrap().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_copy_is_the_same_table() {
        for (octets, extension) in [
            (&b"to,n\na@x,J\xFCrgen\n"[..], "csv"),
            (b"\xFF\xFEt\0o\0\n\0a\0\n\0", "csv"),
            (b"[{\"to\": \"a\"},\n {\"to\": \"\xC3\xBC\"}]", "jsonl"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("t");
            fs::write(&path, octets).unwrap();
            let mut table = Table::open(&Origin::File(path), &options(&folder)).unwrap();
            let copy = folder.path().join(format!("run.rows.{extension}"));
            fs::write(&copy, "old").unwrap();
            assert_eq!(table.keep().unwrap(), Some(copy.as_path()));
            assert_eq!(table.keep().unwrap(), Some(copy.as_path()));
            assert_eq!(options(&folder).kept_copy(), Some(copy.clone()));
            #[cfg(unix)]
            assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&copy).unwrap()) & 0o777, 0o600);
            let again = Table::open(&Origin::File(copy.clone()), &options(&folder)).unwrap();
            assert_eq!((content(&table), table.digest()), (content(&again), again.digest()));
            assert!(again.warnings().is_empty());
            drop((table, again));
            assert_eq!(names(&folder), [&format!("run.rows.{extension}"), "t"]);
        }
    }

    #[test]
    fn a_copy_vanishes_unless_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin::Command("printf 'to;n\\na@x;1\\n'; echo".to_owned());
        let table = Table::open(&origin, &options(&folder)).unwrap();
        assert_eq!(content(&table), [r#"{"n":"1","to":"a@x"}"#]);
        assert_eq!(names(&folder).len(), 1);
        drop(table);
        assert_eq!(names(&folder).len(), 0);
        let fail = |command: &str| Table::open(&Origin::Command(command.to_owned()), &options(&folder)).unwrap_err();
        assert_eq!(fail("true").what, "command 'true' is empty");
        let error = fail("echo to; echo a; exit 3");
        assert!(error.is_unreadable);
        assert_eq!(error.what, "command 'echo to; echo a; exit 3' cannot be read: it failed (exit status: 3)");
        assert_eq!(names(&folder).len(), 0);
        let options = Options { copy: folder.path().join("none/run"), ..Options::default() };
        let error = Table::open(&origin, &options).unwrap_err();
        assert!(
            error.what.starts_with("the copy of the rows, ") && error.what.contains("cannot be written"),
            "{error}"
        );
    }

    #[test]
    fn a_file_in_utf8_is_read_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        fs::write(&path, "\u{feff}to\nü\n").unwrap();
        let mut table = Table::open(&Origin::File(path.clone()), &options(&folder)).unwrap();
        assert_eq!((table.keep().unwrap(), options(&folder).kept_copy()), (None, None));
        let digest = table.digest().to_owned();
        assert_eq!(digest.len(), 64);
        fs::write(&path, "to\nü\n").unwrap();
        assert_eq!(Table::open(&Origin::File(path.clone()), &options(&folder)).unwrap().digest(), digest);
        fs::write(&path, "to\nä\n").unwrap();
        assert_ne!(Table::open(&Origin::File(path), &options(&folder)).unwrap().digest(), digest);
    }

    #[test]
    fn a_guess_is_told_and_an_encoding_that_is_told_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        fs::write(&path, b"to,n\na@x,J\xFCrgen\n").unwrap();
        let open = |charset: Option<&str>| {
            let charset = charset.map(|word| word.parse().unwrap());
            Table::open(&Origin::File(path.clone()), &Options { charset, ..options(&folder) }).unwrap()
        };
        let table = open(None);
        assert_eq!(content(&table), [r#"{"n":"Jürgen","to":"a@x"}"#]);
        assert_eq!(
            table.warnings(),
            [format!(
                "{} is not UTF-8 and was read as windows-1252; name the encoding: --encoding utf-16le, or windows-1252, \
                 shift_jis, …",
                path.display()
            )]
        );
        assert!(open(Some("latin1")).warnings().is_empty());
        assert_eq!(content(&open(Some("cp1251"))), [r#"{"n":"Jьrgen","to":"a@x"}"#]);
        let error = rows(&open(Some("utf-8"))).remove(0).unwrap_err();
        assert!(error.to_string().starts_with("row 1: column 'n' is not UTF-8 (octet 0xFC)"), "{error}");
        let error = rows(&open(Some("shift_jis"))).remove(0).unwrap_err();
        assert_eq!(error.to_string(), "row 1: column 'n' is not Shift_JIS");
    }

    #[test]
    fn half_a_character_of_utf16_is_an_error_of_its_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let units = "\u{feff}to,n\na,b\nc,x".encode_utf16().chain([0xD800, u16::from(b'\n')]);
        fs::write(&path, units.flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
        let mut table = Table::open(&Origin::File(path), &options(&folder)).unwrap();
        let error = rows(&table).remove(1).unwrap_err();
        assert_eq!(error.to_string(), "row 2: column 'n' is not UTF-16LE");
        let copy = Origin::File(table.keep().unwrap().unwrap().to_owned());
        assert!(rows(&Table::open(&copy, &options(&folder)).unwrap()).remove(1).is_err());
    }

    #[test]
    fn a_mark_tells_the_order_of_octets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let octets: Vec<u8> = "\u{feff}to\na\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        fs::write(&path, octets).unwrap();
        let charset = Some("utf-16".parse().unwrap());
        let table = Table::open(&Origin::File(path), &Options { charset, ..options(&folder) }).unwrap();
        assert_eq!(content(&table), [r#"{"to":"a"}"#]);
    }

    #[test]
    fn what_is_told_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        fs::write(&path, "to:n,x\na:b\n").unwrap();
        let open = |options: Options| Table::open(&Origin::File(path.clone()), &options);
        let delimiter = Some(":".parse().unwrap());
        assert_eq!(open(Options { delimiter, ..options(&folder) }).unwrap().columns(), ["to", "n,x"]);
        let error = open(Options { format: Some(Format::JsonLines), ..options(&folder) }).unwrap_err();
        assert!(error.what.ends_with("t.csv, row 1: an object is wanted, in braces: {\"to\": \"ada@example.com\"}"));
        fs::write(&path, "{\"to\":\"a\"}\n").unwrap();
        assert_eq!(open(options(&folder)).unwrap().columns(), ["to"], "no header looks like this");
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let writer = thread::spawn({
            let pipe = pipe.clone();
            move || fs::write(pipe, "to\na\nb\n").unwrap()
        });
        let table = Table::open(&Origin::File(pipe), &options(&folder)).unwrap();
        writer.join().unwrap();
        assert_eq!(content(&table).len(), 2);
    }

    /// Answers one request.
    fn server(answer: Vec<u8>) -> (String, thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/people?token=secret", listener.local_addr().unwrap());
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = [0; 4096];
            assert!(stream.read(&mut heard).unwrap() > 0);
            // Who does not want all of it hangs up.
            let _ = stream.write_all(&answer);
        });
        (url, thread)
    }

    #[test]
    fn tables_of_web_servers() {
        let folder = tempfile::tempdir().unwrap();
        // Larger than an answer that is held.
        let body = "to,n\n".to_owned() + &"a@x,\"some text\"\n".repeat(200_000);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/csv; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let (url, thread) = server((head + &body).into_bytes());
        let table = Table::open(&Origin::from_word(&url), &options(&folder)).unwrap();
        thread.join().unwrap();
        assert_eq!(rows(&table).len(), 200_000);
        let (url, thread) = server(b"HTTP/1.1 404 None\r\nContent-Length: 5\r\n\r\nto\na\n".to_vec());
        let error = Table::open(&Origin::from_word(&url), &options(&folder)).unwrap_err();
        thread.join().unwrap();
        let (shown, _) = url.split_once('?').unwrap();
        assert_eq!(error.what, format!("{shown} cannot be read: the server answers with status 404"));
        let (url, thread) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nto\na\n".to_vec());
        let error = Table::open(&Origin::from_word(&url), &options(&folder)).unwrap_err();
        thread.join().unwrap();
        assert!(error.is_unreadable && error.what.contains("is not to be had"), "{error}");
    }

    #[test]
    fn addresses_that_are_not_asked() {
        let folder = tempfile::tempdir().unwrap();
        for (url, what) in [
            ("http://example.com/x", "without https:// anybody on the way can change the recipients"),
            ("https://a:b@example.com/x", "a web address with a name or password in it is refused"),
        ] {
            let error = Table::open(&Origin::from_word(url), &options(&folder)).unwrap_err();
            assert!(error.what.ends_with(what), "{error}");
        }
    }
}
