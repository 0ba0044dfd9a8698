//! `mailsend profile add`: finds the server of an address, proves the login, writes the profile, keeps the password.
//!
//! Nothing is written before all of it has worked; what is not asked for is not done: without a password at hand there
//! is no login to prove, and a server that was named is not looked for.

mod find;

use std::{
    collections::BTreeMap,
    io::{self, BufRead, IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
};

use clap::{Args, ValueHint};

use super::{
    CliError, Exit,
    args::{CommonArgs, Context, WhereArgs},
    check,
    profile::{cannot_write, edit},
    runtime, ui,
};
use crate::{
    config::{ConfigError, Files, Profile, Provider, Request, Security, profile_names, resolve},
    mail::{Address, Cause, Mailbox, Trouble, clean},
    secret::{self, Found, Wanted, stores},
    transport::Door,
};

/// Set up an account: find its server, prove the login, write the profile, keep the password
#[derive(Debug, Args)]
#[command(after_help = "\
With a mail address alone the server is looked for: known providers, autoconfig.DOMAIN, DNS SRV. At a terminal
everything that is missing is asked for:
  mailsend profile add
  mailsend profile add ada@example.com
From a script:
  mailsend profile add work --from 'Ada <ada@example.com>' --password-command 'pass show smtp'
  mailsend profile add relay --server smtp://relay.example.com:25")]
pub struct AddArgs {
    /// Name of the profile, or the mail address to set up
    name: Option<String>,
    /// The server: smtps://USER@HOST, smtp://USER@HOST:587, lmtp://HOST, sendmail:, maildir:FOLDER
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    server: Option<String>,
    /// Sender of messages that name none; its server is looked for if none is named
    #[arg(long, short = 'r', value_name = "ADDRESS", value_hint = ValueHint::EmailAddress)]
    from: Option<String>,
    /// Log in as this user; the address by default
    #[arg(long, value_name = "USER", allow_hyphen_values = true)]
    user: Option<String>,
    /// The password comes from the output of this shell command, now and later
    #[arg(long, value_name = "COMMAND", group = "password", allow_hyphen_values = true, value_hint = ValueHint::CommandString)]
    password_command: Option<String>,
    /// The password is in this file, now and later; only its owner may read it
    #[arg(long, value_name = "FILE", group = "password", value_hint = ValueHint::FilePath)]
    password_file: Option<PathBuf>,
    /// Read the password from this open file descriptor, and keep it as login does
    #[arg(long, value_name = "N", group = "password")]
    password_fd: Option<u32>,
    /// Any other key, such as -o timeouts.connect=5s
    #[arg(short = 'o', value_name = "KEY=VALUE", allow_hyphen_values = true)]
    options: Vec<String>,
    /// Use it when none is named
    #[arg(long)]
    default: bool,
    /// Do not connect: write what is given, or found
    #[arg(long)]
    no_check: bool,
    #[command(flatten)]
    common: CommonArgs,
}

/// Variables that say where things are on this machine, not what a profile holds.
const OF_THE_MACHINE: [&str; 7] =
    ["HOME", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "XDG_STATE_HOME", "CREDENTIALS_DIRECTORY"];

/// Longest name of a profile.
const MAX_NAME: usize = 64;

/// Keys and values of the profile to be.
type Settings = Vec<(String, String)>;

/// Sets up a profile.
pub fn add(args: AddArgs) -> Result<Exit, CliError> {
    let (context, opened, path) = edit(&args.common)?;
    let is_taken = |name: &str| opened.has_profile(name);
    let mut settings = given(&args)?;
    let is_at_terminal = io::stdin().is_terminal();
    let mut address = args.name.as_ref().filter(|name| name.contains('@')).cloned().or_else(|| args.from.clone());
    if address.is_none() && !names_server(&settings) && is_at_terminal {
        address = Some(ask("Mail address: ")?);
    }
    let mailbox = address.map(|text| mailbox(&text)).transpose()?;
    if let Some(mailbox) = &mailbox
        && !settings.iter().any(|(key, _)| key == "from")
    {
        settings.insert(0, ("from".to_owned(), mailbox.to_string()));
    }
    let name = match &args.name {
        Some(name) if !name.contains('@') => name.clone(),
        _ => match name_for(mailbox.as_ref(), is_taken) {
            Err(_) if is_at_terminal => ask("Name of the profile: ")?,
            name => name?,
        },
    };
    check_name(&name)?;
    if is_taken(&name) {
        return Err(taken(&name, &path));
    }
    // Opened again when it is written: nobody else waits while this asks and connects.
    drop(opened);

    let ways = match (names_server(&settings), &mailbox) {
        (true, _) => vec![Way { settings, wants_oauth: false }],
        (false, Some(mailbox)) => look_for(&mailbox.address, settings, &args, &context, is_at_terminal)?,
        (false, None) => {
            return Err(CliError::usage("the profile needs a server, or an address whose server can be looked for")
                .hint(format!("mailsend profile add {name} --from ADDRESS"))
                .hint(format!(
                    "or name the server: mailsend profile add {name} --server smtps://USER@HOST --from ADDRESS"
                )));
        }
    };
    let setup = Setup { name: &name, args: &args, context: &context, is_at_terminal };
    let proven = setup.prove(ways)?;
    setup.write(proven)
}

/// A name that can be typed, and stands in TOML and in the hints as it is.
fn check_name(name: &str) -> Result<(), CliError> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    if name.is_empty() || name.chars().count() > MAX_NAME || name.starts_with('-') || !name.chars().all(is_plain) {
        return Err(CliError::usage("the name of a profile is a word of letters, digits, '.', '_', '-' and '+'"));
    }
    Ok(())
}

fn taken(name: &str, path: &str) -> CliError {
    CliError::usage(format!("there is a profile '{name}' in {path} already"))
        .hint(format!("remove it first: mailsend profile remove {name}"))
        .hint("or change it in the file")
}

fn given(args: &AddArgs) -> Result<Settings, CliError> {
    let mut settings = Settings::new();
    for (key, value) in [("from", &args.from), ("server", &args.server)] {
        settings.extend(value.iter().map(|value| (key.to_owned(), value.clone())));
    }
    for option in &args.options {
        let Some((key, value)) = option.split_once('=') else {
            return Err(CliError::usage(format!("-o: '{}' has no '='", clean(option))).hint("-o KEY=VALUE"));
        };
        settings.push((key.trim().to_owned(), value.to_owned()));
    }
    if let Some(user) = &args.user {
        settings.push(("username".to_owned(), user.clone()));
    }
    if let Some(command) = &args.password_command {
        settings.push(("password".to_owned(), format!("{{ command = {} }}", toml::Value::from(command.as_str()))));
    }
    if let Some(file) = &args.password_file {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        let Some(file) = file.to_str() else { return Err(CliError::usage("--password-file: its name is not UTF-8")) };
        settings.push(("password".to_owned(), format!("{{ file = {} }}", toml::Value::from(file))));
    }
    Ok(settings)
}

/// Whether it is clear where to send, or a preset says so.
fn names_server(settings: &Settings) -> bool {
    let is_preset = |key: &str, value: &str| key == "oauth.provider" && value != "custom";
    settings.iter().any(|(key, value)| matches!(key.as_str(), "server" | "host" | "socket") || is_preset(key, value))
}

fn mailbox(text: &str) -> Result<Mailbox, CliError> {
    Mailbox::parse(text)
        .map_err(|error| CliError { exit: Exit::Usage, ..CliError::address("the mail address", &error) })
}

/// The first word of the domain, if no profile has that name.
fn name_for(mailbox: Option<&Mailbox>, is_taken: impl Fn(&str) -> bool) -> Result<String, CliError> {
    let usage = |what: &str| CliError::usage(what).hint("mailsend profile add NAME …");
    let Some(mailbox) = mailbox else { return Err(usage("the profile needs a name")) };
    let name = mailbox.address.domain().split('.').next().unwrap_or_default().to_ascii_lowercase();
    match name.is_empty() || is_taken(&name) {
        true => Err(usage(&format!("there is a profile '{name}' already: the new one needs a name of its own"))),
        false => Ok(name),
    }
}

fn ask(question: &str) -> Result<String, CliError> {
    let fail = |error| CliError::no_input("the terminal", error);
    let mut out = io::stderr().lock();
    out.write_all(question.as_bytes()).and_then(|()| out.flush()).map_err(fail)?;
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(0) => Err(fail(io::ErrorKind::UnexpectedEof.into())),
        Ok(_) => Ok(line.trim().to_owned()),
        Err(error) => Err(fail(error)),
    }
}

/// A profile that may be.
struct Way {
    /// All of its settings.
    settings: Settings,
    /// Whether its server is said to take tokens only.
    wants_oauth: bool,
}

/// The ways to go, best first.
fn look_for(
    address: &Address,
    settings: Settings,
    args: &AddArgs,
    context: &Context,
    is_at_terminal: bool,
) -> Result<Vec<Way>, CliError> {
    let by_hand =
        |error: CliError| error.hint(format!("name it: --server smtps://{address}@HOST, or smtp:// for STARTTLS"));
    let runtime = runtime()?;
    let (found, said) = runtime.block_on(find::find(address, &context.environment));
    // A look-up that still waits is not waited for.
    runtime.shutdown_background();
    if found.is_empty() {
        let what = format!("the server of {} was not found", clean(address.domain()));
        let error = CliError::new(Exit::Configuration, what);
        return Err(by_hand(CliError { excerpt: Some(said.join("\n")), ..error }));
    }
    if context.is_verbose {
        said.iter().for_each(|line| ui::tell(line));
    }
    let mut ways = Vec::new();
    for found in found {
        let candidate = &found.candidate;
        let (endpoint, security) = (&candidate.endpoint, candidate.security);
        if !context.is_quiet {
            ui::tell(&format!("found {endpoint}, security {} ({})", security.as_str(), found.how));
        }
        if found.is_doubtful && !is_trusted(address, &endpoint.to_string(), is_at_terminal)? {
            continue;
        }
        let mut way = vec![("host".to_owned(), endpoint.host.clone()), ("port".to_owned(), endpoint.port.to_string())];
        let default = if endpoint.port == 465 { Security::Tls } else { Security::Starttls };
        if security != default {
            way.push(("security".to_owned(), security.as_str().to_owned()));
        }
        if args.user.is_none() {
            way.push(("username".to_owned(), candidate.username.clone()));
        }
        // What is given by hand wins.
        let mut way = unfolded(way.into_iter().chain(settings.clone()).collect());
        way.sort_by_key(|(key, _)| key != "from");
        ways.push(Way { settings: way, wants_oauth: candidate.wants_oauth });
    }
    match ways.is_empty() {
        true => Err(by_hand(CliError::new(Exit::Configuration, "no server that was found can be trusted"))),
        false => Ok(ways),
    }
}

/// The DNS is not protected; only a person can say whether a host of another domain is meant.
fn is_trusted(address: &Address, server: &str, is_at_terminal: bool) -> Result<bool, CliError> {
    let what = format!("{server} is not of {}, and anybody could have said so", clean(address.domain()));
    if !is_at_terminal {
        ui::tell(&format!("{what}: not taken"));
        return Ok(false);
    }
    let answer = ask(&format!("{what}. Send your password there? [y/N] "))?;
    Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
}

struct Setup<'a> {
    name: &'a str,
    args: &'a AddArgs,
    context: &'a Context,
    is_at_terminal: bool,
}

/// What has been shown to work, as far as it was tried.
struct Proven {
    settings: Settings,
    profile: Profile,
    /// A secret that is to be kept, and whose it is.
    typed: Option<(Wanted, Found)>,
    /// Whether somebody has logged in.
    is_proven: bool,
}

impl Setup<'_> {
    /// Every value is looked at before anything else happens, and nothing else than these.
    fn resolve(&self, settings: &Settings) -> Result<Profile, CliError> {
        let server = settings.iter().rfind(|(key, _)| key == "server").map(|(_, url)| url.clone());
        let others = settings.iter().filter(|(key, _)| key != "server");
        let request = Request {
            server,
            settings: others.map(|(key, value)| (key.clone(), value.clone(), self.flag_of(key))).collect(),
            ..Request::default()
        };
        let environment = self.context.environment.only(&OF_THE_MACHINE);
        let mut profile = resolve(&request, &Files::default(), &environment)?;
        profile.name = Some(self.name.to_owned());
        // Where secrets are kept is said for all profiles.
        let here = resolve(&Request::default(), &self.context.files, &self.context.environment);
        if let Ok(here) = here.or_else(|_| resolve(&by_url(), &self.context.files, &self.context.environment)) {
            profile.secrets = here.secrets;
        }
        Ok(profile)
    }

    fn flag_of(&self, key: &str) -> String {
        match key {
            "from" => "--from".to_owned(),
            "username" if self.args.user.is_some() => "--user".to_owned(),
            "password" if self.args.password_command.is_some() => "--password-command".to_owned(),
            "password" if self.args.password_file.is_some() => "--password-file".to_owned(),
            key => format!("-o {key}"),
        }
    }

    /// Takes the first way that works. With a password at hand that is a login; a refused one is the end.
    fn prove(&self, ways: Vec<Way>) -> Result<Proven, CliError> {
        let is_found = !names_server(&given(self.args)?);
        let mut secret: Option<Found> = None;
        let mut last = None;
        for Way { settings, wants_oauth } in ways {
            let profile = self.resolve(&settings)?;
            let wanted =
                WhereArgs { password_fd: self.args.password_fd, ..WhereArgs::default() }.wanted(&profile, self.context);
            if self.args.no_check {
                return Ok(Proven { settings, profile, typed: None, is_proven: false });
            }
            if let Some(wanted) = &wanted
                && secret.is_none()
            {
                secret = self.secret(wanted, wants_oauth)?;
            }
            if secret.is_none() && !is_found {
                return Ok(Proven { settings, profile, typed: None, is_proven: false });
            }
            let login = wanted.filter(|_| secret.is_some());
            match connect(&profile, login.clone(), secret.as_ref(), self.context.wants_trace)? {
                Ok(()) => {
                    let (is_kept, is_proven) = (profile.password.is_none(), login.is_some());
                    let typed = login.zip(secret.filter(|_| is_kept));
                    return Ok(Proven { settings, profile, typed, is_proven });
                }
                Err(trouble) if leads_on(&trouble) => last = Some(trouble),
                Err(trouble) => return Err(self.failed(trouble)),
            }
        }
        let trouble = last.ok_or_else(|| CliError::new(Exit::Internal, "there was no server to try"))?;
        Err(self.failed(trouble))
    }

    fn failed(&self, mut trouble: Trouble) -> CliError {
        // There is no such profile yet.
        trouble.hints.retain(|hint| !hint.contains("mailsend login"));
        CliError::from(trouble).hint("nothing was written; --no-check writes the profile without connecting")
    }

    /// The password, if there is one at hand: from a flag, or typed.
    fn secret(&self, wanted: &Wanted, wants_oauth: bool) -> Result<Option<Found>, CliError> {
        let has_flag = self.args.password_command.is_some() || self.args.password_file.is_some();
        if has_flag || wanted.flag.is_some() {
            let mut wanted = wanted.clone();
            // Variables of this shell are not what the profile says.
            wanted.environment = wanted.environment.only(&OF_THE_MACHINE);
            return Ok(Some(secret::get(&wanted)?));
        }
        if wants_oauth && wanted.oauth.is_none() {
            let provider = Provider::of_host(&wanted.host).unwrap_or(Provider::Custom);
            self.tell(&format!("{} wants OAuth: {}", wanted.host, self.oauth_login(provider)));
            return Ok(None);
        }
        if wanted.source().is_some() || wanted.oauth.is_some() || !self.is_at_terminal {
            return Ok(None);
        }
        if let Some(provider) = Provider::of_host(&wanted.host).filter(|_| !self.context.is_quiet) {
            ui::tell(&format!("this server wants an app password, or OAuth: {}", self.oauth_login(provider)));
        }
        let secret = secret::prompt(&wanted.user, &wanted.host)?;
        Ok(Some(Found { secret, source: "terminal".to_owned(), chain: Vec::new() }))
    }

    /// What to type for a login by tokens.
    fn oauth_login(&self, provider: Provider) -> String {
        format!("mailsend login --profile {} --oauth {} --client-id ID", self.name, provider.as_str())
    }

    fn write(&self, proven: Proven) -> Result<Exit, CliError> {
        let Proven { settings, profile, typed, is_proven } = proven;
        let (_, mut edit, path) = edit(&self.args.common)?;
        // Somebody may have been faster.
        if edit.has_profile(self.name) {
            return Err(taken(self.name, &path));
        }
        let is_first = profile_names(&self.context.files).is_empty();
        let folder = std::env::current_dir().unwrap_or_default();
        edit.add_profile(self.name, &unfolded(settings), &folder);
        // As it will be read from the file.
        let files = Files { user: Some(edit.file()?), ..Files::default() };
        let request = Request { profile: Some(self.name.to_owned()), ..Request::default() };
        resolve(&request, &files, &self.context.environment.only(&OF_THE_MACHINE)).map_err(|error| match error {
            ConfigError::Value { what, hint, .. } => hint.into_iter().fold(CliError::usage(what), CliError::hint),
            other => other.into(),
        })?;
        let is_default = self.args.default || (is_first && edit.default_profile().is_none());
        if is_default {
            edit.set_default_profile(self.name);
        }
        edit.save().map_err(cannot_write)?;
        drop(edit);
        let is_kept = match typed {
            Some((wanted, found)) => self.keep(&wanted, &found),
            None => false,
        };
        let default = if is_default { ", the one used when none is named" } else { "" };
        self.tell(&format!("added profile '{}' to {path}{default}", self.name));
        let which = if is_default { String::new() } else { format!(" --profile {}", self.name) };
        if !is_proven && profile.wants_login() {
            self.tell("the login was not tried: there is no password at hand");
        }
        if profile.username.is_some() && profile.password.is_none() && profile.oauth.is_none() && !is_kept {
            self.tell(&format!("next: mailsend login{which}"));
        }
        self.tell(&format!("next: mailsend profile check{which}"));
        Ok(Exit::Success)
    }

    /// Keeps what was typed; where there is no place for it, the profile is there all the same.
    fn keep(&self, wanted: &Wanted, found: &Found) -> bool {
        let account = stores::password_account(&wanted.user, &wanted.host);
        match stores::save(wanted, &account, &found.secret, None) {
            Ok(store) => {
                let store = wanted.store_name(store);
                self.tell(&format!("the {store} keeps the password of {} at {}", wanted.user, wanted.host));
                true
            }
            Err(error) => {
                ui::show(&CliError::from(error));
                false
            }
        }
    }

    fn tell(&self, line: &str) {
        if !self.context.is_quiet {
            ui::tell(&clean(line));
        }
    }
}

/// A request that needs no profile.
fn by_url() -> Request {
    Request { server: Some("smtp://localhost".to_owned()), ..Request::default() }
}

/// Whether another server may do better: this one is not there, or not protected.
fn leads_on(trouble: &Trouble) -> bool {
    matches!(
        trouble.cause,
        Cause::NoHost | Cause::Unreachable | Cause::TimedOut | Cause::Lost | Cause::Unsupported | Cause::Protocol
    )
}

/// Connects, secures, and logs in if there is a login. The outer error has nothing to do with the server.
fn connect(
    profile: &Profile,
    login: Option<Wanted>,
    secret: Option<&Found>,
    wants_trace: bool,
) -> Result<Result<(), Trouble>, CliError> {
    let mut profile = profile.clone();
    if login.is_none() {
        profile.username = None;
    }
    let mut door = match Door::new(Arc::new(profile), login) {
        Ok(door) => door,
        Err(trouble) => return Ok(Err(trouble)),
    };
    if let Some(found) = secret {
        door.remember(found.clone());
    }
    // A folder or a program is there or not when it is used.
    let Some(mut opening) = door.opening() else { return Ok(Ok(())) };
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let ended = check::open_and_show(&mut opening, wants_trace).await;
        if let Some(session) = opening.session.take() {
            session.quit().await;
        }
        ended
    });
    runtime.shutdown_background();
    Ok(ended)
}

/// The last of two values for one key holds.
fn unfolded(settings: Settings) -> Settings {
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (at, (key, _)) in settings.iter().enumerate() {
        last.insert(key.clone(), at);
    }
    settings.into_iter().enumerate().filter(|(at, (key, _))| last.get(key) == Some(at)).map(|(_, pair)| pair).collect()
}
