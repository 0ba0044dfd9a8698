//! The circuit breaker of a server: pure, without a clock of its own.

use tokio::time::Instant;

use crate::{config::BreakerPolicy, mail::BreakerState};

/// Counts failures in a row, and says whether a submission may be begun.
#[derive(Debug)]
pub(super) struct Breaker {
    policy: BreakerPolicy,
    failures: u32,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { is_trying: bool },
}

/// What the breaker says to one more submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Begin it.
    Go,
    /// Begin it: it decides. If it comes to nothing, [`Breaker::give_back`] has to be told.
    Try,
    /// Not before this moment.
    At(Instant),
    /// Not before the one that is tried has decided.
    Wait,
}

impl Breaker {
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, failures: 0, state: State::Closed }
    }

    /// What would be said.
    pub fn look(&self, now: Instant) -> Verdict {
        match self.state {
            State::Closed => Verdict::Go,
            State::Open { until } if now < until => Verdict::At(until),
            State::HalfOpen { is_trying: true } => Verdict::Wait,
            State::Open { .. } | State::HalfOpen { is_trying: false } => Verdict::Try,
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// A submission is tried. Returns the new state, if it is another.
    pub fn attempt(&mut self) -> Option<BreakerState> {
        let was_open = matches!(self.state, State::Open { .. });
        self.state = State::HalfOpen { is_trying: true };
        was_open.then_some(BreakerState::HalfOpen)
    }

    /// What was tried has told nothing: another may be.
    pub fn give_back(&mut self) {
        if let State::HalfOpen { is_trying } = &mut self.state {
            *is_trying = false;
        }
    }

    /// The server has answered. Returns the new state, if it is another.
    pub fn success(&mut self) -> Option<BreakerState> {
        self.failures = 0;
        let was_closed = self.is_closed();
        self.state = State::Closed;
        (!was_closed).then_some(BreakerState::Closed)
    }

    /// The server has failed. Returns the new state, if it is another.
    pub fn failure(&mut self, now: Instant) -> Option<BreakerState> {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.state {
            State::Closed => self.failures >= self.policy.failure_threshold,
            State::HalfOpen { .. } => true,
            // What was under way when it opened fails late.
            State::Open { .. } => false,
        };
        if opens {
            self.state = State::Open { until: now + self.policy.cool_down };
        }
        opens.then_some(BreakerState::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new(BreakerPolicy { failure_threshold: 3, cool_down: 30 * SECOND })
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_attempt_decides() {
        let (mut breaker, start) = (breaker(), Instant::now());
        assert_eq!([breaker.failure(start), breaker.failure(start)], [None, None]);
        assert_eq!((breaker.success(), breaker.look(start)), (None, Verdict::Go), "not in a row");
        assert_eq!([breaker.failure(start), breaker.failure(start)], [None, None]);
        assert_eq!(breaker.failure(start), Some(BreakerState::Open));
        let end = start + 30 * SECOND;
        assert_eq!(breaker.look(start), Verdict::At(end));
        assert_eq!((breaker.failure(start + SECOND), breaker.look(start + SECOND)), (None, Verdict::At(end)));

        assert_eq!(breaker.look(end), Verdict::Try);
        assert_eq!(breaker.attempt(), Some(BreakerState::HalfOpen));
        assert_eq!(breaker.look(end), Verdict::Wait, "one only");
        breaker.give_back();
        assert_eq!((breaker.look(end), breaker.attempt()), (Verdict::Try, None));
        assert_eq!(breaker.failure(end), Some(BreakerState::Open), "one failure is enough");
        assert_eq!(breaker.look(end), Verdict::At(end + 30 * SECOND));

        assert_eq!(breaker.attempt(), Some(BreakerState::HalfOpen));
        assert_eq!((breaker.success(), breaker.look(end)), (Some(BreakerState::Closed), Verdict::Go));
        assert_eq!(breaker.failure(end), None, "it counts from the start");
    }

    proptest! {
        /// However it goes: it never lets two try at once, and it is never open for longer than it cools down.
        #[test]
        fn one_at_a_time(steps in proptest::collection::vec(0_u8..5, 0..100)) {
            let (mut breaker, mut now, mut trying) = (breaker(), Instant::now(), 0);
            for step in steps {
                match step {
                    0 => { breaker.failure(now); trying = 0; }
                    1 => { breaker.success(); trying = 0; }
                    2 => now += 10 * SECOND,
                    3 => { breaker.give_back(); trying = 0; }
                    _ => match breaker.look(now) {
                        Verdict::Try => { breaker.attempt(); trying += 1; }
                        Verdict::At(at) => prop_assert!(at > now && at <= now + 30 * SECOND),
                        Verdict::Go => prop_assert!(breaker.is_closed()),
                        Verdict::Wait => prop_assert_eq!(trying, 1),
                    },
                }
                prop_assert!(trying <= 1);
            }
        }
    }
}
