//! Moves bytes between an [`Exchange`] and its connection: reads whatever comes while it writes, asks for consent
//! before the last bytes of a message, keeps the time limits.

use std::{
    future::{Future, pending, poll_fn},
    io,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
    time::{Instant, Sleep, sleep},
};

use super::{
    connection::{Connection, lost, protocol, timed_out, unasked},
    duty::{Duty, Supply},
    exchange::{Awaited, Ending, Exchange},
    output::Output,
    session::Session,
    terms::Terms,
};
use crate::{
    config::Timeouts,
    mail::{Cause, Stage, Step, Stop, Submission, Trouble},
};

const READ_SIZE: usize = 16 * 1024;
/// After a failed write the server may still have said something.
const AFTERMATH: Duration = Duration::from_secs(5);

/// Why a session has ended. All its submissions are settled or handed back.
#[derive(Debug)]
pub enum Ended {
    /// Nothing that speaks against the server. No more submissions came to this session, it was given up, or the
    /// server has closed it while nothing was under way, or after it had refused all recipients of a message.
    Done,
    /// The server's fault.
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
    /// A time limit may have run out.
    Alarm,
}

/// Carries `first` and then whatever comes, until nothing comes any more or the session is over.
pub async fn converse<S: Supply>(
    session: Session,
    terms: Terms,
    timeouts: &Timeouts,
    first: Submission,
    duty: &mut Duty<S>,
) -> Ended {
    let exchange = match duty.is_fallback {
        true => Exchange::of_fallback(terms),
        false => Exchange::new(terms),
    };
    let mut stop = duty.stop.clone();
    stop.mark_changed();
    let mut conversation = Conversation::new(session, exchange, *timeouts, first, stop);
    while conversation.goes_on(duty).await {
        match conversation.next(duty).await {
            Ok(happening) => conversation.take(happening).await,
            Err(trouble) => conversation.exchange.end(trouble),
        }
    }
    conversation.close(duty).await
}

/// The exchange, the bytes on their way, and the clock.
struct Conversation {
    connection: Connection,
    exchange: Exchange,
    output: Output,
    timeouts: Timeouts,
    buffer: Vec<u8>,
    /// When something has happened last that a time limit counts from.
    activity: Instant,
    /// Rings when a time limit runs out, or before.
    alarm: Pin<Box<Sleep>>,
    more_comes: bool,
    drain_until: Option<Instant>,
    /// Nothing was under way when the last thing happened.
    was_idle: bool,
    /// The next wish to stop. It is waited for all the time, so that it is not begun anew with every octet.
    wish: Wish,
}

type Wish = Pin<Box<dyn Future<Output = (Stop, watch::Receiver<Stop>)> + Send>>;

fn next_wish(mut stop: watch::Receiver<Stop>) -> Wish {
    Box::pin(async move { (changed(&mut stop).await, stop) })
}

impl Conversation {
    fn new(
        session: Session,
        mut exchange: Exchange,
        timeouts: Timeouts,
        first: Submission,
        stop: watch::Receiver<Stop>,
    ) -> Self {
        let is_tls = session.tls.is_some();
        let connection = session.into_connection();
        let output = Output::new(connection.listener.clone(), is_tls);
        exchange.take(first);
        if !connection.replies.is_empty() {
            exchange.end(unasked(Stage::Mail));
        }
        Self {
            connection,
            exchange,
            output,
            timeouts,
            buffer: vec![0; READ_SIZE],
            activity: Instant::now(),
            alarm: Box::pin(sleep(timeouts.command)),
            more_comes: true,
            drain_until: None,
            was_idle: false,
            wish: next_wish(stop),
        }
    }

    /// Tells what is settled, and whether anything is left to do.
    async fn goes_on(&mut self, duty: &mut Duty<impl Supply>) -> bool {
        report(&mut self.exchange, duty).await;
        let is_done = self.exchange.is_idle() && (self.exchange.is_retiring() || !self.more_comes);
        self.exchange.ending().is_none() && !is_done
    }

    /// Prepares what can be sent, and waits for what comes next.
    async fn next(&mut self, duty: &mut Duty<impl Supply>) -> Result<Happening, Trouble> {
        // What is ready goes into the same window, and under the same consent.
        while self.exchange.room() > 0
            && let Some(submission) = duty.supply.ready()
        {
            self.exchange.take(submission);
        }
        self.output.fill(&mut self.exchange, &duty.steps).await;
        let deadline = self.deadline();
        // Most deadlines are moved before they come: an alarm that rings too early costs less than one that is moved.
        if let Some(deadline) = deadline.filter(|at| self.alarm.is_elapsed() || self.alarm.deadline() > *at) {
            self.alarm.as_mut().reset(deadline);
        }
        let is_idle = self.exchange.is_idle();
        let takes_more = self.more_comes && self.exchange.room() > 0;
        let (stream, _) = self.connection.parts()?;
        let mut stream = Pin::new(stream);
        let mut read = ReadBuf::new(&mut self.buffer);
        let output = &mut self.output;
        let (has_bytes, needs_flush, wants_block) = (output.has_bytes(), output.needs_flush(), output.wants_block());
        let (consent, blocks, bytes) = output.parts();
        let wish = &mut self.wish;
        let mut taken = pin!(duty.supply.next(is_idle));
        let alarm = &mut self.alarm;
        let happening = poll_fn(|context| {
            if let Poll::Ready((stop, next)) = wish.as_mut().poll(context) {
                *wish = next_wish(next);
                return Poll::Ready(Happening::Stop(stop));
            }
            if let Poll::Ready(result) = stream.as_mut().poll_read(context, &mut read) {
                return Poll::Ready(Happening::Read(result.map(|()| read.filled().len())));
            }
            if let Some(Poll::Ready(given)) = consent.as_mut().map(|consent| consent.poll(context)) {
                return Poll::Ready(Happening::Consent(given));
            }
            if takes_more && let Poll::Ready(taken) = taken.as_mut().poll(context) {
                return Poll::Ready(Happening::Taken(taken));
            }
            if wants_block && let Some(Poll::Ready(block)) = blocks.as_mut().map(|blocks| blocks.poll_recv(context)) {
                return Poll::Ready(Happening::Block(block));
            }
            if has_bytes && let Poll::Ready(written) = stream.as_mut().poll_write(context, bytes) {
                return Poll::Ready(Happening::Written(written));
            }
            if needs_flush && let Poll::Ready(flushed) = stream.as_mut().poll_flush(context) {
                return Poll::Ready(Happening::Flushed(flushed));
            }
            if deadline.is_some() && alarm.as_mut().poll(context).is_ready() {
                return Poll::Ready(Happening::Alarm);
            }
            Poll::Pending
        });
        Ok(happening.await)
    }

    fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.limit().map(|limit| self.activity + limit), self.drain_until];
        deadlines.into_iter().flatten().min()
    }

    /// How long the server may still take.
    fn limit(&self) -> Option<Duration> {
        match self.exchange.awaited() {
            _ if self.output.failure.is_some() => Some(AFTERMATH),
            _ if self.output.is_under_way() => Some(self.timeouts.content),
            Some(Awaited::Command) => Some(self.timeouts.command),
            Some(Awaited::FinalReply) => Some(self.timeouts.final_reply),
            None => None,
        }
    }

    async fn take(&mut self, happening: Happening) {
        self.was_idle = self.exchange.is_idle();
        match happening {
            Happening::Stop(Stop::No) => {}
            Happening::Stop(Stop::Finish) => self.exchange.retire(),
            Happening::Stop(Stop::Drain) => {
                self.exchange.retire();
                self.drain_until = Some(Instant::now() + Stop::DRAIN);
            }
            Happening::Stop(Stop::Now) => self.exchange.end(stopped(Stop::Now)),
            Happening::Read(Ok(0)) => self.end_of_stream(lost(Stage::Data, None)),
            Happening::Read(Ok(count)) => self.read(count).await,
            Happening::Read(Err(error)) => self.end_of_stream(lost(Stage::Data, Some(&error))),
            Happening::Consent(true) => {
                self.output.consented();
                self.activity = Instant::now();
            }
            // The ledger cannot be written: what is complete already still has its replies to come.
            Happening::Consent(false) => self.output.refused(&mut self.exchange),
            Happening::Taken(Some(submission)) => {
                if self.exchange.is_idle() {
                    self.activity = Instant::now();
                }
                self.exchange.take(submission);
            }
            Happening::Taken(None) => self.more_comes = false,
            Happening::Block(block) => self.output.block(block, &mut self.exchange),
            Happening::Written(Ok(count)) if count > 0 => {
                self.activity = Instant::now();
                self.output.wrote(count, &mut self.exchange);
            }
            Happening::Written(Ok(_)) => self.output.failed(lost(Stage::Data, None)),
            Happening::Written(Err(error)) | Happening::Flushed(Err(error)) => {
                self.output.failed(lost(Stage::Data, Some(&error)));
                self.activity = Instant::now();
            }
            Happening::Flushed(Ok(())) => self.output.flushed(),
            Happening::Alarm if self.drain_until.is_some_and(|until| until <= Instant::now()) => {
                self.exchange.end(stopped(Stop::Drain));
            }
            Happening::Alarm if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) => {
                let limit = self.limit().unwrap_or_default();
                self.end_of_stream(timed_out(Stage::Data, limit));
            }
            Happening::Alarm => {}
        }
    }

    /// Nothing comes any more. A write that has failed before says why.
    fn end_of_stream(&mut self, trouble: Trouble) {
        self.exchange.end(self.output.failure.take().unwrap_or(trouble));
    }

    async fn read(&mut self, count: usize) {
        self.connection.replies.push(&self.buffer[..count]);
        let now = Instant::now();
        while self.exchange.ending().is_none() {
            match self.connection.replies.take() {
                Ok(Some(reply)) => {
                    self.activity = now;
                    self.connection.listener.trace_reply(&reply).await;
                    self.exchange.reply(reply);
                }
                Ok(None) => break,
                Err(error) => self.exchange.end(protocol(Stage::Data, &error)),
            }
        }
    }

    /// Says farewell where there is somebody to say it to.
    async fn close(mut self, duty: &mut Duty<impl Supply>) -> Ended {
        report(&mut self.exchange, duty).await;
        match self.exchange.ending() {
            Some(Ending::Broken(trouble)) if self.was_idle || self.exchange.is_blameless(trouble) => Ended::Done,
            Some(Ending::Broken(trouble)) => Ended::Broken(trouble.clone()),
            Some(Ending::Stop(trouble)) => Ended::Stop(trouble.clone()),
            None => {
                self.connection.quit().await;
                Ended::Done
            }
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

/// Hands settlements and what comes back to the feed. If it is gone, there is nobody to tell.
async fn report(exchange: &mut Exchange, duty: &mut Duty<impl Supply>) {
    for settlement in exchange.take_settled() {
        duty.settle(settlement.id, settlement.outcomes).await;
    }
    let handed_back = exchange.take_handed_back();
    if let (Some(trouble), false) = (exchange.wanted_login(), handed_back.is_empty()) {
        // Before they come back, or this server would get them again.
        duty.supply.out_of_use(trouble);
    }
    for submission in handed_back {
        let _ = duty.steps.send(Step::Later { submission, at: None }).await;
    }
}

fn stopped(stop: Stop) -> Trouble {
    Trouble::new(Stage::Data, Cause::Stopped, stop.reason())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Profile,
        mail::{Content, DsnRequest, Envelope, Mailbox, Outcome, Route, State},
        net::TlsInfo,
        smtp::Listener,
    };
    use std::{sync::Arc, task::Context};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::mpsc,
    };

    /// Whatever it holds, and then nothing for ever.
    struct Held(Vec<Submission>);

    impl Supply for Held {
        async fn next(&mut self, _: bool) -> Option<Submission> {
            match self.0.pop() {
                Some(submission) => Some(submission),
                None => pending().await,
            }
        }

        fn ready(&mut self) -> Option<Submission> {
            self.0.pop()
        }

        fn settled(&mut self, _: &[Outcome]) {}

        fn out_of_use(&mut self, _: &Trouble) {}
    }

    /// A stream that dies once it has carried so many octets, and says nothing. Over TLS the write that dies has
    /// failed as a whole, though a part of it has left.
    struct Dying {
        left: usize,
        is_tls: bool,
        is_dead: bool,
    }

    impl AsyncWrite for Dying {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.left);
            self.left -= count;
            if count == 0 || (self.is_tls && count < bytes.len()) {
                self.is_dead = true;
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Dying {
        fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if self.is_dead {
                return Poll::Ready(Ok(()));
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }

    fn submission(id: u64, size: usize) -> Submission {
        let address = Mailbox::parse("a@y.example").unwrap().address;
        Submission {
            id,
            message_id: format!("<{id}@x.example>"),
            envelope: Envelope::new(None, vec![address]).unwrap(),
            content: Content::from_bytes(vec![b'x'; size]),
            dsn: DsnRequest::default(),
            has_turn: false,
        }
    }

    /// What becomes of two messages of one window when the connection dies after so many octets.
    async fn outcomes(left: usize, is_tls: bool) -> Vec<String> {
        let info = TlsInfo {
            version: "TLSv1.3",
            cipher: String::new(),
            certificate: None,
            trusted_by: "nobody",
            binding: None,
        };
        let (steps, mut told) = mpsc::channel(64);
        let (_keep, stop) = watch::channel(Stop::No);
        let minute = Duration::from_secs(60);
        let timeouts =
            Timeouts { connect: minute, greeting: minute, command: minute, content: minute, final_reply: minute };
        let route = Arc::new(Route { profile: None, server: String::new() });
        let supply = Held(vec![submission(2, 60_000)]);
        let mut duty = Duty { supply, steps: steps.clone(), stop, is_fallback: false, route };
        let listener = Listener { steps, wants_trace: false };
        let stream = Box::new(Dying { left, is_tls, is_dead: false });
        let session = Session::new(stream, is_tls.then_some(info), None, false, &Profile::default(), listener);
        let terms = Terms { pipelining: true, chunking: true, depth: 2, ..Terms::default() };
        let telling = async {
            let mut outcomes = Vec::new();
            while outcomes.len() < 2 {
                match told.recv().await {
                    Some(Step::Commit { ack, .. }) => ack.send(()).unwrap(),
                    Some(Step::Settled { id, outcomes: all, .. }) => {
                        outcomes.extend(all.iter().map(|outcome| (id, outcome.state, outcome.stage)));
                    }
                    Some(_) => {}
                    None => break,
                }
            }
            outcomes
        };
        let conversation = converse(session, terms, &timeouts, submission(1, 40_000), &mut duty);
        let (ended, mut outcomes) = tokio::join!(conversation, telling);
        assert!(matches!(ended, Ended::Broken(_)), "{ended:?}");
        outcomes.sort_by_key(|(id, ..)| *id);
        assert!(outcomes.iter().all(|(_, state, _)| *state != State::Accepted));
        outcomes.into_iter().map(|(id, state, stage)| format!("{id} {state} {stage}")).collect()
    }

    /// The truth does not depend on what the octets were wrapped in.
    #[tokio::test]
    async fn what_has_left_whole_is_known_however_it_was_written() {
        for is_tls in [false, true] {
            assert_eq!(outcomes(70_000, is_tls).await, ["1 unknown final", "2 deferred mail"], "TLS: {is_tls}");
            assert_eq!(outcomes(10_000, is_tls).await, ["1 deferred mail", "2 deferred mail"], "TLS: {is_tls}");
        }
        // The last octet has left with a write that has failed as a whole: both are in doubt.
        assert_eq!(outcomes(41_000, false).await, ["1 unknown final", "2 deferred mail"]);
    }

    /// What becomes of a message whose reply comes after so long, when this is asked for as soon as it has left.
    async fn stopped_while_waiting(stop: Stop, reply: Duration) -> (State, Option<String>) {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let (steps, mut told) = mpsc::channel(64);
        let (wish, wished) = watch::channel(Stop::No);
        let limit = Duration::from_secs(600);
        let timeouts = Timeouts { connect: limit, greeting: limit, command: limit, content: limit, final_reply: limit };
        let route = Arc::new(Route { profile: None, server: String::new() });
        let mut duty = Duty { supply: Held(Vec::new()), steps: steps.clone(), stop: wished, is_fallback: false, route };
        let listener = Listener { steps, wants_trace: false };
        let session = Session::new(Box::new(ours), None, None, false, &Profile::default(), listener);
        let terms = Terms { pipelining: true, chunking: true, depth: 2, ..Terms::default() };
        let serving = async {
            let mut heard = Vec::new();
            while !heard.ends_with(b"xxx") {
                theirs.read_buf(&mut heard).await.unwrap();
            }
            wish.send_replace(stop);
            tokio::time::sleep(reply).await;
            // It may have hung up.
            let _ = theirs.write_all(b"250 mail\r\n250 rcpt\r\n250 content\r\n").await;
            theirs.read_buf(&mut heard).await
        };
        let telling = async {
            loop {
                match told.recv().await.unwrap() {
                    Step::Commit { ack, .. } => ack.send(()).unwrap(),
                    Step::Settled { outcomes, .. } => {
                        let outcome = &outcomes[0];
                        return (outcome.state, outcome.trouble.as_ref().map(|trouble| trouble.what.clone()));
                    }
                    _ => {}
                }
            }
        };
        let conversation = converse(session, terms, &timeouts, submission(1, 100), &mut duty);
        tokio::join!(conversation, serving, telling).2
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reply_is_waited_for_as_long_as_the_wish_to_stop_allows() {
        let (slow, slower) = (Duration::from_secs(20), Duration::from_secs(500));
        for (stop, reply, state, why) in [
            (Stop::Finish, slower, State::Accepted, None),
            (Stop::Drain, slow, State::Accepted, None),
            (Stop::Drain, slower, State::Unknown, Some(Stop::Drain.reason())),
            (Stop::Now, slow, State::Unknown, Some("cut off by a second signal")),
        ] {
            let found = stopped_while_waiting(stop, reply).await;
            assert_eq!((found.0, found.1.as_deref()), (state, why), "{stop:?} {reply:?}");
        }
    }
}
