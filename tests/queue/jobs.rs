//! Jobs that programs of others publish, by pika: what is one becomes a mail, what is none lies with its reason where
//! people find it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use yaml_rust2::{Yaml, YamlLoader};

use super::{end, start, until};
use crate::support::{
    Sandbox,
    broker::{Broker, broker},
    real::{PASSWORD, read_mail, root},
};

const COMPOSE: &str = include_str!("../../examples/rabbitmq/compose.yaml");
const CONFIG: &str = include_str!("../../examples/rabbitmq/config.toml");
const PRODUCER: &str = include_str!("../../examples/rabbitmq/producer.py");
const MANUAL: &str = include_str!("../../src/cli/text/queue.txt");

/// A sandbox with the configuration of the example; mail comes into its folder `box`, files lie in `files`.
fn sandbox(broker: &Broker, queue: &str) -> Sandbox {
    let mut sandbox = Sandbox::new();
    let mut config = CONFIG.to_owned();
    for (example, here) in [
        ("url = \"amqp://mailsend@rabbitmq\"", format!("url = \"{}\"\nname = \"{queue}\"", broker.url())),
        ("[\"/srv/mail\"]", format!("[{:?}]", sandbox.path("files"))),
        ("\"smtps://shop@smtp.example.com\"", format!("\"maildir:{}\"", sandbox.path("box").display())),
    ] {
        assert!(config.contains(example), "{example} is not in the example");
        config = config.replace(example, &here);
    }
    sandbox.config(&config);
    sandbox.env("RABBITMQ_PASSWORD", PASSWORD).env("SMTP_PASSWORD", "unused");
    sandbox
}

fn mails(sandbox: &Sandbox) -> Vec<PathBuf> {
    let folder = fs::read_dir(sandbox.path("box/new")).into_iter().flatten().flatten();
    folder.map(|entry| entry.path()).collect()
}

/// The service of this name.
fn service(name: &str) -> Yaml {
    let compose = YamlLoader::load_from_str(COMPOSE).expect("YAML").remove(0);
    let service = compose["services"][name].clone();
    assert!(!service.is_badvalue(), "no {name}");
    service
}

fn words(list: &Yaml) -> Vec<String> {
    list.as_vec().expect("a list").iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
}

/// What the compose file says is what the worker takes and the configuration wants.
#[test]
fn the_compose_file_fits() {
    let worker = service("worker");
    assert!(worker["deploy"]["replicas"].as_i64() >= Some(2));
    let sandbox = Sandbox::new();
    let help: Vec<String> = words(&worker["command"]).into_iter().chain(["--help".to_owned()]).collect();
    sandbox.run(&help.iter().map(String::as_str).collect::<Vec<_>>()).exits(0);
    // Every key of the configuration is known, and each variable it names is set.
    sandbox.config(CONFIG);
    let listed = sandbox.run(&["profile", "list", "--json"]).exits(0).stdout;
    assert!(listed.contains("work"), "{listed}");
    let environment = worker["environment"].as_hash().expect("variables");
    for variable in ["MAILSEND_CONFIG", "RABBITMQ_PASSWORD", "SMTP_PASSWORD"] {
        assert!(environment.contains_key(&Yaml::String(variable.to_owned())), "{variable}");
    }
    for named in CONFIG.split("env = \"").skip(1).map(|rest| rest.split('"').next().expect("an end")) {
        assert!(environment.contains_key(&Yaml::String(named.to_owned())), "{named}");
    }
    let volumes = words(&worker["volumes"]);
    for inside in ["/etc/mailsend/config.toml", "/srv/mail"] {
        let volume = volumes.iter().find(|volume| volume.split(':').nth(1) == Some(inside)).expect(inside);
        let outside = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("examples/rabbitmq")
            .join(volume.split(':').next().expect("a folder"));
        assert!(outside.exists(), "{volume}");
    }
    assert_eq!(service("rabbitmq")["environment"]["RABBITMQ_DEFAULT_USER"].as_str(), Some("mailsend"));
    assert_eq!(worker["stop_grace_period"].as_str(), Some("11m"), "longer than timeouts.final-reply");
}

/// The example as it is: its configuration with another place for the mail, the command of its worker, its producer.
#[test]
fn the_example_sends() {
    let Some(broker) = broker() else { return };
    // Nobody else uses the name that stands there.
    let sandbox = sandbox(broker, "email_queue");
    let command = words(&service("worker")["command"]);
    let worker = start(&sandbox, &command.iter().map(String::as_str).collect::<Vec<_>>());
    until("a queue", || broker.count("email_queue").is_some());
    let login = PASSWORD.bytes().fold(String::new(), |login, byte| format!("{login}%{byte:02X}"));
    let url = broker.url().replace("mailsend@", &format!("mailsend:{login}@"));
    let output = Command::new("python3")
        .args([concat!(env!("CARGO_MANIFEST_DIR"), "/examples/rabbitmq/producer.py"), "bob@y.example"])
        .env("PYTHONPATH", root().join("usr/lib/python3/dist-packages"))
        .env("RABBITMQ_URL", url)
        .output()
        .expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    until("a mail", || mails(&sandbox).len() == 1);
    let mail = read_mail(&mails(&sandbox)[0]);
    assert_eq!((mail.header("to"), mail.header("from")), ("bob@y.example", "Shop <shop@example.com>"));
    assert_eq!((mail.header("subject"), mail.text()), ("Welcome", "It works.\n"));
    assert_eq!(mail.header("auto-submitted"), "auto-generated");
    until("an acknowledgement", || broker.count("email_queue") == Some(0));
    end(worker);
    let code = PRODUCER.split("\"\"\"\n\n").nth(1).expect("code").trim_end();
    let shown: String = code.lines().map(|line| format!("    {line}\n")).collect();
    assert!(MANUAL.contains(&shown.replace("    \n", "\n")), "the manual shows another producer");
}

/// Whatever is published, the good jobs between it are sent, and nothing is lost.
#[test]
fn what_is_no_job_is_dead_with_a_reason() {
    let Some(broker) = broker() else { return };
    let queue = "jobs-of-all-kinds";
    let sandbox = sandbox(broker, queue);
    sandbox.file("files/prices.csv", "a;b\n");
    sandbox.file("secret.txt", "KANARIE");
    let outside = sandbox.path("secret.txt").display().to_string();
    std::os::unix::fs::symlink("../secret.txt", sandbox.path("files/link.txt")).expect("a link");
    let worker = start(&sandbox, &["worker", "-p", "work"]);
    until("a queue", || broker.count(queue).is_some());
    let job = |fields: Value| {
        let mut job = json!({ "to": "bob@y.example", "text": "KANARIE" });
        job.as_object_mut().expect("an object").append(&mut fields.as_object().expect("an object").clone());
        job.to_string().into_bytes()
    };
    let bad: Vec<(Vec<u8>, &str)> = vec![
        (b"hello".to_vec(), "it is not JSON: expected value at line 1 column 1"),
        (b"\xff\x00\x01".to_vec(), "it is not JSON"),
        (Vec::new(), "it is not JSON"),
        (b"[]".to_vec(), "it is a list: an object in braces is wanted"),
        (job(json!({ "subjct": "x" })), "unknown field `subjct`, did you mean `subject`?"),
        (job(json!({ "to": 7 })), "`to` is a number: a text or a list of texts is wanted"),
        (job(json!({ "subject": "x\r\nBcc: eve@y.example" })), "Subject: it contains a carriage return (CR)"),
        (job(json!({ "profile": "play" })), "`profile`: there is no profile 'play'"),
        (job(json!({ "template": "/etc" })), "`template`: the name of a template is wanted, not a path"),
        (job(json!({ "attachments": [{ "path": outside }] })), "lies outside of queue.attachment-roots"),
        (job(json!({ "attachments": [{ "path": "link.txt" }] })), "is a link that leads out of queue.attachment-roots"),
        (b"{\"data\":".repeat(1_000_000), "it is nested more than 32 levels deep"),
        (job(json!({ "html": "x".repeat(50_000_000) })), "and no job has more than 41943040"),
    ];
    let good = [
        job(json!({ "subject": "first" })),
        job(json!({ "subject": "second", "attachments": [{ "path": "prices.csv" }], "cc": ["ada@y.example"] })),
    ];
    broker.publish(queue, [&good[0]]);
    for (body, _) in &bad {
        broker.publish(queue, [body]);
    }
    broker.publish(queue, [&good[1]]);
    until("two mails", || mails(&sandbox).len() == 2);
    let dead = format!("{queue}.dead");
    until("all the others", || broker.count(&dead) == Some(bad.len() as u64));
    until("an end", || broker.count(queue) == Some(0));
    end(worker);

    let mut taken: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    for dead in broker.drain(&dead) {
        let reason = dead.properties["headers"]["mailsend-reason"].as_str().expect("a reason").to_owned();
        taken.insert(dead.body, reason);
    }
    for (body, reason) in &bad {
        let start = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let found = taken.get(body).unwrap_or_else(|| panic!("{start} is not there as it was"));
        assert!(found.contains(reason) && !found.contains("KANARIE"), "{start}: {found}");
    }
    let read: Vec<_> = mails(&sandbox).iter().map(|file| read_mail(file)).collect();
    let second = read.iter().find(|mail| mail.header("subject") == "second").expect("the second");
    second.has_file("prices.csv", b"a;b\n");
    assert!(read.iter().any(|mail| mail.header("subject") == "first"));
}
