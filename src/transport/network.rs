//! The door to an SMTP or LMTP server: connect, secure, greet, log in, converse.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::OnceCell;

use crate::{
    config::{Profile, Security, Timeouts},
    mail::{Cause, Secret, Stage, Submission, Trouble},
    net::{Endpoint, Stream, Tls, dial},
    secret::{self, Chain, Found, Wanted},
    smtp::{Ended, Listener, Session, Terms, Work, converse},
};

/// A server and how to get to it.
#[derive(Debug)]
pub struct Network {
    is_lmtp: bool,
    endpoint: Endpoint,
    security: Security,
    profile: Arc<Profile>,
    wanted: Option<Wanted>,
    /// Made when TLS is used: reading certificates takes time.
    tls: OnceCell<Tls>,
    /// Asked for once: a descriptor can be read only once, a person should be asked only once.
    secret: OnceCell<Found>,
    /// Everybody who was asked, if nobody had it.
    asked_in_vain: OnceCell<Chain>,
}

/// A session that can carry mail.
pub struct Carrier {
    session: Session,
    terms: Terms,
    timeouts: Timeouts,
}

impl Network {
    pub(super) fn new(
        is_lmtp: bool,
        endpoint: Endpoint,
        security: Security,
        profile: Arc<Profile>,
        wanted: Option<Wanted>,
    ) -> Result<Self, Trouble> {
        let network = Self {
            is_lmtp,
            endpoint,
            security,
            profile,
            wanted,
            tls: OnceCell::new(),
            secret: OnceCell::new(),
            asked_in_vain: OnceCell::new(),
        };
        // Files that cannot be used are an error at once, not at the first connection that needs them.
        if network.security != Security::None && network.profile.tls != crate::net::TlsPolicy::default() {
            let tls = Tls::new(network.profile.tls.clone())?;
            return Ok(Self { tls: OnceCell::new_with(Some(tls)), ..network });
        }
        Ok(network)
    }

    pub(super) async fn open(&self, depth: usize, listener: &Listener) -> Result<Carrier, Trouble> {
        let mut opening = Opening::new(self);
        // Who cannot connect does not wait for a password; who has none may still learn why none would do.
        let ((), secret) = tokio::try_join!(
            async {
                opening.connect(listener).await?;
                opening.secure().await
            },
            async {
                Ok(match &self.wanted {
                    Some(_) => self.secret().await.map(|_| ()),
                    None => Ok(()),
                })
            }
        )?;
        if self.wanted.is_some() {
            // Why the login is impossible says more than why there is no password for it.
            opening.check_login()?;
            secret?;
            opening.login().await?;
        }
        let terms = opening.terms(depth)?;
        let session = opening.session.ok_or_else(|| internal("a session was opened and is not there"))?;
        Ok(Carrier { session, terms, timeouts: self.profile.timeouts })
    }

    pub(super) fn remember(&mut self, found: Found) {
        self.secret = OnceCell::new_with(Some(found));
    }

    async fn tls(&self) -> Result<&Tls, Trouble> {
        self.tls.get_or_try_init(|| async { Tls::new(self.profile.tls.clone()) }).await
    }

    async fn secret(&self) -> Result<&Found, Trouble> {
        self.secret
            .get_or_try_init(|| async {
                let wanted = self.wanted.clone().ok_or_else(|| internal("a password is wanted for nobody"))?;
                let asked = tokio::task::spawn_blocking(move || secret::get(&wanted)).await;
                let asked = asked.map_err(|error| internal(&error.to_string()))?;
                asked.map_err(|error| {
                    let mut trouble = Trouble::new(Stage::Auth, error.cause, &error.what);
                    trouble.hints = error.hints;
                    trouble.hints.extend(self.profile.dropped_password.clone());
                    // The first attempt has said it.
                    let _ = self.asked_in_vain.set(error.chain);
                    trouble
                })
            })
            .await
    }
}

/// The steps of opening a session, in their order.
pub struct Opening<'a> {
    network: &'a Network,
    /// What was learnt so far.
    pub session: Option<Session>,
    /// The address that was connected to.
    pub peer: Option<SocketAddr>,
    /// Who answered for the password.
    pub secret_source: Option<String>,
    /// Everybody who was asked for it, and what they said.
    pub secret_chain: Chain,
}

impl<'a> Opening<'a> {
    pub(super) fn new(network: &'a Network) -> Self {
        Self { network, session: None, peer: None, secret_source: None, secret_chain: Chain::new() }
    }

    /// Whether somebody is to log in.
    pub fn wants_login(&self) -> bool {
        self.network.wanted.is_some()
    }

    /// Connects, secures if that comes first, and greets.
    ///
    /// # Errors
    /// See [`dial`], [`Tls::secure`], [`Session::greet`], [`Session::hello`].
    pub async fn connect(&mut self, listener: &Listener) -> Result<(), Trouble> {
        let network = self.network;
        let timeouts = network.profile.timeouts;
        let (stream, peer) = dial(&network.endpoint, timeouts.connect).await?;
        self.peer = Some(peer);
        listener.note(format!("connected to {} ({})", network.endpoint, peer.ip())).await;
        listener.trace("**", &format!("connected to {peer}")).await;
        let local = stream.local_addr().ok().map(|address| address.ip());
        let mut stream: Stream = Box::new(stream);
        let mut info = None;
        if network.security == Security::Tls {
            let handshake = network.tls().await?.secure(stream, &network.endpoint.host);
            let (secured, facts) = match tokio::time::timeout(timeouts.command, handshake).await {
                Ok(secured) => secured?,
                Err(_) => {
                    let what = format!("no TLS handshake within {} s", timeouts.command.as_secs_f32());
                    return Err(Trouble::new(Stage::Tls, Cause::TimedOut, what)
                        .hint("if the server offers STARTTLS on this port, as on 587: -o security=starttls"));
                }
            };
            listener.trace("**", &format!("{} {}", facts.version, facts.cipher)).await;
            listener.note(format!("{}, trusted by {}", facts.version, facts.trusted_by)).await;
            (stream, info) = (secured, Some(facts));
        }
        let session = Session::new(stream, info, local, network.is_lmtp, &network.profile, listener.clone());
        let session = self.session.insert(session);
        session.greet().await?;
        session.hello().await
    }

    /// Does STARTTLS where the profile wants it.
    ///
    /// # Errors
    /// See [`Session::starttls`].
    pub async fn secure(&mut self) -> Result<(), Trouble> {
        let network = self.network;
        if network.security != Security::Starttls {
            return Ok(());
        }
        let session = self.session()?;
        session.starttls(network.tls().await?, &network.endpoint.host).await
    }

    /// Whether a login is possible at all.
    ///
    /// # Errors
    /// See [`Session::mechanisms`].
    pub fn check_login(&mut self) -> Result<(), Trouble> {
        let profile = self.network.profile.clone();
        self.session()?.mechanisms(&profile).map(|_| ())
    }

    /// Logs in.
    ///
    /// # Errors
    /// [`Cause::Configuration`] if there is no password; see [`Session::login`].
    pub async fn login(&mut self) -> Result<(), Trouble> {
        let network = self.network;
        let Some(wanted) = &network.wanted else { return Ok(()) };
        self.check_login()?;
        let found = network.secret().await.inspect_err(|_| {
            self.secret_chain = network.asked_in_vain.get().cloned().unwrap_or_default();
        })?;
        self.secret_chain.clone_from(&found.chain);
        self.secret_source = Some(found.source.clone());
        let secret: &Secret = &found.secret;
        let session = self.session()?;
        session.login(&network.profile, &wanted.user, secret).await
    }

    /// What server and profile allow.
    ///
    /// # Errors
    /// See [`Terms::new`].
    pub fn terms(&mut self, depth: usize) -> Result<Terms, Trouble> {
        let network = self.network;
        let session = self.session()?;
        Terms::new(&session.capabilities, &network.profile.extensions, network.is_lmtp, session.tls.is_some(), depth)
    }

    fn session(&mut self) -> Result<&mut Session, Trouble> {
        self.session.as_mut().ok_or_else(|| internal("a session is used before it is there"))
    }
}

impl Carrier {
    pub(super) async fn carry(self, first: Submission, work: &mut Work) -> Ended {
        converse(self.session, self.terms, &self.timeouts, first, work).await
    }
}

fn internal(what: &str) -> Trouble {
    Trouble::new(Stage::Connect, Cause::Internal, what)
}
