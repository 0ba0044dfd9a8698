//! What must be finished before the process ends: an answer with a new refresh token that is not saved yet.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long an end waits for an answer that is under way; who pressed Ctrl-C does not wait for long.
const ASKING_LIMIT: Duration = Duration::from_secs(5);
/// How long it waits for an answer that is there to be saved.
const SAVING_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Counts {
    asking: usize,
    saving: usize,
}

static COUNTS: Mutex<Counts> = Mutex::new(Counts { asking: 0, saving: 0 });
static CHANGED: Condvar = Condvar::new();

/// Lives from the request to the end of saving.
#[derive(Debug)]
pub(super) struct Pending {
    is_saving: bool,
}

impl Pending {
    /// A request goes out that may use a token up.
    pub fn asking() -> Self {
        counts().asking += 1;
        Self { is_saving: false }
    }

    /// The answer is there.
    pub fn saving(&mut self) {
        if !std::mem::replace(&mut self.is_saving, true) {
            let mut counts = counts();
            counts.asking -= 1;
            counts.saving += 1;
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut counts = counts();
        match self.is_saving {
            true => counts.saving -= 1,
            false => counts.asking -= 1,
        }
        CHANGED.notify_all();
    }
}

fn counts() -> MutexGuard<'static, Counts> {
    // Two numbers are right whoever panicked.
    COUNTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until no new token is under way or unsaved. At most five seconds for
/// an answer, and thirty for saving it.
pub(in crate::secret) fn settle() {
    let start = Instant::now();
    let mut counts = counts();
    loop {
        let limit = match (counts.asking, counts.saving) {
            (0, 0) => return,
            (_, 0) => ASKING_LIMIT,
            _ => SAVING_LIMIT,
        };
        let Some(left) = limit.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else { return };
        // Looked at again: an answer that comes changes the limit without a word.
        let pause = left.min(Duration::from_millis(100));
        counts = CHANGED.wait_timeout(counts, pause).unwrap_or_else(PoisonError::into_inner).0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, thread};

    #[test]
    fn the_end_waits_for_what_is_pending() {
        let (sender, receiver) = mpsc::channel();
        let mut pending = Pending::asking();
        let waiting = thread::spawn(move || {
            settle();
            sender.send(()).unwrap();
        });
        pending.saving();
        assert!(receiver.recv_timeout(Duration::from_millis(200)).is_err(), "it did not wait");
        drop(pending);
        receiver.recv_timeout(Duration::from_secs(20)).unwrap();
        waiting.join().unwrap();
    }
}
