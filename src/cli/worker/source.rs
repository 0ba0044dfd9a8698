//! The queue that a worker drains.

use std::sync::Arc;

use super::jobs::Jobs;
use crate::{
    cli::{CliError, args::Context, queue},
    config::resolve_queue,
    feed::{Broking, Maker, Source},
    queue::Store,
};

/// Opens it: that of this machine, or the one that `[queue] url` names. In the latter there are jobs, too.
///
/// # Errors
/// If it cannot be used. Of RabbitMQ only what can be said without asking it.
pub(super) fn open(
    context: &Context,
    prefetch: u16,
    is_lasting: bool,
    jobs: impl FnOnce() -> Result<Jobs, CliError>,
) -> Result<Source, CliError> {
    let table = resolve_queue(&context.files, &context.environment)?;
    if let Some(broker) = queue::broker(&table, context)? {
        let jobs = jobs()?;
        let maker = Maker(Arc::new(move |foreign, facts| jobs.make(foreign, facts)));
        return Ok(Source::Broker(Broking { broker, prefetch, maker }));
    }
    let store = Store::open(&queue::file(&table, context)?)?;
    let worker = store.worker(is_lasting)?;
    Ok(Source::Store(store, worker))
}
