//! Certificates that are right, and every way in which they are not.

use crate::support::{Identity, Run, Sandbox, Server, authority};

/// Sends to a server that speaks TLS from the first byte with this identity.
fn send(identity: &Identity, wants_client: bool, more: &[&str]) -> Run {
    let identity = identity.clone();
    let server = Server::new(move |talk, _| {
        if talk.tls_with(&identity, wants_client) {
            talk.say("220 hi");
            // A client that does not trust us has gone by now.
            if talk.hear_or_end().is_some() {
                talk.say("250 mx");
                talk.take_one(1);
            }
        }
    });
    let sandbox = Sandbox::new();
    let url = format!("smtps://localhost:{}", server.port);
    let mut arguments = vec!["--server", url.as_str(), "-r", "s@x.example", "a@y.example", "--body", "hi"];
    arguments.extend(more);
    sandbox.run(&arguments)
}

fn ca(folder: &tempfile::TempDir, pem: &str) -> String {
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, pem).expect("a file");
    format!("tls.ca-file={}", path.display())
}

#[test]
fn each_wrong_certificate_has_its_own_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = ca(&folder, &authority().ca);
    let authority = authority();
    send(&authority.good, false, &["-o", &ca]).exits(0).silently();
    for (identity, words) in [
        (&authority.expired, "the certificate of localhost expired on 2000-01-02"),
        (&authority.premature, "is not valid before 2090-01-01"),
        (&authority.wrong_host, "the certificate is not for localhost but for other.example"),
        (&authority.self_signed, "the certificate of localhost is self-signed"),
        (&authority.self_signed_ca, "the certificate of localhost is self-signed"),
        (&authority.expired_intermediate, "an intermediate certificate behind that of localhost has expired"),
        (&authority.of_an_authority, "is that of an authority, not of a server"),
        (&authority.client, "not meant for servers"),
    ] {
        let run = send(identity, false, &["-o", &ca]).exits(77).says(words).says("not sent to a@y.example");
        assert!(run.stderr.contains("hint: "), "{run:#?}");
    }
    let run = send(&authority.good, false, &[]).exits(77);
    run.says("signed by 'CN=Test Authority', an authority not known here")
        .says("-o tls.ca-file=")
        .says("-o tls.pin-sha256=");
}

#[test]
fn a_pinned_key_is_all_that_counts() {
    let unknown =
        send(&authority().wrong_host, false, &["-o", "tls.pin-sha256=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]);
    unknown.exits(77).says("is none of tls.pin-sha256");
    let refused = send(&authority().self_signed, false, &[]).exits(77);
    let pin =
        refused.stderr.split("-o tls.pin-sha256=").nth(1).and_then(|rest| rest.lines().next()).expect("a pin is told");
    let pin = format!("tls.pin-sha256={pin}");
    send(&authority().self_signed, false, &["-o", &pin]).exits(0);
    // The same key with a name and a date that would not do.
    send(&authority().expired, false, &["-o", &pin]).exits(77);
}

#[test]
fn a_certificate_in_the_ca_file_is_trusted_as_it_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    for identity in [&authority().self_signed, &authority().self_signed_ca] {
        let ca = ca(&folder, &identity.chain);
        send(identity, false, &["-o", &ca]).exits(0);
    }
    // It is no authority: what its key signs is not trusted.
    let leaf = ca(&folder, &authority().self_signed.chain);
    send(&authority().signed_by_no_authority, false, &["-o", &leaf]).exits(77).says("an authority not known here");
    let ca = ca(&folder, &authority().wrong_host.chain);
    send(&authority().wrong_host, false, &["-o", &ca]).exits(77).says("not for localhost");
    send(&authority().wrong_host, false, &["-o", &ca, "-o", "tls.server-name=other.example"]).exits(0);
}

#[test]
fn a_client_certificate_is_shown_where_it_is_wanted() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = ca(&folder, &authority().ca);
    send(&authority().good, true, &["-o", &ca]).exits(77).says("our certificate");
    let sandbox = Sandbox::new();
    let certificate = format!("tls.client-cert={}", sandbox.file("c.pem", &authority().client.chain));
    let key = format!("tls.client-key={}", sandbox.file("k.pem", &authority().client.key));
    send(&authority().good, true, &["-o", &ca, "-o", &certificate, "-o", &key]).exits(0);
}

#[test]
fn files_that_are_none_are_configuration_errors() {
    let sandbox = Sandbox::new();
    let none = sandbox.file("none.pem", "nothing");
    for (option, words) in [
        (format!("tls.ca-file={none}"), "holds no PEM certificate"),
        ("tls.ca-file=/nonesuch.pem".to_owned(), "/nonesuch.pem"),
        ("tls.client-cert=/x.pem".to_owned(), "needs tls.client-key"),
        ("tls.min-version=1.1".to_owned(), "none of 1.2, 1.3"),
        ("tls.pin-sha256=abc".to_owned(), "44 characters"),
    ] {
        let run = sandbox.run(&[
            "--server",
            "smtps://localhost:1",
            "-o",
            &option,
            "-r",
            "s@x.example",
            "a@y.example",
            "--body",
            "x",
        ]);
        assert!(matches!(run.code, 64 | 78), "{run:#?}");
        run.says(words);
    }
}

#[test]
fn a_port_without_tls_is_told_from_one_with() {
    let server = Server::new(|talk, _| {
        talk.say("220 plain");
        talk.hear_to_the_end_or_reset();
    });
    let url = format!("smtps://localhost:{}", server.port);
    let run = Sandbox::new().run(&["--server", &url, "-r", "s@x.example", "a@y.example", "--body", "x"]).exits(69);
    run.says("does not speak TLS on this port").says("security=starttls");
    // The other way round: the server waits for TLS, the client for a greeting.
    let server = Server::new(|talk, _| {
        talk.hear_to_the_end_or_reset();
    });
    let url = format!("smtp://localhost:{}?security=starttls", server.port);
    let run = Sandbox::new().run(&[
        "--server",
        &url,
        "--timeout",
        "200ms",
        "-r",
        "s@x.example",
        "a@y.example",
        "--body",
        "x",
    ]);
    run.exits(75).says("-o security=tls");
}

#[test]
fn requiretls_is_asked_for_where_it_is_offered() {
    let server = Server::new(|talk, _| {
        assert!(talk.tls(&authority().good));
        talk.greet("REQUIRETLS");
        assert_eq!(talk.answer("MAIL", "250 ok"), "MAIL FROM:<s@x.example> REQUIRETLS");
        talk.answer("RCPT", "250 ok");
        talk.answer("DATA", "354 go");
        talk.data();
        talk.say("250 ok");
    });
    let sandbox = Sandbox::new();
    let ca = format!("tls.ca-file={}", sandbox.file("ca.pem", &authority().ca));
    let url = format!("smtps://localhost:{}", server.port);
    let arguments = [
        "--server",
        &url,
        "-o",
        &ca,
        "-o",
        "extensions.requiretls=require",
        "-r",
        "s@x.example",
        "a@y.example",
        "--body",
        "x",
    ];
    sandbox.run(&arguments).exits(0);
    let server = Server::new(|talk, _| {
        assert!(talk.tls(&authority().good));
        talk.greet("8BITMIME");
        assert!(talk.hear_to_the_end().iter().all(|line| line == "QUIT"));
    });
    let url = format!("smtps://localhost:{}", server.port);
    let arguments = [
        "--server",
        &url,
        "-o",
        &ca,
        "-o",
        "extensions.requiretls=require",
        "-r",
        "s@x.example",
        "a@y.example",
        "--body",
        "x",
    ];
    sandbox.run(&arguments).exits(69).says("does not offer REQUIRETLS");
}
