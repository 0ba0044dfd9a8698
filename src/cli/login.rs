//! `mailsend login` and `mailsend logout`: the password of a user at a host, in the keyring.

use std::io::{self, IsTerminal, Read};

use clap::Args;

use super::{
    CliError, Exit,
    args::{CommonArgs, Context, WhereArgs},
    ui,
};
use crate::{
    config::{Server, resolve},
    mail::Secret,
    secret::{self, Wanted, stores},
};

/// Longest line that is taken for a password.
const MAX_PASSWORD: u64 = 64 * 1024;

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

/// Store the password of a profile in the keyring
#[derive(Debug, Args)]
#[command(
    after_help = "The password is asked for at the terminal, without echo; elsewhere it is read from standard input."
)]
pub struct LoginArgs {
    #[command(flatten)]
    whose: WhoseArgs,
}

/// Remove the password of a profile from the keyring
#[derive(Debug, Args)]
pub struct LogoutArgs {
    #[command(flatten)]
    whose: WhoseArgs,
}

impl WhoseArgs {
    fn wanted(&self) -> Result<(Context, Wanted), CliError> {
        let context = self.common.context()?;
        let place = WhereArgs {
            profile: self.profile.clone(),
            server: self.server.clone(),
            user: self.user.clone(),
            ..WhereArgs::default()
        };
        let profile = resolve(&place.request()?, &context.files, &context.environment)?;
        match place.wanted(&profile, &context) {
            Some(wanted) => Ok((context, wanted)),
            None if matches!(profile.server, Some(Server::Network { .. })) => {
                Err(CliError::new(Exit::Configuration, "no user is named to log in as")
                    .hint("name one: --user USER, or for good: username = \"USER\" in the profile"))
            }
            None => Err(CliError::new(Exit::Configuration, "no server is named to log in to")
                .hint("mailsend login --profile NAME, or --server smtp://USER@HOST")),
        }
    }
}

/// Stores a password.
pub fn login(args: &LoginArgs) -> Result<Exit, CliError> {
    let (context, wanted) = args.whose.wanted()?;
    let account = stores::password_account(&wanted.user, &wanted.host);
    // Nobody types a password in vain.
    stores::reach(&wanted, &account, None)?;
    let secret = match io::stdin().is_terminal() {
        true => secret::prompt(&wanted.user, &wanted.host)?,
        false => read_line()?,
    };
    let kind = stores::save(&wanted, &account, &secret, None)?;
    if !context.is_quiet {
        let store = stores::name(kind, &wanted.secrets, &wanted.environment);
        ui::tell(&format!("the {store} holds the password of {} at {}", wanted.user, wanted.host));
        let which = args.whose.profile.as_ref().map_or_else(String::new, |name| format!(" --profile {name}"));
        ui::tell(&format!("next: mailsend profile check{which}"));
    }
    Ok(Exit::Success)
}

/// Forgets a password.
pub fn logout(args: &LogoutArgs) -> Result<Exit, CliError> {
    let (context, wanted) = args.whose.wanted()?;
    let mut removed = Vec::new();
    for account in
        [stores::password_account(&wanted.user, &wanted.host), stores::token_account(&wanted.user, &wanted.host)]
    {
        removed.extend(stores::forget(&wanted, &account)?);
    }
    if !context.is_quiet {
        for kind in &removed {
            let store = stores::name(*kind, &wanted.secrets, &wanted.environment);
            ui::tell(&format!("the {store} holds no password any more of {} at {}", wanted.user, wanted.host));
        }
        if removed.is_empty() {
            ui::tell(&format!("no store held a password of {} at {}", wanted.user, wanted.host));
        }
    }
    Ok(Exit::Success)
}

fn read_line() -> Result<Secret, CliError> {
    let mut bytes = Vec::with_capacity(MAX_PASSWORD as usize);
    io::stdin()
        .take(MAX_PASSWORD)
        .read_to_end(&mut bytes)
        .map_err(|error| CliError::no_input("standard input", error))?;
    while bytes.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        bytes.pop();
    }
    if bytes.is_empty() || bytes.contains(&b'\n') {
        return Err(CliError::usage("one line with the password is wanted on standard input"));
    }
    Ok(Secret::new(bytes))
}
