//! Where submissions come from, and who is told what became of them. A feed owns its source and its retries; it knows
//! no session, and a session knows no feed.

mod once;

pub use once::{Told, once};
