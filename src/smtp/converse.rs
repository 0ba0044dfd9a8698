//! Moves bytes between an [`Exchange`] and its connection: reads whatever comes while it writes, asks for consent
//! before the last bytes of a message, keeps the time limits.

use std::{future::pending, io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    connection::{lost, protocol, timed_out, unasked},
    exchange::{Awaited, Ending, Exchange},
    output::{Consent, FileBlocks, Output},
    session::Session,
    terms::Terms,
};
use crate::{
    config::Timeouts,
    mail::{Cause, Route, Stage, Step, Stop, Submission, Submissions, Trouble},
};

const READ_SIZE: usize = 16 * 1024;
/// After a failed write the server may still have said something.
const AFTERMATH: Duration = Duration::from_secs(5);

/// What a session works with.
#[derive(Debug, Clone)]
pub struct Work {
    /// Where submissions come from.
    pub submissions: Submissions,
    /// Where steps go.
    pub steps: mpsc::Sender<Step>,
    /// Whether to stop.
    pub stop: watch::Receiver<Stop>,
    /// How records name this way.
    pub route: Arc<Route>,
}

/// Why a session has ended. All its submissions are settled or handed back.
#[derive(Debug)]
pub enum Ended {
    /// No more submissions come, or delivery is to stop; QUIT was said.
    Drained,
    /// Nothing is wrong, but another session shall go on; QUIT was said.
    Replace,
    /// The session is of no use any more.
    Broken(Trouble),
    /// No session to this server is of use.
    Stop(Trouble),
}

/// What comes next.
enum Happening {
    Stop(Stop),
    Read(io::Result<usize>),
    Consent(bool),
    Taken(Option<Submission>),
    Block(Option<io::Result<Vec<u8>>>),
    Written(io::Result<usize>),
    Flushed(io::Result<()>),
    Deadline,
}

/// Carries `first` and then whatever comes, until nothing comes any more or the session is over.
pub async fn converse(
    session: Session,
    terms: Terms,
    timeouts: &Timeouts,
    first: Submission,
    work: &mut Work,
) -> Ended {
    let is_tls = session.tls.is_some();
    let mut connection = session.into_connection();
    let mut exchange = Exchange::new(terms);
    exchange.take(first);
    if !connection.replies.is_empty() {
        exchange.end(unasked(Stage::Mail));
    }
    let mut output = Output::new(connection.listener.clone(), is_tls);
    let mut buffer = vec![0; READ_SIZE];
    let mut activity = Instant::now();
    let mut more_comes = true;
    let mut drain_until = None;
    work.stop.mark_changed();
    loop {
        report(&mut exchange, work).await;
        if exchange.ending().is_some() || (exchange.is_idle() && (exchange.is_retiring() || !more_comes)) {
            break;
        }
        // What is ready goes into the same window, and under the same consent.
        while exchange.room() > 0
            && let Some(submission) = work.submissions.ready()
        {
            exchange.take(submission);
        }
        output.fill(&mut exchange, &work.steps).await;
        let limit = match exchange.awaited() {
            _ if output.failure.is_some() => Some(AFTERMATH),
            _ if output.is_under_way() => Some(timeouts.content),
            Some(Awaited::Command) => Some(timeouts.command),
            Some(Awaited::FinalReply) => Some(timeouts.final_reply),
            None => None,
        };
        let deadline = [limit.map(|limit| activity + limit), drain_until].into_iter().flatten().min();
        let (reader, writer, replies) = match connection.halves() {
            Ok(halves) => halves,
            Err(trouble) => {
                exchange.end(trouble);
                continue;
            }
        };
        let (has_bytes, needs_flush, wants_block) = (output.has_bytes(), output.needs_flush(), output.wants_block());
        let (consent, blocks, bytes) = output.parts();
        let happening = tokio::select! {
            biased;
            stop = changed(&mut work.stop) => Happening::Stop(stop),
            read = reader.read(&mut buffer) => Happening::Read(read),
            given = given(consent) => Happening::Consent(given),
            taken = work.submissions.next(), if more_comes && exchange.room() > 0 => Happening::Taken(taken),
            block = block(blocks), if wants_block => Happening::Block(block),
            written = async {
                if has_bytes {
                    Happening::Written(writer.write(bytes).await)
                } else {
                    Happening::Flushed(writer.flush().await)
                }
            }, if has_bytes || needs_flush => written,
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Happening::Deadline,
        };
        match happening {
            Happening::Stop(Stop::No) => {}
            Happening::Stop(Stop::Drain) => {
                exchange.retire();
                drain_until = Some(Instant::now() + Stop::DRAIN);
            }
            Happening::Stop(Stop::Now) => exchange.end(stopped()),
            Happening::Read(Ok(0)) => exchange.end(output.failure.take().unwrap_or_else(|| lost(Stage::Data, None))),
            Happening::Read(Ok(count)) => {
                replies.push(&buffer[..count]);
                while exchange.ending().is_none() {
                    match connection.replies.take() {
                        Ok(Some(reply)) => {
                            activity = Instant::now();
                            connection.listener.trace_reply(&reply).await;
                            exchange.reply(reply);
                        }
                        Ok(None) => break,
                        Err(error) => exchange.end(protocol(Stage::Data, &error)),
                    }
                }
            }
            Happening::Read(Err(error)) => {
                exchange.end(output.failure.take().unwrap_or_else(|| lost(Stage::Data, Some(&error))));
            }
            Happening::Consent(true) => {
                output.consented();
                activity = Instant::now();
            }
            Happening::Consent(false) => exchange.end(stopped()),
            Happening::Taken(Some(submission)) => {
                if exchange.is_idle() {
                    activity = Instant::now();
                }
                exchange.take(submission);
            }
            Happening::Taken(None) => more_comes = false,
            Happening::Block(block) => output.block(block, &mut exchange),
            Happening::Written(Ok(count)) if count > 0 => {
                activity = Instant::now();
                output.wrote(count, &mut exchange);
            }
            Happening::Written(Ok(_)) => output.failed(lost(Stage::Data, None)),
            Happening::Written(Err(error)) | Happening::Flushed(Err(error)) => {
                output.failed(lost(Stage::Data, Some(&error)));
                activity = Instant::now();
            }
            Happening::Flushed(Ok(())) => output.flushed(),
            Happening::Deadline if drain_until.is_some_and(|until| until <= Instant::now()) => exchange.end(stopped()),
            Happening::Deadline => {
                let trouble = output.failure.take();
                exchange.end(trouble.unwrap_or_else(|| timed_out(Stage::Data, limit.unwrap_or_default())));
            }
        }
    }
    report(&mut exchange, work).await;
    match exchange.ending() {
        Some(Ending::Broken(trouble)) => Ended::Broken(trouble.clone()),
        Some(Ending::Stop(trouble)) => Ended::Stop(trouble.clone()),
        None => {
            connection.quit().await;
            if more_comes && drain_until.is_none() { Ended::Replace } else { Ended::Drained }
        }
    }
}

/// Waits for another wish to stop. When nobody is left to wish, forever.
pub(crate) async fn changed(stop: &mut watch::Receiver<Stop>) -> Stop {
    match stop.changed().await {
        Ok(()) => *stop.borrow_and_update(),
        Err(_) => pending().await,
    }
}

async fn given(consent: &mut Option<Consent>) -> bool {
    match consent {
        Some(consent) => consent.await,
        None => pending().await,
    }
}

async fn block(blocks: &mut Option<FileBlocks>) -> Option<io::Result<Vec<u8>>> {
    match blocks {
        Some(blocks) => blocks.recv().await,
        None => pending().await,
    }
}

/// Hands settlements and what comes back to the feed. If it is gone, there is nobody to tell.
async fn report(exchange: &mut Exchange, work: &Work) {
    for settlement in exchange.take_settled() {
        let (id, outcomes) = (settlement.id, settlement.outcomes);
        let _ = work.steps.send(Step::Settled { id, route: work.route.clone(), outcomes }).await;
    }
    for submission in exchange.take_handed_back() {
        let _ = work.steps.send(Step::Later(submission)).await;
    }
}

fn stopped() -> Trouble {
    Trouble::new(Stage::Data, Cause::Stopped, "stopped by a signal")
}
