//! The queue that a worker drains.

use std::sync::Arc;

use super::jobs::Jobs;
use crate::{
    cli::{CliError, args::Context, queue},
    config::resolve_queue,
    feed::{Broking, Maker, Source},
    mail::clean,
    queue::{Stats, Store},
};

/// Opens it: that of this machine, or the one that `[queue] url` names. In the latter there are jobs, too. Says what it is,
/// in a line for people.
///
/// # Errors
/// If it cannot be used. Of RabbitMQ only what can be said without asking it.
pub(super) fn open(
    context: &Context,
    prefetch: u16,
    is_lasting: bool,
    declares: bool,
    jobs: impl FnOnce() -> Result<Jobs, CliError>,
) -> Result<(Source, String), CliError> {
    let mut table = resolve_queue(&context.files, &context.environment)?;
    table.declares &= declares;
    if let Some(broker) = queue::broker(&table, context)? {
        let jobs = jobs()?;
        let maker = Maker(Arc::new(move |foreign, facts| jobs.make(foreign, facts)));
        let about = format!("sends from {broker}");
        return Ok((Source::Broker(Broking { broker, prefetch, maker }), about));
    }
    let path = queue::file(&table, context)?;
    let mut store = Store::open(&path)?;
    let worker = store.worker(is_lasting)?;
    let Stats { waiting, due, held, .. } = store.stats(jiff::Timestamp::now().as_millisecond())?;
    let path = clean(&path.display().to_string());
    let about = format!("sends from {path}: {waiting} waiting, {due} of them due, {held} held");
    Ok((Source::Store(Box::new(store), worker), about))
}
