//! Places that are left alone for a time: a refused login is not tried in a loop.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::queue::Place;

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
}

impl Rests {
    /// Leaves a place alone, each time in a row for longer. Returns for how long, unless it is left alone already.
    pub fn rest(&mut self, place: &Place, now: Instant) -> Option<Duration> {
        let pause = match self.0.get(place) {
            Some(rest) if now < rest.until => return None,
            Some(rest) => rest.pause.saturating_mul(2).min(LONGEST),
            None => FIRST,
        };
        self.0.insert(place.clone(), Rest { until: now + pause, pause });
        Some(pause)
    }

    /// Those that are left alone now.
    pub fn places(&self, now: Instant) -> impl Iterator<Item = Place> {
        self.0.iter().filter(move |(_, rest)| now < rest.until).map(|(place, _)| place.clone())
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
