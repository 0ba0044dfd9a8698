//! Dialogues as scripts: what goes out, what comes in, what becomes of whom.

mod ends;

use proptest::prelude::*;

use super::*;
use crate::mail::{Address, Content, DsnNotify, DsnRequest, Envelope, Mailbox};

fn address(text: &str) -> Address {
    Mailbox::parse(text).unwrap().address
}

fn submission(id: u64, recipients: &[&str], content: Content) -> Submission {
    let recipients = recipients.iter().map(|text| address(text)).collect();
    let envelope = Envelope::new(Some(address("s@x.example")), recipients).unwrap();
    Submission { id, message_id: format!("<{id}@x>"), envelope, content, dsn: DsnRequest::default(), has_turn: false }
}

fn small() -> Content {
    Content::from_bytes(b"Subject: x\r\n\r\nhi\r\n".to_vec())
}

fn large() -> Content {
    Content::from_bytes([b'x'; 70_000].to_vec())
}

fn terms(words: &str) -> Terms {
    Terms {
        pipelining: words.contains('p'),
        chunking: words.contains('c'),
        lmtp: words.contains('l'),
        depth: 16,
        ..Terms::default()
    }
}

/// An exchange whose bytes all leave at once.
struct Dialogue {
    exchange: Exchange,
    outcomes: Vec<String>,
    back: Vec<u64>,
}

impl Dialogue {
    fn new(words: &str) -> Self {
        Self { exchange: Exchange::new(terms(words)), outcomes: Vec::new(), back: Vec::new() }
    }

    fn send(&mut self, id: u64, recipients: &[&str]) {
        self.exchange.take(submission(id, recipients, small()));
        self.collect();
    }

    /// What goes out now: the first word of commands, `<n` for the gate and `n>` for the end of a content.
    fn out(&mut self) -> String {
        self.out_until(usize::MAX)
    }

    fn out_until(&mut self, count: usize) -> String {
        let mut words = Vec::new();
        while words.len() < count
            && let Some(out) = self.exchange.next_out()
        {
            words.push(match out {
                Out::Command(line) | Out::Line(line) => {
                    let line = String::from_utf8(line).unwrap();
                    assert!(line.ends_with("\r\n") && line.matches('\n').count() == 1);
                    line.split([' ', '\r']).next().unwrap().to_owned()
                }
                Out::Gate(id) => format!("<{id}"),
                Out::Begin { .. } | Out::Piece(_) => continue,
                Out::End(id) => {
                    self.exchange.completed(id);
                    format!("{id}>")
                }
            });
        }
        words.join(" ")
    }

    fn reply(&mut self, replies: &str) {
        for line in replies.split('|') {
            let (code, text) = line.split_once(' ').unwrap_or((line, ""));
            self.exchange.reply(Reply { code: code.parse().unwrap(), lines: vec![text.to_owned()] });
        }
        self.collect();
    }

    fn end(&mut self) {
        self.exchange.end(Trouble::new(Stage::Data, Cause::Lost, "the connection ended"));
        self.collect();
    }

    fn collect(&mut self) {
        for Settlement { id, outcomes } in self.exchange.take_settled() {
            for outcome in outcomes {
                let (user, state, stage) = (outcome.recipient.user().to_owned(), outcome.state, outcome.stage);
                self.outcomes.push(format!("{id}{user} {state} {stage}"));
            }
        }
        self.back.extend(self.exchange.take_handed_back().iter().map(|submission| submission.id));
    }

    fn outcomes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.outcomes)
    }
}

const A: &[&str] = &["a@x.example"];
const ABC: &[&str] = &["a@x.example", "b@x.example", "c@x.example"];

#[test]
fn one_group_with_chunking() {
    let mut dialogue = Dialogue::new("pc");
    dialogue.send(1, ABC);
    assert_eq!(dialogue.out(), "<1 MAIL RCPT RCPT RCPT BDAT 1>");
    dialogue.reply("250|250|550 5.1.1 no|451 later");
    assert_eq!(dialogue.outcomes(), Vec::<String>::new(), "refusals wait until the next reply fits");
    dialogue.reply("250 2.0.0 queued as X");
    assert_eq!(dialogue.outcomes(), ["1b failed rcpt", "1c deferred rcpt", "1a accepted data"]);
    assert!(dialogue.exchange.is_idle() && dialogue.exchange.ending().is_none());
}

#[test]
fn large_content_waits_for_somebody_willing() {
    let mut dialogue = Dialogue::new("pc");
    dialogue.exchange.take(submission(1, ABC, large()));
    dialogue.exchange.take(submission(2, A, small()));
    assert_eq!(dialogue.out(), "MAIL RCPT RCPT RCPT");
    dialogue.reply("250|550|250");
    assert_eq!(dialogue.out(), "");
    dialogue.reply("550");
    assert_eq!(dialogue.outcomes(), ["1a failed rcpt", "1c failed rcpt"]);
    assert_eq!(dialogue.out(), "BDAT <1 1> <2 RSET MAIL RCPT BDAT 2>");
    dialogue.reply("250|250|250|250|250");
    assert_eq!(dialogue.outcomes(), ["1b accepted data", "2a accepted data"]);

    dialogue.exchange.take(submission(3, A, large()));
    assert_eq!(dialogue.out(), "MAIL RCPT");
    dialogue.reply("250|550");
    assert_eq!(dialogue.outcomes(), ["3a failed rcpt"]);
    dialogue.send(4, A);
    assert_eq!(dialogue.out(), "<4 RSET MAIL RCPT BDAT 4>");
}

#[test]
fn data_in_one_group_and_the_next_envelope_behind_the_content() {
    let mut dialogue = Dialogue::new("p");
    dialogue.send(1, ABC);
    assert_eq!(dialogue.out(), "MAIL RCPT RCPT RCPT DATA");
    assert_eq!(dialogue.exchange.room(), 1);
    dialogue.send(2, A);
    assert_eq!((dialogue.out(), dialogue.exchange.room()), (String::new(), 0));
    dialogue.reply("250|250|550|250|354");
    assert_eq!(dialogue.out(), "<1 . 1> MAIL RCPT DATA");
    assert_eq!(dialogue.outcomes(), ["1b failed rcpt"]);
    dialogue.reply("250|250|250|354");
    assert_eq!(dialogue.outcomes(), ["1a accepted data", "1c accepted data"]);
    assert_eq!(dialogue.out(), "<2 . 2>");
    dialogue.reply("554");
    assert_eq!(dialogue.outcomes(), ["2a failed data"]);
}

#[test]
fn nobody_willing_ends_without_content() {
    let mut dialogue = Dialogue::new("p");
    dialogue.send(1, ABC);
    dialogue.out();
    dialogue.reply("250|550|550|450|503 no valid recipients");
    assert_eq!(dialogue.outcomes(), ["1a failed rcpt", "1b failed rcpt", "1c deferred rcpt"]);
    dialogue.send(2, A);
    assert_eq!(dialogue.out(), "RSET MAIL RCPT DATA");

    // RFC 2920, 3.1: the server says 354 all the same.
    dialogue.reply("250|250|550|354");
    assert_eq!(dialogue.out(), ".");
    assert_eq!(dialogue.outcomes(), ["2a failed rcpt"]);
    dialogue.send(3, A);
    assert_eq!(dialogue.out(), "MAIL RCPT DATA");
    dialogue.reply("554|250|250|354");
    assert_eq!(dialogue.out(), "<3 . 3>");
}

#[test]
fn one_command_at_a_time_without_pipelining() {
    for (words, content) in [("", "DATA"), ("c", "BDAT")] {
        let mut dialogue = Dialogue::new(words);
        dialogue.send(1, ABC);
        assert_eq!(dialogue.exchange.room(), 0);
        for (out, reply) in [("MAIL", "250"), ("RCPT", "250"), ("RCPT", "550"), ("RCPT", "250")] {
            assert_eq!(dialogue.out(), out);
            dialogue.reply(reply);
        }
        if words.is_empty() {
            assert_eq!(dialogue.out(), "DATA");
            dialogue.reply("354");
            assert_eq!(dialogue.out(), "<1 . 1>");
        } else {
            assert_eq!(dialogue.out(), format!("{content} <1 1>"));
        }
        dialogue.reply("250");
        assert_eq!(dialogue.outcomes(), ["1b failed rcpt", "1a accepted data", "1c accepted data"]);

        dialogue.send(2, ABC);
        assert_eq!(dialogue.out(), "MAIL");
        dialogue.reply("550");
        assert_eq!(dialogue.outcomes(), ["2a failed mail", "2b failed mail", "2c failed mail"]);
        dialogue.send(3, A);
        assert_eq!(dialogue.out(), "RSET");
        dialogue.reply("250");
        assert_eq!(dialogue.out(), "MAIL");
    }
}

#[test]
fn a_window_begins_each_further_transaction_with_rset() {
    let mut dialogue = Dialogue::new("pc");
    for id in 1..=3 {
        dialogue.send(id, A);
    }
    assert_eq!(dialogue.exchange.gates_ahead(), [1, 2, 3]);
    assert_eq!(dialogue.out(), "<1 MAIL RCPT BDAT 1> <2 RSET MAIL RCPT BDAT 2> <3 RSET MAIL RCPT BDAT 3>");
    assert_eq!(dialogue.exchange.room(), 5);
    dialogue.reply("250|550 no|503 none|250|250|250|250 ok|250|250|250|250 ok");
    assert_eq!(dialogue.outcomes(), ["1a failed rcpt", "2a accepted data", "3a accepted data"]);
}

#[test]
fn lmtp_answers_once_per_willing_recipient() {
    for words in ["pl", "pcl"] {
        let mut dialogue = Dialogue::new(words);
        dialogue.send(1, ABC);
        let out = dialogue.out();
        dialogue.reply("250|250|550|250");
        if words == "pl" {
            assert_eq!(out, "MAIL RCPT RCPT RCPT DATA");
            dialogue.reply("354");
            assert_eq!(dialogue.out(), "<1 . 1>");
        } else {
            assert_eq!(out, "MAIL RCPT RCPT RCPT");
            assert_eq!(dialogue.out(), "BDAT <1 1>");
        }
        dialogue.reply("250 2.0.0 <a@x.example> ABC Saved");
        assert_eq!(dialogue.outcomes(), ["1b failed rcpt", "1a accepted data"]);
        dialogue.reply("552 5.2.2 full");
        assert_eq!(dialogue.outcomes(), ["1c failed data"]);
        assert!(dialogue.exchange.is_idle());
    }
}

#[test]
fn lmtp_that_stops_answering_leaves_the_rest_unknown() {
    let mut dialogue = Dialogue::new("pl");
    dialogue.send(1, ABC);
    dialogue.out();
    dialogue.reply("250|250|250|250|354");
    dialogue.out();
    dialogue.reply("250");
    dialogue.end();
    assert_eq!(dialogue.outcomes(), ["1a accepted data", "1b unknown final", "1c unknown final"]);

    // No lone dot: LMTP would not answer it.
    let mut dialogue = Dialogue::new("pl");
    dialogue.send(1, A);
    dialogue.out();
    dialogue.reply("250|550|354");
    assert_eq!(dialogue.outcomes(), ["1a deferred data"]);
    assert!(matches!(dialogue.exchange.ending(), Some(Ending::Broken(trouble)) if trouble.cause == Cause::Protocol));
}

#[test]
fn a_wanted_login_is_nobodys_refusal() {
    for words in ["", "p", "pc"] {
        let mut dialogue = Dialogue::new(words);
        dialogue.send(1, ABC);
        dialogue.send(2, A);
        dialogue.out();
        dialogue.reply("530 5.7.0 Authentication required");
        if !words.is_empty() {
            dialogue.reply("503|503|503|503");
        }
        if words == "pc" {
            assert_eq!(dialogue.outcomes.len(), 3);
            dialogue.reply("250|530 5.7.0 Authentication required|503|503");
        }
        assert!(
            matches!(dialogue.exchange.ending(), Some(Ending::Stop(trouble)) if trouble.cause == Cause::Login),
            "{words}"
        );
        assert_eq!(dialogue.outcomes()[..3], ["1a deferred mail", "1b deferred mail", "1c deferred mail"], "{words}");
    }
}

#[test]
fn what_a_fallback_wants_a_login_for_comes_back() {
    for words in ["", "p", "pc"] {
        let mut dialogue = Dialogue::new(words);
        dialogue.exchange = Exchange::of_fallback(terms(words));
        dialogue.send(1, ABC);
        dialogue.send(2, A);
        dialogue.out();
        dialogue.reply("530 5.7.0 Authentication required");
        if !words.is_empty() {
            dialogue.reply("503|503|503|503");
        }
        if words == "pc" {
            assert_eq!((dialogue.exchange.wanted_login().is_some(), &dialogue.back), (true, &vec![1]));
            dialogue.reply("250|530 5.7.0 Authentication required|503|503");
        }
        assert!(matches!(dialogue.exchange.ending(), Some(Ending::Stop(_))), "{words}");
        dialogue.back.sort();
        assert_eq!((dialogue.outcomes(), &dialogue.back), (vec![], &vec![1, 2]), "{words}");
    }
    // Only who was refused for it comes back, even if the connection ends.
    for is_lost in [false, true] {
        let mut dialogue = Dialogue::new("p");
        dialogue.exchange = Exchange::of_fallback(terms("p"));
        dialogue.send(1, ABC);
        dialogue.out();
        dialogue.reply("250|250|530 5.7.0 Authentication required|550 5.1.1 no|354");
        dialogue.out();
        if is_lost {
            dialogue.end();
        } else {
            dialogue.reply("250 ok");
        }
        let end = if is_lost { "1a unknown final" } else { "1a accepted data" };
        assert_eq!(
            (dialogue.outcomes(), &dialogue.back),
            (vec!["1c failed rcpt".to_owned(), end.to_owned()], &vec![1])
        );
    }
}

#[test]
fn without_consent_what_went_before_is_waited_for() {
    let mut dialogue = Dialogue::new("pc");
    dialogue.send(1, A);
    assert_eq!(dialogue.out(), "<1 MAIL RCPT BDAT 1>");
    dialogue.send(2, A);
    dialogue.send(3, A);
    assert_eq!(dialogue.out_until(1), "<2");
    dialogue.exchange.withhold(2);
    dialogue.reply("250|250|250 ok");
    assert_eq!((dialogue.outcomes(), &dialogue.back), (vec!["1a accepted data".to_owned()], &vec![2, 3]));
    assert!(dialogue.exchange.is_idle() && dialogue.exchange.is_retiring() && dialogue.exchange.ending().is_none());

    // In the middle of a content there is no way to say farewell, and it is not the server's fault.
    for (words, begun) in [("p", "250|250|354"), ("pc", "250|250")] {
        let mut dialogue = Dialogue::new(words);
        dialogue.exchange.take(submission(1, A, large()));
        dialogue.send(2, A);
        dialogue.out();
        dialogue.reply(begun);
        let out = dialogue.out_until(if words == "p" { 1 } else { 2 });
        assert!(out.ends_with("<1"), "{out}");
        dialogue.exchange.withhold(1);
        dialogue.collect();
        assert_eq!((dialogue.outcomes(), &dialogue.back), (vec![], &vec![1, 2]));
        let Some(Ending::Broken(trouble)) = dialogue.exchange.ending() else { panic!("it has no end") };
        assert!(dialogue.exchange.is_blameless(trouble));
    }
}

#[test]
fn a_session_without_success_is_replaced() {
    let mut dialogue = Dialogue::new("pc");
    for id in 1..=8 {
        assert!(!dialogue.exchange.is_retiring());
        dialogue.send(id, A);
        dialogue.out();
        dialogue.reply(if id == 1 { "250|550|503" } else { "250|250|550|503" });
    }
    assert!(dialogue.exchange.is_retiring() && dialogue.exchange.room() == 0 && dialogue.exchange.ending().is_none());
    assert_eq!(dialogue.outcomes().len(), 8);
}

#[test]
fn an_old_552_at_rcpt_means_too_many() {
    let mut dialogue = Dialogue::new("p");
    dialogue.send(1, ABC);
    dialogue.out();
    dialogue.reply("250|250|552 too many|552 5.2.2 full|354");
    assert_eq!(dialogue.outcomes(), ["1b deferred rcpt", "1c failed rcpt"]);
}

#[test]
fn forwarding_replies_are_acceptance() {
    let mut dialogue = Dialogue::new("p");
    dialogue.send(1, ABC);
    dialogue.out();
    dialogue.reply("250|251 will forward|252 cannot verify|250|354");
    dialogue.out();
    dialogue.reply("250");
    assert_eq!(dialogue.outcomes(), ["1a accepted data", "1b accepted data", "1c accepted data"]);
}

#[test]
fn what_the_server_cannot_take_is_refused_before_it_is_asked() {
    let mut dialogue = Dialogue::new("pc");
    dialogue.exchange = Exchange::new(Terms { size_limit: Some(10), ..terms("pc") });
    dialogue.send(1, A);
    assert_eq!((dialogue.out(), dialogue.outcomes()), (String::new(), vec!["1a failed mail".to_owned()]));

    let mut dialogue = Dialogue::new("pc");
    dialogue.exchange.take(submission(1, A, Content::from_bytes("ü\r\n".into())));
    dialogue.collect();
    assert_eq!((dialogue.out(), dialogue.outcomes()), (String::new(), vec!["1a failed mail".to_owned()]));
    // Only who needs SMTPUTF8 is refused, the other gets the mail.
    dialogue.send(2, &["jürgen@x.example", "b@x.example"]);
    assert_eq!(dialogue.out(), "<2 MAIL RCPT BDAT 2>");
    dialogue.reply("250|250|250");
    assert_eq!(dialogue.outcomes(), ["2jürgen failed mail", "2b accepted data"]);

    let mut content = Content::from_bytes("To: jürgen@x.example\r\n".into());
    content.has_utf8_headers = true;
    dialogue.exchange.take(submission(3, &["jürgen@x.example", "b@x.example"], content));
    dialogue.collect();
    assert_eq!(dialogue.outcomes(), ["3jürgen failed mail", "3b failed mail"]);
}

#[test]
fn wishes_for_reports_that_cannot_be_passed_on_are_told() {
    for (dsn, expected) in [(true, Some(true)), (false, Some(false))] {
        let mut exchange = Exchange::new(Terms { dsn, ..terms("pc") });
        let mut wish = submission(1, A, small());
        wish.dsn.notify = Some(DsnNotify::default());
        exchange.take(wish);
        while let Some(out) = exchange.next_out() {
            if let Out::Command(line) = &out {
                let line = String::from_utf8_lossy(line);
                assert_eq!(line.contains("NOTIFY=NEVER"), dsn && line.starts_with("RCPT"));
            }
        }
        exchange.completed(1);
        for code in [250, 250, 250] {
            exchange.reply(Reply { code, lines: vec![String::new()] });
        }
        assert_eq!(exchange.take_settled()[0].outcomes[0].dsn, expected);
    }
}

proptest! {
    /// Whatever the server says and whenever it goes: every recipient is settled exactly once or comes back, and
    /// nobody is accepted whose message did not leave whole.
    #[test]
    fn everybody_is_settled_once(
        words in "p?c?l?",
        is_fallback in any::<bool>(),
        withheld in proptest::option::of(0_u64..6),
        sizes in proptest::collection::vec((1_usize..4, any::<bool>()), 1..6),
        codes in proptest::collection::vec(prop_oneof![6 => Just(250_u16), 3 => Just(354), 2 => Just(550), 1 => Just(451), 1 => Just(503), 1 => Just(421), 1 => Just(530)], 0..60),
        // How many things leave between two replies.
        pace in proptest::collection::vec(0_usize..12, 60),
    ) {
        let mut exchange = if is_fallback { Exchange::of_fallback(terms(&words)) } else { Exchange::new(terms(&words)) };
        let mut waiting: VecDeque<(u64, usize, bool)> =
            sizes.iter().enumerate().map(|(id, &(recipients, is_large))| (id as u64, recipients, is_large)).collect();
        let mut expected = std::collections::HashSet::new();
        let mut left_whole = std::collections::HashSet::new();
        let mut codes = codes.into_iter();
        let mut pace = pace.into_iter();
        while exchange.ending().is_none() {
            while exchange.room() > 0 && let Some((id, recipients, is_large)) = waiting.pop_front() {
                let names: Vec<&str> = ABC[..recipients].to_vec();
                for name in &names { expected.insert((id, name.to_string())); }
                exchange.take(submission(id, &names, if is_large { large() } else { small() }));
            }
            for _ in 0..pace.next().unwrap_or(99) {
                match exchange.next_out() {
                    Some(Out::End(id)) => {
                        left_whole.insert(id);
                        exchange.completed(id);
                    }
                    Some(Out::Gate(id)) if withheld == Some(id) => exchange.withhold(id),
                    _ => {}
                }
            }
            match codes.next() {
                Some(code) => exchange.reply(Reply { code, lines: vec![String::new()] }),
                None => exchange.end(Trouble::new(Stage::Data, Cause::Lost, "over")),
            }
        }
        prop_assert!(exchange.is_idle() && exchange.room() == 0 && exchange.next_out().is_none());
        for Settlement { id, outcomes } in exchange.take_settled() {
            for outcome in outcomes {
                prop_assert!(expected.remove(&(id, outcome.recipient.to_string())), "{id} {} settled twice", outcome.recipient);
                if matches!(outcome.state, State::Accepted | State::Unknown) {
                    prop_assert!(left_whole.contains(&id), "{id} {} before its last byte", outcome.state);
                }
            }
        }
        for submission in exchange.take_handed_back() {
            for address in submission.envelope.to() {
                prop_assert!(expected.remove(&(submission.id, address.to_string())), "{} came back twice", submission.id);
            }
        }
        prop_assert!(expected.is_empty(), "nobody knows of {expected:?}");
    }
}

#[test]
fn a_window_is_no_longer_than_a_server_bears_refusals() {
    let mut dialogue = Dialogue::new("pc");
    for id in 1..=8 {
        assert_eq!(dialogue.exchange.room(), 9 - id as usize, "nothing is known of the server");
        dialogue.send(id, A);
    }
    dialogue.out();
    dialogue.reply("250|250|250 ok");
    assert_eq!(dialogue.exchange.room(), 16 - 7);
    dialogue.reply("250|250|550 5.1.1 no|503 none");
    assert_eq!((dialogue.exchange.room(), dialogue.outcomes().len()), (1, 2), "seven with the six that are out");
}
