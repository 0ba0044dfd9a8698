//! `mailsend profile check`: what a server says of itself, and whether the login works.

use std::{fmt::Write, sync::Arc, time::SystemTime};

use clap::{Args, ValueHint};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    CliError, Exit,
    args::{CommonArgs, WhereArgs},
    printed, runtime, signals, ui,
};
use crate::{
    config::{Profile, Server, resolve},
    mail::{Cause, Event, Stage, Step, Trouble, clean},
    net::{Certificate, TlsInfo},
    secret::{self, Wanted},
    smtp::{Capabilities, Listener},
    transport::{Door, Opening},
};

/// Connect, and say what the server offers and whether the login works
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The profile; the default one if none is named
    #[arg(value_name = "PROFILE", conflicts_with = "profile")]
    name: Option<String>,
    /// Send a test message to this address, too
    #[arg(long, value_name = "ADDRESS", value_hint = ValueHint::EmailAddress)]
    send: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// What was learnt, and where it ended.
#[derive(Debug, Default, Serialize)]
struct Findings {
    profile: Option<String>,
    server: String,
    security: Option<&'static str>,
    /// What is in between, or chosen.
    way: Option<String>,
    address: Option<String>,
    greeting: Option<String>,
    tls: Option<TlsFindings>,
    extensions_before_tls: Option<Vec<String>>,
    extensions: Vec<String>,
    mechanisms: Vec<String>,
    user: Option<String>,
    #[serde(skip)]
    wants_login: bool,
    secret_source: Option<String>,
    /// Everybody who was asked for the password.
    secrets: Vec<Asked>,
    /// The mechanism that worked.
    login: Option<&'static str>,
    /// Whether the server has refused it.
    #[serde(rename = "login_refused")]
    is_refused: bool,
    error: Option<String>,
    hints: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Asked {
    source: String,
    said: String,
}

#[derive(Debug, Serialize)]
struct TlsFindings {
    version: &'static str,
    cipher: String,
    trusted_by: &'static str,
    subject: Option<String>,
    issuer: Option<String>,
    names: Vec<String>,
    not_before: Option<String>,
    not_after: Option<String>,
    days_left: Option<i64>,
    pin_sha256: Option<String>,
}

/// Checks a profile.
pub fn check(args: &CheckArgs) -> Result<Exit, CliError> {
    let context = args.common.context()?;
    let mut place = args.place.clone();
    place.profile = place.profile.or_else(|| args.name.clone());
    let profile = resolve(&place.request()?, &context.files, &context.environment)?;
    let Some(server) = profile.server.clone() else {
        return Err(CliError::new(Exit::Configuration, "no server is named and no profile is set up")
            .hint("mailsend profile add NAME --server smtps://USER@HOST --from ADDRESS")
            .hint("or name a server: mailsend profile check --server smtp://HOST"));
    };
    let wanted = place.wanted(&profile, &context);
    let mut findings = Findings {
        profile: profile.name.clone(),
        server: server.to_string(),
        security: match &server {
            Server::Network { security, .. } => Some(security.as_str()),
            _ => None,
        },
        way: way(&profile),
        user: wanted.as_ref().map(|wanted| wanted.user.clone()),
        wants_login: profile.wants_login(),
        ..Findings::default()
    };
    let trouble = examine(&profile, wanted, context.wants_trace, &mut findings)?;
    if let Some(trouble) = &trouble {
        findings.is_refused = trouble.stage == Stage::Auth && trouble.cause == Cause::Login;
        findings.error = Some(trouble.to_string());
        findings.hints.clone_from(&trouble.hints);
    }
    if args.json {
        let text = serde_json::to_string_pretty(&findings).unwrap_or_default() + "\n";
        printed(ui::print(&text))?;
    } else {
        printed(ui::print(&findings.text()))?;
    }
    match (trouble, &args.send) {
        (Some(trouble), _) if args.json => Ok(Exit::of_trouble(&trouble)),
        (Some(trouble), _) => Err(trouble.into()),
        (None, None) => Ok(Exit::Success),
        (None, Some(address)) => super::send::test_message(address, &place, &args.common),
    }
}

/// The way to a server, if it is not the straight one.
pub(super) fn way(profile: &Profile) -> Option<String> {
    let passage = profile.passage();
    (matches!(profile.server, Some(Server::Network { .. })) && !passage.is_straight()).then(|| passage.to_string())
}

/// Opens a session as far as it goes. `Err` is for what has nothing to do with the server.
fn examine(
    profile: &Profile,
    wanted: Option<Wanted>,
    wants_trace: bool,
    findings: &mut Findings,
) -> Result<Option<Trouble>, CliError> {
    let mut door = match Door::new(Arc::new(profile.clone()), wanted.clone()) {
        Ok(door) => door,
        Err(trouble) => return Ok(Some(trouble)),
    };
    if let Some(wanted) = wanted.filter(|wanted| wanted.may_ask_somebody() && profile.auth.always_takes_secret()) {
        // Without a password everything but the login can still be looked at.
        if let Ok(found) = secret::get(&wanted) {
            door.remember(found);
        }
    }
    let Some(mut opening) = door.opening() else { return Ok(None) };
    signals::settle_before_dying();
    let runtime = runtime()?;
    let trouble = runtime.block_on(open_and_show(&mut opening, wants_trace)).err();
    findings.learn(&opening);
    if let Some(session) = opening.session.take() {
        runtime.block_on(session.quit());
    }
    runtime.shutdown_background();
    Ok(trouble)
}

/// Opens a session as far as it goes, and shows the dialogue where that is wanted.
pub(super) async fn open_and_show(opening: &mut Opening<'_>, wants_trace: bool) -> Result<(), Trouble> {
    let (steps, mut events) = mpsc::channel(64);
    let listener = Listener { steps, wants_trace };
    let show = |step: Step| {
        if let Step::Event(Event::Trace(line)) = step {
            ui::tell(&line);
        }
    };
    let steps = open(opening, &listener);
    tokio::pin!(steps);
    let ended = loop {
        tokio::select! {
            biased;
            event = events.recv() => event.into_iter().for_each(show),
            ended = &mut steps => break ended,
        }
    };
    while let Ok(step) = events.try_recv() {
        show(step);
    }
    ended
}

async fn open(opening: &mut Opening<'_>, listener: &Listener) -> Result<(), Trouble> {
    opening.connect(listener).await?;
    opening.secure().await?;
    if opening.wants_login() {
        opening.login(listener).await?;
    }
    opening.terms(1).map(|_| ())
}

impl Findings {
    fn learn(&mut self, opening: &Opening<'_>) {
        self.address = opening.peer.map(|peer| peer.ip().to_string());
        self.secret_source.clone_from(&opening.secret_source);
        let asked = |(source, said): &(String, String)| Asked { source: source.clone(), said: said.clone() };
        self.secrets = opening.secret_chain.iter().map(asked).collect();
        let Some(session) = &opening.session else { return };
        let lines = |capabilities: &Capabilities| capabilities.lines().collect::<Vec<_>>();
        self.greeting = session.greeting.as_ref().map(ToString::to_string);
        self.tls = session.tls.as_ref().map(TlsFindings::new);
        self.extensions_before_tls = session.before_tls.as_ref().map(lines);
        self.extensions = lines(&session.capabilities);
        self.mechanisms = session.capabilities.mechanisms();
        self.mechanisms.dedup();
        self.login = session.login.map(|mechanism| mechanism.as_str());
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{name:<14}{}", clean(value));
        };
        if let Some(profile) = &self.profile {
            line("profile", profile);
        }
        line(
            "server",
            &match self.security {
                Some(security) => format!("{}, security {security}", self.server),
                None => self.server.clone(),
            },
        );
        if let Some(way) = &self.way {
            line("way", way);
        }
        if let Some(address) = &self.address {
            line("connected to", address);
        }
        if let Some(greeting) = &self.greeting {
            line("greeting", greeting);
        }
        for (number, offer) in self.extensions_before_tls.iter().flatten().enumerate() {
            line(if number == 0 { "before TLS" } else { "" }, offer);
        }
        if let Some(tls) = &self.tls {
            line("TLS", &format!("{}, {}", tls.version, tls.cipher));
            line("trusted by", tls.trusted_by);
            for (name, value) in [("certificate", &tls.subject), ("issued by", &tls.issuer)] {
                if let Some(value) = value {
                    line(name, value);
                }
            }
            line("names", &tls.names.join(", "));
            if let (Some(from), Some(until), Some(days)) = (&tls.not_before, &tls.not_after, tls.days_left) {
                line("valid", &format!("{from} to {until}, {days} days left"));
            }
            if let Some(pin) = &tls.pin_sha256 {
                line("key", &format!("pin-sha256 = \"{pin}\""));
            }
        }
        for (number, offer) in self.extensions.iter().enumerate() {
            line(if number == 0 { "offers" } else { "" }, offer);
        }
        if !self.mechanisms.is_empty() {
            line("logins", &self.mechanisms.join(", "));
        }
        match (&self.user, &self.login) {
            (Some(user), Some(mechanism)) => line("login", &format!("{user} by {mechanism} works")),
            (Some(user), None) if self.is_refused => line("login", &format!("{user}: refused")),
            (Some(user), None) => line("login", &format!("{user}: not done")),
            (None, Some(mechanism)) => line("login", &format!("{mechanism} works")),
            (None, None) if self.is_refused => line("login", "refused"),
            (None, None) if self.wants_login && self.security.is_some() => line("login", "not done"),
            (None, _) if self.security.is_some() => line("login", "none: the profile names no user"),
            (None, _) => line("login", "none: it needs no login"),
        }
        if let Some(source) = &self.secret_source {
            line("password", &format!("from {source}"));
        }
        for (number, asked) in self.secrets.iter().enumerate() {
            line(if number == 0 { "secrets" } else { "" }, &format!("{}: {}", asked.source, asked.said));
        }
        text
    }
}

impl TlsFindings {
    fn new(info: &TlsInfo) -> Self {
        let certificate = info.certificate.as_ref();
        let date = |pick: fn(&Certificate) -> SystemTime| certificate.map(pick).and_then(day);
        Self {
            version: info.version,
            cipher: info.cipher.clone(),
            trusted_by: info.trusted_by,
            subject: certificate.map(|certificate| certificate.subject.clone()),
            issuer: certificate.map(|certificate| certificate.issuer.clone()),
            names: certificate.map(|certificate| certificate.names.clone()).unwrap_or_default(),
            not_before: date(|certificate| certificate.not_before),
            not_after: date(|certificate| certificate.not_after),
            days_left: certificate.and_then(|certificate| days_until(certificate.not_after)),
            pin_sha256: certificate.map(Certificate::pin),
        }
    }
}

fn day(time: SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(|time| time.strftime("%F").to_string())
}

fn days_until(time: SystemTime) -> Option<i64> {
    let until = Timestamp::try_from(time).ok()?;
    Some((until.as_second() - Timestamp::now().as_second()).div_euclid(86_400))
}
