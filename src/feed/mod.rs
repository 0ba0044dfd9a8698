//! Where submissions come from, and who is told what became of them. A feed owns its source and its retries; it knows
//! no session, and a session knows no feed.

mod batch;
mod once;
mod queue;
mod recipe;

pub use batch::{Batch, BatchTold, Choice, End, Keeping, Manner, Preflight, Verdict};
pub use once::{Told, once};
pub use queue::{Broking, Drained, Draining, Facts, Maker, QueueTold, Refusal, Signals, Source, Ways, drain};
pub use recipe::{FileValue, Recipe, ReturnPath, Values, add_unsubscribe, dress, verp};
