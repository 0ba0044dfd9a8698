//! Every field as it should be, everything as it should not be, and whatever somebody may publish.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn parse(job: Value) -> Result<Foreign, String> {
    Foreign::parse(job.to_string().as_bytes())
}

/// The reason, where a job with these fields beside `to` is none.
fn why(fields: Value) -> String {
    let mut job = json!({ "to": "a@x.example" });
    job.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
    parse(job).unwrap_err()
}

#[test]
fn the_smallest_job() {
    let body = r#"{"to": "user@example.com", "subject": "欢迎注册", "content": "…"}"#;
    let job = Foreign::parse(body.as_bytes()).unwrap();
    let wanted = Foreign {
        to: vec!["user@example.com".to_owned()],
        subject: Some("欢迎注册".to_owned()),
        text: Some("…".to_owned()),
        ..Foreign::default()
    };
    assert_eq!(job, wanted);
}

#[test]
fn every_field_has_its_place() {
    let job = parse(json!({
        "to": ["a@x.example", "B <b@x.example>, c@x.example"],
        "cc": "d@x.example",
        "bcc": [],
        "from": "S <s@x.example>",
        "reply_to": ["r@x.example"],
        "subject": "s",
        "text": "@file",
        "html": "<p>{{x}}",
        "template": "welcome",
        "data": { "name": "Ada", "list": [1, 2.5, null, true, -3, { "a": "b" }] },
        "headers": { "X-A": "1", "X-B": ["2", "3"] },
        "attachments": [
            { "path": "/srv/a.pdf" },
            { "base64": "aGVsbG8=", "name": "h.txt", "type": "text/plain" },
        ],
        "profile": "work",
        "dsn": { "notify": ["failure", "delay"], "return": "hdrs", "envid": "order-7" },
        "message_id": "<1@x.example>",
        "not_before": "2026-12-01T09:00:00+01:00",
        "expires": "2h",
    }))
    .unwrap();
    assert_eq!(job.to, ["a@x.example", "B <b@x.example>, c@x.example"]);
    assert_eq!((job.cc.len(), job.bcc.len(), job.reply_to.len()), (1, 0, 1));
    assert_eq!((job.text.as_deref(), job.html.as_deref()), (Some("@file"), Some("<p>{{x}}")));
    assert_eq!(job.data["list"], json!([1, 2.5, null, true, -3, { "a": "b" }]));
    let headers: Vec<(&str, &str)> = job.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(headers, [("X-A", "1"), ("X-B", "2"), ("X-B", "3")]);
    assert_eq!(job.attachments[0].source, ForeignSource::Path("/srv/a.pdf".to_owned()));
    let second = ForeignFile {
        source: ForeignSource::Octets(b"hello".to_vec()),
        name: Some("h.txt".to_owned()),
        media_type: Some("text/plain".to_owned()),
    };
    assert_eq!(job.attachments[1], second);
    assert_eq!(job.dsn.notify.unwrap().to_string(), "FAILURE,DELAY");
    assert_eq!((job.dsn.ret, job.dsn.envid.as_deref()), (Some(DsnReturn::Hdrs), Some("order-7")));
    assert_eq!(job.not_before, Some(1_796_112_000_000));
    assert_eq!(job.expires, Some(Expiry::After(Duration::from_secs(7_200))));
    assert_eq!(
        [job.profile, job.template, job.message_id, job.from].map(Option::unwrap),
        ["work", "welcome", "<1@x.example>", "S <s@x.example>"]
    );
}

#[test]
fn what_may_be_written_otherwise() {
    let dsn = |value: Value| parse(json!({ "to": "a@x.example", "dsn": value })).map(|job| job.dsn.notify.unwrap());
    assert_eq!(dsn(json!("never")).unwrap().to_string(), "NEVER");
    assert_eq!(dsn(json!("success, delay")), dsn(json!(["success", "delay"])));
    // What a program has no value for.
    let null: Map<String, Value> = FIELDS.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
    assert_eq!(parse(Value::Object(null)).unwrap_err(), "`to` is missing");
    let at = parse(json!({ "cc": "a@x.example", "expires": "2026-12-01T08:00:00Z" })).unwrap();
    assert_eq!(at.expires, Some(Expiry::At(1_796_112_000_000)));
    assert!(parse(json!({ "headers": { "Bcc": "a@x.example" } })).is_ok());
}

#[test]
fn what_is_wrong_is_named() {
    for (fields, reason) in [
        (json!({ "subjct": "x" }), "unknown field `subjct`, did you mean `subject`?"),
        (json!({ "zzz": 1 }), "unknown field `zzz`"),
        (json!({ "\u{1b}[2J": 1 }), "unknown field `\u{fffd}[2J`"),
        (json!({ "subject": 7 }), "`subject` is a number: a text is wanted"),
        (json!({ "cc": { "a": 1 } }), "`cc` is an object: a text or a list of texts is wanted"),
        (json!({ "cc": ["a@x.example", ["b"]] }), "`cc[1]` is a list: a text is wanted"),
        (json!({ "bcc": [null] }), "`bcc[0]` is null: a text is wanted"),
        (json!({ "data": "x" }), "`data` is a text: an object is wanted"),
        (json!({ "data": { "a": 1 } }), "`data` is for a template, and `template` is missing"),
        (json!({ "headers": ["X: y"] }), "`headers` is a list: an object is wanted"),
        (json!({ "headers": { "X-A": true } }), "`headers.X-A` is true or false: a text or a list of texts is wanted"),
        (json!({ "text": "a", "content": "b" }), "`content` and `text` are the same: give one of them"),
        (
            json!({ "markdown": "a", "html": "b" }),
            "`markdown` is text and HTML at once: `text`, `content` and `html` cannot stand beside it",
        ),
        (json!({ "attachments": { "path": "x" } }), "`attachments` is an object: a list of objects is wanted"),
        (json!({ "attachments": ["a.pdf"] }), "`attachments[0]` is a text: an object is wanted"),
        (
            json!({ "attachments": [{ "path": "x" }, { "pth": "x" }] }),
            "unknown field `attachments[1].pth`, did you mean `path`?",
        ),
        (json!({ "attachments": [{ "path": 1 }] }), "`attachments[0].path` is a number: a text is wanted"),
        (json!({ "attachments": [{}] }), "`attachments[0].path` or `attachments[0].base64` is missing"),
        (
            json!({ "attachments": [{ "path": "x", "base64": "" }] }),
            "`attachments[0].path` and `attachments[0].base64`: give one of them",
        ),
        (json!({ "dsn": 1 }), "`dsn` is a number: a text, a list of texts or an object is wanted"),
        (json!({ "dsn": "always" }), "`dsn`: success, failure, delay (a list), or never is wanted"),
        (json!({ "dsn": ["never", "delay"] }), "`dsn`: never cannot stand beside the others"),
        (json!({ "dsn": { "ret": "full" } }), "unknown field `dsn.ret`, did you mean `return`?"),
        (json!({ "dsn": { "return": "all" } }), "`dsn.return`: full or hdrs is wanted"),
        (
            json!({ "dsn": { "envid": "a b" } }),
            "`dsn.envid`: up to 100 letters, digits, dots and hyphens are wanted; servers change the rest",
        ),
        (json!({ "not_before": "09:00" }), "`not_before` is no moment of RFC 3339: 2026-12-01T09:00:00Z"),
        (json!({ "expires": "0" }), "`expires`: a moment of RFC 3339 (2026-12-01T09:00:00Z) or a time (2h) is wanted"),
    ] {
        assert_eq!(why(fields), reason);
    }
}

#[test]
fn only_strict_base64_is_taken() {
    for bad in ["aGVsbG8", "aGVs bG8=", "aGVs\nbG8=", "aGVsbG9=", "aGVsbG8==", "a", "-_8=", "=", "ü"] {
        let reason = why(json!({ "attachments": [{ "base64": bad }] }));
        assert_eq!(reason, "`attachments[0].base64` is no Base64, with its padding and without line ends", "{bad:?}");
    }
}

#[test]
fn what_is_no_job_at_all() {
    for (body, reason) in [
        (&b""[..], "it is not JSON: EOF while parsing a value at line 1 column 0"),
        (b"hello", "it is not JSON: expected value at line 1 column 1"),
        (b"{\"to\": \"a\"} x", "it is not JSON: trailing characters at line 1 column 13"),
        (b"{\"to\": \"\xff\"}", "it is not JSON: invalid unicode code point at line 1 column 9"),
        (b"\xef\xbb\xbf{}", "it is not JSON: expected value at line 1 column 1"),
        (b"null", "it is null: an object in braces is wanted"),
        (b"[{}]", "it is a list: an object in braces is wanted"),
        (b"\"a secret\"", "it is a text: an object in braces is wanted"),
        (b"{\"to\": \"a\", \"to\": \"b\"}", "`to` is there twice"),
        (b"{\"template\": \"a\", \"data\": {\"b\": [{\"c\": 1, \"c\": 1}]}}", "`c` is there twice"),
        (b"{}", "`to` is missing"),
        (b"{\"to\": []}", "`to` is missing"),
        (b"{\"to\": \"a\", \"x\": 1e999}", "it is not JSON: number out of range at line 1 column 22"),
    ] {
        assert_eq!(Foreign::parse(body), Err(reason.to_owned()), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn bounds_hold() {
    let large = vec![b' '; MAX_OCTETS + 1];
    assert_eq!(Foreign::parse(&large).unwrap_err(), "it has 41943041 octets, and no job has more than 41943040");
    for open in ["[", "{\"a\":"] {
        let deep = Foreign::parse(open.repeat(1_000_000).as_bytes());
        assert_eq!(deep.unwrap_err(), "it is nested more than 32 levels deep");
    }
    let many = format!("[{}0]", "0,".repeat(10_000_000));
    assert_eq!(Foreign::parse(many.as_bytes()).unwrap_err(), "it has more than 100000 values");
    let long = "x".repeat(1_000_000);
    for reason in [why(json!({ &long: 1 })), why(json!({ "headers": { &long: 1 } })), why(json!({ &long: { "a": 1 } }))]
    {
        assert!(reason.chars().count() < 200 && reason.contains('x'), "{reason}");
    }
    let twice = Foreign::parse(format!("{{\"{long}\": 1, \"{long}\": 1}}").as_bytes()).unwrap_err();
    assert_eq!(twice, format!("`{}…` is there twice", "x".repeat(60)));
}

/// Values of any kind, of which some have names that mean something.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        "[a@.x<>,é\r\n\0]{0,12}".prop_map(Value::from),
        Just(json!("2026-12-01T09:00:00Z")),
        Just(json!("5m")),
    ];
    let name = prop_oneof![
        proptest::sample::select(FIELDS.to_vec()).prop_map(str::to_owned),
        proptest::sample::select(vec!["path", "base64", "name", "type", "notify", "return", "envid"])
            .prop_map(str::to_owned),
        "\\PC{0,6}",
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.clone(), inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn is_fit_for_people(reason: &str) -> bool {
    !reason.is_empty() && reason.chars().count() < 300 && !reason.chars().any(char::is_control)
}

proptest! {
    #[test]
    fn any_octets_are_a_job_or_have_a_reason(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(reason) = Foreign::parse(&body) {
            prop_assert!(is_fit_for_people(&reason), "{}", reason);
        }
    }

    #[test]
    fn any_json_is_a_job_or_has_a_reason(value in values()) {
        if let Err(reason) = parse(value) {
            prop_assert!(is_fit_for_people(&reason), "{}", reason);
        }
    }

    /// A job that is cut off is none.
    #[test]
    fn a_part_of_a_job_is_none(subject in "\\PC{0,20}", cut in 0.0..1.0) {
        let body = json!({ "to": "a@x.example", "subject": subject }).to_string();
        let length = (body.len() as f64 * cut) as usize;
        prop_assert!(Foreign::parse(&body.as_bytes()[..length]).is_err());
        prop_assert!(Foreign::parse(body.as_bytes()).is_ok());
    }

    /// What a reason says is where, never what.
    #[test]
    fn reasons_do_not_repeat_values(name in proptest::sample::select(FIELDS.to_vec()), is_list in any::<bool>()) {
        let value = if is_list { json!(["KANARIE", 7, { "KANARIE": "KANARIE" }]) } else { json!("KANARIE") };
        if let Err(reason) = parse(json!({ "bcc": "a@x.example", name: value })) {
            prop_assert!(!reason.contains("KANARIE"), "{}", reason);
        }
    }
}
