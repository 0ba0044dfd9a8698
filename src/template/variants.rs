//! A part of a template in several languages, told apart by the names of its files: `body.html`, `body.zh.html`.

use std::path::{Path, PathBuf};

/// One part, in the languages that there are files for.
#[derive(Debug)]
pub(super) struct Variants<T>(Vec<(Option<String>, T)>);

impl<T> Default for Variants<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Variants<T> {
    pub fn push(&mut self, language: Option<String>, part: T) {
        self.0.push((language, part));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one in exactly this language.
    pub fn get(&self, language: Option<&str>) -> Option<&T> {
        self.0.iter().find(|(own, _)| own.as_deref() == language).map(|(_, part)| part)
    }

    /// The one that fits best.
    pub fn find(&self, languages: &[Option<String>]) -> Option<&T> {
        languages.iter().find_map(|language| self.get(language.as_deref()))
    }

    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, part)| part)
    }

    pub fn languages(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|(language, _)| language.as_deref())
    }
}

/// Languages to look for, the best first: `zh-TW` finds zh-tw, zh, and what has no language.
pub(super) fn fallbacks(locale: Option<&str>) -> Vec<Option<String>> {
    let mut languages = Vec::with_capacity(3);
    let mut locale = locale.map(normalized).unwrap_or_default();
    while !locale.is_empty() {
        languages.push(Some(locale.clone()));
        locale.truncate(locale.rfind('-').unwrap_or(0));
    }
    languages.push(None);
    languages
}

/// `de_AT.UTF-8` is de-at.
fn normalized(locale: &str) -> String {
    let locale = locale.trim();
    let locale = locale.split(['.', '@']).next().unwrap_or(locale);
    locale.to_ascii_lowercase().replace('_', "-")
}

/// The files of a part: `path` itself, and those that have a language before their extension.
pub(super) fn files(path: &Path) -> Vec<(Option<String>, PathBuf)> {
    let (Some(stem), Some(extension), Some(folder)) = (
        path.file_stem().and_then(|stem| stem.to_str()),
        path.extension().and_then(|extension| extension.to_str()),
        path.parent(),
    ) else {
        return if path.is_file() { vec![(None, path.to_owned())] } else { Vec::new() };
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut files: Vec<(Option<String>, PathBuf)> = folder
        .read_dir()
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name();
            let between = name.to_str()?.strip_prefix(stem)?.strip_suffix(extension)?;
            let language = match between {
                "." => None,
                between => Some(language(between.strip_prefix('.')?.strip_suffix('.')?)?),
            };
            entry.path().is_file().then(|| (language, entry.path()))
        })
        .collect();
    files.sort_unstable();
    files
}

/// The normalized tag, if it can be one of a language (RFC 5646, 2.1).
fn language(tag: &str) -> Option<String> {
    let mut subtags = tag.split(['-', '_']);
    let is_language = |subtag: &str| (2..=3).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphabetic());
    let is_subtag = |subtag: &str| (2..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric());
    (subtags.next().is_some_and(is_language) && subtags.all(is_subtag)).then(|| normalized(tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_best_is_found() {
        let mut variants = Variants::default();
        for language in [None, Some("zh"), Some("zh-tw")] {
            variants.push(language.map(str::to_owned), language.unwrap_or("none"));
        }
        let find = |locale| variants.find(&fallbacks(locale)).copied();
        for (locale, found) in [
            (Some("zh-TW"), "zh-tw"),
            (Some("zh_TW.UTF-8"), "zh-tw"),
            (Some("zh-Hant-HK"), "zh"),
            (Some("zh"), "zh"),
            (Some("fr"), "none"),
            (Some(""), "none"),
            (None, "none"),
        ] {
            assert_eq!(find(locale), Some(found), "{locale:?}");
        }
    }

    #[test]
    fn files_have_their_language_before_the_extension() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["body.html", "body.zh-TW.html", "body.de.html", "body.backup.html", "body.html~", "bodyx.html"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        fs::create_dir(folder.path().join("body.fr.html")).unwrap();
        let languages = |name: &str| -> Vec<_> {
            files(&folder.path().join(name)).into_iter().map(|(language, _)| language.unwrap_or_default()).collect()
        };
        assert_eq!(languages("body.html"), ["", "de", "zh-tw"]);
        assert!(languages("body.txt").is_empty());
        assert!(files(Path::new("/nonesuch/body.html")).is_empty());
    }
}
