//! Called as mail, mailx and Mail: what the server received.

use std::os::unix::fs::symlink;

use crate::support::{
    Run, Sandbox,
    sink::{Sink, Taken},
};

/// A sandbox in whose path these programs are found, and a server.
fn sandbox(sink: &Sink) -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.file("bin/.keep", "");
    let program = sandbox.command(&[]).get_program().to_owned();
    for name in ["mail", "mailx", "Mail"] {
        symlink(&program, sandbox.path("bin").join(name)).expect("a link");
    }
    let aliases = sandbox.file("etc/aliases", "root: ops@example.com\n");
    let path = format!("{}:/usr/bin:/bin", sandbox.path("bin").display());
    for (name, value) in [
        ("PATH", path.as_str()),
        ("MAILSEND_SENDMAIL_ALIASES", &aliases),
        ("MAILSEND_SENDMAIL_DOMAIN", "box.example"),
        ("MAILSEND_SENDMAIL_MODE", "direct"),
        ("MAILSEND_SERVER", &sink.url()),
    ] {
        sandbox.env(name, value);
    }
    sandbox
}

/// Runs a line of shell that sends one message, and returns it.
#[track_caller]
fn sent(line: &str, prepare: impl FnOnce(&mut Sandbox)) -> Taken {
    let sink = Sink::new("");
    let mut sandbox = sandbox(&sink);
    prepare(&mut sandbox);
    sandbox.shell(line).exits(0).silently();
    let mut taken = sink.taken();
    assert_eq!(taken.len(), 1, "{line}: {taken:#?}");
    taken.remove(0)
}

/// Runs a line of shell that sends nothing.
#[track_caller]
fn unsent(line: &str) -> Run {
    let sink = Sink::new("");
    let run = sandbox(&sink).shell(line);
    assert_eq!(sink.count(), 0, "{line}");
    run
}

fn body(taken: &Taken) -> &str {
    taken.content.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[test]
fn as_posix_writes_it() {
    for name in ["mail", "mailx", "Mail"] {
        let taken = sent(&format!("echo Disk full | {name} -s 'backup of x' root you@y.example"), |_| {});
        assert_eq!(taken.recipients, ["ops@example.com", "you@y.example"]);
        assert_eq!(taken.field("Subject").as_deref(), Some("backup of x"));
        assert!(taken.sender.starts_with("tester@"), "{taken:#?}");
        assert_eq!(body(&taken), "Disk full\r\n");
    }
}

#[test]
fn options_between_and_behind_addresses() {
    let taken = sent(
        "printf 'a\\n.\\nb\\n' | mail root -s Hi -c 'c@y.example d@y.example' -b secret@y.example -r 'Me <me@x.example>' -a 'X-Cron: 1' -n",
        |_| {},
    );
    assert_eq!(taken.sender, "me@x.example");
    assert_eq!(taken.recipients, ["ops@example.com", "c@y.example", "d@y.example", "secret@y.example"]);
    assert_eq!(taken.field("From").as_deref(), Some("\"Me\" <me@x.example>"));
    assert_eq!(taken.field("X-Cron").as_deref(), Some("1"));
    assert!(!taken.content.contains("secret@y.example"), "{taken:#?}");
    // A lone dot ends nothing where nobody types.
    assert_eq!(body(&taken), "a\r\n.\r\nb\r\n");
}

#[test]
fn names_of_this_machine() {
    let taken = sent("echo x | mail bob root@localhost 'Team <team>'", |sandbox| {
        sandbox.file(
            ".mailrc",
            "alias team \"T Eam <t@z.example>\" bob\nset from=rc@x.example replyto=\"R <r@x.example>\"\n",
        );
    });
    assert_eq!(taken.recipients, ["bob@box.example", "ops@example.com", "t@z.example"]);
    assert!(taken.field("To").is_some_and(|to| to.contains("\"T Eam\" <t@z.example>")), "{taken:#?}");
    assert_eq!(
        (taken.sender.as_str(), taken.field("Reply-To")),
        ("rc@x.example", Some("\"R\" <r@x.example>".to_owned()))
    );
    let taken = sent("echo x | mail -r cron -:/ team", |sandbox| {
        sandbox.file(".mailrc", "alias team never@z.example\n");
        sandbox.env("EMAIL", "me@x.example").env("REPLYTO", "r@x.example");
    });
    assert_eq!(
        (taken.recipients.as_slice(), taken.sender.as_str()),
        (&["team@box.example".to_owned()][..], "cron@box.example")
    );
    assert_eq!(taken.field("Reply-To").as_deref(), Some("<r@x.example>"));
}

#[test]
fn senders_as_scripts_name_them() {
    let prepare = |sandbox: &mut Sandbox| {
        sandbox.env("EMAIL", "me@x.example");
    };
    let taken = sent("echo x | mail -s x root -- -f bounce@x.example -F 'Cron Daemon'", prepare);
    assert_eq!(taken.sender, "bounce@x.example");
    assert_eq!(taken.field("From").as_deref(), Some("\"Cron Daemon\" <bounce@x.example>"));
    let taken = sent("echo x | mail root -FNagios", prepare);
    assert_eq!(taken.field("From").as_deref(), Some("\"Nagios\" <me@x.example>"));
    let taken = sent("echo x | mailx -S from=s@x.example -S smtp=smtp://127.0.0.1:1 -S sendwait root", prepare);
    assert_eq!((taken.sender.as_str(), taken.field("From").as_deref()), ("s@x.example", Some("<s@x.example>")));
    assert_eq!(sent("echo x | mail -r '<>' root", prepare).sender, "");
}

#[test]
fn files_and_types() {
    let prepare = |sandbox: &mut Sandbox| {
        sandbox.file("r.csv", "1;2\n");
        sandbox.file("empty", "");
        sandbox.file("intro", "Intro\n");
    };
    let taken = sent("echo Text | mail -A r.csv -a r.csv --content-type=application/x-q -A intro root", prepare);
    assert_eq!(taken.content.matches("filename=\"r.csv\"").count(), 2, "{taken:#?}");
    assert!(taken.content.contains("application/x-q"), "{taken:#?}");
    let taken = sent(
        "echo '<b>Hi</b>' | mail -a 'Content-Type: text/html; charset=utf-8' -a 'MIME-Version: 1.0' root",
        prepare,
    );
    assert!(taken.content.contains("<b>Hi</b>") && taken.content.contains("multipart/alternative"), "{taken:#?}");
    let taken = sent("echo more | mailx -q intro --skip-empty-attachments -A empty root", prepare);
    assert_eq!(body(&taken), "Intro\r\nmore\r\n");
    let taken = sent("printf 'gr\\374n\\n' | mail -a 'Content-Type: text/plain; charset=iso-8859-1' root", prepare);
    assert!(taken.content.to_lowercase().contains("charset=\"iso-8859-1\""), "{taken:#?}");
    let taken = sent("mail -A - root < r.csv", prepare);
    assert!(taken.content.contains("MTsyCg=="), "{taken:#?}");
}

#[test]
fn recipients_of_the_text() {
    let taken = sent(
        "printf 'To: root,\\n  \"Ada L\" <a@y.example>\\nBcc: b@y.example\\nSubject: Grün\\nX-A: 1\\n\\nTo: text\\n' | mail -t c@y.example",
        |_| {},
    );
    assert_eq!(taken.recipients, ["c@y.example", "ops@example.com", "a@y.example", "b@y.example"]);
    assert_eq!(taken.field("X-A").as_deref(), Some("1"));
    assert_eq!(body(&taken), "To: text\r\n");
    assert!(!taken.content.contains("b@y.example"), "{taken:#?}");
    unsent("echo x | mail -t").exits(66).says("names no recipient");
}

#[test]
fn what_sends_nothing() {
    unsent("mail -E -s nothing root < /dev/null").exits(0).silently();
    unsent("printf ' \\n' | mail -E root").exits(0).silently();
    for line in ["mail", "mail -f", "mail -u root", "mail -e", "mail -H"] {
        unsent(line).exits(64).says("mailsend sends mail, it does not read it");
    }
    unsent("echo x | mail -s x").exits(64).says("nobody is named");
    unsent("echo x | mail -Z root").exits(64).says("there is no option -Z");
    unsent("echo x | mail -s \"$(printf 'a\\nBcc: evil@y.example')\" root").exits(65).says("line feed");
    unsent("echo x | mail -a \"$(printf 'X-A: a\\nBcc: evil@y.example')\" root").exits(65);
    unsent("echo x | mail -a 'Content-Type: application/pdf' root").exits(65).says("-A");
    unsent("echo x | mail -A /nonesuch root").exits(66).says("/nonesuch");
    unsent("echo x | mail /etc/passwd").exits(65).says("only aliases lead to files");
    let run = unsent("echo x | mail -d -s Hi root").exits(0);
    assert!(run.stdout.contains("recipient   ops@example.com"), "{run:#?}");
    assert!(unsent("mail --help").exits(0).stdout.contains("-s SUBJECT"));
    assert!(unsent("mail -V").exits(0).stdout.starts_with("mailsend "));
}

/// At a terminal the subject is asked for, and a lone dot ends the text.
#[test]
fn somebody_types() {
    const TYPE: &str = r#"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("mail", ["mail"] + sys.argv[2:])
os.write(terminal, sys.argv[1].encode())
said = b""
try:
    while chunk := os.read(terminal, 1000):
        said += chunk
except OSError:
    pass
sys.stdout.buffer.write(said)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;
    let sink = Sink::new("");
    let sandbox = sandbox(&sink);
    sandbox.file("type.py", TYPE);
    let run = sandbox.shell("python3 type.py \"$(printf 'Hello\\nline\\n.\\nnever\\n')\" root").exits(0);
    assert!(run.stdout.contains("Subject: "), "{run:#?}");
    let taken = sink.taken().remove(0);
    assert_eq!((taken.field("Subject").as_deref(), body(&taken)), (Some("Hello"), "line\r\n"));
    let run = sandbox.shell("python3 type.py \"$(printf '\\004x')\" -s Hi root").exits(0);
    assert!(run.stdout.contains("Null message body; hope that's ok") && !run.stdout.contains("Subject: "), "{run:#?}");
    assert_eq!(sink.count(), 2);
}
