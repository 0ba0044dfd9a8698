//! Where messages are added, whichever queue it is.

use super::{
    Added, Job, QueueError, Store,
    amqp::{Letter, Link},
};
use crate::message::Stamp;

/// A queue that messages are added to.
#[derive(Debug)]
pub enum Inlet {
    /// That of this machine.
    Store(Box<Store>),
    /// One that machines share.
    Broker(Link),
}

impl Inlet {
    /// Adds these messages; they are safe when it returns. On this machine all are added or none; to RabbitMQ, when it
    /// fails, some may be.
    ///
    /// # Errors
    /// Of the queue, and of a file that cannot be read.
    pub async fn add(&mut self, jobs: &[Job]) -> Result<Vec<Added>, QueueError> {
        let link = match self {
            Inlet::Store(store) => return store.add(jobs),
            Inlet::Broker(link) => link,
        };
        let (mut stamp, now) = (Stamp::now(), jiff::Timestamp::now().as_millisecond());
        let letters: Vec<Letter> = jobs.iter().map(|job| Letter::new(stamp.mark(), job.clone(), now)).collect();
        link.add(&letters, now).await?;
        Ok(letters.into_iter().map(|letter| (letter.name, None)).collect())
    }

    /// Says farewell.
    pub async fn close(&self) {
        if let Inlet::Broker(link) = self {
            link.close().await;
        }
    }
}
