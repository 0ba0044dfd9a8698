//! Where ledgers lie whose place nobody has named.

use std::{
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
};

use super::{Facts, LedgerError, Line, Lines, Text};
use crate::{config::Environment, message::Stamp, secret::private};

const ENDING: &str = "jsonl";

/// The folder of ledgers, `$XDG_STATE_HOME/mailsend/batches`; made, for its owner only, where it is not there.
///
/// # Errors
/// If there is no place for it, or it cannot be made.
pub fn folder(environment: &Environment) -> Result<PathBuf, LedgerError> {
    let folder = environment.state_folder().ok_or(LedgerError::NoPlace)?.join("batches");
    private::make_folder(&folder.join("x")).map_err(|error| LedgerError::file(&folder, error))?;
    Ok(folder)
}

/// A path in the folder that nobody has yet, in the order of time.
pub fn fresh(folder: &Path) -> PathBuf {
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let mark: String = Stamp::now().mark().chars().take(6).collect();
    folder.join(format!("{time}-{mark}.{ENDING}"))
}

/// The ledger in the folder that was written to last, of those whose run began with these facts. What cannot be read is
/// passed over.
pub fn latest(folder: &Path, facts: &Facts) -> Option<PathBuf> {
    newest(folder, |line| is(&line.source, &facts.source) && is(&line.template, &facts.template))
}

/// The same of those whose table came from this name, whatever was in it: what is meant where none has the same facts.
pub fn latest_of(folder: &Path, name: &str) -> Option<PathBuf> {
    newest(folder, |line| !name.is_empty() && is(&line.name, name))
}

fn is(text: &Option<Text<'_>>, wanted: &str) -> bool {
    text.as_ref().is_some_and(|text| text.as_str() == wanted)
}

/// The ledger that was written to last, of those with such a first line.
fn newest(folder: &Path, is_wanted: impl Fn(&Line<'_>) -> bool) -> Option<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
            (path.extension()? == ENDING).then_some((metadata.modified().ok()?, path))
        })
        .collect();
    found.sort();
    let begins_so = |path: &PathBuf| {
        let file = File::open(path).ok()?;
        Some(is_wanted(&Lines::new(BufReader::new(file)).next_line().ok()??))
    };
    found.into_iter().rev().map(|(_, path)| path).find(|path| begins_so(path).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::{super::Ledger, *};
    use std::time::{Duration, SystemTime};

    fn facts(source: &str) -> Facts {
        Facts { source: source.to_owned(), template: "t".to_owned(), name: format!("{source}.csv") }
    }

    #[test]
    fn the_latest_of_the_same_facts() {
        let home = tempfile::tempdir().unwrap();
        let environment = Environment::from([("XDG_STATE_HOME", home.path().to_str().unwrap())]);
        let folder = folder(&environment).unwrap();
        assert_eq!(folder, home.path().join("mailsend/batches"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        }
        assert_eq!(latest(&folder, &facts("a")), None);
        let mut paths = Vec::new();
        for (age, source) in [(30, "a"), (10, "a"), (20, "a"), (5, "b")] {
            let path = fresh(&folder);
            Ledger::create(&path, &facts(source)).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(past(age)).unwrap();
            paths.push(path);
        }
        fs::write(folder.join("torn.jsonl"), "{\"v\":1,").unwrap();
        fs::write(folder.join("notes.txt"), "").unwrap();
        fs::create_dir(folder.join("x.jsonl")).unwrap();
        assert_eq!(latest(&folder, &facts("a")).as_ref(), Some(&paths[1]));
        assert_eq!(latest(&folder, &facts("b")).as_ref(), Some(&paths[3]));
        assert_eq!(latest(&folder, &facts("c")), None);
        // The same table with other rows or another template.
        assert_eq!(latest_of(&folder, "a.csv").as_ref(), Some(&paths[1]));
        assert_eq!(latest_of(&folder, "c.csv"), None);
        Ledger::create(&fresh(&folder), &Facts { name: String::new(), ..facts("d") }).unwrap();
        assert_eq!(latest_of(&folder, ""), None);
    }

    fn past(seconds: u64) -> SystemTime {
        SystemTime::now() - Duration::from_secs(seconds)
    }

    #[test]
    fn without_a_home_there_is_no_place() {
        assert!(matches!(super::folder(&Environment::default()), Err(LedgerError::NoPlace)));
    }
}
