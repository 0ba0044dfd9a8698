//! Our own client at this server: what it sends is what arrives.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::{mpsc, watch},
};

use super::*;
use crate::{
    config::{Profile, Timeouts},
    mail::{
        Content, DsnNotify, DsnRequest, DsnReturn, Envelope, Mailbox, Outcome, Route, State, Step, Stop, Submission,
        Trouble,
    },
    smtp::{Duty, Listener, Session, Supply, Terms, converse},
};

struct Rest(Vec<Submission>);

impl Supply for Rest {
    async fn next(&mut self, _is_idle: bool) -> Option<Submission> {
        self.ready()
    }

    fn ready(&mut self) -> Option<Submission> {
        self.0.pop()
    }

    fn settled(&mut self, _outcomes: &[Outcome]) {}

    fn out_of_use(&mut self, trouble: &Trouble) {
        panic!("{trouble:?}");
    }
}

async fn serve(mut stream: DuplexStream) -> Dialogue {
    let mut dialogue = Dialogue::new(Limits::default());
    let mut block = vec![0; 777];
    dialogue.say(b"");
    loop {
        let replies = std::mem::take(&mut dialogue.replies).replace('|', "\r\n");
        if stream.write_all(replies.as_bytes()).await.is_err() {
            return dialogue;
        }
        match stream.read(&mut block).await {
            Ok(count @ 1..) => dialogue.say(&block[..count]),
            _ => return dialogue,
        }
    }
}

/// What becomes of the recipients of these contents, and what has arrived.
async fn carry(contents: &[String], change: impl FnOnce(&mut Terms)) -> (Vec<State>, Vec<String>) {
    let (ours, theirs) = duplex(4096);
    let serving = tokio::spawn(serve(theirs));
    let limit = Duration::from_secs(60);
    let timeouts = Timeouts { connect: limit, greeting: limit, command: limit, content: limit, final_reply: limit };
    let profile = Profile { timeouts, ..Profile::default() };
    let (steps, mut told) = mpsc::channel(64);
    let listener = Listener { steps: steps.clone(), wants_trace: false };
    let mut session = Session::new(Box::new(ours), None, None, false, &profile, listener);
    session.greet().await.unwrap();
    session.hello().await.unwrap();
    let mut terms = session.terms(&profile, 16).unwrap();
    assert!(terms.pipelining && terms.chunking && terms.eight_bit && terms.smtputf8 && terms.dsn && terms.offers_size);
    change(&mut terms);
    let submission = |(id, content): (usize, &String)| {
        let address = |text: &str| Mailbox::parse(text).unwrap().address;
        let recipients = ["a@x.example", "nobody@x.example", "j\u{fc}rgen@x.example"].map(address).to_vec();
        Submission {
            id: id as u64,
            message_id: "<m@x>".to_owned(),
            envelope: Envelope::new(Some(address("\"s > p\"@x.example")), recipients).unwrap(),
            content: Content::from_bytes(content.clone().into_bytes()),
            dsn: DsnRequest {
                notify: Some(DsnNotify { success: true, failure: false, delay: true }),
                ret: Some(DsnReturn::Full),
                envid: Some("m.1-x".to_owned()),
            },
            has_turn: false,
        }
    };
    let mut rest: Vec<Submission> = contents.iter().enumerate().map(submission).collect();
    rest.reverse();
    let first = rest.pop().unwrap();
    let (_keep, stop) = watch::channel(Stop::No);
    let route = Arc::new(Route { profile: None, server: String::new() });
    let mut duty = Duty { supply: Rest(rest), steps, stop, is_fallback: false, route };
    let telling = tokio::spawn(async move {
        let mut states = Vec::new();
        while let Some(step) = told.recv().await {
            match step {
                Step::Commit { ack, .. } => ack.send(()).unwrap(),
                Step::Settled { outcomes, .. } => states.extend(outcomes.iter().map(|outcome| outcome.state)),
                Step::Later { submission, .. } => panic!("{submission:?}"),
                Step::Event(_) => {}
            }
        }
        states
    });
    let ended = converse(session, terms, &timeouts, first, &mut duty).await;
    assert!(matches!(ended, crate::smtp::Ended::Done), "{ended:?}");
    drop(duty);
    (telling.await.unwrap(), serving.await.unwrap().messages)
}

const ENVELOPE: &str =
    "\"s > p\"@x.example>a@x.example,j\u{fc}rgen@x.example notify=SUCCESS,DELAY ret=FULL envid=m.1-x ";

#[tokio::test]
async fn our_client_and_our_server_understand_each_other() {
    let contents =
        ["\r\n", ".\r\n..\r\n.\r\n\r\n", "Subject: \u{fc}\r\n\r\n.\r\n", &"..x\r\n".repeat(20_000)].map(str::to_owned);
    for (pipelining, chunking) in [(true, true), (true, false), (false, true), (false, false)] {
        let change = |terms: &mut Terms| (terms.pipelining, terms.chunking) = (pipelining, chunking);
        let (mut states, messages) = carry(&contents, change).await;
        let expected = contents.iter().map(|content| {
            let flags = if content.is_ascii() { "u " } else { "8 u " };
            format!("{ENVELOPE}{flags}{content}")
        });
        assert_eq!(messages, expected.collect::<Vec<_>>(), "{pipelining} {chunking}");
        states.sort_by_key(|state| *state == State::Failed);
        assert_eq!(states, [[State::Accepted; 8].as_slice(), &[State::Failed; 4]].concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever lines a message has, and with whichever command it comes, it arrives as it was.
    #[test]
    fn messages_arrive_as_they_were(text in "[.a\n]{1,200}", chunking in any::<bool>(), times in 1_usize..4) {
        let content = text.replace('\n', "\r\n") + "\r\n";
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let contents = vec![content.clone(); times];
        let (_, messages) = runtime.block_on(carry(&contents, |terms| terms.chunking = chunking));
        prop_assert_eq!(messages, vec![format!("{ENVELOPE}u {content}"); times]);
    }
}
