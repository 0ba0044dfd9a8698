//! What is published, and confirmed.

use lapin::{
    BasicProperties, Channel, Confirmation, Connection, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};

use super::{Arrival, Link, Pause, trouble::trouble};
use crate::{
    mail::{Cause, Stage, Trouble},
    queue::{Letter, QueueError, Time, letter},
};

/// Publishes messages that are confirmed.
pub struct Publisher<'a> {
    pub(super) link: &'a Link,
    pub(super) channel: Channel,
}

impl Publisher<'_> {
    /// Publishes letters that are new: for who takes what is due, or to wait until they are.
    ///
    /// # Errors
    /// A file of one that cannot be read, or one that nobody would take: then none was published. If RabbitMQ has not taken one: others may be there.
    pub async fn add(&self, letters: &[Letter], now: Time) -> Result<(), QueueError> {
        let mut octets = Vec::with_capacity(letters.len());
        for letter in letters {
            octets.push(letter.seal(letter::MOST_HEAD)?);
        }
        let mut confirming = Vec::with_capacity(letters.len());
        for (letter, octets) in letters.iter().zip(octets) {
            let properties = of_letter(&letter.job.message_id, 0);
            let queue = match letter.job.due.filter(|due| *due > now) {
                Some(due) => self.link.later(Pause::AtMost(due - now)).await.map_err(QueueError::Broker)?,
                None => self.link.broker().name().to_owned(),
            };
            let begun = begin(&self.channel, &queue, &octets, properties).await.map_err(QueueError::Broker)?;
            confirming.push((queue, begun));
        }
        for (queue, confirm) in confirming {
            confirmed(&queue, confirm).await.map_err(|trouble| {
                // It may be there: that is not what "try again" is for.
                let stage = if trouble.cause == Cause::Lost { Stage::Final } else { trouble.stage };
                QueueError::Broker(Trouble { stage, ..trouble })
            })?;
        }
        Ok(())
    }

    /// Publishes a letter of ours for who takes what is due, or to wait; returns once it is safe there.
    ///
    /// # Errors
    /// [`Cause::TooLarge`]; [`Cause::Lost`] with the connection; others may pass.
    pub async fn letter(
        &self,
        pause: Option<Pause>,
        octets: &[u8],
        message_id: &str,
        attempts: u32,
    ) -> Result<(), Trouble> {
        let queue = self.queue(pause).await?;
        self.deliver(&queue, octets, of_letter(message_id, attempts)).await
    }

    /// Lets a message wait as it came, or come once more at once.
    ///
    /// # Errors
    /// As [`Publisher::letter`].
    pub async fn once_more(&self, pause: Option<Pause>, arrival: &Arrival) -> Result<(), Trouble> {
        let queue = self.queue(pause).await?;
        self.deliver(&queue, &arrival.octets, arrival.properties.clone()).await
    }

    /// Publishes what nobody could send, with the reason and the last reply.
    ///
    /// # Errors
    /// As [`Publisher::letter`].
    pub async fn bury(&self, what: Dead<'_>, reason: &str, reply: Option<&str>) -> Result<(), Trouble> {
        let (octets, properties) = match what {
            Dead::Arrival(arrival) => (&arrival.octets[..], arrival.properties.clone()),
            Dead::Letter { octets, message_id, attempts } => (octets, of_letter(message_id, attempts)),
        };
        let mut headers = properties.headers().clone().unwrap_or_default();
        let text = |text: &str| AMQPValue::LongString(crate::mail::clean(text).into());
        headers.insert("mailsend-reason".into(), text(reason));
        if let Some(reply) = reply {
            headers.insert("mailsend-reply".into(), text(reply));
        }
        self.deliver(&self.link.broker().dead(), octets, properties.with_headers(headers)).await
    }

    async fn queue(&self, pause: Option<Pause>) -> Result<String, Trouble> {
        match pause {
            Some(pause) => self.link.later(pause).await,
            None => Ok(self.link.broker().name().to_owned()),
        }
    }

    async fn deliver(&self, queue: &str, octets: &[u8], properties: BasicProperties) -> Result<(), Trouble> {
        let published = match begin(&self.channel, queue, octets, properties).await {
            Ok(confirm) => confirmed(queue, confirm).await,
            Err(trouble) => Err(trouble),
        };
        // The channel has gone, and the connection has not.
        let is_only_channel = |trouble: &Trouble| trouble.cause == Cause::Lost && self.link.is_alive();
        published.map_err(|trouble| match trouble {
            trouble if is_only_channel(&trouble) => Trouble { cause: Cause::Busy, ..trouble },
            trouble => trouble,
        })
    }

    /// The end of it.
    pub async fn close(self) {
        // What is not closed is closed with the connection.
        let _ = self.channel.close(200, "".into()).await;
    }
}

/// A channel on which everything is confirmed.
pub(super) async fn confirming(connection: &Connection) -> Result<Channel, Trouble> {
    let channel = connection.create_channel().await.map_err(|error| trouble(&error))?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(|error| trouble(&error))?;
    Ok(channel)
}

/// Publishes to a queue; that it is there is waited for later.
pub(super) async fn begin(
    channel: &Channel,
    queue: &str,
    octets: &[u8],
    properties: BasicProperties,
) -> Result<PublisherConfirm, Trouble> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let begun = channel.basic_publish("".into(), queue.into(), options, octets, properties).await;
    begun.map_err(|error| trouble(&error))
}

/// Waits until RabbitMQ has taken a message.
pub(super) async fn confirmed(queue: &str, confirm: PublisherConfirm) -> Result<(), Trouble> {
    match confirm.await.map_err(|error| trouble(&error))? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
            let what = format!("queue '{queue}' has not taken a message: {}", returned.reply_text);
            Err(Trouble::new(Stage::Connect, Cause::Refused, what))
        }
        Confirmation::Nack(None) | Confirmation::NotRequested => {
            Err(Trouble::new(Stage::Connect, Cause::Busy, format!("queue '{queue}' has not taken a message")))
        }
    }
}

/// What nobody could send.
#[derive(Debug, Clone, Copy)]
pub enum Dead<'a> {
    /// As it came.
    Arrival(&'a Arrival),
    /// A letter of ours.
    Letter {
        /// Its octets.
        octets: &'a [u8],
        /// With its angle brackets.
        message_id: &'a str,
        /// Attempts made.
        attempts: u32,
    },
}

fn of_letter(message_id: &str, attempts: u32) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("mailsend-attempts".into(), AMQPValue::LongLongInt(attempts.into()));
    let properties = BasicProperties::default()
        .with_content_type(letter::CONTENT_TYPE.into())
        .with_delivery_mode(2)
        .with_headers(headers);
    // A short string of AMQP has 255 octets.
    if message_id.len() <= 255 { properties.with_message_id(message_id.into()) } else { properties }
}
