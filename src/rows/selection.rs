//! Which rows and which addresses are meant.

use std::{collections::HashSet, fmt, fs, ops::RangeInclusive, path::Path, str::FromStr};

use super::{RowsError, open::unread};
use crate::mail::{Address, Mailbox, clean};

/// Numbers of rows: `17,20-25`. In order, without overlaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers(Vec<RangeInclusive<u64>>);

impl Numbers {
    /// The first `count` rows.
    pub fn first(count: u64) -> Self {
        Self(if count == 0 { Vec::new() } else { vec![1..=count] })
    }

    /// Whether this one is meant.
    pub fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|range| *range.end() < number);
        self.0.get(at).is_some_and(|range| range.contains(&number))
    }

    /// The last that is meant: nothing behind it has to be read. `None` if none is.
    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|range| *range.end())
    }
}

impl FromStr for Numbers {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        const WANTED: &str = "numbers of rows are wanted, such as 17,20-25";
        let number = |text: &str| match text.trim().parse::<u64>() {
            Ok(0) => Err(format!("rows are numbered from 1, without the header; {WANTED}")),
            Ok(number) => Ok(number),
            Err(_) => Err(format!("'{}' is no number of a row; {WANTED}", text.trim())),
        };
        let mut ranges = Vec::new();
        for part in word.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (number(from)?, number(to)?);
            if from > to {
                return Err(format!("'{}' ends before it begins; {WANTED}", part.trim()));
            }
            ranges.push(from..=to);
        }
        ranges.sort_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u64>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => merged.push(range),
            }
        }
        Ok(Self(merged))
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (from, to) if from == to => write!(f, "{comma}{from}")?,
                (from, to) => write!(f, "{comma}{from}-{to}")?,
            }
        }
        Ok(())
    }
}

/// Addresses that get nothing, whatever the rows say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exclusions {
    addresses: HashSet<String>,
    domains: HashSet<String>,
}

impl Exclusions {
    /// Reads a file with an address on each line, or `@example.com` for all of that domain (not of those below it).
    /// Blank lines do not count, nor does what stands behind a `#` at the beginning or behind a space.
    ///
    /// # Errors
    /// If it cannot be read, or has a line that is neither.
    pub fn load(path: &Path) -> Result<Self, RowsError> {
        let name = clean(&path.display().to_string());
        let octets = fs::read(path).map_err(|error| unread(&name, &error))?;
        let text = String::from_utf8(octets)
            .map_err(|_| RowsError::wrong(format!("{name}: the list of addresses is not UTF-8")))?;
        Self::parse(&text).map_err(|(line, what)| {
            RowsError::wrong(format!("{name}, line {line}: {what}"))
                .hint("one address on each line, or @example.com for a whole domain")
        })
    }

    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut exclusions = Self::default();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let is_comment = |(at, _): &(usize, &str)| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
            let end = line.match_indices('#').find(is_comment).map_or(line.len(), |(at, _)| at);
            let word = line[..end].trim();
            if word.is_empty() {
                continue;
            }
            let parse = |text: &str| Mailbox::parse(text).map_err(|error| (index + 1, error.to_string()));
            if word.starts_with('@') {
                let whole = parse(&format!("x{word}"))
                    .map_err(|(line, _)| (line, format!("'{}' is neither an address nor a domain", clean(word))))?;
                exclusions.domains.insert(whole.address.domain().to_ascii_lowercase());
            } else {
                exclusions.addresses.insert(key(&parse(word)?.address));
            }
        }
        Ok(exclusions)
    }

    /// Whether this address gets nothing; upper and lower case are the same.
    pub fn contains(&self, address: &Address) -> bool {
        (!self.domains.is_empty() && self.domains.contains(&address.domain().to_ascii_lowercase()))
            || (!self.addresses.is_empty() && self.addresses.contains(&key(address)))
    }

    /// How many addresses and domains are in it.
    pub fn len(&self) -> usize {
        self.addresses.len() + self.domains.len()
    }

    /// Whether nobody is excluded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn key(address: &Address) -> String {
    address.to_string().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_of_rows() {
        let numbers: Numbers = "25, 17,20-24,18 ,1-1".parse().unwrap();
        assert_eq!(numbers.to_string(), "1,17-18,20-25");
        let found: Vec<u64> = (0..30).filter(|&number| numbers.contains(number)).collect();
        assert_eq!(found, [1, 17, 18, 20, 21, 22, 23, 24, 25]);
        assert_eq!((numbers.last(), Numbers::default().last()), (Some(25), None));
        assert_eq!((Numbers::first(3).to_string(), Numbers::first(0).contains(1)), ("1-3".to_owned(), false));
    }

    #[test]
    fn what_is_no_number_of_a_row() {
        const WANTED: &str = "numbers of rows are wanted, such as 17,20-25";
        for (word, error) in [
            ("", "'' is no number of a row"),
            ("1,,2", "'' is no number of a row"),
            ("x", "'x' is no number of a row"),
            ("-3", "'' is no number of a row"),
            ("3-", "'' is no number of a row"),
            ("99999999999999999999", "'99999999999999999999' is no number of a row"),
            ("0-3", "rows are numbered from 1, without the header"),
            ("9-3", "'9-3' ends before it begins"),
        ] {
            assert_eq!(word.parse::<Numbers>(), Err(format!("{error}; {WANTED}")), "{word}");
        }
    }

    #[test]
    fn who_gets_nothing() {
        let text =
            "\u{feff}# who has unsubscribed\n\nAda@Example.com  # today\n@b\u{fc}cher.example\nc#d@x.example\r\n";
        let exclusions = Exclusions::parse(text).unwrap();
        let contains = |address: &str| exclusions.contains(&Mailbox::parse(address).unwrap().address);
        for address in ["ada@example.com", "ADA@EXAMPLE.COM", "x@B\u{fc}cher.example", "c#d@x.example"] {
            assert!(contains(address), "{address}");
        }
        for address in ["b@example.com", "ada@sub.example.com", "x@sub.b\u{fc}cher.example", "c@x.example"] {
            assert!(!contains(address), "{address}");
        }
        assert_eq!(exclusions.len(), 3);
        let wrong = |text: &str| Exclusions::parse(text).unwrap_err();
        assert_eq!(wrong("a@b.example\nada"), (2, "'ada' is not an address: the '@' is missing".to_owned()));
        assert_eq!(wrong("@"), (1, "'@' is neither an address nor a domain".to_owned()));
    }

    #[test]
    fn a_list_that_cannot_be_used() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "a@b.example\n\n@x y\n").unwrap();
        let error = Exclusions::load(file.path()).unwrap_err();
        let name = file.path().display();
        assert_eq!(error.what, format!("{name}, line 3: '@x y' is neither an address nor a domain"));
        assert!(!error.is_unreadable);
        fs::write(file.path(), b"\xFF").unwrap();
        assert_eq!(
            Exclusions::load(file.path()).unwrap_err().what,
            format!("{name}: the list of addresses is not UTF-8")
        );
        assert!(Exclusions::load(Path::new("/nonesuch")).unwrap_err().is_unreadable);
    }

    proptest! {
        #[test]
        fn numbers_come_back(parts in proptest::collection::vec((1_u64..60, 0_u64..9), 1..8)) {
            let text: Vec<String> = parts.iter().map(|(from, more)| format!("{from}-{}", from + more)).collect();
            let numbers: Numbers = text.join(",").parse().unwrap();
            for number in 0..80 {
                let is_meant = parts.iter().any(|(from, more)| (*from..=from + more).contains(&number));
                prop_assert_eq!(numbers.contains(number), is_meant);
            }
            prop_assert_eq!(numbers.to_string().parse(), Ok(numbers));
        }
    }
}
