//! A code that is typed into a browser anywhere (RFC 8628).

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::{
    Notice,
    answer::{Grant, Refusal, Reply, seconds},
    client::{Client, Place, post, refused, unusable},
    form::Form,
    pending::Pending,
};
use crate::{
    mail::{Secret, clean},
    secret::SecretError,
};

/// What is waited between two questions where the provider does not say (RFC 8628, 3.2), in seconds.
const USUAL_INTERVAL: u64 = 5;
/// What `slow_down` adds (RFC 8628, 3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// Longer than this nobody waits for a code to be typed, in seconds.
const MAX_LIFETIME: u64 = 3_600;
/// A provider that does not answer so many times in a row is gone.
const MAX_FAILURES: u8 = 3;

/// What the provider gives out for a device.
struct Code {
    device_code: Secret,
    lifetime: Duration,
    interval: Duration,
}

/// Runs the flow; `pause` waits.
///
/// # Errors
/// If the provider refuses, the code ends unused, or an answer cannot be used.
pub(super) fn run(
    client: &Client<'_>,
    show: &mut dyn FnMut(&Notice),
    pause: &mut dyn FnMut(Duration),
) -> Result<(Grant, Pending), SecretError> {
    let endpoint = Place::of_codes(client.settings);
    let form = client.identify(client.scoped(Form::default()))?;
    let fields = match post(client.wanted, endpoint, &form, client.limit)? {
        Reply::Given(fields) => fields,
        Reply::Refused(refusal) => return Err(refused(client.wanted, client.settings, endpoint, &refusal)),
    };
    let (code, notice) = read(&fields).map_err(|what| unusable(endpoint, what))?;
    show(&notice);
    poll(client, &code, pause)
}

fn read(fields: &Map<String, Value>) -> Result<(Code, Notice), &'static str> {
    let text = |names: &[&str]| {
        let text = names.iter().find_map(|name| fields.get(*name)).and_then(Value::as_str);
        text.map(str::trim).filter(|text| !text.is_empty() && text.len() < 4_096)
    };
    let device_code = text(&["device_code"]).ok_or("there is no device code in the answer")?;
    let user_code = text(&["user_code"]).ok_or("there is no code to type in the answer")?;
    // Google calls it so.
    let address =
        text(&["verification_uri", "verification_url"]).ok_or("there is no address for the code in the answer")?;
    let lifetime = fields.get("expires_in").and_then(seconds).unwrap_or(MAX_LIFETIME).min(MAX_LIFETIME);
    let interval = fields.get("interval").and_then(seconds).unwrap_or(USUAL_INTERVAL).clamp(1, MAX_LIFETIME);
    let code = Code {
        device_code: Secret::new(device_code.as_bytes().to_vec()),
        lifetime: Duration::from_secs(lifetime),
        interval: Duration::from_secs(interval),
    };
    let notice = Notice::Code {
        address: clean(address),
        code: clean(user_code),
        direct: text(&["verification_uri_complete", "verification_url_complete"]).map(clean),
        lifetime: code.lifetime,
    };
    Ok((code, notice))
}

fn poll(client: &Client<'_>, code: &Code, pause: &mut dyn FnMut(Duration)) -> Result<(Grant, Pending), SecretError> {
    let endpoint = Place::of_tokens(client.settings);
    let start = Instant::now();
    let (mut interval, mut waited, mut failures) = (code.interval, Duration::ZERO, 0);
    loop {
        if waited.max(start.elapsed()) + interval > code.lifetime {
            let refusal = Refusal::new("expired_token", "the code was not used in time", &[]);
            return Err(refused(client.wanted, client.settings, endpoint, &refusal));
        }
        pause(interval);
        waited += interval;
        let form = Form::default()
            .field("grant_type", "urn:ietf:params:oauth:grant-type:device_code")
            .secret("device_code", &code.device_code);
        let mut pending = Pending::asking();
        match post(client.wanted, endpoint, &client.identify(form)?, client.limit) {
            Ok(Reply::Given(fields)) => {
                pending.saving();
                return Ok((Grant::read(&fields), pending));
            }
            Ok(Reply::Refused(refusal)) => match refusal.code.as_str() {
                "authorization_pending" => failures = 0,
                "slow_down" => {
                    failures = 0;
                    interval += SLOWER;
                }
                _ => return Err(refused(client.wanted, client.settings, endpoint, &refusal)),
            },
            // Who does not answer is asked less often (RFC 8628, 3.5).
            Err(error) => {
                failures += 1;
                if failures == MAX_FAILURES {
                    return Err(error);
                }
                interval *= 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Environment, secret::oauth::testing};

    const CODES: &str = r#"{"device_code":"canary-device","user_code":"AB\u001bCD","verification_url":"https://x/d","interval":2,"expires_in":60}"#;

    fn refusal(code: &str) -> String {
        format!("{{\"error\":\"{code}\"}}")
    }

    /// Runs the flow against these answers; returns what came of it and the pauses, in seconds.
    fn run_with(answers: Vec<(u16, String)>) -> (Result<Grant, SecretError>, Vec<u64>, Vec<Notice>) {
        let (endpoint, thread) = testing::endpoint(answers);
        let wanted = testing::wanted(Environment::default());
        let settings = testing::settings(&endpoint, crate::config::Flow::Device);
        let client = Client::new(&wanted, &settings, None).unwrap();
        let (mut notices, mut pauses) = (Vec::new(), Vec::new());
        let ended = run(&client, &mut |notice| notices.push(notice.clone()), &mut |pause| pauses.push(pause.as_secs()));
        thread.join().unwrap();
        (ended.map(|(grant, _)| grant), pauses, notices)
    }

    #[test]
    fn it_asks_as_often_as_it_may() {
        let granted = r#"{"access_token":"a","refresh_token":"r"}"#.to_owned();
        let pending = || (400, refusal("authorization_pending"));
        let slower = (400, refusal("slow_down"));
        let (ended, pauses, notices) =
            run_with(vec![(200, CODES.into()), pending(), slower, pending(), (200, granted)]);
        assert!(ended.unwrap().access.is_ok());
        assert_eq!(pauses, [2, 2, 7, 7]);
        assert_eq!(
            notices,
            [Notice::Code {
                address: "https://x/d".into(),
                code: "AB\u{FFFD}CD".into(),
                direct: None,
                lifetime: Duration::from_secs(60)
            }]
        );
    }

    #[test]
    fn who_does_not_answer_is_asked_less_often() {
        let broken = || (502, "<html>".to_owned());
        let (ended, pauses, _) = run_with(vec![(200, CODES.into()), broken(), broken(), broken()]);
        assert!(ended.unwrap_err().what.contains("status 502"));
        assert_eq!(pauses, [2, 4, 8]);
    }

    #[test]
    fn the_end_of_a_code_and_a_no_are_final() {
        let (ended, pauses, _) = run_with(
            std::iter::once((200, CODES.to_owned()))
                .chain((0..30).map(|_| (400, refusal("authorization_pending"))))
                .collect(),
        );
        let error = ended.unwrap_err();
        assert_eq!((error.cause, pauses.len()), (crate::mail::Cause::Login, 30));
        assert!(error.what.contains("expired_token"), "{error:?}");
        let (ended, ..) = run_with(vec![(200, CODES.into()), (400, refusal("access_denied"))]);
        assert_eq!(ended.unwrap_err().cause, crate::mail::Cause::Login);
    }

    #[test]
    fn half_an_answer_is_none() {
        for half in [
            "{}",
            r#"{"device_code":"a","user_code":"b"}"#,
            r#"{"device_code":1,"user_code":"b","verification_uri":"x"}"#,
        ] {
            let (ended, ..) = run_with(vec![(200, half.to_owned())]);
            let error = ended.unwrap_err();
            assert!(error.what.contains("in the answer"), "{error:?}");
        }
    }
}
