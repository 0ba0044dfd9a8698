//! Messages made of options, files and standard input, read back by a parser that did not write them.

use std::fs;

use mail_parser::{Address, Message, MessageParser, MimeHeaders};

use crate::support::{Run, Sandbox, Server};

/// The message that these arguments make, with the checks that hold for every message.
fn eml_with(sandbox: &Sandbox, arguments: &[&str], stdin: &[u8]) -> (Vec<u8>, Message<'static>) {
    let mut all = vec!["-r", "Ada Lovelace <ada@example.com>", "--eml", "out.eml"];
    all.extend(arguments);
    sandbox.run_with(&all, stdin).exits(0).silently();
    let bytes = fs::read(sandbox.path("out.eml")).expect("a message");
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        assert!(line.ends_with(b"\r\n") && line.len() <= 1_000, "{:?}", String::from_utf8_lossy(line));
    }
    let header_end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a header");
    for line in bytes[..header_end].split(|&byte| byte == b'\n') {
        let is_one_word = !line.trim_ascii().contains(&b' ');
        assert!(line.len() <= 79 || is_one_word, "a header line over 78: {:?}", String::from_utf8_lossy(line));
    }
    let message = MessageParser::new().parse(&bytes).expect("a message").into_owned();
    (bytes, message)
}

fn eml(arguments: &[&str]) -> (Vec<u8>, Message<'static>) {
    eml_with(&Sandbox::new(), arguments, b"")
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("7-bit")
}

fn addresses(field: Option<&Address<'_>>) -> Vec<(Option<String>, String)> {
    let field = field.expect("a field");
    let pair = |address: &mail_parser::Addr<'_>| {
        (address.name().map(str::to_owned), address.address().expect("an address").to_owned())
    };
    field.iter().map(pair).collect()
}

const TO: &[&str] = &["--to", "a@example.com"];

fn with_to<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [TO, more].concat()
}

#[test]
fn recipients_from_everywhere() {
    let sandbox = Sandbox::new();
    sandbox.file("list.txt", "d@example.com\nE <e@example.com>, f@example.com\n\n");
    let (bytes, message) = eml_with(
        &sandbox,
        &[
            "b@example.com",
            "--to",
            "\"Lovelace, Ada\" <a@example.com>, c@example.com",
            "--to",
            "@list.txt",
            "-c",
            "Jürgen Müller <j@bücher.example>",
            "-b",
            "secret@example.com",
            "-H",
            "Bcc: hidden@example.com",
            "-H",
            "To: g@example.com",
            "--body",
            "x",
        ],
        b"",
    );
    let to: Vec<String> = addresses(message.to()).into_iter().map(|(_, address)| address).collect();
    assert_eq!(
        to,
        [
            "b@example.com",
            "a@example.com",
            "c@example.com",
            "d@example.com",
            "e@example.com",
            "f@example.com",
            "g@example.com"
        ]
    );
    assert_eq!(addresses(message.cc()), [(Some("Jürgen Müller".to_owned()), "j@xn--bcher-kva.example".to_owned())]);
    let text = text_of(&bytes).to_lowercase();
    assert!(!text.contains("secret@") && !text.contains("hidden@") && !text.contains("bcc"), "{text}");
}

#[test]
fn the_envelope_has_everybody_once_and_the_message_no_bcc() {
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING");
        talk.expect("MAIL FROM:<bounces@example.com>");
        for user in ["a", "b", "hidden"] {
            talk.expect(&format!("RCPT TO:<{user}@example.com>"));
        }
        talk.expect("DATA");
        talk.say("250 ok\n250 ok\n250 ok\n250 ok\n354 go");
        let message = String::from_utf8(talk.data()).expect("7-bit").to_lowercase();
        assert!(!message.contains("hidden") && !message.contains("bounces"));
        talk.say("250 ok");
    });
    let url = server.url();
    let run = Sandbox::new().run(&[
        "--server",
        &url,
        "-r",
        "s@example.com",
        "-f",
        "bounces@example.com",
        "a@example.com, A <a@example.com>",
        "--cc",
        "b@example.com",
        "-b",
        "a@example.com",
        "-H",
        "Bcc: hidden@example.com",
        "--body",
        "x",
    ]);
    run.exits(0);
}

#[test]
fn a_null_return_path() {
    let server = Server::new(|talk, _| {
        talk.greet("");
        assert_eq!(talk.answer("MAIL", "250 ok"), "MAIL FROM:<>");
        talk.answer("RCPT", "250 ok");
        talk.answer("DATA", "354 go");
        talk.data();
        talk.say("250 ok");
    });
    let url = server.url();
    let run = Sandbox::new()
        .run(&["--server", &url, "-r", "s@example.com", "-f", "<>", "a@example.com", "--body", "x", "--format", "json"])
        .exits(0);
    assert_eq!(run.records()[0]["from"], "<>");
}

#[test]
fn text_from_flag_file_and_standard_input() {
    let sandbox = Sandbox::new();
    sandbox.file("t.txt", "from a file\n");
    let body = |arguments: &[&str], stdin: &[u8]| {
        let (_, message) = eml_with(&sandbox, &with_to(arguments), stdin);
        message.body_text(0).map(|text| text.into_owned()).unwrap_or_default()
    };
    assert_eq!(body(&["--body", "Grüße"], b"ignored"), "Grüße\r\n");
    assert_eq!(body(&["--body", "@t.txt"], b""), "from a file\r\n");
    assert_eq!(body(&["--body", "-"], b"from stdin"), "from stdin\r\n");
    assert_eq!(body(&[], b"from stdin\n"), "from stdin\r\n");
    assert_eq!(body(&["--body", "@@literal"], b""), "@literal\r\n");
    assert_eq!(body(&["--body", ""], b"ignored"), "");
    assert_eq!(body(&["--body", "-x"], b""), "-x\r\n");
}

#[test]
fn hostile_text_is_encoded_not_refused() {
    let text = [&b"nul \0 bare \r cr\n.dot\n"[..], &[b'x'; 2_000], b"\nlatin \xFC\nFrom me\n \t\n"].concat();
    let (bytes, message) = eml_with(&Sandbox::new(), TO, &text);
    assert!(bytes.is_ascii());
    let part = message.part(0).expect("a part");
    let expected: Vec<u8> =
        text.iter().flat_map(|&byte| if byte == b'\n' { vec![b'\r', b'\n'] } else { vec![byte] }).collect();
    let raw = &bytes[part.raw_body_offset() as usize..];
    let decoded = MessageParser::new()
        .parse(
            &[b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", raw]
                .concat(),
        )
        .expect("a part")
        .part(0)
        .expect("a part")
        .contents()
        .to_vec();
    assert_eq!(decoded, expected);
    assert!(text_of(&bytes).contains("charset=\"unknown-8bit\""));
}

#[test]
fn charsets_and_encodings_fit_what_is_in_them() {
    let sandbox = Sandbox::new();
    sandbox.file("latin.txt", b"gr\xFC\xDFe\n");
    sandbox.file("utf16.txt", b"\xFF\xFEH\0i\0");
    for (arguments, charset, encoding) in [
        (&["--body", "plain"][..], "us-ascii", "7bit"),
        (&["--body", "Grüße"], "utf-8", "quoted-printable"),
        (&["--body", "世界世界世界世界世界"], "utf-8", "base64"),
        (&["--body", "@latin.txt;charset=iso-8859-1"], "iso-8859-1", "quoted-printable"),
        (&["--body", "@utf16.txt"], "us-ascii", "7bit"),
    ] {
        let (bytes, _) = eml_with(&sandbox, &with_to(arguments), b"");
        let text = text_of(&bytes);
        assert!(text.contains(&format!("Content-Type: text/plain; charset=\"{charset}\"\r\n")), "{text}");
        assert!(text.contains(&format!("Content-Transfer-Encoding: {encoding}\r\n")), "{text}");
        assert!(!text.contains("format=flowed"));
    }
}

#[test]
fn html_and_markdown_have_both_parts() {
    let (_, message) = eml(&with_to(&["--html", "<h1>Hi</h1><p>See <a href='https://x.example/'>this</a></p>"]));
    assert_eq!((message.html_body_count(), message.text_body_count()), (1, 1));
    let text = message.body_text(0).expect("a text");
    assert!(text.contains("Hi") && text.contains("https://x.example/") && !text.contains("<p>"), "{text}");

    let (_, message) = eml(&with_to(&["--body", "own text", "--html", "<p>Hi</p>"]));
    assert_eq!(message.body_text(0).as_deref(), Some("own text\r\n"));

    let (_, message) = eml(&with_to(&["--markdown", "# Grüße\n\n* **eins**\n* zwei\n"]));
    assert_eq!(message.body_text(0).as_deref(), Some("# Grüße\r\n\r\n* **eins**\r\n* zwei\r\n"));
    let html = message.body_html(0).expect("HTML");
    assert!(html.contains("<h1>Grüße</h1>") && html.contains("<strong>eins</strong>"), "{html}");
}

#[test]
fn files_keep_every_byte_their_name_and_type() {
    let sandbox = Sandbox::new();
    let pdf: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let path = sandbox.file("Größe 100% – 東京.pdf", &pdf);
    sandbox.file("data.bin", "x");
    let (_, message) = eml_with(
        &sandbox,
        &with_to(&["-a", &path, "-a", "data.bin;name=a b.csv;type=text/csv;charset=utf-8", "-a", "-;name=in.txt"]),
        b"standard input\nwith LF\n",
    );
    let parts: Vec<_> = message.attachments().collect();
    assert_eq!(parts.len(), 3);
    assert_eq!((parts[0].attachment_name(), parts[0].contents()), (Some("Größe 100% – 東京.pdf"), pdf.as_slice()));
    let media_type = |at: usize| {
        let content_type = parts[at].content_type().expect("a type");
        format!("{}/{}", content_type.ctype(), content_type.subtype().unwrap_or_default())
    };
    assert_eq!((media_type(0).as_str(), media_type(1).as_str()), ("application/pdf", "text/csv"));
    assert_eq!(parts[1].attachment_name(), Some("a b.csv"));
    assert_eq!((parts[2].attachment_name(), parts[2].contents()), (Some("in.txt"), &b"standard input\nwith LF\n"[..]));
    // Standard input is the file: there is no text.
    assert_eq!(message.text_body_count(), 0);
}

#[test]
fn a_long_pipe_is_attached_too() {
    let stdin: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let (_, message) = eml_with(&Sandbox::new(), &with_to(&["-a", "-"]), &stdin);
    assert_eq!(message.attachment(0).expect("a file").contents(), stdin);
}

#[test]
fn images_stand_in_the_html() {
    let sandbox = Sandbox::new();
    sandbox.file("logo.png", b"\x89PNG\r\n");
    sandbox.file("doc.pdf", "%PDF");
    let (bytes, message) = eml_with(
        &sandbox,
        &with_to(&["--html", "<img src='cid:logo'>", "--inline", "logo.png;cid=logo", "-a", "doc.pdf"]),
        b"",
    );
    let text = text_of(&bytes);
    let order: Vec<_> =
        ["multipart/mixed", "multipart/related", "multipart/alternative", "Content-ID: <logo>", "doc.pdf"]
            .iter()
            .map(|part| text.find(part).expect("a part"))
            .collect();
    assert!(order.is_sorted(), "{text}");
    assert!(text.contains("Content-Disposition: inline; filename=\"logo.png\""), "{text}");
    assert_eq!(message.attachments().count(), 2);
    sandbox
        .run(&["-r", "a@b.example", "--to", "a@b.example", "--body", "x", "--inline", "logo.png", "--eml", "o"])
        .exits(65)
        .says("--html");
}

#[test]
fn fields_with_a_meaning() {
    let (bytes, message) = eml(&with_to(&[
        "-s",
        "Grüße aus 東京: ein langer Betreff, der gewiss nicht auf eine einzige Zeile passt und gefaltet wird",
        "--reply-to",
        "Team <team@example.com>, other@example.com",
        "--message-id",
        "mine.1@example.com",
        "--date",
        "2026-11-23T10:00:00+01:00",
        "--in-reply-to",
        "<b@example.com>",
        "--references",
        "<a@example.com>",
        "--priority",
        "high",
        "--mdn",
        "-H",
        "X-Campaign: Grüße",
        "-H",
        "Sender: Büro <office@example.com>",
        "--body",
        "x",
    ]));
    let text = text_of(&bytes);
    for field in [
        "Message-ID: <mine.1@example.com>\r\n",
        "Date: Mon, 23 Nov 2026 10:00:00 +0100\r\n",
        "In-Reply-To: <b@example.com>\r\n",
        "References: <a@example.com> <b@example.com>\r\n",
        "Importance: high\r\n",
        "X-Priority: 1\r\n",
        "Disposition-Notification-To: \"Ada Lovelace\" <ada@example.com>\r\n",
        "MIME-Version: 1.0\r\n",
    ] {
        assert!(text.contains(field), "{field} is not in {text}");
    }
    assert_eq!(
        message.subject(),
        Some("Grüße aus 東京: ein langer Betreff, der gewiss nicht auf eine einzige Zeile passt und gefaltet wird")
    );
    assert_eq!(addresses(message.reply_to()).len(), 2);
    assert_eq!(addresses(message.sender())[0].0.as_deref(), Some("Büro"));
    assert!(text.contains("X-Campaign: =?utf-8?B?R3LDvMOfZQ==?=\r\n"), "{text}");
}

#[test]
fn what_is_not_given_is_made() {
    let (bytes, message) = eml(&with_to(&["--body", "x"]));
    assert!(message.date().is_some());
    let id = message.message_id().expect("a Message-ID");
    assert!(id.ends_with("@example.com") && id.len() > 20, "{id}");
    assert!(!text_of(&bytes).to_lowercase().contains("x-mailer"));
    let (again, _) = eml(&with_to(&["--body", "x"]));
    assert_ne!(bytes, again, "two messages of the same options are two");
}

#[test]
fn a_seed_makes_the_same_message_again_but_only_here() {
    let mut sandbox = Sandbox::new();
    sandbox.env("MAILSEND_SEED", "7").env("SOURCE_DATE_EPOCH", "1795000000");
    let file = sandbox.file("f.bin", vec![1; 100_000]);
    let arguments = with_to(&["--html", "<p>x</p>", "-a", &file]);
    let first = eml_with(&sandbox, &arguments, b"").0;
    assert_eq!(first, eml_with(&sandbox, &arguments, b"").0);
    assert!(text_of(&first).contains("Date: Wed, 18 Nov 2026 11:06:40 +0000"));
    let plan = |sandbox: &Sandbox| {
        sandbox.run(&["-r", "s@x.example", "a@y.example", "--body", "x", "--dry-run"]).exits(0).stdout
    };
    assert_eq!(plan(&sandbox), plan(&sandbox));
    // What goes to others is never the same.
    let server = Server::new(|talk, _| {
        talk.greet("");
        let message = String::from_utf8(talk.take_one(1)).expect("7-bit");
        assert!(!message.contains("18 Nov 2026 11:06:40"), "{message}");
    });
    let url = server.url();
    sandbox.run(&["--server", &url, "-r", "s@x.example", "a@y.example", "--body", "x"]).exits(0);
}

#[test]
fn the_plan_says_where_what_and_to_whom_and_sends_nothing() {
    let server = Server::uncalled();
    let sandbox = Sandbox::new();
    sandbox.config(&format!(
        "[profiles.work]\nfrom = \"Ada <ada@example.com>\"\nhost = \"127.0.0.1\"\nport = {}\nusername = \"ada\"\npassword = {{ command = \"pass x\" }}\n",
        server.port
    ));
    sandbox.file("f.pdf", "%PDF");
    let run = sandbox
        .run(&[
            "a@example.com",
            "--bcc",
            "b@example.com",
            "-s",
            "Hi",
            "--body",
            "x",
            "-a",
            "f.pdf",
            "--dsn-notify",
            "never",
            "--dry-run",
        ])
        .exits(0)
        .silently();
    for line in [
        "profile     work\n",
        "security starttls\n",
        "login       ada, password from command 'pass x'\n",
        "return path ada@example.com\n",
        "recipient   a@example.com\nrecipient   b@example.com\n",
        "subject     Hi\n",
        "part        file f.pdf, application/pdf, 4 octets\n",
        "reports     on NEVER\n",
        "Message-ID <",
    ] {
        assert!(run.stdout.contains(line), "'{line}' is not in {}", run.stdout);
    }
    let run = sandbox.run(&["a@example.com", "--body", "x", "--eml", "-"]).exits(0).silently();
    assert!(run.stdout.starts_with("From: \"Ada\" <ada@example.com>\r\n"));
}

#[test]
fn an_existing_message_goes_as_it_is() {
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING");
        talk.expect("MAIL FROM:<ada@example.com>");
        for user in ["b", "c", "secret"] {
            talk.expect(&format!("RCPT TO:<{user}@example.com>"));
        }
        talk.expect("DATA");
        talk.say("250 ok\n250 ok\n250 ok\n250 ok\n354 go");
        let message = String::from_utf8(talk.data()).expect("7-bit");
        assert!(
            message.contains("X-Odd:  kept   as it is\r\n") && message.ends_with("\r\n\r\n.dot\r\nend\r\n"),
            "{message}"
        );
        assert!(
            message.contains("Message-ID: <") && message.contains("Date: ") && !message.contains("secret"),
            "{message}"
        );
        talk.say("250 ok");
    });
    let raw = b"From ada Mon Nov 23 2026\nFrom: Ada <ada@example.com>\nTo: b@example.com,\n c@example.com\nBcc: secret@example.com\nX-Odd:  kept   as it is\n\n.dot\nend";
    let url = server.url();
    Sandbox::new().run_with(&["--server", &url, "--raw", "-"], raw).exits(0).silently();

    let sandbox = Sandbox::new();
    let file = sandbox.file("m.eml", raw);
    let run = sandbox.run(&["--raw", &file, "--to", "other@example.com", "--dry-run"]).exits(0);
    assert!(
        run.stdout.contains("recipient   other@example.com\n") && !run.stdout.contains("recipient   b@example.com"),
        "{run:#?}"
    );
    for (raw, words) in [
        (&b"To: a@b.example\n\nx\ry\n"[..], "bare CR"),
        (b"To: a@b.example\n\nx\0\n", "NUL"),
        (b"no header\n", "no header field"),
        (b"From: a@b.example\n\nx\n", "nobody is named"),
    ] {
        let file = sandbox.file("m.eml", raw);
        let run: Run = sandbox.run(&["--raw", &file, "-r", "s@x.example", "--dry-run"]);
        assert!(matches!(run.code, 64 | 65), "{run:#?}");
        run.says(words);
    }
    sandbox.run(&["--raw", &file, "-s", "x"]).exits(64);
}

#[test]
fn nothing_to_say_sends_nothing_if_asked_so() {
    let server = Server::uncalled();
    let url = server.url();
    let sandbox = Sandbox::new();
    for stdin in [&b""[..], b" \n\t\n"] {
        sandbox
            .run_with(&["--server", &url, "-r", "s@x.example", "-E", "a@y.example", "-s", "x"], stdin)
            .exits(0)
            .silently();
    }
}

#[test]
fn reply_to_and_sender_from_the_environment() {
    let mut sandbox = Sandbox::new();
    sandbox.env("EMAIL", "Env <env@example.com>").env("REPLYTO", "replies@example.com");
    let run = sandbox.run(&["a@example.com", "--body", "x", "--eml", "-"]).exits(0);
    assert!(run.stdout.contains("From: \"Env\" <env@example.com>\r\n"), "{run:#?}");
    assert!(run.stdout.contains("Reply-To: <replies@example.com>\r\n"), "{run:#?}");
    let run = sandbox
        .run(&[
            "a@example.com",
            "--body",
            "x",
            "--eml",
            "-",
            "-H",
            "From: me@example.com",
            "--reply-to",
            "r@example.com",
        ])
        .exits(0);
    assert!(
        run.stdout.contains("From: <me@example.com>\r\n") && run.stdout.contains("Reply-To: <r@example.com>"),
        "{run:#?}"
    );
}

/// A link stays a link, a pipe is written to, and what was there before is whole or gone.
#[test]
fn eml_goes_where_it_was_told() {
    let sandbox = Sandbox::new();
    let arguments = |target| ["-r", "a@b.example", "c@d.example", "--body", "hi", "--eml", target];
    sandbox.file("old.eml", "old");
    std::os::unix::fs::symlink(sandbox.path("old.eml"), sandbox.path("link.eml")).expect("a link");
    sandbox.run(&arguments("link.eml")).exits(0).silently();
    assert!(fs::symlink_metadata(sandbox.path("link.eml")).expect("a link").is_symlink());
    assert!(fs::read_to_string(sandbox.path("old.eml")).expect("a message").ends_with("\r\nhi\r\n"));
    let shown = sandbox.run(&arguments("/dev/stdout")).exits(0).stdout;
    assert!(shown.ends_with("\r\nhi\r\n"), "{shown}");
    sandbox.run(&arguments("/nonesuch/m.eml")).exits(73).says("/nonesuch/m.eml cannot be created");
    for what in [&["--report", "r.jsonl"][..], &["--format", "json"]] {
        sandbox.run(&[&arguments("m.eml")[..], what].concat()).exits(64);
    }
}

/// In a container nobody tells who the user is: the system's list does.
#[test]
fn a_sender_without_environment_is_the_user() {
    let mut sandbox = Sandbox::new();
    sandbox.without("LOGNAME");
    let id = std::process::Command::new("id").arg("-un").output().expect("id").stdout;
    let user = String::from_utf8(id).expect("a name").trim().to_owned();
    let plan = sandbox.run(&["--server", "maildir:./box", "a@b.example", "--body", "x", "--dry-run"]).exits(0).stdout;
    assert!(plan.contains(&format!("return path {user}@")), "{plan}");
}
