//! The configuration of msmtp, as its conf.c reads it.
//!
//! A line is a command and the rest of the line, without the double quotes around it. An account begins with the
//! defaults so far, and takes from each parent what that has set itself.

use std::collections::BTreeMap;

use super::{Draft, Found, Remark, array, certificate_check_advice, is_system_trust, password_advice};
use crate::config::{Security, server::percent_encode_path};

/// Commands that have no counterpart whatever they say, with what to do instead.
const WITHOUT_COUNTERPART: [(&str, &str); 22] = [
    ("logfile", "name a file for the records of each run: --report FILE"),
    ("logfile_time_format", "records have their times in RFC 3339"),
    ("syslog", "a service's output goes to the journal by itself; or name a file: --report FILE"),
    ("aliases", "aliases are not read: write addresses out"),
    ("auto_from", "name the sender with from, or in the variable EMAIL"),
    ("maildomain", "name the sender with from, or in the variable EMAIL"),
    ("allow_from_override", "--from and --envelope-from always win over the profile"),
    ("set_from_header", "a From field is added where there is none, and never changed"),
    ("set_date_header", "a Date field is added where there is none, and never changed"),
    ("set_msgid_header", "a Message-ID is added where there is none, and never changed"),
    ("add_missing_from_header", "a From field is added where there is none"),
    ("add_missing_date_header", "a Date field is added where there is none"),
    ("remove_bcc_headers", "Bcc fields never leave"),
    ("keepbcc", "Bcc fields never leave"),
    ("undisclosed_recipients", "name recipients with --bcc"),
    ("dsn_notify", "ask for reports with each message: --dsn-notify"),
    ("dsn_return", "ask for reports with each message: --dsn-ret"),
    ("tls_priorities", "ciphers are not chosen by hand; tls.min-version = \"1.3\" is the strictest there is"),
    ("tls_min_dh_prime_bits", "keys of this kind are not used any more"),
    ("tls_crl_file", "lists of revoked certificates are not read"),
    ("tls_force_sslv3", "it has no effect in msmtp either"),
    ("ntlmdomain", "NTLM is not spoken"),
];

/// Commands that are carried over, or are looked at.
const KNOWN: [&str; 26] = [
    "host",
    "port",
    "protocol",
    "domain",
    "timeout",
    "from",
    "from_full_name",
    "auth",
    "user",
    "password",
    "passwordeval",
    "tls",
    "tls_starttls",
    "tls_trust_file",
    "tls_fingerprint",
    "tls_key_file",
    "tls_cert_file",
    "tls_certcheck",
    "tls_host_override",
    "proxy_host",
    "proxy_port",
    "source_ip",
    "socket",
    "account",
    "defaults",
    "eval",
];

/// A value and its line.
type Values = BTreeMap<String, (String, usize)>;

#[derive(Default, Clone)]
struct Account {
    name: String,
    line: usize,
    parents: Vec<String>,
    values: Values,
    /// What it, or a parent, has set itself.
    set: Vec<String>,
    /// Whether it has set something itself.
    is_own: bool,
}

/// Reads a configuration of msmtp; `netrc` has the hosts whose passwords are in `~/.netrc`.
pub fn msmtp(text: &str, netrc: &[String]) -> Found {
    let mut found = Found::default();
    let accounts = accounts(text, &mut found.remarks);
    let mut senders: Vec<String> = Vec::new();
    for account in &accounts {
        let only_names = !account.is_own && account.parents.len() == 1;
        if account.name == "default" {
            let name = if only_names { &account.parents[0] } else { &account.name };
            found.default = Some(name.clone());
            if only_names {
                continue;
            }
        }
        if let Some(draft) = draft(account, netrc, &mut senders, &mut found.remarks) {
            found.profiles.push(draft);
        }
    }
    found.remarks.sort();
    found.remarks.dedup();
    found
}

fn accounts(text: &str, remarks: &mut Vec<Remark>) -> Vec<Account> {
    let mut defaults = Values::new();
    let mut accounts: Vec<Account> = Vec::new();
    // `None` stands for the defaults; what comes before everything else is the account "default".
    let mut current: Option<Account> = None;
    let mut is_in_defaults = false;
    for (number, line) in
        text.lines().enumerate().map(|(number, line)| (number + 1, line.trim_matches([' ', '\t', '\r'])))
    {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (command, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let argument = trimmed(argument);
        let mut remark = |advice: &str| {
            remarks.push(Remark { line: number, setting: command.to_owned(), advice: advice.to_owned() });
        };
        match command {
            "defaults" => {
                accounts.extend(current.take());
                is_in_defaults = true;
                continue;
            }
            "account" => {
                accounts.extend(current.take());
                is_in_defaults = false;
                let (name, parents) =
                    argument.split_once(':').map_or((argument, ""), |(name, parents)| (name, parents));
                let mut account = Account {
                    name: trimmed(name).to_owned(),
                    line: number,
                    values: defaults.clone(),
                    ..Account::default()
                };
                for parent in parents.split(',').map(trimmed).filter(|parent| !parent.is_empty()) {
                    match accounts.iter().find(|account| account.name == parent) {
                        Some(parent) => inherit(&mut account, parent),
                        None => remark(&format!("there is no account '{parent}' above to take settings from")),
                    }
                }
                if accounts.iter().any(|known| known.name == account.name) {
                    remark(&format!("there is an account '{}' already: the first one holds", account.name));
                } else if account.name.is_empty() || account.name.chars().any(char::is_control) {
                    remark("the account has no name");
                } else {
                    current = Some(account);
                }
                continue;
            }
            "eval" => {
                remark("it takes a line from a command: write out what that prints");
                continue;
            }
            _ => {}
        }
        // Older names.
        let (command, argument) = match command {
            "connect_timeout" => ("timeout", argument),
            "tls_nocertcheck" => ("tls_certcheck", "off"),
            "tls_nostarttls" => ("tls_starttls", "off"),
            command => (command, argument),
        };
        if let Some((_, advice)) = WITHOUT_COUNTERPART.iter().find(|(known, _)| *known == command) {
            remark(advice);
        } else if !KNOWN.contains(&command) {
            remark("this setting is not known here");
        } else if is_in_defaults {
            defaults.insert(command.to_owned(), (argument.to_owned(), number));
        } else {
            if current.is_none() && accounts.is_empty() {
                let values = defaults.clone();
                current = Some(Account { name: "default".to_owned(), line: number, values, ..Account::default() });
            }
            if let Some(account) = &mut current {
                account.values.insert(command.to_owned(), (argument.to_owned(), number));
                account.set.push(command.to_owned());
                account.is_own = true;
            }
        }
    }
    accounts.extend(current);
    accounts
}

fn inherit(account: &mut Account, parent: &Account) {
    account.parents.push(parent.name.clone());
    for command in &parent.set {
        if let Some(value) = parent.values.get(command) {
            account.values.insert(command.clone(), value.clone());
            account.set.push(command.clone());
        }
    }
}

/// Without white space around it, nor one pair of double quotes.
fn trimmed(text: &str) -> &str {
    let text = text.trim_matches([' ', '\t']);
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

fn draft(account: &Account, netrc: &[String], senders: &mut Vec<String>, remarks: &mut Vec<Remark>) -> Option<Draft> {
    let value = |command: &str| account.values.get(command).map(|(value, _)| value.as_str()).filter(|v| !v.is_empty());
    // A command that stands there without an argument is on.
    let is_on = |command: &str, default: bool| match account.values.get(command).map(|(value, _)| value.as_str()) {
        None => default,
        Some(value) => !value.eq_ignore_ascii_case("off"),
    };
    let mut remark = |command: &str, advice: String| {
        let line = account.values.get(command).map_or(account.line, |(_, line)| *line);
        remarks.push(Remark { line, setting: command.to_owned(), advice });
    };
    let mut draft = Draft { name: account.name.clone(), line: account.line, ..Draft::default() };

    if let Some(from) = value("from") {
        sender(&mut draft, from, value("from_full_name"), senders, &mut remark);
    }
    let security = match (is_on("tls", false), is_on("tls_starttls", true)) {
        (false, _) => Security::None,
        (true, true) => Security::Starttls,
        (true, false) => Security::Tls,
    };
    let is_lmtp = value("protocol").is_some_and(|protocol| protocol.eq_ignore_ascii_case("lmtp"));
    let port = match value("port").map(str::parse::<u16>) {
        Some(Ok(port)) => port,
        None if is_lmtp => 24,
        None if security == Security::Tls => 465,
        None => 25,
        Some(Err(_)) => {
            remark("port", "it is no number of a port".to_owned());
            return None;
        }
    };
    let host = value("host");
    match (value("socket"), host) {
        (Some(socket), _) if is_lmtp && socket.starts_with('/') => {
            draft.set("server", format!("lmtp://{}?security={}", percent_encode_path(socket), security.as_str()));
        }
        (Some(_), _) if is_lmtp => {
            remark("socket", "the socket of an LMTP server needs its whole path: server = \"lmtp:///PATH\"".to_owned());
            return None;
        }
        (Some(socket), host) => {
            draft.set("socket", socket);
            draft.settings.extend(host.map(|host| ("host".to_owned(), host.to_owned())));
            draft.set("security", security.as_str());
        }
        (None, Some(host)) if is_lmtp => {
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            draft.set("server", format!("lmtp://{host}:{port}?security={}", security.as_str()));
        }
        (None, Some(host)) => draft.set_server(host, port, security),
        (None, None) => {
            let advice = format!("account '{}' names no host, so it is none", account.name);
            remark("account", advice);
            return None;
        }
    }
    login(&mut draft, &value, &is_on, security, &mut remark);
    let is_in_netrc = host.is_some_and(|host| netrc.iter().any(|known| known.eq_ignore_ascii_case(host)));
    let has_source = draft.has_password || draft.settings.iter().any(|(key, _)| key == "password");
    if is_in_netrc && !has_source && draft.settings.iter().any(|(key, _)| key == "username") {
        draft.set("password", "netrc");
    }
    trust(&mut draft, &value, &is_on, &mut remark);
    way(&mut draft, &value, &mut remark);
    Some(draft)
}

/// The sender, and for which ones it is chosen: the first account that fits, as msmtp chooses.
fn sender(
    draft: &mut Draft,
    from: &str,
    name: Option<&str>,
    senders: &mut Vec<String>,
    remark: &mut impl FnMut(&str, String),
) {
    if from.contains('%') {
        let advice = "what it stands for (%U, %H, …) differs from machine to machine: name the sender with from, or \
                      in the variable EMAIL";
        return remark("from", advice.to_owned());
    }
    let is_pattern = from.contains(['*', '?', '[']);
    if is_pattern && (from.contains('[') || !from.contains('@')) {
        return remark("from", "this pattern cannot be: match = [\"*@work.example\"] is the form".to_owned());
    }
    if is_pattern {
        remark("from", format!("it chooses profile {} for --from; by itself it names no sender", draft.name));
        if name.is_some() {
            remark("from_full_name", "a pattern has no name: give it with each, --from 'NAME <ADDRESS>'".to_owned());
        }
    } else {
        draft.set_from(from, name);
    }
    let key = from.to_lowercase();
    if !senders.contains(&key) {
        draft.set("match", array(&[from.to_owned()]));
        senders.push(key);
    }
}

fn login<'a>(
    draft: &mut Draft,
    value: &impl Fn(&str) -> Option<&'a str>,
    is_on: &impl Fn(&str, bool) -> bool,
    security: Security,
    remark: &mut impl FnMut(&str, String),
) {
    if !is_on("auth", false) {
        return;
    }
    if let Some(user) = value("user") {
        draft.set("username", user);
    }
    let method = value("auth").filter(|method| !method.eq_ignore_ascii_case("on"));
    if draft.set_mechanisms(method.into_iter()).is_err() {
        remark(
            "auth",
            format!("{} is not spoken; the best of what the server offers is taken", method.unwrap_or_default()),
        );
    }
    // On its own msmtp shows no password to those who listen, but it does as it is told.
    let shows = method.is_some_and(|method| matches!(method.to_ascii_lowercase().as_str(), "plain" | "login"));
    if shows && security == Security::None && value("socket").is_none() {
        draft.set("allow-plaintext-auth", "true");
        remark("auth", "the password goes unprotected, as it did: set security where the server offers TLS".to_owned());
    }
    if value("password").is_some() {
        draft.has_password = true;
        remark("password", password_advice(&draft.name));
    } else if let Some(command) = value("passwordeval") {
        draft.set_command(command);
    }
}

fn trust<'a>(
    draft: &mut Draft,
    value: &impl Fn(&str) -> Option<&'a str>,
    is_on: &impl Fn(&str, bool) -> bool,
    remark: &mut impl FnMut(&str, String),
) {
    if let Some(file) = value("tls_trust_file").filter(|file| *file != "system" && !is_system_trust(file)) {
        draft.set("tls.ca-file", file);
    }
    if value("tls_fingerprint").is_some() {
        remark(
            "tls_fingerprint",
            format!(
                "it is of the certificate; here the key is pinned, which outlives renewals: set tls.pin-sha256 as \
                 'mailsend profile check {}' prints it",
                draft.name
            ),
        );
    }
    if !is_on("tls_certcheck", true) {
        remark("tls_certcheck", certificate_check_advice(&draft.name));
    }
    if let (Some(certificate), Some(key)) = (value("tls_cert_file"), value("tls_key_file")) {
        draft.set("tls.client-cert", certificate);
        draft.set("tls.client-key", key);
    }
    if let Some(name) = value("tls_host_override") {
        draft.set("tls.server-name", name);
    }
}

fn way<'a>(draft: &mut Draft, value: &impl Fn(&str) -> Option<&'a str>, remark: &mut impl FnMut(&str, String)) {
    match value("domain") {
        Some(domain) if domain.contains('%') => {
            remark("domain", "without ehlo-name this machine's own name is given".to_owned());
        }
        Some(domain) => draft.set("ehlo-name", domain),
        None => {}
    }
    if let Some(host) = value("proxy_host") {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        draft.set("proxy", format!("socks5://{host}:{}", value("proxy_port").unwrap_or("1080")));
    }
    if let Some(address) = value("source_ip") {
        draft.set("bind-address", address);
    }
    match value("timeout") {
        Some(seconds) if seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0) => {
            for step in ["connect", "greeting", "command", "content"] {
                draft.set(&format!("timeouts.{step}"), format!("{seconds}s"));
            }
        }
        Some(word) if !word.eq_ignore_ascii_case("off") => remark("timeout", "seconds are wanted".to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Found {
        msmtp(text, &[])
    }

    fn settings(found: &Found, name: &str) -> BTreeMap<String, String> {
        found.profiles.iter().find(|draft| draft.name == name).unwrap().settings.iter().cloned().collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn accounts_take_defaults_and_parents_in_order() {
        let found = read(
            "# comment\ndefaults\ntls on\ntls_trust_file system\n\naccount one\nhost one.example\nport 587\nauth on\n\
             user ada\n\tpasswordeval \"pass show 'one'\"\naccount two\nhost two.example\ntls_starttls off\n\
             account three : one , two\nfrom ada@three.example\ndefaults\ntls off\naccount four : one\nport 26\n\
             account default : three\n",
        );
        assert_eq!(found.default.as_deref(), Some("three"));
        assert_eq!(found.remarks, []);
        let one = pairs(&[
            ("host", "one.example"),
            ("port", "587"),
            ("security", "starttls"),
            ("username", "ada"),
            ("password", "{ command = \"pass show 'one'\" }"),
        ]);
        assert_eq!(settings(&found, "one"), one);
        // The last parent wins; what no parent says comes from the defaults.
        let mut three = one.clone();
        three.extend(pairs(&[
            ("host", "two.example"),
            ("security", "tls"),
            ("from", "ada@three.example"),
            ("match", "[\"ada@three.example\"]"),
        ]));
        assert_eq!(settings(&found, "three"), three);
        let four = settings(&found, "four");
        assert_eq!((four["security"].as_str(), four["port"].as_str()), ("none", "26"));
        assert_eq!(found.profiles.len(), 4);
    }

    #[test]
    fn everything_that_can_be_carried_over_is() {
        let found = read(
            "host mx.example\ntls on\ntls_starttls off\nauth scram-sha-256\nuser \"a b\"\nfrom_full_name Ada \"L\"\n\
             from ada@x.example\ntls_trust_file ~/ca.pem\ntls_cert_file c.pem\ntls_key_file k.pem\n\
             tls_host_override other.example\ndomain here.example\ntimeout 30\nproxy_host 127.0.0.1\n\
             proxy_port 9050\nsource_ip 192.0.2.1\n",
        );
        assert_eq!((found.default.as_deref(), found.remarks.as_slice()), (Some("default"), &[][..]));
        let expected = pairs(&[
            ("from", "\"Ada \\\"L\\\"\" <ada@x.example>"),
            ("match", "[\"ada@x.example\"]"),
            ("host", "mx.example"),
            ("port", "465"),
            ("security", "tls"),
            ("username", "a b"),
            ("auth", "SCRAM-SHA-256"),
            ("tls.ca-file", "~/ca.pem"),
            ("tls.client-cert", "c.pem"),
            ("tls.client-key", "k.pem"),
            ("tls.server-name", "other.example"),
            ("ehlo-name", "here.example"),
            ("proxy", "socks5://127.0.0.1:9050"),
            ("bind-address", "192.0.2.1"),
            ("timeouts.connect", "30s"),
            ("timeouts.greeting", "30s"),
            ("timeouts.command", "30s"),
            ("timeouts.content", "30s"),
        ]);
        assert_eq!(settings(&found, "default"), expected);
    }

    #[test]
    fn what_cannot_be_carried_over_is_said_with_its_line() {
        let found = read(
            "account a\nhost mx.example\nauth ntlm\nuser ada\npassword kanarienvogel\ntls\ntls_certcheck off\n\
             tls_fingerprint 00:11\nlogfile ~/log\nfrom *@x.example\neval echo x\nnonsense 1\naccount b : nobody\n",
        );
        let lines: Vec<(usize, &str)> = found.remarks.iter().map(|r| (r.line, r.setting.as_str())).collect();
        let expected = [
            (3, "auth"),
            (5, "password"),
            (7, "tls_certcheck"),
            (8, "tls_fingerprint"),
            (9, "logfile"),
            (10, "from"),
            (11, "eval"),
            (12, "nonsense"),
            (13, "account"),
            (13, "account"),
        ];
        assert_eq!(lines, expected);
        assert!(!format!("{found:?}").contains("kanarienvogel"), "{found:?}");
        assert!(found.profiles[0].has_password && found.profiles.len() == 1);
        assert_eq!(settings(&found, "a")["match"], "[\"*@x.example\"]");
    }

    #[test]
    fn lmtp_and_sockets() {
        let found = read(
            "account a\nprotocol lmtp\nhost localhost\nport 2003\naccount b\nprotocol lmtp\nsocket /run/l m?tp\n\
             account c\nsocket ~/s\nhost mx.example\nauth plain\nuser x\n",
        );
        assert_eq!(settings(&found, "a"), pairs(&[("server", "lmtp://localhost:2003?security=none")]));
        assert_eq!(settings(&found, "b"), pairs(&[("server", "lmtp:///run/l%20m%3Ftp?security=none")]));
        assert_eq!(settings(&found, "c")["socket"], "~/s");
    }

    #[test]
    fn what_has_no_password_may_have_one_in_netrc() {
        let text = "defaults\nauth on\nuser x\naccount a\nhost a.example\naccount b\nhost b.example\naccount c\n\
                    host a.example\npasswordeval y\naccount d\nhost a.example\nauth off\n";
        let found = msmtp(text, &["A.example".to_owned()]);
        let password = |name: &str| settings(&found, name).get("password").cloned();
        assert_eq!(password("a").as_deref(), Some("netrc"));
        assert_eq!((password("b"), password("d")), (None, None));
        assert!(password("c").unwrap().contains("command"));
    }

    /// As msmtp takes the first account that fits.
    #[test]
    fn a_sender_chooses_one_account() {
        let found = read("account a\nhost a.example\nfrom x@y.example\naccount b\nhost b.example\nfrom X@y.example\n");
        assert!(settings(&found, "a").contains_key("match") && !settings(&found, "b").contains_key("match"));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(?s).{0,300}", lines in prop::collection::vec(
            "(account|defaults|host|port|tls|auth|user|from|password|passwordeval|socket|protocol|timeout)[ \"]{0,2}[a-z:,*@\"% ]{0,9}",
            0..20,
        )) {
            let _ = read(&text);
            let _ = read(&lines.join("\n"));
        }
    }
}
