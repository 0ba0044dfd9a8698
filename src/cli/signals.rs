//! Signals: what they ask for, and an end as they would have made it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
        mpsc,
    },
    thread,
};

#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::runtime;
use crate::{mail::Stop, secret, smtp::changed};

/// The first signal asks to end, the second to end now. The number of the first is kept.
#[cfg(unix)]
pub fn listen(first: Arc<AtomicI32>) -> watch::Receiver<Stop> {
    listen_for(&[SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()], &first)
}

/// The same for who lives on when its terminal has gone; see [`hangups`].
#[cfg(unix)]
pub fn listen_but_for_hangups(first: Arc<AtomicI32>) -> watch::Receiver<Stop> {
    listen_for(&[SignalKind::interrupt(), SignalKind::terminate()], &first)
}

#[cfg(unix)]
fn listen_for(kinds: &[SignalKind], first: &Arc<AtomicI32>) -> watch::Receiver<Stop> {
    let (sender, stop) = watch::channel(Stop::No);
    for kind in kinds.iter().copied() {
        // Who started us with nohup, or in the background of a script, wants it so.
        if secret::is_ignored(kind.as_raw_value()) {
            continue;
        }
        let (sender, first) = (sender.clone(), first.clone());
        // A signal that cannot be listened for keeps its default.
        if let Ok(mut signals) = signal(kind) {
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    let is_first =
                        first.compare_exchange(0, kind.as_raw_value(), Ordering::Relaxed, Ordering::Relaxed).is_ok();
                    sender.send_replace(if is_first { Stop::Drain } else { Stop::Now });
                }
            });
        }
    }
    stop
}

/// No signals.
#[cfg(not(unix))]
pub fn listen(_first: Arc<AtomicI32>) -> watch::Receiver<Stop> {
    watch::channel(Stop::No).1
}

/// No signals.
#[cfg(not(unix))]
pub fn listen_but_for_hangups(first: Arc<AtomicI32>) -> watch::Receiver<Stop> {
    listen(first)
}

/// Wishes that the configuration be read again, as SIGHUP says them to a service.
pub struct Hangups {
    #[cfg(unix)]
    signals: Option<tokio::signal::unix::Signal>,
}

/// Listens for them, if they are wanted: from then on they end nothing.
pub fn hangups(is_wanted: bool) -> Hangups {
    #[cfg(unix)]
    // Without it the signal keeps its default.
    return Hangups { signals: is_wanted.then(|| signal(SignalKind::hangup()).ok()).flatten() };
    #[cfg(not(unix))]
    {
        let _ = is_wanted;
        Hangups {}
    }
}

impl Hangups {
    /// Waits for the next one. Dropping the future loses nothing.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signals) = &mut self.signals
            && signals.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}

/// Ends as the signal would have ended the process: the caller's shell has to see it.
#[cfg(unix)]
pub fn die_of(signal: i32) {
    // If that is not possible, the exit code has to do.
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

/// No signals.
#[cfg(not(unix))]
pub fn die_of(_signal: i32) {}

/// Lets the first signal wait until no new token is unsaved, and the second end the process at once; for commands that
/// block and have nothing else to bring to an end.
pub fn settle_before_dying() {
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || {
        // Without an event loop signals keep their defaults.
        let Ok(runtime) = runtime() else { return };
        let first = Arc::new(AtomicI32::new(0));
        runtime.block_on(async {
            let mut stop = listen(first.clone());
            // Nobody waits any more.
            let _ = ready.send(());
            changed(&mut stop).await;
            tokio::select! {
                _ = tokio::task::spawn_blocking(secret::settle) => {}
                _ = changed(&mut stop) => {}
            }
        });
        die_of(first.load(Ordering::Relaxed));
    });
    // An error means that the thread has ended.
    let _ = is_ready.recv();
}
