//! Sessions that end before their time, and what they leave.

use super::*;

#[test]
fn lost_after_the_last_byte_is_unknown_before_it_deferred() {
    let mut dialogue = Dialogue::new("p");
    dialogue.send(1, ABC);
    dialogue.send(2, A);
    dialogue.out();
    dialogue.reply("250|250|550|250|354");
    dialogue.out();
    dialogue.end();
    assert_eq!(dialogue.outcomes(), ["1b failed rcpt", "1a unknown final", "1c unknown final", "2a deferred mail"]);

    let mut dialogue = Dialogue::new("p");
    dialogue.send(1, A);
    dialogue.send(2, A);
    dialogue.out();
    dialogue.reply("250|250|354");
    assert_eq!(dialogue.out_until(2), "<1 .");
    dialogue.end();
    assert_eq!(dialogue.outcomes(), ["1a deferred data", "2a deferred mail"]);

    let mut dialogue = Dialogue::new("p");
    dialogue.send(1, A);
    dialogue.send(2, A);
    dialogue.out();
    dialogue.reply("250");
    dialogue.end();
    assert_eq!((dialogue.outcomes(), dialogue.back), (vec!["1a deferred rcpt".to_owned()], vec![2]));
}

#[test]
fn in_a_window_all_that_left_is_in_doubt() {
    let mut dialogue = Dialogue::new("pc");
    for id in 1..=3 {
        dialogue.send(id, A);
    }
    dialogue.out_until(11);
    dialogue.reply("250|250|250|250");
    dialogue.end();
    let outcomes = vec!["1a accepted data".to_owned(), "2a unknown final".to_owned()];
    assert_eq!((dialogue.outcomes(), &dialogue.back), (outcomes, &vec![3]));
}

#[test]
fn what_a_session_with_success_has_not_answered_is_due_again() {
    for words in ["", "p"] {
        for (reply, outcomes, back) in
            [(None, vec![], vec![2]), (Some("250"), vec!["2a deferred rcpt".to_owned()], vec![])]
        {
            let mut dialogue = Dialogue::new(words);
            dialogue.send(1, A);
            for reply in ["250", "250", "354", "250 ok"] {
                dialogue.out();
                dialogue.reply(reply);
            }
            assert_eq!(dialogue.outcomes(), ["1a accepted data"]);
            dialogue.send(2, A);
            dialogue.out();
            reply.into_iter().for_each(|reply| dialogue.reply(reply));
            dialogue.end();
            assert_eq!((dialogue.outcomes(), dialogue.back), (outcomes, back), "{words}");
        }
    }
}

#[test]
fn a_421_defers_its_own_and_frees_what_is_behind() {
    let mut dialogue = Dialogue::new("pc");
    for id in 1..=3 {
        dialogue.send(id, ABC);
    }
    dialogue.out();
    dialogue.reply("250|250|550|421 going down");
    assert_eq!(dialogue.outcomes(), ["1b failed rcpt", "1a deferred rcpt", "1c deferred rcpt"]);
    assert_eq!(dialogue.back, [2, 3]);
    assert!(matches!(dialogue.exchange.ending(), Some(Ending::Broken(trouble)) if trouble.cause == Cause::Busy));

    let mut dialogue = Dialogue::new("pc");
    dialogue.send(1, A);
    dialogue.send(2, A);
    dialogue.out();
    dialogue.reply("250|250|250 ok|421");
    assert_eq!((dialogue.outcomes(), dialogue.back), (vec!["1a accepted data".to_owned()], vec![2]));
}

#[test]
fn a_refused_rset_believes_acceptances_only() {
    let mut dialogue = Dialogue::new("pc");
    for id in 1..=3 {
        dialogue.send(id, A);
    }
    dialogue.out();
    dialogue.reply("250|250|250|502 what|503|503|503|250|250|250|250 ok");
    assert_eq!(
        (dialogue.outcomes(), &dialogue.back),
        (vec!["1a accepted data".to_owned(), "3a accepted data".to_owned()], &vec![2])
    );
    assert!(dialogue.exchange.is_retiring() && dialogue.exchange.is_idle());
}

/// LMTP answers a content once per recipient of a transaction that nobody knows any more: nothing of it is sent.
#[test]
fn lmtp_that_refuses_rset_gets_nothing_more() {
    let mut dialogue = Dialogue::new("pl");
    dialogue.send(1, A);
    dialogue.out();
    dialogue.reply("250|550|503");
    assert_eq!(dialogue.outcomes(), ["1a failed rcpt"]);
    dialogue.send(2, A);
    assert_eq!(dialogue.out(), "RSET MAIL RCPT DATA");
    dialogue.reply("500 what");
    assert_eq!((dialogue.outcomes(), &dialogue.back), (vec![], &vec![2]));
    assert!(matches!(dialogue.exchange.ending(), Some(Ending::Broken(_))));
    assert_eq!(dialogue.out(), "");
}

#[test]
fn replies_that_do_not_fit_are_out_of_step() {
    let broken = |dialogue: &Dialogue| matches!(dialogue.exchange.ending(), Some(Ending::Broken(trouble)) if trouble.cause == Cause::Protocol);
    for (words, replies, outcome) in [
        ("p", "550|503|354", "1a deferred data"),
        ("p", "250|250|250", "1a deferred data"),
        ("p", "354", "1a deferred mail"),
        ("p", "250|354", "1a deferred rcpt"),
        ("pc", "550|503|250", "1a unknown final"),
        ("pc", "250|550|250", "1a unknown final"),
        ("pc", "250|250|354", "1a unknown final"),
    ] {
        let mut dialogue = Dialogue::new(words);
        dialogue.send(1, A);
        dialogue.out();
        dialogue.reply(replies);
        assert_eq!(dialogue.outcomes(), [outcome], "{words} {replies}");
        assert!(broken(&dialogue), "{words} {replies}");
    }
    let mut dialogue = Dialogue::new("p");
    dialogue.reply("250 nobody asked");
    assert!(broken(&dialogue));
}

#[test]
fn an_early_refusal_counts_and_ends_the_session() {
    let mut dialogue = Dialogue::new("pc");
    dialogue.exchange.take(submission(1, A, large()));
    dialogue.send(2, A);
    dialogue.out();
    dialogue.reply("250|250");
    assert_eq!(dialogue.out_until(2), "BDAT <1");
    dialogue.reply("552 5.3.4 too big");
    assert_eq!(
        (dialogue.outcomes(), &dialogue.back),
        (vec!["1a failed data".to_owned(), "2a deferred mail".to_owned()], &vec![])
    );
    assert!(dialogue.exchange.ending().is_some());
}
