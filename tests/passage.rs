//! Ways to a server: unix sockets, proxies, an address of our own choice.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    thread,
};

use crate::support::{Manner, Proxy, Run, Sandbox, Server, authority, traces_of};

const MAIL: [&str; 5] = ["-r", "s@x.example", "a@y.example", "--body", "hi"];

/// A server for one message.
fn server() -> Server {
    Server::new(|talk, _| {
        talk.greet("");
        talk.take_one(1);
    })
}

/// Sends to a host that nobody but the proxy could find.
fn send(sandbox: &Sandbox, proxy: &str, more: &[&str]) -> Run {
    let url = "smtp://mx.example:2525?security=none";
    let proxy = format!("proxy={proxy}");
    sandbox.run(&[&MAIL[..], &["--server", url, "-o", &proxy, "-v"], more].concat())
}

#[test]
fn the_name_goes_to_the_proxy() {
    for (manner, scheme) in [(Manner::Socks, "socks5"), (Manner::SocksAtOnce, "socks5"), (Manner::Connect, "http")] {
        let server = server();
        let proxy = Proxy::new(manner, server.port);
        let url = format!("{scheme}://127.0.0.1:{}", proxy.port);
        let run = send(&Sandbox::new(), &url, &["--format", "json"]).exits(0);
        run.says(&format!("connected to mx.example:2525 through {url}"));
        assert_eq!(proxy.asked(), ["mx.example:2525"], "{manner:?}");
        assert_eq!(server.only().messages.len(), 1);
    }
}

#[test]
fn records_name_the_server_and_plans_the_way() {
    let server = server();
    let proxy = Proxy::new(Manner::Socks, server.port);
    let url = format!("socks5://127.0.0.1:{}", proxy.port);
    let run = send(&Sandbox::new(), &url, &["--format", "json"]).exits(0);
    assert_eq!(run.records()[0]["server"], "mx.example:2525");
    drop(proxy);
    let run = send(&Sandbox::new(), &url, &["--dry-run", "-o", "bind-address=127.0.0.2"]).exits(0);
    assert!(run.stdout.contains(&format!("way         through {url}, from 127.0.0.2\n")), "{run:#?}");
}

#[test]
fn a_check_names_the_way() {
    let server = Server::new(|talk, _| {
        talk.greet("");
        talk.hear_to_the_end();
    });
    let proxy = Proxy::new(Manner::Connect, server.port);
    let sandbox = Sandbox::new();
    sandbox.config(&format!(
        "[profiles.p]\nhost = \"mx.example\"\nsecurity = \"none\"\nproxy = \"http://127.0.0.1:{}\"\n",
        proxy.port
    ));
    let way = format!("through http://127.0.0.1:{}", proxy.port);
    let run = sandbox.run(&["profile", "check", "--json"]).exits(0);
    let found: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!((&found["way"], &found["address"]), (&way.as_str().into(), &serde_json::Value::Null));
    let run = sandbox.run(&["profile", "check"]).exits(0);
    assert!(run.stdout.contains(&format!("way           {way}\n")), "{run:#?}");
    assert_eq!(proxy.asked(), ["mx.example:25"; 2]);
}

#[test]
fn tls_is_with_the_server_and_not_with_the_proxy() {
    for (manner, scheme) in [(Manner::Socks, "socks5"), (Manner::Connect, "http")] {
        for security in ["tls", "starttls"] {
            let server = Server::new(move |talk, _| {
                if security == "starttls" {
                    talk.greet("STARTTLS");
                    talk.answer("STARTTLS", "220 go");
                    assert!(talk.tls(&authority().good));
                    talk.hello("");
                } else {
                    assert!(talk.tls(&authority().good));
                    talk.greet("");
                }
                talk.take_one(1);
            });
            let proxy = Proxy::new(manner, server.port);
            let sandbox = Sandbox::new();
            let ca = format!("tls.ca-file={}", sandbox.file("ca.pem", &authority().ca));
            let way = format!("proxy={scheme}://127.0.0.1:{}", proxy.port);
            // This machine, too, where a proxy is named by the key.
            let url = format!("smtp://localhost:2525?security={security}");
            sandbox.run(&[&MAIL[..], &["--server", &url, "-o", &way, "-o", &ca]].concat()).exits(0);
            assert_eq!(proxy.asked(), ["localhost:2525"]);
            assert!(server.only().is_tls);
        }
    }
}

#[test]
fn the_environment_names_a_proxy_for_all_but_some() {
    let url = "smtp://mx.example:2525?security=none";
    let through = |manner: Manner, scheme: &str, variable: &str| {
        let server = server();
        let proxy = Proxy::new(manner, server.port);
        let mut sandbox = Sandbox::new();
        sandbox.env(variable, &format!("{scheme}://ada:geheim@127.0.0.1:{}", proxy.port));
        sandbox.run(&[&MAIL[..], &["--server", url]].concat()).exits(0);
        proxy.asked()
    };
    assert_eq!(through(Manner::SocksLogin("ada", "geheim"), "socks5h", "ALL_PROXY"), ["ada/geheim mx.example:2525"]);
    assert_eq!(through(Manner::ConnectLogin("YWRhOmdlaGVpbQ=="), "http", "all_proxy"), ["mx.example:2525"]);

    // Spared are this machine, what NO_PROXY names, and who wants none.
    let proxy = Proxy::new(Manner::SocksCode(2), 1);
    let mut sandbox = Sandbox::new();
    sandbox.env("ALL_PROXY", &format!("socks5://127.0.0.1:{}", proxy.port));
    let server = server();
    sandbox.run(&[&MAIL[..], &["--server", &server.url()]].concat()).exits(0);
    sandbox.env("NO_PROXY", "other.example, nonesuch.invalid");
    let code = sandbox.run(&[&MAIL[..], &["--server", "smtp://mx.nonesuch.invalid"]].concat()).code;
    assert!(code == 68 || code == 75, "{code}");
    let none = ["--server", "smtp://nonesuch2.invalid", "-o", "proxy=none"];
    let code = sandbox.run(&[&MAIL[..], &none].concat()).code;
    assert!(code == 68 || code == 75, "{code}");
    sandbox.run(&[&MAIL[..], &["--server", url]].concat()).exits(69).says("its rules do not allow it");
    assert_eq!(proxy.asked(), ["mx.example:2525"]);

    sandbox.env("ALL_PROXY", "ftp://proxy.example");
    sandbox.run(&[&MAIL[..], &["--server", url]].concat()).exits(78).says("ALL_PROXY: socks5://HOST:PORT");
}

#[test]
fn refusals_of_proxies_have_words_and_codes_of_their_own() {
    let told = |manner: Manner, scheme: &str, exit: i32, words: &str| {
        let server = Server::uncalled();
        let proxy = Proxy::new(manner, server.port);
        let url = format!("{scheme}://127.0.0.1:{}", proxy.port);
        let run = send(&Sandbox::new(), &url, &["-o", "timeouts.connect=200ms"]).exits(exit);
        run.says(&format!("the proxy {url} {words}"));
    };
    for (code, exit, words) in [
        (1, 75, "it failed, and does not say why"),
        (2, 69, "its rules do not allow it"),
        (3, 75, "the network is unreachable"),
        (4, 75, "the host is unreachable"),
        (5, 75, "connection refused"),
        (6, 75, "it took too long"),
        (7, 69, "it does not know the command CONNECT"),
        (8, 69, "it does not know this kind of address"),
    ] {
        told(Manner::SocksCode(code), "socks5", exit, &format!("does not connect to mx.example:2525: {words}"));
    }
    told(Manner::SocksLogin("ada", "x"), "socks5", 77, "wants a login");
    told(Manner::ConnectLogin("eA=="), "http", 77, "wants a login");
    told(Manner::Says("HTTP/1.1 403 Forbidden\r\n\r\n"), "http", 69, "does not connect to mx.example:2525: its rules");
    told(
        Manner::Says("HTTP/1.1 502 Bad\r\n\r\n"),
        "http",
        75,
        "does not connect to mx.example:2525: it does not reach",
    );
    told(Manner::Says("HTTP/1.1 503 Off\r\n\r\n"), "http", 75, "does not connect to mx.example:2525");
    told(Manner::Says("220 \x1b[2Jmx ESMTP\r\n"), "http", 76, "does not speak HTTP");
    told(Manner::Says("220 mx ESMTP\r\n"), "socks5", 76, "does not speak SOCKS 5");
    told(Manner::Says(""), "socks5", 75, "closed the connection without an answer");
    told(Manner::Silent, "socks5", 75, "has not connected to mx.example:2525 within 0.2 s");
    told(Manner::Silent, "http", 75, "has not connected to mx.example:2525 within 0.2 s");
    let run = send(&Sandbox::new(), "socks5://127.0.0.1:1", &[]).exits(75);
    run.says("the proxy socks5://127.0.0.1:1 cannot be reached").says("hint: check the key proxy, or ALL_PROXY");
}

/// The password of a proxy comes from its source, is not the server's, and shows up nowhere.
#[test]
fn a_proxy_s_password_shows_up_nowhere() {
    const CANARY: &str = "kanarienvogel-4711";
    // "ada:kanarienvogel-4711"
    const LOGIN: &str = "YWRhOmthbmFyaWVudm9nZWwtNDcxMQ==";
    let run = |manner: Manner, scheme: &str, password: &str| {
        let server = if password == CANARY { server() } else { Server::uncalled() };
        let proxy = Proxy::new(manner, server.port);
        let sandbox = Sandbox::new();
        let file = sandbox.file("password", password);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
        let source = format!("proxy-password={{ file = \"{file}\" }}");
        let way = format!("{scheme}://ada@127.0.0.1:{}", proxy.port);
        let run = send(&sandbox, &way, &["-o", &source, "--trace", "--report", "run.jsonl"]);
        let records = fs::read_to_string(sandbox.path("run.jsonl")).expect("records");
        let everything = format!("{}{}{records}", run.stdout, run.stderr);
        for trace in traces_of(password) {
            assert!(!everything.contains(&trace), "{trace} is in {everything}");
        }
        run
    };
    run(Manner::SocksLogin("ada", CANARY), "socks5", CANARY).exits(0);
    run(Manner::ConnectLogin(LOGIN), "http", CANARY).exits(0);
    run(Manner::SocksLogin("ada", CANARY), "socks5", "falscher-vogel").exits(77).says("refuses the login of 'ada'");
    run(Manner::ConnectLogin(LOGIN), "http", "falscher-vogel").exits(77).says("refuses the login of 'ada'");

    let url = "socks5://ada@127.0.0.1:1";
    let run = send(&Sandbox::new(), url, &["-o", "proxy-password={ env = \"NONESUCH\" }"]).exits(78);
    run.says("the proxy socks5://127.0.0.1:1 wants a login: no password from environment variable NONESUCH");
    let run = send(&Sandbox::new(), "socks5://ada:geheim@127.0.0.1:1", &[]).exits(64).says("proxy-password");
    assert!(!run.stderr.contains("geheim"), "{run:#?}");
}

#[test]
fn the_server_sees_the_address_that_was_chosen() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("smtp://{}", listener.local_addr().expect("an address"));
    let peer = thread::spawn(move || listener.accept().expect("a connection").1.ip().to_string());
    let run = Sandbox::new().run(&[&MAIL[..], &["--server", &url, "-o", "bind-address=127.0.0.2", "-v"]].concat());
    run.says("from 127.0.0.2");
    assert_eq!(peer.join().expect("a server"), "127.0.0.2");
    for (address, words) in [("192.0.2.7", "is no address of this machine"), ("::1", "has no IPv6 address")] {
        let source = format!("bind-address={address}");
        Sandbox::new().run(&[&MAIL[..], &["--server", &url, "-o", &source]].concat()).exits(78).says(words);
    }
}

#[test]
fn lmtp_goes_over_a_unix_socket() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("lmtp.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines().map(|line| line.expect("a line"));
        let mut say = |text: &str| stream.write_all(text.as_bytes()).expect("somebody hears");
        say("220 hi\r\n");
        let hello = lines.next().expect("LHLO");
        say("250 hi\r\n");
        for _ in ["MAIL", "RCPT"] {
            lines.next().expect("a command");
            say("250 ok\r\n");
        }
        lines.next().expect("DATA");
        say("354 go\r\n");
        lines.by_ref().take_while(|line| line != ".").count();
        say("250 here\r\n");
        hello
    });
    let url = format!("lmtp://{}", path.display());
    let run = sandbox.run(&[&MAIL[..], &["--server", &url, "--format", "json", "-v"]].concat()).exits(0);
    assert_eq!(run.records()[0]["server"], url);
    run.says(&format!("connected to localhost:24 through {}", path.display()));
    assert!(server.join().expect("a server").starts_with("LHLO "));

    // Its listener is gone, and so is then the file.
    let again = |exit: i32, words: &str| {
        sandbox.run(&[&MAIL[..], &["--server", &url]].concat()).exits(exit).says(words);
    };
    again(75, "nobody listens on the socket");
    fs::remove_file(&path).expect("a file");
    again(75, "there is no socket");
    fs::write(&path, "").expect("a file");
    again(78, "is no socket");
    let profile = format!("[profiles.p]\nsocket = \"{}\"\n", sandbox.path("other.sock").display());
    sandbox.config(&profile);
    sandbox.run(&MAIL).exits(75).says("there is no socket");
}
