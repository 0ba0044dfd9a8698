//! The queue that a worker drains.

use std::sync::Arc;

use crate::{
    cli::{CliError, args::Context, queue},
    config::resolve_queue,
    feed::{Broking, Maker, Source},
    queue::Store,
};

/// Opens it: that of this machine, or the one that `[queue] url` names.
///
/// # Errors
/// If it cannot be used. Of RabbitMQ only what can be said without asking it.
pub(super) fn open(context: &Context, prefetch: u16, is_lasting: bool) -> Result<Source, CliError> {
    let table = resolve_queue(&context.files, &context.environment)?;
    if let Some(broker) = queue::broker(&table, context)? {
        let maker = Maker(Arc::new(|_, _| Err("not yet".to_owned())));
        return Ok(Source::Broker(Broking { broker, prefetch, maker }));
    }
    let store = Store::open(&queue::file(&table, context)?)?;
    let worker = store.worker(is_lasting)?;
    Ok(Source::Store(store, worker))
}
