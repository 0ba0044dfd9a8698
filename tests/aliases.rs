//! Names without '@': what the server and the files of this machine received.

use std::fs;

use crate::support::{
    Sandbox,
    sink::{Sink, Taken},
};

/// A sandbox with these aliases of the machine, and a server.
fn sandbox(aliases: &str, sink: &Sink) -> Sandbox {
    let mut sandbox = Sandbox::new();
    let file = sandbox.file("etc/aliases", aliases);
    sandbox.env("MAILSEND_SENDMAIL_ALIASES", &file);
    sandbox.env("MAILSEND_SENDMAIL_DOMAIN", "box.example");
    sandbox.env("MAILSEND_SERVER", &sink.url());
    sandbox.env("EMAIL", "me@x.example");
    sandbox
}

#[track_caller]
fn only(sink: &Sink) -> Taken {
    let mut taken = sink.taken();
    assert_eq!(taken.len(), 1, "{taken:#?}");
    taken.remove(0)
}

#[test]
fn a_name_leads_to_its_addresses_and_their_names() {
    let sink = Sink::new("");
    let sandbox = sandbox("ops: root, hidden\nroot: Root Mail <root@y.example>\nhidden: \\bob\n", &sink);
    sandbox.file("aliases", "team: Ada <ada@x.example>, ops, ada@x.example\n");
    sandbox.file(".mailrc", "set ask\nalias desk 'D Esk <desk@z.example>' team\nalias team never@x.example\n");
    sandbox
        .run(&["--to", "TEAM, root", "--cc", "desk", "--bcc", "ops", "--reply-to", "desk", "-s", "x", "--body", "y"])
        .exits(0)
        .silently();
    let taken = only(&sink);
    assert_eq!(taken.recipients, ["ada@x.example", "root@y.example", "bob@box.example", "desk@z.example"]);
    let to = taken.field("To").expect("a field");
    assert_eq!(to.matches("root@y.example").count(), 1, "{to}");
    assert!(to.contains("\"Ada\" <ada@x.example>") && to.contains("\"Root Mail\" <root@y.example>"), "{to}");
    assert!(taken.field("Cc").is_some_and(|cc| cc.contains("\"D Esk\" <desk@z.example>")), "{taken:#?}");
    assert!(taken.field("Reply-To").is_some_and(|to| to.contains("desk@z.example")), "{taken:#?}");
}

#[test]
fn a_slip_of_the_finger_goes_to_nobody() {
    let sink = Sink::new("");
    let sandbox = sandbox("ops: a@x.example\n*: all@x.example\n", &sink);
    sandbox
        .run(&["--to", "opps", "--body", "y"])
        .exits(65)
        .says("--to: 'opps' is not an address: the '@' is missing")
        .says("hint: did you mean the alias 'ops'?")
        .says(".mailrc, ")
        .says("etc/aliases");
    // A bare word is no address, whatever aliases there are.
    sandbox.run(&["ops", "--body", "y"]).exits(64).says("goes behind --to");
    sandbox.run(&["--to", "Lovelace, Ada <ada@x.example>", "--body", "y"]).exits(65).says("quotation marks");
    assert_eq!(sink.count(), 0);
}

#[test]
fn a_broken_file_hurts_only_who_needs_it() {
    let sink = Sink::new("");
    let sandbox = sandbox("no alias at all\n", &sink);
    sandbox.run(&["--to", "a@x.example", "--body", "y"]).exits(0).silently();
    sandbox.run(&["--to", "ops", "--body", "y"]).exits(78).says("etc/aliases:1: 'no alias at all' is no alias");
    sandbox.file("etc/aliases", "a: b\nb: c\nc: a\n");
    sandbox.run(&["--to", "a", "--body", "y"]).exits(78).says("etc/aliases:3: ").says("a -> b -> c -> a");
}

#[test]
fn what_is_no_address_is_refused_unless_it_is_allowed() {
    let sink = Sink::new("");
    let mut sandbox = sandbox("", &sink);
    let path = |name: &str| sandbox.path(name).display().to_string();
    let (mbox, dir, list, got) = (path("box"), path("dir/"), path("list"), path("got"));
    sandbox.file("list", "a@x.example\nbob\n");
    sandbox.file(
        "etc/aliases",
        format!("f: {mbox}, {dir}\nc: \"|cat > {got}; printf %s \\\"$MAILSEND_PASSWORD\\\" >> {got}\"\ni: :include:{list}\nbob: f\nbad: \"|echo no >&2; exit 3\", a@x.example\nnull: /dev/null\n"),
    );
    for (name, line, kind) in [("f", 1, "file"), ("c", 2, "command"), ("i", 3, "include")] {
        sandbox
            .run(&["--to", name, "--body", "y"])
            .exits(78)
            .says(&format!("etc/aliases:{line}: "))
            .says(&format!("[sendmail] allow = [\"{kind}\"]"));
    }
    sandbox.run(&["--to", "null", "--body", "y"]).exits(0).silently();
    assert_eq!(sink.count(), 0);
    assert!(!sandbox.path("got").exists() && !sandbox.path("box").exists());

    sandbox.env("MAILSEND_SENDMAIL_ALLOW", "file, command, include");
    sandbox.env("MAILSEND_PASSWORD", "secret");
    sandbox.run(&["--to", "i, c", "-s", "Hi", "--body", "From me\n"]).exits(0).silently();
    assert_eq!(only(&sink).recipients, ["a@x.example"]);
    let text = fs::read_to_string(sandbox.path("box")).expect("a mailbox");
    assert!(text.starts_with("From me@x.example ") && text.ends_with("\n\n>From me\n\n"), "{text}");
    assert_eq!(fs::read_dir(sandbox.path("dir/new")).expect("a maildir").count(), 1);
    let text = fs::read_to_string(sandbox.path("got")).expect("what the command got");
    assert!(text.ends_with("\n\nFrom me\n") && text.contains("Subject: Hi\n"), "{text}");

    // One that fails does not stop the others.
    sandbox.run(&["--to", "bad", "--body", "y"]).exits(1).says("exit 3): no");
    assert_eq!(sink.count(), 2);
    // Nothing but a place of this machine: no server is asked.
    sandbox.env("MAILSEND_SERVER", "smtp://127.0.0.1:1");
    sandbox.run(&["--to", "c", "--body", "y"]).exits(0).silently();
    let run = sandbox.run(&["--to", "c", "--body", "y", "--dry-run"]).exits(0);
    assert!(run.stdout.contains("place       |cat > ") && !run.stdout.contains("recipient"), "{run:#?}");
}

/// A command that sends to the name which has led to it ends.
#[test]
fn a_command_that_calls_us_again_is_stopped() {
    let sink = Sink::new("");
    let mut sandbox = sandbox("", &sink);
    let program = sandbox.command(&[]).get_program().to_str().expect("UTF-8").to_owned();
    sandbox.file("etc/aliases", format!("loop: \"|echo x >> count; {program} --to loop --body again\"\n"));
    sandbox.env("MAILSEND_SENDMAIL_ALLOW", "command");
    sandbox.run(&["--to", "loop", "--body", "y"]).exits(69).says("calls mailsend, which calls it again");
    assert_eq!(fs::read_to_string(sandbox.path("count")).expect("a file").lines().count(), 5);
}

#[test]
fn ten_thousand_members() {
    let sink = Sink::new("PIPELINING");
    let members: Vec<String> = (0..10_000).map(|number| format!("  user{number}@x.example")).collect();
    let sandbox = sandbox(&format!("all:\n{}\n", members.join(",\n")), &sink);
    sandbox.run(&["--bcc", "all", "--body", "y"]).exits(0).silently();
    assert_eq!(sink.taken().iter().map(|taken| taken.recipients.len()).sum::<usize>(), 10_000);
}
