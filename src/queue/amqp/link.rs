//! A connection to RabbitMQ: its queues made or looked for, and messages taken.

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
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, Error, ErrorKind,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
    tcp::AsyncTcpStream,
    types::{AMQPValue, FieldTable, ShortString},
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    Arrival, Broker, Pause, Publisher, RUNGS,
    arrival::arrival,
    publisher::{begin, confirmed, confirming},
    rung,
    stream::{Kit, compatible},
    trouble::{lost, soft, trouble},
};
use crate::{
    mail::{Cause, Stage, Trouble},
    net::{self, Passage},
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
                    error.hints.into_iter().map(|hint| in_our_key(&hint)).fold(trouble, Trouble::hint)
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

    /// The queue for what is due later, made where it is not there.
    pub(super) async fn later(&self, pause: Pause) -> Result<String, Trouble> {
        let there = *self.there.lock().unwrap_or_else(PoisonError::into_inner);
        let all = if self.broker.declares { (1 << RUNGS) - 1 } else { there };
        let Some(rung) = rung(pause, all) else {
            return Err(Trouble::new(Stage::Connect, Cause::Configuration, "there is no queue for what is due later"));
        };
        let name = self.broker.delay(rung);
        if there & (1 << rung) == 0 {
            self.declare(&name, waiting(&self.broker.name, rung)).await?;
            *self.there.lock().unwrap_or_else(PoisonError::into_inner) |= 1 << rung;
        }
        Ok(name)
    }

    /// The RabbitMQ.
    pub(super) fn broker(&self) -> &Broker {
        &self.broker
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

/// A hint that names the option of a profile, with our key.
fn in_our_key(hint: &str) -> String {
    match hint.strip_prefix("-o 'password=").and_then(|rest| rest.split_once('\'')) {
        Some((source, rest)) => format!("queue.password = {source}{rest}"),
        None => hint.to_owned(),
    }
}

/// Connects and secures.
async fn stream(broker: &Broker) -> Result<net::Stream, Trouble> {
    let endpoint = &broker.url.endpoint;
    let stream = match net::dial(endpoint, &Passage::default(), CONNECT).await {
        Ok(connected) => connected.stream,
        Err(mut trouble) => {
            // What is told of a port is told of mail servers.
            trouble.hints = vec!["RabbitMQ is usually at port 5672, and with TLS (amqps://) at 5671".to_owned()];
            return Err(trouble);
        }
    };
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
