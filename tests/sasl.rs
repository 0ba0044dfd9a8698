//! Login mechanisms against servers that compute their side themselves, and against those that cheat.

use std::fs;

use encodify::base64::STANDARD;
use ring::{digest, hmac, pbkdf2};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::support::{Run, Sandbox, Server, Talk, authority};

const PASSWORD: &str = "pa ss\"wörd";

fn base64(text: impl AsRef<[u8]>) -> String {
    STANDARD.encode(text)
}

fn decoded(text: &str) -> Vec<u8> {
    STANDARD.decode(text).expect("Base64")
}

/// How a server deviates from what is right.
#[derive(Debug, Clone, Copy, Default)]
struct Server5802 {
    /// Its iteration count; 4096 if none.
    iterations: Option<&'static str>,
    /// Its nonce has nothing to do with ours.
    has_own_nonce: bool,
    /// The last message stands in the 235.
    is_final_in_consent: bool,
    /// Its signature is wrong.
    is_signature_wrong: bool,
    /// It says 235 without any signature.
    is_signature_missing: bool,
    /// It refuses so in its last message.
    error: Option<&'static str>,
}

/// The server's side of SCRAM from AUTH to 235. `binding` is what both ends should see; returns the header of GS2.
#[track_caller]
fn scram(talk: &mut Talk, name: &str, binding: &[u8], how: Server5802) -> Option<String> {
    let (hash, algorithm) = match name.contains("256") {
        true => (hmac::HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA256),
        false => (hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pbkdf2::PBKDF2_HMAC_SHA1),
    };
    let line = talk.expect(&format!("AUTH {name} "));
    let first = String::from_utf8(decoded(&line[format!("AUTH {name} ").len()..])).expect("UTF-8");
    let bare = first.splitn(3, ',').nth(2).expect("three parts").to_owned();
    let header = first.strip_suffix(&bare).expect("a header").to_owned();
    let (user, nonce) = bare.split_once(",r=").expect("a nonce");
    assert_eq!(user, "n=a=3Dda=2C");
    assert!(nonce.len() >= 24, "{nonce}");

    let nonce = if how.has_own_nonce { "somebody+else".to_owned() } else { format!("{nonce}server") };
    let challenge = format!("r={nonce},s={},i={}", base64("salt"), how.iterations.unwrap_or("4096"));
    talk.say(&format!("334 {}", base64(&challenge)));
    let answer = talk.hear();
    if answer == "*" {
        talk.say("501 5.7.0 broken off");
        return None;
    }
    let last = String::from_utf8(decoded(&answer)).expect("UTF-8");
    let (without_proof, proof) = last.split_once(",p=").expect("a proof");
    let bound = [header.as_bytes(), binding].concat();
    assert_eq!(without_proof, format!("c={},r={nonce}", base64(bound)));

    let mut salted = vec![0; hash.digest_algorithm().output_len()];
    pbkdf2::derive(algorithm, 4096.try_into().expect("not 0"), b"salt", PASSWORD.as_bytes(), &mut salted);
    let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hash, key), text).as_ref().to_vec();
    let signed = format!("{bare},{challenge},{without_proof}");
    let stored = digest::digest(hash.digest_algorithm(), &sign(&salted, b"Client Key"));
    let signature = sign(stored.as_ref(), signed.as_bytes());
    let key: Vec<u8> = decoded(proof).iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    assert_eq!(digest::digest(hash.digest_algorithm(), &key).as_ref(), stored.as_ref(), "the proof is wrong");

    let mut verifier = sign(&sign(&salted, b"Server Key"), signed.as_bytes());
    verifier[0] ^= u8::from(how.is_signature_wrong);
    let last = how.error.map_or_else(|| format!("v={}", base64(verifier)), |error| format!("e={error}"));
    if how.is_signature_missing {
        talk.say("235 2.7.0 welcome");
    } else if how.is_final_in_consent {
        talk.say(&format!("235 2.7.0 {}", base64(last)));
    } else {
        talk.say(&format!("334 {}", base64(last)));
        match talk.hear().as_str() {
            "" if how.error.is_some() => talk.say("535 5.7.8 no"),
            "" => talk.say("235 2.7.0 welcome"),
            "*" => talk.say("501 5.7.0 broken off"),
            line => panic!("'{line}' is said to the last message"),
        }
    }
    Some(header)
}

fn arguments<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--server", url, "-r", "s@x.example", "a@y.example", "--body", "hi"], more].concat()
}

/// Runs a login as `a=da,`; the script begins behind EHLO, in the clear or with TLS, and the server is called once.
fn log_in(
    security: &str,
    offers: &'static str,
    script: impl Fn(&mut Talk) + Send + Sync + 'static,
    more: &[&str],
) -> Run {
    let is_tls = security == "tls";
    let server = Server::new(move |talk, number| {
        assert_eq!(number, 0, "it comes again");
        if is_tls {
            assert!(talk.tls(&authority().good));
        }
        talk.greet(offers);
        script(talk);
        let rest = talk.hear_to_the_end();
        assert!(rest.iter().all(|line| line == "QUIT"), "{rest:?}");
    });
    let mut sandbox = Sandbox::new();
    sandbox.env("MAILSEND_PASSWORD", PASSWORD);
    let ca = format!("tls.ca-file={}", sandbox.file("ca.pem", &authority().ca));
    let url = format!("smtp://localhost:{}?security={security}", server.port);
    sandbox.run(&arguments(&url, &[&["--user", "a=da,", "-o", &ca][..], more].concat()))
}

#[test]
fn both_sides_prove_that_they_know_the_password() {
    for is_final_in_consent in [false, true] {
        for (offers, name) in [
            ("AUTH PLAIN SCRAM-SHA-1 CRAM-MD5 SCRAM-SHA-256", "SCRAM-SHA-256"),
            ("AUTH PLAIN CRAM-MD5 SCRAM-SHA-1", "SCRAM-SHA-1"),
        ] {
            let how = Server5802 { is_final_in_consent, ..Server5802::default() };
            let script = move |talk: &mut Talk| {
                assert_eq!(scram(talk, name, b"", how).as_deref(), Some("n,,"));
                talk.take_one(1);
            };
            // A server that could see nothing of the password needs no TLS and no leave.
            log_in("none", offers, script, &[]).exits(0).silently();
        }
    }
}

#[test]
fn a_login_is_bound_to_its_connection() {
    for (versions, binding) in
        [([&rustls::version::TLS13], "tls-exporter"), ([&rustls::version::TLS12], "tls-server-end-point")]
    {
        for name in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"] {
            let server = Server::new(move |talk, _| {
                let identity = &authority().good;
                assert!(talk.tls_of(&versions, identity, false));
                let bound = match binding {
                    "tls-exporter" => talk.exported(),
                    _ => {
                        let certificate = CertificateDer::from_pem_slice(identity.chain.as_bytes()).expect("PEM");
                        digest::digest(&digest::SHA256, &certificate).as_ref().to_vec()
                    }
                };
                talk.greet(&format!("AUTH PLAIN {} {name}", name.trim_end_matches("-PLUS")));
                let header = scram(talk, name, &bound, Server5802::default());
                assert_eq!(header, Some(format!("p={binding},,")));
                talk.take_one(1);
            });
            let mut sandbox = Sandbox::new();
            sandbox.env("MAILSEND_PASSWORD", PASSWORD);
            let ca = format!("tls.ca-file={}", sandbox.file("ca.pem", &authority().ca));
            let url = format!("smtps://localhost:{}", server.port);
            sandbox.run(&arguments(&url, &["--user", "a=da,", "-o", &ca])).exits(0).silently();
        }
    }
}

#[test]
fn a_server_that_cannot_prove_itself_gets_no_mail() {
    let right = Server5802::default();
    for (how, exit, words) in [
        (Server5802 { is_signature_wrong: true, ..right }, 77, "the server's signature is wrong"),
        (
            Server5802 { is_signature_wrong: true, is_final_in_consent: true, ..right },
            77,
            "the server's signature is wrong",
        ),
        (Server5802 { is_signature_missing: true, ..right }, 77, "the server did not sign"),
        (Server5802 { has_own_nonce: true, ..right }, 76, "does not continue ours"),
        (Server5802 { iterations: Some("4095"), ..right }, 76, "iteration count is below 4096"),
        (Server5802 { iterations: Some("4000000000"), ..right }, 76, "iteration count is above"),
        (
            Server5802 { error: Some("invalid-proof"), ..right },
            77,
            "the login was refused (the password is wrong): 535",
        ),
        (Server5802 { error: Some("other-error"), ..right }, 77, "the login was refused"),
    ] {
        let script = move |talk: &mut Talk| {
            scram(talk, "SCRAM-SHA-256", b"", how);
        };
        let retry: &[&str] = if exit == 77 { &["--retry", "3"] } else { &[] };
        let run = log_in("none", "AUTH SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN", script, retry);
        run.exits(exit).says(words).says("not sent to a@y.example");
    }
}

/// Somebody in between has made SCRAM-SHA-256-PLUS disappear; the password must not follow by PLAIN.
#[test]
fn a_downgrade_is_found_out() {
    let script = |talk: &mut Talk| {
        let how = Server5802 { error: Some("server-does-support-channel-binding"), ..Server5802::default() };
        assert_eq!(scram(talk, "SCRAM-SHA-256", b"", how).as_deref(), Some("y,,"));
    };
    let run = log_in("tls", "AUTH SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN", script, &["--retry", "3"]);
    run.exits(77).says("somebody in between took that out of its offer");
}

#[test]
fn another_connection_at_the_server_s_side_ends_everything() {
    let differs = |talk: &mut Talk| {
        let bound = talk.exported();
        let how = Server5802 { error: Some("channel-bindings-dont-match"), ..Server5802::default() };
        assert_eq!(scram(talk, "SCRAM-SHA-256-PLUS", &bound, how).as_deref(), Some("p=tls-exporter,,"));
        // Whoever sits in between would like another mechanism to follow.
        assert!(talk.hear_to_the_end().iter().all(|line| line == "QUIT" || line == "*"));
    };
    let offer = "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 PLAIN";
    let run = log_in("tls", offer, differs, &[]);
    run.exits(77).says("the server sees another TLS connection than we do").says("-o auth=SCRAM-SHA-256");
}

#[test]
fn a_binding_that_the_server_does_not_know_is_no_verdict_about_the_password() {
    let script = |talk: &mut Talk| {
        let bound = talk.exported();
        let how = Server5802 { error: Some("unsupported-channel-binding-type"), ..Server5802::default() };
        scram(talk, "SCRAM-SHA-256-PLUS", &bound, how);
        assert_eq!(scram(talk, "SCRAM-SHA-256", b"", Server5802::default()).as_deref(), Some("n,,"));
        talk.take_one(1);
    };
    log_in("tls", "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN", script, &[]).exits(0);
}

#[test]
fn cram_md5_answers_without_the_password() {
    let script = |talk: &mut Talk| {
        talk.answer("AUTH CRAM-MD5", &format!("334 {}", base64("<1@mx.example>")));
        let answer = String::from_utf8(decoded(&talk.hear())).expect("UTF-8");
        // By Python's hmac.
        assert_eq!(answer, "a=da, 1f4c4213825cafbbd16fd7fc09c549d5");
        talk.say("235 ok");
        talk.take_one(1);
    };
    log_in("none", "AUTH PLAIN CRAM-MD5", script, &[]).exits(0).silently();
    log_in("tls", "AUTH CRAM-MD5", script, &["-o", "auth=CRAM-MD5"]).exits(0);
    log_in("tls", "AUTH CRAM-MD5", |_| (), &[]).exits(69).says("-o auth=CRAM-MD5");
    let nonsense = |talk: &mut Talk| {
        talk.answer("AUTH CRAM-MD5", "334 <no Base64>");
        talk.answer("*", "501 ok");
    };
    log_in("none", "AUTH CRAM-MD5", nonsense, &[]).exits(76).says("the server's challenge is no Base64");
}

#[test]
fn a_token_goes_by_oauthbearer_and_its_refusal_is_read() {
    let list = ["-o", "auth=OAUTHBEARER,XOAUTH2", "-o", "allow-plaintext-auth=true"];
    let script = |talk: &mut Talk| {
        let line = talk.answer("AUTH OAUTHBEARER ", "235 welcome");
        let said = String::from_utf8(decoded(&line["AUTH OAUTHBEARER ".len()..])).expect("UTF-8");
        assert!(said.starts_with("n,a=a=3Dda=2C,\x01host=localhost\x01port="), "{said}");
        assert!(said.ends_with(&format!("\x01auth=Bearer {PASSWORD}\x01\x01")), "{said}");
        talk.take_one(1);
    };
    log_in("none", "AUTH XOAUTH2 OAUTHBEARER", script, &list).exits(0);
    let script = |talk: &mut Talk| {
        let json = r#"{"status":"invalid_token","scope":"smtp","openid-configuration":"https://op.example"}"#;
        talk.answer("AUTH OAUTHBEARER ", &format!("334 {}", base64(json)));
        talk.answer("AQ==", "535 5.7.8 no");
    };
    let run = log_in("none", "AUTH XOAUTH2 OAUTHBEARER", script, &list);
    run.exits(77).says("the token was refused (status invalid_token, scope wanted: smtp, see https://op.example): 535");
}

/// What takes no token is not tried with one.
#[test]
fn a_profile_with_tokens_uses_nothing_else() {
    let oauth = ["-o", "oauth.command=true", "-o", "allow-plaintext-auth=true"];
    let script = |talk: &mut Talk| {
        talk.answer("AUTH OAUTHBEARER ", "504 5.5.4 not this one");
        talk.answer("AUTH XOAUTH2 ", "235 ok");
        talk.take_one(1);
    };
    log_in("none", "AUTH SCRAM-SHA-256 PLAIN XOAUTH2 OAUTHBEARER", script, &oauth).exits(0);
    let list = [&oauth[..], &["-o", "auth=PLAIN,XOAUTH2"]].concat();
    let script = |talk: &mut Talk| {
        talk.answer("AUTH XOAUTH2 ", "235 ok");
        talk.take_one(1);
    };
    log_in("none", "AUTH PLAIN XOAUTH2", script, &list).exits(0);
    log_in("none", "AUTH PLAIN LOGIN", |_| (), &oauth).exits(69).says("it takes no access token");
    let list = [&oauth[..], &["-o", "auth=PLAIN,LOGIN"]].concat();
    let run = log_in("none", "AUTH PLAIN XOAUTH2", |_| (), &list).exits(78);
    run.says("the profile has access tokens, and none of PLAIN, LOGIN takes one");
}

/// Runs without a user; the password, if it is asked for, leaves a trace.
fn without_user(url: &str, more: &[&str]) -> (Run, bool) {
    let sandbox = Sandbox::new();
    sandbox.file("ca.pem", &authority().ca);
    sandbox.file("client.pem", &authority().client.chain);
    sandbox.file("client.key", &authority().client.key);
    let always = ["-o", "tls.ca-file=ca.pem", "-o", "password={ command = \"touch asked; echo secret\" }"];
    let run = sandbox.run(&arguments(url, &[&always, more].concat()));
    (run, fs::exists(sandbox.path("asked")).expect("a folder"))
}

#[test]
fn a_certificate_needs_neither_user_nor_password() {
    for (user, said) in [("", "AUTH EXTERNAL ="), ("ada@", "AUTH EXTERNAL YWRh")] {
        let server = Server::new(move |talk, _| {
            assert!(talk.tls_with(&authority().good, true));
            talk.greet("AUTH PLAIN EXTERNAL");
            assert_eq!(talk.answer("AUTH ", "235 ok"), said);
            talk.take_one(1);
        });
        let url = format!("smtps://{user}localhost:{}", server.port);
        let certificate = ["-o", "tls.client-cert=client.pem", "-o", "tls.client-key=client.key"];
        let (run, was_asked) = without_user(&url, &[&["-o", "auth=EXTERNAL,PLAIN"], &certificate[..]].concat());
        run.exits(0).silently();
        assert!(!was_asked);
    }
}

#[test]
fn a_password_is_asked_for_when_it_is_needed() {
    let server = Server::new(|talk, _| {
        talk.greet("AUTH PLAIN ANONYMOUS");
        assert_eq!(talk.answer("AUTH ", "235 ok"), format!("AUTH ANONYMOUS {}", base64("mailsend")));
        talk.take_one(1);
    });
    let (run, was_asked) = without_user(&server.url(), &["-o", "auth=ANONYMOUS"]);
    run.exits(0).silently();
    assert!(!was_asked);

    let server = Server::new(|talk, _| {
        talk.greet("AUTH PLAIN ANONYMOUS");
        talk.answer(&format!("AUTH ANONYMOUS {}", base64("ada")), "504 5.5.4 not here");
        talk.answer(&format!("AUTH PLAIN {}", base64("\0ada\0secret")), "235 ok");
        talk.take_one(1);
    });
    let url = format!("smtp://ada@127.0.0.1:{}", server.port);
    let (run, was_asked) = without_user(&url, &["-o", "auth=ANONYMOUS,PLAIN", "-o", "allow-plaintext-auth=true"]);
    run.exits(0).silently();
    assert!(was_asked);
}

/// Whatever the mechanism, a refusal is the end of the run.
#[test]
fn a_refusal_is_final_with_every_mechanism() {
    for (name, challenges) in [
        ("SCRAM-SHA-256", 0),
        ("SCRAM-SHA-1", 0),
        ("CRAM-MD5", 1),
        ("PLAIN", 0),
        ("LOGIN", 2),
        ("XOAUTH2", 0),
        ("OAUTHBEARER", 0),
        ("ANONYMOUS", 0),
    ] {
        for reply in ["535 5.7.8 no", "534 5.7.9 no", "550 5.7.30 no", "554 5.7.0 no"] {
            let script = move |talk: &mut Talk| {
                talk.expect(&format!("AUTH {name}"));
                for _ in 0..challenges {
                    talk.say(&format!("334 {}", base64("<x>")));
                    talk.hear();
                }
                talk.say(reply);
            };
            let offers = "AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER ANONYMOUS";
            let auth = format!("auth={name},PLAIN,LOGIN");
            let more = ["-o", &auth, "-o", "allow-plaintext-auth=true", "--retry", "3"];
            log_in("none", offers, script, &more).exits(77).says(reply);
        }
    }
}

#[test]
fn a_provider_that_wants_tokens_is_told_with_the_command() {
    let allowed = ["-o", "allow-plaintext-auth=true"];
    for reply in [
        "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
        "550 5.7.30 Basic authentication is not supported for Client Submission.",
    ] {
        let script = move |talk: &mut Talk| {
            talk.answer("AUTH PLAIN ", reply);
        };
        let run =
            log_in("none", "AUTH PLAIN", script, &allowed).exits(77).says(&format!("the login was refused: {reply}"));
        let run = run.says("hint: log in by OAuth: mailsend login --server smtp://a=da,@localhost:");
        run.says(" --oauth microsoft --client-id ID");
    }
    // Some say it only when they are asked to carry something.
    let script = |talk: &mut Talk| {
        talk.answer("AUTH PLAIN ", "235 2.7.0 ok");
        talk.answer("MAIL FROM:", "550 5.7.30 Basic authentication is not supported for Client Submission.");
    };
    let run = log_in("none", "AUTH PLAIN", script, &[&allowed[..], &["--retry", "3"]].concat()).exits(77);
    run.says("the server does not take this login: 550 5.7.30").says(" --oauth microsoft --client-id ID");
}
