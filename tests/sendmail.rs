//! Called as sendmail, mailq or newaliases: what programs hand over, what they are told, and what leaves.

use std::{
    io::Write,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Run, Sandbox, Server, SmallDisk, finish,
    sink::{Act, Heard, Sink, Taken},
};

/// What takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A user whose mail goes to a sink.
struct Desk {
    sandbox: Sandbox,
    sink: Sink,
}

impl Desk {
    fn new(more: &str) -> Self {
        Self::with(Sink::new("PIPELINING, 8BITMIME, SMTPUTF8, DSN"), more)
    }

    fn with(sink: Sink, more: &str) -> Self {
        let sandbox = Sandbox::new();
        configure(&sandbox, &sink.url(), more);
        Self { sandbox, sink }
    }

    /// Calls it by this name.
    fn call(&self, name: &str, arguments: &[&str], stdin: &[u8]) -> Run {
        call(&self.sandbox, name, arguments, stdin)
    }

    fn sendmail(&self, arguments: &[&str], stdin: &[u8]) -> Run {
        self.call("sendmail", arguments, stdin)
    }

    /// The only message, once it is there.
    #[track_caller]
    fn only(&self) -> Taken {
        match &self.wait(1)[..] {
            [only] => only.clone(),
            taken => panic!("{taken:#?}"),
        }
    }

    #[track_caller]
    fn wait(&self, count: usize) -> Vec<Taken> {
        until(|| self.sink.count() >= count);
        self.sink.taken()
    }
}

fn configure(sandbox: &Sandbox, server: &str, more: &str) {
    sandbox.file("system-aliases", "root: ops@y.example\nloop: loop2\nloop2: loop\nprog: |cat > got\n");
    sandbox.config(&format!(
        "[sendmail]\ndomain = \"box.example\"\naliases = \"system-aliases\"\n{more}\n[profiles.work]\nserver = \"{server}\"\n"
    ));
}

fn call(sandbox: &Sandbox, name: &str, arguments: &[&str], stdin: &[u8]) -> Run {
    let mut command = sandbox.command(arguments);
    command.arg0(name).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    let stdin = stdin.to_vec();
    // It may end without reading everything.
    let writer = thread::spawn(move || drop(pipe.write_all(&stdin)));
    let run = finish(child);
    writer.join().expect("the writer ends");
    run
}

#[track_caller]
fn until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it does not come");
        thread::sleep(Duration::from_millis(20));
    }
}

const CRON: &[u8] =
    b"From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@box> echo hi\nX-Cron-Env: <SHELL=/bin/sh>\n\nhi\n";

#[test]
fn cron_mail() {
    let desk = Desk::new("");
    desk.sendmail(&["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"], CRON).exits(0).silently();
    let mail = desk.only();
    assert_eq!(mail.recipients, ["ops@y.example"]);
    assert_eq!(mail.sender, "root@box.example");
    assert_eq!(mail.field("Auto-Submitted").as_deref(), Some("auto-generated"));
    assert!(mail.field("From").expect("it is there").contains("root@box.example"), "{mail:#?}");
    assert!(mail.field("To").expect("it is there").contains("root@box.example"));
    assert!(mail.field("Date").is_some() && mail.field("Message-ID").is_some());
    assert_eq!(mail.body(), "hi\r\n");
}

#[test]
fn recipients_of_the_header() {
    let desk = Desk::new("");
    let message = b"To: b@y.example, root\nCc: C <c@y.example>\nBcc: secret@y.example\nFrom: a@x.example\n\nhi\n";
    desk.sendmail(&["-t", "-i", "d@y.example"], message).exits(0).silently();
    let mail = desk.only();
    let mut recipients = mail.recipients.clone();
    recipients.sort();
    assert_eq!(recipients, ["b@y.example", "c@y.example", "d@y.example", "ops@y.example", "secret@y.example"]);
    assert!(!mail.content.contains("secret@"), "{}", mail.content);
    assert_eq!(mail.sender, "a@x.example");
    let resent = b"Resent-To: z@y.example\nResent-From: me@x.example\nResent-To: old@y.example\nTo: b@y.example\nFrom: a@x.example\n\n";
    desk.sendmail(&["-t"], resent).exits(0);
    assert_eq!(desk.wait(2)[1].recipients, ["z@y.example"]);
    for nobody in [&b"From: a@x.example\nSubject: x\n\nto: b@y.example\n"[..], b"", b"To: nobody:;\n\n"] {
        desk.sendmail(&["-t"], nobody).exits(66).says("names no recipients");
    }
    desk.sendmail(&["-i"], b"hi\n").exits(64);
}

#[test]
fn a_lone_dot_ends_a_message_without_i() {
    let desk = Desk::new("");
    desk.sendmail(&["b@y.example"], b"Subject: x\n\none\n.\ntwo\n").exits(0);
    assert_eq!(desk.only().body(), "one\r\n");
    for (count, option) in [(2, "-i"), (3, "-oi")] {
        desk.sendmail(&[option, "b@y.example"], b"Subject: x\n\none\n.\ntwo\n").exits(0);
        assert!(desk.wait(count)[count - 1].body().contains("two"));
    }
}

#[test]
fn senders() {
    let mut desk = Desk::new("");
    let mut count = 0;
    let mut send = |desk: &Desk, arguments: &[&str], message: &[u8]| {
        desk.sendmail(&[arguments, &["b@y.example"]].concat(), message).exits(0).silently();
        count += 1;
        let mail = desk.wait(count)[count - 1].clone();
        (mail.sender.clone(), mail.field("From").unwrap_or_default())
    };
    let named = b"From: Ada <ada@x.example>\n\nhi\n";
    assert_eq!(send(&desk, &["-f", "f@x.example"], named), ("f@x.example".into(), "Ada <ada@x.example>".into()));
    assert_eq!(send(&desk, &["-ff@x.example"], b"hi\n"), ("f@x.example".into(), "f@x.example".into()));
    assert_eq!(send(&desk, &["-froot", "-F", "Gr\u{f6}\u{df}e"], b"hi\n").0, "root@box.example");
    assert_eq!(send(&desk, &["-f", ""], named).0, "");
    assert_eq!(send(&desk, &["-f<>"], named).0, "");
    assert_eq!(send(&desk, &[], b"hi\n"), ("tester@box.example".into(), "tester@box.example".into()));
    assert_eq!(send(&desk, &["-F", "Cron Daemon"], b"hi\n").1, "Cron Daemon <tester@box.example>");
    desk.sandbox.env("NAME", "Ada Lovelace");
    assert_eq!(send(&desk, &[], b"hi\n").1, "Ada Lovelace <tester@box.example>");
    desk.sandbox.env("EMAIL", "Me <me@x.example>");
    assert_eq!(send(&desk, &[], b"hi\n"), ("me@x.example".into(), "Me <me@x.example>".into()));
    // Some servers take one return path only.
    let url = desk.sink.url();
    configure(&desk.sandbox, &url, "");
    let config = std::fs::read_to_string(desk.sandbox.path("config.toml")).expect("it is there");
    desk.sandbox.config(&format!("{config}envelope-from = \"bounces@x.example\"\n"));
    assert_eq!(send(&desk, &["-f", "f@x.example"], named).0, "bounces@x.example");
    assert_eq!(send(&desk, &["-f", "<>"], named).0, "");
}

/// One that cannot be reached never stops the others.
#[test]
fn the_others_get_it() {
    let desk = Desk::new("");
    desk.sendmail(&["-i", "b@y.example", "loop", "c@@y"], b"hi\n").exits(69).says("loop").says("c@@y");
    assert_eq!(desk.only().recipients, ["b@y.example"]);
    desk.sendmail(&["-i", "loop", "c@@y"], b"hi\n").exits(65).says("loop").says("c@@y");
    desk.sandbox.run(&["queue", "run", "-q"]).exits(0);
    assert_eq!(desk.sink.count(), 1);
    // No room for a copy.
    let mut text = b"Subject: x\n\n".to_vec();
    text.extend(b"a line of text\n".repeat(20_000));
    let mut desk = desk;
    desk.sandbox.env("TMPDIR", "/nonexistent");
    desk.sendmail(&["-i", "b@y.example"], &text).exits(75);
    assert!(desk.sendmail(&["--help"], b"").exits(0).stdout.contains("man mailsend-sendmail"));
}

/// A profile is chosen by who writes, as everywhere.
#[test]
fn the_sender_chooses_a_profile() {
    let desk = Desk::new("");
    let other = Sink::new("");
    let config = std::fs::read_to_string(desk.sandbox.path("config.toml")).expect("it is there");
    let more = format!("[profiles.other]\nserver = \"{}\"\nmatch = [\"*@other.example\"]\n", other.url());
    desk.sandbox.config(&format!("default-profile = \"work\"\n{config}{more}"));
    desk.sendmail(&["-i", "b@y.example"], b"From: a@other.example\n\nhi\n").exits(0);
    until(|| other.count() == 1);
    desk.sendmail(&["-i", "-fx@other.example", "b@y.example"], b"From: a@x.example\n\nhi\n").exits(0);
    until(|| other.count() == 2);
    desk.sendmail(&["-i", "b@y.example"], b"From: a@x.example\n\nhi\n").exits(0);
    assert_eq!(desk.only().sender, "a@x.example");
}

/// Any octets are a text.
#[test]
fn no_text_fails_for_its_octets() {
    let desk = Desk::new("");
    let long = "x".repeat(5_000);
    let texts: [&[u8]; 7] = [
        b"no header, no end of line",
        "Subject: Gr\u{fc}\u{df}e\n\nSch\u{f6}n\n".as_bytes(),
        b"Subject: x\n\nlatin \xFC\n",
        b"Subject: x\n\nbare\rcr\n",
        b"Subject: x\n\nnul\0\n",
        b"Subject: bare\rcr and nul\0 and \xFC\n\nhi\n",
        long.as_bytes(),
    ];
    for (number, text) in texts.into_iter().enumerate() {
        desk.sendmail(&["-i", "b@y.example"], text).exits(0).silently();
        let mail = desk.wait(number + 1)[number].clone();
        assert!(mail.content.is_ascii(), "{mail:#?}");
        assert!(mail.content.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\0', '\n'])));
    }
    let mails = desk.sink.taken();
    assert!(mails[1].field("Subject").expect("it is there").starts_with("=?"), "{:#?}", mails[1]);
    assert_eq!(mails[1].field("MIME-Version").as_deref(), Some("1.0"));
    assert_eq!(mails[0].body(), "no header, no end of line\r\n");
}

#[test]
fn bad_command_lines() {
    let desk = Desk::new("");
    for arguments in
        [&["-Z", "b@y.example"][..], &["--frobnicate"], &["-N", "sometimes", "b@y.example"], &["-a@y.example"]]
    {
        desk.sendmail(arguments, b"hi\n").exits(64);
    }
    desk.sendmail(&["a b@y.example"], b"hi\n").exits(65);
    desk.sendmail(&["loop"], b"hi\n").says("loop");
    desk.sendmail(&["prog"], b"hi\n").exits(78).says("[sendmail] allow");
    assert!(!desk.sandbox.path("got").exists());
    // What begins with a hyphen is an address behind '--'.
    desk.sendmail(&["-i", "--", "-oQ/tmp@y.example", "-t"], b"hi\n").exits(0).silently();
    let mail = desk.only();
    assert_eq!(mail.recipients, ["-oQ/tmp@y.example", "-t@box.example"]);
    assert_eq!(desk.call("newaliases", &[], b"").exits(0).silently().stdout, "");
    desk.sendmail(&["-bi"], b"").exits(0).silently();
    desk.sendmail(&["-bd", "-q15m"], b"").exits(0).says("mailsend worker");
}

#[test]
fn ten_thousand_recipients() {
    let desk = Desk::new("");
    let list: Vec<String> = (0..10_000).map(|number| format!("b{number}@y.example")).collect();
    let message = format!("To: {}\nFrom: a@x.example\n\nhi\n", list.join(",\n "));
    let start = Instant::now();
    desk.sendmail(&["-t", "-i"], message.as_bytes()).exits(0).silently();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    until(|| desk.sink.counts().len() == 10_000);
    let named: Vec<&str> = list.iter().take(1_000).map(String::as_str).collect();
    desk.sendmail(&[&["-i"], &named[..]].concat(), b"hi\n").exits(0);
    until(|| desk.sink.counts()["b999@y.example"] == 2);
}

#[test]
fn it_is_safe_before_anything_is_sent() {
    // Nobody answers there.
    let sandbox = Sandbox::new();
    configure(&sandbox, "smtp://127.0.0.1:1", "");
    let send = || call(&sandbox, "sendmail", &["-i", "b@y.example"], b"Subject: x\n\nhi\n");
    send().exits(0).silently();
    let listed = |name: &str| call(&sandbox, name, &[], b"").exits(0).stdout;
    until(|| listed("mailq").contains("refused"));
    let list = listed("mailq");
    assert!(
        list.starts_with("-Queue ID-") && list.contains("b@y.example") && list.ends_with("in 1 Request.\n"),
        "{list}"
    );
    // No attempt at all.
    configure(&sandbox, "smtp://127.0.0.1:1", "mode = \"queue\"");
    send().exits(0).silently();
    let json = || sandbox.run(&["queue", "list", "--json", "-q"]).exits(0).stdout;
    let queued: Vec<serde_json::Value> = serde_json::from_str(&json()).expect("it is there");
    assert_eq!(queued.len(), 2);
    assert_eq!(queued[1]["attempts"], 0);
    // At once, while the caller waits.
    configure(&sandbox, "smtp://127.0.0.1:1", "mode = \"direct\"");
    send().exits(75);
    let queued: Vec<serde_json::Value> = serde_json::from_str(&json()).expect("it is there");
    assert_eq!(queued.len(), 2);
    // No way at all.
    sandbox.config("[sendmail]\n");
    send().exits(78).says("no server");
}

#[test]
fn what_cannot_be_made_safe_is_75() {
    let Some(disk) = SmallDisk::mount(1_024) else { return };
    let sandbox = Sandbox::new();
    let queue = disk.path("queue.sqlite");
    configure(&sandbox, "smtp://127.0.0.1:1", "mode = \"queue\"");
    let config = std::fs::read_to_string(sandbox.path("config.toml")).expect("it is there");
    sandbox.config(&format!("{config}[queue]\npath = \"{}\"\n", queue.display()));
    let text = format!("Subject: x\n\n{}", "a line of text\n".repeat(20_000));
    let mut codes = Vec::new();
    for _ in 0..6 {
        codes.push(call(&sandbox, "sendmail", &["-i", "b@y.example"], text.as_bytes()).code);
    }
    assert_eq!(codes.last(), Some(&75), "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, 0 | 75)), "{codes:?}");
    let kept = codes.iter().filter(|code| **code == 0).count();
    let list = sandbox.run(&["queue", "list", "--json", "-q"]).exits(0).stdout;
    assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&list).expect("it is there").len(), kept);
}

#[test]
fn codes_of_direct_sending() {
    let sink = Sink::with("PIPELINING", |moment| match moment.heard {
        Heard::Rcpt(to, _) if to.starts_with("gone") => Act::Say("550 5.1.1 unknown".to_owned()),
        Heard::Rcpt(to, _) if to.starts_with("late") => Act::Say("450 4.2.0 later".to_owned()),
        _ => Act::Agree,
    });
    let desk = Desk::with(sink, "mode = \"direct\"");
    let send = |to: &[&str]| desk.sendmail(&[&["-i"], to].concat(), b"Subject: x\n\nhi\n");
    send(&["b@y.example"]).exits(0).silently();
    send(&["gone@y.example"]).exits(67).says("5.1.1");
    send(&["late@y.example"]).exits(75);
    // Somebody has it: whoever tries again would send twice.
    send(&["b@y.example", "late@y.example"]).exits(69).says("late@y.example");
}

#[test]
fn the_queue_is_run_and_listed() {
    let desk = Desk::new("mode = \"queue\"");
    assert_eq!(desk.call("mailq", &[], b"").exits(0).stdout, "Mail queue is empty\n");
    for to in ["b@y.example", "c@z.example", "d@y.example"] {
        desk.sendmail(&["-i", "-f", &format!("from-{to}"), to], b"Subject: x\n\nhi\n").exits(0);
    }
    let list = desk.sendmail(&["-bp"], b"").exits(0).stdout;
    assert!(list.ends_with("Kbytes in 3 Requests.\n"), "{list}");
    desk.sandbox.run(&["queue", "hold", "--all"]).exits(0);
    assert!(desk.call("mailq", &["-v"], b"").exits(0).stdout.contains("! "));
    desk.sandbox.run(&["queue", "release", "--all"]).exits(0);
    desk.sendmail(&["-qRZ.example"], b"").exits(0).silently();
    desk.sendmail(&["-q"], b"").exits(0).silently();
    assert_eq!(desk.sink.counts().len(), 3);
    assert_eq!(desk.call("mailq", &[], b"").exits(0).stdout, "Mail queue is empty\n");
    desk.sendmail(&["-qInosuch"], b"").exits(66).says("no message 'nosuch'");
    desk.sendmail(&["-q15m"], b"").exits(0).silently();
}

#[test]
fn smtp_on_standard_input() {
    let desk = Desk::new("");
    let dialogue = "EHLO me.example\r\nMAIL FROM:<a@x.example> SIZE=100\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<root>\r\n\
                    RCPT TO:<loop>\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@y.example>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n";
    let run = desk.sendmail(&["-bs", "-odb", "-oem"], dialogue.as_bytes()).exits(0).silently();
    let codes: Vec<&str> =
        run.stdout.lines().filter(|line| line.as_bytes()[3] == b' ').map(|line| &line[..3]).collect();
    assert_eq!(codes, ["220", "250", "250", "250", "250", "550", "354", "250", "250", "250", "354", "250", "221"]);
    assert!(run.stdout.contains("queued as "), "{}", run.stdout);
    let mut mails = desk.wait(2);
    mails.sort_by_key(|mail| mail.sender.clone());
    assert_eq!((mails[0].sender.as_str(), &mails[0].recipients[..]), ("", &["c@y.example".to_owned()][..]));
    assert_eq!(mails[1].recipients, ["b@y.example", "ops@y.example"]);
    assert!(mails[1].body().contains(".dot\r\n"));
    // Without an end there is no message.
    desk.sendmail(&["-bs"], b"HELO x\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\nhalf").exits(65);
    desk.sandbox.run(&["queue", "run", "-q"]);
    assert_eq!(desk.sink.count(), 2);
    // It is not safe: the dot is refused, for now.
    let config = std::fs::read_to_string(desk.sandbox.path("config.toml")).expect("a file");
    desk.sandbox.config(&format!("{config}[queue]\npath = \"/proc/none/queue.sqlite\"\n"));
    let run = desk.sendmail(&["-bs"], dialogue.as_bytes()).exits(0);
    let refused = run.stdout.lines().filter(|line| line.starts_with("451 ")).count();
    assert!(refused == 2 && !run.stdout.contains("queued"), "{run:#?}");
    // No way at all.
    desk.sandbox.config("");
    let run = desk.sendmail(&["-bs"], dialogue.as_bytes());
    assert!(
        run.stdout.contains("\r\n451 ") || run.stdout.contains("\r\n550 ") || run.stdout.contains("\r\n554 "),
        "{run:#?}"
    );
}

#[test]
fn recipients_are_verified() {
    let desk = Desk::new("");
    let run = desk.sendmail(&["-bv", "root", "b@y.example"], b"").exits(0).silently();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(
        lines[0].starts_with("root... deliverable: mailer smtp") && lines[0].ends_with("user ops@y.example"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("b@y.example... deliverable"));
    let run = desk.sendmail(&["-bv", "loop", "b@y.example"], b"").exits(67);
    assert!(run.stdout.contains("loop... undeliverable\nb@y.example... deliverable"), "{run:#?}");
    assert_eq!(desk.sink.count(), 0);
}

#[test]
fn the_dialogue_goes_into_a_file() {
    let desk = Desk::new("");
    let trace = desk.sandbox.path("trace");
    desk.sendmail(&["-i", "-X", trace.to_str().expect("it is there"), "b@y.example"], b"hi\n").exits(0).silently();
    desk.only();
    let traced = || std::fs::read_to_string(&trace).unwrap_or_default();
    until(|| traced().contains("RCPT TO:<b@y.example>"));
    configure(&desk.sandbox, &desk.sink.url(), "mode = \"direct\"");
    desk.sendmail(&["-i", "-X", trace.to_str().expect("it is there"), "c@y.example"], b"hi\n").exits(0).silently();
    assert!(traced().contains("RCPT TO:<c@y.example>"));
}

/// What is wished for by options comes to the server, the log and whoever looks.
#[test]
fn wishes_of_callers() {
    let server = Server::new(|talk, _| {
        talk.greet("DSN, 8BITMIME");
        let mail = talk.answer("MAIL FROM:<f@x.example>", "250 ok");
        assert!(mail.contains(" RET=HDRS") && mail.contains(" ENVID=E.1"), "{mail}");
        let rcpt = talk.answer("RCPT TO:<b@y.example>", "250 ok");
        assert!(rcpt.contains(" NOTIFY=FAILURE,DELAY"), "{rcpt}");
        talk.answer("DATA", "354 go");
        talk.data();
        talk.say("250 taken");
        talk.hear_to_the_end();
    });
    let sandbox = Sandbox::new();
    configure(&sandbox, &server.url(), "mode = \"queue\"\n[log]\nfile = \"mail.log\"");
    // Another configuration than that of the environment.
    std::fs::rename(sandbox.path("config.toml"), sandbox.path("other.toml")).expect("a file");
    sandbox.config("");
    let options = ["-C", "other.toml", "-v", "-i", "-f", "f@x.example", "-N", "failure,delay", "-Rhdrs", "-V", "E.1"];
    call(&sandbox, "sendmail", &[&options[..], &["b@y.example"]].concat(), b"hi\n").exits(0).says("queued as ");
    let log = std::fs::read_to_string(sandbox.path("mail.log")).expect("a log");
    assert!(log.contains("state=queued") && log.contains("recipient=b@y.example"), "{log}");
    call(&sandbox, "sendmail", &["-C", "other.toml", "-q"], b"").exits(0).silently();
    let log = std::fs::read_to_string(sandbox.path("mail.log")).expect("a log");
    assert!(log.lines().count() == 2 && log.contains("state=accepted"), "{log}");
    server.only();
    // What is wrong with aliases is told, and is nobody's failure.
    sandbox.file("system-aliases", "root: ops@y.example\nno alias at all\n");
    call(&sandbox, "newaliases", &["-C", "other.toml"], b"").exits(0).says("system-aliases:2");
}

/// What allowed aliases lead to on this machine gets the message, before anybody else does.
#[test]
fn files_and_commands_of_aliases() {
    let desk = Desk::new("allow = [\"file\", \"command\"]");
    let (got, inbox) = (desk.sandbox.path("got"), desk.sandbox.path("inbox"));
    desk.sandbox.file(
        "system-aliases",
        format!(
            "all: \"|cat > {}\", {}, b@y.example\nfails: \"|exit 75\", b@y.example\nlate: \"|exit 75\"\nnobody: /dev/null\n",
            got.display(),
            inbox.display()
        ),
    );
    desk.sendmail(&["-i", "all"], b"Subject: x\n\nhi\n").exits(0).silently();
    assert_eq!(desk.only().recipients, ["b@y.example"]);
    assert!(std::fs::read_to_string(&got).expect("it is there").ends_with("\n\nhi\n"));
    assert!(std::fs::read_to_string(&inbox).expect("it is there").starts_with("From "));
    assert_eq!(std::fs::metadata(&inbox).expect("it is there").permissions().mode() & 0o777, 0o600);
    // The addresses have it, whatever the command says; and what is not safe for them is nowhere else.
    desk.sendmail(&["-i", "fails"], b"Subject: x\n\nhi\n").exits(69).says("wants the message later");
    desk.sendmail(&["-i", "late"], b"Subject: x\n\nhi\n").exits(75);
    desk.sendmail(&["-i", "nobody"], b"Subject: x\n\nhi\n").exits(0).silently();
    desk.sandbox.run(&["queue", "run", "-q"]).exits(0);
    assert_eq!(desk.sink.count(), 2);
    // Not safe for the addresses: nobody else has it either.
    let config = std::fs::read_to_string(desk.sandbox.path("config.toml")).expect("it is there");
    desk.sandbox.config(&format!("{config}[queue]\npath = \"/proc/none/queue.sqlite\"\n"));
    let before = std::fs::metadata(&inbox).expect("it is there").len();
    desk.sendmail(&["-i", "all"], b"Subject: x\n\nhi\n").exits(75);
    assert_eq!(std::fs::metadata(&inbox).expect("it is there").len(), before);
}

#[test]
fn whoever_resends_is_the_sender() {
    let desk = Desk::new("");
    let resent =
        b"Resent-From: me@x.example\nResent-To: z@y.example\nFrom: stranger@w.example\nTo: b@y.example\n\nhi\n";
    desk.sendmail(&["-t"], resent).exits(0).silently();
    assert_eq!(desk.only().sender, "me@x.example");
    // A sender whom nobody can understand is nobody's: reports come to us.
    desk.sendmail(&["-i", "b@y.example"], b"From: Two Words\n\nhi\n").exits(0).silently();
    assert_eq!(desk.wait(2)[1].sender, "tester@box.example");
}

/// Whatever the user is called.
#[test]
fn a_login_name_may_be_anything() {
    let mut desk = Desk::new("");
    desk.sandbox.env("LOGNAME", "DOM\\bob, x");
    desk.sendmail(&["-i", "b@y.example"], b"hi\n").exits(0).silently();
    assert_eq!(desk.only().sender, "\"DOM\\\\bob, x\"@box.example");
}

/// Programs of services have no HOME, or one that is not there.
#[test]
fn users_without_a_home() {
    let sink = Sink::new("");
    let mut sandbox = Sandbox::new();
    configure(&sandbox, &sink.url(), "");
    let spool = sandbox.path("spool");
    std::fs::create_dir(&spool).expect("it is there");
    std::fs::set_permissions(&spool, std::fs::Permissions::from_mode(0o1777)).expect("it is there");
    let config = std::fs::read_to_string(sandbox.path("config.toml")).expect("it is there");
    sandbox.config(&format!("{config}[queue]\nfallback-folder = \"{}\"\n", spool.display()));
    sandbox.env("HOME", "/nonexistent");
    call(&sandbox, "sendmail", &["-i", "b@y.example"], b"hi\n").exits(0).silently();
    until(|| sink.count() == 1);
    let own: Vec<_> =
        std::fs::read_dir(&spool).expect("it is there").map(|entry| entry.expect("it is there")).collect();
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].metadata().expect("it is there").permissions().mode() & 0o777, 0o700);
    configure(&sandbox, &sink.url(), "");
    call(&sandbox, "sendmail", &["-i", "b@y.example"], b"hi\n").exits(78).says("fallback-folder");
}

/// Who hangs up in the middle of the reply leaves a message in doubt: it is held, and not sent again.
#[test]
fn what_nobody_can_know_is_held() {
    let server = Server::new(|talk, _| {
        talk.greet("");
        talk.answer("MAIL", "250 ok");
        talk.answer("RCPT", "250 ok");
        talk.answer("DATA", "354 go");
        talk.data();
        talk.close();
    });
    let sandbox = Sandbox::new();
    configure(&sandbox, &server.url(), "");
    call(&sandbox, "sendmail", &["-i", "b@y.example"], b"hi\n").exits(0).silently();
    until(|| call(&sandbox, "mailq", &[], b"").stdout.contains("! "));
    drop(server);
}
