//! The engine with several submissions: windows, consent, sessions that are replaced, logins that end a run.

mod gate;
mod sessions;
mod windows;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc as sync,
    },
    time::Duration,
};

use mailsend::{
    config::{Environment, Files, Request, resolve},
    delivery::{Outlet, Work, deliver},
    mail::{Content, DsnRequest, Envelope, Event, Mailbox, State, Step, Stop, Submission, Submissions},
    secret::Wanted,
    transport::Door,
};
use tokio::{
    runtime::Builder,
    sync::{mpsc, watch},
};

use crate::support::{Server, Talk};

pub fn submission(id: u64) -> Submission {
    submission_to(id, "a@y.example")
}

fn submission_to(id: u64, recipient: &str) -> Submission {
    let address = |text: &str| Mailbox::parse(text).expect("an address").address;
    Submission {
        id,
        message_id: format!("<{id}@x.example>"),
        envelope: Envelope::new(Some(address("s@x.example")), vec![address(recipient)]).expect("an envelope"),
        content: Content::from_bytes(format!("Subject: {id}\r\n\r\nhi\r\n").into_bytes()),
        dsn: DsnRequest::default(),
        has_turn: false,
    }
}

/// What came down, in its order: `commit 1 2`, `1 accepted`, `later 3`, `open`, `slowed 1 s`, `warning`.
pub type Log = Vec<String>;

/// An outlet with these options.
fn outlet(url: &str, password: bool, options: &[(&str, &str)]) -> Outlet {
    let options = options.iter().chain(&[("allow-plaintext-auth", "true")]);
    let request = Request {
        server: Some(url.to_owned()),
        settings: options.map(|(key, value)| (key.to_string(), value.to_string(), "-o".to_owned())).collect(),
        ..Request::default()
    };
    let profile = Arc::new(resolve(&request, &Files::default(), &Environment::default()).expect("a profile"));
    let wanted = password.then(|| Wanted {
        user: "ada".to_owned(),
        host: "127.0.0.1".to_owned(),
        flag: None,
        environment: Environment::from([("MAILSEND_PASSWORD", "hunter2")]),
        profile: None,
        oauth: None,
        secrets: mailsend::config::Secrets::default(),
        web: mailsend::config::WebWay::default(),
        profile_name: None,
        may_prompt: false,
    });
    Outlet::new(Arc::new(Door::new(profile.clone(), wanted).expect("a door")), &profile)
}

/// Runs the engine over `count` submissions; `consent` says whether a commit is answered.
fn run(url: &str, password: bool, limits: [usize; 2], count: u64, consent: impl Fn(&[u64]) -> bool) -> Log {
    let mut outlet = outlet(url, password, &[]);
    [outlet.pool.max_connections, outlet.pool.pipeline_depth] = limits;
    let mut feed = Feed { submissions: (1..=count).map(submission).collect(), ..Feed::default() };
    feed.run(vec![outlet], consent)
}

/// A feed that hands in again what comes back.
#[derive(Default)]
pub struct Feed {
    pub submissions: Vec<Submission>,
    /// What is deferred is due again so often.
    pub retries: usize,
    /// A submission is only handed in once the one before is settled, and this has happened.
    pub one_by_one: Option<Box<dyn Fn(u64)>>,
    /// Names of the servers that took something, with how many.
    pub routes: std::collections::BTreeMap<String, usize>,
}

impl Feed {
    pub fn run(&mut self, outlets: Vec<Outlet>, consent: impl Fn(&[u64]) -> bool) -> Log {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (up, submissions) = async_channel::bounded(64);
            let (down, mut steps) = mpsc::channel(64);
            let (_keep, stop) = watch::channel(Stop::No);
            let work = Work { submissions: Submissions::new(submissions), steps: down, stop };
            let mut open = self.submissions.len();
            let first = if self.one_by_one.is_some() { 1 } else { open };
            let all = std::mem::take(&mut self.submissions);
            let mut waiting = all.clone().into_iter();
            for submission in waiting.by_ref().take(first) {
                up.send(submission).await.expect("room");
            }
            let engine = tokio::spawn(deliver(outlets, false, work));
            let mut log = Log::new();
            while let Some(step) = steps.recv().await {
                match step {
                    Step::Commit { ids, ack } => {
                        log.push(ids.iter().fold("commit".to_owned(), |text, id| format!("{text} {id}")));
                        if consent(&ids) {
                            ack.send(()).expect("somebody waits");
                        }
                    }
                    Step::Settled { id, outcomes, route } => {
                        for outcome in outcomes {
                            log.push(format!("{id} {}", outcome.state));
                            assert!(outcome.state != State::Unknown || outcome.trouble.is_some());
                            if outcome.state == State::Accepted {
                                *self.routes.entry(route.server.clone()).or_default() += 1;
                            }
                            if outcome.state == State::Deferred && self.retries > 0 {
                                self.retries -= 1;
                                let again = all.iter().find(|submission| submission.id == id).expect("one of ours");
                                up.send(again.clone()).await.expect("room");
                            } else {
                                open -= 1;
                                if let Some(happens) = &self.one_by_one
                                    && let Some(next) = waiting.next()
                                {
                                    // The engine goes on meanwhile.
                                    tokio::time::sleep(Duration::from_millis(20)).await;
                                    happens(next.id);
                                    up.send(next).await.expect("room");
                                }
                            }
                        }
                    }
                    Step::Later { submission, at } => {
                        log.push(format!("later {}", submission.id));
                        let up = up.clone();
                        tokio::spawn(async move {
                            if let Some(at) = at {
                                tokio::time::sleep_until(at).await;
                            }
                            // The engine may be gone.
                            let _ = up.send(submission).await;
                        });
                    }
                    Step::Event(Event::Breaker { state, .. }) => log.push(state.as_str().to_owned()),
                    Step::Event(Event::Slowed { pause, .. }) => log.push(format!("slowed {} s", pause.as_secs())),
                    Step::Event(Event::Warning(text)) => log.push(text),
                    Step::Event(_) => {}
                }
                if open == 0 {
                    up.close();
                }
            }
            engine.await.expect("the engine ends well");
            log
        })
    }
}

/// How many lines are this.
fn count(log: &Log, line: &str) -> usize {
    log.iter().filter(|known| known.ends_with(line)).count()
}

/// Sessions and depth.
const ONE_SESSION: [usize; 2] = [1, 16];

/// Greets, and takes so many messages, each whole before the next; then hears QUIT.
fn take(talk: &mut Talk, count: usize) {
    talk.greet("");
    for _ in 0..count {
        talk.take_one(1);
    }
    talk.expect("QUIT");
}
