//! `mailsend completions` and `mailsend man`: from the one definition of the command line and the one table of keys.
//!
//! What the pages say beyond that is in `text/`; it is the contract with users and other programs.

use std::fmt::Write;

use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, CliError, Exit, printed, ui};
use crate::config::{KEYS, SHARED_KEYS};

const COMMANDS_TEXT: &str = include_str!("text/mailsend.txt");
const BATCH_TEXT: &str = include_str!("text/batch.txt");
const QUEUE_TEXT: &str = include_str!("text/queue.txt");
const SENDMAIL_TEXT: &str = include_str!("text/sendmail.txt");
const CONFIG_TEXT: &str = include_str!("text/config.txt");
/// Headings of options that every command shares; the page explains them once.
const SHARED: [&str; 5] = ["Message", "Queue", "Where", "Report", "Common"];

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
bash:  mailsend completions bash > ~/.local/share/bash-completion/completions/mailsend
zsh:   mailsend completions zsh > ~/.zfunc/_mailsend      (with ~/.zfunc in fpath)
fish:  mailsend completions fish > ~/.config/fish/completions/mailsend.fish")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Print a manual page
#[derive(Debug, Args)]
#[command(after_help = "Read it: mailsend man | man -l -")]
pub struct ManArgs {
    /// The page: mailsend(1), mailsend-batch(7), mailsend-queue(7), mailsend-sendmail(8) or mailsend-config(5)
    #[arg(default_value = "mailsend")]
    page: Page,
}

/// Manual pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Page {
    /// The command
    Mailsend,
    /// Tables, templates and the ledger
    #[value(alias = "mailsend-batch")]
    Batch,
    /// Messages that are sent later
    #[value(alias = "mailsend-queue")]
    Queue,
    /// Called as sendmail, mailq, mail or mailx
    #[value(alias = "mailsend-sendmail")]
    Sendmail,
    /// The configuration
    #[value(alias = "mailsend-config")]
    Config,
}

/// Prints completions.
pub fn completions(args: &CompletionsArgs) -> Result<Exit, CliError> {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mailsend", &mut out);
    printed(ui::print_bytes(&out))
}

/// Prints a page.
pub fn man(args: &ManArgs) -> Result<Exit, CliError> {
    let page = match args.page {
        Page::Mailsend => command_page(),
        Page::Batch => batch_page(),
        Page::Queue => queue_page(),
        Page::Sendmail => sendmail_page(),
        Page::Config => config_page(),
    };
    printed(ui::print(&page))
}

fn command_page() -> String {
    let mut command = Cli::command();
    command.build();
    let mut page = head("MAILSEND", 1);
    page.push_str(".SH NAME\nmailsend \\- send mail and tell for every recipient what became of it\n");
    page.push_str(".SH SYNOPSIS\n.nf\n");
    page.push_str("\\fBmailsend\\fR [\\fIOPTIONS\\fR] [\\fIADDRESS\\fR]... < \\fITEXT\\fR\n");
    page.push_str("\\fBmailsend\\fR \\fICOMMAND\\fR ...\n.fi\n");
    let (before, after) = COMMANDS_TEXT.split_once("@OPTIONS@\n").unwrap_or((COMMANDS_TEXT, ""));
    page.push_str(&roff(before));
    page.push_str(".SH OPTIONS\n");
    page.push_str(&options(&command));
    page.push_str(".SH COMMANDS\nA command is the first argument.\n");
    for leaf in leaves(&command, "mailsend") {
        page.push_str(&leaf);
    }
    page.push_str(&roff(after));
    page
}

fn batch_page() -> String {
    let mut page = head("MAILSEND-BATCH", 7);
    page.push_str(".SH NAME\nmailsend\\-batch \\- a message for each row of a table\n");
    page.push_str(&roff(BATCH_TEXT));
    page
}

fn queue_page() -> String {
    let mut page = head("MAILSEND-QUEUE", 7);
    page.push_str(".SH NAME\nmailsend\\-queue \\- messages that are kept, and sent later\n");
    page.push_str(&roff(QUEUE_TEXT));
    page
}

fn sendmail_page() -> String {
    let mut page = head("MAILSEND-SENDMAIL", 8);
    page.push_str(".SH NAME\nmailsend\\-sendmail \\- mailsend in the place of sendmail, mailq, mail and mailx\n");
    page.push_str(".SH SYNOPSIS\n.nf\n\\fBsendmail\\fR [\\fIOPTIONS\\fR] [\\fIADDRESS\\fR]... < \\fIMESSAGE\\fR\n");
    page.push_str("\\fBmailq\\fR\n\\fBmail\\fR [\\fIOPTIONS\\fR] \\fIADDRESS\\fR... < \\fITEXT\\fR\n.fi\n");
    page.push_str(&roff(SENDMAIL_TEXT));
    page
}

fn config_page() -> String {
    let mut page = head("MAILSEND-CONFIG", 5);
    page.push_str(".SH NAME\nmailsend\\-config \\- configuration of mailsend\n");
    let (before, after) = CONFIG_TEXT.split_once("@KEYS@\n").unwrap_or((CONFIG_TEXT, ""));
    page.push_str(&roff(before));
    for (table, keys) in [("", KEYS)].into_iter().chain(SHARED_KEYS) {
        let heading = if table.is_empty() { "A PROFILE".to_owned() } else { format!("[{}]", table.to_uppercase()) };
        let _ = writeln!(page, ".SH KEYS OF {heading}");
        for key in keys {
            let default = key.default.map_or_else(String::new, |default| format!(", default {default}"));
            // Writing into a String cannot fail.
            let _ = writeln!(
                page,
                ".TP\n\\fB{}\\fR ({}{})\n{}\n.br\nEnvironment: {}",
                escape(key.name.strip_prefix(&format!("{table}.")).unwrap_or(key.name)),
                escape(key.wanted),
                escape(&default),
                escape(key.doc),
                if key.name == "password" {
                    "none; MAILSEND_PASSWORD is the password itself".to_owned()
                } else {
                    key.variable()
                }
            );
        }
    }
    page.push_str(&roff(after));
    page
}

fn head(title: &str, section: u8) -> String {
    let version = env!("CARGO_PKG_VERSION");
    // No date: the page is the same wherever it is made.
    format!(".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n.TH {title} {section} \"\" \"mailsend {version}\" \"\"\n")
}

/// Options of a command under their headings, as clap_mangen writes them, one level deeper.
fn options(command: &Command) -> String {
    let mut out = Vec::new();
    // Writing into a Vec cannot fail.
    let _ = Man::new(command.clone()).render_options_section(&mut out);
    let text = String::from_utf8_lossy(&out);
    let body = text.lines().filter(|line| !line.starts_with(".SH OPTIONS") && !is_preamble(line));
    body.map(|line| line.strip_prefix(".SH ").map_or_else(|| line.to_owned(), |heading| format!(".SS {heading}")))
        .fold(String::new(), |text, line| text + &line + "\n")
}

/// Definitions that stand once at the top of the page.
fn is_preamble(line: &str) -> bool {
    line.starts_with(".ie ") || line.starts_with(".el ")
}

/// Every command that can be run, with what is its own.
fn leaves(command: &Command, path: &str) -> Vec<String> {
    let mut pages = Vec::new();
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let path = format!("{path} {}", sub.get_name());
        if sub.has_subcommands() {
            pages.extend(leaves(sub, &path));
            continue;
        }
        let is_shared = |arg: &clap::Arg| arg.get_help_heading().is_some_and(|heading| SHARED.contains(&heading));
        let own =
            sub.clone().mut_args(|arg| if is_shared(&arg) || arg.get_id() == "help" { arg.hide(true) } else { arg });
        // What need not be given stands in brackets already.
        let arguments: Vec<String> = own.get_positionals().map(ToString::to_string).collect();
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let usage = [vec![path], vec!["[OPTIONS]".to_owned()], arguments].concat().join(" ");
        pages.push(format!(".SS {}\n{}.\n{}", escape(&usage), escape(&about), options(&own)));
    }
    pages
}

/// Plain text as a page: a line in capitals is a section, an indented block is an example, `term:` before an indented
/// line is an entry of a list.
fn roff(text: &str) -> String {
    let mut page = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_heading =
            !line.is_empty() && line.chars().all(|c| c.is_ascii_uppercase() || c == ' ') && !line.starts_with(' ');
        if is_heading {
            page.push_str(&format!(".SH {line}\n"));
        } else if line.is_empty() {
            let follows_text = lines.peek().is_some_and(|next| !next.is_empty() && !next.starts_with("    "));
            page.push_str(if follows_text { ".PP\n" } else { "" });
        } else if line.starts_with("    ") {
            page.push_str(&format!(".PP\n.nf\n{}\n", escape(line)));
            while let Some(code) = lines.next_if(|next| next.starts_with("    ")) {
                page.push_str(&format!("{}\n", escape(code)));
            }
            page.push_str(".fi\n");
        } else if let Some(text) = line.strip_prefix("  ") {
            page.push_str(&format!("{}\n", escape(text)));
        } else if lines.peek().is_some_and(|next| next.starts_with("  ") && !next.starts_with("    ")) {
            page.push_str(&format!(".TP\n\\fB{}\\fR\n", escape(line)));
        } else {
            page.push_str(&format!("{}\n", escape(line)));
        }
    }
    page.replace(".PP\n.TP", ".TP").replace(".PP\n.SH", ".SH").replace(".PP\n.PP", ".PP")
}

fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    fn completions_of(shell: Shell) -> String {
        let mut out = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "mailsend", &mut out);
        String::from_utf8(out).unwrap()
    }

    /// What is committed is what the program prints. `MAILSEND_WRITE_DOCS=1 cargo test docs_are_current` writes it.
    #[test]
    fn a_page_is_found_by_its_own_name_too() {
        for (name, page) in [
            ("queue", Page::Queue),
            ("mailsend-queue", Page::Queue),
            ("mailsend-batch", Page::Batch),
            ("mailsend-sendmail", Page::Sendmail),
            ("mailsend-config", Page::Config),
        ] {
            assert_eq!(Page::from_str(name, false), Ok(page));
        }
    }

    #[test]
    fn docs_are_current() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = vec![
            ("man/mailsend.1".to_owned(), command_page()),
            ("man/mailsend-batch.7".to_owned(), batch_page()),
            ("man/mailsend-queue.7".to_owned(), queue_page()),
            ("man/mailsend-sendmail.8".to_owned(), sendmail_page()),
            ("man/mailsend-config.5".to_owned(), config_page()),
        ];
        for (shell, name) in [
            (Shell::Bash, "mailsend.bash"),
            (Shell::Zsh, "_mailsend"),
            (Shell::Fish, "mailsend.fish"),
            (Shell::PowerShell, "_mailsend.ps1"),
            (Shell::Elvish, "mailsend.elv"),
        ] {
            files.push((format!("completions/{name}"), completions_of(shell)));
        }
        for (name, wanted) in files {
            let path = root.join(&name);
            if std::env::var_os("MAILSEND_WRITE_DOCS").is_some() {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, &wanted).unwrap();
            }
            let found = fs::read_to_string(&path).unwrap_or_default();
            assert!(found == wanted, "{name} is not current: MAILSEND_WRITE_DOCS=1 cargo test docs_are_current");
        }
    }

    #[test]
    fn every_option_and_key_is_in_the_manual() {
        let page = command_page();
        let mut command = Cli::command();
        command.build();
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            if let Some(long) = arg.get_long() {
                assert!(page.contains(&escape(&format!("--{long}"))), "--{long}");
            }
        }
        for code in ["65", "66", "67", "68", "69", "70", "71", "73", "74", "75", "76", "77", "78"] {
            assert!(page.contains(&format!(".TP\n\\fB{code}\\fR\n")), "exit code {code}");
        }
        let config = config_page();
        assert!(KEYS.iter().all(|key| config.contains(&escape(key.name))));
    }

    /// What is put in when a page is made is put in.
    #[test]
    fn no_page_has_a_gap() {
        for page in [command_page(), batch_page(), queue_page(), sendmail_page(), config_page()] {
            assert!(!page.lines().any(|line| line.len() > 2 && line.starts_with('@') && line.ends_with('@')), "{page}");
        }
    }

    #[test]
    fn text_becomes_roff() {
        assert_eq!(
            roff("NAME\nplain -x\n.dot\n\nterm\n  what it is\n\n    code \\n\n    more\n\nend\n"),
            ".SH NAME\nplain \\-x\n\\&.dot\n.TP\n\\fBterm\\fR\nwhat it is\n.PP\n.nf\n    code \\en\n    more\n.fi\n.PP\nend\n"
        );
    }
}
