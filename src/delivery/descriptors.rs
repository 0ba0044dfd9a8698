//! Room for many connections: the limit on open files.

use crate::mail::Trouble;

/// What the program opens beside its connections: files of messages, records, look-ups.
#[cfg(unix)]
const OTHERS: u64 = 64;

/// Raises the process's limit on open files where so many connections need it.
///
/// # Errors
/// [`crate::mail::Cause::Configuration`] if the system's own limit is too low.
#[cfg(unix)]
pub fn make_room_for(connections: usize) -> Result<(), Trouble> {
    use crate::mail::{Cause, Stage};
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHERS);
    // No limit is told as none.
    let Rlimit { current: Some(current), maximum } = getrlimit(Resource::Nofile) else { return Ok(()) };
    if current >= wanted {
        return Ok(());
    }
    let most = maximum.unwrap_or(wanted);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum });
    if most >= wanted && raised.is_ok() {
        return Ok(());
    }
    let limit = if raised.is_ok() { most } else { current };
    let what = format!("{connections} connections do not fit into the limit of {limit} open files");
    Err(Trouble::new(Stage::Connect, Cause::Configuration, what)
        .hint(format!("raise it in the shell: ulimit -n {wanted}"))
        .hint(format!("or take fewer: -o pool.max-connections={}", limit.saturating_sub(OTHERS).max(1))))
}

/// Where there is no such limit there is room.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn make_room_for(_: usize) -> Result<(), Trouble> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_fits_fits_and_what_does_not_is_told() {
        assert!(make_room_for(1).is_ok());
        if let Err(trouble) = make_room_for(usize::MAX / 2) {
            assert!(trouble.hints[0].contains("ulimit -n "), "{trouble:?}");
        }
    }
}
