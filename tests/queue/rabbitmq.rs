//! The queue that machines share: what RabbitMQ has confirmed is sent, whoever dies meanwhile.

use std::{
    collections::BTreeMap,
    process::Child,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use super::{end, signal, start, text, until};
use crate::support::{
    Dice, Sandbox, authority,
    broker::{Broker, Publication, Taken, broker, own_broker},
    real::PASSWORD,
    sink::{Act, Heard, Sink},
};

/// A sandbox whose queue is in RabbitMQ, under a name of its own.
struct Place<'a> {
    sandbox: Sandbox,
    broker: &'a Broker,
    name: String,
}

impl<'a> Place<'a> {
    fn new(broker: &'a Broker, name: &str, server: &str, more: &str) -> Self {
        let mut sandbox = Sandbox::new();
        sandbox.env("RABBIT_PASSWORD", PASSWORD);
        let place = Self { sandbox, broker, name: format!("{name}-{}", std::process::id()) };
        place.configure(server, more);
        place
    }

    fn configure(&self, server: &str, more: &str) {
        let (url, name) = (self.broker.url(), &self.name);
        self.sandbox.config(&format!(
            "[queue]\nurl = \"{url}\"\npassword = {{ env = \"RABBIT_PASSWORD\" }}\nname = \"{name}\"\n{more}\n\
             [profiles.work]\nserver = \"{server}\"\nfrom = \"s@x.example\"\nretry.initial-delay = \"500ms\"\n\
             breaker.cool-down = \"200ms\"\n"
        ));
    }

    fn add(&self, to: &str, more: &[&str]) {
        let message = ["-p", "work", "--to", to, "-s", "Hi", "--body", "Hello\n", "--queue"];
        self.sandbox.run(&[&message[..], more].concat()).exits(0).silently();
    }

    fn add_many(&self, count: usize) {
        let table = (1..=count).fold("to\n".to_owned(), |table, row| format!("{table}p{row}@y.example\n"));
        let file = self.sandbox.file("people.csv", table);
        let batch = ["batch", &file, "-p", "work", "-f", "<>", "-s", "Hi", "--body", "Hello\n", "--queue"];
        self.sandbox.run(&batch).exits(0);
    }

    fn worker(&self, more: &[&str]) -> Child {
        start(&self.sandbox, &[&["worker", "-p", "work"], more].concat())
    }

    fn dead(&self) -> Vec<Taken> {
        self.broker.drain(&format!("{}.dead", self.name))
    }

    /// Whether nothing is left to be taken, by anybody, at once or later.
    fn is_empty(&self) -> bool {
        self.broker.count(&self.name) == Some(0)
    }
}

/// The line of JSON in front of a message of ours, and the message.
fn parts(taken: &Taken) -> (Value, String) {
    let end = taken.body.iter().position(|byte| *byte == b'\n').expect("a line");
    let head = serde_json::from_slice(&taken.body[..end]).expect("JSON");
    (head, String::from_utf8(taken.body[end + 1..].to_vec()).expect("UTF-8"))
}

fn reason(taken: &Taken) -> String {
    text(&taken.properties["headers"]["mailsend-reason"])
}

#[test]
fn what_is_added_is_sent() {
    let Some(broker) = broker() else { return };
    let sink = Sink::new("PIPELINING, CHUNKING");
    let place = Place::new(broker, "sent", &sink.url(), "results = \"sent-results\"");
    place.add("b@y.example", &["--cc", "c@y.example", "-b", "d@y.example", "--message-id", "<1@x.example>"]);
    let run = place.sandbox.run(&["queue", "run", "--report", "-", "--format", "json"]).exits(0);
    let mut records: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|one| one["state"] == "accepted" && one["message_id"] == "<1@x.example>"));
    let taken = sink.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].field("Message-ID").as_deref(), taken[0].body()), (Some("<1@x.example>"), "Hello\r\n"));
    assert!(taken[0].field("Bcc").is_none());
    // Whoever wants to know what has become of it is told the same.
    let mut results: Vec<Value> =
        broker.drain("sent-results").iter().map(|one| serde_json::from_slice(&one.body).expect("JSON")).collect();
    for records in [&mut records, &mut results] {
        for record in records.iter_mut() {
            let record = record.as_object_mut().expect("an object");
            record.retain(|key, _| !["time", "run"].contains(&key.as_str()));
        }
        records.sort_by_key(|record| text(&record["recipient"]));
    }
    assert_eq!(records, results);
    assert!(place.is_empty() && place.dead().is_empty());
    broker.delete("sent-results");
}

#[test]
fn nothing_is_sent_before_its_time() {
    let Some(broker) = broker() else { return };
    let sink = Sink::new("PIPELINING");
    let place = Place::new(broker, "later", &sink.url(), "");
    let begin = Instant::now();
    place.sandbox.run(&["-p", "work", "--to", "b@y.example", "-s", "Hi", "--body", "x", "--in", "3s"]).exits(0);
    place.sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!(sink.count(), 0);
    let worker = place.worker(&[]);
    until("the message", || sink.count() == 1);
    assert!(begin.elapsed() >= Duration::from_secs(3), "{:?}", begin.elapsed());
    end(worker);
}

/// What is tried again holds only those who have not got it yet.
#[test]
fn the_deferred_are_tried_again_and_the_failed_are_told_of() {
    let Some(broker) = broker() else { return };
    let refusals = AtomicUsize::new(0);
    let sink = Sink::with("PIPELINING", move |moment| match moment.heard {
        Heard::Rcpt("gone@y.example", _) => Act::Say("550 5.1.1 no such user".to_owned()),
        Heard::Rcpt("later@y.example", _) if refusals.fetch_add(1, Ordering::SeqCst) < 2 => {
            Act::Say("450 4.2.0 not now".to_owned())
        }
        _ => Act::Agree,
    });
    let place = Place::new(broker, "again", &sink.url(), "");
    place.add("b@y.example", &["--cc", "later@y.example", "-b", "gone@y.example"]);
    let worker = place.worker(&[]);
    until("the last of them", || sink.counts().contains_key("later@y.example"));
    until("the report", || sink.counts().contains_key("s@x.example"));
    end(worker);
    let counts = sink.counts();
    assert!(counts.values().all(|count| *count == 1) && counts.len() == 3, "{counts:?}");
    let report =
        sink.taken().into_iter().find(|one| one.recipients.iter().any(|to| to == "s@x.example")).expect("a report");
    assert!(report.body().contains("gone@y.example") && report.body().contains("5.1.1"), "{}", report.body());
    let dead = place.dead();
    assert_eq!(dead.len(), 1, "{dead:?}");
    let (head, message) = parts(&dead[0]);
    assert_eq!((&head["to"], reason(&dead[0]).as_str()), (&serde_json::json!(["gone@y.example"]), "it has failed"));
    assert_eq!(dead[0].properties["headers"]["mailsend-reply"], "550 5.1.1 no such user");
    assert!(message.ends_with("\r\n\r\nHello\r\n"), "{message}");
    assert!(place.is_empty());
}

/// Of whom nobody knows is not sent again.
#[test]
fn what_may_have_been_sent_goes_to_the_dead() {
    let Some(broker) = broker() else { return };
    let sink = Sink::with("PIPELINING", |moment| match moment.heard {
        Heard::Content(_) => Act::Swallow,
        _ => Act::Agree,
    });
    let place = Place::new(broker, "doubt", &sink.url(), "");
    place.add("b@y.example", &[]);
    place.sandbox.run(&["queue", "run"]).exits(1);
    let dead = place.dead();
    assert!(dead.len() == 1 && reason(&dead[0]).contains("nobody can know"), "{dead:?}");
    assert!(place.is_empty());
}

#[test]
fn what_cannot_be_is_said() {
    let Some(broker) = broker() else { return };
    let mut place = Place::new(broker, "wrong", "smtp://127.0.0.1:1", "");
    place.sandbox.env("RABBIT_PASSWORD", "wrong");
    place.sandbox.run(&["queue", "run"]).exits(77).says("the login of 'mailsend' was refused").says("queue.password");
    place.sandbox.env("RABBIT_PASSWORD", PASSWORD);
    // A key of this machine's queue, a server that a worker would have to believe.
    let message = ["-p", "work", "--to", "b@y.example", "-s", "Hi", "--body", "x", "--queue"];
    place.sandbox.run(&[&message[..], &["--key", "k"]].concat()).exits(64).says("--key");
    place
        .sandbox
        .run(&[&message[..], &["-o", "pool.max-connections=1"]].concat())
        .exits(64)
        .says("pool.max-connections");
    place.sandbox.run(&["queue", "list"]).exits(64).says("mailsend queue stats");
    // A queue of another kind.
    broker.declare(&place.name, serde_json::json!({}));
    place.sandbox.run(&message).exits(78).says("is of another kind").says("queue.declare = false");
    broker.delete(&place.name);
    place.configure("smtp://127.0.0.1:1", "declare = false");
    place.sandbox.run(&message).exits(78).says("there is no queue");
    // Nobody there.
    place.sandbox.config("[queue]\nurl = \"amqp://127.0.0.1:1\"\n[profiles.work]\nserver = \"smtp://127.0.0.1:1\"\nfrom = \"s@x.example\"\n");
    let refused = place.sandbox.run(&message).exits(75).says("127.0.0.1:1").says("usually at port 5672");
    assert!(!refused.stderr.contains("587"), "{refused:?}");
    place.sandbox.config("[queue]\nurl = \"amqp://ada@127.0.0.1:1\"\n[profiles.work]\nserver = \"smtp://127.0.0.1:1\"\nfrom = \"s@x.example\"\n");
    place.sandbox.run(&message).exits(78).says("queue.password = { file = ");
    let secret = place.sandbox.run(&["profile", "show", "work", "--json"]).exits(0);
    assert!(!secret.stdout.contains(PASSWORD));
}

#[test]
fn four_workers_send_each_message_once() {
    const MESSAGES: usize = 10_000;
    let Some(broker) = broker() else { return };
    let sink = Sink::new("PIPELINING, CHUNKING");
    let place = Place::new(broker, "four", &sink.url(), "");
    let workers: Vec<Child> = (0..4).map(|_| place.worker(&[])).collect();
    place.add_many(MESSAGES);
    until("the last message", || sink.counts().len() == MESSAGES);
    workers.into_iter().for_each(end);
    let doubled: BTreeMap<_, _> = sink.counts().into_iter().filter(|(_, count)| *count > 1).collect();
    assert!(doubled.is_empty() && sink.count() == MESSAGES, "{doubled:?}");
    assert!(place.is_empty() && place.dead().is_empty());
}

/// Workers that are killed leave their messages to others: twice comes at most what they had under way.
#[test]
fn workers_that_are_killed() {
    const MESSAGES: usize = 600;
    let Some(broker) = broker() else { return };
    let mut dice = Dice::new(51);
    let sink = Sink::slow("PIPELINING, CHUNKING", Duration::from_millis(4));
    let place = Place::new(broker, "killed", &sink.url(), "");
    let few = ["-o", "pool.max-connections=2", "-o", "pool.pipeline-depth=4"];
    place.add_many(MESSAGES);
    let mut kills = 0;
    while sink.count() < MESSAGES * 9 / 10 && kills < 40 {
        let mut worker = place.worker(&few);
        let wanted = sink.count() + 1 + dice.below(60);
        let begin = Instant::now();
        while sink.count() < wanted && begin.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_micros(300));
        }
        worker.kill().expect("it is ours");
        worker.wait().expect("it ends");
        kills += 1;
    }
    let worker = place.worker(&["--report", &place.sandbox.path("last.jsonl").display().to_string()]);
    until("the last message", || sink.counts().len() == MESSAGES);
    end(worker);
    let counts = sink.counts();
    let doubled = counts.values().filter(|count| **count > 1).count();
    eprintln!("{kills} kills: {doubled} twice");
    assert!(doubled <= kills * 8, "{doubled} of {kills} kills");
    assert!(place.is_empty() && place.dead().is_empty());
}

/// The broker dies under load and comes back: nothing is lost, and one worker sends nothing twice.
#[test]
fn a_broker_that_is_killed() {
    const MESSAGES: usize = 3_000;
    let Some(broker) = own_broker() else { return };
    let mut dice = Dice::new(52);
    let sink = Sink::slow("PIPELINING, CHUNKING", Duration::from_millis(1));
    let place = Place::new(&broker, "broker", &sink.url(), "");
    place.add_many(MESSAGES);
    let report = place.sandbox.path("run.jsonl").display().to_string();
    let worker = place.worker(&["--report", &report]);
    for share in 1..=2 {
        let wanted = MESSAGES * share / 4 + dice.below(MESSAGES / 5);
        until("some messages", || sink.count() >= wanted);
        broker.kill().wait();
    }
    until("the last message", || sink.counts().len() == MESSAGES);
    until("an empty queue", || place.is_empty());
    end(worker);
    let counts = sink.counts();
    let doubled = counts.values().filter(|count| **count > 1).count();
    let records = std::fs::read_to_string(&report).expect("records");
    let redelivered = records.lines().filter(|line| line.contains("\"redelivered\":true")).count();
    eprintln!("{doubled} twice, {redelivered} redelivered");
    assert!(doubled == 0, "{doubled} twice");
    assert!(place.dead().is_empty());
}

/// A worker that sleeps for longer than RabbitMQ has patience sends nothing of what another has by then.
#[test]
fn a_worker_that_sleeps() {
    const MESSAGES: usize = 40;
    let Some(broker) = broker() else { return };
    let sink = Sink::slow("PIPELINING", Duration::from_millis(20));
    let place = Place::new(broker, "sleeps", &sink.url(), "");
    place.add_many(MESSAGES);
    let few = ["-o", "pool.max-connections=1", "-o", "pool.pipeline-depth=2"];
    let sleeper = place.worker(&few);
    until("a message", || sink.count() >= 5);
    signal(&sleeper, Signal::STOP);
    let before = sink.count();
    let worker = place.worker(&few);
    // RabbitMQ hears nothing of the first for twice its measure.
    until("the others", || sink.counts().len() == MESSAGES);
    signal(&sleeper, Signal::CONT);
    until("an empty queue", || place.is_empty());
    end(worker);
    end(sleeper);
    sink.rest();
    let counts = sink.counts();
    let doubled = counts.values().filter(|count| **count > 1).count();
    eprintln!("{before} before it slept, {doubled} twice");
    // What had left already, and what it had consent for.
    assert!(doubled <= 2, "{counts:?}");
}

/// The mail server dies under load and comes back: everybody gets it once, or it is with the dead and nobody knows.
#[test]
fn a_server_that_is_killed() {
    const MESSAGES: usize = 300;
    let Some(broker) = broker() else { return };
    const PAUSE: Duration = Duration::from_millis(3);
    let mut sink = Sink::slow("PIPELINING", PAUSE);
    let port = sink.port;
    let place = Place::new(broker, "server", &sink.url(), "");
    place.add_many(MESSAGES);
    let worker = place.worker(&["-o", "retry.max-delay=1s"]);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut dead: Vec<Taken> = Vec::new();
    for _ in 0..3 {
        until("some messages", || sink.count() >= 40);
        for (recipient, count) in sink.end() {
            *counts.entry(recipient).or_default() += count;
        }
        thread::sleep(Duration::from_millis(200));
        sink = Sink::slow_at(port, "PIPELINING", PAUSE);
    }
    let begin = Instant::now();
    loop {
        dead.extend(place.dead());
        let known = counts.len() + sink.counts().len() + dead.len();
        if known >= MESSAGES && place.is_empty() {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(120), "{known} of {MESSAGES}");
    }
    end(worker);
    dead.extend(place.dead());
    for (recipient, count) in sink.end() {
        *counts.entry(recipient).or_default() += count;
    }
    eprintln!("{} in doubt", dead.len());
    let doubt: Vec<String> = dead.iter().map(|one| text(&parts(one).0["to"][0])).collect();
    assert!(dead.iter().all(|one| reason(one).contains("nobody can know")), "{dead:?}");
    for row in 1..=MESSAGES {
        let name = format!("p{row}@y.example");
        let count = counts.get(&name).copied().unwrap_or_default();
        assert!(count == 1 || (count == 0 && doubt.contains(&name)), "{name} came {count} times");
    }
}

/// Under TLS, with queues that an administrator has made: those for what is due later need not be all.
#[test]
fn queues_of_an_administrator() {
    let Some(broker) = broker() else { return };
    let refusals = AtomicUsize::new(0);
    let sink = Sink::with("PIPELINING", move |moment| match moment.heard {
        Heard::Rcpt(..) if refusals.fetch_add(1, Ordering::SeqCst) == 0 => Act::Say("450 4.2.0 not now".to_owned()),
        _ => Act::Agree,
    });
    let mut place = Place::new(broker, "made", &sink.url(), "");
    let authority = place.sandbox.file("ca.pem", &authority().ca);
    let (url, name) = (broker.tls_url(), place.name.clone());
    place.sandbox.env("MAILSEND_QUEUE_URL", &url).env("MAILSEND_QUEUE_CA_FILE", &authority);
    let quorum = serde_json::json!({ "x-queue-type": "quorum" });
    broker.declare(&name, quorum.clone());
    let message = ["-p", "work", "--to", "b@y.example", "-s", "Hi", "--body", "x", "--queue"];
    place.sandbox.env("MAILSEND_QUEUE_DECLARE", "false");
    place.sandbox.run(&message).exits(0);
    let run = place.sandbox.run(&["queue", "stats", "--json"]).exits(0);
    let stats: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(stats["queues"], serde_json::json!([{ "queue": name, "messages": 1, "consumers": 0 }]));
    place.sandbox.run(&["worker", "--no-declare"]).exits(78).says("there is no queue").says(".dead");
    broker.declare(&format!("{name}.dead"), quorum);
    place.sandbox.run(&["worker", "--no-declare"]).exits(78).says("due later");
    broker.declare(
        &format!("{name}.delay.2s"),
        serde_json::json!({ "x-message-ttl": 2000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": name }),
    );
    let begin = Instant::now();
    let worker = place.worker(&["--no-declare"]);
    until("the second attempt", || sink.count() == 1);
    assert!(begin.elapsed() >= Duration::from_secs(2));
    end(worker);
    assert!(place.is_empty() && place.dead().is_empty());
    // Whom the certificate does not convince is told so.
    place.sandbox.without("MAILSEND_QUEUE_CA_FILE");
    place.sandbox.run(&message).exits(77).says("not known here").says("queue.ca-file");
}

/// What a publisher brings along lets RabbitMQ neither forget a message nor give it to others as well.
#[test]
fn what_is_brought_along_does_no_harm() {
    let Some(broker) = broker() else { return };
    let sink = Sink::new("PIPELINING");
    let place = Place::new(broker, "along", &sink.url(), "");
    broker.declare(&place.name, serde_json::json!({ "x-queue-type": "quorum" }));
    let moment = std::time::SystemTime::now() + Duration::from_secs(2);
    let moment = moment.duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs();
    let due = format!("{}", jiff::Timestamp::from_second(i64::try_from(moment).expect("a time")).expect("a time"));
    let job = serde_json::json!({ "to": "b@y.example", "subject": "Hi", "text": "x", "not_before": due });
    let properties = || {
        serde_json::json!({
            "delivery_mode": 2, "expiration": "60000",
            "headers": { "CC": [place.name], "BCC": [place.name], "x-delivery-count": 50, "mine": "stays" },
        })
    };
    let publish =
        |body: &[u8]| broker.publish(&place.name, [Publication { body: body.to_vec(), properties: properties() }]);
    publish(b"no job");
    publish(job.to_string().as_bytes());
    let worker = place.worker(&[]);
    until("the message", || sink.count() == 1);
    end(worker);
    assert!(place.is_empty());
    let dead = place.dead();
    assert!(dead.len() == 1 && dead[0].body == b"no job", "{dead:?}");
    let properties = &dead[0].properties;
    assert_eq!((&properties["expiration"], &properties["headers"]["CC"]), (&Value::Null, &Value::Null));
    assert_eq!(properties["headers"]["mine"], "stays");
    assert_eq!(sink.count(), 1);
}

/// A queue that somebody has taken away is made anew, and nothing is lost or sent twice meanwhile.
#[test]
fn a_queue_that_is_taken_away() {
    let Some(broker) = broker() else { return };
    let sink = Sink::new("PIPELINING");
    let results = format!("away-results-{}", std::process::id());
    let place = Place::new(broker, "away", &sink.url(), &format!("results = \"{results}\""));
    let worker = place.worker(&[]);
    place.add("a@y.example", &[]);
    until("the first record", || broker.count(&results) == Some(1));
    broker.delete(&results);
    place.add("b@y.example", &[]);
    until("the record of the second", || broker.count(&results) == Some(1));
    end(worker);
    assert_eq!(sink.count(), 2);
    assert!(place.is_empty());
    broker.delete(&results);
}

/// Who is asked to end leaves to others what has not begun.
#[test]
fn a_worker_that_is_stopped() {
    const MESSAGES: usize = 40;
    let Some(broker) = broker() else { return };
    let sink = Sink::slow("PIPELINING", Duration::from_millis(50));
    let place = Place::new(broker, "stopped", &sink.url(), "");
    place.add_many(MESSAGES);
    let worker = place.worker(&["-o", "pool.max-connections=1", "-o", "pool.pipeline-depth=2"]);
    until("some messages", || sink.count() >= 3);
    end(worker);
    assert!(sink.count() < MESSAGES, "it has not waited for all of them");
    let worker = place.worker(&[]);
    until("the others", || sink.counts().len() == MESSAGES);
    end(worker);
    assert_eq!(sink.count(), MESSAGES);
    assert!(place.is_empty() && place.dead().is_empty());
}

/// Failures and what has expired are told to a command, with all that is known.
#[test]
fn a_command_hears_of_failures() {
    let Some(broker) = broker() else { return };
    let sink = Sink::with("PIPELINING", |moment| match moment.heard {
        Heard::Rcpt("gone@y.example", _) => Act::Say("550 5.1.1 no such user".to_owned()),
        Heard::Rcpt(..) => Act::Say("450 4.2.0 not now".to_owned()),
        _ => Act::Agree,
    });
    let place = Place::new(broker, "told", &sink.url(), "");
    let file = place.sandbox.path("failed.jsonl");
    place.configure(
        &sink.url(),
        &format!("on-failure = {{ command = \"cat >> {0}; env >> {0}.env\" }}", file.display()),
    );
    let worker = place.worker(&[]);
    place.add("gone@y.example", &[]);
    place.add("late@y.example", &["--expires", "2s"]);
    let told = || std::fs::read_to_string(&file).unwrap_or_default();
    until("two records", || told().lines().count() == 2);
    end(worker);
    let mut told: Vec<Value> = told().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    told.sort_by_key(|one| text(&one["first_recipient"]));
    let environment = std::fs::read_to_string(place.sandbox.path("failed.jsonl.env")).expect("what the command had");
    assert!(environment.contains("PATH=") && !environment.contains(PASSWORD), "{environment}");
    assert_eq!(told[0]["all"][0]["state"], "failed");
    assert!(text(&told[0]["all"][0]["text"]).contains("5.1.1"), "{told:#?}");
    assert_eq!(told[1]["first_recipient"], "late@y.example");
    let mut dead: Vec<String> = place.dead().iter().map(reason).collect();
    dead.sort();
    assert_eq!(dead, ["it has expired", "it has failed"]);
    assert_eq!(sink.count(), 0, "nobody is told by mail");
}

/// Of rows that were about to be added when a batch died nobody knows; the others are added once.
#[test]
fn a_batch_that_is_killed() {
    const ROWS: usize = 2_000;
    let Some(broker) = broker() else { return };
    let sink = Sink::new("PIPELINING, CHUNKING");
    let place = Place::new(broker, "batch", &sink.url(), "");
    let table = (1..=ROWS).fold("to\n".to_owned(), |table, row| format!("{table}p{row}@y.example\n"));
    let file = place.sandbox.file("people.csv", table);
    let ledger = place.sandbox.path("run.jsonl");
    let ledger = ledger.to_str().expect("UTF-8");
    let batch = ["batch", &file, "-p", "work", "-f", "<>", "-s", "Hi", "--body", "x", "--queue", "--report", ledger];
    let mut child = start(&place.sandbox, &batch);
    until("rows on their way", || std::fs::read_to_string(ledger).unwrap_or_default().contains("\"rows\":\"201-400\""));
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    place.sandbox.run(&[&batch[..], &["--resume"]].concat());
    place.sandbox.run(&["queue", "run"]).exits(0);
    let counts = sink.counts();
    let unknown = ROWS - counts.len();
    eprintln!("{unknown} of {ROWS} unknown");
    assert!(counts.values().all(|count| *count == 1), "somebody got it twice");
    assert!(unknown <= 200, "{unknown} are unknown");
    // Whoever wants everybody to have it once or twice gets that.
    place.sandbox.run(&[&batch[..], &["--resume", "--resend-unknown"]].concat()).exits(0);
    place.sandbox.run(&["queue", "run"]).exits(0);
    assert_eq!(sink.counts().len(), ROWS);
}
