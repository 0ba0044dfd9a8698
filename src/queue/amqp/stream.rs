//! lapin over our own streams: connected and secured as those to mail servers are.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_compat::{Compat, CompatExt};
use async_rs::{
    Tokio,
    traits::{Executor, Reactor, RuntimeKit},
    util::Task,
};
use futures_core::Stream as Events;

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use crate::net::Stream;

/// tokio, with another kind of stream.
#[derive(Debug, Clone)]
pub(super) struct Kit(Tokio);

impl Kit {
    /// Of the runtime that runs now.
    pub fn current() -> Self {
        Self(Tokio::current())
    }
}

/// A stream in the words of lapin. Until somebody says that the connection is open it lives for this time only: lapin would
/// wait for ever for a server that says nothing.
pub(super) fn compatible(stream: Stream, limit: Duration, is_open: Arc<AtomicBool>) -> Compat<Stream> {
    let stream: Stream = Box::new(Mortal { stream, limit: Box::pin(tokio::time::sleep(limit)), is_open });
    stream.compat()
}

struct Mortal {
    stream: Stream,
    limit: Pin<Box<Sleep>>,
    is_open: Arc<AtomicBool>,
}

impl AsyncRead for Mortal {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, room);
        if read.is_pending()
            && !self.is_open.load(Ordering::Relaxed)
            && self.limit.as_mut().poll(context).is_ready()
            && !self.is_open.load(Ordering::Relaxed)
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Mortal {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(&self, future: F) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(&self, work: F) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for Kit {
    type TcpStream = Compat<Stream>;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// Of sockets of its own lapin has none.
    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl futures_io::AsyncRead + futures_io::AsyncWrite + Send + Unpin + 'static> {
        Err::<Compat<Stream>, _>(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn sleep(&self, time: Duration) -> Self::Sleep {
        self.0.sleep(time)
    }

    fn interval(&self, time: Duration) -> impl Events<Item = Instant> + Send + 'static {
        self.0.interval(time)
    }

    /// Whoever connects does it through `net`.
    #[allow(clippy::manual_async_fn, reason = "its future does not borrow")]
    fn tcp_connect_addr(&self, _: SocketAddr) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        async { Err(io::Error::from(io::ErrorKind::Unsupported)) }
    }
}
