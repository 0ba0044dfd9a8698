//! Numbers that look random, and come again.

use std::time::{SystemTime, UNIX_EPOCH};

/// xorshift64: numbers that a printed seed brings again.
pub struct Dice(u64);

impl Dice {
    /// Of `MAILSEND_TEST_SEED`, or of the time.
    pub fn new(salt: u64) -> Self {
        let seed = std::env::var("MAILSEND_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64) | 1
        });
        eprintln!("MAILSEND_TEST_SEED={seed}");
        Self((seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)).max(1))
    }

    /// A number below this.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
