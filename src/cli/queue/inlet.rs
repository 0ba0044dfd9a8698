//! The queue that `[queue]` names, for those who add to it.

use std::sync::Arc;

use super::{file, open};
use crate::{
    cli::{CliError, args::Context, runtime},
    config::{QueueTable, resolve_secrets},
    queue::{Added, Inlet, Job, amqp::Broker},
};

/// The RabbitMQ that keeps the messages, if one does.
///
/// # Errors
/// If it cannot be used as the configuration says.
pub(in crate::cli) fn broker(queue: &QueueTable, context: &Context) -> Result<Option<Arc<Broker>>, CliError> {
    let secrets = resolve_secrets(&context.files, &context.environment)?;
    Ok(Broker::new(queue, secrets, &context.environment)?.map(Arc::new))
}

/// Where messages are added.
///
/// # Errors
/// If it cannot be used.
pub(in crate::cli) fn inlet(queue: &QueueTable, context: &Context) -> Result<Inlet, CliError> {
    match broker(queue, context)? {
        Some(broker) => Ok(Inlet::Broker(broker, None)),
        None => Ok(Inlet::Store(Box::new(open(&file(queue, context)?)?))),
    }
}

/// Adds messages for a command that adds no more.
///
/// # Errors
/// Of the queue.
pub(in crate::cli) fn add(jobs: &[Job], queue: &QueueTable, context: &Context) -> Result<Vec<Added>, CliError> {
    let mut inlet = inlet(queue, context)?;
    if let Inlet::Store(store) = &mut inlet {
        return Ok(store.add(jobs)?);
    }
    let runtime = runtime()?;
    let added = runtime.block_on(async {
        let added = inlet.add(jobs).await;
        inlet.close().await;
        added
    });
    // A thread that waits for a keyring is not waited for.
    runtime.shutdown_background();
    Ok(added?)
}
