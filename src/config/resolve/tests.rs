//! Who wins, who stays at home, and what is completed.

use super::*;
use crate::config::{ConfigFile, SecretSource};
use std::path::Path;

fn files(user: &str, system: &str) -> Files {
    let parse = |path: &str, text: &str| Some(ConfigFile::parse(Path::new(path), text).unwrap());
    Files { user: parse("/u/c.toml", user), system: parse("/s/c.toml", system), ..Files::default() }
}

fn request(server: Option<&str>, options: &[(&str, &str)]) -> Request {
    Request {
        profile: None,
        senders: Vec::new(),
        server: server.map(str::to_owned),
        settings: options.iter().map(|(key, value)| (key.to_string(), value.to_string(), "-o".to_owned())).collect(),
    }
}

fn server_of(url: &str) -> String {
    let profile = resolve(&request(Some(url), &[]), &Files::default(), &Environment::default()).unwrap();
    match profile.server.unwrap() {
        Server::Network { security, endpoint, is_lmtp, .. } => {
            format!("{is_lmtp} {endpoint} {}", security.as_str())
        }
        other => other.to_string(),
    }
}

#[test]
fn urls_are_completed() {
    for (url, expected) in [
        ("smtp://mx.example", "false mx.example:587 starttls"),
        ("smtps://mx.example", "false mx.example:465 tls"),
        ("smtp://mx.example:465", "false mx.example:465 tls"),
        ("smtp://127.0.0.1", "false 127.0.0.1:25 none"),
        ("smtp://localhost:2525", "false localhost:2525 none"),
        ("smtp://localhost:2525?security=starttls", "false localhost:2525 starttls"),
        ("smtp://mx.example?security=none", "false mx.example:25 none"),
        ("lmtp://localhost", "true localhost:24 none"),
        ("lmtp://mx.example", "true mx.example:24 starttls"),
        ("maildir:./outbox", "maildir:./outbox"),
    ] {
        assert_eq!(server_of(url), expected, "{url}");
    }
}

#[test]
fn keys_are_completed() {
    let complete = |keys: &str| {
        let files = files(&format!("[profiles.p]\nhost = \"mx.example\"\n{keys}"), "");
        match resolve(&Request::default(), &files, &Environment::default()).unwrap().server.unwrap() {
            Server::Network { endpoint, security, .. } => (endpoint.port, security),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(complete(""), (465, Security::Tls));
    assert_eq!(complete("port = 465"), (465, Security::Tls));
    assert_eq!(complete("port = 587"), (587, Security::Starttls));
    assert_eq!(complete("port = 25"), (25, Security::Starttls));
    assert_eq!(complete("security = \"none\""), (25, Security::None));
}

#[test]
fn precedence_and_origin() {
    let files = files(
        "[defaults]\ntimeouts.connect = \"2s\"\ntimeouts.command = \"2s\"\n[profiles.p]\nhost = \"user.example\"\ntimeouts.command = \"3s\"\n",
        "default-profile = \"p\"\n[defaults]\ntimeouts.connect = \"1s\"\ntimeouts.greeting = \"1s\"\n[profiles.p]\nhost = \"system.example\"\nusername = \"root\"\n",
    );
    let environment = Environment::from([
        ("MAILSEND_TIMEOUTS_CONTENT", "4s"),
        ("EMAIL", "ada@example.com"),
        ("MAILSEND_RETRY_JITTER", "0"),
    ]);
    let profile = resolve(&request(None, &[("timeouts.content", "5s")]), &files, &environment).unwrap();
    let origin = |key: &str| {
        profile.settings.iter().find(|setting| setting.key == key).map(|setting| setting.origin.to_string())
    };
    assert_eq!(origin("timeouts.connect").unwrap(), "/u/c.toml:2");
    assert_eq!(origin("timeouts.greeting").unwrap(), "/s/c.toml:4");
    assert_eq!(origin("timeouts.command").unwrap(), "/u/c.toml:6");
    assert_eq!(origin("timeouts.content").unwrap(), "flag -o");
    assert_eq!(origin("timeouts.final-reply").unwrap(), "default");
    assert_eq!(origin("from").unwrap(), "environment EMAIL");
    // The user's profile replaces the system's of the same name whole.
    assert_eq!(origin("username"), None);
    assert_eq!(profile.timeouts.content.as_secs(), 5);
    assert!(!profile.retry.jitter);
}

#[test]
fn a_server_url_keeps_only_the_sender() {
    let files = files(
        "[profiles.p]\nfrom = \"ada@example.com\"\nhost = \"mx.example\"\nusername = \"ada\"\npassword = { env = \"X\" }\ntls.ca-file = \"ca.pem\"\n",
        "",
    );
    let profile = resolve(&request(Some("smtp://other.example"), &[]), &files, &Environment::default()).unwrap();
    assert_eq!(profile.from.unwrap().to_string(), "ada@example.com");
    assert_eq!((profile.username, profile.password, profile.tls.ca_file, profile.name), (None, None, None, None));
}

#[test]
fn a_profile_that_was_asked_for_beats_a_server_of_the_environment() {
    let files = files("[profiles.p]\nhost = \"mx.example\"\n", "");
    let environment = Environment::from([("MAILSEND_SERVER", "smtp://other.example")]);
    let server = |profile: Option<&str>| {
        let request = Request { profile: profile.map(str::to_owned), ..Request::default() };
        resolve(&request, &files, &environment).unwrap().server.unwrap().to_string()
    };
    assert_eq!(server(None), "other.example:587");
    assert_eq!(server(Some("p")), "mx.example:465");
}

#[test]
fn a_password_stays_with_its_host_and_user() {
    let user = "[profiles.p]\nhost = \"mx.example\"\nusername = \"ada\"\npassword = { env = \"X\" }\n\
                [profiles.same]\ninherits = \"p\"\nport = 587\n\
                [profiles.host]\ninherits = \"p\"\nhost = \"evil.example\"\n\
                [profiles.user]\ninherits = \"p\"\nusername = \"bob\"\n\
                [profiles.url]\ninherits = \"p\"\nserver = \"smtps://ada@evil.example\"\n\
                [profiles.own]\ninherits = \"host\"\npassword = { env = \"Y\" }\n";
    let files = files(user, "");
    let password = |name: &str, options: &[(&str, &str)], environment: &Environment| {
        let request = Request { profile: Some(name.to_owned()), ..request(None, options) };
        resolve(&request, &files, environment).unwrap().password
    };
    let none = Environment::default();
    let x = Some(SecretSource::Env("X".to_owned()));
    assert_eq!(password("p", &[], &none), x);
    assert_eq!(password("same", &[], &none), x);
    assert_eq!(password("host", &[], &none), None);
    assert_eq!(password("user", &[], &none), None);
    assert_eq!(password("url", &[], &none), None);
    assert_eq!(password("own", &[], &none), Some(SecretSource::Env("Y".to_owned())));
    assert_eq!(password("p", &[("host", "evil.example")], &none), None);
    assert_eq!(password("p", &[("username", "bob")], &none), None);
    assert_eq!(password("p", &[], &Environment::from([("MAILSEND_HOST", "evil.example")])), None);
    assert_eq!(
        password("p", &[("host", "evil.example"), ("password", "{ fd = 3 }")], &none),
        Some(SecretSource::Fd(3))
    );
}

#[test]
fn a_default_password_stays_in_its_file() {
    let both = files(
        "[profiles.p]\nhost = \"mx.example\"\n",
        "[defaults]\npassword = { env = \"X\" }\n[profiles.s]\nhost = \"s.example\"\n",
    );
    let password = |files: &Files, name: &str| {
        let request = Request { profile: Some(name.to_owned()), ..Request::default() };
        resolve(&request, files, &Environment::default()).unwrap().password
    };
    assert_eq!(password(&both, "p"), None);
    assert_eq!(password(&both, "s"), Some(SecretSource::Env("X".to_owned())));

    // Half an identity is completed by the file of the password, and by nothing else.
    let half = files(
        "[profiles.p]\ninherits = \"s\"\nusername = \"bob\"\n",
        "[defaults]\nhost = \"mx.example\"\npassword = { env = \"X\" }\n[profiles.s]\nusername = \"ada\"\n\
         [profiles.url]\nserver = \"smtps://ada@mx.example\"\n",
    );
    assert_eq!(password(&half, "s"), Some(SecretSource::Env("X".to_owned())));
    assert_eq!(password(&half, "url"), Some(SecretSource::Env("X".to_owned())));
    assert_eq!(password(&half, "p"), None);
    for (key, value) in [("host", "evil.example"), ("username", "bob"), ("server", "smtps://ada@evil.example")] {
        for name in ["s", "url"] {
            let request = Request { profile: Some(name.to_owned()), ..request(None, &[(key, value)]) };
            let profile = resolve(&request, &half, &Environment::default()).unwrap();
            assert_eq!(profile.password, None, "{name} with {key}");
        }
    }
}

#[test]
fn the_sender_chooses_where_nobody_does() {
    let files = files(
        "default-profile = \"plain\"\n[profiles.plain]\nhost = \"plain.example\"\n\
         [profiles.work]\nhost = \"work.example\"\nmatch = [\"*@work.example\", \"<>\"]\n\
         [profiles.heir]\ninherits = \"work\"\nhost = \"heir.example\"\n\
         [profiles.boss]\nhost = \"boss.example\"\nmatch = \"boss@work.example\"\n\
         [profiles.twin]\nhost = \"twin.example\"\nmatch = [\"*@home.example\"]\n\
         [profiles.other]\nhost = \"other.example\"\nmatch = [\"*@home.example\"]\n",
        "",
    );
    let none = Environment::default();
    let chosen = |senders: &[&str], profile: Option<&str>, environment: &Environment| {
        let request = Request {
            senders: senders.iter().map(|sender| sender.to_string()).collect(),
            profile: profile.map(str::to_owned),
            ..Request::default()
        };
        resolve(&request, &files, environment).map(|profile| profile.name.unwrap()).map_err(|error| error.to_string())
    };
    assert_eq!(chosen(&["ada@work.example"], None, &none).unwrap(), "work");
    assert_eq!(chosen(&["boss@work.example"], None, &none).unwrap(), "boss");
    assert_eq!(chosen(&["x@else.example", ""], None, &none).unwrap(), "work");
    assert_eq!(chosen(&["x@else.example"], None, &none).unwrap(), "plain");
    assert_eq!(chosen(&["boss@work.example"], Some("plain"), &none).unwrap(), "plain");
    let named = Environment::from([("MAILSEND_PROFILE", "heir")]);
    assert_eq!(chosen(&["boss@work.example"], None, &named).unwrap(), "heir");
    assert!(chosen(&["x@home.example"], None, &none).unwrap_err().contains("several profiles: other, twin"));
}

#[test]
fn a_proxy_of_the_environment_is_for_others() {
    let proxy = |host: &str, toml: &str, url: &str| {
        let files = files(&format!("[profiles.p]\nhost = \"{host}\"\n{toml}"), "");
        let environment = Environment::from([("ALL_PROXY", url), ("NO_PROXY", "near.example")]);
        resolve(&Request::default(), &files, &environment).map(|profile| profile.proxy.map(|proxy| proxy.to_string()))
    };
    let url = "socks5://ada:secret@proxy.example";
    assert_eq!(proxy("mx.example", "", url).unwrap().unwrap(), "socks5://proxy.example:1080");
    for (host, toml) in [("127.0.0.1", ""), ("near.example", ""), ("mx.example", "proxy = \"none\"")] {
        assert_eq!(proxy(host, toml, url).unwrap(), None, "{host} {toml}");
    }
    let own = "proxy = \"http://own.example:3128\"";
    assert_eq!(proxy("127.0.0.1", own, url).unwrap().unwrap(), "http://own.example:3128");
    let error = proxy("mx.example", "", "gopher://x").unwrap_err().to_string();
    assert!(error.starts_with("environment ALL_PROXY: "), "{error}");
}

#[test]
fn oauth_stays_with_its_host_and_user() {
    let files = files(
        "[profiles.g]\nusername = \"ada@gmail.com\"\noauth = { provider = \"google\", client-id = \"x\" }\n\
         [profiles.h]\nhost = \"mx.example\"\nusername = \"ada\"\noauth.command = \"token\"\n\
         [profiles.m]\noauth.provider = \"microsoft\"\n",
        "",
    );
    let get = |name: &str, options: &[(&str, &str)]| {
        resolve(&Request { profile: Some(name.to_owned()), ..request(None, options) }, &files, &Environment::default())
    };
    let google = get("g", &[]).unwrap();
    assert_eq!(google.server.unwrap().to_string(), "smtp.gmail.com:465");
    assert!(google.oauth.is_some());
    assert!(get("h", &[]).unwrap().oauth.is_some());
    for options in [("host", "evil.example"), ("username", "bob")] {
        let profile = get("h", &[options]).unwrap();
        assert!(profile.oauth.is_none() && profile.dropped_password.is_some(), "{options:?}");
        assert!(get("g", &[options]).unwrap().oauth.is_none(), "{options:?}");
    }
    let error = get("m", &[]).unwrap_err().to_string();
    assert!(error.starts_with("/u/c.toml:9: oauth.client-id: "), "{error}");
    assert_eq!(get("m", &[("oauth.client-id", "x")]).unwrap().server.unwrap().to_string(), "smtp.office365.com:587");
}

#[test]
fn sockets_need_no_tls() {
    for (toml, expected) in [
        ("server = \"lmtp:///run/l\"", "lmtp:///run/l none"),
        ("socket = \"/run/s\"\nhost = \"mx.example\"", "smtp:///run/s none"),
        ("socket = \"/run/s\"\nsecurity = \"starttls\"", "smtp:///run/s starttls"),
    ] {
        let files = files(&format!("[profiles.p]\n{toml}\n"), "");
        let server = resolve(&Request::default(), &files, &Environment::default()).unwrap().server.unwrap();
        let Server::Network { security, .. } = server else { panic!("{server}") };
        assert_eq!(format!("{server} {}", security.as_str()), expected);
    }
}

#[test]
fn the_queue_is_one_for_all_profiles() {
    let files = files("[queue]\npath = \"q.sqlite\"\non-unknown = \"retry\"\n", "[queue]\nlifetime = \"1d\"\n");
    let environment = Environment::from([("MAILSEND_QUEUE_KEEP", "1h"), ("XDG_STATE_HOME", "/s")]);
    let queue = resolve_queue(&files, &environment).unwrap();
    assert_eq!(queue, resolve(&request(Some("smtp://x.example"), &[]), &files, &environment).unwrap().queue);
    assert_eq!(queue.path, Some("/u/q.sqlite".into()));
    let hours = |duration: std::time::Duration| duration.as_secs() / 3_600;
    assert_eq!((hours(queue.lifetime), hours(queue.keep), queue.retries_unknown), (24, 1, true));
    let mistaken = resolve_queue(&Files::default(), &Environment::from([("MAILSEND_QUEUE_ON_UNKNOWN", "drop")]));
    assert!(mistaken.unwrap_err().to_string().contains("MAILSEND_QUEUE_ON_UNKNOWN"));
}

#[test]
fn secrets_are_for_all_profiles() {
    let files = files("[secrets]\nstore = \"file\"\nkey = { file = \"k\" }\n", "[secrets]\nstore = \"keyutils\"\n");
    let environment = Environment::from([("MAILSEND_SECRETS_FILE", "/x/secrets.json")]);
    let secrets = resolve(&request(Some("smtp://x.example"), &[]), &files, &environment).unwrap().secrets;
    assert_eq!(secrets.store, Some(crate::config::StoreKind::File));
    assert_eq!(secrets.key, Some(SecretSource::File("/u/k".into())));
    assert_eq!(secrets.file, Some("/x/secrets.json".into()));
}

#[test]
fn a_proxy_s_password_stays_with_its_proxy() {
    let files = files(
        "[profiles.p]\nhost = \"mx.example\"\nproxy = \"socks5://ada@a.example\"\nproxy-password = { env = \"X\" }\n\
         [profiles.other]\ninherits = \"p\"\nproxy = \"socks5://ada@b.example\"\n\
         [profiles.same]\ninherits = \"p\"\nport = 587\n\
         [profiles.none]\nhost = \"mx.example\"\nproxy-password = { env = \"X\" }\n",
        "",
    );
    let environment = Environment::from([("ALL_PROXY", "http://c.example"), ("NO_PROXY", "spared.example")]);
    let resolved = |name: &str, options: &[(&str, &str)]| {
        let request = Request { profile: Some(name.to_owned()), ..request(None, options) };
        resolve(&request, &files, &environment).unwrap()
    };
    let way = |name: &str, options: &[(&str, &str)]| {
        let profile = resolved(name, options);
        (profile.passage().to_string(), profile.proxy_password.is_some())
    };
    let through = |proxy: &str, has_password: bool| (format!("through {proxy}"), has_password);
    assert_eq!(way("p", &[]), through("socks5://a.example:1080", true));
    assert_eq!(way("same", &[]), through("socks5://a.example:1080", true));
    assert_eq!(way("other", &[]), through("socks5://b.example:1080", false));
    assert_eq!(way("p", &[("proxy", "http://d.example")]), through("http://d.example:8080", false));
    assert_eq!(way("none", &[]), through("http://c.example:8080", false));
    assert_eq!(way("none", &[("proxy-password", "{ fd = 3 }")]), through("http://c.example:8080", true));
    assert_eq!(way("p", &[("proxy", "none")]).0, "");
    assert_eq!(way("none", &[("host", "localhost")]).0, "");
    // Whatever way leads to the server: a web server behind ALL_PROXY gets no password of a file.
    let socket = resolved("none", &[("socket", "/run/s")]);
    assert!(socket.web_way().proxy_password.is_none());
    // Another host has its own way, unless the profile says one for all. This machine's own is nobody else's.
    assert_eq!(resolved("p", &[]).web_way().passage_to("localhost", &environment).unwrap().to_string(), "");
    let to = |profile: &Profile, host: &str| profile.web_way().passage_to(host, &environment).unwrap().to_string();
    let plain = resolved("none", &[]);
    assert_eq!(to(&plain, "tokens.example"), "through http://c.example:8080");
    assert_eq!((to(&plain, "a.spared.example"), to(&plain, "127.0.0.1")), (String::new(), String::new()));
    assert_eq!(to(&resolved("p", &[]), "tokens.example"), "through socks5://a.example:1080");
    assert_eq!(to(&resolved("p", &[("proxy", "none")]), "tokens.example"), "");
}

#[test]
fn profiles_that_cannot_be() {
    let fail = |user: &str, request: &Request| {
        resolve(request, &files(user, ""), &Environment::default()).unwrap_err().to_string()
    };
    let named = |name: &str| Request { profile: Some(name.to_owned()), ..Request::default() };
    assert!(
        fail("[profiles.a]\ninherits = \"b\"\n[profiles.b]\ninherits = \"a\"\n", &named("a")).contains("a -> b -> a")
    );
    assert!(fail("[profiles.a]\ninherits = \"x\"\n", &named("a")).contains("does not exist"));
    assert!(fail("[profiles.a]\n[profiles.b]\n", &Request::default()).contains("none is the default"));
    assert!(fail("[profiles.work]\n", &named("wrok")).contains("no profile 'wrok'"));
    assert!(fail("[profiles.a]\nserver = \"maildir:x\"\nhost = \"y\"\n", &Request::default()).contains("only one"));
    assert!(fail("[profiles.a]\ntls.client-cert = \"x\"\n", &Request::default()).contains("needs tls.client-key"));
    let error = resolve(&request(None, &[("timeout", "1s")]), &Files::default(), &Environment::default()).unwrap_err();
    assert!(matches!(error, ConfigError::Value { hint: Some(_), .. }), "{error:?}");
}
