//! What aliases lead to on this machine gets the message as soon as it is safe for everybody else.

use std::sync::{
    Arc,
    atomic::{AtomicI32, Ordering},
};

use super::{
    CliError, Exit, runtime,
    signals::{die_of, listen},
    ui,
};
use crate::{
    config::{LocalPlace, Profile},
    mail::{Address, Content},
    secret,
    transport::deliver_locally,
};

/// What came of it.
#[derive(Debug, Default)]
struct Handed {
    delivered: usize,
    /// Of the first that failed.
    failed: Option<Exit>,
}

/// Delivers to these places once the addresses have it, if there were some, and combines what came of both. Where nobody
/// has it yet nobody gets it: all of it can be tried again.
///
/// # Errors
/// That of the addresses; no event loop.
pub fn hand_out_after(
    addresses: Option<Result<Exit, CliError>>,
    places: &[LocalPlace],
    content: &Content,
    sender: Option<&Address>,
    profile: &Profile,
) -> Result<Exit, CliError> {
    match addresses {
        Some(Err(error)) if error.exit != Exit::Partial => Err(error),
        Some(Ok(Exit::TryAgain)) => Ok(Exit::TryAgain),
        addresses => hand_out(places, content, sender, profile)?.with(addresses),
    }
}

/// Delivers to each of these places; one that fails does not stop the others, and is told at once.
///
/// # Errors
/// No event loop.
fn hand_out(
    places: &[LocalPlace],
    content: &Content,
    sender: Option<&Address>,
    profile: &Profile,
) -> Result<Handed, CliError> {
    let mut handed = Handed::default();
    if places.is_empty() {
        return Ok(handed);
    }
    secret::withhold(profile);
    secret::withhold_sources(profile.queue.password.iter());
    let signal = Arc::new(AtomicI32::new(0));
    let runtime = runtime()?;
    runtime.block_on(async {
        let stop = listen(signal.clone());
        for place in places {
            match deliver_locally(place, content, sender, profile.timeouts, &stop).await {
                Ok(()) => handed.delivered += 1,
                Err(trouble) => {
                    let error = CliError::from(trouble);
                    ui::show(&error);
                    handed.failed.get_or_insert(error.exit);
                }
            }
        }
    });
    runtime.shutdown_background();
    match signal.load(Ordering::Relaxed) {
        0 => {}
        number => die_of(number),
    }
    Ok(handed)
}

impl Handed {
    /// How it ends together with what came of the addresses, if there were some.
    ///
    /// # Errors
    /// That of the addresses.
    fn with(self, rest: Option<Result<Exit, CliError>>) -> Result<Exit, CliError> {
        let together = |exit: Exit| match (exit, self.failed) {
            (exit, None) if self.delivered == 0 => exit,
            (Exit::Success, None) => Exit::Success,
            // Some have it: doing all of it again is not simply right.
            (exit, _) if exit == Exit::Success || self.delivered > 0 => Exit::Partial,
            (exit, _) => exit,
        };
        match rest {
            None => Ok(match self.failed {
                Some(exit) if self.delivered == 0 => exit,
                Some(_) => Exit::Partial,
                None => Exit::Success,
            }),
            Some(Ok(exit)) => Ok(together(exit)),
            Some(Err(error)) => Err(CliError { exit: together(error.exit), ..error }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_exit_code_for_all() {
        use Exit::*;
        for (delivered, failed, rest, wanted) in [
            (0, None, Some(TryAgain), TryAgain),
            (0, None, Some(Success), Success),
            (0, None, None, Success),
            (2, None, None, Success),
            (2, None, Some(Success), Success),
            (2, None, Some(NoUser), Partial),
            (0, Some(TryAgain), None, TryAgain),
            (0, Some(TryAgain), Some(Success), Partial),
            (0, Some(Unavailable), Some(TryAgain), TryAgain),
            (1, Some(Io), None, Partial),
            (1, Some(Io), Some(Success), Partial),
        ] {
            let handed = || Handed { delivered, failed };
            let case = format!("{delivered} {failed:?} {rest:?}");
            assert_eq!(handed().with(rest.map(Ok)).unwrap(), wanted, "{case}");
            if let Some(rest) = rest.filter(|rest| *rest != Success) {
                let error = handed().with(Some(Err(CliError::new(rest, "x")))).unwrap_err();
                assert_eq!(error.exit, wanted, "{case}");
            }
        }
    }
}
