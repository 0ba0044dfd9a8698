//! What becomes of jobs, read back by a parser that did not write it.

use std::{fs, path::Path};

use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    cli::args::CommonArgs,
    config::{Environment, Files},
    mail::Content,
    message::Blocks,
};

const NOW: Time = 1_796_000_000_000;
const DAY: i64 = 86_400_000;

struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.write("config.toml", config);
        home
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn jobs(&self) -> Jobs {
        self.jobs_by(WhereArgs::default())
    }

    fn jobs_by(&self, own: WhereArgs) -> Jobs {
        let common = CommonArgs { config: Some(self.path().join("config.toml")), ..CommonArgs::default() };
        let environment = Environment::from([("HOME", "/nonexistent")]);
        let files = Files::load(common.config.as_deref(), &environment).unwrap();
        Jobs::new(common.context_of(environment, files).unwrap(), &common, own).unwrap()
    }
}

const WORK: &str = "[profiles.work]\nfrom = \"Ada <ada@work.example>\"\nserver = \"maildir:/nonexistent\"\n";

fn facts() -> Facts {
    Facts { mark: "0123".to_owned(), published: NOW }
}

fn make(jobs: &Jobs, job: Value) -> Result<Job, String> {
    jobs.make(Foreign::parse(job.to_string().as_bytes())?, &facts()).map_err(|refusal| refusal.reason)
}

fn octets(content: &Content) -> Vec<u8> {
    Blocks::new(content).flat_map(Result::unwrap).collect()
}

/// The message that a job with these fields beside `to` becomes.
#[track_caller]
fn message(jobs: &Jobs, fields: Value) -> mail_parser::Message<'static> {
    let mut job = json!({ "to": "bob@y.example" });
    job.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
    let job = make(jobs, job).unwrap();
    MessageParser::new().parse(&octets(&job.content)).unwrap().into_owned()
}

fn header<'a>(message: &'a mail_parser::Message<'_>, name: &'static str) -> Option<&'a str> {
    message.header_raw(name).map(str::trim)
}

#[test]
fn the_smallest_job_is_a_message_of_the_profile() {
    let home = Home::new(WORK);
    let jobs = home.jobs();
    let job = make(&jobs, json!({ "to": "user@example.com", "subject": "欢迎注册", "content": "…" })).unwrap();
    assert_eq!(job.message_id, "<0123@work.example>");
    assert_eq!(job.envelope.from().unwrap().to_string(), "ada@work.example");
    assert_eq!(job.envelope.to().iter().map(ToString::to_string).collect::<Vec<_>>(), ["user@example.com"]);
    assert_eq!((job.place, job.dsn), (Place::default(), crate::mail::DsnRequest::default()));
    assert_eq!((job.due, job.expires, job.priority, job.key), (None, NOW + 5 * DAY, 0, None));
    let octets = octets(&job.content);
    let message = MessageParser::new().parse(&octets).unwrap();
    assert_eq!(message.subject(), Some("欢迎注册"));
    assert_eq!(message.body_text(0).unwrap().trim_end(), "…");
    assert_eq!(header(&message, "Message-ID"), Some("<0123@work.example>"));
    assert_eq!(header(&message, "Date"), Some("Mon, 30 Nov 2026 00:53:20 +0000"));
    assert_eq!(header(&message, "From"), Some("\"Ada\" <ada@work.example>"));
    assert_eq!(header(&message, "Auto-Submitted"), Some("auto-generated"));
    assert!(!job.content.is_8bit);
}

#[test]
fn it_is_composed_as_from_options() {
    let home = Home::new(&format!("{WORK}reply-to = \"desk@work.example\"\n"));
    let jobs = home.jobs();
    let html = message(&jobs, json!({ "html": "<p>Hello <b>there</b>" }));
    assert_eq!((html.text_body_count(), html.html_body_count()), (1, 1));
    assert!(html.body_text(0).unwrap().starts_with("Hello"));
    assert_eq!(header(&html, "Reply-To"), Some("<desk@work.example>"));
    let markdown = message(&jobs, json!({ "markdown": "# Hello", "reply_to": "x@y.example, z@y.example" }));
    assert!(markdown.body_html(0).unwrap().contains("<h1>Hello</h1>"));
    assert_eq!(header(&markdown, "Reply-To"), Some("<x@y.example>, <z@y.example>"));
    let both = message(&jobs, json!({ "text": "one", "html": "<p>two" }));
    assert_eq!(both.body_text(0).unwrap().trim_end(), "one");
    let fields = message(
        &jobs,
        json!({
            "from": "Eve <eve@work.example>", "cc": "c@y.example", "bcc": ["d@y.example"],
            "message_id": "7@shop.example",
            "headers": {
                "X-Order": "7", "X-Tag": ["a", "b"], "Auto-Submitted": "auto-replied", "Bcc": "e@y.example",
                "Date": "Tue, 24 Nov 2026 09:00:00 +0100"
            },
        }),
    );
    assert_eq!(header(&fields, "From"), Some("\"Eve\" <eve@work.example>"));
    assert_eq!(header(&fields, "Cc"), Some("<c@y.example>"));
    assert_eq!((header(&fields, "Bcc"), header(&fields, "X-Order")), (None, Some("7")));
    assert_eq!(fields.headers_raw().filter(|(name, _)| *name == "X-Tag").count(), 2);
    assert_eq!(header(&fields, "Auto-Submitted"), Some("auto-replied"));
    assert_eq!(header(&fields, "Message-ID"), Some("<7@shop.example>"));
    assert_eq!(header(&fields, "Date"), Some("Tue, 24 Nov 2026 09:00:00 +0100"));
    let blind =
        make(&jobs, json!({ "bcc": ["d@y.example"], "headers": { "Bcc": "e@y.example", "From": "f@z.example" } }));
    let blind = blind.unwrap();
    assert_eq!(blind.envelope.to().len(), 2);
    assert_eq!(blind.envelope.from().unwrap().to_string(), "f@z.example");
}

#[test]
fn texts_are_literal() {
    let home = Home::new(WORK);
    let jobs = home.jobs();
    for text in ["@/etc/passwd", "-", "@@x", "{{name}}", "{{> x}}"] {
        let message = message(&jobs, json!({ "text": text, "subject": text }));
        assert_eq!(message.body_text(0).unwrap().trim_end(), text);
        assert_eq!(message.subject(), Some(text));
    }
    assert!(make(&jobs, json!({ "to": "@/etc/passwd" })).unwrap_err().starts_with("`to`: "));
}

#[test]
fn files_of_a_job() {
    let home = Home::new("");
    let root = home.path().join("files").display().to_string();
    home.write("config.toml", &format!("[queue]\nattachment-roots = [{root:?}]\n{WORK}"));
    let csv = home.write("files/month.csv", "a;b\n");
    let large = home.write("files/large.bin", &"0123456789".repeat(20_000));
    home.write("secret.txt", "secret");
    let jobs = home.jobs();
    let message = message(
        &jobs,
        json!({
            "text": "see below",
            "attachments": [
                { "path": csv, "name": "Größe.csv" },
                { "path": "large.bin", "type": "application/x-large" },
                { "base64": "aGVsbG8=" },
            ],
        }),
    );
    let found: Vec<(Option<&str>, &[u8])> =
        message.attachments().map(|part| (part.attachment_name(), part.contents())).collect();
    let large = fs::read(large).unwrap();
    assert_eq!(found[0], (Some("Größe.csv"), &b"a;b\n"[..]));
    assert!(found[1] == (Some("large.bin"), &large[..]) && found[2] == (Some("attachment"), b"hello"));
    let outside = home.path().join("secret.txt").display().to_string();
    for (path, why) in [
        (outside.as_str(), "lies outside of queue.attachment-roots"),
        ("../secret.txt", "has a '..' in it"),
        ("nonesuch.txt", "cannot be read"),
    ] {
        let reason = make(&jobs, json!({ "to": "a@y.example", "attachments": [{ "path": path }] })).unwrap_err();
        assert!(reason.starts_with("`attachments[0]`: ") && reason.contains(why), "{reason}");
    }
    let none = Home::new(WORK).jobs();
    let reason = make(&none, json!({ "to": "a@y.example", "attachments": [{ "path": csv }] })).unwrap_err();
    assert!(reason.ends_with("which is not set"), "{reason}");
}

#[test]
fn templates_have_names() {
    let home = Home::new(&format!("{WORK}[templates.hello]\nsubject = \"Hello {{{{name}}}}\"\ntext = \"hello.txt\"\n"));
    home.write("hello.txt", "Dear {{name}}, {{#each items}}{{this}}, {{/each}}bye\n");
    home.write("templates/beside/body.html", "<p>{{name}}</p>");
    let jobs = home.jobs();
    let data = json!({ "name": "A & B", "items": [1, "two"] });
    let by_table = message(&jobs, json!({ "template": "hello", "data": data }));
    assert_eq!(by_table.subject(), Some("Hello A & B"));
    assert_eq!(by_table.body_text(0).unwrap(), "Dear A & B, 1, two, bye\r\n");
    let of_folder = message(&jobs, json!({ "template": "beside", "data": data, "subject": "own" }));
    assert!(of_folder.body_html(0).unwrap().contains("A &amp; B"));
    assert_eq!(of_folder.subject(), Some("own"));
    // It was compiled, and stays so.
    home.write("hello.txt", "changed");
    assert!(message(&jobs, json!({ "template": "hello", "data": data })).body_text(0).unwrap().starts_with("Dear"));
    let folder = home.path().join("templates/beside").display().to_string();
    for (template, data, why) in [
        (folder.as_str(), json!({}), "`template`: the name of a template is wanted, not a path"),
        ("./beside", json!({}), "`template`: the name of a template is wanted, not a path"),
        ("..", json!({}), "`template`: the name of a template is wanted, not a path"),
        ("helo", json!({}), "`template`: template 'helo': there is none of this name"),
        ("beside", json!({ "nam": 1 }), "there is no column or value named 'name'"),
        (
            "hello",
            json!({ "name": "x\r\nBcc: y@z.example", "items": [] }),
            "it contains a line end, where only one line may be",
        ),
    ] {
        let job = json!({ "to": "a@y.example", "template": template, "data": data });
        let reason = make(&jobs, job).unwrap_err();
        assert!(reason.starts_with("`template`: ") && reason.contains(why), "{reason}");
    }
}

#[test]
fn what_is_wrong_has_a_reason() {
    let home = Home::new(&format!("{WORK}[profiles.bare]\nserver = \"smtps://x.example\"\n"));
    let jobs = home.jobs_by(WhereArgs { profile: Some("work".to_owned()), ..WhereArgs::default() });
    for (fields, reason) in [
        (json!({ "profile": "wrk" }), "`profile`: there is no profile 'wrk', did you mean 'work'?"),
        (json!({ "profile": "\u{1b}[2J" }), "`profile`: there is no profile '\u{fffd}[2J'"),
        (json!({ "profile": "bare" }), "`from` is missing, and the profile 'bare' names no sender"),
        (json!({ "from": "nobody" }), "`from`: 'nobody' is not an address: the '@' is missing"),
        (json!({ "from": "a@x.example", "headers": { "from": "b@x.example" } }), "`from` is given twice"),
        (json!({ "cc": ["a@x.example", "b@"] }), "`cc`: 'b@' is not an address: there is no domain after the '@'"),
        (json!({ "to": "a@x.example\r\nRCPT TO:<b@x.example>" }), "control character U+000D"),
        (json!({ "subject": "a\r\nBcc: b@x.example" }), "Subject: it contains a carriage return (CR)"),
        (json!({ "subject": "a\0" }), "Subject: it contains a NUL"),
        (json!({ "message_id": "1" }), "`message_id`: '1' is no Message-ID: <left@right> in ASCII is wanted"),
        (json!({ "headers": { "X-A": "a\nb" } }), "`headers`: X-A: it contains a line feed (LF)"),
        (json!({ "headers": { "X A": "b" } }), "`headers`: the name 'X A' contains a space"),
        (json!({ "headers": { "X-A: b\r\nY": "b" } }), "`headers`: the name 'X-A: b  Y' contains a colon"),
        (json!({ "headers": { "": "b" } }), "has no name"),
        (json!({ "headers": { "Content-Type": "text/html" } }), "`headers`: Content-Type: this field cannot be given"),
        (json!({ "subject": "a", "headers": { "Subject": "b" } }), "`headers`: Subject: it is given twice"),
        (json!({ "attachments": [{ "base64": "", "type": "x" }] }), "'x' is no media type: type/subtype is wanted"),
        (json!({ "attachments": [{ "base64": "", "name": "a\nb" }] }), "file name: it contains a line feed (LF)"),
        (
            json!({ "not_before": "2027-01-01T00:00:00Z", "expires": "2026-12-31T23:59:59Z" }),
            "`expires` is not after `not_before`",
        ),
        (json!({ "to": "team:;" }), "`to` names nobody"),
        (
            json!({ "html": "<b>".repeat(2_000) }),
            "`html`: its elements are nested too deeply to make a text of it; give the text with `text`",
        ),
    ] {
        let mut job = json!({ "to": "a@x.example" });
        job.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
        let found = make(&jobs, job).unwrap_err();
        assert!(found.contains(reason), "{found}");
        assert!(!found.chars().any(char::is_control), "{found:?}");
    }
    let long = make(&jobs, json!({ "to": "x".repeat(100_000) })).unwrap_err();
    assert_eq!(long.chars().count(), MAX_REASON);
}

#[test]
fn the_way_is_that_of_the_profile_of_the_sender_or_ours() {
    let home = Home::new(
        "default-profile = \"work\"\n[profiles.work]\nfrom = \"ada@work.example\"\nserver = \"maildir:/w\"\n\
         [profiles.shop]\nfrom = \"<>\"\nmatch = [\"*@shop.example\"]\nserver = \"smtps://s.example\"\n",
    );
    let way = |jobs: &Jobs, fields: Value| {
        let mut job = json!({ "to": "a@y.example" });
        job.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
        let job = make(jobs, job)?;
        let sender = job.envelope.from().map(ToString::to_string).unwrap_or_default();
        Ok::<_, String>((job.place.profile.unwrap_or_default(), sender))
    };
    let is = |name: &str, sender: &str| Ok((name.to_owned(), sender.to_owned()));
    let jobs = home.jobs();
    assert_eq!(way(&jobs, json!({})), is("", "ada@work.example"));
    assert_eq!(way(&jobs, json!({ "profile": "work" })), is("work", "ada@work.example"));
    assert_eq!(way(&jobs, json!({ "from": "x@z.example" })), is("", "x@z.example"));
    assert_eq!(way(&jobs, json!({ "from": "x@shop.example" })), is("shop", ""));
    assert_eq!(way(&jobs, json!({ "headers": { "From": "x@shop.example" } })), is("shop", ""));
    assert_eq!(way(&jobs, json!({ "from": "x@shop.example", "profile": "work" })), is("work", "x@shop.example"));
    let own = home.jobs_by(WhereArgs { profile: Some("shop".to_owned()), ..WhereArgs::default() });
    assert_eq!(way(&own, json!({ "from": "x@z.example" })), is("", ""));
    assert!(way(&own, json!({})).unwrap_err().starts_with("`from` is missing"));
}

#[test]
fn due_and_expiry() {
    let home = Home::new(&format!("[queue]\nlifetime = \"1d\"\n{WORK}"));
    let jobs = home.jobs();
    let terms = |fields: Value| {
        let mut job = json!({ "to": "a@y.example" });
        job.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
        let job = make(&jobs, job).unwrap();
        (job.due.map(|due| due - NOW), job.expires - NOW)
    };
    let at = |time: Time| Timestamp::from_millisecond(time).unwrap().to_string();
    assert_eq!(terms(json!({})), (None, DAY));
    assert_eq!(terms(json!({ "not_before": at(NOW - 1) })), (Some(-1), DAY));
    assert_eq!(terms(json!({ "not_before": at(NOW + 5) })), (Some(5), DAY + 5));
    assert_eq!(terms(json!({ "not_before": at(NOW + 5), "expires": "1s" })), (Some(5), 1_005));
    assert_eq!(terms(json!({ "expires": at(NOW + 7) })), (None, 7));
    // It has expired, which is told when it is looked at.
    assert_eq!(terms(json!({ "expires": at(NOW - 7) })), (None, -7));
    assert!(terms(json!({ "not_before": "9999-12-30T22:00:00Z", "expires": "100d" })).0.is_some());
}

/// Whoever publishes may say anything about when.
#[test]
fn a_moment_that_is_none_is_not_the_date() {
    let home = Home::new(WORK);
    let jobs = home.jobs();
    for published in [i64::MIN, i64::MAX, NOW * 1_000] {
        let foreign = Foreign::parse(br#"{"to": "a@y.example", "not_before": "2026-12-01T00:00:00Z"}"#).unwrap();
        let job = jobs.make(foreign, &Facts { published, ..facts() }).unwrap();
        let octets = octets(&job.content);
        let message = MessageParser::new().parse(&octets).unwrap();
        assert!(message.date().is_some_and(|date| date.is_valid()), "{published}");
    }
}

#[test]
fn a_changed_configuration_is_seen() {
    let home = Home::new(WORK);
    let jobs = home.jobs();
    let from = |jobs: &Jobs| {
        locked(&jobs.places).0.look_again();
        make(jobs, json!({ "to": "a@y.example", "text": "x" })).map(|job| job.envelope.from().unwrap().to_string())
    };
    assert_eq!(from(&jobs).as_deref(), Ok("ada@work.example"));
    home.write("config.toml", "[profiles.work]\nfrom = \"eve@work.example\"\nserver = \"maildir:/x\"\n");
    assert_eq!(from(&jobs).as_deref(), Ok("eve@work.example"));
    home.write("config.toml", "[profiles.work\n");
    assert_eq!(from(&jobs).as_deref(), Ok("eve@work.example"));
    home.write("config.toml", WORK);
    assert_eq!(from(&jobs).as_deref(), Ok("ada@work.example"));
}

#[test]
fn several_threads_make_messages_at_once() {
    let home = Home::new(WORK);
    let jobs = home.jobs();
    let jobs = &jobs;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for number in 0..50 {
                    let subject = format!("{thread}.{number}");
                    let made = message(jobs, json!({ "subject": &subject, "html": "<p>x" }));
                    assert_eq!(made.subject(), Some(subject.as_str()));
                }
            });
        }
    });
    assert!(locked(&jobs.stamps).len() <= 4);
}

/// A text as the parser gives it back: its line ends are CRLF.
fn lines(text: &str) -> String {
    text.trim_end_matches(['\r', '\n']).replace("\r\n", "\n")
}

fn address() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9+_-]{0,8}@[a-z]{1,8}\\.example"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Subject, text and recipients of a job come out of the message and its envelope as they went in.
    #[test]
    fn what_a_job_says_is_read_back(
        to in proptest::collection::btree_set(address(), 1..4),
        bcc in proptest::collection::btree_set(address(), 0..3),
        subject in "[!-~ü界\u{1F600}]([ -~ü界\u{1F600}]{0,60}[!-~ü界\u{1F600}])?",
        text in "[!-~ü界]([ -~\tü界\u{1F600}\n]{0,200}[!-~])?",
        octets_of_file in proptest::collection::vec(any::<u8>(), 0..200),
        is_list in any::<bool>(),
    ) {
        let home = Home::new(WORK);
        let jobs = home.jobs();
        let to: Vec<String> = to.into_iter().collect();
        let bcc: Vec<String> = bcc.into_iter().filter(|address| !to.contains(address)).collect();
        let job = json!({
            "to": if is_list { json!(to) } else { json!(to.join(", ")) },
            "bcc": bcc,
            "subject": subject,
            "text": text,
            "attachments": [{ "base64": encodify::base64::STANDARD.encode(&octets_of_file), "name": "f.bin" }],
        });
        let job = make(&jobs, job).unwrap();
        let recipients: Vec<String> = job.envelope.to().iter().map(ToString::to_string).collect();
        prop_assert_eq!(recipients, [to.clone(), bcc.clone()].concat());
        let octets = octets(&job.content);
        prop_assert_eq!(octets.len() as u64, job.content.len());
        let message = MessageParser::new().parse(&octets).unwrap();
        let shown: Vec<&str> = message.to().unwrap().iter().filter_map(|address| address.address()).collect();
        prop_assert_eq!(shown, to);
        prop_assert_eq!(message.subject(), Some(subject.as_str()));
        prop_assert_eq!(lines(&message.body_text(0).unwrap()), lines(&text));
        prop_assert_eq!(message.attachment(0).unwrap().contents(), &octets_of_file[..]);
        let head = String::from_utf8_lossy(&octets).into_owned();
        prop_assert!(bcc.iter().all(|address| !head.contains(address.as_str())), "{}", head);
    }

    /// Whatever the fields hold there is a message whose head is whole, or a reason.
    #[test]
    fn no_field_breaks_a_message(
        values in proptest::collection::vec("[a@.x<>:;,\"(é \r\n\0\u{1b}=?-]{0,16}", 8),
        name in "[XA: \r\n-]{0,6}",
    ) {
        let home = Home::new(WORK);
        let jobs = home.jobs();
        let job = json!({
            "to": ["bob@y.example", values[0]], "cc": values[1], "reply_to": values[2], "subject": values[3],
            "text": values[4], "headers": { name: values[5] }, "message_id": values[6],
            "attachments": [{ "base64": "", "name": values[7], "type": values[0] }],
        });
        for fewer in [&[][..], &["message_id", "attachments"], &["message_id", "attachments", "headers", "to"]] {
            let mut job = job.clone();
            for name in fewer {
                job[*name] = Value::Null;
            }
            if job["to"].is_null() {
                job["to"] = json!("bob@y.example");
            }
            match make(&jobs, job) {
                Err(reason) => prop_assert!(!reason.is_empty() && !reason.chars().any(char::is_control), "{}", reason),
                Ok(job) => {
                    let octets = octets(&job.content);
                    let text = String::from_utf8(octets).unwrap();
                    let (head, _) = text.split_once("\r\n\r\n").unwrap();
                    let names = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
                    for line in names {
                        prop_assert!(line.split_once(':').is_some_and(|(name, _)| !name.contains(' ')), "{}", head);
                    }
                }
            }
        }
    }
}
