//! What all end-to-end tests use: a sealed place to run the binary in, and servers to run it against.

pub mod broker;
mod certificates;
mod dice;
mod disk;
pub mod identity;
pub mod machine;
mod proxy;
pub mod real;
mod sandbox;
mod server;
pub mod sink;

pub use certificates::{Identity, authority};
pub use dice::Dice;
pub use disk::SmallDisk;
pub use proxy::{Manner, Proxy};
pub use sandbox::{Run, Sandbox, finish, run_to_end, traces_of};
pub use server::{Server, Talk};
