//! The command line: one file per command, each with its arguments, whose documentation is the help, and one function.
//!
//! Data climbs from here once, resolved: no room below sees a flag. What comes back is shown and becomes an exit code.

mod args;
mod batch;
mod check;
mod error;
mod exit;
mod import;
mod local;
mod login;
mod mailx;
mod man;
mod message;
mod outlets;
mod profile;
mod queue;
mod records;
mod report;
mod send;
mod sendmail;
mod setup;
mod signals;
mod stdin;
mod submit;
mod template;
mod ui;
mod user;
mod worker;

use std::{
    ffi::{OsStr, OsString},
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

pub use error::CliError;
pub use exit::Exit;

/// Sends mail and tells for every recipient what became of it
#[derive(Debug, Parser)]
#[command(
    name = "mailsend",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands (they come first)",
    override_usage = "mailsend [OPTIONS] [ADDRESS]... < TEXT\n       mailsend COMMAND ...",
    max_term_width = 100,
    after_help = "mailsend --help says more, with examples; man mailsend says all.",
    after_long_help = EXAMPLES
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    send: send::SendArgs,
}

impl Cli {
    /// What `mailsend` alone would mean, with these options.
    fn plain(common: &args::CommonArgs) -> Result<Self, CliError> {
        let mut cli = Self::try_parse_from(["mailsend"]).map_err(|error| CliError::usage(error.to_string()))?;
        cli.send.common = common.clone();
        Ok(cli)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send a message for each row of a table
    Batch(Box<batch::BatchArgs>),
    /// Look at the queue, and decide about what is in it
    Queue(queue::QueueArgs),
    /// Send what is in the queue, until stopped
    Worker(Box<worker::WorkerArgs>),
    /// Show what a batch came to, from its ledger or from records
    Report(report::ReportArgs),
    /// List, show, add, import, remove or check profiles
    Profile(profile::ProfileArgs),
    /// List, check or render templates
    Template(template::TemplateArgs),
    /// Store the password or the tokens of a profile
    Login(login::LoginArgs),
    /// Remove what is stored for a profile
    Logout(login::LogoutArgs),
    /// Take a message as sendmail does; see man mailsend-sendmail
    #[command(disable_help_flag = true)]
    Sendmail(sendmail::SendmailArgs),
    /// Print completions for a shell
    Completions(man::CompletionsArgs),
    /// Print a manual page
    Man(man::ManArgs),
}

const EXAMPLES: &str = "\
Examples:
  Try it without a server: the mail lies in ./outbox
    mailsend --server maildir:./outbox --to you@example.com -s Hello --body Hi

  Set up an account, check it, send
    mailsend profile add work --server smtps://ada@smtp.example.com --from 'Ada <ada@example.com>'
    mailsend login
    mailsend profile check
    mailsend --to ops@example.com -s Nightly --attach report.pdf < summary.txt

  In a cron job: silent unless somebody does not get it, and a record of everybody
    backup 2>&1 | mailsend -E -s \"backup of $(hostname)\" ops@example.com --report /var/log/backup-mail.jsonl

  In CI, without any configuration
    MAILSEND_PASSWORD=$TOKEN mailsend --server smtps://ci@smtp.example.com -r ci@example.com \\
        --to dev@example.com -s \"build $ID\" --markdown @notes.md --format json

  HTML with an image, text made of it
    mailsend a@example.com -s News --html @news.html --inline 'logo.png;cid=logo'

  A message for each row of a table; again with --resume after whatever has ended it
    mailsend batch people.csv -s 'Hello {{name}}' --body @letter.txt --report run.jsonl

  Keep it, and send it later, or as soon as a server can be reached
    mailsend --at 09:00 --to team@example.com -s Reminder --body 'Do not forget.'
    mailsend --queue-on-failure --to ops@example.com -s Alarm --body 'Disk full.'
    mailsend queue list

  See what would be sent
    mailsend --to a@example.com -s Hello --body Hi --dry-run --eml -

Exit codes: 0 all accepted, 1 not all, 64 usage, 65 bad data, 66 no input, 67 nobody known, 68 no host,
69 refused, 75 try again, 76 protocol, 77 login or certificate, 78 configuration. See man mailsend.";

/// What `mailsend` alone says: six lines.
const FIRST_STEPS: &str = "\
mailsend sends mail and tells for every recipient what became of it. Four things to try:
  mailsend --server maildir:./outbox --to you@example.com -s Hello --body Hi    # without a server
  mailsend profile add work --server smtps://ada@smtp.example.com               # set up an account
  mailsend profile check                                                        # do server and login work?
  mailsend --to ops@example.com -s Nightly --attach report.pdf < summary.txt    # send
mailsend -h lists the options, mailsend --help explains them, man mailsend says all.";

/// Runs the program: arguments in, exit code out.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let exit = match catch_unwind(AssertUnwindSafe(|| dispatch(&arguments))) {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(error)) => {
            ui::show(&error);
            error.exit.into()
        }
        // The panic has been printed by now.
        Err(_) => Exit::Internal.into(),
    };
    // A thread that nobody waited for may have got a new token.
    crate::secret::settle();
    for remark in crate::secret::oauth::remarks() {
        ui::tell(&remark);
    }
    exit
}

fn dispatch(arguments: &[OsString]) -> Result<Exit, CliError> {
    // The name by which we are called.
    let name = arguments.first().and_then(|path| Path::new(path).file_name()).and_then(OsStr::to_str);
    if let Some(mode) = name.and_then(sendmail::mode_of) {
        return sendmail::sendmail(mode, &arguments[1..]);
    }
    if let Some("mail" | "mailx" | "Mail") = name {
        return mailx::mailx(&arguments[1..]);
    }
    if arguments.len() <= 1 {
        ui::tell(FIRST_STEPS);
        return Ok(Exit::Usage);
    }
    // Its words are its own, and clap would take the first '--' of them.
    if arguments[1] == "sendmail" {
        return sendmail::sendmail(sendmail::Mode::default(), &arguments[2..]);
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.command {
        None => send::send(cli.send),
        Some(Command::Batch(args)) => batch::batch(*args),
        Some(Command::Queue(args)) => queue::queue(args),
        Some(Command::Worker(args)) => worker::worker(*args),
        Some(Command::Report(args)) => report::report(&args),
        Some(Command::Profile(args)) => profile::profile(args),
        Some(Command::Template(args)) => template::template(args),
        Some(Command::Login(args)) => login::login(&args),
        Some(Command::Logout(args)) => login::logout(&args),
        Some(Command::Sendmail(args)) => sendmail::sendmail(sendmail::Mode::default(), &args.words),
        Some(Command::Completions(args)) => man::completions(&args),
        Some(Command::Man(args)) => man::man(&args),
    }
}

/// Help and version go to standard output; everything else is a wrong command line.
fn usage(error: &clap::Error) -> Result<Exit, CliError> {
    if error.use_stderr() {
        // There is nobody to tell if that fails.
        let _ = error.print();
        return Ok(Exit::Usage);
    }
    printed(ui::written(error.print().and_then(|()| std::io::stdout().flush())))
}

/// A word on the command line that stands where an address belongs.
fn address_word(word: &str) -> Result<String, String> {
    if word.contains('@') {
        return Ok(word.to_owned());
    }
    let command = Cli::command();
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    if names.contains(&word) {
        return Err(format!("commands come first: mailsend {word} …"));
    }
    Err(match crate::config::nearest(word, names) {
        Some(command) => format!("an address contains '@'; did you mean the command: mailsend {command} …"),
        None => "an address contains '@'; a name without one goes behind --to".to_owned(),
    })
}

/// The one runtime: a single message needs a single thread.
fn runtime() -> Result<Runtime, CliError> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::System, "the operating system gives no event loop").source(error))
}

/// Ends standard output's part of a command.
fn printed(result: std::io::Result<()>) -> Result<Exit, CliError> {
    result
        .map(|()| Exit::Success)
        .map_err(|error| CliError::new(Exit::Io, "standard output cannot be written").source(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_bare_word_is_never_an_address() {
        for (arguments, expected) in [
            (&["mailsend", "-p", "work", "profile", "list"][..], "commands come first: mailsend profile"),
            (&["mailsend", "-C", "c.toml", "login"], "commands come first: mailsend login"),
            (&["mailsend", "profil"], "did you mean the command: mailsend profile"),
            (&["mailsend", "ada"], "goes behind --to"),
        ] {
            let error = Cli::try_parse_from(arguments).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Cli::try_parse_from(["mailsend", "ada@example.com", "-s", "-x-"]).is_ok());
    }

    /// Splits a line as a shell would, as far as examples go: quotes, no expansion; ends at a pipe or redirection.
    fn shell_words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote, mut is_word) = (Vec::new(), String::new(), None, false);
        for c in line.chars() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (Some(_), c) => word.push(c),
                (None, '\'' | '"') => (quote, is_word) = (Some(c), true),
                (None, '#' | '<' | '>' | '|') if !is_word => return words,
                (None, c) if c.is_whitespace() => {
                    if is_word {
                        words.push(std::mem::take(&mut word));
                    }
                    is_word = false;
                }
                (None, c) => {
                    word.push(c);
                    is_word = true;
                }
            }
        }
        if is_word {
            words.push(word);
        }
        words
    }

    /// Every `mailsend …` of README, help and manual is a command line that the program takes.
    #[test]
    fn every_example_is_understood() {
        let readme = include_str!("../../README.md").replace("\\\n", " ");
        let examples = EXAMPLES.replace("\\\n", " ");
        let manual = include_str!("text/mailsend.txt");
        let mut count = 0;
        for text in [&readme, &examples, manual, include_str!("text/queue.txt"), FIRST_STEPS] {
            for line in text.lines().filter(|line| line.starts_with(' ') || !line.contains('`')) {
                let Some(at) = line.find("mailsend ").filter(|&at| at == 0 || line[..at].ends_with([' ', '\''])) else {
                    continue;
                };
                // Prose about it is no example.
                if !(line.trim_start().starts_with("mailsend ")
                    || line.contains("| mailsend ")
                    || line.contains("=$TOKEN"))
                {
                    continue;
                }
                let words = shell_words(&line[at..]);
                if words.len() < 2 || !(words[1].starts_with('-') || words[1].contains('@') || is_command(&words[1])) {
                    continue;
                }
                count += 1;
                if let Err(error) = Cli::try_parse_from(&words) {
                    let is_help = !error.use_stderr();
                    assert!(is_help, "{line}\n{words:?}\n{error}");
                }
            }
        }
        assert!(count >= 25, "only {count} examples are found");
    }

    fn is_command(word: &str) -> bool {
        Cli::command().get_subcommands().any(|command| command.get_name() == word)
    }

    #[test]
    fn first_steps_are_six_lines() {
        assert_eq!(FIRST_STEPS.lines().count(), 6);
        assert!(FIRST_STEPS.lines().all(|line| line.len() <= 110));
    }
}
