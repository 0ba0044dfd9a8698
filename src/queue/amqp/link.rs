//! A connection to RabbitMQ: its queues made or looked for, messages published and confirmed, messages taken.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_rs::Runtime;
use futures_core::Stream as _;
use lapin::{
    Acker, BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, Error, ErrorKind,
    PublisherConfirm,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions,
        BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
    },
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
    tcp::AsyncTcpStream,
    types::{AMQPValue, FieldTable, ShortString},
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    Broker, Letter, Pause, RUNGS, letter, rung,
    stream::{Kit, compatible},
};
use crate::{
    mail::{Cause, Stage, Trouble},
    net::{self, Passage},
    queue::{QueueError, Time},
    secret,
};

/// Connecting, logging in and looking at the queues takes no longer.
const CONNECT: Duration = Duration::from_secs(30);
/// Saying farewell takes no longer.
const FAREWELL: Duration = Duration::from_secs(2);
/// Silence of so many seconds, twice, is the end of a connection.
const HEARTBEAT: u16 = 10;
/// An answer of RabbitMQ proves for so long at most that we are known.
const PROOF: Duration = Duration::from_secs(5);
/// Octets of headers that go along with what is published once more: they have to fit into a frame.
const MOST_HEADERS: usize = 32 * 1024;
/// Octets of a frame; RabbitMQ's own measure.
const FRAME: u32 = 128 * 1024;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Messages are added.
    Adding,
    /// Messages are taken, and what comes of them is published.
    Working,
    /// Messages are counted.
    Looking,
}

/// A connection.
pub struct Link {
    broker: Arc<Broker>,
    connection: Connection,
    /// By which messages come and are acknowledged.
    channel: Channel,
    /// By which records are published, and nothing else: what is returned of them is not taken for something else.
    results: Channel,
    /// The queues of what is due later that are there, a bit for each.
    there: Mutex<u32>,
    /// Messages that are delivered.
    consumer: Mutex<Option<Consumer>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.broker).finish()
    }
}

/// Messages in a queue.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Count {
    /// The queue.
    pub queue: String,
    /// Messages that nobody has.
    pub messages: u32,
    /// Who takes them.
    pub consumers: u32,
}

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
    properties: BasicProperties,
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

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// [`Cause::Login`], [`Cause::Configuration`] where somebody has to change something; others may pass.
    pub async fn open(broker: Arc<Broker>, purpose: Purpose) -> Result<Self, Trouble> {
        let about = broker.clone();
        let opened = timeout(CONNECT, Self::connect(broker, purpose)).await;
        opened
            .unwrap_or_else(|_| {
                let what = format!("no answer within {} s", CONNECT.as_secs());
                Err(Trouble::new(Stage::Connect, Cause::TimedOut, what))
            })
            .map_err(|trouble| Trouble { what: format!("{}: {}", about.url, trouble.what), ..trouble })
    }

    async fn connect(broker: Arc<Broker>, purpose: Purpose) -> Result<Self, Trouble> {
        let (username, password) = match &broker.wanted {
            Some(wanted) => {
                let wanted = wanted.clone();
                let found = spawn_blocking(move || secret::get(&wanted)).await;
                let found = found.map_err(|error| Trouble::new(Stage::Auth, Cause::Internal, error.to_string()))?;
                let found = found.map_err(|error| {
                    let trouble = Trouble::new(Stage::Auth, error.cause, &error.what);
                    error.hints.into_iter().fold(trouble, Trouble::hint)
                })?;
                let Ok(password) = str::from_utf8(found.secret.expose()) else {
                    let what = "the password is no text in UTF-8";
                    return Err(Trouble::new(Stage::Auth, Cause::Configuration, what));
                };
                (broker.url.user.clone().unwrap_or_default(), password.to_owned())
            }
            // RabbitMQ knows this one by itself, from its own machine only.
            None => ("guest".to_owned(), "guest".to_owned()),
        };
        let uri = AMQPUri {
            // TLS is in the stream already.
            scheme: AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username, password },
                host: broker.url.endpoint.host.clone(),
                port: broker.url.endpoint.port,
            },
            vhost: broker.url.vhost.clone(),
            query: AMQPQueryString { frame_max: Some(FRAME), heartbeat: Some(HEARTBEAT), ..AMQPQueryString::default() },
        };
        let why: Arc<Mutex<Option<Trouble>>> = Arc::default();
        let is_open: Arc<AtomicBool> = Arc::default();
        let connecting = {
            let (broker, why, is_open) = (broker.clone(), why.clone(), is_open.clone());
            async move |_, _| match stream(&broker).await {
                Ok(stream) => Ok(AsyncTcpStream::Plain(compatible(stream, CONNECT, is_open.clone()))),
                Err(trouble) => {
                    *why.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
                    Err(io::Error::from(io::ErrorKind::ConnectionAborted).into())
                }
            }
        };
        let name = format!("mailsend on {}", net::host_name());
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connection = Connection::connector(uri, Runtime::new(Kit::current()), connecting, properties).await;
        let connection = connection.map_err(|error| {
            let why = why.lock().unwrap_or_else(PoisonError::into_inner).take();
            why.unwrap_or_else(|| refused(&broker, &error))
        })?;
        let channel = connection.create_channel().await.map_err(|error| trouble(&error))?;
        let results = confirming(&connection).await?;
        let link = Self { broker, connection, channel, results, there: Mutex::default(), consumer: Mutex::default() };
        link.prepare(purpose).await?;
        is_open.store(true, Ordering::Relaxed);
        Ok(link)
    }

    /// Whether it is there, as far as is known.
    pub fn is_alive(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// How long an answer proves that what was delivered is ours: RabbitMQ forgets us after twice the heartbeat.
    pub fn proof(&self) -> Duration {
        match self.connection.configuration().heartbeat() {
            0 => PROOF,
            seconds => PROOF.min(Duration::from_secs(seconds.into()) / 2),
        }
    }

    /// By which messages are published: for one purpose, so that no refusal is taken for another one's.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn publisher(&self) -> Result<Publisher<'_>, Trouble> {
        Ok(Publisher { link: self, channel: confirming(&self.connection).await? })
    }

    /// Makes the queues, or looks whether they are there.
    async fn prepare(&self, purpose: Purpose) -> Result<(), Trouble> {
        let broker = &self.broker;
        if purpose == Purpose::Looking {
            return Ok(());
        }
        let mut names = vec![broker.name.clone()];
        if purpose == Purpose::Working {
            names.push(broker.dead());
            names.extend(broker.results.clone());
        }
        if broker.declares {
            for name in &names {
                self.declare(name, quorum()).await?;
            }
            return Ok(());
        }
        for name in &names {
            if self.count(name).await?.is_none() {
                let what = format!("there is no queue '{name}'");
                return Err(Trouble::new(Stage::Connect, Cause::Configuration, what)
                    .hint("set queue.declare = true and mailsend makes it, or ask whoever looks after RabbitMQ"));
            }
        }
        let mut there = 0;
        for rung in 0..RUNGS {
            if self.count(&broker.delay(rung)).await?.is_some() {
                there |= 1 << rung;
            }
        }
        if there == 0 && purpose == Purpose::Working {
            let what =
                format!("there is no queue for what is due later: neither '{}' nor a longer one", broker.delay(0));
            return Err(Trouble::new(Stage::Connect, Cause::Configuration, what)
                .hint("mailsend worker makes them where queue.declare is true; man mailsend-queue says how they are"));
        }
        *self.there.lock().unwrap_or_else(PoisonError::into_inner) = there;
        Ok(())
    }

    async fn declare(&self, name: &str, arguments: FieldTable) -> Result<(), Trouble> {
        // What is refused ends the channel.
        let channel = self.connection.create_channel().await.map_err(|error| trouble(&error))?;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        match channel.queue_declare(name.into(), options, arguments).await {
            Ok(_) => {
                // What is not closed is closed with the connection.
                let _ = channel.close(200, "".into()).await;
                Ok(())
            }
            Err(error) => {
                let trouble = trouble(&error);
                Err(match soft(&error) {
                    Some(AMQPSoftError::PRECONDITIONFAILED) => {
                        Trouble { what: format!("queue '{name}' is of another kind: {}", trouble.what), ..trouble }
                            .hint("queue.declare = false takes it as it is; queue.name names another")
                    }
                    Some(AMQPSoftError::ACCESSREFUSED) => {
                        Trouble { what: format!("queue '{name}' may not be made: {}", trouble.what), ..trouble }
                            .hint("queue.declare = false takes queues that are there")
                    }
                    _ => trouble,
                })
            }
        }
    }

    /// What is in a queue; nothing, if there is no such queue.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn count(&self, name: &str) -> Result<Option<Count>, Trouble> {
        // Asking for a queue that is not there ends the channel.
        let channel = self.connection.create_channel().await.map_err(|error| trouble(&error))?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        match channel.queue_declare(name.into(), options, FieldTable::default()).await {
            Ok(queue) => {
                // What is not closed is closed with the connection.
                let _ = channel.close(200, "".into()).await;
                let (messages, consumers) = (queue.message_count(), queue.consumer_count());
                Ok(Some(Count { queue: name.to_owned(), messages, consumers }))
            }
            Err(error) if soft(&error) == Some(AMQPSoftError::NOTFOUND) => Ok(None),
            Err(error) => Err(trouble(&error)),
        }
    }

    /// What is in all the queues that are there: what is due, what is due later, what nobody could send.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn counts(&self) -> Result<Vec<Count>, Trouble> {
        let delays = (0..RUNGS).map(|rung| self.broker.delay(rung));
        let names = std::iter::once(self.broker.name.clone()).chain(delays).chain([self.broker.dead()]);
        let mut counts = Vec::new();
        for name in names {
            counts.extend(self.count(&name).await?);
        }
        Ok(counts)
    }

    /// Publishes records, if somebody wants them.
    ///
    /// # Errors
    /// If RabbitMQ has not taken one.
    pub async fn records(&self, records: &[Vec<u8>]) -> Result<(), Trouble> {
        let Some(results) = &self.broker.results else { return Ok(()) };
        let mut confirming = Vec::with_capacity(records.len());
        for json in records {
            let properties =
                BasicProperties::default().with_content_type("application/json".into()).with_delivery_mode(2);
            confirming.push(begin(&self.results, results, json, properties).await?);
        }
        for confirm in confirming {
            confirmed(results, confirm).await?;
        }
        Ok(())
    }

    /// Makes queues that somebody has taken away, where they are made at all.
    ///
    /// # Errors
    /// As of [`Link::open`].
    pub async fn mend(&self) -> Result<(), Trouble> {
        if self.broker.declares {
            *self.there.lock().unwrap_or_else(PoisonError::into_inner) = 0;
            for name in [self.broker.dead()].into_iter().chain(self.broker.results.clone()) {
                self.declare(&name, quorum()).await?;
            }
        }
        Ok(())
    }

    /// Begins to take messages: so many at once that are not settled.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn consume(&self, prefetch: u16) -> Result<(), Trouble> {
        self.ping(prefetch).await?;
        let name: ShortString = self.broker.name.as_str().into();
        let consuming =
            self.channel.basic_consume(name, "".into(), BasicConsumeOptions::default(), FieldTable::default());
        let consumer = consuming.await.map_err(|error| trouble(&error))?;
        *self.consumer.lock().unwrap_or_else(PoisonError::into_inner) = Some(consumer);
        Ok(())
    }

    /// Asks for an answer: what was delivered before is still ours when it comes.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn ping(&self, prefetch: u16) -> Result<(), Trouble> {
        self.channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(|error| trouble(&error))
    }

    /// The next message that comes.
    ///
    /// # Errors
    /// When nothing comes any more: the connection has gone, or the queue.
    pub fn poll_arrival(&self, context: &mut Context<'_>) -> Poll<Result<Arrival, Trouble>> {
        let mut consumer = self.consumer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(consumer) = consumer.as_mut() else { return Poll::Pending };
        Pin::new(consumer).poll_next(context).map(|delivery| match delivery {
            Some(Ok(delivery)) => Ok(arrival(delivery)),
            Some(Err(error)) => Err(trouble(&error)),
            None => Err(lost("RabbitMQ delivers nothing any more")),
        })
    }

    /// Takes nothing more; what has come already is still told.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn cancel(&self) -> Result<(), Trouble> {
        let tag = self.consumer.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Consumer::tag);
        let Some(tag) = tag else { return Ok(()) };
        self.channel.basic_cancel(tag, BasicCancelOptions::default()).await.map_err(|error| trouble(&error))
    }

    /// Says farewell. What was not settled is free for others.
    pub async fn close(&self) {
        // It goes with the process, too.
        let _ = timeout(FAREWELL, self.connection.close(200, "".into())).await;
    }
}

/// Publishes messages that are confirmed.
pub struct Publisher<'a> {
    link: &'a Link,
    channel: Channel,
}

impl Publisher<'_> {
    /// Publishes letters that are new: for who takes what is due, or to wait until they are.
    ///
    /// # Errors
    /// A file of one that cannot be read: then none was published. If RabbitMQ has not taken one: others may be there.
    pub async fn add(&self, letters: &[Letter], now: Time) -> Result<(), QueueError> {
        let mut octets = Vec::with_capacity(letters.len());
        for letter in letters {
            octets.push(letter.encode().map_err(|error| letter.unreadable(error))?);
        }
        let mut confirming = Vec::with_capacity(letters.len());
        for (letter, octets) in letters.iter().zip(octets) {
            let properties = of_letter(&letter.job.message_id, 0);
            let queue = match letter.job.due.filter(|due| *due > now) {
                Some(due) => self.later(Pause::AtMost(due - now)).await.map_err(QueueError::Broker)?,
                None => self.link.broker.name.clone(),
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
        self.deliver(&self.link.broker.dead(), octets, properties.with_headers(headers)).await
    }

    async fn queue(&self, pause: Option<Pause>) -> Result<String, Trouble> {
        match pause {
            Some(pause) => self.later(pause).await,
            None => Ok(self.link.broker.name.clone()),
        }
    }

    /// The queue for what is due later, made where it is not there.
    async fn later(&self, pause: Pause) -> Result<String, Trouble> {
        let link = self.link;
        let there = *link.there.lock().unwrap_or_else(PoisonError::into_inner);
        let all = if link.broker.declares { (1 << RUNGS) - 1 } else { there };
        let Some(rung) = rung(pause, all) else {
            return Err(Trouble::new(Stage::Connect, Cause::Configuration, "there is no queue for what is due later"));
        };
        let name = link.broker.delay(rung);
        if there & (1 << rung) == 0 {
            link.declare(&name, waiting(&link.broker.name, rung)).await?;
            *link.there.lock().unwrap_or_else(PoisonError::into_inner) |= 1 << rung;
        }
        Ok(name)
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

async fn confirming(connection: &Connection) -> Result<Channel, Trouble> {
    let channel = connection.create_channel().await.map_err(|error| trouble(&error))?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(|error| trouble(&error))?;
    Ok(channel)
}

async fn begin(
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
async fn confirmed(queue: &str, confirm: PublisherConfirm) -> Result<(), Trouble> {
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

fn arrival(delivery: lapin::message::Delivery) -> Arrival {
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

/// A queue that outlives the death of a machine of several.
fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments
}

/// A queue from which messages come back by themselves, and are not lost on the way.
fn waiting(back_to: &str, rung: u32) -> FieldTable {
    let mut arguments = quorum();
    let text = |text: &str| AMQPValue::LongString(text.into());
    arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(1000 << rung));
    arguments.insert("x-dead-letter-exchange".into(), text(""));
    arguments.insert("x-dead-letter-routing-key".into(), text(back_to));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments
}

/// Connects and secures.
async fn stream(broker: &Broker) -> Result<net::Stream, Trouble> {
    let endpoint = &broker.url.endpoint;
    let stream = net::dial(endpoint, &Passage::default(), CONNECT).await?.stream;
    match &broker.tls {
        Some(tls) => match tls.secure(stream, &endpoint.host).await {
            Ok((stream, _)) => Ok(stream),
            Err(mut trouble) => {
                if trouble.cause == Cause::Untrusted {
                    // The keys of a profile are not for this.
                    trouble.hints = vec!["trust that authority: queue.ca-file = \"FILE.pem\"".to_owned()];
                }
                Err(trouble)
            }
        },
        None => Ok(stream),
    }
}

/// Why a connection did not come about.
fn refused(broker: &Broker, error: &Error) -> Trouble {
    let why = trouble(error);
    let ErrorKind::ProtocolError(said) = error.kind() else { return why };
    match said.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
            let user = broker.url.user.as_deref().unwrap_or("guest");
            let what = format!("the login of '{user}' was refused: {}", why.what);
            let hint = match &broker.wanted {
                Some(_) => "check queue.password, and whether the user may use the virtual host",
                None => {
                    "name a user: queue.url = \"amqps://USER@HOST\"; guest may log in from RabbitMQ's own machine only"
                }
            };
            Trouble { what: crate::mail::clean(&what), cause: Cause::Login, ..why }.hint(hint)
        }
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => {
            let what = format!("the virtual host '{}' cannot be used: {}", broker.url.vhost, why.what);
            Trouble { what: crate::mail::clean(&what), cause: Cause::Configuration, ..why }
        }
        _ => why,
    }
}

fn soft(error: &Error) -> Option<AMQPSoftError> {
    match error.kind() {
        ErrorKind::ProtocolError(said) => match said.kind() {
            AMQPErrorKind::Soft(kind) => Some(kind.clone()),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

/// What lapin says, in our words.
fn trouble(error: &Error) -> Trouble {
    let told = |cause, what: &str| Trouble::new(Stage::Connect, cause, what);
    match error.kind() {
        ErrorKind::ProtocolError(said) => {
            let cause = match said.kind() {
                // In its words: message size 17000000 is larger than configured max size 16777216.
                AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED)
                    if said.get_message().as_str().contains("larger than") =>
                {
                    Cause::TooLarge
                }
                AMQPErrorKind::Soft(
                    AMQPSoftError::ACCESSREFUSED | AMQPSoftError::NOTFOUND | AMQPSoftError::PRECONDITIONFAILED,
                ) => Cause::Configuration,
                AMQPErrorKind::Soft(_) => Cause::Busy,
                AMQPErrorKind::Hard(_) => Cause::Lost,
            };
            told(cause, said.get_message().as_str())
        }
        ErrorKind::IOError(error) => told(Cause::Lost, &error.to_string()),
        ErrorKind::MissingHeartbeatError => told(Cause::Lost, "RabbitMQ was silent for too long"),
        ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannelState(..) | ErrorKind::InvalidChannel(_) => {
            lost("the connection to RabbitMQ has gone")
        }
        _ => told(Cause::Protocol, &error.to_string()),
    }
}

fn lost(what: &str) -> Trouble {
    Trouble::new(Stage::Connect, Cause::Lost, what)
}
