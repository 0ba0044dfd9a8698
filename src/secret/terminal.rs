//! Secrets that somebody types.

#[cfg(unix)]
use std::{
    fs::File,
    sync::{Mutex, Once, PoisonError},
    thread,
};

#[cfg(unix)]
use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise};
#[cfg(unix)]
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::SecretError;
use crate::mail::{Secret, clean};

/// The terminal and how it was before it was made silent.
#[cfg(unix)]
static SILENT: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Asks at the terminal, without echo.
///
/// # Errors
/// If there is no terminal, or nothing was typed.
pub fn prompt(user: &str, host: &str) -> Result<Secret, SecretError> {
    ask(&format!("Password for {user} at {host}: "))
}

/// Asks for the secret of an OAuth client, without echo; nothing may be typed where there is none.
///
/// # Errors
/// If there is no terminal.
pub fn prompt_client_secret(client_id: &str) -> Result<Secret, SecretError> {
    typed("client secret", &format!("Client secret of {client_id} (empty if there is none): "))
}

/// Asks this question at the terminal, without echo.
pub(super) fn ask(question: &str) -> Result<Secret, SecretError> {
    let typed = typed("password", question)?;
    if typed.is_empty() {
        return Err(SecretError::new("no password was typed"));
    }
    Ok(typed)
}

fn typed(what: &str, question: &str) -> Result<Secret, SecretError> {
    #[cfg(unix)]
    let _silence = Silence::new();
    rpassword::prompt_password(clean(question))
        .map(|typed| Secret::new(typed.into_bytes()))
        .map_err(|error| SecretError::new(format!("no {what} from the terminal: {error}")))
}

/// Gives the terminal back as it was, if somebody is being asked: the last thing before the process ends.
#[cfg(unix)]
pub(super) fn restore() {
    if let Some((terminal, before)) = SILENT.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Nobody is left to tell.
        let _ = tcsetattr(terminal, OptionalActions::Now, &before);
    }
}

/// Nothing to do.
#[cfg(not(unix))]
pub(super) fn restore() {}

/// A terminal that shows nothing of what is typed, and signals that wait until it does again; until it is dropped.
///
/// rpassword makes it silent, too, but writes its question before, and raises SIGINT while it is still silent.
#[cfg(unix)]
struct Silence {
    signals: Option<SigSet>,
}

#[cfg(unix)]
impl Silence {
    fn new() -> Self {
        let ends = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
        let ends = ends.into_iter().filter(|signal| !is_ignored(*signal as i32)).collect::<SigSet>();
        let signals = ends.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok();
        watch(ends);
        if let Some((terminal, before)) =
            File::open("/dev/tty").ok().and_then(|file| tcgetattr(&file).ok().map(|before| (file, before)))
        {
            let mut silent = before.clone();
            // Ctrl-C has to reach rpassword as a character: another thread could take the signal.
            silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
            let mut place = SILENT.lock().unwrap_or_else(PoisonError::into_inner);
            // A terminal that cannot be changed fails in rpassword, too, which says so.
            let _ = tcsetattr(&terminal, OptionalActions::Now, &silent);
            *place = Some((terminal, before));
        }
        Self { signals }
    }
}

#[cfg(unix)]
impl Drop for Silence {
    fn drop(&mut self) {
        restore();
        if let Some(before) = self.signals {
            // It was this thread's mask a moment ago.
            let _ = before.thread_set_mask();
        }
    }
}

/// Whether the process was started with this signal ignored. Where the system does not tell, none is.
#[cfg(unix)]
pub fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// From the first question on, a thread waits for signals that nobody else takes, while the one that asks holds them
/// back: it puts the terminal in order and lets them do what they would have done.
#[cfg(unix)]
fn watch(ends: SigSet) {
    static WATCH: Once = Once::new();
    // It has the mask of this thread, which holds them back.
    WATCH.call_once(|| {
        thread::spawn(move || {
            while let Ok(signal) = ends.wait() {
                restore();
                let one = SigSet::from(signal);
                // Here it is held back no more: it ends the process, or wakes who listens for it.
                let _ = raise(signal);
                let _ = one.thread_unblock();
                let _ = one.thread_block();
            }
        });
    });
}
