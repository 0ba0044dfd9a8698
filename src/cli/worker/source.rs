//! The queue that a worker drains.

use std::sync::Arc;

use crate::{
    cli::{CliError, args::Context, queue},
    config::{resolve_queue, resolve_secrets},
    feed::{Broking, Maker, Source},
    queue::{Store, amqp::Broker},
};

/// Opens it: that of this machine, or the one that `[queue] url` names.
///
/// # Errors
/// If it cannot be used. Of RabbitMQ only what can be said without asking it.
pub(super) fn open(context: &Context, prefetch: u16, is_lasting: bool) -> Result<Source, CliError> {
    let table = resolve_queue(&context.files, &context.environment)?;
    let secrets = resolve_secrets(&context.files, &context.environment)?;
    if let Some(broker) = Broker::new(&table, secrets, &context.environment)? {
        let maker = Maker(Arc::new(|_, _| Err("not yet".to_owned())));
        return Ok(Source::Broker(Broking { broker: Arc::new(broker), prefetch, maker }));
    }
    let store = Store::open(&queue::file(&table, context)?)?;
    let worker = store.worker(is_lasting)?;
    Ok(Source::Store(store, worker))
}
