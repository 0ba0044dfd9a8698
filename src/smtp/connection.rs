//! A stream on which commands and replies go in turn: until the login, and for the farewell.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};

use super::reader::{ReplyError, ReplyReader};
use crate::{
    mail::{Cause, Event, Reply, Stage, Step, Trouble, clean},
    net::{Stream, Tls, TlsInfo, refusal},
};

/// How long a farewell may take; nobody waits for its answer.
const FAREWELL: Duration = Duration::from_millis(200);

/// Where events of a session go.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The steps of the delivery, or a channel of the caller's own.
    pub steps: mpsc::Sender<Step>,
    /// Whether the dialogue is wanted.
    pub wants_trace: bool,
}

impl Listener {
    /// Tells a step of the session.
    pub async fn note(&self, text: impl Into<String>) {
        // Nobody looks any more: nothing to do about it here.
        let _ = self.steps.send(Step::Event(Event::Note(text.into()))).await;
    }

    /// Shows a line of the dialogue: `mark` says who speaks.
    pub async fn trace(&self, mark: &str, line: &str) {
        if self.wants_trace {
            let _ = self.steps.send(Step::Event(Event::Trace(format!("{mark} {}", clean(line))))).await;
        }
    }

    pub(super) async fn trace_reply(&self, reply: &Reply) {
        if self.wants_trace {
            for (number, line) in reply.lines.iter().enumerate() {
                let mark = if number + 1 == reply.lines.len() { ' ' } else { '-' };
                self.trace("<-", &format!("{}{mark}{line}", reply.code)).await;
            }
        }
    }
}

/// A stream, and the replies in it.
pub struct Connection {
    /// `None` after a failed handshake.
    stream: Option<Stream>,
    pub(super) replies: ReplyReader,
    pub(super) listener: Listener,
}

impl Connection {
    /// Takes over a connected stream.
    pub fn new(stream: Stream, listener: Listener) -> Self {
        Self { stream: Some(stream), replies: ReplyReader::default(), listener }
    }

    pub(super) fn parts(&mut self) -> Result<(&mut Stream, &mut ReplyReader), Trouble> {
        match &mut self.stream {
            Some(stream) => Ok((stream, &mut self.replies)),
            None => Err(Trouble::new(Stage::Connect, Cause::Internal, "the connection is used after its end")),
        }
    }

    /// Waits for the next reply.
    pub(super) async fn reply(&mut self, stage: Stage, limit: Duration) -> Result<Reply, Trouble> {
        let (stream, replies) = self.parts()?;
        let reading = async {
            let mut buffer = [0; 4096];
            loop {
                if let Some(reply) = replies.take().map_err(|error| protocol(stage, &error))? {
                    return Ok(reply);
                }
                match stream.read(&mut buffer).await {
                    Ok(0) => return Err(lost(stage, None)),
                    Ok(count) => replies.push(&buffer[..count]),
                    // With TLS 1.3 a refused certificate of ours is told after the handshake.
                    Err(error) if stage == Stage::Greeting => {
                        return Err(refusal(&error).unwrap_or_else(|| lost(stage, Some(&error))));
                    }
                    Err(error) => return Err(lost(stage, Some(&error))),
                }
            }
        };
        let reply = timeout(limit, reading).await.unwrap_or_else(|_| Err(timed_out(stage, limit)))?;
        self.listener.trace_reply(&self.replies.shown(&reply)).await;
        Ok(reply)
    }

    /// Sends a line and waits for its reply; `shown` stands for it in the trace.
    pub(super) async fn command(
        &mut self,
        line: &[u8],
        shown: &str,
        stage: Stage,
        limit: Duration,
    ) -> Result<Reply, Trouble> {
        if !self.replies.is_empty() {
            return Err(unasked(stage));
        }
        self.listener.trace("->", shown.trim_end()).await;
        let (stream, _) = self.parts()?;
        let writing = async {
            stream.write_all(line).await?;
            stream.flush().await
        };
        match timeout(limit, writing).await {
            // The server may have said why before it went.
            Ok(Ok(()) | Err(_)) => self.reply(stage, limit).await,
            Err(_) => Err(timed_out(stage, limit)),
        }
    }

    /// Makes this a connection over TLS; what came before TLS is forgotten.
    pub(super) async fn secure(&mut self, tls: &Tls, host: &str, limit: Duration) -> Result<TlsInfo, Trouble> {
        let Some(stream) = self.stream.take() else {
            return Err(Trouble::new(Stage::Tls, Cause::Internal, "the connection is used after its end"));
        };
        let handshake = tls.secure(stream, host);
        let (stream, info) = timeout(limit, handshake).await.unwrap_or_else(|_| Err(timed_out(Stage::Tls, limit)))?;
        self.stream = Some(stream);
        self.listener.trace("**", &format!("{} {}", info.version, info.cipher)).await;
        Ok(info)
    }

    /// Says QUIT and goes, without waiting for the answer.
    pub async fn quit(mut self) {
        self.listener.trace("->", "QUIT").await;
        if let Some(mut stream) = self.stream.take() {
            let farewell = async {
                stream.write_all(b"QUIT\r\n").await?;
                stream.shutdown().await
            };
            // Whether it arrives changes nothing.
            let _ = timeout(FAREWELL, farewell).await;
        }
    }
}

pub(super) fn protocol(stage: Stage, error: &ReplyError) -> Trouble {
    Trouble::new(stage, Cause::Protocol, error.to_string())
}

/// Something was said before it was asked for: whatever comes now cannot be told from it.
pub(super) fn unasked(stage: Stage) -> Trouble {
    Trouble::new(stage, Cause::Protocol, "the server is out of step: it answers what was not asked")
}

pub(super) fn lost(stage: Stage, error: Option<&std::io::Error>) -> Trouble {
    match error {
        // A peer that goes without saying so in TLS is gone all the same.
        Some(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            Trouble::new(stage, Cause::Lost, format!("the connection was lost: {error}"))
        }
        _ => Trouble::new(stage, Cause::Lost, "the server closed the connection"),
    }
}

pub(super) fn timed_out(stage: Stage, limit: Duration) -> Trouble {
    Trouble::new(stage, Cause::TimedOut, format!("no answer from the server within {} s", limit.as_secs_f32()))
}
