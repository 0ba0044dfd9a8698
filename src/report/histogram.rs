//! Distributions of fixed size: how long outcomes took, and when they came.

use crate::{ledger::Counts, mail::State};

/// Steps per doubling: a value is known to an eighth of it.
const STEPS: u32 = 8;
const BUCKETS: usize = (STEPS * 30) as usize;
/// Ends of the steps that people are shown, in milliseconds.
const ENDS: [u64; 19] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000, 120_000, 300_000, 600_000,
    1_800_000,
];

/// Milliseconds, counted in steps that grow with them.
#[derive(Debug, Clone)]
pub struct Latency {
    buckets: Box<[u64; BUCKETS]>,
    steps: [u64; ENDS.len() + 1],
    count: u64,
    longest: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), steps: [0; ENDS.len() + 1], count: 0, longest: 0 }
    }
}

impl Latency {
    /// One more that took so long.
    pub fn add(&mut self, milliseconds: u64) {
        self.buckets[bucket(milliseconds)] += 1;
        self.steps[ENDS.partition_point(|end| *end <= milliseconds)] += 1;
        self.count += 1;
        self.longest = self.longest.max(milliseconds);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest, in milliseconds.
    pub fn longest(&self) -> u64 {
        self.longest
    }

    /// So many milliseconds were enough for this share, from 0 to 1, of all; an eighth too many at most.
    pub fn percentile(&self, share: f64) -> u64 {
        let wanted = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let index = self.buckets.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        index.map_or(0, |index| last_of(index).min(self.longest))
    }

    /// Counts by steps for people, from the first that has one to the last: from so many milliseconds, to below so many.
    pub fn steps(&self) -> Vec<(u64, u64, u64)> {
        let bounds = [0].iter().chain(&ENDS).zip(ENDS.iter().chain(&[u64::MAX]));
        let steps: Vec<(u64, u64, u64)> =
            bounds.zip(&self.steps).map(|((from, below), count)| (*from, *below, *count)).collect();
        let first = steps.iter().position(|(.., count)| *count > 0).unwrap_or(steps.len());
        let end = steps.iter().rposition(|(.., count)| *count > 0).map_or(first, |last| last + 1);
        steps[first..end].to_vec()
    }
}

fn bucket(milliseconds: u64) -> usize {
    let value = u32::try_from(milliseconds).unwrap_or(u32::MAX);
    if value < STEPS {
        return value as usize;
    }
    let doubling = value.ilog2();
    ((doubling - 2) * STEPS + ((value >> (doubling - 3)) & (STEPS - 1))) as usize
}

/// The largest value that falls into the bucket.
fn last_of(index: usize) -> u64 {
    let index = index as u64;
    let steps = u64::from(STEPS);
    if index < steps {
        return index;
    }
    let doubling = index / steps + 2;
    ((steps + index % steps + 1) << (doubling - 3)) - 1
}

/// Bins that there are at most.
const BINS: usize = 120;
/// Their width at first, in milliseconds.
const FIRST_WIDTH: u64 = 125;

/// Outcomes over time: bins that double in width when the time becomes too long for them.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    start: Option<u64>,
    doublings: u32,
    bins: Vec<Counts>,
}

impl Timeline {
    /// One more at this time, in milliseconds since 1970. What comes before the first is counted with it.
    pub fn add(&mut self, time: u64, state: State) {
        let start = *self.start.get_or_insert(time);
        let since = time.saturating_sub(start);
        while since / self.width() >= BINS as u64 {
            self.doublings += 1;
            self.bins = self
                .bins
                .chunks(2)
                .map(|pair| pair.iter().fold(Counts::default(), |sum, counts| sum + *counts))
                .collect();
        }
        let index = (since / self.width()) as usize;
        if self.bins.len() <= index {
            self.bins.resize(index + 1, Counts::default());
        }
        self.bins[index].add(state);
    }

    /// Time of the first, in milliseconds since 1970.
    pub fn start(&self) -> Option<u64> {
        self.start
    }

    /// Width of a bin in milliseconds.
    pub fn width(&self) -> u64 {
        FIRST_WIDTH << self.doublings
    }

    /// Counts of each bin.
    pub fn bins(&self) -> &[Counts] {
        &self.bins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_of_all_sizes() {
        let mut latency = Latency::default();
        assert_eq!((latency.percentile(0.5), latency.steps().len()), (0, 0));
        for value in 1..=1000 {
            latency.add(value);
        }
        assert_eq!((latency.count(), latency.longest()), (1000, 1000));
        for (share, exact) in [(0.5, 500), (0.9, 900), (0.99, 990)] {
            let found = latency.percentile(share);
            assert!((exact..=exact * 9 / 8).contains(&found), "{share}: {found}");
        }
        assert_eq!(latency.percentile(1.0), 1000);
        assert_eq!(latency.steps()[..3], [(1, 2, 1), (2, 5, 3), (5, 10, 5)]);
        assert_eq!(latency.steps().last(), Some(&(1000, 2000, 1)));
        assert_eq!(latency.steps().iter().map(|(.., count)| count).sum::<u64>(), 1000);
        latency.add(0);
        latency.add(u64::MAX);
        assert_eq!(latency.steps().first(), Some(&(0, 1, 1)));
        assert_eq!(latency.steps().last(), Some(&(1_800_000, u64::MAX, 1)));
    }

    #[test]
    fn bins_double_and_keep_their_counts() {
        let mut timeline = Timeline::default();
        for (count, second) in [(1, 0), (2, 10), (3, 60), (4, 3_600), (5, 1_000_000_000)] {
            timeline.add(1_800_000_000_000 + second * 1_000, State::Accepted);
            assert!(timeline.bins().len() <= BINS);
            assert_eq!(timeline.bins().iter().map(Counts::total).sum::<u64>(), count);
        }
        timeline.add(0, State::Failed);
        assert_eq!(timeline.bins()[0].failed, 1);
        assert_eq!(timeline.start(), Some(1_800_000_000_000));
        timeline.add(u64::MAX, State::Failed);
    }

    proptest! {
        #[test]
        fn a_value_is_known_to_an_eighth(value in any::<u32>()) {
            let last = last_of(bucket(value.into()));
            prop_assert!(u64::from(value) <= last && last <= u64::from(value) + u64::from(value) / 8 + 1);
        }
    }
}
