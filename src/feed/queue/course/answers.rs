//! What the store has answered: messages that are due, that have expired, that others have by now; and the commands for
//! those that have failed.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::{JoinError, JoinHandle},
    time::Instant,
};

use super::{COMMANDS, Course};
use crate::{
    config::OnFailure,
    delivery::{Outlet, Work},
    feed::queue::{
        QueueTold, Ways,
        desk::{Answers, Note},
        notice,
        open::{Open, Rules},
    },
    mail::{Cause, Outcome, Route, Stage, State, Stop, Trouble},
    queue::{Claim, Next, Place},
};

impl<W, E, T> Course<W, E, T>
where
    W: FnMut(&Place) -> Result<Ways, Trouble>,
    E: FnMut(Vec<Outlet>, Work) -> JoinHandle<()>,
    T: FnMut(QueueTold<'_>),
{
    pub(super) fn answered(&mut self, answers: Answers) {
        for warning in answers.warnings {
            (self.told)(QueueTold::Warning(warning));
        }
        self.failed.extend(answers.failed);
        self.run_commands();
        if answers.recovered != (0, 0) {
            self.is_curious = true;
            (self.told)(QueueTold::Recovered(answers.recovered.0, answers.recovered.1));
        }
        for number in answers.lost {
            if let Some(open) = self.open.remove(&number) {
                self.leave_lane(open.lane);
            }
        }
        self.look_for_ways(answers.without_way);
        if let Some(claims) = answers.claimed {
            if !claims.is_empty() {
                (self.told)(QueueTold::Taken);
                if self.renewal.has_changed().unwrap_or_default() {
                    self.renewal.mark_unchanged();
                    self.renew();
                }
            }
            self.is_exhausted = claims.is_empty() && answers.expired.is_empty();
            self.is_curious |= !self.is_exhausted;
            let now = (self.clock)();
            // What is due and was not taken has no place, and hides when the others are.
            self.is_narrowed |= answers.next_due.is_some_and(|due| due <= now);
            self.next_due = answers
                .next_due
                .filter(|due| *due > now)
                .map(|due| Instant::now() + Duration::from_millis(u64::try_from(due - now).unwrap_or_default()));
            for claim in claims {
                self.claimed(claim, now);
            }
        }
        // They are there even where nothing could be claimed behind them.
        for claim in answers.expired {
            self.expire(claim);
        }
        match answers.error {
            None => (self.told)(QueueTold::Alive),
            Some(error) => {
                if answers.is_new && !answers.is_hopeless {
                    (self.told)(QueueTold::Failing(&error));
                }
                self.is_curious = true;
                if answers.is_hopeless || *self.stop.borrow() == Stop::Now {
                    self.drained.end.get_or_insert(error);
                    let stop = *self.stop.borrow();
                    self.wished(stop.max(Stop::Drain));
                } else {
                    // It is tried again, and that is a sign of life.
                    (self.told)(QueueTold::Alive);
                }
            }
        }
    }

    /// Whatever was held since there was no way is free where there is one now, however good.
    fn look_for_ways(&mut self, without: Vec<Place>) {
        for place in without {
            if !matches!((self.ways)(&place), Err(trouble) if trouble.stage == Stage::Compose) {
                self.desk.orders.ways_found.push(place);
                (self.is_exhausted, self.is_curious) = (false, true);
            }
        }
    }

    fn claimed(&mut self, claim: Claim, now: i64) {
        if claim.is_over {
            return self.end(claim);
        }
        if claim.expires <= now {
            return self.expire(claim);
        }
        let moment = Instant::now();
        let lane = self.by_place.get(&claim.place).and_then(|key| self.lanes.get(key));
        // It was asked for before that was known.
        let is_left_alone = lane.is_some_and(|lane| lane.is_dark(moment)) || self.rests.has(&claim.place, moment);
        if self.is_stopping() || is_left_alone {
            self.drained.has_more = true;
            return self.note(&claim, Next::Released(None));
        }
        let key = match self.by_place.get(&claim.place) {
            Some(key) => *key,
            None => match (self.ways)(&claim.place) {
                Ok(ways) => self.open_lane(claim.place.clone(), ways),
                Err(trouble) if trouble.stage == Stage::Compose => {
                    let why = trouble.to_string();
                    self.drained.held += 1;
                    (self.told)(QueueTold::Held(&claim.name, &why));
                    return self.note(&claim, Next::HeldWithoutWay(why));
                }
                // A file may be missing for a moment: that is no message's fault.
                Err(trouble) => {
                    self.drained.has_more = true;
                    if let Some(pause) = self.rests.rest(&claim.place, &trouble, moment) {
                        (self.told)(QueueTold::Rests(&claim.place, &trouble, pause));
                    }
                    return self.note(&claim, Next::Released(None));
                }
            },
        };
        self.next_id += 1;
        let number = self.next_id;
        let mut open = Open::new(claim, number, key);
        open.submission.has_turn = self.turns.remove(&open.name).is_some();
        let submission = open.submission.clone();
        self.open.insert(number, open);
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.opened();
            if let Some(submission) = lane.send(submission) {
                self.hand_back(submission.id, None);
            }
        }
    }

    /// Nothing has come of a claim.
    fn note(&mut self, claim: &Claim, next: Next) {
        let note = Note { id: claim.id, generation: claim.generation, outcomes: Vec::new(), next, notice: None };
        self.desk.orders.notes.push(note);
    }

    /// Nobody is open; only its failures were not told.
    fn end(&mut self, claim: Claim) {
        let place = claim.place.clone();
        self.write(Open::new(claim, 0, 0), place);
    }

    /// Its time is over.
    fn expire(&mut self, claim: Claim) {
        if claim.is_over {
            return self.end(claim);
        }
        let what = match claim.attempts {
            0 => self.why_untried(&claim.place),
            _ => "it has expired: no server has accepted it in time".to_owned(),
        };
        let trouble = Trouble::new(Stage::Compose, Cause::TimedOut, what);
        let (profile, server) = (claim.place.profile.clone(), claim.place.server.clone().unwrap_or_default());
        let (route, place) = (Arc::new(Route { profile, server }), claim.place.clone());
        let mut open = Open::new(claim, 0, 0);
        // No attempt was made.
        (open.attempts, open.has_expired) = (open.attempts - 1, true);
        let rules = Rules { again: None, retries_unknown: false };
        let recipients = open.submission.envelope.to().to_vec();
        for recipient in recipients {
            let outcome = Outcome {
                recipient,
                state: State::Failed,
                stage: trouble.stage,
                reply: None,
                trouble: Some(trouble.clone()),
                remote_id: None,
                dsn: None,
                elapsed: Duration::ZERO,
            };
            let meaning = open.settle(outcome, &route, rules);
            self.tell(&open, &meaning);
        }
        self.write(open, place);
    }

    /// Why a message has expired that was never tried.
    fn why_untried(&self, place: &Place) -> String {
        let now = Instant::now();
        let lane = self.by_place.get(place).and_then(|key| self.lanes.get(key));
        let why = match self.rests.why(place, now) {
            None if lane.is_some_and(|lane| lane.is_dark(now)) => Some("no server of its way can be used"),
            why => why,
        };
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        format!("it has expired, and no attempt was made{why}")
    }

    fn run_commands(&mut self) {
        let OnFailure::Command(command) = &self.draining.on_failure else { return };
        while self.commands.len() < COMMANDS
            && let Some(record) = self.failed.pop_front()
        {
            self.commands.spawn(notice::run(command.clone(), record));
        }
    }

    pub(super) fn command_ended(&mut self, ended: Result<Result<(), String>, JoinError>) {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(what)) => (self.told)(QueueTold::Warning(what)),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Nobody cancels it.
            Err(_) => {}
        }
        self.run_commands();
    }
}
