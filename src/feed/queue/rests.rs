//! Places that are left alone for a time: a refused login is not tried in a loop.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{mail::Trouble, queue::Place};

/// How long a place is left alone at first, and at most.
const FIRST: Duration = Duration::from_secs(15 * 60);
const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);

/// Places that are left alone.
#[derive(Debug, Default)]
pub(super) struct Rests(HashMap<Place, Rest>);

#[derive(Debug)]
struct Rest {
    until: Instant,
    pause: Duration,
    why: String,
}

impl Rests {
    /// Leaves a place alone, each time in a row for longer. Returns for how long, unless it is left alone already.
    pub fn rest(&mut self, place: &Place, trouble: &Trouble, now: Instant) -> Option<Duration> {
        let pause = match self.0.get(place) {
            Some(rest) if now < rest.until => return None,
            Some(rest) => rest.pause.saturating_mul(2).min(LONGEST),
            None => FIRST,
        };
        self.0.insert(place.clone(), Rest { until: now + pause, pause, why: trouble.to_string() });
        Some(pause)
    }

    /// Those that are left alone now.
    pub fn places(&self, now: Instant) -> impl Iterator<Item = Place> {
        self.0.iter().filter(move |(_, rest)| now < rest.until).map(|(place, _)| place.clone())
    }

    /// Whether this one is.
    pub fn has(&self, place: &Place, now: Instant) -> bool {
        self.why(place, now).is_some()
    }

    /// Why this one is left alone, if it is.
    pub fn why(&self, place: &Place, now: Instant) -> Option<&str> {
        self.0.get(place).filter(|rest| now < rest.until).map(|rest| rest.why.as_str())
    }

    /// A server of this place has answered to a message: the next trouble is the first.
    pub fn forget(&mut self, place: &Place, now: Instant) {
        if self.0.get(place).is_some_and(|rest| rest.until <= now) {
            self.0.remove(place);
        }
    }

    /// All may be tried again.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Cause, Stage};

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_a_server_has_answered() {
        let (mut rests, place, mut now) = (Rests::default(), Place::default(), Instant::now());
        let trouble = Trouble::new(Stage::Auth, Cause::Login, "no");
        for minutes in [15, 30, 60, 120, 120] {
            let pause = rests.rest(&place, &trouble, now).unwrap();
            assert_eq!(pause.as_secs(), minutes * 60);
            assert!(rests.rest(&place, &trouble, now).is_none(), "told once");
            rests.forget(&place, now);
            assert!(rests.has(&place, now) && rests.places(now).count() == 1, "what began before tells nothing new");
            assert_eq!(rests.why(&place, now), Some("no"));
            now += pause;
            assert!(!rests.has(&place, now) && rests.places(now).count() == 0);
        }
        rests.forget(&place, now);
        assert_eq!(rests.rest(&place, &trouble, now), Some(FIRST));
        rests.clear();
        assert_eq!((rests.has(&place, now), rests.rest(&place, &trouble, now)), (false, Some(FIRST)));
    }
}
