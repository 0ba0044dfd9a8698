//! The keys of retry.

use super::Key;

pub(super) const INITIAL_DELAY: Key = Key {
    name: "retry.initial-delay",
    wanted: "time",
    default: Some("2s"),
    doc: "Pause before the second attempt (--retry).",
    set: |parts, input| {
        parts.profile.retry.initial_delay = input.duration()?;
        Ok(())
    },
};

pub(super) const MULTIPLIER: Key = Key {
    name: "retry.multiplier",
    wanted: "number",
    default: Some("2.0"),
    doc: "Factor from one pause to the next.",
    set: |parts, input| {
        parts.profile.retry.multiplier = input.factor()?;
        Ok(())
    },
};

pub(super) const MAX_DELAY: Key = Key {
    name: "retry.max-delay",
    wanted: "time",
    default: Some("5m"),
    doc: "The longest pause.",
    set: |parts, input| {
        parts.profile.retry.max_delay = input.duration()?;
        Ok(())
    },
};

pub(super) const JITTER: Key = Key {
    name: "retry.jitter",
    wanted: "true or false",
    default: Some("true"),
    doc: "Whether each pause is shortened at random, to half at most, so that many clients do not come back at once.",
    set: |parts, input| {
        parts.profile.retry.jitter = input.boolean()?;
        Ok(())
    },
};

pub(super) const MAX_TIME: Key = Key {
    name: "retry.max-time",
    wanted: "time",
    default: Some("15m"),
    doc: "In a batch no attempt for a recipient begins later than this after the first one: greylisting of five \
          minutes is outlived.",
    set: |parts, input| {
        parts.profile.retry.max_time = input.duration()?;
        Ok(())
    },
};

pub(super) const MAX_ATTEMPTS: Key = Key {
    name: "retry.max-attempts",
    wanted: "number",
    default: None,
    doc: "In a batch the most attempts for a recipient, the first included.",
    set: |parts, input| {
        parts.profile.retry.max_attempts = match input.integer()? {
            0 => return Err("a number above 0 is wanted".to_owned()),
            number => Some(number),
        };
        Ok(())
    },
};
