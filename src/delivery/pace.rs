//! How fast submissions may follow each other: the rate of all, the rate of each domain, and the pauses that a server
//! asks for. Pure, without a clock of its own.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{
    config::{Rate, RatePolicy},
    mail::{Outcome, Stage, State, Submission},
};

/// Tokens that come in with time. One is taken before a submission is pulled; if it has more recipients than one, the
/// rest is a debt.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    burst: f64,
    level: f64,
    /// Taken, and neither spent nor given back.
    held: f64,
    filled: Instant,
}

impl Bucket {
    /// A full one, if the policy has a limit.
    pub fn new(policy: &RatePolicy, now: Instant) -> Option<Self> {
        let limit = policy.limit?;
        let burst = f64::from(policy.burst.unwrap_or(limit.usual_burst()));
        Some(Self { per_second: limit.per_second(), burst, level: burst, held: 0.0, filled: now })
    }

    fn fill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * self.per_second;
        self.level = (self.level + gained).min((self.burst - self.held).max(self.level));
        self.filled = self.filled.max(now);
    }

    /// `None` if there is a token, else when there will be one.
    pub fn look(&mut self, now: Instant) -> Option<Instant> {
        self.fill(now);
        // Time is counted in nanoseconds: what is missing less than that is there.
        let missing = 1.0 - self.level;
        (missing > 1e-6).then(|| now + Duration::from_secs_f64(missing / self.per_second) + Duration::from_nanos(1))
    }

    pub fn take(&mut self) {
        self.level -= 1.0;
        self.held += 1.0;
    }

    /// A submission with so many recipients was pulled for the token.
    pub fn spend(&mut self, recipients: usize) {
        self.held -= 1.0;
        self.level -= recipients.saturating_sub(1) as f64;
    }

    /// Nothing was pulled for the token.
    pub fn give_back(&mut self) {
        self.held -= 1.0;
        self.level += 1.0;
    }
}

/// When each domain may have its next recipient.
#[derive(Debug)]
pub(super) struct Domains {
    interval: Duration,
    /// How far ahead of its time a domain may be: a burst.
    slack: Duration,
    due: HashMap<String, Instant>,
    /// Domains after which those are forgotten that have caught up.
    sweep_at: usize,
}

impl Domains {
    pub fn new(rate: Rate) -> Self {
        let interval = Duration::from_secs_f64(1.0 / rate.per_second());
        let slack = interval.saturating_mul(rate.usual_burst() - 1);
        Self { interval, slack, due: HashMap::new(), sweep_at: Self::SWEEP }
    }

    const SWEEP: usize = 1024;

    /// Gives the submission its turn: `None` is now. What it needs of its domains' time is taken either way.
    pub fn turn(&mut self, submission: &Submission, now: Instant) -> Option<Instant> {
        let mut turn = now;
        for recipient in submission.envelope.to() {
            let name = recipient.domain();
            let known = match self.due.get_mut(name) {
                Some(due) => due,
                None => self.due.entry(name.to_ascii_lowercase()).or_insert(now),
            };
            let due = (*known).max(now);
            turn = turn.max(due.checked_sub(self.slack).unwrap_or(now));
            *known = due + self.interval;
        }
        if self.due.len() > self.sweep_at {
            self.due.retain(|_, due| *due > now);
            self.sweep_at = (2 * self.due.len()).max(Self::SWEEP);
        }
        (turn > now).then_some(turn)
    }
}

/// The pauses that a server asks for: each is twice the one before, until it accepts again.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    level: u32,
    until: Option<Instant>,
    accepted: u32,
}

impl Pauses {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(60);
    /// Acceptances that make the next pause half as long.
    const CALM: u32 = 10;

    /// The server asks for less. Returns the pause; `None` if there is one already.
    pub fn slow(&mut self, now: Instant) -> Option<Duration> {
        if self.until.is_some_and(|until| now < until) {
            return None;
        }
        let pause = Self::FIRST.saturating_mul(1 << self.level.min(16)).min(Self::LONGEST);
        if pause < Self::LONGEST {
            self.level += 1;
        }
        (self.until, self.accepted) = (Some(now + pause), 0);
        Some(pause)
    }

    /// The end of the pause, if there is one.
    pub fn look(&mut self, now: Instant) -> Option<Instant> {
        self.until = self.until.filter(|until| now < *until);
        self.until
    }

    pub fn accept(&mut self) {
        if self.level > 0 {
            self.accepted += 1;
            if self.accepted == Self::CALM {
                (self.level, self.accepted) = (self.level - 1, 0);
            }
        }
    }
}

/// Whether this answer asks for less of everything (RFC 3463, 3.8). Greylisting is about one recipient.
pub(super) fn asks_for_less(outcome: &Outcome) -> bool {
    let Some(reply) = outcome.reply.as_ref().filter(|_| outcome.state == State::Deferred) else { return false };
    let says_greylisted = || {
        let text = reply.text().to_ascii_lowercase();
        text.contains("greylist") || text.contains("graylist") || text.contains("grey-list")
    };
    reply.enhanced().is_some_and(|status| status.class == 4 && status.subject == 7) && !says_greylisted()
}

/// Whether this answer is about the service, not about the message (RFC 3463, 3.4).
pub(super) fn is_of_the_service(outcome: &Outcome) -> bool {
    let Some(reply) = outcome.reply.as_ref().filter(|_| outcome.state == State::Deferred) else { return false };
    // A recipient may have a system of its own, with troubles of its own.
    outcome.stage != Stage::Rcpt
        && reply.enhanced().is_some_and(|status| (status.class, status.subject) == (4, 3) && status.detail != 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Content, DsnRequest, Envelope, Mailbox, Reply};
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn submission(recipients: &[&str]) -> Submission {
        let recipients = recipients.iter().map(|text| Mailbox::parse(text).unwrap().address).collect();
        Submission {
            id: 1,
            message_id: String::new(),
            envelope: Envelope::new(None, recipients).unwrap(),
            content: Content::from_bytes(Vec::new()),
            dsn: DsnRequest::default(),
            has_turn: false,
        }
    }

    fn policy(count: u32, per: u64, burst: Option<u32>) -> RatePolicy {
        RatePolicy { limit: Some(Rate { count, per: Duration::from_secs(per) }), burst, per_domain: None }
    }

    #[test]
    fn a_bucket_gives_bursts_and_collects_debts() {
        let start = Instant::now();
        let mut bucket = Bucket::new(&policy(10, 1, Some(2)), start).unwrap();
        for _ in 0..2 {
            assert_eq!(bucket.look(start), None);
            bucket.take();
            bucket.spend(1);
        }
        let next = bucket.look(start).unwrap() - start;
        assert!(next >= SECOND / 10 && next < SECOND / 9, "{next:?}");
        let later = start + 10 * SECOND;
        assert_eq!(bucket.look(later), None);
        bucket.take();
        // Five recipients: four are a debt, of which one was saved.
        bucket.spend(5);
        let next = bucket.look(later).unwrap() - later;
        assert!(next >= 4 * SECOND / 10 && next < 5 * SECOND / 10, "{next:?}");
    }

    #[test]
    fn a_token_that_was_not_used_is_there_again() {
        let start = Instant::now();
        let mut bucket = Bucket::new(&policy(1, 60, None), start).unwrap();
        bucket.take();
        assert!(bucket.look(start).is_some());
        assert!(bucket.look(start + 600 * SECOND).is_some(), "what is held is part of the burst");
        bucket.give_back();
        assert_eq!(bucket.look(start + 600 * SECOND), None);
    }

    proptest! {
        /// In no stretch of time does more come out than the rate allows, and the burst.
        #[test]
        fn a_bucket_is_no_faster_than_its_rate(waits in proptest::collection::vec((0_u64..3_000, 1_usize..4), 1..60)) {
            let start = Instant::now();
            let mut bucket = Bucket::new(&policy(2, 1, Some(3)), start).unwrap();
            let (mut now, mut taken) = (start, Vec::new());
            for (wait, recipients) in waits {
                now += Duration::from_millis(wait);
                if let Some(at) = bucket.look(now) { now = at; }
                prop_assert_eq!(bucket.look(now), None);
                bucket.take();
                bucket.spend(recipients);
                taken.push((now, recipients));
                for from in 0..taken.len() {
                    // The last is a debt but for its first recipient.
                    let count: usize = taken[from..taken.len() - 1].iter().map(|(_, count)| count).sum::<usize>() + 1;
                    let allowed = (now - taken[from].0).as_secs_f64() * 2.0 + 3.0;
                    prop_assert!(count as f64 <= allowed + 1e-3, "{} in {:?}", count, now - taken[from].0);
                }
            }
        }
    }

    #[test]
    fn each_domain_has_its_turns() {
        let start = Instant::now();
        let mut domains = Domains::new(Rate { count: 2, per: SECOND });
        let mut turn = |recipients: &[&str], now: Instant| {
            domains.turn(&submission(recipients), now).map(|at| (at - start).as_millis())
        };
        assert_eq!([turn(&["a@x.example"], start), turn(&["b@X.example"], start)], [None, None], "a burst");
        assert_eq!(turn(&["c@x.example"], start), Some(500));
        assert_eq!(turn(&["d@x.example"], start), Some(1_000));
        assert_eq!(turn(&["a@y.example"], start), None, "another domain does not wait");
        assert_eq!(turn(&["a@z.example", "e@x.example"], start), Some(1_500), "the latest of all");
        assert_eq!(turn(&["f@x.example"], start + 60 * SECOND), None);
    }

    #[test]
    fn domains_that_have_caught_up_are_forgotten() {
        let mut domains = Domains::new(Rate { count: 10, per: SECOND });
        let mut now = Instant::now();
        for number in 0..20_000 {
            now += SECOND;
            domains.turn(&submission(&[&format!("a@d{number}.example")]), now);
        }
        assert!(domains.due.len() <= Domains::SWEEP + 1, "{}", domains.due.len());
    }

    #[test]
    fn pauses_double_and_shrink_again() {
        let (mut pauses, mut now) = (Pauses::default(), Instant::now());
        let mut seconds = Vec::new();
        for _ in 0..8 {
            let pause = pauses.slow(now).unwrap();
            assert_eq!(pauses.slow(now), None, "one at a time");
            assert_eq!(pauses.look(now), Some(now + pause));
            now += pause;
            assert_eq!(pauses.look(now), None);
            seconds.push(pause.as_secs());
        }
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        (0..20).for_each(|_| pauses.accept());
        assert_eq!(pauses.slow(now), Some(16 * SECOND));
    }

    #[test]
    fn words_of_greylisting_are_about_one_recipient() {
        let outcome = |code: u16, text: &str, stage: Stage| Outcome {
            recipient: Mailbox::parse("a@x.example").unwrap().address,
            state: if code < 500 { State::Deferred } else { State::Failed },
            stage,
            reply: Some(Reply { code, lines: vec![text.to_owned()] }),
            trouble: None,
            remote_id: None,
            dsn: None,
            elapsed: Duration::ZERO,
        };
        assert!(asks_for_less(&outcome(450, "4.7.1 too many messages", Stage::Rcpt)));
        for (code, text) in
            [(450, "4.7.1 Greylisted, come back"), (450, "4.2.0 busy"), (550, "5.7.1 no"), (451, "later")]
        {
            assert!(!asks_for_less(&outcome(code, text, Stage::Rcpt)), "{text}");
        }
        assert!(is_of_the_service(&outcome(452, "4.3.1 disk full", Stage::Data)));
        for (code, text, stage) in
            [(451, "4.3.0 look-up", Stage::Rcpt), (452, "4.3.4 too big", Stage::Mail), (451, "later", Stage::Data)]
        {
            assert!(!is_of_the_service(&outcome(code, text, stage)), "{text}");
        }
    }
}
