//! Mutt's variables for sending: smtp_url and those around it (muttrc(5)).
//!
//! Of mutt's language `set`, `unset` and their quoting are understood, and variables of the text itself. What runs a
//! command or reads another file is said and passed over, but for a password that a command prints.

use std::collections::BTreeMap;

use super::{Draft, Found, Remark, is_system_trust, password_advice};
use crate::{
    config::{Security, server::percent_decode},
    net::Endpoint,
};

/// Name of the profile.
const NAME: &str = "mutt";

/// A longer value is none: variables that hold each other would fill the memory.
const MAX_VALUE: usize = 64 * 1024;

/// Variables that have no counterpart, with what to do instead.
const WITHOUT_COUNTERPART: [(&str, &str); 8] = [
    ("tunnel", "commands that connect are not run: let it listen, ssh -L PORT:HOST:25, and name that as server"),
    ("envelope_from_address", "name the return path with each message: --envelope-from"),
    ("dsn_notify", "ask for reports with each message: --dsn-notify"),
    ("dsn_return", "ask for reports with each message: --dsn-ret"),
    ("certificate_file", "certificates that were accepted by hand: trust one with tls.ca-file or tls.pin-sha256"),
    ("ssl_verify_host", "the name is always verified; another one is named with tls.server-name"),
    ("ssl_verify_dates", "the dates are always verified; trust an old key with tls.pin-sha256"),
    ("preconnect", "commands before connecting are not run"),
];

/// What a word of a line was made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Word {
    text: String,
    /// The command, if the word is the output of one and nothing else.
    command: Option<String>,
    /// It takes something from a command or a variable that is not known here.
    is_unknown: bool,
}

#[derive(Debug, Clone, Default)]
struct Variable {
    value: Word,
    line: usize,
}

type Variables = BTreeMap<String, Variable>;

/// Reads a configuration of mutt or neomutt.
pub fn mutt(text: &str) -> Found {
    let mut found = Found::default();
    let mut variables = Variables::new();
    for (number, line) in logical_lines(text) {
        let words = words(&line, &variables);
        let Some(command) = words.first() else { continue };
        let mut remark = |advice: &str| {
            let setting = command.text.clone();
            found.remarks.push(Remark { line: number, setting, advice: advice.to_owned() });
        };
        match command.text.as_str() {
            "set" | "unset" => assign(&words[1..], command.text == "unset", number, &mut variables),
            "source" => remark("other files are not read: import that one by its name"),
            hook if hook.ends_with("-hook") && concerns_sending(&line) => {
                remark("hooks are not run: make a profile for each sender, and choose it with match");
            }
            _ => {}
        }
    }
    draft(&variables, &mut found);
    found.default = found.profiles.first().map(|draft| draft.name.clone());
    found.remarks.sort();
    found.remarks.dedup();
    found
}

fn concerns_sending(line: &str) -> bool {
    ["smtp_", "from=", "from =", "realname"].iter().any(|word| line.contains(word))
}

/// Lines with the number at which each begins; a `\` at the end goes on with the next.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        let (at, mut so_far) = open.take().unwrap_or((number + 1, String::new()));
        match line.strip_suffix('\\').filter(|rest| !rest.ends_with('\\')) {
            Some(rest) => {
                so_far.push_str(rest);
                open = Some((at, so_far));
            }
            None => lines.push((at, so_far + line)),
        }
    }
    lines.extend(open);
    lines
}

/// Words with their quotes taken away; `=` and what follows it belong to the word, a `#` ends the line.
fn words(line: &str, variables: &Variables) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('\\', None | Some('"')) => word.get_or_insert_default().text.extend(chars.next().map(unescaped)),
            ('`', None | Some('"')) => {
                let command: String = chars.by_ref().take_while(|&c| c != '`').collect();
                let word = word.get_or_insert_default();
                word.is_unknown = true;
                // Behind a name and its `=` stands the whole value.
                if word.text.is_empty() || word.text.ends_with('=') {
                    word.command = Some(command);
                }
            }
            ('$', None | Some('"')) => {
                let has_braces = chars.next_if_eq(&'{').is_some();
                let mut name = String::new();
                while let Some(c) = chars.next_if(|&c| c.is_ascii_alphanumeric() || c == '_') {
                    name.push(c);
                }
                if has_braces {
                    chars.next_if_eq(&'}');
                }
                let word = word.get_or_insert_default();
                match variables.get(&name) {
                    Some(Variable { value, .. }) => {
                        word.is_unknown |= value.is_unknown;
                        if word.text.is_empty() || word.text.ends_with('=') {
                            word.command.clone_from(&value.command);
                        }
                        word.text.push_str(&value.text);
                        if word.text.len() > MAX_VALUE {
                            *word = Word { is_unknown: true, ..Word::default() };
                        }
                    }
                    None => word.is_unknown = true,
                }
            }
            ('#', None) if word.is_none() => break,
            (c, None) if c == ';' || c.is_whitespace() => {
                // `name = value` is one assignment.
                let is_around_equals =
                    chars.peek() == Some(&'=') || word.as_ref().is_some_and(|w| w.text.ends_with('='));
                if c == ';' || !is_around_equals {
                    words.extend(word.take());
                }
            }
            (c, _) => word.get_or_insert_default().text.push(c),
        }
    }
    words.extend(word);
    words
}

fn unescaped(c: char) -> char {
    match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        c => c,
    }
}

fn assign(words: &[Word], is_unset: bool, line: usize, variables: &mut Variables) {
    for word in words {
        let (name, text) = word.text.split_once('=').unwrap_or((&word.text, "yes"));
        let name = name.trim();
        let (name, text) = match name.strip_prefix("no") {
            Some(rest) if !word.text.contains('=') => (rest, "no"),
            _ if is_unset => (name, ""),
            _ => (name, text),
        };
        let value = Word { text: text.to_owned(), ..word.clone() };
        variables.insert(name.to_owned(), Variable { value, line });
    }
}

fn draft(variables: &Variables, found: &mut Found) {
    let value = |name: &str| variables.get(name).filter(|v| !v.value.text.is_empty() || v.value.is_unknown);
    let mut remarks = Vec::new();
    let mut remark = |name: &str, advice: String| {
        let line = variables.get(name).map_or(0, |variable| variable.line);
        remarks.push(Remark { line, setting: name.to_owned(), advice });
    };
    if let Some(url) = value("smtp_url") {
        for (name, advice) in WITHOUT_COUNTERPART.iter().filter(|(name, _)| value(name).is_some()) {
            remark(name, (*advice).to_owned());
        }
        if let Some(draft) = from_url(url, &value, &mut remark) {
            found.profiles.push(draft);
        }
    } else if value("sendmail").is_some() {
        remark("sendmail", "mail goes to a program: import the configuration of that one".to_owned());
    }
    found.remarks.extend(remarks);
}

fn from_url<'a>(
    url: &Variable,
    value: &impl Fn(&str) -> Option<&'a Variable>,
    remark: &mut impl FnMut(&str, String),
) -> Option<Draft> {
    if url.value.is_unknown {
        remark("smtp_url", "it takes something from a command or the environment: write that out".to_owned());
        return None;
    }
    let mut draft = Draft { name: NAME.to_owned(), line: url.line, ..Draft::default() };
    // What is wrong with it is not shown: there may be a password in it.
    let is_on = |name: &str, default: bool| value(name).map_or(default, |v| !v.value.text.eq_ignore_ascii_case("no"));
    let text = url.value.text.trim();
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let rest = rest.trim_end_matches('/');
    let (login, host) = rest.rsplit_once('@').map_or((None, rest), |(login, host)| (Some(login), host));
    let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
    };
    let is_loopback = Endpoint { host: host.to_owned(), port: 0 }.is_loopback();
    let security = match scheme {
        "smtps" => Security::Tls,
        // Where STARTTLS is not offered, mutt goes on without it; that is of use on this machine alone.
        "smtp" if is_on("ssl_force_tls", false) => Security::Starttls,
        "smtp" if is_on("ssl_starttls", true) && !is_loopback => Security::Starttls,
        "smtp" => Security::None,
        _ => {
            remark("smtp_url", "smtp://HOST or smtps://HOST is wanted".to_owned());
            return None;
        }
    };
    let port = match port.map(str::parse) {
        None => Some(if security == Security::Tls { 465 } else { 25 }),
        Some(port) => port.ok(),
    };
    let (Some(port), false) = (port, host.is_empty()) else {
        remark("smtp_url", "its host or its port is none".to_owned());
        return None;
    };
    sender(&mut draft, value, remark);
    draft.set_server(host, port, security);
    let (user, password) = login.map_or((None, None), |login| match login.split_once(':') {
        Some((user, password)) => (Some(user), Some(password)),
        None => (Some(login), None),
    });
    let user = user.map(|user| percent_decode(user).unwrap_or_else(|| user.to_owned()));
    match user.or_else(|| Some(value("smtp_user")?.value.text.clone())).filter(|user| !user.is_empty()) {
        Some(user) => log_in(&mut draft, &user, password.is_some(), value, remark),
        None if value("smtp_pass").is_some() => {
            remark("smtp_pass", "smtp_url names no user, so nobody logs in".to_owned());
        }
        None => {}
    }
    trust(&mut draft, value, remark);
    Some(draft)
}

fn sender<'a>(draft: &mut Draft, value: &impl Fn(&str) -> Option<&'a Variable>, remark: &mut impl FnMut(&str, String)) {
    match value("from") {
        Some(from) if from.value.is_unknown => {
            remark("from", "it takes something from a command or the environment: write that out".to_owned());
        }
        Some(from) if from.value.text.contains('<') => draft.set("from", &from.value.text),
        Some(from) => {
            let name = value("realname").filter(|name| !name.value.is_unknown).map(|name| name.value.text.as_str());
            draft.set_from(from.value.text.trim(), name);
        }
        None => {}
    }
    match value("hostname") {
        Some(name) if !name.value.is_unknown => draft.set("ehlo-name", &name.value.text),
        _ => {}
    }
}

fn log_in<'a>(
    draft: &mut Draft,
    user: &str,
    has_password: bool,
    value: &impl Fn(&str) -> Option<&'a Variable>,
    remark: &mut impl FnMut(&str, String),
) {
    draft.set("username", user);
    if let Some(command) = value("smtp_oauth_refresh_command") {
        return draft.set("oauth.command", &command.value.text);
    }
    let mechanisms = value("smtp_authenticators").map_or("", |list| list.value.text.as_str());
    if let Err(unknown) = draft.set_mechanisms(mechanisms.split(':').filter(|word| !word.is_empty())) {
        remark("smtp_authenticators", format!("{} is not spoken", unknown.join(", ")));
    }
    match value("smtp_pass").map(|pass| &pass.value) {
        Some(Word { command: Some(command), .. }) => draft.set_command(command),
        Some(Word { is_unknown: true, .. }) => {
            remark("smtp_pass", "it takes something from the environment: password = { env = \"NAME\" }".to_owned());
        }
        Some(_) => {
            draft.has_password = true;
            remark("smtp_pass", password_advice(NAME));
        }
        None if has_password => {
            draft.has_password = true;
            remark("smtp_url", password_advice(NAME));
        }
        None => {}
    }
}

fn trust<'a>(draft: &mut Draft, value: &impl Fn(&str) -> Option<&'a Variable>, remark: &mut impl FnMut(&str, String)) {
    let text = |name: &str| value(name).filter(|v| !v.value.is_unknown).map(|v| v.value.text.as_str());
    if let Some(file) = text("ssl_ca_certificates_file").filter(|file| !is_system_trust(file)) {
        draft.set("tls.ca-file", file);
    }
    // One file holds certificate and key.
    if let Some(file) = text("ssl_client_cert") {
        draft.set("tls.client-cert", file);
        draft.set("tls.client-key", file);
    }
    match text("connect_timeout").map(str::parse::<i64>) {
        Some(Ok(seconds)) if seconds > 0 => draft.set("timeouts.connect", format!("{seconds}s")),
        Some(Err(_)) => remark("connect_timeout", "seconds are wanted".to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings(text: &str) -> BTreeMap<String, String> {
        let found = mutt(text);
        assert_eq!(found.profiles.len(), 1, "{found:?}");
        found.profiles[0].settings.iter().cloned().collect()
    }

    #[test]
    fn a_url_with_what_stands_around_it() {
        let text = "# mine\nset my_user = ada@x.example\nset from='ada@x.example' realname=\"Ada \\\"L\\\"\"; set nossl_starttls\n\
                    set smtp_url=\"smtps://$my_user@mx.example\" \\\n  smtp_authenticators=plain:login # both\n\
                    set smtp_pass=\"`pass show 'mx'`\"\nset connect_timeout=20\n";
        let settings = settings(text);
        let get = |key: &str| settings.get(key).map(String::as_str);
        assert_eq!((get("host"), get("port"), get("security")), (Some("mx.example"), Some("465"), Some("tls")));
        assert_eq!(get("username"), Some("ada@x.example"));
        assert_eq!(get("from"), Some("\"Ada \\\"L\\\"\" <ada@x.example>"));
        assert_eq!(get("auth"), Some("[\"PLAIN\", \"LOGIN\"]"));
        assert_eq!(get("password"), Some("{ command = \"pass show 'mx'\" }"));
        assert_eq!(get("timeouts.connect"), Some("20s"));
        assert_eq!(mutt(text).remarks, []);
    }

    #[test]
    fn what_protects_the_connection() {
        let security = |text: &str| {
            let settings = settings(text);
            (settings["port"].clone(), settings["security"].clone())
        };
        let pair = |port: &str, security: &str| (port.to_owned(), security.to_owned());
        assert_eq!(security("set smtp_url=smtp://mx.example/"), pair("25", "starttls"));
        assert_eq!(security("set smtp_url=smtp://u%40x@mx.example:587 ssl_starttls=no"), pair("587", "none"));
        assert_eq!(security("set ssl_force_tls\nset smtp_url=smtp://[::1]:26"), pair("26", "starttls"));
        assert_eq!(security("set smtp_url=smtp://localhost"), pair("25", "none"));
    }

    #[test]
    fn a_password_goes_no_further() {
        for text in [
            "set smtp_url=smtps://ada@mx.example smtp_pass='kanarien vogel'",
            "set my_p=kanarien\nset smtp_pass=$my_p smtp_url=smtps://ada@mx.example",
            "set my_p=kanarien\nset smtp_url=smtps://ada:$my_p@mx.example/",
            "set smtp_url=smtps://ada:kanarien@@mx.example/",
            "set smtp_url=smtps://ada:kanarien@:x",
            "set smtp_url=ada:kanarien",
        ] {
            let found = mutt(text);
            assert!(!format!("{found:?}").contains("kanarien"), "{found:?}");
            assert_eq!(found.remarks.len(), 1, "{found:?}");
        }
    }

    #[test]
    fn variables_that_hold_each_other_stay_small() {
        let doubled: String = (0..60).map(|n| format!("set my_{}=$my_{n}$my_{n}\n", n + 1)).collect();
        let text = format!("set my_0=mx.example\n{doubled}set smtp_url=smtp://$my_60\n");
        assert_eq!(mutt(&text).remarks.len(), 1);
    }

    #[test]
    fn what_is_passed_over_is_said() {
        let found = mutt(
            "source ~/.mutt/accounts\nset tunnel=\"ssh x\"\nsend-hook . 'set smtp_url=smtp://x'\nset smtp_url=`x`\n",
        );
        let lines: Vec<(usize, &str)> = found.remarks.iter().map(|r| (r.line, r.setting.as_str())).collect();
        assert_eq!(lines, [(1, "source"), (2, "tunnel"), (3, "send-hook"), (4, "smtp_url")]);
        assert_eq!(mutt("set sendmail=/usr/bin/msmtp").remarks.len(), 1);
        assert_eq!(mutt("set editor=vi\n"), Found::default());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(?s).{0,300}", lines in prop::collection::vec(
            "(set|unset|source|send-hook) (smtp_url|smtp_pass|from|realname|my_x) ?=? ?(smtps?://)?[a-z:@\\[\\]$`\"'\\\\#{}/ ]{0,12}",
            0..12,
        )) {
            let _ = mutt(&text);
            let _ = mutt(&lines.join("\n"));
        }
    }
}
