//! Profiles out of the configurations of msmtp, git and mutt: that they are taken over, and that mail goes out by them.

use std::fs;

use crate::support::{Sandbox, Server, Talk, authority, traces_of};

/// As it stands in many a home folder; hosts and ports are those of the test.
const MSMTPRC: &str = r#"# Set default values for all following accounts.
defaults
auth           on
tls            on
tls_trust_file ca.pem
logfile        ~/.msmtp.log

# Gmail
account        gmail
host           localhost
port           GMAIL
from           ada@gmail.example
user           ada@gmail.example
passwordeval   "printf '%s\n' 'app password'"

# Work: one server, several senders
account        work-server
host           localhost
port           WORK
tls_starttls   off
auth           plain
user           "WORK\ada"
passwordeval   cat ~/.work-password
timeout        20

account        work : work-server
from           *@work.example
from_full_name "Ada Lovelace"
tls_fingerprint 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33

# The relay in the cellar
account        relay
host           127.0.0.1
port           RELAY
tls            off
auth           off
from           root@home.example
syslog         LOG_MAIL

account default : gmail
"#;

fn base64(text: &str) -> String {
    encodify::base64::STANDARD.encode(text)
}

#[track_caller]
fn takes_login(talk: &mut Talk, login: &str) {
    let line = talk.answer("AUTH PLAIN ", "235 welcome");
    assert_eq!(line, format!("AUTH PLAIN {}", base64(login)));
    talk.take_one(1);
}

#[test]
fn an_msmtprc_with_three_accounts_sends_as_before() {
    let gmail = Server::new(|talk, _| {
        talk.greet("STARTTLS");
        talk.answer("STARTTLS", "220 go");
        assert!(talk.tls(&authority().good));
        talk.hello("AUTH PLAIN");
        takes_login(talk, "\0ada@gmail.example\0app password");
    });
    let work = Server::new(|talk, _| {
        assert!(talk.tls(&authority().good));
        talk.greet("AUTH LOGIN PLAIN");
        takes_login(talk, "\0WORK\\ada\0geheim");
    });
    let relay = Server::new(|talk, _| {
        talk.greet("AUTH PLAIN");
        talk.take_one(1);
    });
    let sandbox = Sandbox::new();
    sandbox.file("ca.pem", &authority().ca);
    sandbox.file(".work-password", "geheim\n");
    let text = ["GMAIL", "WORK", "RELAY"]
        .iter()
        .zip([gmail.port, work.port, relay.port])
        .fold(MSMTPRC.to_owned(), |text, (name, port)| {
            text.replace(&format!("           {name}\n"), &format!("           {port}\n"))
        });
    let file = sandbox.file(".msmtprc", &text);
    sandbox.config("# by hand\n[defaults]\nreply-to = \"list@x.example\" # kept\n");

    let dry = sandbox.run(&["profile", "import", "--dry-run"]).exits(0);
    assert!(
        dry.stdout.contains("[profiles.gmail]\n") && dry.stdout.contains("default-profile = \"gmail\"\n"),
        "{dry:#?}"
    );
    assert!(!fs::read_to_string(sandbox.path("config.toml")).expect("a file").contains("gmail"));

    let run = sandbox.run(&["profile", "import"]).exits(0);
    for words in [
        "imported profile 'gmail'",
        "imported profile 'relay'",
        "the one used when none is named",
        &format!("{file}:6: logfile: name a file for the records of each run: --report FILE"),
        &format!("{file}:27: from: it chooses profile work for --from"),
        &format!("{file}:28: from_full_name: "),
        &format!("{file}:29: tls_fingerprint: "),
        &format!("{file}:38: syslog: "),
    ] {
        assert!(run.stderr.contains(words), "'{words}' is not said in {run:#?}");
    }
    assert!(!run.stderr.contains("next: mailsend login"), "{run:#?}");
    let config = fs::read_to_string(sandbox.path("config.toml")).expect("a file");
    assert!(config.contains("# by hand\n[defaults]\nreply-to = \"list@x.example\" # kept\n"), "{config}");

    let mail = ["a@y.example", "--body", "hi"];
    sandbox.run(&mail).exits(0);
    sandbox.run(&[&mail[..], &["--from", "boss@work.example"]].concat()).exits(0);
    sandbox.run(&[&mail[..], &["--from", "root@home.example"]].concat()).exits(0);
    let gmail = gmail.only();
    assert!(gmail.commands.iter().any(|line| line.starts_with("MAIL FROM:<ada@gmail.example>")), "{gmail:?}");
    assert!(work.only().commands.iter().any(|line| line.starts_with("MAIL FROM:<boss@work.example>")));
    assert_eq!(relay.only().messages.len(), 1);
    let shown = sandbox.run(&["profile", "show", "work"]).exits(0).stdout;
    assert!(shown.contains("timeouts.command = \"20s\""), "{shown}");
    assert!(shown.contains("match = [\"*@work.example\"]"), "{shown}");

    // A second time everything is there.
    let run = sandbox.run(&["profile", "import", "--from", "msmtp"]).exits(0);
    run.says(&format!("{file}:9: there is a profile 'gmail' already, which stays as it is"));
    assert_eq!(fs::read_to_string(sandbox.path("config.toml")).expect("a file"), config);
    fs::write(&file, "account relay\nhost other.example\n").expect("a file");
    sandbox.run(&["profile", "import", "--replace"]).exits(0).says("imported profile 'relay'");
    let shown = sandbox.run(&["profile", "show", "relay"]).exits(0).stdout;
    assert!(shown.contains("host = \"other.example\"") && !shown.contains("root@home.example"), "{shown}");
}

#[test]
fn git_has_identities() {
    let server = Server::new(|talk, _| {
        assert!(talk.tls(&authority().good));
        talk.greet("AUTH PLAIN");
        takes_login(talk, "\0ada\0geheim");
    });
    let mut sandbox = Sandbox::new();
    sandbox.env("PATH", &std::env::var("PATH").expect("a path"));
    let ca = sandbox.file("ca.pem", &authority().ca);
    sandbox.file(
        ".gitconfig",
        format!(
            "[user]\n\tname = Ada\n[sendemail]\n\tsmtpServer = mx.example\n\tsmtpEncryption = tls\n\tsmtpUser = ada\n\
             \tfrom = \"Ada <ada@x.example>\"\n\tconfirm = auto\n\tsmtpPass = kanarienvogel-52\n\
             [sendemail \"work\"]\n\tsmtpServer = localhost\n\tsmtpServerPort = {}\n\tsmtpEncryption = ssl\n\
             \tsmtpSSLCertPath = {ca}\n",
            server.port
        ),
    );
    let run = sandbox.run(&["profile", "import", "--from", "git"]).exits(0);
    run.says("git config: sendemail.confirm: that is about patches")
        .says("sendemail.smtppass: a password is not written");
    let config = fs::read_to_string(sandbox.path("config.toml")).expect("a file");
    assert!(config.contains("[profiles.git]") && config.contains("[profiles.work]"), "{config}");
    assert!(!config.contains("kanarienvogel"), "{config}");
    sandbox.env("MAILSEND_PASSWORD", "geheim");
    sandbox.run(&["-p", "work", "a@y.example", "--body", "hi"]).exits(0);
    assert!(server.only().commands.iter().any(|line| line.starts_with("MAIL FROM:<ada@x.example>")));

    // The same file by its name, and one that is none.
    sandbox.run(&["profile", "import", ".gitconfig", "--dry-run", "--replace"]).exits(0);
    sandbox.file("broken.gitconfig", "[sendemail\n");
    sandbox.run(&["profile", "import", "broken.gitconfig"]).exits(66).says("cannot be read");
    sandbox.run(&["profile", "import", "--from", "git", "nonesuch"]).exits(66).says("nonesuch cannot be read");
}

#[test]
fn a_password_of_mutt_shows_up_nowhere() {
    const CANARY: &str = "kanarienvogel-0815";
    let server = Server::new(|talk, _| {
        talk.greet("STARTTLS");
        talk.answer("STARTTLS", "220 go");
        assert!(talk.tls(&authority().good));
        talk.hello("AUTH PLAIN");
        takes_login(talk, "\0ada\0geheim");
    });
    let mut sandbox = Sandbox::new();
    let ca = sandbox.file("ca.pem", &authority().ca);
    sandbox.file(
        ".config/mutt/muttrc",
        format!(
            "set realname = \"Ada L.\" from=ada@x.example\nset smtp_url = \"smtp://ada@localhost:{}/\"\n\
             set smtp_pass = \"{CANARY}\"\nset ssl_force_tls = yes\nset ssl_ca_certificates_file={ca}\n",
            server.port
        ),
    );
    let run = sandbox.run(&["profile", "import", "-v"]).exits(0);
    let dry = sandbox.run(&["profile", "import", "--dry-run", "--replace"]).exits(0);
    assert!(run.stderr.contains("muttrc:3: smtp_pass: a password is not written into a configuration"), "{run:#?}");
    assert!(run.stderr.contains("next: mailsend login --profile mutt\n"), "{run:#?}");
    let config = fs::read_to_string(sandbox.path("config.toml")).expect("a file");
    let everything = [run.stdout, run.stderr, dry.stdout, dry.stderr, config].concat();
    for trace in traces_of(CANARY) {
        assert!(!everything.contains(&trace), "{trace} is in {everything}");
    }
    sandbox.env("MAILSEND_PASSWORD", "geheim");
    sandbox.run(&["a@y.example", "--body", "hi"]).exits(0);
    let message = String::from_utf8(server.only().messages.remove(0)).expect("text");
    assert!(message.contains("From: \"Ada L.\" <ada@x.example>\r\n"), "{message}");
}

/// What msmtp finds in `.netrc` stays there.
#[test]
fn a_netrc_is_named_and_not_copied() {
    let sandbox = Sandbox::new();
    sandbox.file(".netrc", "machine mx.example login ada password kanarienvogel-99\n");
    sandbox.file(".msmtprc", "host mx.example\ntls on\nauth on\nuser ada\nproxy_host 127.0.0.1\nproxy_port 9050\n");
    let run = sandbox.run(&["profile", "import"]).exits(0);
    let config = fs::read_to_string(sandbox.path("config.toml")).expect("a file");
    assert!(
        config.contains("password = \"netrc\"\n") && config.contains("proxy = \"socks5://127.0.0.1:9050\"\n"),
        "{config}"
    );
    assert!(config.starts_with("default-profile = \"default\"\n"), "{config}");
    assert!(!format!("{config}{}", run.stderr).contains("kanarienvogel"), "{run:#?}");
}

#[test]
fn what_is_nothing_is_told() {
    let sandbox = Sandbox::new();
    sandbox.run(&["profile", "import"]).exits(66).says("there is no configuration of msmtp, git or mutt");
    sandbox.run(&["profile", "import", "--from", "mutt"]).exits(66).says("no configuration of mutt");
    sandbox.run(&["profile", "import", "--from", "msmtp", "nonesuch"]).exits(66).says("nonesuch cannot be read");
    sandbox.file("rc", "account a\nuser x\n");
    sandbox.run(&["profile", "import", "rc"]).exits(64).says("--from msmtp");
    let run = sandbox.run(&["profile", "import", "--from", "msmtp", "rc"]).exits(78);
    run.says("rc:1: account: account 'a' names no host").says("there is no profile to be made of rc");
    sandbox.file("rc", "# nothing\n");
    sandbox.run(&["profile", "import", "--from", "msmtp", "rc"]).exits(66).says("says nothing about sending mail");
    // Whatever does not fit keeps that account out, and no other.
    sandbox.file("rc", "account a\nhost a b\naccount b\nhost b.example\nfrom \x1b2J\n");
    sandbox.run(&["profile", "import", "--from", "msmtp", "rc"]).exits(78).says("rc:1: profile 'a' cannot be: ");
    sandbox.file("rc", "account a\nhost a b\naccount b\nhost b.example\n");
    sandbox.run(&["profile", "import", "--from", "msmtp", "rc"]).exits(0).says("imported profile 'b'");
    assert_eq!(fs::read_to_string(sandbox.path("config.toml")).expect("a file").matches("[profiles.").count(), 1);
}
