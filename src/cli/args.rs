//! Options that several commands share. Their documentation is the help and the manual.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use crate::{
    config::{Environment, Files, Profile, Request, SecretSource, Server, parse_duration},
    report::{Format, ProgressMode, Target, is_attended},
    secret::{self, Wanted},
};

use super::{
    CliError, Exit,
    user::{User, has_home},
};

/// Where to send.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where")]
pub struct WhereArgs {
    /// Use this profile of the configuration
    #[arg(short, long, alias = "account", value_name = "NAME")]
    pub profile: Option<String>,

    /// Use this server instead of a profile
    ///
    /// smtp://USER@HOST:PORT uses STARTTLS, smtps://… TLS from the first byte, lmtp://… LMTP; sendmail:PROGRAM hands
    /// over to a program, maildir:FOLDER writes into a folder. To this machine, smtp:// and lmtp:// use no TLS;
    /// ?security=tls, starttls or none behind the host says it otherwise. Of the configuration only the sender is kept.
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub server: Option<String>,

    /// Log in as this user
    #[arg(long, value_name = "USER", allow_hyphen_values = true)]
    pub user: Option<String>,

    /// Take the password from the output of this shell command
    #[arg(long, value_name = "COMMAND", group = "password", allow_hyphen_values = true, value_hint = ValueHint::CommandString)]
    pub password_command: Option<String>,

    /// Take the password from this file, which only its owner may read
    #[arg(long, value_name = "FILE", group = "password", value_hint = ValueHint::FilePath)]
    pub password_file: Option<PathBuf>,

    /// Take the password from this open file descriptor
    #[arg(long, value_name = "N", group = "password")]
    pub password_fd: Option<u32>,

    /// Set any key of a profile for this call, such as -o tls.ca-file=ca.pem
    #[arg(short = 'o', value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub options: Vec<String>,

    /// Try again up to N times what was deferred
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub retry: u32,

    /// Limit for connecting, greeting, each command and each block of the message
    ///
    /// The reply to the whole message has its own limit, timeouts.final-reply: who stops waiting for it cannot know
    /// whether the mail was sent.
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
}

/// What to tell.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Report")]
pub struct ReportArgs {
    /// Write a record for every recipient to FILE, or to standard output (-)
    ///
    /// A file gets a JSON object per line, or CSV if its name ends so; records are added to its end. Standard output
    /// gets lines for people. --format says it otherwise.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub report: Option<String>,

    /// Format of the records; without --report they go to standard output
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<FormatArg>,

    /// Show how far the message has left
    #[arg(long, value_name = "HOW", default_value = "auto", hide_default_value = true)]
    pub progress: ProgressArg,
}

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Common")]
pub struct CommonArgs {
    /// Read this configuration file and no other
    #[arg(short = 'C', long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,

    /// Say what is done
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,

    /// Show the whole dialogue with the server, without secrets
    #[arg(long)]
    pub trace: bool,
}

/// Formats of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// A line for people
    Human,
    /// A JSON object per line
    Json,
    /// Comma-separated values
    Csv,
}

/// Kinds of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressArg {
    /// A bar on a terminal, nothing elsewhere
    Auto,
    /// A bar
    Bar,
    /// A line for every tenth
    Lines,
    /// A JSON object for every tenth
    Json,
    /// Nothing
    None,
}

impl WhereArgs {
    /// What the flags ask of the configuration.
    ///
    /// # Errors
    /// An option without '=', a time that is none.
    pub fn request(&self) -> Result<Request, CliError> {
        let mut settings = Vec::new();
        if let Some(timeout) = &self.timeout {
            parse_duration(timeout).map_err(|what| CliError::usage(format!("--timeout: {what}")))?;
            for key in ["connect", "greeting", "command", "content"] {
                settings.push((format!("timeouts.{key}"), timeout.clone(), "--timeout".to_owned()));
            }
        }
        for option in &self.options {
            let Some((key, value)) = option.split_once('=') else {
                return Err(CliError::usage(format!("-o: '{}' has no '='", crate::mail::clean(option)))
                    .hint("-o KEY=VALUE, such as -o timeouts.connect=5s"));
            };
            settings.push((key.trim().to_owned(), value.to_owned(), format!("-o {}", crate::mail::clean(key))));
        }
        if let Some(user) = &self.user {
            settings.push(("username".to_owned(), user.clone(), "--user".to_owned()));
        }
        Ok(Request { profile: self.profile.clone(), server: self.server.clone(), senders: Vec::new(), settings })
    }

    /// Whose password is wanted, if the profile logs in.
    pub fn wanted(&self, profile: &Profile, context: &Context) -> Option<Wanted> {
        secret::withhold(profile);
        let (Some(user), Some(Server::Network { endpoint, .. })) = (&profile.username, &profile.server) else {
            return None;
        };
        Some(Wanted {
            user: user.clone(),
            host: endpoint.host.clone(),
            flag: self.secret_source(),
            environment: context.environment.clone(),
            profile: profile.password.clone(),
            oauth: profile.oauth.clone(),
            secrets: profile.secrets.clone(),
            web: profile.web_way(),
            profile_name: profile.name.clone(),
            may_prompt: is_attended(),
        })
    }

    /// The password source that the flags name.
    pub fn secret_source(&self) -> Option<SecretSource> {
        let command = self.password_command.clone().map(SecretSource::Command);
        let file = self.password_file.clone().map(SecretSource::File);
        command.or(file).or(self.password_fd.map(SecretSource::Fd))
    }
}

impl ReportArgs {
    /// Where records go, if anywhere.
    pub fn target(&self) -> Option<Target> {
        match self.report.as_deref() {
            Some("-") => Some(Target::Stdout),
            Some(path) => Some(Target::File(path.into())),
            None => self.format.map(|_| Target::Stdout),
        }
    }

    /// Their format, if named.
    pub fn format(&self) -> Option<Format> {
        self.format.map(|format| match format {
            FormatArg::Human => Format::Human,
            FormatArg::Json => Format::Json,
            FormatArg::Csv => Format::Csv,
        })
    }

    /// How progress is shown.
    pub fn progress(&self) -> ProgressMode {
        match self.progress {
            ProgressArg::Auto => ProgressMode::Auto,
            ProgressArg::Bar => ProgressMode::Bar,
            ProgressArg::Lines => ProgressMode::Lines,
            ProgressArg::Json => ProgressMode::Json,
            ProgressArg::None => ProgressMode::None,
        }
    }
}

/// What every command starts with: environment, files, and how much to say.
#[derive(Debug, Clone)]
pub struct Context {
    /// The environment.
    pub environment: Environment,
    /// The configuration files.
    pub files: Files,
    /// Say nothing but errors.
    pub is_quiet: bool,
    /// Say what is done.
    pub is_verbose: bool,
    /// Show the dialogue.
    pub wants_trace: bool,
    /// Add it to this file instead of showing it.
    pub trace_file: Option<PathBuf>,
    /// The name of this program in the logs of the system.
    pub tag: String,
}

impl CommonArgs {
    /// Reads environment and configuration.
    ///
    /// # Errors
    /// If a file cannot be read or is wrong, or a variable is no boolean.
    pub fn context(&self) -> Result<Context, CliError> {
        let mut environment = Environment::of_process();
        if !has_home(&environment)
            && let Some(home) = User::of_process().and_then(|user| user.home)
        {
            environment = environment.without(&["HOME"]).or("HOME", &home.to_string_lossy());
        }
        let files = Files::load(self.config.as_deref(), &environment)?;
        self.context_of(environment, files)
    }

    /// The same with these.
    ///
    /// # Errors
    /// If a variable is no boolean.
    pub fn context_of(&self, environment: Environment, files: Files) -> Result<Context, CliError> {
        let flag = |given: bool, name: &str| match environment.get(name) {
            _ if given => Ok(true),
            None => Ok(false),
            Some("1" | "true") => Ok(true),
            Some("0" | "false") => Ok(false),
            Some(_) => Err(CliError::new(Exit::Configuration, format!("{name}: 1, 0, true or false is wanted"))),
        };
        let is_verbose = flag(self.verbose, "MAILSEND_VERBOSE")? && !self.quiet;
        Ok(Context {
            is_quiet: flag(self.quiet, "MAILSEND_QUIET")? && !self.verbose,
            is_verbose,
            wants_trace: flag(self.trace, "MAILSEND_TRACE")?,
            trace_file: None,
            tag: "mailsend".to_owned(),
            files,
            environment,
        })
    }
}
