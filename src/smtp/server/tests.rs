//! Dialogues as scripts: what the client says, what it is answered, and what messages come of it.

mod client;

use proptest::prelude::*;

use super::*;

const HELLO: &str = "250-mx.example|250-PIPELINING|250-SIZE 1073741824|250-8BITMIME|250-SMTPUTF8|250-DSN|\
                     250-ENHANCEDSTATUSCODES|250 CHUNKING";

/// A caller that takes everything but recipients whose name begins with `no`.
struct Dialogue {
    server: Server,
    replies: String,
    content: Vec<u8>,
    /// `from>to,to content`, with the wishes if there are some.
    messages: Vec<String>,
    discarded: usize,
    has_quit: Option<bool>,
}

impl Dialogue {
    fn new(limits: Limits) -> Self {
        Self {
            server: Server::new("mx.example", limits),
            replies: String::new(),
            content: Vec::new(),
            messages: Vec::new(),
            discarded: 0,
            has_quit: None,
        }
    }

    fn say(&mut self, octets: &[u8]) {
        self.server.push(octets);
        while let Some(next) = self.server.advance() {
            assert_eq!(self.has_quit, None, "nothing comes behind the end");
            match next {
                Next::Recipient(recipient) if recipient.user().starts_with("no") => {
                    self.server.answer(Err(Refusal::new(550, 1, 1, "Nobody")));
                }
                Next::Recipient(_) => self.server.answer(Ok(String::new())),
                Next::Content(block) => self.content.extend(block),
                Next::Discard => {
                    assert!(!self.content.is_empty());
                    self.content.clear();
                    self.discarded += 1;
                }
                Next::Message(transaction) => {
                    self.take(&transaction);
                    self.server.answer(Ok("queued".to_owned()));
                }
                Next::End { has_quit } => self.has_quit = Some(has_quit),
            }
        }
        let replies = String::from_utf8(self.server.take_replies()).unwrap();
        assert!(replies.is_ascii() && (replies.is_empty() || replies.ends_with("\r\n")));
        self.replies.push_str(&replies.replace("\r\n", "|"));
    }

    fn take(&mut self, transaction: &Transaction) {
        let mut text = String::new();
        for (envelope, dsn) in &transaction.envelopes {
            let to: Vec<String> = envelope.to().iter().map(ToString::to_string).collect();
            text += &format!("{}>{} ", envelope.from().map(ToString::to_string).unwrap_or_default(), to.join(","));
            for (word, wish) in [
                ("notify", dsn.notify.map(|notify| notify.to_string())),
                ("ret", dsn.ret.map(|ret| ret.to_string())),
                ("envid", dsn.envid.clone()),
            ] {
                text += &wish.map(|wish| format!("{word}={wish} ")).unwrap_or_default();
            }
        }
        text += if transaction.is_8bit { "8 " } else { "" };
        text += if transaction.is_utf8 { "u " } else { "" };
        self.messages.push(text + &String::from_utf8_lossy(&std::mem::take(&mut self.content)));
    }
}

/// What is answered behind the greeting, and the messages.
fn run(octets: &[u8], limits: Limits) -> Dialogue {
    let mut dialogue = Dialogue::new(limits);
    dialogue.say(octets);
    dialogue.replies = dialogue.replies.strip_prefix("220 mx.example ESMTP mailsend|").unwrap().to_owned();
    dialogue
}

/// The codes only.
fn codes(octets: &str) -> String {
    let dialogue = run(octets.as_bytes(), Limits::default());
    let lines = dialogue.replies.split_terminator('|').filter(|line| line.as_bytes()[3] == b' ');
    lines
        .map(|line| line.split_inclusive(' ').take(2).collect::<String>().trim().to_owned())
        .collect::<Vec<_>>()
        .join("|")
}

fn messages(octets: &str) -> Vec<String> {
    run(octets.as_bytes(), Limits::default()).messages
}

#[test]
fn the_typical_scenario_of_the_rfc() {
    let mut dialogue = Dialogue::new(Limits::default());
    let mut say = |line: &str| {
        dialogue.say(line.as_bytes());
        std::mem::take(&mut dialogue.replies)
    };
    assert_eq!(say(""), "220 mx.example ESMTP mailsend|");
    assert_eq!(say("EHLO bar.com\r\n"), format!("{HELLO}|"));
    assert_eq!(say("MAIL FROM:<Smith@bar.com>\r\n"), "250 2.1.0 Ok|");
    assert_eq!(say("RCPT TO:<Jones@foo.com>\r\n"), "250 2.1.5 Ok|");
    assert_eq!(say("RCPT TO:<nogreen@foo.com>\r\n"), "550 5.1.1 Nobody|");
    assert_eq!(say("RCPT TO:<Brown@foo.com>\r\n"), "250 2.1.5 Ok|");
    assert_eq!(say("DATA\r\n"), "354 End data with <CR><LF>.<CR><LF>|");
    assert_eq!(say("Blah blah blah...\r\n..\r\netc.\r\n"), "");
    assert_eq!(say(".\r\n"), "250 2.0.0 queued|");
    assert_eq!(say("RSET\r\nNOOP x\r\n"), "250 2.0.0 Ok|250 2.0.0 Ok|");
    assert_eq!(say("QUIT\r\nNOOP\r\n"), "221 2.0.0 Bye|");
    assert_eq!(say("NOOP\r\n"), "");
    assert_eq!(dialogue.messages, ["Smith@bar.com>Jones@foo.com,Brown@foo.com Blah blah blah...\r\n.\r\netc.\r\n"]);
    assert_eq!(dialogue.has_quit, Some(true));
}

#[test]
fn commands_and_their_order() {
    for (octets, expected) in [
        ("EHLO\r\nHELO\r\nHELO x\r\nEHLO [127.0.0.1]\r\n", "501 5.5.4|501 5.5.4|250 mx.example|250 CHUNKING"),
        ("VRFY a\r\nVRFY\r\nEXPN a\r\nHELP\r\nNOOP\r\n", "252 2.0.0|501 5.5.4|502 5.5.1|214 2.0.0|250 2.0.0"),
        (
            "\r\nSTARTTLS\r\nAUTH PLAIN AA==\r\nGET / HTTP/1.1\r\nB\u{e4}h\r\n",
            "500 5.5.1|500 5.5.1|500 5.5.1|500 5.5.1|500 5.5.1",
        ),
        ("NOOP\tx\r\nNOOP \u{1b}\r\nNOOP\nQUIT\r\n", "500 5.5.2|500 5.5.2|500 5.5.2"),
        ("RCPT TO:<a@b>\r\nDATA\r\nBDAT 4\r\nBDATBDAT 0 LAST\r\n", "503 5.5.1|503 5.5.1|503 5.5.1|503 5.5.1"),
        ("mail from:<>\r\nMAIL FROM:<>\r\nRSET\r\nMail From:<>\r\n", "250 2.1.0|503 5.5.1|250 2.0.0|250 2.1.0"),
        ("MAIL FROM:<>\r\nEHLO x\r\nRCPT TO:<a@b>\r\n", "250 2.1.0|250 CHUNKING|503 5.5.1"),
        ("MAIL\r\nMAIL FROM\r\nMAIL FROM:\r\nMAIL TO:<a@b>\r\n", "501 5.5.4|501 5.5.4|501 5.5.4|501 5.5.4"),
        ("MAIL FROM:<a@b\r\nMAIL FROM:<a b@c>\r\nMAIL FROM:<a@b>x\r\n", "501 5.5.4|553 5.1.7|501 5.5.4"),
        (
            "MAIL FROM:<> X=1\r\nMAIL FROM:<> SIZE=x\r\nMAIL FROM:<> SIZE=2000000000\r\n",
            "555 5.5.4|501 5.5.4|552 5.3.4",
        ),
        (
            "MAIL FROM:<\u{e4}@b>\r\nMAIL FROM:<\u{e4}@b> SMTPUTF8\r\nRCPT TO:<\u{e4}@b>\r\n",
            "553 5.6.7|250 2.1.0|250 2.1.5",
        ),
        (
            "MAIL FROM:<>\r\nRCPT TO:<\u{e4}@b>\r\nRCPT TO:<>\r\nRCPT TO:<a@b>\r\n",
            "250 2.1.0|553 5.6.7|553 5.1.3|250 2.1.5",
        ),
        ("MAIL FROM:<>\r\nRCPT TO:<a@b,c@d>\r\nRCPT TO:<a@b> RET=FULL\r\n", "250 2.1.0|553 5.1.3|555 5.5.4"),
        ("RSET x\r\nQUIT x\r\nQUIT\r\n", "501 5.5.4|501 5.5.4|221 2.0.0"),
        ("DATA x\r\n", "501 5.5.4"),
        ("QUIT\nNOOP\n", "221 2.0.0"),
    ] {
        assert_eq!(codes(octets), expected, "{octets:?}");
        assert_eq!(
            codes(&octets.replace("\r\n", "\n").replace("NOOP\nQUIT\n", "NOOP\rQUIT\n")),
            expected,
            "{octets:?}"
        );
    }
}

#[test]
fn paths_of_every_kind() {
    let message = |from: &str, to: &str| {
        let octets = format!("MAIL FROM:{from}\r\nRCPT TO:{to}\r\nDATA\r\n.\r\n");
        messages(&octets).pop().unwrap_or_else(|| codes(&octets))
    };
    assert_eq!(message("<>", "<postmaster>"), ">postmaster@localhost ");
    assert_eq!(message("<root>", "<Root>"), "root@mx.example>Root@localhost ");
    assert_eq!(message("root", "\"a b\"@c.example"), "root@mx.example>\"a b\"@c.example ");
    assert_eq!(message("<@a.example:b@c.example>", " <@x,@y:z@w.example>"), "b@c.example>z@w.example ");
    assert_eq!(message("<\"a> SIZE=1\"@b.example>", "<-oQ@c.example>"), "\"a> SIZE=1\"@b.example>-oQ@c.example ");
}

#[test]
fn wishes_for_reports() {
    let octets = "MAIL FROM:<s@x.example> RET=HDRS ENVID=QQ+2D1 BODY=8BITMIME SMTPUTF8\r\n\
        RCPT TO:<a@x.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a@x.example\r\nRCPT TO:<b@x.example>\r\n\
        RCPT TO:<c@x.example> NOTIFY=failure,success\r\nRCPT TO:<d@x.example> NOTIFY=NEVER\r\n\
        RCPT TO:<a@x.example> NOTIFY=NEVER\r\nDATA\r\nx\r\n.\r\n";
    assert_eq!(
        messages(octets),
        ["s@x.example>a@x.example,c@x.example notify=SUCCESS,FAILURE ret=HDRS envid=QQ-1 \
          s@x.example>b@x.example ret=HDRS envid=QQ-1 s@x.example>d@x.example notify=NEVER ret=HDRS envid=QQ-1 8 u x\r\n"]
    );
    let octets = "MAIL FROM:<> ENVID=a_b\r\nRCPT TO:<a@x.example>\r\nDATA\r\n.\r\n";
    assert_eq!(messages(octets), [">a@x.example "], "another server would give it back as something else");
}

/// What stands behind each of these in a message is a message of somebody else, if a server takes them for an end.
#[test]
fn no_tail_but_the_right_one_ends_a_message() {
    let begin = "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\nhi";
    let smuggled = "MAIL FROM:<admin@b>\r\nRCPT TO:<e@d>\r\nDATA\r\nevil\r\n.\r\n";
    let tails =
        ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\n.\r", "\r.\r\n", "\r.\n", "\r\n.\r", "\r\n\0.\r\n", "\r\n.\0\r\n"];
    for tail in tails {
        let mut dialogue = run(begin.as_bytes(), Limits::default());
        dialogue.say(format!("{tail}{smuggled}QUIT\r\n").as_bytes());
        let (is_bare, replies) = (!tail.contains('\0'), dialogue.replies.replace(HELLO, "250 x"));
        assert!(dialogue.messages.iter().all(|message| message.starts_with("a@b>c@d ")), "{tail:?}");
        assert_eq!(dialogue.messages.len(), usize::from(!is_bare), "{tail:?}");
        let verdict = if is_bare { "550 5.6.11" } else { "250 2.0.0 queued" };
        assert_eq!(replies.matches(verdict).count(), 1, "{tail:?} {replies}");
        assert!(replies.ends_with("|221 2.0.0 Bye|"), "{tail:?} {replies}");
        assert_eq!(dialogue.discarded, usize::from(is_bare));

        // The other way round: where lines end with LF, what others take for an end is text.
        let (begin, smuggled) = (begin.replace("\r\n", "\n"), smuggled.replace("\r\n", "\n"));
        if !tail.ends_with("\n.\n") {
            let dialogue = run(format!("{begin}{tail}{smuggled}QUIT\n").as_bytes(), Limits::default());
            let [message] = dialogue.messages.as_slice() else { panic!("{tail:?}") };
            assert!(message.starts_with("a@b>c@d ") && message.ends_with("evil\n"), "{tail:?}");
        }
    }
}

#[test]
fn what_comes_behind_data_is_never_a_command() {
    // Scripts that do not look at replies, and whose text a stranger may have written.
    let body = "DATA\r\nMAIL FROM:<evil@b>\r\nRCPT TO:<e@d>\r\nDATA\r\nx\r\n.\r\n";
    for (begin, verdict) in [
        ("MAIL FROM:<a@b>\r\nRCPT TO:<nobody@d>\r\n", "554 5.5.1"),
        ("MAIL FROM:<a@b>\r\n", "554 5.5.1"),
        ("MAIL FROM:<a b>\r\nRCPT TO:<c@d>\r\n", "554 5.5.1"),
        ("MAIL FROM a\r\nRCPT TO:<c@d>\r\n", "554 5.5.1"),
        ("MAIL FROM:<a\u{1}@b>\r\nRCPT TO:<c@d>\r\n", "554 5.5.1"),
        (&format!("MAIL FROM:<{}@b>\r\nRCPT TO:<c@d>\r\n", "a".repeat(2_000)), "554 5.5.1"),
    ] {
        let octets = format!("{begin}{body}NOOP\r\n");
        assert_eq!(messages(&octets), Vec::<String>::new());
        assert!(codes(&octets).ends_with(&format!("354 End|{verdict}|250 2.0.0")), "{}", codes(&octets));
    }
    // The end comes, and the next transaction is none the worse.
    let next = "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\n";
    assert_eq!(messages(&format!("MAIL FROM:<a@b>\r\n{body}{next}")), [">a@b "]);
}

#[test]
fn chunks() {
    let begin = "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n";
    let message = |octets: &str| messages(&format!("{begin}{octets}"));
    let code = |octets: &str| codes(&format!("{begin}{octets}")).replacen("250 2.1.0|250 2.1.5|", "", 1);
    assert_eq!(message("BDAT 5\r\n.\r\n.\rBDAT 6 LAST\r\n\n\r\n.\r\nNOOP\r\n"), [">a@b .\r\n.\r\n\r\n.\r\n"]);
    assert_eq!(message("BDAT 3 LAST\r\nabcQUIT\r\n"), [">a@b abc"]);
    assert_eq!(message("BDAT 3\r\nabcBDAT 0 LAST\r\nQUIT\r\n"), [">a@b abc"]);
    assert_eq!(code("BDAT 6\r\nQUIT\r\nBDAT 0 LAST\r\nQUIT\r\n"), "250 2.0.0|250 2.0.0|221 2.0.0");
    for bare in ["a\nb", "a\rb", "ab\r", "\nab"] {
        assert_eq!(code(&format!("BDAT 3 LAST\r\n{bare}NOOP\r\n")), "550 5.6.11|250 2.0.0", "{bare:?}");
    }
    // Of a transaction that is not ended comes nothing.
    let dialogue = run(format!("{begin}BDAT 3\r\nabcRSET\r\nBDAT 3 LAST\r\nabc").as_bytes(), Limits::default());
    assert_eq!((dialogue.messages.len(), dialogue.discarded), (0, 1));
    assert_eq!(
        code("BDAT 3\r\nabcDATA\r\nRCPT TO:<c@d>\r\nMAIL FROM:<>\r\n"),
        "250 2.0.0|503 5.5.1|503 5.5.1|503 5.5.1"
    );
    // Octets of chunks that are refused are no commands.
    assert_eq!(codes("BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"), "503 5.5.1|503 5.5.1|250 2.0.0");
    assert_eq!(
        codes("MAIL FROM:<>\r\nRCPT TO:<nobody@x>\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<>\r\n"),
        "250 2.1.0|550 5.1.1|554 5.5.1|503 5.5.1|250 2.1.0"
    );
    // Nobody knows where it ends.
    for argument in ["", " x", " 3 LEAST", " -3", " 99999999999999999999"] {
        assert_eq!(code(&format!("BDAT{argument}\r\nQUIT\r\n")), "501 5.5.4", "{argument}");
    }
}

#[test]
fn limits() {
    let limits = Limits { size: 10, recipients: 2, errors: 3 };
    let replies = |octets: &str| run(octets.as_bytes(), limits).replies;
    let begin = "MAIL FROM:<> SIZE=10\r\nRCPT TO:<a@b>\r\n";
    assert!(replies("EHLO x\r\n").contains("|250-SIZE 10|"));
    assert!(
        replies(&format!("{begin}RCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nRCPT TO:<a@b>\r\n"))
            .ends_with("|452 4.5.3 Too many recipients|250 2.1.5 Ok|")
    );
    let is_taken = |octets: &str| {
        let dialogue = run(format!("{begin}{octets}").as_bytes(), limits);
        assert!(dialogue.content.is_empty());
        (dialogue.messages.len(), dialogue.replies.matches("|552 5.3.4 ").count())
    };
    assert_eq!(is_taken("DATA\r\n12345678\r\n.\r\n"), (1, 0));
    assert_eq!(is_taken("DATA\r\n..2345678\r\n.\r\n"), (1, 0), "as many without the dots");
    assert_eq!(is_taken("DATA\r\n123456789\r\n.\r\nNOOP\r\n"), (0, 1));
    assert_eq!(is_taken("BDAT 10\r\n1234567890BDAT 1 LAST\r\n1NOOP\r\n"), (0, 1));
    assert_eq!(is_taken("BDAT 18446744073709551615 LAST\r\n12345678901"), (0, 0));

    assert!(replies("A\r\nB\r\nNOOP\r\nC\r\nD\r\nNOOP\r\n").ends_with("|250 2.0.0 Ok|"));
    let dialogue = run(b"A\r\nB\r\nC\r\nNOOP\r\n", limits);
    assert!(dialogue.replies.ends_with("known|421 4.7.0 Too many errors|"));
    assert_eq!(dialogue.has_quit, Some(false));
    // Refusals of a group that belongs together are none: the client could not know.
    let octets = format!("MAIL FROM:<> X\r\n{}NOOP\r\n", "RCPT TO:<a@b>\r\n".repeat(10));
    assert!(replies(&octets).ends_with("|250 2.0.0 Ok|"));
    assert!(replies(&format!("{begin}{}NOOP\r\n", "RCPT TO:<nobody@b>\r\n".repeat(10))).ends_with("|250 2.0.0 Ok|"));

    let long = format!("NOOP {}\r\nNOOP\r\n", "x".repeat(3_000));
    assert_eq!(replies(&long), "500 5.5.2 The command is too long|250 2.0.0 Ok|");
}

#[test]
fn a_caller_may_refuse_and_end() {
    let mut server = Server::new("x", Limits::default());
    server.answer(Ok("nothing was asked".to_owned()));
    server.push(b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n");
    assert!(matches!(server.advance(), Some(Next::Recipient(_))));
    assert_eq!(server.advance(), None, "it waits for the answer");
    server.answer(Ok(String::new()));
    assert_eq!(server.advance(), Some(Next::Content(b"x\r\n".to_vec())));
    assert!(server.is_receiving());
    assert!(matches!(server.advance(), Some(Next::Message(_))));
    assert!(!server.is_receiving());
    server.answer(Err(Refusal::new(421, 3, 2, "going down")));
    assert_eq!(server.advance(), Some(Next::End { has_quit: false }));
    assert_eq!(server.advance(), None);
    let replies = String::from_utf8(server.take_replies()).unwrap();
    assert!(replies.ends_with("354 End data with <CR><LF>.<CR><LF>\r\n421 4.3.2 going down\r\n"), "{replies}");
}

#[test]
fn ten_thousand_recipients() {
    let recipients: String = (0..10_000).map(|n| format!("RCPT TO:<u{n}@x.example>\r\n")).collect();
    let octets = format!("MAIL FROM:<>\r\n{recipients}DATA\r\nx\r\n.\r\n");
    let messages = messages(&octets);
    assert_eq!(messages[0].matches("@x.example").count(), 10_000);
}

/// Words of dialogues, sensible and not.
fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => prop::sample::select(vec![
            "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "RCPT TO:<nobody@d>", "DATA", "BDAT 3", "BDAT 0 LAST", "BDAT 4 LAST", "RSET",
            "EHLO x", "NOOP", "QUIT", "MAIL FROM:<a", "text", ".", "..", ".text",
        ]).prop_map(str::as_bytes).prop_map(<[u8]>::to_vec),
        6 => prop_oneof![5 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")].prop_map(|end| end.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

/// Transactions with everything right but the words of the content.
fn transactions() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(words(), 1..4).prop_map(|contents| {
        let contents = contents.into_iter().map(|content| {
            [b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n".to_vec(), content, b"\r\n.\r\n".to_vec()].concat()
        });
        contents.collect::<Vec<_>>().concat()
    })
}

proptest! {
    /// However the octets are cut, the replies, the messages and what is left are the same.
    #[test]
    fn cuts_do_not_matter(octets in prop_oneof![words(), transactions()], cuts in proptest::collection::vec(0_usize..400, 0..6), is_lf in any::<bool>()) {
        let octets = if is_lf { [b"NOOP\n".to_vec(), octets].concat() } else { octets };
        let mut whole = Dialogue::new(Limits::default());
        whole.say(&octets);
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= octets.len()).collect();
        cuts.extend([0, octets.len()]);
        cuts.sort_unstable();
        let mut parts = Dialogue::new(Limits::default());
        for cut in cuts.windows(2) {
            parts.say(&octets[cut[0]..cut[1]]);
        }
        prop_assert_eq!(&parts.replies, &whole.replies);
        prop_assert_eq!((&parts.messages, parts.has_quit), (&whole.messages, whole.has_quit));
        // One message for each consent to one, and never more.
        prop_assert_eq!(whole.replies.matches("250 2.0.0 queued|").count(), whole.messages.len());
    }

    /// What is a message has ended, with what stands for the end in its session and nothing else.
    #[test]
    fn a_message_has_an_end(octets in words()) {
        let begin = b"NOOP\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
        let dialogue = run(&[begin, &octets[..]].concat(), Limits::default());
        let content = [b"\r\n", &octets[..]].concat();
        let end = memchr::memmem::find(&content, b"\r\n.\r\n");
        prop_assert!(dialogue.messages.is_empty() || end.is_some());
        if let Some(end) = end {
            let text = &content[2..(end + 2).max(2)];
            let is_bare = String::from_utf8_lossy(text).replace("\r\n", "").contains(['\r', '\n']);
            let expected = format!("a@b>c@d {}", String::from_utf8_lossy(text).split_inclusive("\r\n").map(|line| line.strip_prefix('.').unwrap_or(line)).collect::<String>());
            let first = dialogue.replies.split('|').nth(4).unwrap_or_default();
            prop_assert!(first.starts_with(if is_bare { "550 5.6.11" } else { "250 2.0.0 queued" }), "{}", first);
            if !is_bare {
                prop_assert_eq!(&dialogue.messages[0], &expected);
            }
        } else {
            prop_assert!(dialogue.server.is_receiving());
        }
    }
}
