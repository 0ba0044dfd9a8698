//! End to end: the real binary in a sealed environment, against scripted servers for faults and real ones for
//! agreement. What the server received is what is looked at.

mod support;

mod aliases;
mod bad_input;
mod batch;
mod command_line;
mod composing;
mod conversation;
mod doors;
mod engine;
mod fallback;
mod importing;
mod log;
mod login;
mod mailx;
mod oauth;
mod output;
mod passage;
mod profiles;
mod queue;
mod readme;
mod real;
mod report;
mod sasl;
mod sendmail;
mod setup;
mod sources;
mod starttls;
mod stores;
mod templates;
mod tls;
