//! The options that put messages into the queue instead of sending them now.

use std::{fmt, time::Duration};

use clap::Args;
use jiff::{Timestamp, Zoned};

use super::moment;
use crate::{
    cli::{
        CliError, Exit,
        args::{Context, WhereArgs},
        message::PriorityArg,
        ui,
    },
    config::{Call, Profile, QueueTable, parse_duration},
    queue::{Place, Time},
};

/// Into the queue, and when out of it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Queue")]
pub struct LaterArgs {
    /// Put it into the queue and return once it is safe there
    ///
    /// It is composed at once, its files are copied. A worker sends it and tries again as long as it has to; where none
    /// runs it is begun in the background, for 10 seconds. See mailsend queue, mailsend worker.
    #[arg(long)]
    pub queue: bool,

    /// Into the queue, to be sent at this time: 2026-12-01T09:00:00Z, '2026-12-01 09:00', or 09:00 when it comes next
    #[arg(long, value_name = "TIME", conflicts_with = "delay")]
    pub at: Option<String>,

    /// Into the queue, to be sent after this time: 30m, 1h30m, 3d
    #[arg(long = "in", value_name = "TIME", allow_hyphen_values = true)]
    pub delay: Option<String>,

    /// Give up what nobody has accepted after this time (queue.lifetime)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub expires: Option<String>,
}

/// When a message goes out of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Terms {
    /// Not before this moment; at once, if none is named.
    pub due: Option<Time>,
    /// What is not accepted by then has failed.
    pub expires: Time,
}

impl fmt::Display for Terms {
    /// `sent as soon as possible`, `not before 2026-12-01T09:00:00Z`; until when.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = |time: Time| Timestamp::from_millisecond(time).unwrap_or(Timestamp::MAX);
        match self.due {
            Some(due) => write!(f, "not before {:.0}", moment(due))?,
            None => f.write_str("as soon as possible")?,
        }
        write!(f, ", until {:.0}", moment(self.expires))
    }
}

impl LaterArgs {
    /// Whether the message goes into the queue instead of being sent.
    pub fn is_wanted(&self) -> bool {
        self.queue || self.at.is_some() || self.delay.is_some()
    }

    /// Complains of options that say something about sending now.
    ///
    /// # Errors
    /// With what to do instead.
    pub fn check(&self, place: &WhereArgs, is_traced: bool) -> Result<(), CliError> {
        if !self.is_wanted() {
            return Ok(());
        }
        let never = |option: &str, why: &str| CliError::usage(format!("{option} has no meaning with --queue: {why}"));
        if place.password_fd.is_some() {
            return Err(never("--password-fd", "nobody holds that descriptor open when the message is sent")
                .hint("name a place that stays: --password-file FILE, --password-command COMMAND, or mailsend login"));
        }
        if place.retry > 0 {
            return Err(never("--retry", "what is in the queue is tried again until it expires")
                .hint("how long is --expires, how often are the keys of retry"));
        }
        if is_traced {
            return Err(
                never("--trace", "there is no dialogue yet").hint("see it when it is sent: mailsend queue run --trace")
            );
        }
        Ok(())
    }

    /// When the message is to go.
    ///
    /// # Errors
    /// What is no time.
    pub(in crate::cli) fn terms(&self, queue: &QueueTable, now: &Zoned, is_quiet: bool) -> Result<Terms, CliError> {
        let moment = now.timestamp();
        let later = |option: &str, text: &str| {
            parse_duration(text).map_err(|what| {
                let error = CliError::usage(format!("{option}: {what}"));
                if option == "--in" { error.hint("or name the moment: --at '2027-06-01 09:00'") } else { error }
            })
        };
        let due = match (&self.at, &self.delay) {
            (Some(text), _) => Some(moment::parse(text, now).map_err(|what| CliError::usage(format!("--at: {what}")))?),
            (None, Some(text)) => Some(after(moment, later("--in", text)?)),
            (None, None) => None,
        };
        if let (Some(due), Some(text)) = (due, &self.at)
            && due <= moment
            && !is_quiet
        {
            ui::tell(&crate::mail::clean(&format!("--at {text} is past: it goes at once")));
        }
        let due = due.filter(|due| *due > moment);
        let lifetime = match &self.expires {
            Some(text) => later("--expires", text)?,
            None => queue.lifetime,
        };
        if lifetime.is_zero() {
            return Err(CliError::usage("--expires: a time above 0 is wanted"));
        }
        let expires = after(due.unwrap_or(moment), lifetime).as_millisecond();
        Ok(Terms { due: due.map(Timestamp::as_millisecond), expires })
    }
}

/// Times have an end, too.
fn after(moment: Timestamp, time: Duration) -> Timestamp {
    moment.checked_add(time).unwrap_or(Timestamp::MAX)
}

/// What is higher goes first.
pub(in crate::cli) fn priority(priority: Option<PriorityArg>) -> i8 {
    match priority {
        Some(PriorityArg::High) => 1,
        Some(PriorityArg::Normal) | None => 0,
        Some(PriorityArg::Low) => -1,
    }
}

/// The way that messages of this call take, however much later.
///
/// # Errors
/// If a path is not UTF-8.
pub(in crate::cli) fn place(profile: &Profile, args: &WhereArgs, context: &Context) -> Result<Place, CliError> {
    let folder = std::env::current_dir().unwrap_or_default();
    let mut call = Call::of(profile, &folder);
    let file = args.password_file.clone().or_else(|| {
        let is_said = args.password_command.is_some() || context.environment.value("MAILSEND_PASSWORD").is_some();
        context.environment.path("MAILSEND_PASSWORD_FILE").filter(|_| !is_said)
    });
    let source = |name: &str, value: &str| format!("{{ {name} = {} }}", toml::Value::String(value.to_owned()));
    if let Some(file) = file {
        let Some(file) = file.to_str() else {
            return Err(CliError::new(Exit::Data, "--password-file: the queue keeps names in UTF-8 only"));
        };
        call.set("password", &source("file", file), &folder);
    } else if let Some(command) = &args.password_command {
        call.set("password", &source("command", command), &folder);
    }
    if profile.queue.url.is_some() {
        // Whoever may publish there would say which program a worker runs, and which file it reads.
        let said =
            call.server.map(|_| "--server".to_owned()).or_else(|| Some(format!("-o {}", call.settings.first()?.0)));
        if let Some(said) = said {
            return Err(CliError::usage(format!(
                "with RabbitMQ a message names its profile only: {said} would be lost"
            ))
            .hint("put it into a profile, on the machines of the workers: mailsend profile add NAME"));
        }
        return Ok(Place { profile: profile.name.clone(), ..Place::default() });
    }
    Ok(Place { profile: profile.name.clone(), server: call.server, settings: call.settings })
}

/// Says that whoever sends it needs a password that only we were given.
pub(in crate::cli) fn warn_of_password(profile: &Profile, args: &WhereArgs, context: &Context) {
    let is_given = args.password_command.is_some() || args.password_file.is_some();
    let has_source = is_given || profile.password.is_some() || profile.oauth.is_some();
    let is_set = context.environment.value("MAILSEND_PASSWORD").is_some();
    if is_set && profile.username.is_some() && !has_source && !context.is_quiet {
        ui::tell("the password in MAILSEND_PASSWORD is not kept: the worker needs it, too, or mailsend login");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Zoned {
        "2026-11-23T10:00:00+00:00[UTC]".parse().unwrap()
    }

    fn terms(args: &LaterArgs) -> Result<(Option<i64>, i64), String> {
        let terms = args.terms(&QueueTable::default(), &now(), true).map_err(|error| error.message)?;
        let since = |time: Time| (time - now().timestamp().as_millisecond()) / 1_000;
        Ok((terms.due.map(since), since(terms.expires)))
    }

    #[test]
    fn due_and_expiry() {
        let day = 86_400;
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(terms(&LaterArgs { queue: true, ..LaterArgs::default() }), Ok((None, 5 * day)));
        // The lifetime begins when the message is meant to go.
        assert_eq!(terms(&LaterArgs { delay: text("2h"), ..LaterArgs::default() }), Ok((Some(7_200), 5 * day + 7_200)));
        let until = LaterArgs { at: text("10:01"), expires: text("1h"), ..LaterArgs::default() };
        assert_eq!(terms(&until), Ok((Some(60), 3_660)));
        let shown = until.terms(&QueueTable::default(), &now(), true).unwrap().to_string();
        assert_eq!(shown, "not before 2026-11-23T10:01:00Z, until 2026-11-23T11:01:00Z");
        let past = LaterArgs { at: text("2026-11-23T09:00:00Z"), ..LaterArgs::default() };
        assert_eq!(terms(&past), Ok((None, 5 * day)));
        assert_eq!(terms(&LaterArgs { delay: text("0s"), ..LaterArgs::default() }), Ok((None, 5 * day)));
        for bad in [
            LaterArgs { expires: text("0"), ..LaterArgs::default() },
            LaterArgs { at: text("noon"), ..LaterArgs::default() },
            LaterArgs { delay: text("1 week"), ..LaterArgs::default() },
            LaterArgs { delay: text("-5m"), ..LaterArgs::default() },
            LaterArgs { delay: text("9999999d"), ..LaterArgs::default() },
        ] {
            assert!(terms(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_only_sending_now_knows() {
        let later = LaterArgs { delay: Some("1h".to_owned()), ..LaterArgs::default() };
        let code = |place: WhereArgs, is_traced| later.check(&place, is_traced).map_err(|error| error.exit);
        assert_eq!(code(WhereArgs { password_fd: Some(3), ..WhereArgs::default() }, false), Err(Exit::Usage));
        assert_eq!(code(WhereArgs { retry: 1, ..WhereArgs::default() }, false), Err(Exit::Usage));
        assert_eq!(code(WhereArgs::default(), true), Err(Exit::Usage));
        assert_eq!(code(WhereArgs::default(), false), Ok(()));
        assert!(LaterArgs::default().check(&WhereArgs { retry: 1, ..WhereArgs::default() }, true).is_ok());
    }
}
