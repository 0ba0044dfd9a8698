//! The door to an SMTP or LMTP server: connect, secure, greet, log in, converse.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::{Mutex, OnceCell};

use crate::{
    config::{Environment, Profile, SecretSource, Security, Timeouts},
    mail::{Cause, Secret, Stage, Submission, Trouble},
    net::{Connected, Endpoint, Passage, Tls, dial},
    secret::{self, Chain, Found, SecretError, Wanted},
    smtp::{Duty, Ended, Listener, Session, Supply, Terms, converse},
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
    secret: Mutex<Option<Found>>,
    /// Everybody who was asked, if nobody had it.
    asked_in_vain: OnceCell<Chain>,
    /// With the proxy's password, which is asked for once, too.
    passage: OnceCell<Passage>,
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
            secret: Mutex::new(None),
            asked_in_vain: OnceCell::new(),
            passage: OnceCell::new(),
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
                    Some(_) if self.profile.auth.always_takes_secret() => self.secret().await.map(|_| ()),
                    _ => Ok(()),
                })
            }
        )?;
        if opening.wants_login() {
            // Why the login is impossible says more than why there is no password for it.
            opening.check_login()?;
            secret?;
            opening.login(listener).await?;
        }
        let terms = opening.terms(depth)?;
        let session = opening.session.ok_or_else(|| internal("a session was opened and is not there"))?;
        Ok(Carrier { session, terms, timeouts: self.profile.timeouts })
    }

    pub(super) fn remember(&mut self, found: Found) {
        self.secret = Mutex::new(Some(found));
    }

    async fn tls(&self) -> Result<&Tls, Trouble> {
        self.tls.get_or_try_init(|| async { Tls::new(self.profile.tls.clone()) }).await
    }

    async fn passage(&self) -> Result<&Passage, Trouble> {
        self.passage
            .get_or_try_init(|| async {
                let profile = self.profile.clone();
                let mut passage = profile.passage();
                if profile.proxy_password.is_none() {
                    return Ok(passage);
                }
                let asked = tokio::task::spawn_blocking(move || {
                    let source = profile.proxy_password.as_ref();
                    secret::for_proxy(&mut passage, source, Environment::of_process()).map(|()| passage)
                });
                let asked = asked.await.map_err(|error| internal(&error.to_string()))?;
                asked.map_err(|error| {
                    let trouble = Trouble::new(Stage::Connect, error.cause, &error.what);
                    error.hints.into_iter().fold(trouble, Trouble::hint)
                })
            })
            .await
    }

    async fn secret(&self) -> Result<Found, Trouble> {
        let mut held = self.secret.lock().await;
        match &*held {
            Some(found) => Ok(found.clone()),
            None => Ok(held.insert(self.ask(secret::get).await?).clone()),
        }
    }

    /// A token in the place of a refused one; `None` if there is no other.
    async fn renewed(&self, stale: &Secret) -> Result<Option<Found>, Trouble> {
        let mut held = self.secret.lock().await;
        // Another session may have been here before.
        if held.as_ref().is_some_and(|found| found.secret != *stale) {
            return Ok(held.clone());
        }
        let refused = stale.clone();
        let found = self.ask(move |wanted| secret::refresh(wanted, &refused)).await?;
        Ok((found.secret != *stale).then(|| held.insert(found).clone()))
    }

    /// Asks whoever keeps the secret, on a thread that may block.
    async fn ask(
        &self,
        question: impl FnOnce(&Wanted) -> Result<Found, SecretError> + Send + 'static,
    ) -> Result<Found, Trouble> {
        let wanted = self.wanted.clone().ok_or_else(|| internal("a password is wanted for nobody"))?;
        let asked = tokio::task::spawn_blocking(move || question(&wanted)).await;
        let asked = asked.map_err(|error| internal(&error.to_string()))?;
        asked.map_err(|error| {
            let mut trouble = Trouble::new(Stage::Auth, error.cause, &error.what);
            trouble.hints = error.hints;
            trouble.hints.extend(self.profile.dropped_password.clone());
            // The first failure is the one that is told.
            let _ = self.asked_in_vain.set(error.chain);
            trouble
        })
    }
}

/// The steps of opening a session, in their order.
pub struct Opening<'a> {
    network: &'a Network,
    /// What was learnt so far.
    pub session: Option<Session>,
    /// The server's address, where it was us who looked the host up.
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
        self.network.profile.wants_login()
    }

    /// Connects, secures if that comes first, and greets.
    ///
    /// # Errors
    /// See [`dial`], [`Tls::secure`], [`Session::greet`], [`Session::hello`].
    pub async fn connect(&mut self, listener: &Listener) -> Result<(), Trouble> {
        let network = self.network;
        let timeouts = network.profile.timeouts;
        let passage = network.passage().await?;
        let Connected { mut stream, peer, local } = dial(&network.endpoint, passage, timeouts.connect).await?;
        self.peer = peer;
        let way = if passage.is_straight() { String::new() } else { format!(" {passage}") };
        let address = peer.map_or_else(String::new, |peer| format!(" ({})", peer.ip()));
        listener.note(format!("connected to {}{address}{way}", network.endpoint)).await;
        let peer = peer.map_or_else(|| network.endpoint.to_string(), |peer| peer.to_string());
        listener.trace("**", &format!("connected to {peer}{way}")).await;
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

    /// Logs in. A token that the server calls expired or invalid is renewed once, where there is somebody to ask.
    ///
    /// # Errors
    /// [`Cause::Configuration`] if there is no password; see [`Session::login`].
    pub async fn login(&mut self, listener: &Listener) -> Result<(), Trouble> {
        let network = self.network;
        if !self.wants_login() {
            return Ok(());
        }
        self.check_login()?;
        // Some mechanisms take none, and whoever keeps a secret is not asked for it in vain.
        let takes_secret = network.profile.auth.always_takes_secret();
        if !takes_secret && self.session()?.login(&network.profile, None).await? {
            return Ok(());
        }
        let found = network.secret().await.inspect_err(|_| {
            self.secret_chain = network.asked_in_vain.get().cloned().unwrap_or_default();
        })?;
        let Err(refused) = self.login_with(&found).await else { return Ok(()) };
        let can_renew = network.wanted.as_ref().is_some_and(Wanted::can_renew);
        if !can_renew || !self.session()?.token_was_refused {
            return Err(refused);
        }
        listener.note("the token was refused; another is asked for").await;
        let Some(renewed) = network.renewed(&found.secret).await? else { return Err(refused) };
        // Some servers have hung up by now.
        if let Some(session) = self.session.take() {
            session.quit().await;
        }
        self.connect(listener).await?;
        self.secure().await?;
        self.login_with(&renewed).await
    }

    async fn login_with(&mut self, found: &Found) -> Result<(), Trouble> {
        self.secret_chain.clone_from(&found.chain);
        self.secret_source = Some(found.source.clone());
        let profile = &self.network.profile;
        let wanted = self.network.wanted.as_ref();
        self.session()?
            .login(profile, Some(&found.secret))
            .await
            .map(|_| ())
            .map_err(|trouble| at_source(trouble, wanted))
    }

    /// What server and profile allow.
    ///
    /// # Errors
    /// See [`Terms::new`].
    pub fn terms(&mut self, depth: usize) -> Result<Terms, Trouble> {
        let network = self.network;
        let session = self.session()?;
        session.terms(&network.profile, depth)
    }

    fn session(&mut self) -> Result<&mut Session, Trouble> {
        self.session.as_mut().ok_or_else(|| internal("a session is used before it is there"))
    }
}

impl Carrier {
    pub(super) async fn carry(self, first: Submission, duty: &mut Duty<impl Supply>) -> Ended {
        converse(self.session, self.terms, &self.timeouts, first, duty).await
    }
}

/// Names the source of a refused password where it is not what `mailsend login` has kept.
fn at_source(mut trouble: Trouble, wanted: Option<&Wanted>) -> Trouble {
    let source = wanted.and_then(Wanted::source).filter(|source| *source != SecretSource::Keyring);
    if let Some(source) = source.filter(|_| trouble.cause == Cause::Login) {
        let is_to_store = |hint: &String| hint.contains("mailsend login") && !hint.contains("--oauth");
        if trouble.hints.iter().any(is_to_store) {
            trouble.hints.retain(|hint| !is_to_store(hint));
            trouble.hints.insert(0, format!("check the user, and the password from {source}"));
        }
    }
    trouble
}

fn internal(what: &str) -> Trouble {
    Trouble::new(Stage::Connect, Cause::Internal, what)
}
