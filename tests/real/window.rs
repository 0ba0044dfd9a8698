//! Windows of several messages, as a real server takes them.

use std::sync::Arc;

use mailsend::{
    config::{Environment, Files, Request, Secrets, WebWay, resolve},
    delivery::Outlet,
    mail::{Envelope, Mailbox},
    secret::Wanted,
    transport::Door,
};

use super::{Desk, unique};
use crate::{
    engine::{Feed, submission},
    support::real::{PASSWORD, exim},
};

#[test]
fn whose_recipients_are_all_refused_leaves_no_sender_to_the_next() {
    let Some(exim) = exim() else { return };
    let desk = Desk::at_exim(exim);
    let ca = desk.sandbox.path("ca.pem").display().to_string();
    let request = Request {
        server: Some(format!(
            "smtp://{}@localhost:{}?security=starttls",
            desk.user.replace('@', "%40"),
            exim.said("submission")
        )),
        settings: vec![("tls.ca-file".to_owned(), ca, "-o".to_owned())],
        ..Request::default()
    };
    let profile = Arc::new(resolve(&request, &Files::default(), &Environment::default()).expect("a profile"));
    let wanted = Wanted {
        user: desk.user.clone(),
        host: "localhost".to_owned(),
        flag: None,
        environment: Environment::from([("MAILSEND_PASSWORD", PASSWORD)]),
        profile: None,
        oauth: None,
        secrets: Secrets::default(),
        web: WebWay::default(),
        profile_name: None,
        may_prompt: false,
    };
    let mut outlet = Outlet::new(Arc::new(Door::new(profile.clone(), Some(wanted)).expect("a door")), &profile);
    outlet.pool.max_connections = 1;
    let (first, last) = (unique("first"), unique("last"));
    let address = |text: &str| Mailbox::parse(text).expect("an address").address;
    let submissions = [("one", first.as_str()), ("two", "refused@example.test"), ("three", last.as_str())];
    let submissions = (1..).zip(submissions).map(|(id, (from, to))| {
        let from = address(&format!("{from}@example.test"));
        let mut submission = submission(id);
        submission.envelope = Envelope::new(Some(from), vec![address(to)]).expect("an envelope");
        submission
    });
    let mut feed = Feed { submissions: submissions.collect(), ..Feed::default() };
    let log = feed.run(vec![outlet], |_| true);
    assert_eq!(log, ["commit 1 2 3", "1 accepted", "2 failed", "3 accepted"], "one window");
    for (to, from) in [(&first, "one"), (&last, "three")] {
        assert_eq!(exim.mail_for(to).header("return-path"), format!("<{from}@example.test>"));
    }
}
