//! What goes over the wire, heard by a server that says exactly what the test wants.

use std::{
    process::Stdio,
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use crate::support::{Run, Sandbox, Server, Talk};

const FROM: &[&str] = &["-r", "s@x.example"];

/// Sends a short message to these recipients through the server, with further arguments.
fn send(server: &Server, recipients: &[&str], more: &[&str]) -> Run {
    send_from(&Sandbox::new(), server, recipients, more)
}

fn send_from(sandbox: &Sandbox, server: &Server, recipients: &[&str], more: &[&str]) -> Run {
    let url = server.url();
    let mut arguments = vec!["--server", &url, "-s", "x", "--body", "hi", "--format", "json"];
    arguments.extend(FROM);
    arguments.extend(recipients);
    arguments.extend(more);
    sandbox.run(&arguments)
}

/// `state stage code` of each record.
fn states(run: &Run) -> Vec<String> {
    let record = |record: &serde_json::Value| {
        format!(
            "{} {} {} {}",
            record["recipient"].as_str().unwrap_or_default().split('@').next().unwrap_or_default(),
            record["state"].as_str().unwrap_or_default(),
            record["stage"].as_str().unwrap_or_default(),
            record["code"]
        )
    };
    run.records().iter().map(record).collect()
}

const A: &[&str] = &["a@y.example"];
const ABC: &[&str] = &["a@y.example", "b@y.example", "c@y.example"];

#[test]
fn nothing_is_sent_before_the_greeting() {
    let server = Server::new(|talk, _| {
        assert!(!talk.has_more_within(Duration::from_millis(200)), "the client speaks first");
        talk.greet("");
        talk.take_one(1);
        talk.answer("QUIT", "221 bye");
    });
    send(&server, A, &[]).exits(0).silently();
}

#[test]
fn with_pipelining_the_envelope_and_data_go_in_one_group() {
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING");
        // Not a word before the last of them.
        for start in ["MAIL FROM:<s@x.example>", "RCPT TO:<a@", "RCPT TO:<b@", "RCPT TO:<c@", "DATA"] {
            talk.expect(start);
        }
        talk.say("250 ok\n250 ok\n550 5.1.1 no such user\n451 4.7.1 later\n354 go");
        talk.data();
        talk.say("250 2.0.0 Ok: queued as 4F2");
        talk.expect("QUIT");
    });
    let run = send(&server, ABC, &[]).exits(1);
    assert_eq!(states(&run), ["b failed rcpt 550", "c deferred rcpt 451", "a accepted data 250"]);
    let records = run.records();
    assert_eq!(records[2]["remote_id"], "4F2");
    assert_eq!(records[0]["enhanced"], "5.1.1");
    assert_eq!(records[0]["reply"], "5.1.1 no such user");
    let run = run.says("failed b@y.example: 550 5.1.1 no such user (at RCPT)").says("deferred c@y.example: 451 4.7.1");
    assert!(!run.stderr.contains("accepted"), "{run:#?}");
}

#[test]
fn with_chunking_the_message_goes_along() {
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING, CHUNKING");
        talk.expect("MAIL");
        talk.expect("RCPT");
        let message = talk.bdat();
        assert!(message.ends_with(b"\r\n\r\nhi\r\n"));
        talk.say("250 ok\n250 ok\n250 2.0.0 Ok: queued as 4F2");
        talk.expect("QUIT");
    });
    send(&server, A, &[]).exits(0).silently();
}

#[test]
fn chunking_can_be_left_out_and_pipelining_too() {
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING, CHUNKING");
        talk.expect("MAIL");
        assert!(!talk.has_more_within(Duration::from_millis(100)), "commands come one by one");
        talk.say("250 ok");
        talk.answer("RCPT", "250 ok");
        talk.answer("DATA", "354 go");
        talk.data();
        talk.say("250 ok");
    });
    send(&server, A, &["-o", "extensions.chunking=off", "-o", "extensions.pipelining=off"]).exits(0);
}

#[test]
fn what_is_required_and_not_offered_is_refused() {
    for (key, word) in
        [("chunking", "CHUNKING"), ("pipelining", "PIPELINING"), ("dsn", "DSN"), ("smtputf8", "SMTPUTF8")]
    {
        let server = Server::new(|talk, _| {
            talk.greet("");
            assert_eq!(talk.hear_to_the_end().iter().filter(|line| *line != "QUIT").count(), 0);
        });
        let option = format!("extensions.{key}=require");
        let run = send(&server, A, &["-o", &option]).exits(69).says(&format!("does not offer {word}"));
        assert_eq!(states(&run), ["a deferred greeting null"]);
    }
}

#[test]
fn large_content_waits_until_somebody_wants_it() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("large.bin", vec![7; 100_000]);
    for offers in ["PIPELINING, CHUNKING", "CHUNKING"] {
        let server = Server::new(move |talk, _| {
            talk.greet(offers);
            talk.answer("MAIL", "250 ok");
            talk.answer("RCPT", "550 no");
            if offers.starts_with('P') {
                assert!(!talk.has_more_within(Duration::from_millis(100)) || talk.hear() == "QUIT");
            }
            assert!(talk.hear_to_the_end().iter().all(|line| line == "QUIT" || line == "RSET"));
        });
        send_from(&sandbox, &server, A, &["-a", &file]).exits(67);
    }
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING, CHUNKING");
        talk.answer("MAIL", "250 ok");
        talk.answer("RCPT", "250 ok");
        assert!(talk.bdat().len() > 130_000);
        talk.say("250 ok");
    });
    send_from(&sandbox, &server, A, &["-a", &file]).exits(0);
}

/// A large message as it lies there ends with a piece of a file; its end is the end of the message.
#[test]
fn a_large_raw_message_is_complete_when_its_file_is() {
    let sandbox = Sandbox::new();
    let body = "a line of it\n".repeat(20_000);
    sandbox.file("large.eml", format!("From: s@x.example\nTo: a@y.example\n\n{body}"));
    for offers in ["PIPELINING, CHUNKING", "CHUNKING", "PIPELINING", ""] {
        let server = Server::new(move |talk, _| {
            talk.greet(offers);
            talk.answer("MAIL", "250 ok");
            talk.answer("RCPT", "250 ok");
            if offers.contains("CHUNKING") {
                talk.bdat();
            } else {
                talk.answer("DATA", "354 go");
                talk.data();
            }
            talk.say("250 ok");
        });
        sandbox.run(&["--server", &server.url(), "--raw", "large.eml"]).exits(0).silently();
        let message = server.only().messages.remove(0);
        assert!(message.ends_with(body.replace('\n', "\r\n").as_bytes()), "{offers}");
    }
}

/// A server that does not read is waited for, not read ahead of; what is shown as sent has left.
#[test]
fn memory_does_not_grow_with_what_the_server_does_not_take() {
    let (told, ready) = mpsc::channel();
    let (gone, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let server = Server::new(move |talk, _| {
        talk.greet("");
        talk.answer("MAIL", "250 ok");
        talk.answer("RCPT", "250 ok");
        talk.expect("DATA");
        talk.say("354 go");
        told.send(()).expect("the test waits");
        wait.lock().expect("one connection").recv().expect("the test tells");
    });
    let sandbox = Sandbox::new();
    let file = std::fs::File::create(sandbox.path("large.bin")).expect("a file");
    file.set_len(400_000_000).expect("a large file");
    let url = server.url();
    let mut command = sandbox.command(&["--server", &url, "-r", "s@x.example", "a@y.example"]);
    command.args(["--body", "x", "-a", "large.bin", "--progress", "json", "--timeout", "1s"]);
    let start = Instant::now();
    command.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped());
    let child = command.spawn().expect("it starts");
    ready.recv().expect("the message is on its way");
    let mut peak = 0;
    // To the end: it gives up after a second.
    while let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", child.id()))
        && let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))
        && start.elapsed() < Duration::from_secs(20)
    {
        peak = line.trim().trim_end_matches(" kB").parse::<u64>().expect("kB");
    }
    let run = crate::support::finish(child).exits(75);
    gone.send(()).expect("the server waits");
    assert!((1..48 * 1024).contains(&peak), "{peak} kB");
    // A tenth would be 54 MB: no socket holds so much.
    assert!(!run.stderr.contains("progress"), "{run:#?}");
}

/// What comes before it was asked for cannot be told from what comes after.
#[test]
fn replies_before_their_commands_are_out_of_step() {
    type Script = fn(&mut Talk);
    let cases: [(&str, Script); 4] = [
        ("behind the greeting", |talk| talk.say("220 hi\n250 mx")),
        ("behind EHLO", |talk| {
            talk.say("220 hi");
            talk.answer("EHLO", "250 mx\n250 ok\n250 ok");
        }),
        ("behind MAIL", |talk| {
            talk.greet("");
            talk.answer("MAIL", "250 ok\n250 ok");
        }),
        ("behind RCPT", |talk| {
            talk.greet("");
            talk.answer("MAIL", "250 ok");
            talk.answer("RCPT", "250 ok\n354 go\n250 sent");
        }),
    ];
    for (name, script) in cases {
        let server = Server::new(move |talk, _| {
            script(talk);
            let rest = talk.hear_to_the_end();
            assert!(!rest.iter().any(|line| line.starts_with("Subject")), "{rest:?}");
        });
        let run = send(&server, &["a@y.example"], &[]);
        assert!(run.code == 76, "{name}: {run:#?}");
        assert!(states(&run)[0].starts_with("a deferred"), "{name}");
        run.says("out of step");
    }
}

/// Nobody's refusal, wherever the server thinks of it.
#[test]
fn a_login_wanted_late_defers() {
    for reply in ["530 5.7.0 Authentication required", "535 5.7.8 no", "534 5.7.9 too weak"] {
        for at in ["DATA", "content"] {
            let server = Server::new(move |talk, _| {
                talk.greet("");
                talk.answer("MAIL", "250 ok");
                talk.answer("RCPT", "250 ok");
                if at == "DATA" {
                    talk.answer("DATA", reply);
                } else {
                    talk.answer("DATA", "354 go");
                    talk.data();
                    talk.say(reply);
                }
                talk.hear_to_the_end();
            });
            let run = send(&server, &["a@y.example"], &["--retry", "2"]).exits(77);
            assert!(states(&run)[0].starts_with("a deferred data"), "{reply} at {at}");
        }
    }
}

#[test]
fn all_refused_means_no_data() {
    let server = Server::new(|talk, _| {
        talk.greet("");
        talk.answer("MAIL", "250 ok");
        for _ in 0..3 {
            talk.answer("RCPT", "550 5.1.1 no");
        }
        assert!(!talk.hear_to_the_end().iter().any(|line| line.starts_with("DATA")));
    });
    let run = send(&server, ABC, &[]).exits(67);
    assert_eq!(states(&run).len(), 3);

    // RFC 2920, 3.1: a server that says 354 all the same gets a lone dot.
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING");
        for _ in 0..3 {
            talk.hear();
        }
        talk.say("250 ok\n550 no\n354 go");
        assert_eq!(talk.data(), b"");
        talk.say("554 no valid recipients");
        talk.expect("QUIT");
    });
    send(&server, A, &[]).exits(67);
}

#[test]
fn codes_for_refusals() {
    for (mail, rcpt, content, exit, state) in [
        ("550 5.1.8 bad sender", "503 x", "503 x", 69, "a failed mail 550"),
        ("451 4.3.0 later", "503 x", "503 x", 75, "a deferred mail 451"),
        ("250 ok", "550 5.1.1 no", "503 x", 67, "a failed rcpt 550"),
        ("250 ok", "450 4.2.1 busy", "503 x", 75, "a deferred rcpt 450"),
        ("250 ok", "552 too many", "503 x", 75, "a deferred rcpt 552"),
        ("250 ok", "552 5.2.2 full", "503 x", 67, "a failed rcpt 552"),
        ("250 ok", "250 ok", "554 5.7.1 spam", 69, "a failed data 554"),
        ("250 ok", "250 ok", "452 4.3.1 disk", 75, "a deferred data 452"),
        ("250 ok", "251 forwarded", "250 ok", 0, "a accepted data 250"),
        ("250 ok", "252 perhaps", "250 ok", 0, "a accepted data 250"),
        ("250", "250", "250", 0, "a accepted data 250"),
    ] {
        let server = Server::new(move |talk, _| {
            talk.greet("PIPELINING, CHUNKING");
            talk.hear();
            talk.hear();
            talk.bdat();
            talk.say(&[mail, rcpt, content].join("\n"));
            talk.hear_to_the_end();
        });
        let run = send(&server, A, &[]).exits(exit);
        assert_eq!(states(&run), [state], "{mail} {rcpt} {content}");
    }
}

#[test]
fn replies_of_every_kind_are_read() {
    let long: String = (0..199).map(|n| format!("550-5.7.1 line {n}\n")).collect();
    let server = Server::new(move |talk, _| {
        talk.greet("PIPELINING");
        for _ in 0..5 {
            talk.hear();
        }
        talk.say("250-a\n250-b\n250 c");
        talk.say(&(long.clone() + "550 5.7.1 the end"));
        talk.say_bytes(b"550 5.1.1 gr\xFC\xDFe \x1b[2J\x07\r\n");
        talk.say("250 ok\n354 go");
        talk.data();
        talk.say("250-2.0.0 first\n250 2.0.0 Ok: queued as 4F2");
    });
    let run = send(&server, ABC, &[]).exits(1);
    let records = run.records();
    assert!(records[0]["reply"].as_str().is_some_and(|reply| reply.contains("line 198") && reply.ends_with("the end")));
    assert_eq!(records[1]["reply"], "5.1.1 grüße \u{FFFD}[2J\u{FFFD}");
    assert_eq!(records[2]["reply"], "2.0.0 first Ok: queued as 4F2");
    assert!(!run.stderr.contains('\x1b') && !run.stdout.contains('\x1b'));
}

#[test]
fn a_server_without_ehlo_gets_helo() {
    let server = Server::new(|talk, _| {
        talk.say("220 old");
        talk.answer("EHLO ", "502 what?");
        talk.answer("HELO ", "250 hello");
        let line = talk.answer("MAIL", "250 ok");
        assert_eq!(line, "MAIL FROM:<s@x.example>", "no parameters without extensions");
        talk.answer("RCPT", "250 ok");
        talk.answer("DATA", "354 go");
        talk.data();
        talk.say("250 ok");
    });
    send(&server, A, &["--dsn-notify", "success"]).exits(0);
}

#[test]
fn the_name_in_ehlo_can_be_given() {
    let server = Server::new(|talk, _| {
        talk.say("220 hi");
        assert_eq!(talk.hear(), "EHLO client.example");
        talk.say("550 no");
        talk.answer("HELO client.example", "550 no");
        talk.hear_or_end();
    });
    send(&server, A, &["-o", "ehlo-name=client.example"]).exits(69);
}

#[test]
fn parameters_are_declared_where_they_are_offered() {
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING, SIZE 1000000, 8BITMIME, SMTPUTF8, DSN");
        let mail = talk.expect("MAIL FROM:<s@x.example> SIZE=");
        assert!(mail.ends_with(" SMTPUTF8 RET=HDRS ENVID=run.1-2"), "{mail}");
        let rcpt = talk.hear();
        assert_eq!(rcpt, "RCPT TO:<jürgen@y.example> NOTIFY=SUCCESS,FAILURE ORCPT=utf-8;j\\x{FC}rgen@y.example");
        talk.expect(
            "RCPT TO:<a+b@xn--bcher-kva.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@xn--bcher-kva.example",
        );
        talk.expect("DATA");
        talk.say("250 ok\n250 ok\n250 ok\n354 go");
        talk.data();
        talk.say("250 ok");
    });
    let more = ["--dsn-notify", "success,failure", "--dsn-return", "hdrs", "--envid", "run.1-2"];
    let run = send(&server, &["--bcc", "jürgen@y.example", "--bcc", "a+b@bücher.example"], &more).exits(0);
    assert!(run.records().iter().all(|record| record["dsn"] == true));
}

#[test]
fn wishes_that_cannot_be_passed_on_are_told() {
    let server = Server::new(|talk, _| {
        talk.greet("");
        assert_eq!(talk.answer("MAIL", "250 ok"), "MAIL FROM:<s@x.example>");
        assert_eq!(talk.answer("RCPT", "250 ok"), "RCPT TO:<a@y.example>");
        talk.answer("DATA", "354 go");
        talk.data();
        talk.say("250 ok");
    });
    let run = send(&server, A, &["--dsn-notify", "success", "-v"]).exits(0).says("DSN");
    assert_eq!(run.records()[0]["dsn"], false);
}

#[test]
fn eight_bit_mail_needs_8bitmime() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("m.eml", "From: s@x.example\nTo: a@y.example\nDate: x\nMessage-ID: <a@b>\n\nGrüße\n");
    let server = Server::new(|talk, _| {
        talk.greet("8BITMIME");
        talk.answer("MAIL FROM:<s@x.example> BODY=8BITMIME", "250 ok");
        talk.answer("RCPT", "250 ok");
        talk.answer("DATA", "354 go");
        assert!(talk.data().ends_with("\r\n\r\nGrüße\r\n".as_bytes()));
        talk.say("250 ok");
    });
    sandbox.run(&["--server", &server.url(), "--raw", &file]).exits(0).silently();
    let server = Server::new(|talk, _| {
        talk.greet("");
        assert!(talk.hear_to_the_end().iter().all(|line| line == "QUIT"));
    });
    sandbox.run(&["--server", &server.url(), "--raw", &file]).exits(69).says("8BITMIME");
}

#[test]
fn an_address_beyond_ascii_needs_smtputf8() {
    // Who needs it is refused, the others get the mail.
    let server = Server::new(|talk, _| {
        talk.greet("8BITMIME");
        let message = talk.take_one(1);
        assert!(message.is_ascii());
    });
    let run = send(&server, &["--bcc", "jürgen@y.example", "--bcc", "b@y.example"], &[]).exits(1).says("SMTPUTF8");
    assert_eq!(states(&run), ["jürgen failed mail null", "b accepted data 250"]);
    // In a header field it concerns everybody.
    let server = Server::new(|talk, _| {
        talk.greet("8BITMIME");
        assert!(talk.hear_to_the_end().iter().all(|line| line == "QUIT"));
    });
    send(&server, &["jürgen@y.example", "b@y.example"], &[]).exits(69).says("SMTPUTF8");
}

#[test]
fn what_is_too_large_is_not_offered() {
    let server = Server::new(|talk, _| {
        talk.greet("SIZE 100");
        assert!(talk.hear_to_the_end().iter().all(|line| line == "QUIT"));
    });
    let run = send(&server, A, &[]).exits(69).says("the server takes 100");
    assert_eq!(states(&run), ["a failed mail null"]);
}

#[test]
fn requiretls_needs_tls_and_the_offer() {
    let server = Server::new(|talk, _| {
        talk.greet("REQUIRETLS");
        assert!(talk.hear_to_the_end().iter().all(|line| line == "QUIT"));
    });
    send(&server, A, &["-o", "extensions.requiretls=require"]).exits(69).says("REQUIRETLS needs");
}

#[test]
fn lost_before_the_last_byte_is_deferred_after_it_unknown() {
    let server = Server::new(|talk, _| {
        talk.greet("");
        talk.answer("MAIL", "250 ok");
        talk.answer("RCPT", "250 ok");
        talk.expect("DATA");
        talk.close();
    });
    let run = send(&server, A, &[]).exits(75);
    assert_eq!(states(&run), ["a deferred data null"]);

    for offers in ["PIPELINING", "PIPELINING, CHUNKING", ""] {
        for is_reset in [false, true] {
            let server = Server::new(move |talk, number| {
                assert_eq!(number, 0, "it is sent again");
                talk.greet(offers);
                if offers.contains("CHUNKING") {
                    talk.hear();
                    talk.hear();
                    talk.bdat();
                    talk.say("250 ok\n250 ok");
                } else {
                    for reply in ["250 ok", "250 ok", "354 go"] {
                        talk.answer("", reply);
                    }
                    talk.data();
                }
                if is_reset { talk.reset() } else { talk.close() }
            });
            let run =
                send(&server, A, &["--retry", "3"]).exits(1).says("it may have arrived or not").says("look for <");
            assert_eq!(states(&run), ["a unknown final null"], "{offers}");
        }
    }
}

#[test]
fn a_reset_behind_readable_replies_is_not_unknown() {
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING, CHUNKING");
        talk.hear();
        talk.hear();
        talk.bdat();
        talk.say("250 ok\n250 ok\n250 2.0.0 Ok: queued as 4F2");
        talk.reset();
    });
    let run = send(&server, A, &[]).exits(0);
    assert_eq!(states(&run), ["a accepted data 250"]);
}

#[test]
fn hangs_end_at_their_limit() {
    type Script = fn(&mut Talk);
    let cases: [(&str, &str, Script, i32, &str); 6] = [
        ("greeting", "200ms", |_| {}, 75, "a deferred greeting null"),
        ("command", "200ms", |talk| talk.say("220 hi"), 75, "a deferred greeting null"),
        (
            "command",
            "200ms",
            |talk| {
                talk.greet("");
                talk.expect("MAIL");
            },
            75,
            "a deferred mail null",
        ),
        (
            "command",
            "200ms",
            |talk| {
                talk.greet("PIPELINING");
                talk.expect("MAIL");
                talk.say("250 ok\n250 ok");
            },
            75,
            "a deferred data null",
        ),
        (
            "content",
            "200ms",
            |talk| {
                talk.greet("PIPELINING");
                talk.expect("MAIL");
                talk.say("250 ok\n250 ok\n354 go");
            },
            75,
            "a deferred data null",
        ),
        (
            "final-reply",
            "200ms",
            |talk| {
                talk.greet("");
                for reply in ["250 ok", "250 ok", "354 go"] {
                    talk.answer("", reply);
                }
                talk.data();
            },
            1,
            "a unknown final null",
        ),
    ];
    let sandbox = Sandbox::new();
    let large = sandbox.file("large.bin", vec![1; 20_000_000]);
    for (key, limit, script, exit, state) in cases {
        let (ended, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let server = Server::new(move |talk, _| {
            script(talk);
            // Does not read: the socket fills up.
            if key == "content" {
                let _ = wait.lock().expect("one connection").recv();
            }
            talk.hear_to_the_end_or_reset();
        });
        let option = format!("timeouts.{key}={limit}");
        let mut more = vec!["-o", option.as_str()];
        if key == "content" {
            more.extend(["-a", &large]);
        }
        let run = send_from(&sandbox, &server, A, &more).exits(exit);
        drop(ended);
        assert_eq!(states(&run), [state], "{key}");
        assert!(run.stderr.contains("within 0.2 s"), "{run:#?}");
    }
}

#[test]
fn the_short_time_limit_leaves_the_final_reply_alone() {
    let server = Server::new(|talk, _| {
        talk.greet("");
        for reply in ["250 ok", "250 ok", "354 go"] {
            talk.answer("", reply);
        }
        talk.data();
        std::thread::sleep(Duration::from_millis(400));
        talk.say("250 ok");
    });
    send(&server, A, &["--timeout", "200ms"]).exits(0);
}

#[test]
fn a_421_in_the_middle_defers() {
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING");
        for _ in 0..5 {
            talk.hear();
        }
        talk.say("250 ok\n250 ok\n550 5.1.1 no\n421 4.3.2 shutting down");
        talk.close();
    });
    let run = send(&server, ABC, &[]).exits(75);
    assert_eq!(states(&run), ["b failed rcpt 550", "a deferred rcpt 421", "c deferred rcpt 421"]);
}

#[test]
fn a_server_out_of_step_ends_the_session() {
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING");
        for _ in 0..3 {
            talk.hear();
        }
        talk.say("550 no\n503 no\n354 go");
        assert_eq!(talk.hear_or_end(), None, "nothing more is said");
    });
    send(&server, A, &[]).exits(76).says("out of step");
    let server = Server::new(|talk, _| {
        talk.say("HTTP/1.1 400 Bad Request");
        talk.hear_or_end();
    });
    send(&server, A, &[]).exits(76).says("'HTTP/1.1 400 Bad Request', which is no SMTP reply");
    let server = Server::new(|talk, _| {
        talk.say_bytes(&[b'2'; 200_000]);
        talk.hear_or_end();
    });
    send(&server, A, &[]).exits(76).says("without end");
}

#[test]
fn deferred_recipients_alone_are_tried_again() {
    let server = Server::new(|talk, number| {
        talk.greet("PIPELINING");
        if number == 0 {
            for _ in 0..5 {
                talk.hear();
            }
            talk.say("250 ok\n250 ok\n451 4.7.1 greylisted\n550 5.1.1 no\n354 go");
            talk.data();
            talk.say("250 ok");
            // The second attempt comes over the same session, which ends: it was not taken, and goes over another.
            talk.expect("MAIL");
            talk.close();
        } else {
            talk.expect("MAIL");
            talk.expect("RCPT TO:<b@y.example>");
            talk.expect("DATA");
            talk.say("250 ok\n250 ok\n354 go");
            talk.data();
            talk.say("250 ok");
            talk.hear_or_end();
        }
    });
    let run = send(&server, ABC, &["--retry", "2", "-o", "retry.initial-delay=10ms"]).exits(1);
    assert_eq!(states(&run), ["c failed rcpt 550", "a accepted data 250", "b accepted data 250"]);
    assert_eq!(run.records()[2]["attempts"], 2);
    assert_eq!(server.heard().len(), 2);
}

/// A server that takes three recipients at once gets a message as often as it takes, in the same session.
#[test]
fn too_many_recipients_are_taken_in_turns() {
    for reply in ["452 4.5.3 Too many recipients", "452 too many", "552 too many"] {
        let server = Server::new(move |talk, number| {
            assert_eq!(number, 0, "it comes again");
            talk.greet("PIPELINING");
            for (willing, rest) in [(3, 4), (3, 1), (1, 0)] {
                talk.answer("MAIL", "250 ok");
                for _ in 0..willing {
                    talk.answer("RCPT", "250 ok");
                }
                for _ in 0..rest {
                    talk.answer("RCPT", reply);
                }
                talk.answer("DATA", "354 go");
                talk.data();
                talk.say("250 ok");
            }
        });
        let recipients: Vec<String> = (0..7).map(|number| format!("{number}@y.example")).collect();
        let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
        let run = send(&server, &recipients, &[]).exits(0);
        assert!(run.records().iter().all(|record| record["attempts"] == 1), "{run:#?}");
        assert_eq!(run.records().len(), 7);
    }
    // A full mailbox is not that, and who takes nobody is not asked again.
    for (first, reply, out) in [("250 ok", "452 4.2.2 full", 1), ("550 no", "452 4.5.3 too many", 75)] {
        let server = Server::new(move |talk, _| {
            talk.greet("");
            talk.answer("MAIL", "250 ok");
            talk.answer("RCPT", first);
            talk.answer("RCPT", reply);
            if first == "250 ok" {
                talk.answer("DATA", "354 go");
                talk.data();
                talk.say("250 ok");
            }
            assert!(!talk.hear_to_the_end().iter().any(|line| line.starts_with("MAIL")));
        });
        let run = send(&server, &["a@y.example", "b@y.example"], &[]).exits(out);
        assert!(states(&run).contains(&"b deferred rcpt 452".to_owned()), "{run:#?}");
    }
}

#[test]
fn what_will_not_change_is_not_tried_again() {
    let server = Server::new(|talk, number| {
        assert_eq!(number, 0, "it is tried again");
        talk.greet("");
        talk.answer("MAIL", "550 5.7.1 no");
        talk.hear_to_the_end();
    });
    send(&server, A, &["--retry", "5", "-o", "retry.initial-delay=1ms"]).exits(69);
}

#[test]
fn lmtp_answers_for_each_willing_recipient() {
    for offers in ["PIPELINING", "PIPELINING,CHUNKING"] {
        let server = Server::new(move |talk, _| {
            talk.say("220 lmtp");
            talk.expect("LHLO ");
            talk.say(&format!("250-mx\n250-{}\n250 8BITMIME", offers.replace(',', "\n250-")));
            for _ in 0..4 {
                talk.hear();
            }
            if offers.contains("CHUNKING") {
                talk.say("250 ok\n250 ok\n550 5.1.1 no\n250 ok");
                talk.bdat();
            } else {
                talk.expect("DATA");
                talk.say("250 ok\n250 ok\n550 5.1.1 no\n250 ok\n354 go");
                talk.data();
            }
            talk.say("250 2.0.0 <a@y.example> XYZ Saved\n552 5.2.2 full");
        });
        let url = server.url().replace("smtp:", "lmtp:");
        let mut arguments = vec!["--server", url.as_str(), "-r", "s@x.example", "--body", "hi", "--format", "json"];
        arguments.extend(ABC);
        let run = Sandbox::new().run(&arguments).exits(1);
        assert_eq!(states(&run), ["b failed rcpt 550", "a accepted data 250", "c failed data 552"]);
        assert_eq!(run.records()[1]["remote_id"], "XYZ");
    }
}

#[test]
fn wrong_port_and_unknown_host_are_sentences() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address").port()
    };
    let sandbox = Sandbox::new();
    let url = format!("smtp://127.0.0.1:{port}");
    let run = sandbox.run(&["--server", &url, "-r", "s@x.example", "a@y.example", "--body", "x"]).exits(75);
    let run = run.says("connection refused").says(&format!("nothing listens on port {port}"));
    assert!(run.stderr.contains("not sent to a@y.example"), "{run:#?}");
    let run = sandbox.run(&["--server", "smtp://nonesuch.invalid", "-r", "s@x.example", "a@y.example", "--body", "x"]);
    assert!(matches!(run.code, 68 | 75), "{run:#?}");
}
