//! `mailsend profile`: what is configured, and changing it.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    CliError, Exit,
    args::{CommonArgs, Context},
    check, import, printed, setup, ui,
};
use crate::{
    config::{ConfigError, Edit, Environment, Files, Origin, Profile, Request, Server, heirs, profile_names, resolve},
    mail::clean,
};

/// List, show, add, import, remove or check profiles
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
    /// Set up an account: find its server, prove the login, write the profile, keep the password
    Add(setup::AddArgs),
    /// Take over profiles from msmtp, git or mutt
    Import(import::ImportArgs),
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
        ProfileCommand::Add(args) => setup::add(args),
        ProfileCommand::Import(args) => import::import(&args),
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
    let width = listed.iter().map(|profile| profile.name.chars().count()).max().unwrap_or(0).min(40);
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
pub(super) fn edit(common: &CommonArgs) -> Result<(Context, Edit, String), CliError> {
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
    let profile = selected(&context, Some(&args.name)).ok();
    let login = profile.and_then(|profile| match (profile.username, profile.server) {
        (Some(user), Some(Server::Network { endpoint, .. })) => Some(format!("smtp://{user}@{}", endpoint.host)),
        _ => None,
    });
    let was_default = edit.remove_profile(&args.name);
    edit.save().map_err(cannot_write)?;
    if !context.is_quiet {
        ui::tell(&format!("removed profile '{}' from {path}", args.name));
        if was_default {
            ui::tell("it was the default; name another: mailsend profile default NAME");
        }
        if let Some(login) = login {
            let login = clean(&login);
            ui::tell(&format!("what 'mailsend login' has kept for it stays there: mailsend logout --server {login}"));
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
