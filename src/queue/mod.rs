//! The queue: messages that are kept, and sent later by whoever drains it.
//!
//! A store, not a sender: it keeps composed messages with their envelopes, says which are due, who has them, and what
//! came of them. It knows no server and no door, composes nothing and shows nothing.

pub mod amqp;
mod drop;
mod error;
mod fallback;
mod foreign;
mod inlet;
mod job;
mod letter;
mod store;
mod worker;

pub use drop::{Drop, Dropped, Intake};
pub use error::QueueError;
pub use fallback::file;
pub use foreign::{Expiry, Foreign, ForeignFile, ForeignSource};
pub use inlet::Inlet;
pub use job::{Claim, Entry, Job, Next, Outline, Place, Recipient, Settlement, Stats, Status, Time, Untold};
pub use letter::Letter;
pub use store::{Added, First, Store};
pub use worker::Worker;
