//! Profiles: reading, showing, changing and checking them.

use std::{fs, os::unix::fs::PermissionsExt, process::Stdio};

use crate::support::{Sandbox, Server, authority, finish};

#[test]
fn a_profile_from_nothing_to_gone() {
    let sandbox = Sandbox::new();
    fs::remove_file(sandbox.path("config.toml")).expect("a file");
    sandbox.run(&["profile", "list"]).exits(66);
    let run = sandbox
        .run(&[
            "profile",
            "add",
            "work",
            "--server",
            "smtps://ada@mx.example",
            "--from",
            "Ada <ada@example.com>",
            "-o",
            "timeouts.connect=5s",
            "-o",
            "tls.min-version=1.3",
        ])
        .exits(0);
    run.says("added profile 'work'")
        .says("the one used when none is named")
        .says("next: mailsend login")
        .says("next: mailsend profile check");
    let text = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
    assert!(text.starts_with("default-profile = \"work\"\n"), "{text}");
    sandbox.file("config.toml", format!("# by hand\n{text}"));
    sandbox.run(&["profile", "add", "test", "--server", "maildir:box"]).exits(0);
    sandbox.run(&["profile", "add", "work", "--server", "maildir:box"]).exits(64).says("profile remove work");
    let list = sandbox.run(&["profile", "list"]).exits(0).stdout;
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.contains("* work  mx.example:465  from Ada <ada@example.com>"), "{list}");
    let json: serde_json::Value =
        serde_json::from_str(&sandbox.run(&["profile", "list", "--json"]).exits(0).stdout).expect("JSON");
    assert_eq!((json[0]["name"].as_str(), json[1]["default"].as_bool()), (Some("test"), Some(true)));
    sandbox.run(&["profile", "default", "test"]).exits(0);
    assert_eq!(sandbox.run(&["profile", "default"]).exits(0).stdout, "test\n");
    sandbox.run(&["profile", "default", "nonesuch"]).exits(78).says("no profile 'nonesuch'");
    sandbox.run(&["profile", "remove", "test"]).exits(0).says("it was the default");
    sandbox.run(&["profile", "remove", "test"]).exits(78).says("no profile 'test'");
    let text = fs::read_to_string(sandbox.path("config.toml")).expect("a configuration");
    assert!(text.starts_with("# by hand\n") && !text.contains("maildir"), "{text}");
}

#[test]
fn a_profile_is_checked_before_it_is_added() {
    let sandbox = Sandbox::new();
    for (arguments, words) in [
        (&["profile", "add", "x"][..], "needs a server"),
        (&["profile", "add", "x", "--server", "mx.example"], "smtp://HOST"),
        (&["profile", "add", "x", "--server", "smtp://a:b@mx.example"], "mailsend login"),
        (&["profile", "add", "x", "--server", "smtp://mx.example", "--from", "nonsense"], "is not an address"),
        (&["profile", "add", "x", "--server", "smtp://mx.example", "-o", "prot=1"], "unknown key 'prot'"),
        (&["profile", "add", "x", "--server", "smtp://mx.example", "-o", "password=hunter2"], "mailsend login"),
        (&["profile", "add", "x", "-o", "host=mx.example", "-o", "port=70000"], "no port"),
    ] {
        sandbox.run(arguments).exits(64).says(words);
    }
    assert_eq!(fs::read_to_string(sandbox.path("config.toml")).expect("a file"), "");
}

/// What is typed as text stays text, paths start from where they were typed, and nobody is left without a parent.
#[test]
fn what_is_added_can_be_read_again() {
    let sandbox = Sandbox::new();
    sandbox.run(&["profile", "add", "p", "--server", "smtp://mx.example", "-o", "username=0123"]).exits(0);
    let shown = sandbox.run(&["profile", "show", "p"]).exits(0).stdout;
    assert!(shown.contains("username = \"0123\""), "{shown}");
    sandbox.run(&["profile", "add", "box", "--server", "maildir:./outbox"]).exits(0);
    let shown = sandbox.run(&["profile", "show", "box"]).exits(0).stdout;
    assert!(shown.contains(&format!("maildir:{}", sandbox.path("outbox").display())), "{shown}");
    let both = ["profile", "add", "both", "--server", "smtp://mx.example", "-o", "port=26"];
    sandbox.run(&both).exits(64).says("say the same");

    sandbox.config("[profiles.base]\nserver = \"smtp://mx.example\"\n[profiles.child]\ninherits = \"base\"\n");
    sandbox.run(&["profile", "remove", "base"]).exits(64).says("inherit from: child");
    sandbox.run(&["profile", "remove", "child"]).exits(0);
    sandbox.run(&["profile", "remove", "base"]).exits(0);
}

#[test]
fn every_value_knows_where_it_comes_from() {
    let mut sandbox = Sandbox::new();
    sandbox.config("[defaults]\ntimeouts.connect = \"2s\"\n[profiles.base]\nhost = \"mx.example\"\nport = 587\n[profiles.work]\ninherits = \"base\"\nusername = \"ada\"\n");
    sandbox.env("MAILSEND_TIMEOUTS_COMMAND", "3s").env("MAILSEND_PROFILE", "work");
    let run = sandbox.run(&["profile", "show"]).exits(0);
    for (assignment, origin) in [
        ("host = \"mx.example\"", "config.toml:4"),
        ("port = 587", "config.toml:5"),
        ("username = \"ada\"", "config.toml:8"),
        ("timeouts.connect = \"2s\"", "config.toml:2"),
        ("timeouts.command = \"3s\"", "environment MAILSEND_TIMEOUTS_COMMAND"),
    ] {
        assert!(
            run.stdout.lines().any(|line| line.starts_with(assignment) && line.ends_with(origin)),
            "{assignment} {origin}: {run:#?}"
        );
    }
    assert!(!run.stdout.contains("timeouts.greeting"));
    let all = sandbox.run(&["profile", "show", "--all"]).exits(0);
    assert!(all.stdout.contains("timeouts.greeting = \"1m\""), "{all:#?}");
    let json: serde_json::Value =
        serde_json::from_str(&sandbox.run(&["profile", "show", "--json"]).exits(0).stdout).expect("JSON");
    assert_eq!(json["server"], "mx.example:587");
}

#[test]
fn a_misspelt_key_names_file_line_and_the_right_one() {
    let sandbox = Sandbox::new();
    sandbox.config("[profiles.work]\nhost = \"mx.example\"\nusrname = \"ada\"\n");
    let run = sandbox.run(&["a@y.example", "--body", "x"]).exits(78);
    run.says("config.toml:3: unknown key 'usrname' in [profiles.work]").says("did you mean 'username'?");
    sandbox.config("[profiles.work]\npassword = \"hunter2\"\nhost = \"mx.example\"\n");
    let run = sandbox.run(&["a@y.example", "--body", "x"]).exits(78).says("mailsend login");
    assert!(!run.stderr.contains("hunter2"), "{run:#?}");
    sandbox.config("[profiles.work\n");
    sandbox.run(&["a@y.example", "--body", "x"]).exits(78).says("config.toml:1");
}

#[test]
fn the_environment_sets_settings_not_messages() {
    let server = Server::new(|talk, _| {
        talk.greet("");
        talk.take_one(1);
    });
    let mut sandbox = Sandbox::new();
    sandbox
        .env("MAILSEND_SERVER", &server.url())
        .env("MAILSEND_FROM", "s@x.example")
        .env("MAILSEND_TO", "evil@y.example")
        .env("MAILSEND_SUBJECT", "evil")
        .env("MAILSEND_VERBOSE", "1");
    sandbox.run(&["a@y.example", "--body", "x"]).exits(0).says("accepted a@y.example");
    let heard = server.only();
    assert!(!heard.commands.iter().any(|line| line.contains("evil")), "{heard:#?}");
    sandbox.env("MAILSEND_VERBOSE", "yes");
    sandbox.run(&["a@y.example", "--body", "x"]).exits(78).says("MAILSEND_VERBOSE");
}

#[test]
fn xdg_paths_are_found_without_being_named() {
    let mut sandbox = Sandbox::new();
    sandbox.without("MAILSEND_CONFIG");
    sandbox.file(".config/mailsend/config.toml", "[profiles.home]\nserver = \"maildir:box\"\n");
    assert!(sandbox.run(&["profile", "list"]).exits(0).stdout.contains("home"));
    sandbox.file("xdg/mailsend/config.toml", "[profiles.xdg]\nserver = \"maildir:box\"\n");
    let xdg = sandbox.path("xdg");
    sandbox.env("XDG_CONFIG_HOME", xdg.to_str().expect("UTF-8"));
    assert!(sandbox.run(&["profile", "list"]).exits(0).stdout.contains("xdg"));
    // A relative path starts from the file that names it.
    sandbox.run(&["a@y.example", "--body", "x"]).exits(0);
    assert!(sandbox.path("xdg/mailsend/box/new").exists());
}

#[test]
fn check_tells_all_it_sees() {
    let server = Server::new(|talk, _| {
        talk.greet("STARTTLS, SIZE 100");
        talk.answer("STARTTLS", "220 go");
        assert!(talk.tls(&authority().good));
        talk.hello("SIZE 1000, 8BITMIME, AUTH PLAIN LOGIN");
        talk.answer("AUTH PLAIN", "235 welcome");
        talk.hear_or_end();
    });
    let mut sandbox = Sandbox::new();
    sandbox.file("ca.pem", &authority().ca);
    sandbox.config(&format!(
        "[profiles.work]\nhost = \"localhost\"\nport = {}\nusername = \"ada\"\ntls.ca-file = \"ca.pem\"\n",
        server.port
    ));
    sandbox.env("MAILSEND_PASSWORD", "hunter2");
    let run = sandbox.run(&["profile", "check", "work"]).exits(0).silently();
    for text in [
        "profile       work\n",
        "security starttls\n",
        "connected to  127.0.0.1\n",
        "greeting      220 mx.example ESMTP\n",
        "before TLS    STARTTLS\n              SIZE 100\n",
        "TLS           TLSv1.3, TLS13_",
        "trusted by    tls.ca-file\n",
        "certificate   CN=localhost\n",
        "issued by     CN=Test Authority\n",
        "names         localhost, 127.0.0.1\n",
        " days left\n",
        "pin-sha256 = \"",
        "offers        SIZE 1000\n              8BITMIME\n",
        "logins        PLAIN, LOGIN\n",
        "login         ada by PLAIN works\n",
        "password      from environment variable MAILSEND_PASSWORD\n",
    ] {
        assert!(run.stdout.contains(text), "{text} is not in {}", run.stdout);
    }
    assert!(!run.stdout.contains("hunter2"));
}

#[test]
fn check_tells_what_it_saw_before_it_failed() {
    let server = Server::new(|talk, _| {
        talk.greet("STARTTLS");
        talk.answer("STARTTLS", "220 go");
        talk.tls(&authority().expired);
    });
    let sandbox = Sandbox::new();
    sandbox.file("ca.pem", &authority().ca);
    let url = format!("smtp://ada@localhost:{}?security=starttls", server.port);
    let arguments =
        ["profile", "check", "--server", &url, "-o", "tls.ca-file=ca.pem", "--password-command", "printf x"];
    let run = sandbox.run(&arguments).exits(77).says("expired on 2000-01-02");
    assert!(run.stdout.contains("greeting      220") && run.stdout.contains("ada: not done"), "{run:#?}");
}

#[test]
fn check_as_json_and_with_a_test_message() {
    let server = Server::new(|talk, number| {
        talk.greet("8BITMIME");
        if number == 1 {
            let message = String::from_utf8(talk.take_one(1)).expect("7-bit");
            assert!(message.contains("Subject: mailsend works"));
        }
    });
    let sandbox = Sandbox::new();
    let url = server.url();
    let run = sandbox
        .run(&["profile", "check", "--server", &url, "--send", "a@y.example", "-o", "from=s@x.example"])
        .exits(0);
    assert!(run.stdout.contains("accepted a@y.example: 250"), "{run:#?}");
    assert_eq!(server.heard().len(), 2);

    let server = Server::new(|talk, _| talk.greet("8BITMIME"));
    let url = server.url();
    let run = sandbox.run(&["profile", "check", "--server", &url, "--json"]).exits(0);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(
        (json["greeting"].as_str(), json["extensions"][0].as_str()),
        (Some("220 mx.example ESMTP"), Some("8BITMIME"))
    );
    assert!(json["error"].is_null());
}

#[test]
fn inherited_passwords_stay_at_home() {
    let server = Server::new(|talk, _| {
        talk.greet("AUTH PLAIN");
        assert!(talk.hear_to_the_end().iter().all(|line| line == "QUIT"), "a password is sent to a stranger");
    });
    let sandbox = Sandbox::new();
    sandbox.config(&format!(
        "[profiles.base]\nhost = \"mx.example\"\nport = 25\nsecurity = \"none\"\nallow-plaintext-auth = true\nusername = \"ada\"\nfrom = \"s@x.example\"\npassword = {{ command = \"printf hunter2\" }}\n\
         [profiles.evil]\ninherits = \"base\"\nhost = \"127.0.0.1\"\nport = {}\n",
        server.port
    ));
    let run = sandbox.run(&["-p", "evil", "a@y.example", "--body", "x"]).exits(78);
    run.says("is for ada@mx.example, not for ada@127.0.0.1");
}

/// A server that takes one message, and tells the line with its return path.
fn return_path(sandbox: &Sandbox, config: &str, arguments: &[&str]) -> String {
    let server = Server::new(|talk, _| {
        talk.greet("");
        talk.take_one(1);
    });
    sandbox.config(&config.replace("SERVER", &server.url()));
    sandbox.run(&[arguments, &["a@y.example", "--body", "x"]].concat()).exits(0);
    server.only().commands.into_iter().find(|line| line.starts_with("MAIL ")).expect("MAIL")
}

#[test]
fn the_sender_picks_the_profile() {
    const CONFIG: &str = "default-profile = \"none\"\n[profiles.none]\nserver = \"maildir:box\"\n\
        [profiles.work]\nserver = \"SERVER\"\nmatch = [\"*@work.example\", \"me+*@home.example\"]\n\
        [profiles.bounces]\nserver = \"SERVER\"\nmatch = \"<>\"\n";
    let mut sandbox = Sandbox::new();
    for from in ["Ada <Ada@Work.example>", "me+list@home.example"] {
        let line = return_path(&sandbox, CONFIG, &["--from", from]);
        assert!(line.to_lowercase().contains(&from.to_lowercase().replace("ada <", "").replace('>', "")), "{line}");
    }
    let null = return_path(&sandbox, CONFIG, &["-r", "x@else.example", "--envelope-from", "<>"]);
    assert_eq!(null, "MAIL FROM:<>");
    sandbox.env("EMAIL", "ada@work.example");
    assert_eq!(return_path(&sandbox, CONFIG, &[]), "MAIL FROM:<ada@work.example>");
    sandbox.run(&["-r", "x@else.example", "a@y.example", "--body", "x"]).exits(0).says("box/new");
    let shown = sandbox.run(&["profile", "show", "work"]).exits(0).stdout;
    assert!(shown.contains("match = [\"*@work.example\", \"me+*@home.example\"]"), "{shown}");
    sandbox.config("[profiles.a]\nmatch = \"work.example\"\n");
    sandbox.run(&["a@y.example", "--body", "x"]).exits(78).says("config.toml:2: match: ").says("*@example.com");
    sandbox.config("[defaults]\nmatch = \"*@work.example\"\n");
    sandbox.run(&["a@y.example", "--body", "x"]).exits(78).says("belongs to one profile");
}

#[test]
fn a_profile_may_have_no_return_path() {
    const CONFIG: &str = "[profiles.p]\nserver = \"SERVER\"\nfrom = \"\"\n";
    let mut sandbox = Sandbox::new();
    assert_eq!(return_path(&sandbox, CONFIG, &["-r", "ada@x.example"]), "MAIL FROM:<>");
    let named = ["-r", "ada@x.example", "-f", "bob@x.example"];
    assert_eq!(return_path(&sandbox, CONFIG, &named), "MAIL FROM:<bob@x.example>");
    sandbox.env("EMAIL", "ada@x.example");
    assert_eq!(return_path(&sandbox, CONFIG, &[]), "MAIL FROM:<>");
    let raw = sandbox.file("m.eml", "From: ada@x.example\nSubject: x\n\nx\n");
    let server = Server::new(|talk, _| {
        talk.greet("");
        talk.take_one(1);
    });
    sandbox.config(&CONFIG.replace("SERVER", &server.url()));
    sandbox.run(&["--raw", &raw, "a@y.example"]).exits(0);
    assert!(server.only().commands.contains(&"MAIL FROM:<>".to_owned()));
    sandbox.config(&CONFIG.replace("SERVER", "smtp://mx.example"));
    sandbox.without("EMAIL").run(&["a@y.example", "--body", "x"]).exits(78).says("name one: --from");
}

/// Whoever changes the file waits for who changes it already.
#[test]
fn profiles_added_at_once_are_all_there() {
    let sandbox = Sandbox::new();
    let runs: Vec<_> = (0..10)
        .map(|number| {
            let name = format!("p{number}");
            let mut command = sandbox.command(&["profile", "add", &name, "--server", "smtp://mx.example"]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("it starts")
        })
        .collect();
    for run in runs {
        finish(run).exits(0);
    }
    assert_eq!(sandbox.run(&["profile", "list"]).exits(0).stdout.lines().count(), 10);
}

#[test]
fn names_can_be_typed_and_shown() {
    let sandbox = Sandbox::new();
    let long = "a".repeat(65);
    for name in ["a b", "a\"b", "", "a\tb", &long, "a]b"] {
        let run = sandbox.run(&["profile", "add", name, "--server", "smtp://mx.example"]).exits(64);
        run.says("a word of letters, digits");
    }
    // What stands in the file by hand is shown whatever it is.
    sandbox.config(&format!("[profiles.{}]\nserver = \"smtp://mx.example\"\n", "b".repeat(100_000)));
    sandbox.run(&["profile", "list"]).exits(0);
}

#[test]
fn a_configuration_that_everybody_can_write_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.config("[profiles.p]\nserver = \"maildir:box\"\n");
    let path = sandbox.path("config.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("a mode");
    sandbox.run(&["profile", "list"]).exits(66).says(&format!("chmod o-w {}", path.display()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).expect("a mode");
    sandbox.run(&["profile", "list"]).exits(0);
}

#[test]
fn a_plan_names_where_the_secret_comes_from() {
    let mut sandbox = Sandbox::new();
    sandbox.config(
        "default-profile = \"kept\"\n[profiles.kept]\nserver = \"smtps://ada@mx.example\"\nfrom = \"a@x.example\"\n\
         [profiles.tokens]\nusername = \"ada\"\nfrom = \"a@x.example\"\n\
         oauth = { provider = \"google\", client-id = \"x\" }\n",
    );
    let plan = |sandbox: &Sandbox, more: &[&str]| {
        let arguments = [&["a@y.example", "--body", "x", "--dry-run"][..], more].concat();
        sandbox.run(&arguments).exits(0).stdout
    };
    assert!(plan(&sandbox, &[]).contains("login       ada, password from the stores of login, or a prompt\n"));
    assert!(plan(&sandbox, &["-p", "tokens"]).contains("login       ada, access token by OAuth\n"));
    sandbox.env("MAILSEND_PASSWORD", "x");
    assert!(plan(&sandbox, &[]).contains("password from environment variable MAILSEND_PASSWORD\n"));
}

#[test]
fn check_tells_a_refusal_from_what_was_not_tried() {
    let server = Server::new(|talk, _| {
        talk.greet("AUTH PLAIN");
        talk.answer("AUTH PLAIN ", "535 5.7.8 wrong");
        talk.hear_to_the_end();
    });
    let mut sandbox = Sandbox::new();
    sandbox.env("MAILSEND_PASSWORD", "geheim");
    let url = format!("smtp://ada@127.0.0.1:{}", server.port);
    let check = ["profile", "check", "--server", &url, "-o", "allow-plaintext-auth=true"];
    assert!(sandbox.run(&check).exits(77).stdout.contains("login         ada: refused\n"));
    let run = sandbox.run(&[&check[..], &["--json"]].concat()).exits(77);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!((&json["login"], &json["login_refused"]), (&serde_json::Value::Null, &true.into()));
    drop(server.heard());
}
