//! Messages that have come, and what goes along with one that is published once more.

use lapin::{
    Acker, BasicProperties,
    options::{BasicAckOptions, BasicNackOptions},
    types::{AMQPValue, FieldTable, ShortString},
};

use super::trouble::{lost, trouble};
use crate::{mail::Trouble, queue::letter};

/// Octets of headers that go along with what is published once more: they have to fit into a frame.
const MOST_HEADERS: usize = 32 * 1024;

/// A message that has come.
#[derive(Debug)]
pub struct Arrival {
    /// Its octets.
    pub octets: Vec<u8>,
    /// It is a letter of ours.
    pub is_letter: bool,
    /// What the publisher calls it; and when it was published, in seconds since 1970.
    pub message_id: Option<String>,
    /// See `message_id`.
    pub timestamp: Option<u64>,
    /// Somebody had it before, and has not said what came of it.
    pub is_redelivered: bool,
    /// How often that was, as far as RabbitMQ knows.
    pub times: u64,
    /// By which it is settled.
    pub ticket: Ticket,
    pub(super) properties: BasicProperties,
}

impl Arrival {
    /// Whether no other message can be taken for it: two jobs may be the same word for word.
    pub fn is_unique(&self) -> bool {
        self.is_letter || self.message_id.is_some()
    }
}

/// By which a message that has come is settled, once.
#[derive(Debug, Clone)]
pub struct Ticket(Acker);

impl Ticket {
    /// It is settled.
    ///
    /// # Errors
    /// If the connection has gone: then it comes again, here or elsewhere.
    pub async fn acknowledge(&self) -> Result<(), Trouble> {
        whether(self.0.ack(BasicAckOptions::default()).await)
    }

    /// Nobody has begun it: it is free for others.
    ///
    /// # Errors
    /// As [`Ticket::acknowledge`].
    pub async fn give_back(&self) -> Result<(), Trouble> {
        whether(self.0.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await)
    }
}

fn whether(said: lapin::Result<bool>) -> Result<(), Trouble> {
    match said {
        Ok(true) => Ok(()),
        Ok(false) => Err(lost("the connection to RabbitMQ has gone")),
        Err(error) => Err(trouble(&error)),
    }
}

/// What has been delivered.
pub(super) fn arrival(delivery: lapin::message::Delivery) -> Arrival {
    let properties = delivery.properties;
    let text = |text: &Option<ShortString>| text.as_ref().map(|text| text.as_str().to_owned());
    // Only RabbitMQ's own word counts: whoever publishes may bring the header along.
    let headers = properties.headers().as_ref().filter(|_| delivery.redelivered);
    let times = headers.and_then(|headers| headers.inner().get("x-delivery-count"));
    let times = times.and_then(number).unwrap_or_default();
    Arrival {
        octets: delivery.data,
        is_letter: properties.content_type().as_ref().is_some_and(|kind| kind.as_str() == letter::CONTENT_TYPE),
        message_id: text(properties.message_id()),
        timestamp: *properties.timestamp(),
        is_redelivered: delivery.redelivered,
        times,
        properties: forwarded(&properties),
        ticket: Ticket(delivery.acker),
    }
}

/// What goes along with a message that is published once more. What would let RabbitMQ refuse it, forget it or give it to
/// others as well does not: user-id, expiration, the headers CC and BCC, and what it has said itself.
fn forwarded(all: &BasicProperties) -> BasicProperties {
    let mut own = BasicProperties::default().with_delivery_mode(2);
    if let Some(value) = all.content_type().clone() {
        own = own.with_content_type(value);
    }
    if let Some(value) = all.content_encoding().clone() {
        own = own.with_content_encoding(value);
    }
    if let Some(value) = all.correlation_id().clone() {
        own = own.with_correlation_id(value);
    }
    if let Some(value) = all.message_id().clone() {
        own = own.with_message_id(value);
    }
    if let Some(value) = *all.timestamp() {
        own = own.with_timestamp(value);
    }
    if let Some(value) = all.app_id().clone() {
        own = own.with_app_id(value);
    }
    let mut headers = FieldTable::default();
    let mut room = MOST_HEADERS;
    for (name, value) in all.headers().iter().flat_map(|headers| headers.inner()) {
        let key = name.as_str();
        let size = match value {
            AMQPValue::LongString(text) => text.as_bytes().len(),
            AMQPValue::FieldTable(_) | AMQPValue::FieldArray(_) | AMQPValue::ByteArray(_) => continue,
            _ => 16,
        };
        if matches!(key, "CC" | "BCC") || key.starts_with("x-") || key.starts_with("mailsend-") || size > room {
            continue;
        }
        room -= size;
        headers.insert(name.clone(), value.clone());
    }
    own.with_headers(headers)
}

fn number(value: &AMQPValue) -> Option<u64> {
    match value {
        AMQPValue::LongLongInt(number) => u64::try_from(*number).ok(),
        AMQPValue::LongInt(number) => u64::try_from(*number).ok(),
        AMQPValue::LongUInt(number) => Some(u64::from(*number)),
        AMQPValue::ShortInt(number) => u64::try_from(*number).ok(),
        AMQPValue::ShortShortInt(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}
