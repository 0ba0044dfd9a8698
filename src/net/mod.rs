//! Byte streams to a server: connecting over every address of a host, or through a proxy, and TLS on top.
//!
//! Knows sockets, proxies and certificates, not what is spoken over them. Time limits of single reads and writes belong to
//! who speaks; here only connecting has one.

mod binding;
mod certificate;
mod dial;
mod dns;
pub mod http;
mod passage;
mod proxy;
mod tls;

use tokio::io::{AsyncRead, AsyncWrite};

pub use binding::ChannelBinding;
pub use certificate::Certificate;
pub use dial::{Endpoint, host_name};
pub use dns::Dns;
pub use passage::{Connected, Passage, dial};
pub use proxy::{Proxy, ProxyKind};
pub use tls::{Tls, TlsInfo, TlsPolicy, TlsVersion, refusal};

/// What a conversation runs over: a socket, TLS over a socket, a pipe.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// A stream whose kind has stopped to matter.
pub type Stream = Box<dyn ByteStream>;
