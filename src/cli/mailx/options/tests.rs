use proptest::prelude::*;

use super::*;

fn wish(words: &[&str]) -> Result<Wish, CliError> {
    parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
}

#[track_caller]
fn call(words: &[&str]) -> Call {
    match wish(words) {
        Ok(Wish::Send(call)) => *call,
        other => panic!("{words:?}: {other:?}"),
    }
}

#[track_caller]
fn error(words: &[&str]) -> CliError {
    wish(words).map(|wish| panic!("{words:?}: {wish:?}")).unwrap_err()
}

#[test]
fn values_joined_and_separated_wherever_addresses_stand() {
    for words in [
        &["-s", "Hi you", "-c", "c@x", "-b", "b@x", "-v", "-n", "a@x", "root"][..],
        &["a@x", "root", "-sHi you", "-cc@x", "-bb@x", "-vn"],
        &["a@x", "-vns", "Hi you", "root", "--cc=c@x", "--bcc", "b@x"],
        &["-vnsHi you", "-c", "c@x", "-b", "b@x", "--", "a@x", "root"],
        &["--subj=Hi you", "-v", "a@x", "--cc", "c@x", "--bcc=b@x", "root"],
    ] {
        let call = call(words);
        assert_eq!(
            (call.to, call.cc, call.bcc),
            (vec!["a@x".to_owned(), "root".to_owned()], vec!["c@x".to_owned()], vec!["b@x".to_owned()])
        );
        assert_eq!((call.subject.as_deref(), call.is_verbose), (Some("Hi you"), true), "{words:?}");
    }
    assert_eq!(call(&["-s", "-x-", "a"]).subject.as_deref(), Some("-x-"));
    assert_eq!(call(&["--", "-a@x", "-f@x", "-"]).to[0], "-a@x");
}

#[test]
fn a_header_or_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a:b.txt");
    std::fs::write(&path, "x").unwrap();
    let file = path.to_str().unwrap();
    let call = call(&["-a", "X-A: b", "-aX-C:d", "-a", file, "-A", "e.pdf", "--append=Y: z", "x"]);
    assert_eq!(call.headers, ["X-A: b", "X-C: d", "Y: z"]);
    assert_eq!(call.attachments, [file, "e.pdf"]);
    let error = error(&["-a", "/nonesuch/file", "x"]);
    assert!(error.exit == Exit::Usage && error.hints.iter().any(|hint| hint.contains("-A FILE")), "{error:?}");
}

#[test]
fn fields_with_a_place_of_their_own() {
    let call = call(&[
        "-a",
        "From: f@x",
        "-a",
        "reply-to: r",
        "-a",
        "Bcc: b",
        "-T",
        "cc: c",
        "-a",
        "MIME-Version: 1.0",
        "-a",
        "Content-Type: text/html; charset=utf-8",
        "x",
    ]);
    assert_eq!((call.from.as_deref(), call.reply_to.as_deref()), (Some("f@x"), Some("r")));
    assert_eq!((call.bcc, call.cc, call.headers), (vec!["b".to_owned()], vec!["c".to_owned()], Vec::new()));
    let media_type = call.media_type.unwrap();
    assert!(media_type.is_html() && media_type.charset.as_deref() == Some("utf-8"), "{media_type:?}");
    assert_eq!(error(&["-a", "Content-Type: application/pdf", "x"]).exit, Exit::Data);
    assert_eq!(error(&["-T", "from: c", "x"]).exit, Exit::Usage);
}

#[test]
fn senders() {
    let names = |words: &[&str]| {
        let call = call(words);
        (call.from.unwrap_or_default(), call.return_path, call.full_name.unwrap_or_default())
    };
    let of = |from: &str, path: Option<&str>, name: &str| (from.to_owned(), path.map(str::to_owned), name.to_owned());
    assert_eq!(names(&["-r", "A <a@x>", "to"]), of("A <a@x>", Some("A <a@x>"), ""));
    assert_eq!(names(&["-r", "<>", "to"]), of("", Some("<>"), ""));
    // Behind addresses these are sendmail's.
    assert_eq!(names(&["to", "-f", "b@x", "-FName of"]), of("b@x", Some("b@x"), "Name of"));
    assert_eq!(
        names(&["-s", "x", "to", "--", "-oi", "-fb@x", "-F", "N", "-o", "db", "-N", "never"]),
        of("b@x", Some("b@x"), "N")
    );
    assert_eq!(names(&["-r", "a@x", "to", "--", "-f", "b@x"]), of("a@x", Some("b@x"), ""));
    assert_eq!(names(&["-S", "from=s@x", "-S", "sendwait", "to"]), of("s@x", None, ""));
    assert_eq!(names(&["-X", "set from=\"S <s@x>\" replyto=r@x", "to"]), of("S <s@x>", None, ""));
    assert_eq!(names(&["-S", "from=s@x", "-r", "a@x", "to"]), of("a@x", Some("a@x"), ""));
    assert_eq!(call(&["to", "--", "-f", "b@x", "more"]).to, ["to", "more"]);
}

#[test]
fn files_of_gnu() {
    let call =
        call(&["--content-type=text/csv", "--content-name=n.csv", "-A", "a", "--attach=b", "--attach-fd=3", "x"]);
    assert_eq!(call.attachments, ["a;name=n.csv;type=text/csv", "b;type=text/csv", "/dev/fd/3;type=text/csv"]);
    assert!(call.media_type.is_none());
    assert!(self::call(&["--content-type", "text/html", "x"]).media_type.unwrap().is_html());
    assert!(self::call(&["--skip-empty-attachments", "--encoding=base64", "--exec", "set x", "x"]).skips_empty_files);
}

#[test]
fn manners() {
    let call = call(&["-EtdiIBDN~.#", "-q", "f", "-m", "g", "-:/", "-M", "text/plain"]);
    assert!(call.skips_empty && call.reads_header && call.is_dry && !call.has_mailrc);
    assert_eq!(call.texts, ["f", "g"]);
    assert_eq!(self::call(&["--to=a@x"]).to, ["a@x"]);
    assert!(self::call(&["--to"]).reads_header);
    assert!(matches!(wish(&["--help"]), Ok(Wish::Help)) && matches!(wish(&["-V"]), Ok(Wish::Version)));
}

#[test]
fn mail_is_not_read() {
    for words in [
        &[][..],
        &["-f"],
        &["-f", "mbox"],
        &["-u", "ada"],
        &["-H"],
        &["-e"],
        &["-L", "x"],
        &["-R"],
        &["--headers"],
        &["--file=x"],
    ] {
        let error = error(words);
        assert!(error.exit == Exit::Usage && error.message.contains("does not read it"), "{words:?}: {error:?}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (words, what) in [
        (&["-Z"][..], "no option -Z"),
        (&["--colour", "x"], "no option --colour"),
        (&["--content", "x", "y"], "no option --content"),
        (&["x", "-s"], "-s wants a value"),
        (&["--subject"], "--subject wants a value"),
        (&["-\u{1b}[2J"], "no option -\u{FFFD}"),
        (&["/var/mail/x"], "only aliases lead to files"),
        (&["|sh"], "only aliases lead to files"),
    ] {
        let error = error(words);
        assert!(error.message.contains(what), "{words:?}: {error:?}");
    }
}

#[test]
fn old_charsets() {
    use std::os::unix::ffi::OsStringExt;
    let words = ["-s".into(), OsString::from_vec(b"gr\xFC\xDFe".to_vec()), "a".into()];
    assert!(matches!(parse(&words), Ok(Wish::Send(call)) if call.subject.as_deref() == Some("grüße")));
}

proptest! {
    /// Whatever is typed is taken or refused.
    #[test]
    fn nothing_panics(words in proptest::collection::vec("-{0,2}[a-zA-Z:~#.=é]{0,6}|-é|--|-|[a@x ]{1,4}", 0..6)) {
        let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
        let _ = parse(&words);
        let behind: Vec<OsString> = ["a".into(), "--".into()].into_iter().chain(words).collect();
        let _ = parse(&behind);
    }

    /// Nobody who was named is forgotten.
    #[test]
    fn addresses_behind_the_end_of_options(user in "[a-eg-z]{1,5}") {
        let address = format!("-{user}@d.example");
        let call = call(&["-s", "S", "--", "a@b.example", &address]);
        let is_option = "FBCLNORVXhopr".contains(&user[..1]);
        prop_assert_eq!(call.to.len(), if is_option { 1 } else { 2 });
    }

    /// Every order of options and addresses means the same.
    #[test]
    fn order_does_not_matter(order in Just(vec![vec!["-s", "S"], vec!["-c", "c"], vec!["a"], vec!["-v"], vec!["-E"]]).prop_shuffle()) {
        let words: Vec<&str> = order.concat();
        let call = call(&words);
        prop_assert_eq!((call.to.len(), call.cc.len(), call.subject.as_deref()), (1, 1, Some("S")));
        prop_assert!(call.is_verbose && call.skips_empty);
    }
}
