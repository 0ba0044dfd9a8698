//! `mailsend profile`: what is configured, and changing it.

use std::collections::BTreeMap;

use clap::{Args, Subcommand, ValueHint};
use serde::Serialize;

use super::{
    CliError, Exit,
    args::{CommonArgs, Context},
    check, printed, ui,
};
use crate::{
    config::{ConfigError, Edit, Environment, Files, Origin, Profile, Request, heirs, profile_names, resolve},
    mail::clean,
};

/// List, show, add, remove or check profiles
#[derive(Debug, Args)]
pub struct ProfileArgs {
    #[command(subcommand)]
    command: ProfileCommand,
}

#[derive(Debug, Subcommand)]
enum ProfileCommand {
    /// List the profiles
    List(ListArgs),
    /// Show the keys of a profile and where each was set
    Show(ShowArgs),
    /// Add a profile to the configuration
    Add(AddArgs),
    /// Remove a profile from the configuration
    Remove(RemoveArgs),
    /// Show or set the profile that is used when none is named
    Default(DefaultArgs),
    /// Connect, and say what the server offers and whether the login works
    Check(check::CheckArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The profile; the default one if none is named
    name: Option<String>,
    /// Show the defaults, too
    #[arg(short, long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct AddArgs {
    /// Name of the profile
    name: String,
    /// The server: smtps://USER@HOST, smtp://USER@HOST:587, lmtp://HOST, sendmail:, maildir:FOLDER
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    server: Option<String>,
    /// Sender of messages that name none
    #[arg(long, short = 'r', value_name = "ADDRESS", value_hint = ValueHint::EmailAddress)]
    from: Option<String>,
    /// Any other key, such as -o timeouts.connect=5s
    #[arg(short = 'o', value_name = "KEY=VALUE", allow_hyphen_values = true)]
    options: Vec<String>,
    /// Use it when none is named
    #[arg(long)]
    default: bool,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// Name of the profile
    name: String,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct DefaultArgs {
    /// Name of the profile; without it the default is printed
    name: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the subcommand.
pub fn profile(args: ProfileArgs) -> Result<Exit, CliError> {
    match args.command {
        ProfileCommand::List(args) => list(&args),
        ProfileCommand::Show(args) => show(&args),
        ProfileCommand::Add(args) => add(&args),
        ProfileCommand::Remove(args) => remove(&args),
        ProfileCommand::Default(args) => default(&args),
        ProfileCommand::Check(args) => check::check(&args),
    }
}

#[derive(Serialize)]
struct Listed {
    name: String,
    default: bool,
    server: Option<String>,
    from: Option<String>,
    origin: String,
    error: Option<String>,
}

fn list(args: &ListArgs) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    let default = selected(&context, None).ok().and_then(|profile| profile.name);
    let listed: Vec<Listed> = profile_names(&context.files)
        .into_iter()
        .map(|(name, origin)| {
            let profile = selected(&context, Some(&name));
            let (server, from, error) = match &profile {
                Ok(profile) => (
                    profile.server.as_ref().map(ToString::to_string),
                    profile.from.as_ref().map(ToString::to_string),
                    None,
                ),
                Err(error) => (None, None, Some(error.to_string())),
            };
            Listed { default: default.as_deref() == Some(&name), name, server, from, origin: origin.to_string(), error }
        })
        .collect();
    if args.json {
        return printed(ui::print(&json(&listed)));
    }
    if listed.is_empty() {
        ui::tell(
            "No profile is configured. Set one up: mailsend profile add NAME --server smtps://USER@HOST --from ADDRESS",
        );
    }
    let width = listed.iter().map(|profile| profile.name.chars().count()).max().unwrap_or(0);
    let text: String = listed
        .iter()
        .map(|profile| {
            let mark = if profile.default { '*' } else { ' ' };
            let server = profile.error.as_deref().or(profile.server.as_deref()).unwrap_or("no server");
            let from = profile.from.as_ref().map_or_else(String::new, |from| format!("  from {from}"));
            format!("{mark} {:<width$}  {}\n", clean(&profile.name), clean(&format!("{server}{from}")))
        })
        .collect();
    printed(ui::print(&text))
}

fn selected(context: &Context, name: Option<&str>) -> Result<Profile, ConfigError> {
    let request = Request { profile: name.map(str::to_owned), ..Request::default() };
    resolve(&request, &context.files, &context.environment)
}

fn json(value: &impl Serialize) -> String {
    // Strings, numbers and booleans always have a JSON form.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

#[derive(Serialize)]
struct Shown<'a> {
    name: Option<&'a str>,
    server: Option<String>,
    settings: Vec<ShownSetting<'a>>,
    note: Option<&'a str>,
}

#[derive(Serialize)]
struct ShownSetting<'a> {
    key: &'a str,
    value: &'a str,
    origin: String,
}

fn show(args: &ShowArgs) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    let profile = selected(&context, args.name.as_deref())?;
    let settings: Vec<ShownSetting<'_>> = profile
        .settings
        .iter()
        .filter(|setting| args.all || setting.origin != Origin::Default)
        .map(|setting| ShownSetting { key: setting.key, value: &setting.value, origin: setting.origin.to_string() })
        .collect();
    if args.json {
        let shown = Shown {
            name: profile.name.as_deref(),
            server: profile.server.as_ref().map(ToString::to_string),
            settings,
            note: profile.dropped_password.as_deref(),
        };
        return printed(ui::print(&json(&shown)));
    }
    let assignments: Vec<(String, String)> =
        settings.into_iter().map(|setting| (format!("{} = {}", setting.key, setting.value), setting.origin)).collect();
    let width = assignments.iter().map(|(assignment, _)| assignment.chars().count()).max().unwrap_or(0).min(60);
    let mut text = String::new();
    if let Some(name) = &profile.name {
        text.push_str(&format!("[profiles.{}]\n", clean(name)));
    }
    for (assignment, origin) in assignments {
        text.push_str(&format!("{:<width$}  # {}\n", clean(&assignment), clean(&origin)));
    }
    if let Some(note) = &profile.dropped_password {
        text.push_str(&format!("# {}\n", clean(note)));
    }
    printed(ui::print(&text))
}

/// The file that is to be changed; one that was named need not be there yet.
fn edit(common: &CommonArgs) -> Result<(Context, Edit, String), CliError> {
    let environment = Environment::of_process();
    let path = Files::user_path(common.config.as_deref(), &environment).ok_or_else(|| {
        let what = "there is no place for a configuration: neither XDG_CONFIG_HOME nor HOME is set";
        CliError::new(Exit::Configuration, what).hint("name a file: -C FILE")
    })?;
    let context = match common.context() {
        Err(error) if error.exit == Exit::NoInput && !path.exists() => {
            common.context_of(environment, Files::default())?
        }
        context => context?,
    };
    Ok((context, Edit::open(&path)?, path.display().to_string()))
}

fn add(args: &AddArgs) -> Result<Exit, CliError> {
    let (context, mut edit, path) = edit(&args.common)?;
    if args.name.is_empty() || args.name.chars().any(char::is_control) {
        return Err(CliError::usage("the name of a profile is a word"));
    }
    if edit.has_profile(&args.name) {
        return Err(CliError::usage(format!("there is a profile '{}' in {path} already", args.name))
            .hint(format!("remove it first: mailsend profile remove {}", args.name))
            .hint("or change it in the file"));
    }
    let mut settings: Vec<(String, String)> = Vec::new();
    for (key, value) in [("from", &args.from), ("server", &args.server)] {
        settings.extend(value.iter().map(|value| (key.to_owned(), value.clone())));
    }
    for option in &args.options {
        let Some((key, value)) = option.split_once('=') else {
            return Err(CliError::usage(format!("-o: '{}' has no '='", clean(option))).hint("-o KEY=VALUE"));
        };
        settings.push((key.trim().to_owned(), value.to_owned()));
    }
    // Every value is looked at before the file is touched, and nothing else than these.
    let request = Request {
        profile: None,
        server: args.server.clone(),
        sender: None,
        settings: settings
            .iter()
            .filter(|(key, _)| key != "server")
            .map(|(key, value)| (key.clone(), value.clone(), flag_of(key)))
            .collect(),
    };
    let profile = resolve(&request, &Files::default(), &Environment::default())?;
    if profile.server.is_none() {
        return Err(CliError::usage("the profile needs a server")
            .hint(format!("mailsend profile add {} --server smtps://USER@HOST --from ADDRESS", args.name)));
    }
    let is_first = profile_names(&context.files).is_empty();
    let folder = std::env::current_dir().unwrap_or_default();
    edit.add_profile(&args.name, &unfolded(settings), &folder);
    // As it will be read from the file.
    let files = Files { user: Some(edit.file()?), system: None };
    let request = Request { profile: Some(args.name.clone()), ..Request::default() };
    resolve(&request, &files, &Environment::default()).map_err(|error| match error {
        ConfigError::Value { what, hint, .. } => hint.into_iter().fold(CliError::usage(what), CliError::hint),
        other => other.into(),
    })?;
    let is_default = args.default || (is_first && edit.default_profile().is_none());
    if is_default {
        edit.set_default_profile(&args.name);
    }
    edit.save().map_err(cannot_write)?;
    if !context.is_quiet {
        let default = if is_default { ", the one used when none is named" } else { "" };
        ui::tell(&format!("added profile '{}' to {path}{default}", args.name));
        let which = if is_default { String::new() } else { format!(" --profile {}", args.name) };
        if profile.username.is_some() && profile.password.is_none() {
            ui::tell(&format!("next: mailsend login{which}"));
        }
        ui::tell(&format!("next: mailsend profile check{which}"));
    }
    Ok(Exit::Success)
}

fn flag_of(key: &str) -> String {
    if key == "from" { "--from".to_owned() } else { format!("-o {key}") }
}

/// The last of two values for one key holds.
fn unfolded(settings: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (at, (key, _)) in settings.iter().enumerate() {
        last.insert(key.clone(), at);
    }
    settings.into_iter().enumerate().filter(|(at, (key, _))| last.get(key) == Some(at)).map(|(_, pair)| pair).collect()
}

pub(super) fn cannot_write(error: ConfigError) -> CliError {
    match error {
        ConfigError::File { path, error } => {
            CliError::new(Exit::CannotCreate, format!("{} cannot be written", path.display())).source(error)
        }
        other => other.into(),
    }
}

fn no_such_profile(name: &str, path: &str, context: &Context) -> CliError {
    let error = CliError::new(Exit::Configuration, format!("there is no profile '{}' in {path}", clean(name)));
    let names = profile_names(&context.files);
    match crate::config::nearest(name, names.keys().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean '{near}'?")),
        None => error.hint("mailsend profile list names all"),
    }
}

fn remove(args: &RemoveArgs) -> Result<Exit, CliError> {
    let (context, mut edit, path) = edit(&args.common)?;
    if !edit.has_profile(&args.name) {
        return Err(no_such_profile(&args.name, &path, &context));
    }
    let heirs = heirs(&context.files, &args.name);
    if !heirs.is_empty() {
        let what = format!("profile '{}' is what others inherit from: {}", args.name, heirs.join(", "));
        return Err(CliError::usage(what).hint("remove those first, or give them what they need in the file"));
    }
    let user = selected(&context, Some(&args.name)).ok().and_then(|profile| profile.username);
    let was_default = edit.remove_profile(&args.name);
    edit.save().map_err(cannot_write)?;
    if !context.is_quiet {
        ui::tell(&format!("removed profile '{}' from {path}", args.name));
        if was_default {
            ui::tell("it was the default; name another: mailsend profile default NAME");
        }
        if let Some(user) = user {
            ui::tell(&format!(
                "a password of {} in the keyring stays there: mailsend logout --server smtp://USER@HOST",
                clean(&user)
            ));
        }
    }
    Ok(Exit::Success)
}

fn default(args: &DefaultArgs) -> Result<Exit, CliError> {
    let (context, mut edit, path) = edit(&args.common)?;
    let Some(name) = &args.name else {
        let profile = selected(&context, None)?;
        return match profile.name {
            Some(name) => printed(ui::print(&format!("{name}\n"))),
            None => Err(CliError::new(Exit::Configuration, "no profile is configured")
                .hint("mailsend profile add NAME --server smtps://USER@HOST --from ADDRESS")),
        };
    };
    if !profile_names(&context.files).contains_key(name) {
        return Err(no_such_profile(name, &path, &context));
    }
    edit.set_default_profile(name);
    edit.save().map_err(cannot_write)?;
    Ok(Exit::Success)
}
