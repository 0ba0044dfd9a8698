//! Opens the sessions of a lane, one at a time until one is open, and decides what becomes of submissions that cannot go
//! its way.

use std::sync::Arc;

use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until},
};

use super::{
    lane::{LOOK, Lane, Live, Mode},
    pull::Pull,
};
use crate::{
    mail::{Cause, Stage, State, Step, Stop, Submission, Trouble},
    smtp::{Duty, Ended, Supply, changed},
    transport::same_for_all,
};

/// What comes next.
enum Act {
    /// A session, with this to carry first.
    Open(Submission),
    HandOn(Submission),
    GiveBack(Submission, Option<Instant>),
    Refuse(Submission, Trouble),
    /// Nothing comes any more, or delivery is to stop.
    End,
}

/// Works until nothing comes any more, or delivery is to stop, and all sessions have ended.
pub(super) async fn run(lane: Arc<Lane>) {
    let mut sessions = JoinSet::new();
    let mut pull = Pull::new(lane.clone());
    let mut stop = lane.stop.clone();
    stop.mark_changed();
    loop {
        let act = tokio::select! {
            biased;
            () = stopping(&mut stop) => Act::End,
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => {
                rethrow(ended);
                continue;
            }
            act = next(&lane, &mut pull) => act,
        };
        match act {
            Act::Open(first) => {
                let pull = std::mem::replace(&mut pull, Pull::new(lane.clone()));
                sessions.spawn(session(Live::new(lane.clone()), lane.clone(), first, pull));
            }
            Act::HandOn(submission) => lane.hand_on(submission).await,
            Act::GiveBack(submission, at) => lane.give_back(submission, at).await,
            Act::Refuse(submission, trouble) => refuse(&submission, &trouble, Instant::now(), &lane).await,
            Act::End => break,
        }
    }
    pull.end(None).await;
    while let Some(ended) = sessions.join_next().await {
        rethrow(ended);
    }
    if !lane.is_first {
        while let Some(submission) = lane.source.ready() {
            lane.give_back(submission, None).await;
        }
    }
    if let Some(onward) = &lane.onward {
        onward.sender.close();
    }
}

/// Waits for what comes next. Dropping the future loses nothing.
async fn next(lane: &Lane, pull: &mut Pull) -> Act {
    loop {
        let changed = lane.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let mode = lane.mode();
        let until = match &mode {
            Mode::Deliver => {
                if lane.sessions.wants_another() {
                    tokio::select! {
                        biased;
                        pulled = pull.pull() => match pulled {
                            Some(first) => return Act::Open(first),
                            // Either nothing comes any more, or no session is of use: the mode tells.
                            None if lane.source.is_over() => return Act::End,
                            None => {}
                        },
                        () = lane.sessions.changed() => {}
                        () = changed => {}
                    }
                } else {
                    tokio::select! {
                        () = lane.sessions.changed() => {}
                        () = changed => {}
                    }
                }
                continue;
            }
            Mode::Hold => {
                if lane.source.is_over() {
                    return Act::End;
                }
                tokio::select! {
                    () = changed => {}
                    () = sleep(LOOK) => {}
                }
                continue;
            }
            Mode::HandOn(until) => *until,
            Mode::GiveBack(_) | Mode::Refuse(_) => None,
        };
        let pulled = tokio::select! {
            biased;
            pulled = lane.source.next() => pulled,
            () = changed => continue,
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => continue,
        };
        return match (pulled, mode) {
            (None, _) => Act::End,
            (Some(submission), Mode::Refuse(trouble)) => Act::Refuse(submission, trouble),
            (Some(submission), Mode::GiveBack(at)) => Act::GiveBack(submission, at),
            (Some(submission), _) => Act::HandOn(submission),
        };
    }
}

async fn session(mut live: Live, lane: Arc<Lane>, first: Submission, pull: Pull) {
    let start = Instant::now();
    let mut stop = lane.stop.clone();
    stop.mark_changed();
    let opened = tokio::select! {
        biased;
        () = stopping(&mut stop) => Err(stopped()),
        opened = lane.outlet.door.open(lane.outlet.pool.pipeline_depth, &lane.listener) => opened,
    };
    let (route, steps) = (lane.outlet.door.route(), lane.listener.steps.clone());
    let session = match opened {
        Ok(session) => session,
        Err(trouble) => return not_opened(&lane, first, pull, &trouble, start).await,
    };
    live.open();
    let is_fallback = !lane.is_first;
    let mut duty = Duty { supply: pull, steps, stop: lane.stop.clone(), is_fallback, route };
    let ended = session.carry(first, &mut duty).await;
    match ended {
        Ended::Done => duty.supply.end(None).await,
        Ended::Broken(trouble) => duty.supply.end(Some(&trouble)).await,
        Ended::Stop(trouble) => {
            duty.supply.out_of_use(&trouble);
            duty.supply.end(None).await;
        }
    }
}

/// Decides what becomes of a submission whose session did not open.
async fn not_opened(lane: &Lane, first: Submission, mut pull: Pull, trouble: &Trouble, start: Instant) {
    if trouble.cause == Cause::Stopped {
        pull.end(None).await;
        return refuse(&first, trouble, start, lane).await;
    }
    if is_for_good(trouble) {
        pull.out_of_use(trouble);
        pull.end(None).await;
        return match lane.is_first {
            true => refuse(&first, trouble, start, lane).await,
            false => lane.give_back(first, None).await,
        };
    }
    // A server that works for others has only had enough of us.
    let is_refusal = trouble.reply.is_some() && matches!(trouble.cause, Cause::Busy | Cause::Refused);
    if is_refusal && lane.sessions.has_others() {
        let most = lane.sessions.take_no_more();
        let server = &lane.outlet.door.route().server;
        lane.listener.note(format!("{server} takes no more than {most} connections: {trouble}")).await;
        pull.end(None).await;
        return lane.give_back(first, None).await;
    }
    pull.end(Some(trouble)).await;
    match lane.can_hand_on() {
        true => lane.hand_on(first).await,
        false => refuse(&first, trouble, start, lane).await,
    }
}

/// Settles a submission that no session could be opened for. It says nothing new about the server.
async fn refuse(submission: &Submission, trouble: &Trouble, start: Instant, lane: &Lane) {
    let outcomes = same_for_all(submission, State::Deferred, trouble.stage, Some(trouble), None, start.elapsed());
    let settled = Step::Settled { id: submission.id, route: lane.outlet.door.route(), outcomes };
    // If the feed is gone, there is nobody to tell.
    let _ = lane.listener.steps.send(settled).await;
}

/// Whether another session would end like this one.
fn is_for_good(trouble: &Trouble) -> bool {
    matches!(trouble.cause, Cause::Login | Cause::Untrusted | Cause::Unsupported | Cause::Configuration)
}

async fn stopping(stop: &mut watch::Receiver<Stop>) {
    while *stop.borrow() == Stop::No {
        changed(stop).await;
    }
}

fn stopped() -> Trouble {
    Trouble::new(Stage::Connect, Cause::Stopped, "stopped by a signal")
}

/// A defect is not hidden: nobody knows what became of the session's messages.
pub(super) fn rethrow(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
