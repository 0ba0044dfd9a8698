//! A code that is typed into a browser anywhere (RFC 8628).

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::{
    Notice,
    answer::{Grant, Refusal, Reply, seconds},
    client::{Client, post, refused, unusable},
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
    let endpoint = client.settings.device_endpoint.as_deref().unwrap_or_default();
    let form = client.identify(client.scoped(Form::default()))?;
    let fields = match post(endpoint, &form, client.limit)? {
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
    let endpoint = &client.settings.token_endpoint;
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
        match post(endpoint, &client.identify(form)?, client.limit) {
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
