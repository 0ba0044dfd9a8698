//! Keys that say how much goes to a server at once, and where else messages go.

use super::{Key, reading::nonempty};
use crate::config::{sending::Rate, value::Input};

pub(super) const FALLBACK: Key = Key {
    name: "fallback",
    wanted: "profile, or a list",
    default: None,
    doc: "Profiles to send by, in their order, while this one's server cannot be reached or is left alone (breaker). A \
          message goes on before anything of it is sent, never after a refused login. A fallback uses its own table \
          only: no flag and no variable changes it, and its password is its own.",
    set: |parts, input| {
        parts.profile.fallback = input.list()?.iter().map(|name| nonempty(name)).collect::<Result<_, _>>()?;
        Ok(())
    },
};

pub(super) const MAX_CONNECTIONS: Key = Key {
    name: "pool.max-connections",
    wanted: "number",
    default: Some("4"),
    doc: "In a batch the most connections to the server at once. They are opened as they are needed, the second when \
          the first has logged in.",
    set: |parts, input| {
        parts.profile.pool.max_connections = count(input, 10_000)?;
        Ok(())
    },
};

pub(super) const MAX_MESSAGES: Key = Key {
    name: "pool.max-messages-per-connection",
    wanted: "number",
    default: Some("100"),
    doc: "After so many messages a connection is replaced: many servers allow no more.",
    set: |parts, input| {
        parts.profile.pool.max_messages_per_connection = count(input, usize::MAX)?;
        Ok(())
    },
};

pub(super) const IDLE_TIMEOUT: Key = Key {
    name: "pool.idle-timeout",
    wanted: "time",
    default: Some("30s"),
    doc: "A connection that has had nothing to do for so long is closed.",
    set: |parts, input| {
        parts.profile.pool.idle_timeout = input.limit()?;
        Ok(())
    },
};

pub(super) const ACQUIRE_TIMEOUT: Key = Key {
    name: "pool.acquire-timeout",
    wanted: "time",
    default: Some("1s"),
    doc: "A message that was taken in hand waits no longer than this for its place, and then for its next turn instead.",
    set: |parts, input| {
        parts.profile.pool.acquire_timeout = input.limit()?;
        Ok(())
    },
};

pub(super) const PIPELINE_DEPTH: Key = Key {
    name: "pool.pipeline-depth",
    wanted: "number",
    default: Some("16"),
    doc: "The most messages under way on one connection, where the server offers PIPELINING and CHUNKING: so many may \
          end as unknown when it breaks.",
    set: |parts, input| {
        parts.profile.pool.pipeline_depth = count(input, 1_000)?;
        Ok(())
    },
};

pub(super) const FAILURE_THRESHOLD: Key = Key {
    name: "breaker.failure-threshold",
    wanted: "number",
    default: Some("5"),
    doc: "After so many failures in a row a server is left alone: connections that fail or break, time-outs, 421. Refused \
          recipients are none.",
    set: |parts, input| {
        parts.profile.breaker.failure_threshold = count(input, 1_000_000)? as u32;
        Ok(())
    },
};

pub(super) const COOL_DOWN: Key = Key {
    name: "breaker.cool-down",
    wanted: "time",
    default: Some("30s"),
    doc: "How long it is left alone. Then one message tries whether it is back.",
    set: |parts, input| {
        parts.profile.breaker.cool_down = input.limit()?;
        Ok(())
    },
};

pub(super) const LIMIT: Key = Key {
    name: "rate.limit",
    wanted: "rate",
    default: None,
    doc: "The most recipients in a second, minute, hour or day: \"10/s\", \"30/m\", \"500/h\", \"2000/d\"; all connections \
          share it.",
    set: |parts, input| {
        parts.profile.rate.limit = Some(Rate::parse(input.line()?)?);
        Ok(())
    },
};

pub(super) const BURST: Key = Key {
    name: "rate.burst",
    wanted: "number",
    default: None,
    doc: "Recipients at once after a pause. Without it as many as rate.limit allows in one second, at least one.",
    set: |parts, input| {
        parts.profile.rate.burst = Some(count(input, 1_000_000)? as u32);
        Ok(())
    },
};

pub(super) const PER_DOMAIN: Key = Key {
    name: "rate.per-domain",
    wanted: "rate",
    default: None,
    doc: "The most recipients of one domain: \"5/s\". Those of other domains do not wait for them.",
    set: |parts, input| {
        parts.profile.rate.per_domain = Some(Rate::parse(input.line()?)?);
        Ok(())
    },
};

/// A number from 1.
fn count(input: &Input<'_>, most: usize) -> Result<usize, String> {
    match input.integer::<usize>()? {
        0 => Err("a number above 0 is wanted".to_owned()),
        number if number > most => Err(format!("at most {most} is wanted")),
        number => Ok(number),
    }
}
