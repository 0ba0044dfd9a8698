//! Whether any server can take anything at all, for the feed, which gives up after a time in the dark.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::mail::{Event, Step};

/// Counts the lanes that can take something.
pub(super) struct Reach {
    open: Mutex<usize>,
    /// Changes are as rare as cool-downs are long.
    told: mpsc::UnboundedSender<bool>,
}

impl Reach {
    /// Of so many lanes that all can; the receiver learns in their order when the last one cannot any more, and when a
    /// first one can again.
    pub fn new(lanes: usize) -> (Self, mpsc::UnboundedReceiver<bool>) {
        let (told, changes) = mpsc::unbounded_channel();
        (Self { open: Mutex::new(lanes), told }, changes)
    }

    /// One lane can take something again, or cannot any more.
    pub fn change(&self, can: bool) {
        // Nothing in there is left half done. The lock is held while it is told: the order is what counts.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let was_dark = *open == 0;
        *open = if can { *open + 1 } else { open.saturating_sub(1) };
        let is_dark = *open == 0;
        if is_dark != was_dark {
            // If nobody listens, the delivery is at its end.
            let _ = self.told.send(is_dark);
        }
    }
}

/// Tells the feed, which may be slow to listen, of every change.
pub(super) async fn tell(mut changes: mpsc::UnboundedReceiver<bool>, steps: mpsc::Sender<Step>) {
    while let Some(is_dark) = changes.recv().await {
        // If the feed is gone, there is nobody to tell.
        let _ = steps.send(Step::Event(Event::Dark(is_dark))).await;
    }
}
