//! `mailsend login` and `mailsend logout`: what is kept for a user at a host, in the stores for secrets.

mod oauth;

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{
    CliError, Exit,
    args::{CommonArgs, Context, WhereArgs},
    printed, ui,
};
use crate::{
    config::{SecretSource, Server, StoreKind, resolve, resolve_secrets},
    mail::{Secret, clean},
    secret::{self, Wanted, stores},
};

/// Whose password.
#[derive(Debug, Args)]
struct WhoseArgs {
    /// The profile; the default one if none is named
    #[arg(short, long, alias = "account", value_name = "NAME")]
    profile: Option<String>,
    /// The server instead of a profile: smtp://USER@HOST
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The user
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
}

/// Store the password or the tokens of a profile in the keyring or another store
#[derive(Debug, Args)]
#[command(
    after_help = "The password is asked for at the terminal, without echo; elsewhere it is read from standard input. Where \
                  the profile has oauth, or with --oauth, the provider is logged in to with a browser instead."
)]
pub struct LoginArgs {
    #[command(flatten)]
    oauth: oauth::OAuthArgs,
    /// Keep it there; what is in another store is moved
    #[arg(long, value_name = "STORE")]
    store: Option<StoreArg>,
    /// List what is stored, without secrets
    #[arg(long, conflicts_with_all = ["profile", "server", "user", "store"])]
    list: bool,
    /// List it as JSON: "entries", and "silent" with each store that is there and could not be asked, which ends with 78
    #[arg(long, requires = "list")]
    json: bool,
    #[command(flatten)]
    whose: WhoseArgs,
}

/// Stores for secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StoreArg {
    /// The desktop's keyring
    Keyring,
    /// Keys of the Linux kernel, until the machine starts anew
    Keyutils,
    /// An encrypted file, see [secrets] in mailsend-config
    File,
}

/// Remove what is stored for a profile from all stores
#[derive(Debug, Args)]
pub struct LogoutArgs {
    #[command(flatten)]
    whose: WhoseArgs,
}

/// What is stored, as JSON.
#[derive(Debug, Serialize)]
struct Row<'a> {
    kind: &'static str,
    user: &'a str,
    host: &'a str,
    store: &'static str,
}

/// A store that is there and does not say what it has, as JSON.
#[derive(Debug, Serialize)]
struct Unasked<'a> {
    store: &'static str,
    reason: &'a str,
}

/// All of it as JSON.
#[derive(Debug, Serialize)]
struct List<'a> {
    entries: Vec<Row<'a>>,
    silent: Vec<Unasked<'a>>,
}

impl From<StoreArg> for StoreKind {
    fn from(store: StoreArg) -> Self {
        match store {
            StoreArg::Keyring => StoreKind::Keyring,
            StoreArg::Keyutils => StoreKind::Keyutils,
            StoreArg::File => StoreKind::File,
        }
    }
}

impl WhoseArgs {
    fn wanted(&self) -> Result<(Context, Wanted), CliError> {
        self.wanted_with(Vec::new())
    }

    /// The same with these keys, each with the flag that sets it.
    fn wanted_with(&self, settings: Vec<(String, String, String)>) -> Result<(Context, Wanted), CliError> {
        let context = self.common.context()?;
        let place = WhereArgs {
            profile: self.profile.clone(),
            server: self.server.clone(),
            user: self.user.clone(),
            ..WhereArgs::default()
        };
        let mut request = place.request()?;
        request.settings.extend(settings);
        let profile = resolve(&request, &context.files, &context.environment)?;
        match place.wanted(&profile, &context) {
            Some(wanted) => {
                stores::check_user(&wanted)?;
                Ok((context, wanted))
            }
            None if matches!(profile.server, Some(Server::Network { .. })) => {
                Err(CliError::new(Exit::Configuration, "no user is named to log in as")
                    .hint("name one: --user USER, or for good: username = \"USER\" in the profile"))
            }
            None => Err(CliError::new(Exit::Configuration, "no server is named to log in to")
                .hint("mailsend login --profile NAME, or --server smtp://USER@HOST")),
        }
    }
}

/// Stores a password, or moves what is stored, or lists it.
pub fn login(args: &LoginArgs) -> Result<Exit, CliError> {
    if args.list {
        return list(args);
    }
    let (context, wanted) = args.whose.wanted_with(args.oauth.settings()?)?;
    let store = args.store.map(StoreKind::from);
    if let (Some(asked), Some(named)) = (store, wanted.secrets.store)
        && asked != named
    {
        let (asked, named) = (asked.as_str(), named.as_str());
        let what =
            format!("--store {asked}: the configuration says [secrets] store = \"{named}\", and no other is asked");
        return Err(CliError::new(Exit::Configuration, what)
            .hint(format!("change that to: store = \"{asked}\""))
            .hint("or take it away: then all stores are asked"));
    }
    if let Some(oauth) = &wanted.oauth {
        if let Some(store) = store
            && !args.oauth.is_given()
            && moved(&wanted, store, &context)?
        {
            return Ok(Exit::Success);
        }
        return oauth::login(&args.oauth, &args.whose.common, &context, &wanted, oauth, store);
    }
    let account = stores::password_account(&wanted.user, &wanted.host);
    // Nobody types a password in vain.
    stores::reach(&wanted, &account, store)?;
    let kind = match store {
        Some(store) if moved(&wanted, store, &context)? => store,
        _ => {
            let secret = match io::stdin().is_terminal() {
                true => secret::prompt(&wanted.user, &wanted.host)?,
                false => read_line()?,
            };
            stores::save(&wanted, &account, &secret, store)?
        }
    };
    if !context.is_quiet {
        ui::tell(&format!("the {} holds the password of {} at {}", wanted.store_name(kind), wanted.user, wanted.host));
        match &wanted.profile {
            None => {}
            Some(SecretSource::Keyring) if kind == StoreKind::Keyring => {}
            Some(source) => {
                ui::tell(&format!("but the profile takes its password from {source}: take that setting away"))
            }
        }
        let which = args.whose.profile.as_ref().map_or_else(String::new, |name| format!(" --profile {name}"));
        ui::tell(&format!("next: mailsend profile check{which}"));
    }
    Ok(Exit::Success)
}

/// Moves password and tokens to this store; tells whether there was what the profile logs in with.
fn moved(wanted: &Wanted, store: StoreKind, context: &Context) -> Result<bool, CliError> {
    let (accounts, _held) = accounts(wanted, context)?;
    let mut has_wanted = false;
    for (account, is_tokens) in accounts {
        let Some(from) = stores::relocate(wanted, &account, store)? else { continue };
        has_wanted |= is_tokens == wanted.oauth.is_some();
        if !context.is_quiet {
            let kind = stores::kind_of(&account);
            let (from, to) = (wanted.store_name(from), wanted.store_name(store));
            ui::tell(&format!("moved the {kind} of {} at {} from the {from} to the {to}", wanted.user, wanted.host));
        }
    }
    Ok(has_wanted)
}

/// The accounts of password and tokens, and whether it holds tokens, with the lock under which another process would
/// renew them. Without OAuth and without that lock the tokens are left alone.
fn accounts(wanted: &Wanted, context: &Context) -> Result<(Vec<(String, bool)>, Option<impl Sized>), CliError> {
    let mut accounts = vec![(stores::password_account(&wanted.user, &wanted.host), false)];
    let held = match secret::oauth::hold(wanted) {
        Ok(held) => Some(held),
        Err(error) if wanted.oauth.is_some() => return Err(error.into()),
        Err(error) => {
            if !context.is_quiet {
                ui::tell(&format!("tokens, if there are some, are left alone: {}", error.what));
            }
            None
        }
    };
    if held.is_some() {
        accounts.push((stores::token_account(&wanted.user, &wanted.host), true));
    }
    Ok((accounts, held))
}

/// Lists what is stored.
fn list(args: &LoginArgs) -> Result<Exit, CliError> {
    let context = args.whose.common.context()?;
    let secrets = resolve_secrets(&context.files, &context.environment)?;
    let (entries, silent) = stores::list(&secrets, &context.environment);
    let rows: Vec<Row<'_>> = entries
        .iter()
        .map(|entry| Row {
            kind: if entry.is_tokens { "tokens" } else { "password" },
            user: &entry.user,
            host: &entry.host,
            store: entry.store.as_str(),
        })
        .collect();
    for store in &silent {
        // That a list is not complete is no matter of taste.
        if !store.is_absent || (!context.is_quiet && !args.json) {
            ui::tell(&format!("the {} cannot be asked: {}", store.name, clean(&store.reason)));
        }
    }
    let silent: Vec<Unasked<'_>> = silent
        .iter()
        .filter(|store| !store.is_absent)
        .map(|store| Unasked { store: store.store.as_str(), reason: &store.reason })
        .collect();
    let exit = if silent.is_empty() { Exit::Success } else { Exit::Configuration };
    if args.json {
        let list = List { entries: rows, silent };
        // Strings always have a JSON form.
        return printed(ui::print(&(serde_json::to_string_pretty(&list).unwrap_or_default() + "\n"))).map(|_| exit);
    }
    if rows.is_empty() && silent.is_empty() && !context.is_quiet {
        ui::tell("Nothing is stored. Store a password: mailsend login --profile NAME");
    }
    let width = |pick: fn(&Row<'_>) -> usize| rows.iter().map(pick).max().unwrap_or(0);
    let (users, hosts) = (width(|row| row.user.chars().count()), width(|row| row.host.chars().count()));
    let text: String = rows
        .iter()
        .map(|row| {
            let (user, host) = (clean(row.user), clean(row.host));
            format!("{:<8}  {user:<users$}  {host:<hosts$}  {}\n", row.kind, row.store)
        })
        .collect();
    printed(ui::print(&text)).map(|_| exit)
}

/// Forgets password and tokens.
pub fn logout(args: &LogoutArgs) -> Result<Exit, CliError> {
    let (context, wanted) = args.whose.wanted()?;
    // A renewal under way would bring the tokens back.
    let (accounts, held) = accounts(&wanted, &context)?;
    if held.is_some() {
        secret::oauth::forget_unsaved(&wanted);
    }
    let accounts: Vec<&str> = accounts.iter().map(|(account, _)| account.as_str()).collect();
    let (removed, failure) = stores::forget_all(&wanted, &accounts);
    let whose = format!("{} at {}", wanted.user, wanted.host);
    if !context.is_quiet {
        for (store, account) in &removed {
            let (store, kind) = (wanted.store_name(*store), stores::kind_of(account));
            ui::tell(&format!("the {store} holds no {kind} any more of {whose}"));
        }
    }
    match failure {
        Some(error) => Err(error.into()),
        None => {
            if removed.is_empty() && !context.is_quiet {
                ui::tell(&format!("no store held a password of {whose}"));
            }
            Ok(Exit::Success)
        }
    }
}

fn read_line() -> Result<Secret, CliError> {
    secret::of_stdin().map_err(|error| match error.kind() {
        io::ErrorKind::Other => {
            CliError::usage(format!("one line with the password is wanted on standard input: {error}"))
        }
        _ => CliError::no_input("standard input", error),
    })
}
