//! `-bp` prints the queue as Postfix does, since scripts read it; `-q` sends what is in it.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use jiff::{Timestamp, tz::TimeZone};

use super::options::Which;
use crate::{
    cli::{
        CliError, Exit,
        args::{CommonArgs, Context, ProgressArg, ReportArgs, WhereArgs},
        printed, queue, ui, worker,
    },
    config::{resolve_queue, resolve_sendmail},
    mail::{State, clean},
    queue::{Drop, Entry, QueueError, Recipient, Status, Store},
};

const HEAD: &str = "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------";
/// Characters of a name; they tell millions apart.
const SHOWN: usize = 10;
/// What has not ended.
const OPEN: [Status; 3] = [Status::Waiting, Status::Leased, Status::Held];

/// Prints what waits, is held or is being sent.
pub(super) fn list(context: &Context) -> Result<Exit, CliError> {
    let (path, mut store) = own(context)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut names = Vec::new();
    store.list(&OPEN, &mut |outline| names.push(outline.name.clone()))?;
    let (mut count, mut octets) = (0_u64, 0_u64);
    let mut result = Ok(());
    for name in names {
        // What has been removed meanwhile is not there.
        let entry = match store.show(&name) {
            Err(QueueError::Unknown(_)) => continue,
            entry => entry?,
        };
        let head = if count == 0 { format!("{HEAD}\n") } else { String::new() };
        (count, octets) = (count + 1, octets + entry.outline.size);
        result = result.and_then(|()| writeln!(out, "{head}{}", lines(&entry, &TimeZone::system())));
    }
    let requests = if count == 1 { "Request" } else { "Requests" };
    let result = result.and_then(|()| match count {
        0 => writeln!(out, "Mail queue is empty"),
        _ => writeln!(out, "-- {} Kbytes in {count} {requests}.", octets.div_ceil(1024)),
    });
    let exit = printed(ui::written(result.and_then(|()| out.flush())))?;
    // Whoever reads the list believes that this is all.
    queue::tell_of_dropped(&path, &Context { is_quiet: false, ..context.clone() });
    Ok(exit)
}

/// The queue that the mail of this user goes into.
///
/// # Errors
/// 77, if that is another user's; of the queue.
fn own(context: &Context) -> Result<(PathBuf, Store), CliError> {
    let table = resolve_sendmail(&context.files, &context.environment)?;
    let folder = table.drop.as_deref().map(Drop::open).transpose()?;
    if let Some(folder) = folder.filter(|folder| !folder.is_ours()) {
        let own = queue::file(&resolve_queue(&context.files, &context.environment)?, context);
        // Who sends by a profile of their own has a queue of their own.
        if !own.is_ok_and(|path| path.exists()) {
            let what = "the mail of this machine is in the queue of its mail service, which only that can see";
            return Err(CliError::new(Exit::NoPermission, what).hint(format!(
                "as root: setpriv --reuid={0} --clear-groups mailq, or: sudo -u '#{0}' mailq",
                folder.owner()
            )));
        }
    }
    queue::own(context)
}

/// A message and its open recipients, below what was heard of them.
fn lines(entry: &Entry, zone: &TimeZone) -> String {
    let outline = &entry.outline;
    let mark = match outline.status {
        Status::Leased => '*',
        Status::Held => '!',
        _ => ' ',
    };
    let id = format!("{}{mark}", outline.name.chars().take(SHOWN).collect::<String>());
    let arrival = Timestamp::from_millisecond(outline.added).unwrap_or(Timestamp::MIN).to_zoned(zone.clone());
    let sender = outline.sender.as_deref().unwrap_or("MAILER-DAEMON");
    let mut text = format!(
        "{id:<11}{:>9} {:<20} {}\n",
        outline.size,
        arrival.strftime("%a %b %e %H:%M:%S").to_string(),
        clean(sender)
    );
    let mut heard: Option<&str> = None;
    if outline.status == Status::Held {
        heard = outline.why.as_deref();
        text.extend(heard.map(|why| format!("{:>41}({})\n", "", clean(why))));
    }
    let is_open = |recipient: &&Recipient| matches!(recipient.state, None | Some(State::Deferred | State::Unknown));
    for recipient in entry.all.iter().filter(is_open) {
        let text_of = recipient.text.as_deref();
        if text_of.is_some() && text_of != heard {
            heard = text_of;
            text.extend(heard.map(|why| format!("{:>41}({})\n", "", clean(why))));
        }
        text.push_str(&format!("{:>41}{}\n", "", clean(&recipient.address)));
    }
    text
}

/// Sends what is in the queue, due or not, and waits for it.
pub(super) fn run(which: &Which, context: Context, common: &CommonArgs) -> Result<Exit, CliError> {
    let (_, mut store) = own(&context)?;
    let mut names = Vec::new();
    store.list(&[Status::Waiting], &mut |outline| names.push(outline.name.clone()))?;
    let mut found = false;
    for name in names {
        if !is_meant(which, &name, &mut store)? {
            continue;
        }
        found = true;
        match store.retry(&name) {
            // Somebody else has it by now.
            Err(QueueError::Unknown(_) | QueueError::Standing { .. }) => {}
            retried => drop(retried?),
        }
    }
    if let (Which::Named(name), false) = (which, found) {
        return Err(QueueError::Unknown(name.clone()).into());
    }
    drop(store);
    let report = ReportArgs { report: None, format: None, progress: ProgressArg::None };
    match worker::drain_once(context, common, None, WhereArgs::default(), None, &report)? {
        // What is left stays in the queue, as it has to.
        Exit::TryAgain | Exit::Partial => Ok(Exit::Success),
        exit => Ok(exit),
    }
}

fn is_meant(which: &Which, name: &str, store: &mut Store) -> Result<bool, CliError> {
    let contains = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
    let (Which::Recipient(part) | Which::Sender(part)) = which else {
        return Ok(match which {
            Which::Named(beginning) => name.starts_with(beginning.as_str()),
            _ => true,
        });
    };
    let entry = match store.show(name) {
        Err(QueueError::Unknown(_)) => return Ok(false),
        entry => entry?,
    };
    Ok(match which {
        Which::Recipient(_) => entry.all.iter().any(|recipient| contains(&recipient.address, part)),
        _ => contains(entry.outline.sender.as_deref().unwrap_or("<>"), part),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Outline, Place};

    fn recipient(address: &str, state: Option<State>, text: Option<&str>) -> Recipient {
        Recipient {
            address: address.to_owned(),
            state,
            text: text.map(str::to_owned),
            remote_id: None,
            server: None,
            time: None,
        }
    }

    fn entry(status: Status, why: Option<&str>, all: Vec<Recipient>) -> Entry {
        Entry {
            outline: Outline {
                name: "4k7rabcdef0123456789".to_owned(),
                status,
                added: 1_795_406_400_000,
                due: None,
                expires: 0,
                priority: 0,
                attempts: 1,
                size: 1234,
                sender: Some("ada@example.com".to_owned()),
                recipients: 2,
                open: 2,
                failed: 0,
                first_recipient: "b@y.example".to_owned(),
                message_id: "<m@x>".to_owned(),
                why: why.map(str::to_owned),
            },
            place: Place::default(),
            key: None,
            worker: None,
            all,
        }
    }

    #[test]
    fn a_message_as_postfix_shows_it() {
        let all = vec![
            recipient("b@y.example", Some(State::Deferred), Some("450 4.2.0 greylisted\x1b[2J")),
            recipient("c@y.example", Some(State::Deferred), Some("450 4.2.0 greylisted\x1b[2J")),
            recipient("d@y.example", Some(State::Accepted), None),
            recipient("e@y.example", None, None),
        ];
        assert_eq!(
            lines(&entry(Status::Waiting, None, all), &TimeZone::UTC),
            "4k7rabcdef      1234 Mon Nov 23 04:00:00  ada@example.com\n\
             \x20                                        (450 4.2.0 greylisted\u{FFFD}[2J)\n\
             \x20                                        b@y.example\n\
             \x20                                        c@y.example\n\
             \x20                                        e@y.example\n"
        );
        let held = lines(&entry(Status::Held, Some("by hand"), Vec::new()), &TimeZone::UTC);
        assert!(held.starts_with("4k7rabcdef!     1234 "), "{held}");
        assert!(held.contains("(by hand)"));
        assert!(lines(&entry(Status::Leased, None, Vec::new()), &TimeZone::UTC).starts_with("4k7rabcdef* "));
    }
}
