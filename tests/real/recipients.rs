//! Some are refused, some are not.

use super::{Desk, session, unique};
use crate::support::real::postfix;

#[test]
fn the_others_get_it() {
    let Some(postfix) = postfix() else { return };
    let desk = Desk::at_postfix(postfix);
    let (first, refused, last) = (unique("first"), unique("refused"), unique("last"));
    let run = desk.trace(&[&first, &refused, &last, "--body", "hi"], b"").exits(1);
    run.says(&refused).says("550 5.1.1");
    assert_eq!(desk.outcome(&first), ("accepted".into(), "data".into(), 250));
    assert_eq!(desk.outcome(&refused), ("failed".into(), "rcpt".into(), 550));
    assert_eq!(desk.outcome(&last), ("accepted".into(), "data".into(), 250));
    let records = std::fs::read_to_string(desk.sandbox.path("run.jsonl")).expect("records");
    assert!(records.contains("\"enhanced\":\"5.1.1\"") && records.contains("\"enhanced\":\"2.0.0\""), "{records}");
    postfix.postfix.wait_for(&first);
    postfix.postfix.wait_for(&last);
}

#[test]
fn nobody_is_left_and_nothing_is_sent() {
    let Some(postfix) = postfix() else { return };
    for chunking in ["off", "prefer"] {
        let desk = Desk::at_postfix(postfix);
        let (one, two) = (unique("refused"), unique("refused"));
        let chunking_option = format!("extensions.chunking={chunking}");
        // Large, so that it is not sent before somebody wants it.
        let text = "x".repeat(70) + "\n";
        desk.trace(&[&one, &two, "-o", &chunking_option], text.repeat(2_000).as_bytes()).exits(67);
        assert_eq!(desk.outcome(&one), ("failed".into(), "rcpt".into(), 550));
        let lines = session(postfix, &one);
        let end = lines.last().expect("an end");
        assert!(end.contains("rcpt=0/2") && !end.contains("data=1") && !end.contains("bdat=1"), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains(": client=")), "{lines:#?}");
    }
}

#[test]
fn who_is_put_off_is_due_again() {
    let Some(postfix) = postfix() else { return };
    let desk = Desk::at_postfix(postfix);
    let later = unique("later");
    desk.trace(&[&later, "--body", "hi"], b"").exits(75).says("451 4.7.1");
    assert_eq!(desk.outcome(&later), ("deferred".into(), "rcpt".into(), 451));
}
