//! Where messages are added, whichever queue it is.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    Added, Job, Letter, QueueError, Store, Time,
    amqp::{Broker, Link, Purpose},
};
use crate::{
    mail::{Cause, Stage, Trouble},
    message::Stamp,
};

/// Adding takes no longer: a RabbitMQ that has no room lets everybody wait.
const LIMIT: Duration = Duration::from_secs(60);

/// A queue that messages are added to.
#[derive(Debug)]
pub enum Inlet {
    /// That of this machine.
    Store(Box<Store>),
    /// One that machines share, and the connection to it once there is one.
    Broker(Arc<Broker>, Option<Box<Link>>),
}

impl Inlet {
    /// Whether what was added once is not added again under the same key. Else nobody knows of messages that were about to
    /// be added when somebody died.
    pub fn knows_keys(&self) -> bool {
        matches!(self, Inlet::Store(_))
    }

    /// Connects, where that has not been done.
    ///
    /// # Errors
    /// Of the queue: then nothing was added.
    pub async fn ready(&mut self) -> Result<(), QueueError> {
        if let Inlet::Broker(broker, link @ None) = self {
            let opened = Link::open(broker.clone(), Purpose::Adding).await;
            *link = Some(Box::new(opened.map_err(QueueError::Broker)?));
        }
        Ok(())
    }

    /// Adds these messages; they are safe when it returns. On this machine all are added or none; in RabbitMQ some may be
    /// when it fails.
    ///
    /// # Errors
    /// Of the queue, and of a file that cannot be read.
    pub async fn add(&mut self, jobs: &[Job]) -> Result<Vec<Added>, QueueError> {
        self.ready().await?;
        let link = match self {
            Inlet::Store(store) => return store.add(jobs),
            Inlet::Broker(_, link) => link,
        };
        let (mut stamp, now) = (Stamp::now(), jiff::Timestamp::now().as_millisecond());
        let letters: Vec<Letter> = jobs.iter().map(|job| Letter::new(stamp.mark(), job.clone(), now)).collect();
        if let Some(open) = link
            && let Err(error) = add(open, &letters, now).await
        {
            *link = None;
            return Err(error);
        }
        Ok(letters.into_iter().map(|letter| (letter.name, None)).collect())
    }

    /// Says farewell.
    pub async fn close(&self) {
        if let Inlet::Broker(_, Some(link)) = self {
            link.close().await;
        }
    }
}

async fn add(link: &Link, letters: &[Letter], now: Time) -> Result<(), QueueError> {
    let publisher = link.publisher().await.map_err(QueueError::Broker)?;
    let Ok(added) = timeout(LIMIT, publisher.add(letters, now)).await else {
        let what = format!("RabbitMQ has not taken a message within {} s", LIMIT.as_secs());
        return Err(QueueError::Broker(Trouble::new(Stage::Final, Cause::TimedOut, what)));
    };
    publisher.close().await;
    added
}
