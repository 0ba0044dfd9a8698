//! `mailsend login` where a provider logs in: shows what has to be done in a browser, and writes down how.

use std::{
    io::{self, BufRead, IsTerminal, Read},
    sync::mpsc::{self, Sender},
    thread,
    time::Duration,
};

use clap::Args;

use crate::{
    cli::{
        CliError, Exit,
        args::{CommonArgs, Context},
        profile::cannot_write,
        signals, ui,
    },
    config::{Edit, Files, OAuth, OAuthClient, StoreKind},
    mail::{Secret, clean},
    secret::{
        self, Wanted,
        oauth::{LoggedIn, Notice},
    },
};

/// Longest line that is taken for a secret or an address.
const MAX_LINE: u64 = 64 * 1024;

/// Who logs in, if not a password.
#[derive(Debug, Args)]
pub(super) struct OAuthArgs {
    /// Log in at google, microsoft or a custom provider; the profile keeps that
    #[arg(long, value_name = "PROVIDER", help_heading = "OAuth 2.0")]
    oauth: Option<String>,

    /// The client id that the provider has registered for you
    #[arg(long, value_name = "ID", requires = "oauth", help_heading = "OAuth 2.0")]
    client_id: Option<String>,

    /// Set any key of the profile, such as -o oauth.tenant=example.com; with --oauth the profile keeps it
    #[arg(short = 'o', value_name = "KEY=VALUE", allow_hyphen_values = true, help_heading = "OAuth 2.0")]
    options: Vec<String>,
}

impl OAuthArgs {
    /// Whether another way to log in is wanted.
    pub fn is_given(&self) -> bool {
        self.oauth.is_some()
    }

    /// The keys that are set for this call, with the flag that says so.
    pub fn settings(&self) -> Result<Vec<(String, String, String)>, CliError> {
        let mut settings = Vec::new();
        for (key, value, flag) in
            [("oauth.provider", &self.oauth, "--oauth"), ("oauth.client-id", &self.client_id, "--client-id")]
        {
            settings.extend(value.iter().map(|value| (key.to_owned(), value.clone(), flag.to_owned())));
        }
        for option in &self.options {
            let Some((key, value)) = option.split_once('=') else {
                return Err(CliError::usage(format!("-o: '{}' has no '='", clean(option))).hint("-o KEY=VALUE"));
            };
            settings.push((key.trim().to_owned(), value.to_owned(), format!("-o {}", clean(key))));
        }
        Ok(settings)
    }

    /// The profile's file with these keys in it, to be saved when the login has worked.
    fn edit(&self, common: &CommonArgs, context: &Context, wanted: &Wanted) -> Result<Option<Edit>, CliError> {
        let (Some(name), Some(_)) = (&wanted.profile_name, &self.oauth) else { return Ok(None) };
        let Some(path) = Files::user_path(common.config.as_deref(), &context.environment) else { return Ok(None) };
        let mut edit = Edit::open(&path)?;
        let settings: Vec<_> = self.settings()?.into_iter().map(|(key, value, _)| (key, value)).collect();
        edit.set_keys(name, &settings, &std::env::current_dir().unwrap_or_default());
        edit.file()?;
        Ok(Some(edit))
    }
}

/// Logs in as the profile's `oauth` says.
pub(super) fn login(
    args: &OAuthArgs,
    common: &CommonArgs,
    context: &Context,
    wanted: &Wanted,
    oauth: &OAuth,
    store: Option<StoreKind>,
) -> Result<Exit, CliError> {
    let settings = match oauth {
        OAuth::Client(settings) => settings,
        OAuth::Command(command) => {
            let what = format!("there is nothing to log in to: the command '{command}' brings the tokens");
            return Err(CliError::usage(what).hint("see whether it works: mailsend profile check"));
        }
    };
    // What cannot be written down is told before anybody consents.
    drop(args.edit(common, context, wanted)?);
    let secret = match secret::oauth::may_need_client_secret(settings) {
        true => client_secret(settings)?,
        false => None,
    };
    let (sender, pasted) = mpsc::channel();
    let mut sender = Some(sender);
    let mut show = |notice: &Notice| {
        tell_notice(notice);
        // Not before: until then somebody may be asked for a passphrase at the same terminal.
        if matches!(notice, Notice::Address { .. })
            && let Some(sender) = sender.take()
        {
            lines_of_stdin(sender);
        }
    };
    signals::settle_before_dying();
    let logged_in = secret::oauth::login(wanted, settings, secret, store, &mut show, &pasted)?;
    if let Some(edit) = args.edit(common, context, wanted)? {
        edit.save().map_err(cannot_write)?;
    }
    if !context.is_quiet {
        tell(args, wanted, logged_in);
    }
    Ok(Exit::Success)
}

fn tell(args: &OAuthArgs, wanted: &Wanted, logged_in: LoggedIn) {
    let whose = format!("{} at {}", clean(&wanted.user), wanted.host);
    match logged_in {
        LoggedIn::Stored(store) => {
            ui::tell(&format!("the {} holds the tokens of {whose}", wanted.store_name(store)));
        }
        LoggedIn::Proved => ui::tell(&format!("a token was given out for {whose}; there is nothing to store")),
    }
    match (&wanted.profile_name, &args.oauth) {
        (Some(name), Some(_)) => ui::tell(&format!("profile '{}' now logs in so", clean(name))),
        (None, Some(_)) => ui::tell("no profile keeps how: give the same as -o oauth.…=… with each call"),
        (_, None) => {}
    }
    if let Some(name) = &wanted.profile_name {
        ui::tell(&format!("next: mailsend profile check --profile {}", clean(name)));
    }
}

/// What the user has to see, whatever --quiet says: nothing goes on without it.
fn tell_notice(notice: &Notice) {
    match notice {
        Notice::Code { address, code, direct, lifetime } => {
            ui::tell("To log in, open this address in a browser, on any device:");
            ui::tell(&format!("  {address}"));
            ui::tell(&format!("and type this code, which is good for {}:", in_words(*lifetime)));
            ui::tell(&format!("  {code}"));
            if let Some(direct) = direct {
                ui::tell("This address brings the code along:");
                ui::tell(&format!("  {direct}"));
            }
        }
        Notice::Address { address, is_opened, limit } => {
            ui::tell(match is_opened {
                true => "A browser was started for the login. If none shows up, open this address:",
                false => "To log in, open this address in a browser:",
            });
            ui::tell(&format!("  {address}"));
            ui::tell(&format!(
                "Within {} it comes back here. If it runs on another machine and shows an error at the end, \
                 paste the address of that page here:",
                in_words(*limit)
            ));
        }
        Notice::Older(why) => ui::tell(&format!("but older tokens are still in another store: {why}")),
        Notice::NoAddress => ui::tell("That is no such address: it has a '?' and a code in it. Copy the whole of it:"),
    }
}

/// A time that is at most as long as it is: seconds below two minutes.
fn in_words(time: Duration) -> String {
    match time.as_secs() {
        1 => "1 second".to_owned(),
        seconds @ ..120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds / 60),
    }
}

/// The client's secret, typed or from standard input; `None` if there is none.
fn client_secret(settings: &OAuthClient) -> Result<Option<Secret>, CliError> {
    let secret = match io::stdin().is_terminal() {
        true => secret::prompt_client_secret(settings.client_id.as_deref().unwrap_or_default())?,
        false => Secret::new(
            next_line()
                .map_err(|error| CliError::no_input("standard input", error))?
                .map_or_else(Vec::new, String::into_bytes),
        ),
    };
    Ok(Some(secret).filter(|secret| !secret.is_empty()))
}

/// Hands over the lines of standard input, as they come.
fn lines_of_stdin(sender: Sender<String>) {
    thread::spawn(move || {
        while let Ok(Some(line)) = next_line() {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
}

/// The next line of standard input without its end; `None` at the end of everything.
fn next_line() -> io::Result<Option<String>> {
    let mut line = String::new();
    // One buffer serves all readers, so nothing behind the line is lost.
    let count = io::stdin().lock().take(MAX_LINE).read_line(&mut line)?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok((count > 0).then_some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_words() {
        let words = [1, 20, 119, 120, 299, 900].map(|seconds| in_words(Duration::from_secs(seconds)));
        assert_eq!(words, ["1 second", "20 seconds", "119 seconds", "2 minutes", "4 minutes", "15 minutes"]);
    }

    #[test]
    fn flags_become_keys() {
        let args = OAuthArgs {
            oauth: Some("microsoft".to_owned()),
            client_id: Some("id".to_owned()),
            options: vec!["oauth.tenant = x".to_owned()],
        };
        let keys: Vec<_> = args.settings().unwrap().into_iter().map(|(key, value, _)| key + "=" + &value).collect();
        assert_eq!(keys, ["oauth.provider=microsoft", "oauth.client-id=id", "oauth.tenant= x"]);
        let args = OAuthArgs { oauth: None, client_id: None, options: vec!["x".to_owned()] };
        assert!(args.settings().is_err());
    }
}
