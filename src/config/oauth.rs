//! OAuth 2.0 in a profile: what a provider is known by, and what the profile says (RFC 6749, RFC 8628, RFC 7636).

use std::path::PathBuf;

use super::SecretSource;

/// Where access tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OAuth {
    /// A shell command that prints one.
    Command(String),
    /// We are the client ourselves.
    Client(Box<OAuthClient>),
}

/// A registered client and how it gets its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthClient {
    /// Whose login it is.
    pub provider: Provider,
    /// The way to the first token.
    pub flow: Flow,
    /// The registered name of the client; only a service account brings its own.
    pub client_id: Option<String>,
    /// Where the client's secret is kept.
    pub client_secret: Option<SecretSource>,
    /// PEM file with the client's private key, for a signed assertion instead of a secret (RFC 7523).
    pub private_key: Option<PathBuf>,
    /// PEM file with the certificate of that key, by which the provider finds it.
    pub certificate: Option<PathBuf>,
    /// JSON file of a Google service account.
    pub service_account: Option<PathBuf>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Where tokens are given out.
    pub token_endpoint: String,
    /// Where people consent, for the flow `code`.
    pub authorize_endpoint: Option<String>,
    /// Where a code for another device is given out, for the flow `device`.
    pub device_endpoint: Option<String>,
    /// Where the browser comes back to; a free port of this machine, if it names none.
    pub redirect_uri: Option<String>,
}

/// A provider with known endpoints, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Gmail and Google Workspace.
    Google,
    /// Microsoft 365 and Outlook.com.
    Microsoft,
    /// Any other, with its endpoints in the profile.
    Custom,
}

/// A way to a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// A code that is typed into a browser elsewhere (RFC 8628).
    Device,
    /// A browser on this machine comes back with a code (RFC 6749, 4.1, with PKCE, RFC 7636).
    Code,
    /// The client alone (RFC 6749, 4.4).
    ClientCredentials,
    /// A Google service account that acts for a user (RFC 7523, 2.1).
    ServiceAccount,
}

impl Provider {
    pub(super) const WORDS: [(&'static str, Provider); 3] =
        [("google", Provider::Google), ("microsoft", Provider::Microsoft), ("custom", Provider::Custom)];

    /// The word used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Provider::Google => "google",
            Provider::Microsoft => "microsoft",
            Provider::Custom => "custom",
        }
    }

    /// Host and port of its submission server.
    pub fn server(self) -> Option<(&'static str, u16)> {
        match self {
            Provider::Google => Some(("smtp.gmail.com", 465)),
            Provider::Microsoft => Some(("smtp.office365.com", 587)),
            Provider::Custom => None,
        }
    }

    /// Whose server this is, by its name.
    pub fn of_host(host: &str) -> Option<Self> {
        let host = host.to_ascii_lowercase();
        let is_below = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
        if ["gmail.com", "googlemail.com"].into_iter().any(is_below) {
            Some(Provider::Google)
        } else if ["office365.com", "outlook.com"].into_iter().any(is_below) {
            Some(Provider::Microsoft)
        } else {
            None
        }
    }
}

impl Flow {
    pub(super) const WORDS: [(&'static str, Flow); 4] = [
        ("device", Flow::Device),
        ("code", Flow::Code),
        ("client-credentials", Flow::ClientCredentials),
        ("service-account", Flow::ServiceAccount),
    ];

    /// The word used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Flow::Device => "device",
            Flow::Code => "code",
            Flow::ClientCredentials => "client-credentials",
            Flow::ServiceAccount => "service-account",
        }
    }

    /// Whether somebody has to consent once, after which a refresh token is kept.
    pub fn needs_login(self) -> bool {
        matches!(self, Flow::Device | Flow::Code)
    }
}

/// The keys `oauth.*` while they come in.
#[derive(Debug, Clone, Default)]
pub(super) struct OAuthParts {
    pub command: Option<String>,
    pub provider: Option<Provider>,
    pub flow: Option<Flow>,
    pub tenant: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<SecretSource>,
    pub private_key: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub service_account: Option<PathBuf>,
    pub scopes: Option<Vec<String>>,
    pub token_endpoint: Option<String>,
    pub authorize_endpoint: Option<String>,
    pub device_endpoint: Option<String>,
    pub redirect_uri: Option<String>,
}

impl OAuthParts {
    /// Completes what was given; `None` if nothing was.
    ///
    /// # Errors
    /// The key that is missing or too much, and why.
    pub fn complete(self) -> Result<Option<OAuth>, (&'static str, String)> {
        if let Some(command) = self.command {
            return match self.provider {
                None => Ok(Some(OAuth::Command(command))),
                Some(_) => Err(("oauth.command", "a command brings the token itself: leave oauth.provider out".into())),
            };
        }
        let Some(provider) = self.provider else {
            return match self.client_id.is_some() || self.token_endpoint.is_some() || self.service_account.is_some() {
                true => Err(("oauth.provider", "it is wanted: google, microsoft or custom".into())),
                false => Ok(None),
            };
        };
        let flow = self.flow.unwrap_or(match provider {
            _ if self.service_account.is_some() => Flow::ServiceAccount,
            _ if self.private_key.is_some() => Flow::ClientCredentials,
            Provider::Microsoft => Flow::Device,
            // Google gives no mail scope to devices.
            Provider::Google => Flow::Code,
            Provider::Custom if self.device_endpoint.is_some() => Flow::Device,
            Provider::Custom => Flow::Code,
        });
        let known = endpoints(provider, self.tenant.as_deref());
        let scopes = self.scopes.unwrap_or_else(|| default_scopes(provider, flow));
        let client = OAuthClient {
            provider,
            flow,
            token_endpoint: self
                .token_endpoint
                .or(known.token)
                .ok_or_else(|| ("oauth.token-endpoint", "provider \"custom\" needs it".to_owned()))?,
            authorize_endpoint: self.authorize_endpoint.or(known.authorize),
            device_endpoint: self.device_endpoint.or(known.device),
            client_id: self.client_id,
            client_secret: self.client_secret,
            private_key: self.private_key,
            certificate: self.certificate,
            service_account: self.service_account,
            scopes,
            redirect_uri: self.redirect_uri,
        };
        match flow {
            Flow::ServiceAccount if client.service_account.is_none() => {
                Err(("oauth.service-account", "flow \"service-account\" needs the JSON file of the account".into()))
            }
            Flow::ServiceAccount => Ok(Some(OAuth::Client(Box::new(client)))),
            _ if client.client_id.is_none() => {
                Err(("oauth.client-id", "it is wanted: the client id that the provider has registered for you".into()))
            }
            Flow::ClientCredentials if client.client_secret.is_none() && client.private_key.is_none() => {
                Err(("oauth.client-secret", "flow \"client-credentials\" needs it, or oauth.private-key".into()))
            }
            Flow::Device if client.device_endpoint.is_none() => {
                Err(("oauth.device-endpoint", "flow \"device\" needs it".into()))
            }
            Flow::Code if client.authorize_endpoint.is_none() => {
                Err(("oauth.authorize-endpoint", "flow \"code\" needs it".into()))
            }
            _ => Ok(Some(OAuth::Client(Box::new(client)))),
        }
    }
}

struct Endpoints {
    token: Option<String>,
    authorize: Option<String>,
    device: Option<String>,
}

fn endpoints(provider: Provider, tenant: Option<&str>) -> Endpoints {
    let some = |text: &str| Some(text.to_owned());
    match provider {
        Provider::Google => Endpoints {
            token: some("https://oauth2.googleapis.com/token"),
            authorize: some("https://accounts.google.com/o/oauth2/v2/auth"),
            device: some("https://oauth2.googleapis.com/device/code"),
        },
        Provider::Microsoft => {
            let at = |path: &str| {
                some(&format!("https://login.microsoftonline.com/{}/oauth2/v2.0/{path}", tenant.unwrap_or("common")))
            };
            Endpoints { token: at("token"), authorize: at("authorize"), device: at("devicecode") }
        }
        Provider::Custom => Endpoints { token: None, authorize: None, device: None },
    }
}

fn default_scopes(provider: Provider, flow: Flow) -> Vec<String> {
    let scopes: &[&str] = match (provider, flow) {
        (Provider::Google, _) => &["https://mail.google.com/"],
        (Provider::Microsoft, Flow::ClientCredentials) => &["https://outlook.office365.com/.default"],
        (Provider::Microsoft, _) => &["https://outlook.office.com/SMTP.Send", "offline_access"],
        (Provider::Custom, _) => &[],
    };
    scopes.iter().map(|scope| (*scope).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_complete_what_is_given() {
        let parts = OAuthParts {
            provider: Some(Provider::Microsoft),
            client_id: Some("id".into()),
            tenant: Some("example.com".into()),
            ..OAuthParts::default()
        };
        let Ok(Some(OAuth::Client(client))) = parts.clone().complete() else { panic!() };
        assert_eq!(client.flow, Flow::Device);
        assert_eq!(client.token_endpoint, "https://login.microsoftonline.com/example.com/oauth2/v2.0/token");
        let parts = OAuthParts { flow: Some(Flow::ClientCredentials), private_key: Some("k".into()), ..parts };
        let Ok(Some(OAuth::Client(client))) = parts.complete() else { panic!() };
        assert_eq!(client.scopes, ["https://outlook.office365.com/.default"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = |parts: OAuthParts| parts.complete().unwrap_err().0;
        let custom = || OAuthParts { provider: Some(Provider::Custom), ..OAuthParts::default() };
        assert_eq!(missing(OAuthParts { client_id: Some("x".into()), ..OAuthParts::default() }), "oauth.provider");
        assert_eq!(missing(custom()), "oauth.token-endpoint");
        let custom = || OAuthParts { token_endpoint: Some("t".into()), ..custom() };
        assert_eq!(missing(custom()), "oauth.client-id");
        let custom = || OAuthParts { client_id: Some("x".into()), ..custom() };
        assert_eq!(missing(custom()), "oauth.authorize-endpoint");
        assert_eq!(missing(OAuthParts { flow: Some(Flow::Device), ..custom() }), "oauth.device-endpoint");
        assert_eq!(missing(OAuthParts { flow: Some(Flow::ClientCredentials), ..custom() }), "oauth.client-secret");
        assert_eq!(missing(OAuthParts { flow: Some(Flow::ServiceAccount), ..custom() }), "oauth.service-account");
        assert!(OAuthParts::default().complete().unwrap().is_none());
    }

    #[test]
    fn servers_are_known_by_name() {
        assert_eq!(Provider::of_host("smtp.GMAIL.com"), Some(Provider::Google));
        assert_eq!(Provider::of_host("smtp-mail.outlook.com"), Some(Provider::Microsoft));
        assert_eq!(Provider::of_host("notgmail.com"), None);
    }
}
