//! STARTTLS stripped, refused, garbled, injected: neither a login nor mail leaves in the clear, whatever the server says.
//!
//! The table holds the client cases of "Why TLS Is Better Without STARTTLS" (Poddebniak et al., 2021), of which
//! Email-Analysis-Toolkit/fake-mail-server is the collection: what the server says at which step.

use crate::support::{Run, Sandbox, Server, Talk, authority};

/// What a server says; empty is what a good one would.
#[derive(Clone, Copy, Default)]
struct Case {
    name: &'static str,
    greeting: &'static str,
    ehlo: &'static str,
    helo: &'static str,
    /// Offers before TLS; `None` stands for STARTTLS.
    offers: Option<&'static str>,
    starttls: &'static str,
    quit: &'static str,
    /// Exit code.
    exit: i32,
}

const GOOD: Case = Case { name: "", greeting: "", ehlo: "", helo: "", offers: None, starttls: "", quit: "", exit: 0 };

const EVERY_MECHANISM: &str = "AUTH ANONYMOUS APOP CRAM-MD5 CRAM-SHA1 CRAM-SHA256 CRYPT DIGEST-MD5 EXTERNAL GS2-KRB5 GSSAPI LOGIN MD5 NTLM \
     OAUTHBEARER OTP PLAIN PLAIN2 SCRAM-SHA-1 SCRAM-SHA-256 SECURID SKEY XOAUTH2 XYMCOOKIE";

const CASES: &[Case] = &[
    Case { name: "setup", ..GOOD },
    Case { name: "setup, opportunistic", offers: Some("STARTTLS, AUTH PLAIN"), ..GOOD },
    Case { name: "B_1 injection", starttls: "220 go\n250-example.org\n250 AUTH LOGIN", exit: 76, ..GOOD },
    Case { name: "D_1 no EHLO", ehlo: "502 what?", exit: 69, ..GOOD },
    Case { name: "O_1 stripped", offers: Some("AUTH PLAIN LOGIN"), exit: 69, ..GOOD },
    Case { name: "O_2 refused", starttls: "502 Command not implemented", exit: 69, ..GOOD },
    Case { name: "O_3 not now", starttls: "454 TLS not available due to temporary reason", exit: 69, ..GOOD },
    Case { name: "O_4 nonsense", starttls: "354 do something else", exit: 76, ..GOOD },
    Case { name: "X_1 every login", offers: Some(EVERY_MECHANISM), exit: 69, ..GOOD },
    Case { name: "ehlo 220", ehlo: "220 EHLO client!", exit: 76, ..GOOD },
    Case { name: "ehlo 221", ehlo: "221 EHLO client!", exit: 76, ..GOOD },
    Case { name: "ehlo 250 empty", offers: Some(""), exit: 69, ..GOOD },
    Case { name: "ehlo 354", ehlo: "354 Start mail input", exit: 76, ..GOOD },
    Case { name: "ehlo 421", ehlo: "421 Service shutting down", exit: 75, ..GOOD },
    Case { name: "ehlo 500", ehlo: "500 Syntax error, command unrecognized", exit: 69, ..GOOD },
    Case { name: "ehlo 501", ehlo: "501 Syntax error in command or arguments", exit: 69, ..GOOD },
    Case { name: "ehlo 502", ehlo: "502 Command not implemented", exit: 69, ..GOOD },
    Case { name: "ehlo 504", ehlo: "504 Command Parameter not implemented", exit: 69, ..GOOD },
    Case { name: "ehlo 530", ehlo: "530 Must issue STARTTLS first", exit: 69, ..GOOD },
    Case { name: "ehlo 550", ehlo: "550 Requested action not taken: Command rejected", exit: 69, ..GOOD },
    Case { name: "greeting 220", greeting: "220 smtp.example.com ESMTP ready", ..GOOD },
    Case { name: "greeting 221", greeting: "221 Service closing transmission channel", exit: 76, ..GOOD },
    Case { name: "greeting 354", greeting: "354 Start mail input", exit: 76, ..GOOD },
    Case { name: "greeting 421", greeting: "421 Service shutting down", exit: 75, ..GOOD },
    Case { name: "greeting 500", greeting: "500 Syntax error, command unrecognized", exit: 69, ..GOOD },
    Case { name: "greeting 501", greeting: "501 Syntax error in command or arguments", exit: 69, ..GOOD },
    Case { name: "greeting 530", greeting: "530 Must issue STARTTLS first", exit: 69, ..GOOD },
    Case { name: "greeting 554", greeting: "554 No SMTP service here", exit: 69, ..GOOD },
    Case { name: "helo 220", ehlo: "500 x", helo: "220 HELO client!", exit: 76, ..GOOD },
    Case { name: "helo 221", ehlo: "500 x", helo: "221 Closing connection!", exit: 76, ..GOOD },
    Case { name: "helo 354", ehlo: "500 x", helo: "354 Start mail input", exit: 76, ..GOOD },
    Case { name: "helo 421", ehlo: "500 x", helo: "421 Service shutting down", exit: 75, ..GOOD },
    Case { name: "helo 500", ehlo: "500 x", helo: "500 Syntax error, command unrecognized", exit: 69, ..GOOD },
    Case { name: "helo 501", ehlo: "500 x", helo: "501 Syntax error in command or arguments", exit: 69, ..GOOD },
    Case { name: "helo 530", ehlo: "500 x", helo: "530 Must issue STARTTLS first", exit: 69, ..GOOD },
    Case { name: "quit 220", greeting: "500 x", quit: "220 OK client!", exit: 69, ..GOOD },
    Case { name: "quit 221", greeting: "500 x", quit: "221 Closing connection!", exit: 69, ..GOOD },
    Case { name: "quit 354", greeting: "500 x", quit: "354 Start mail input", exit: 69, ..GOOD },
    Case { name: "quit 421", greeting: "500 x", quit: "421 Service shutting down", exit: 69, ..GOOD },
    Case { name: "quit 500", greeting: "500 x", quit: "500 Syntax error, command unrecognized", exit: 69, ..GOOD },
    Case { name: "quit 501", greeting: "500 x", quit: "501 Syntax error in command or arguments", exit: 69, ..GOOD },
    Case { name: "quit 530", greeting: "500 x", quit: "530 Must issue STARTTLS first", exit: 69, ..GOOD },
    Case { name: "starttls 220", starttls: "220 EHLO client!", ..GOOD },
    Case { name: "starttls 221", starttls: "221 Closing connection!", exit: 76, ..GOOD },
    Case { name: "starttls 354", starttls: "354 Start mail input", exit: 76, ..GOOD },
    Case { name: "starttls 421", starttls: "421 Service shutting down", exit: 75, ..GOOD },
    Case { name: "starttls 454", starttls: "454 TLS not available due to temporary reason", exit: 69, ..GOOD },
    Case { name: "starttls 500", starttls: "500 Syntax error, command unrecognized", exit: 69, ..GOOD },
    Case { name: "starttls 501", starttls: "501 Syntax error in command or arguments", exit: 69, ..GOOD },
    Case { name: "starttls 530", starttls: "530 Must issue STARTTLS first", exit: 69, ..GOOD },
];

/// Plays a case; commands after TLS are marked.
fn play(talk: &mut Talk, case: Case) {
    let or = |text: &'static str, good: &'static str| if text.is_empty() { good } else { text };
    talk.say(or(case.greeting, "220 mx.example"));
    let mut is_tls = false;
    while let Some(line) = talk.hear_or_end() {
        if is_tls && let Some(last) = talk.heard.commands.last_mut() {
            last.insert_str(0, "TLS ");
        }
        match line.split(' ').next().unwrap_or_default() {
            "EHLO" if is_tls => talk.say("250-mx\n250 AUTH PLAIN"),
            "EHLO" if !case.ehlo.is_empty() => talk.say(case.ehlo),
            "EHLO" => {
                let offers = case.offers.unwrap_or("STARTTLS");
                let offers: String =
                    offers.split(", ").filter(|o| !o.is_empty()).map(|o| format!("250-{o}\n")).collect();
                talk.say(&format!("250-mx\n{offers}250 HELP"));
            }
            "HELO" => talk.say(or(case.helo, "250 mx")),
            "STARTTLS" => {
                talk.say(or(case.starttls, "220 go"));
                if case.starttls.is_empty() || (case.starttls.starts_with("220") && case.exit == 0) {
                    is_tls = talk.tls(&authority().good);
                }
            }
            "AUTH" => talk.say("235 welcome"),
            "DATA" => {
                talk.say("354 go");
                talk.data();
                talk.say("250 ok");
            }
            "QUIT" => return talk.say(or(case.quit, "221 bye")),
            _ => talk.say("250 ok"),
        }
    }
}

fn run(case: Case) -> (Run, Vec<String>, bool) {
    let server = Server::new(move |talk, _| play(talk, case));
    let mut sandbox = Sandbox::new();
    let ca = format!("tls.ca-file={}", sandbox.file("ca.pem", &authority().ca));
    sandbox.env("MAILSEND_PASSWORD", "hunter2");
    let url = format!("smtp://ada@127.0.0.1:{}?security=starttls", server.port);
    let run = sandbox.run(&[
        "--server",
        &url,
        "-o",
        &ca,
        "-r",
        "s@x.example",
        "a@y.example",
        "--body",
        "hi",
        "--timeout",
        "5s",
    ]);
    let heard = server.only();
    (run, heard.commands, heard.messages.len() == 1)
}

#[test]
fn neither_login_nor_mail_leaves_in_the_clear() {
    for &case in CASES {
        let (run, commands, got_mail) = run(case);
        assert_eq!(run.code, case.exit, "{}: {run:#?}", case.name);
        assert_eq!(got_mail, case.exit == 0, "{}", case.name);
        let allowed = ["EHLO ", "HELO ", "STARTTLS", "QUIT", "TLS "];
        for command in &commands {
            assert!(allowed.iter().any(|start| command.starts_with(start)), "{}: {command} in the clear", case.name);
        }
        if case.exit != 0 {
            assert!(run.stderr.starts_with("mailsend: ") && run.stderr.contains("not sent to a@y.example"), "{run:#?}");
        }
    }
}

#[test]
fn what_comes_behind_the_consent_ends_everything() {
    let (run, commands, _) = run(Case { starttls: "220 go\n250-example.org\n250 AUTH LOGIN", ..GOOD });
    run.exits(76).says("plaintext behind the server's consent to STARTTLS");
    assert!(commands[0].starts_with("EHLO ") && commands[1] == "STARTTLS" && commands.len() == 2, "{commands:?}");
}

#[test]
fn only_the_ehlo_after_tls_counts() {
    let server = Server::new(|talk, _| {
        talk.greet("STARTTLS, PIPELINING, CHUNKING, AUTH PLAIN LOGIN, SIZE 10");
        talk.answer("STARTTLS", "220 go");
        assert!(talk.tls(&authority().good));
        talk.hello("8BITMIME");
        assert_eq!(talk.answer("MAIL", "250 ok"), "MAIL FROM:<s@x.example>");
        talk.answer("RCPT", "250 ok");
        talk.answer("DATA", "354 go");
        talk.data();
        talk.say("250 ok");
    });
    let sandbox = Sandbox::new();
    let ca = format!("tls.ca-file={}", sandbox.file("ca.pem", &authority().ca));
    let url = format!("smtp://127.0.0.1:{}?security=starttls", server.port);
    sandbox.run(&["--server", &url, "-o", &ca, "-r", "s@x.example", "a@y.example", "--body", "hi"]).exits(0).silently();
}
