//! SMTP and LMTP as a client, over any byte stream (RFC 5321, RFC 2033), and the server's side of SMTP.
//!
//! A [`Session`] is a connection that has greeted, secured and logged in; [`Exchange`] holds its transactions and
//! knows no I/O; [`converse`] moves bytes between the two. Reading never waits for writing. Who decides what is sent
//! next, and what is written down of it, is above. A [`Server`] is a session seen from the other end, without I/O, too.

mod capabilities;
mod command;
mod connection;
mod converse;
mod duty;
mod exchange;
mod output;
mod reader;
mod sasl;
mod server;
mod session;
mod terms;

pub use capabilities::Capabilities;
pub use connection::Listener;
pub(crate) use converse::changed;
pub use converse::{Ended, converse};
pub use duty::{Duty, Supply};
pub use exchange::{Awaited, Ending, Exchange, Out, Settlement};
pub use reader::{ReplyError, ReplyReader};
pub use server::{Limits, Next, Refusal, Server, Transaction};
pub use session::Session;
pub use terms::Terms;
