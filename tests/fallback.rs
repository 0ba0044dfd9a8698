//! Profiles that stand in for others: one message, the whole program.

use crate::support::{Sandbox, Server, traces_of};

/// A port that nobody listens on.
fn closed() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port()
}

fn config(sandbox: &Sandbox, main: u16, backup: &Server, of_backup: &str) {
    sandbox.config(&format!(
        "default-profile = \"main\"\n\
         [profiles.main]\nserver = \"smtp://127.0.0.1:{main}\"\nfrom = \"s@x.example\"\nfallback = [\"backup\"]\n\
         [profiles.backup]\nserver = \"{}\"\n{of_backup}\n",
        backup.url()
    ));
}

#[test]
fn a_message_goes_by_the_fallback_when_nobody_else_is_there() {
    let sandbox = Sandbox::new();
    let server = Server::new(|talk, _| {
        talk.greet("PIPELINING");
        talk.take_one(1);
        talk.expect("QUIT");
    });
    config(&sandbox, closed(), &server, "");
    let run = sandbox.run(&["a@y.example", "--body", "hi", "--format", "json"]).exits(0);
    let record = &run.records()[0];
    assert_eq!((record["state"].as_str(), record["profile"].as_str()), (Some("accepted"), Some("backup")), "{record}");
    assert_eq!(record["server"], format!("127.0.0.1:{}", server.port));
    assert_eq!(server.only().messages.len(), 1);
}

#[test]
fn what_a_server_has_answered_is_not_asked_elsewhere() {
    let sandbox = Sandbox::new();
    let backup = Server::uncalled();
    let main = Server::new(|talk, _| {
        talk.greet("");
        talk.answer("MAIL", "250 ok");
        talk.answer("RCPT", "550 5.1.1 no");
        talk.expect("QUIT");
    });
    config(&sandbox, main.port, &backup, "");
    sandbox.run(&["a@y.example", "--body", "hi"]).exits(67).says("550 5.1.1");
}

#[test]
fn a_password_given_for_this_call_is_not_for_the_fallback() {
    let mut sandbox = Sandbox::new();
    let server = Server::new(|talk, _| {
        talk.greet("AUTH PLAIN");
        talk.answer("AUTH PLAIN", "235 welcome");
        talk.take_one(1);
        talk.expect("QUIT");
    });
    let url = server.url().replace("127", "ada@127");
    sandbox.config(&format!(
        "default-profile = \"main\"\n\
         [profiles.main]\nserver = \"smtp://ada@127.0.0.1:{}\"\nfrom = \"s@x.example\"\nfallback = [\"backup\"]\n\
         [profiles.backup]\nserver = \"{url}\"\nallow-plaintext-auth = true\npassword = {{ env = \"OF_BACKUP\" }}\n",
        closed()
    ));
    sandbox.env("MAILSEND_PASSWORD", "hunter2").env("OF_BACKUP", "correct-horse");
    sandbox.file("password", "hunter2\n");
    sandbox.run(&["a@y.example", "--body", "hi"]).exits(0);
    let login = server.only().commands[1].clone();
    let encoded = encodify::base64::STANDARD.encode("\0ada\0correct-horse");
    assert_eq!(login, format!("AUTH PLAIN {encoded}"));
    assert!(traces_of("hunter2").iter().all(|trace| !login.contains(trace)), "{login}");
}

#[test]
fn a_fallback_that_is_not_there_is_told_before_anything_is_sent() {
    let sandbox = Sandbox::new();
    let server = Server::uncalled();
    sandbox.config(&format!(
        "[profiles.main]\nserver = \"{}\"\nfrom = \"s@x.example\"\nfallback = [\"bakcup\"]\n",
        server.url()
    ));
    sandbox.run(&["a@y.example", "--body", "hi"]).exits(78).says("config.toml:4").says("no profile 'bakcup'");
}
