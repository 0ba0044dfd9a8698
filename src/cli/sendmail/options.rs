//! The command line of sendmail, as Postfix, Sendmail, msmtp and dma take it: getopt(3), nothing of ours in it.

use std::{ffi::OsString, path::PathBuf};

use crate::{
    cli::CliError,
    mail::{DsnNotify, DsnRequest, DsnReturn, clean},
};

/// Options that are only taken, and that have no value: this program has nothing that they could change.
const IGNORED: &str = "Gimn";
/// The same with a value, joined or as the next word.
const IGNORED_VALUES: &str = "AhopBOe";
/// The same with a value that is joined, or none.
const IGNORED_TAILS: &str = "dD";

/// What a program asks of sendmail.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub mode: Mode,
    /// `-t`: recipients are those of the header, too.
    pub reads_recipients: bool,
    /// Not `-i`: a line with a lone dot ends the message.
    pub ends_at_dot: bool,
    /// `-f`, `-r`: empty for the null sender.
    pub sender: Option<String>,
    /// `-F`.
    pub full_name: Option<String>,
    pub dsn: DsnRequest,
    /// `-C`.
    pub config: Option<PathBuf>,
    /// `-X`.
    pub trace: Option<PathBuf>,
    /// `-L`.
    pub tag: Option<String>,
    pub is_verbose: bool,
    pub recipients: Vec<String>,
}

/// What it is to do.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Mode {
    /// `-bm`: take a message from standard input.
    #[default]
    Message,
    /// `-bs`: speak SMTP on standard input and output.
    Dialogue,
    /// `-bp`, `mailq`: print the queue.
    List,
    /// `-q`: send what is in the queue.
    Run(Which),
    /// `-bv`: say what becomes of recipients.
    Verify,
    /// `-bi`, `newaliases`: there is no database of aliases to be made anew.
    Aliases,
    /// `-bd`: there is no daemon.
    Daemon,
    /// `-bh`, `-bH`: nothing is known of hosts.
    Hosts,
}

/// Which messages of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Which {
    All,
    /// `-qI`: whose name begins so.
    Named(String),
    /// `-qR`: with a recipient that contains this.
    Recipient(String),
    /// `-qS`: with a sender that contains this.
    Sender(String),
}

impl Options {
    /// Reads the words behind the name of the program, and begins with what the name says.
    ///
    /// # Errors
    /// 64: an option that sendmail does not have, or one without its value.
    pub fn parse(mode: Mode, words: &[OsString]) -> Result<Self, CliError> {
        let mut options = Self { mode, ends_at_dot: true, ..Self::default() };
        let mut words = words.iter().map(|word| word.to_string_lossy().into_owned());
        while let Some(word) = words.next() {
            match word.strip_prefix('-') {
                Some("-") => options.recipients.extend(words.by_ref()),
                Some(cluster) if !cluster.is_empty() => options.cluster(&word, cluster, &mut words)?,
                _ => options.recipients.push(word),
            }
        }
        Ok(options)
    }

    /// Options that stand behind one hyphen: the first that takes a value ends them.
    fn cluster(&mut self, word: &str, cluster: &str, words: &mut impl Iterator<Item = String>) -> Result<(), CliError> {
        let letters = cluster.char_indices();
        for (at, letter) in letters {
            let tail = &cluster[at + letter.len_utf8()..];
            if self.flag(letter) {
                continue;
            }
            if IGNORED_TAILS.contains(letter) {
                return Ok(());
            }
            if letter == 'q' {
                // Its text may stand joined to the letter, or as a word of its own.
                let text = if matches!(tail, "I" | "R" | "S") { words.next() } else { Some(String::new()) };
                let text = text.ok_or_else(|| CliError::usage(format!("-q{tail}: its value is missing")))?;
                return self.run(&format!("{tail}{text}"));
            }
            if !"bfrFNRVCXL".contains(letter) && !IGNORED_VALUES.contains(letter) {
                let shown = clean(word);
                return Err(CliError::usage(format!(
                    "{shown}: sendmail has no option -{}",
                    clean(&letter.to_string())
                ))
                .hint("an address that begins with '-' stands behind '--'")
                .hint("the options: man mailsend-sendmail"));
            }
            let value = if tail.is_empty() { words.next() } else { Some(tail.to_owned()) };
            let value = value.ok_or_else(|| CliError::usage(format!("-{letter}: its value is missing")))?;
            return self.value(letter, value);
        }
        Ok(())
    }

    /// Takes an option without a value, if it is one.
    fn flag(&mut self, letter: char) -> bool {
        match letter {
            't' => self.reads_recipients = true,
            'i' => self.ends_at_dot = false,
            'v' => self.is_verbose = true,
            'I' => self.mode = Mode::Aliases,
            // Whether an address needs SMTPUTF8 shows in the address.
            'U' => {}
            letter => return IGNORED.contains(letter),
        }
        true
    }

    fn value(&mut self, letter: char, value: String) -> Result<(), CliError> {
        let wrong = |what: &str| CliError::usage(format!("-{letter} {}: {what}", clean(&value)));
        match letter {
            'b' => {
                self.mode = match value.as_str() {
                    "m" | "a" => Mode::Message,
                    "s" => Mode::Dialogue,
                    "p" => Mode::List,
                    "v" => Mode::Verify,
                    "i" => Mode::Aliases,
                    "d" | "D" => Mode::Daemon,
                    "h" | "H" => Mode::Hosts,
                    _ => return Err(wrong("-bm, -bs, -bp, -bv and -bi are known")),
                }
            }
            'f' | 'r' => self.sender = Some(value),
            'F' => self.full_name = Some(value),
            'N' => {
                self.dsn.notify = Some(value.to_ascii_lowercase().parse::<DsnNotify>().map_err(|what| wrong(&what))?)
            }
            'R' => {
                let ret = DsnReturn::from_word(&value.to_ascii_uppercase());
                self.dsn.ret = Some(ret.ok_or_else(|| wrong("full or hdrs is wanted"))?);
            }
            'V' => {
                self.dsn.envid = Some(value.clone());
                self.dsn.check_envid().map_err(|what| wrong(&what))?;
            }
            'C' => self.config = Some(value.into()),
            'X' => self.trace = Some(value.into()),
            'L' => self.tag = Some(value),
            'o' if value == "i" => self.ends_at_dot = false,
            // Who waits for the delivery, or does not, is told by [sendmail] mode.
            _ => {}
        }
        Ok(())
    }

    /// `-q` with what stands behind it: a time is for a daemon.
    fn run(&mut self, tail: &str) -> Result<(), CliError> {
        let mut letters = tail.chars();
        let which = match (letters.next(), letters.as_str()) {
            (Some('I'), name) => Which::Named(name.to_owned()),
            (Some('R'), part) => Which::Recipient(part.to_owned()),
            (Some('S'), part) => Which::Sender(part.to_owned()),
            (None | Some('f' | 'p' | '0'..='9'), _) => Which::All,
            _ => {
                return Err(CliError::usage(format!("-q{}: it cannot choose messages so", clean(tail)))
                    .hint("-q, -qI NAME, -qR RECIPIENT and -qS SENDER are known"));
            }
        };
        if self.mode != Mode::Daemon {
            self.mode = Mode::Run(which);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Exit;
    use proptest::prelude::*;

    fn parse(words: &str) -> Result<Options, CliError> {
        let words: Vec<OsString> = words.split(' ').map(|word| word.replace('_', "").into()).collect();
        Options::parse(Mode::Message, &words)
    }

    /// The command lines that programs are known to call.
    #[test]
    fn callers() {
        let cron = parse("-FCronDaemon -i -B8BITMIME -oem root").unwrap();
        assert_eq!((cron.full_name.as_deref(), cron.ends_at_dot), (Some("CronDaemon"), false));
        assert_eq!(cron.recipients, ["root"]);
        let cronie = parse("-FCronDaemon -i -odi -oem -oi -t -f root").unwrap();
        assert_eq!((cronie.sender.as_deref(), cronie.reads_recipients), (Some("root"), true));
        let php = parse("-t -i -fwww@example.com").unwrap();
        assert_eq!(php.sender.as_deref(), Some("www@example.com"));
        let mutt = parse("-oem -oi -f a@x.example -N failure,delay -R hdrs -- -b@y.example c@y.example").unwrap();
        assert_eq!(mutt.recipients, ["-b@y.example", "c@y.example"]);
        assert_eq!(mutt.dsn.notify.unwrap().to_string(), "FAILURE,DELAY");
        assert_eq!(mutt.dsn.ret, Some(DsnReturn::Hdrs));
        let nail = parse("-i -m -v -f a@x.example -F Ada -- b@y.example").unwrap();
        assert!(nail.is_verbose && !nail.ends_at_dot);
        assert_eq!(parse("-i a@x.example").unwrap().recipients, ["a@x.example"]);
        assert_eq!(parse("-bs -odb -oem").unwrap().mode, Mode::Dialogue);
    }

    #[test]
    fn joined_and_separated_and_in_clusters() {
        for words in ["-f a@b -B 8BITMIME -o i", "-fa@b -B8BITMIME -oi", "-tifa@b", "-r a@b -i", "-i -ra@b -t"] {
            let options = parse(words).unwrap();
            assert_eq!((options.sender.as_deref(), options.ends_at_dot), (Some("a@b"), false), "{words}");
        }
        // An empty value stands as a word of its own.
        for words in ["-f _ x", "-f <> x", "-f<> x"] {
            let options = parse(words).unwrap();
            assert_eq!(options.recipients, ["x"], "{words}");
            assert!(matches!(options.sender.as_deref(), Some("" | "<>")));
        }
        let all = "-Ac -Am -h 5 -m -n -p SMTP -U -G -d0.1 -D -o7 -o8 -oA/etc/aliases -odi -odb -odq -odd -oem -oep -oew -oeq \
                   -oee -om -O DeliveryMode=b -ODeliveryMode=b -em -e m -L tag -X /tmp/t -C /c -V a.b -N never a";
        let options = parse(all).unwrap();
        assert_eq!(options.recipients, ["a"]);
        assert_eq!((options.tag.as_deref(), options.dsn.envid.as_deref()), (Some("tag"), Some("a.b")));
        assert_eq!((options.trace, options.config), (Some("/tmp/t".into()), Some("/c".into())));
        // Options may follow addresses.
        assert_eq!(parse("a@b -f c@d").unwrap().sender.as_deref(), Some("c@d"));
        assert_eq!(parse("-").unwrap().recipients, ["-"]);
    }

    #[test]
    fn modes() {
        for (words, mode) in [
            ("-bm", Mode::Message),
            ("-bp", Mode::List),
            ("-b p", Mode::List),
            ("-bv a", Mode::Verify),
            ("-bi", Mode::Aliases),
            ("-I", Mode::Aliases),
            ("-bd -q15m", Mode::Daemon),
            ("-bh", Mode::Hosts),
            ("-bH", Mode::Hosts),
            ("-q", Mode::Run(Which::All)),
            ("-q30m", Mode::Run(Which::All)),
            ("-qf", Mode::Run(Which::All)),
            ("-qI4k7r", Mode::Run(Which::Named("4k7r".to_owned()))),
            ("-qRy.example", Mode::Run(Which::Recipient("y.example".to_owned()))),
            ("-qS ada", Mode::Run(Which::Sender("ada".to_owned()))),
            ("-qI 4k7r", Mode::Run(Which::Named("4k7r".to_owned()))),
            ("-qSada", Mode::Run(Which::Sender("ada".to_owned()))),
        ] {
            assert_eq!(parse(words).unwrap().mode, mode, "{words}");
        }
    }

    #[test]
    fn what_sendmail_does_not_have() {
        for words in
            ["-Z", "-tZ", "-k x", "--help", "-bz", "-f", "-N sometimes", "-R all", "-V a+b", "-qX", "-qI", "-é", "-a@b"]
        {
            assert_eq!(parse(words).unwrap_err().exit, Exit::Usage, "{words}");
        }
        assert!(parse("-\x1b[2J").unwrap_err().message.chars().all(|c| !c.is_control()));
    }

    proptest! {
        #[test]
        fn any_words_are_options_or_an_error(words in proptest::collection::vec("[-a-zA-Z@<> é]{0,6}", 0..6)) {
            let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
            let _ = Options::parse(Mode::Message, &words);
        }
    }
}
