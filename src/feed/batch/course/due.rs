//! What waits for its time, the soonest first.

use std::cmp::Ordering;

use tokio::time::Instant;

use crate::feed::batch::press::Ticket;

/// A ticket whose time comes.
pub(super) struct Due {
    pub at: Instant,
    pub number: u64,
    pub ticket: Ticket,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
