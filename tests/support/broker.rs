//! A RabbitMQ, and pika, which publishes to it and takes from it as programs of others do.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::real::{PASSWORD, Real, rabbitmq, root};

/// It takes some seconds to start, and more where others compile.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running RabbitMQ; whoever uses one that is shared names queues of its own.
pub struct Broker(Real);

/// The RabbitMQ of this process; nothing if there is none here, which has been said then.
pub fn broker() -> Option<&'static Broker> {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    rabbitmq(|start| BROKER.get_or_init(|| Broker(start())))
}

/// One of the caller's own, which may be killed.
pub fn own_broker() -> Option<Broker> {
    rabbitmq(|start| Broker(start()))
}

/// What a program publishes.
pub struct Publication {
    pub body: Vec<u8>,
    /// By pika's names: `message_id`, `headers`, `delivery_mode`, …
    pub properties: Value,
}

/// What was in a queue.
#[derive(Debug)]
pub struct Taken {
    pub body: Vec<u8>,
    /// By pika's names, if set; `headers` and `redelivered` always.
    pub properties: Value,
}

impl<T: AsRef<[u8]>> From<T> for Publication {
    fn from(body: T) -> Self {
        Self { body: body.as_ref().to_vec(), properties: json!({ "delivery_mode": 2 }) }
    }
}

impl Broker {
    /// Where it listens, with the user and without the password, which is that of all servers.
    pub fn url(&self) -> String {
        format!("amqp://mailsend@127.0.0.1:{}", self.0.said("amqp"))
    }

    /// The same under TLS, with a certificate of the tests' authority.
    pub fn tls_url(&self) -> String {
        format!("amqps://mailsend@localhost:{}", self.0.said("amqps"))
    }

    /// Makes a durable queue; the arguments are RabbitMQ's (`x-queue-type`, …).
    #[track_caller]
    pub fn declare(&self, queue: &str, arguments: Value) {
        self.order(json!({ "do": "declare", "queue": queue, "arguments": arguments }));
    }

    /// Publishes to the default exchange, and waits until the broker has it in this queue.
    #[track_caller]
    pub fn publish(&self, queue: &str, messages: impl IntoIterator<Item = impl Into<Publication>>) {
        let encoded = |message: Publication| json!({ "body": encodify::base64::STANDARD.encode(&message.body), "properties": message.properties });
        let messages: Vec<Value> = messages.into_iter().map(|message| encoded(message.into())).collect();
        self.order(json!({ "do": "publish", "queue": queue, "messages": messages }));
    }

    /// Takes all that is ready.
    #[track_caller]
    pub fn drain(&self, queue: &str) -> Vec<Taken> {
        let Value::Array(taken) = self.order(json!({ "do": "drain", "queue": queue })) else {
            panic!("no list");
        };
        let decoded = |mut properties: Value| {
            let body = properties.as_object_mut().and_then(|found| found.remove("body")).expect("a body");
            let body = body.as_str().and_then(|body| encodify::base64::STANDARD.decode(body).ok()).expect("base64");
            Taken { body, properties }
        };
        taken.into_iter().map(decoded).collect()
    }

    /// How many are ready; those that somebody has and has not acknowledged do not count. `None`: no such queue.
    #[track_caller]
    pub fn count(&self, queue: &str) -> Option<u64> {
        self.order(json!({ "do": "counts", "queue": queue }))["ready"].as_u64()
    }

    /// How many consume from it.
    #[track_caller]
    pub fn consumers(&self, queue: &str) -> u64 {
        self.order(json!({ "do": "counts", "queue": queue }))["consumers"].as_u64().expect("a queue")
    }

    /// Takes the queue away, with what is in it.
    #[track_caller]
    pub fn delete(&self, queue: &str) {
        self.order(json!({ "do": "delete", "queue": queue }));
    }

    /// Has it killed; it starts anew at once, with the same data and ports.
    pub fn kill(&self) -> Killed<'_> {
        let pid = self.pid();
        self.0.tell("kill");
        Killed { broker: self, pid }
    }

    fn pid(&self) -> String {
        fs::read_to_string(self.0.path("pid")).expect("its process").trim().to_owned()
    }

    /// Has pika carry out one order.
    #[track_caller]
    fn order(&self, order: Value) -> Value {
        // Both doors are used: a queue is declared under TLS.
        let (door, authority) = match order["do"] == "declare" {
            true => ("amqps", self.0.path("ca.pem")),
            false => ("amqp", "-".into()),
        };
        let mut python = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/broker.py"))
            .arg(self.0.said(door))
            .arg(authority)
            .env("PYTHONPATH", root().join("usr/lib/python3/dist-packages"))
            .env("BROKER_PASSWORD", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Python");
        // It may end before it has read all, which its standard error tells better.
        let _ = writeln!(python.stdin.take().expect("a pipe"), "{order}");
        let output = python.wait_with_output().expect("Python");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

/// A broker that was killed.
#[must_use]
pub struct Killed<'a> {
    broker: &'a Broker,
    pid: String,
}

impl Killed<'_> {
    /// Waits until it takes connections again.
    #[track_caller]
    pub fn wait(self) {
        let start = Instant::now();
        while self.broker.pid() == self.pid {
            assert!(start.elapsed() < PATIENCE, "it does not come back");
            thread::sleep(Duration::from_millis(50));
        }
    }
}
