//! One element of an alias: an address, a name, or what is no address at all.

use std::path::PathBuf;

use super::{LocalPlace, NO_DOMAIN};
use crate::mail::{Entry, Mailbox, parse_list_at};

/// What an element stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// An address; a name, if its domain is empty, which may be an alias in its turn.
    Mailbox(Mailbox),
    /// `\name`: no alias is looked for.
    Final(Mailbox),
    /// A file or a command.
    Place(LocalPlace),
    /// The lines of this file.
    Include(PathBuf),
}

/// The form in which a local part is looked up.
pub(super) fn key(user: &str) -> String {
    unquoted(user).unwrap_or_else(|| user.to_owned()).to_lowercase()
}

/// The elements of a list with commas.
pub(super) fn targets(text: &str) -> Result<Vec<Target>, String> {
    let mut targets = Vec::new();
    for element in elements(text) {
        target(element, &mut targets)?;
    }
    Ok(targets)
}

/// Takes in one element; an empty one is nothing.
pub(super) fn target(element: &str, targets: &mut Vec<Target>) -> Result<(), String> {
    let element = element.trim();
    if element.contains('\u{FFFD}') {
        return Err(format!("'{element}' is not UTF-8"));
    }
    if element.chars().any(|c| c.is_control() && c != '\t') {
        return Err(format!("'{element}' has a control character in it"));
    }
    // Quotation marks stand around the whole of it, or around what follows the first character.
    let bare = unquoted(element).unwrap_or_else(|| element.to_owned());
    if let Some(command) = bare.strip_prefix('|') {
        let command = unquoted(command.trim()).unwrap_or_else(|| command.trim().to_owned());
        if command.is_empty() {
            return Err("a command is wanted behind '|'".to_owned());
        }
        targets.push(Target::Place(LocalPlace::Command(command)));
        return Ok(());
    }
    if bare.starts_with('/') {
        targets.push(Target::Place(LocalPlace::File(bare.into())));
        return Ok(());
    }
    if bare.starts_with(':') {
        let path = bare.get(..9).filter(|word| word.eq_ignore_ascii_case(":include:")).map(|_| bare[9..].trim());
        let Some(path) = path else {
            return Err(format!("'{bare}' is not known; of this kind there is :include:/file"));
        };
        let path = PathBuf::from(unquoted(path).unwrap_or_else(|| path.to_owned()));
        if !path.is_absolute() {
            return Err(format!("'{bare}': a whole path is wanted, such as :include:/etc/mail/list"));
        }
        targets.push(Target::Include(path));
        return Ok(());
    }
    if ["~/", "./", "../"].iter().any(|start| bare.starts_with(start)) {
        return Err(format!("'{bare}': a whole path is wanted, such as /var/mail/archive"));
    }
    let (text, is_final) = element.strip_prefix('\\').map_or((element, false), |rest| (rest, true));
    let entries = parse_list_at(text, NO_DOMAIN).map_err(|error| error.to_string())?;
    let mailboxes = entries.iter().flat_map(Entry::mailboxes).cloned();
    targets.extend(mailboxes.map(|mailbox| if is_final { Target::Final(mailbox) } else { Target::Mailbox(mailbox) }));
    Ok(())
}

/// Splits at the commas that are in no quotation marks and in no comment.
fn elements(text: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped, mut depth) = (false, false, 0_usize);
    text.split(move |c: char| {
        if std::mem::take(&mut is_escaped) {
            return false;
        }
        match c {
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => depth = depth.saturating_sub(1),
            ',' => return !is_quoted && depth == 0,
            _ => {}
        }
        false
    })
}

/// What stands between quotation marks that are around the whole text.
pub(super) fn unquoted(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?;
    let (mut plain, mut chars) = (String::with_capacity(inner.len()), inner.chars());
    loop {
        match chars.next()? {
            '"' => return chars.as_str().is_empty().then_some(plain),
            '\\' => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Result<Vec<String>, String> {
        Ok(targets(text)?
            .into_iter()
            .map(|target| match target {
                Target::Mailbox(mailbox) => mailbox.to_string(),
                Target::Final(mailbox) => format!("final {mailbox}"),
                Target::Place(LocalPlace::Command(command)) => format!("run {command}"),
                Target::Place(LocalPlace::File(path)) => format!("file {}", path.display()),
                Target::Include(path) => format!("include {}", path.display()),
            })
            .collect())
    }

    #[test]
    fn what_stands_in_a_list() {
        for (text, wanted) in [
            ("ada, Bob <bob@y.example>,,", &["ada@", "Bob <bob@y.example>"][..]),
            ("\"Lovelace, Ada\" <ada@y.example>, b (x, y)", &["\"Lovelace, Ada\" <ada@y.example>", "\"x, y\" <b@>"]),
            ("\\root, \\ada@x.example", &["final root@", "final ada@x.example"]),
            ("\"|exec /usr/bin/filter -a, -b \\\"x y\\\"\"", &["run exec /usr/bin/filter -a, -b \"x y\""]),
            ("|\"/bin/cat > /tmp/x\", ada", &["run /bin/cat > /tmp/x", "ada@"]),
            ("|/bin/cat", &["run /bin/cat"]),
            (
                "/var/mail/ops, \"/var/mail/o p\", /home/ada/Mail/",
                &["file /var/mail/ops", "file /var/mail/o p", "file /home/ada/Mail/"],
            ),
            (
                ":include:/etc/list, \":include:/etc/a b\", :Include: /x",
                &["include /etc/list", "include /etc/a b", "include /x"],
            ),
            ("", &[]),
        ] {
            assert_eq!(shown(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_must_not_stand_there() {
        for (text, why) in [
            (":include:list", "whole path"),
            (":include:", "whole path"),
            (":fail: gone", "not known"),
            ("~/mbox", "whole path"),
            ("../mbox", "whole path"),
            ("|", "a command is wanted"),
            ("\"|\"", "a command is wanted"),
            ("john smith", "missing"),
            ("a@", "no domain"),
            ("Ada <ada@x.example", "'>' is wanted"),
            ("\"open", "not closed"),
            ("/a\u{1b}[2J", "control character"),
            ("gr\u{fffd}n", "not UTF-8"),
        ] {
            let error = shown(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn names_are_looked_up_whatever_their_case() {
        assert_eq!((key("ROOT"), key("\"J. \\\"X\\\" Smith\"")), ("root".to_owned(), "j. \"x\" smith".to_owned()));
    }

    proptest! {
        /// Nothing that comes out has a line end or another control character in it, and nothing panics.
        #[test]
        fn targets_are_harmless(text in "[a@.|/:\"\\\\<>(),\\x00\\n\\t é-]{0,30}|:include:[a/\" \\n]{0,6}") {
            for target in targets(&text).unwrap_or_default() {
                let shown = format!("{target:?}").replace("\\t", "");
                prop_assert!(!shown.contains("\\n") && !shown.contains("\\0"), "{shown}");
                if let Target::Include(path) = target {
                    prop_assert!(path.is_absolute());
                }
            }
        }
    }
}
