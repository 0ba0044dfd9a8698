//! Programs that call sendmail, as Debian has them: what they hand over arrives as it was meant, and they notice nothing.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use super::{noise, pdf, unique};
use crate::support::{
    machine::{CARLA, Machine, ROOT, WWW_DATA},
    real::{Mail, Postfix, postfix, read_mail},
    run_to_end,
};

/// A Postfix, and a machine whose mail goes there.
fn place(mode: &str) -> Option<(&'static Postfix, Machine)> {
    let postfix = postfix()?;
    let config = format!(
        "[sendmail]\nmode = \"{mode}\"\ndomain = \"example.test\"\n[queue]\nfallback-folder = \"/var/spool/mailsend\"\n\
         [profiles.relay]\nserver = \"smtp://127.0.0.1:{}?security=none\"\n",
        postfix.postfix.said("smtp")
    );
    Some((postfix, Machine::new(&config)?))
}

/// Text that is not to be changed: a lone dot, what looks like the start of a mail in a mailbox, more than ASCII.
const TEXT: &str = "Grüße\n.\n..\nFrom here on\n\n  trailing blanks  \n";

/// The sender of the envelope.
fn return_path(mail: &Mail) -> &str {
    mail.header("return-path")
}

#[test]
fn cron_mails_what_a_job_prints() {
    let Some((postfix, machine)) = place("queue-then-try") else { return };
    let (ops, own) = (unique("cron"), unique("cron"));
    machine.file("etc/aliases", format!("carla: {ops}\n"), ROOT);
    let job = "echo Grüße; echo .; echo 'From here on'";
    machine.file("etc/cron.d/job", format!("@reboot carla {job}\n"), ROOT);
    machine.file("var/spool/cron/crontabs/carla", format!("MAILTO={own}\n@reboot echo hers\n@reboot true\n"), CARLA);
    let log = machine.log();
    // It goes on in the background, with HOME=/root. 15: it tells everything.
    machine.call(ROOT, &["/usr/sbin/cron", "-L", "15"], b"");
    // It would tell of a sendmail that failed.
    log.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let mut told = Vec::new();
    while told.iter().filter(|line: &&String| line.contains(" END ")).count() < 3 {
        let mut line = [0; 1_000];
        let length = log.recv(&mut line).unwrap_or_else(|error| panic!("{error}: {told:#?}"));
        told.push(String::from_utf8_lossy(&line[..length]).into_owned());
    }
    assert!(!told.iter().any(|line| line.contains("MAIL") || line.contains("error")), "{told:#?}");

    let mail = postfix.postfix.mail_for(&ops);
    assert_eq!(mail.body(), "Grüße\n.\nFrom here on\n".as_bytes());
    assert!(mail.header("subject").starts_with("Cron <carla@") && mail.header("subject").ends_with(job), "{mail:#?}");
    assert!(mail.header("from").contains("root@example.test"), "{mail:#?}");
    assert_eq!(mail.header("to"), "carla@example.test");
    assert_eq!(mail.header("auto-submitted"), "auto-generated");
    assert!(mail.all("x-cron-env").contains(&"<LOGNAME=carla>"), "{mail:#?}");
    assert_eq!(return_path(&mail), "<root@example.test>");
    let mail = postfix.postfix.mail_for(&own);
    assert_eq!((mail.text(), mail.header("to")), ("hers\n", own.as_str()));
}

#[test]
fn patches_of_git_apply() {
    let Some((postfix, machine)) = place("direct") else { return };
    let (list, copy) = (unique("list"), unique("copy"));
    let series = r#"
        set -eu
        git config --global init.defaultBranch main
        git config --global user.name 'Carla Größe'
        git config --global user.email carla@example.test
        git init --quiet --template= ~/repository
        cd ~/repository
        printf 'first\n' > file && git add . && git commit --quiet -m 'The first'
        printf 'first\n.\n..\nFrom here on\n  trailing blanks  \nGr\303\274\303\237e\n' > file
        git commit --quiet -am 'Dots and umlauts

.
From here on the message is more than ASCII: Grüße'
        printf 'lines\r\nof DOS\r\n' > dos && head -c 3000 /dev/zero | tr '\0' x > long && git add .
        git commit --quiet -m 'Größe: a line that is long'
        printf 'a\0b\377' > octets && git add . && git commit --quiet -m 'Octets'
    "#;
    machine.call(CARLA, &["/bin/sh", "-c", series], b"");
    let git = ["/usr/bin/git", "-C", "/home/carla/repository"];
    let send = [
        "send-email",
        "--confirm=never",
        "--8bit-encoding=UTF-8",
        &format!("--to={list}"),
        &format!("--cc=Jörg Ärmel <{copy}>"),
        "-3",
    ];
    let run = machine.run(CARLA, &[&git[..], &send].concat(), b"").exits(0).silently();

    let files = postfix.postfix.wait_for_all(3, &list);
    let mut mails: Vec<(Mail, PathBuf)> = files.into_iter().map(|file| (read_mail(&file), file)).collect();
    mails.sort_by(|(a, _), (b, _)| a.header("subject").cmp(b.header("subject")));
    let subjects: Vec<&str> = mails.iter().map(|(mail, _)| mail.header("subject")).collect();
    assert_eq!(
        subjects,
        ["[PATCH 1/3] Dots and umlauts", "[PATCH 2/3] Größe: a line that is long", "[PATCH 3/3] Octets"]
    );
    // What git says is the header that it has handed over.
    let headers: Vec<&str> = run.stdout.split("/usr/sbin/sendmail -i ").skip(1).collect();
    assert_eq!(headers.len(), 3, "{run:#?}");
    for ((mail, _), said) in mails.iter().zip(headers) {
        let (header, result) = said.split_once("\n\n").expect("an empty line");
        let (_, header) = header.split_once('\n').expect("a header");
        assert!(String::from_utf8_lossy(&mail.octets).contains(header), "{header} is not in {mail:#?}");
        assert!(header.contains("Message-Id: <") && result.starts_with("Result: OK\n"), "{said}");
        assert_eq!(return_path(mail), "<carla@example.test>");
    }
    assert_eq!(postfix.postfix.wait_for_all(3, &copy).len(), 3);

    for (number, (_, file)) in mails.iter().enumerate() {
        machine.file(&format!("home/carla/arrived/{number}"), fs::read(file).expect("a mail"), CARLA);
    }
    let tree = |revision: &str| {
        let run = machine.run(CARLA, &[&git[..], &["rev-parse", &format!("{revision}^{{tree}}")]].concat(), b"");
        run.exits(0).stdout
    };
    let meant = tree("main");
    machine.call(CARLA, &[&git[..], &["checkout", "--quiet", "-b", "arrived", "main~3"]].concat(), b"");
    let apply = "git -C ~/repository am --quiet --keep-cr --whitespace=nowarn --quoted-cr=nowarn ~/arrived/*";
    machine.call(CARLA, &["/bin/sh", "-c", apply], b"");
    assert_eq!(tree("arrived"), meant);
    let log = [&git[..], &["log", "--format=%an <%ae>%n%B", "-3"]];
    let read = |revision: &str| machine.run(CARLA, &[&log.concat()[..], &[revision]].concat(), b"").exits(0).stdout;
    assert_eq!(read("arrived"), read("main"));
}

#[test]
fn mutt_attaches() {
    let Some((postfix, machine)) = place("queue-then-try") else { return };
    let (to, hidden, pdf, noise) = (unique("mutt"), unique("mutt"), pdf(), noise(300_000));
    machine.file("home/carla/größe.pdf", &pdf, CARLA);
    machine.file("home/carla/noise", &noise, CARLA);
    let settings =
        "set from=\"carla@example.test\"\nset use_envelope_from\nunset crypt_use_gpgme\nset record=~/sent\nset copy\n";
    machine.file("home/carla/.muttrc", settings, CARLA);
    let words = ["/usr/bin/mutt", "-s", "Grüße", "-b", &hidden, "-a", "/home/carla/größe.pdf", "/home/carla/noise"];
    machine.call(CARLA, &[&words[..], &["--", &to]].concat(), TEXT.as_bytes());
    let mail = postfix.postfix.mail_for(&to);
    assert_eq!((mail.header("from"), mail.header("to")), ("Carla Caller <carla@example.test>", to.as_str()));
    assert_eq!((mail.header("subject"), mail.text()), ("Grüße", TEXT));
    mail.has_file("größe.pdf", &pdf);
    mail.has_file("noise", &noise);
    assert_eq!(return_path(&mail), "<carla@example.test>");
    let kept = fs::read(machine.path("home/carla/sent")).expect("a copy");
    let kept = String::from_utf8_lossy(&kept);
    assert!(kept.contains(mail.header("message-id")), "another Message-ID than in {kept}");
    let mail = postfix.postfix.mail_for(&hidden);
    assert!(!String::from_utf8_lossy(mail.body()).contains(&hidden) && mail.all("bcc").is_empty(), "{mail:#?}");
}

#[test]
fn s_nail_attaches() {
    let Some((postfix, machine)) = place("direct") else { return };
    let (to, pdf) = (unique("s-nail"), pdf());
    machine.file("home/carla/a.pdf", &pdf, CARLA);
    // Without sendwait it would not know how sendmail has ended.
    let words = ["/usr/bin/s-nail", "-Ssendwait", "-r", "Carla Größe <carla@example.test>", "-s", "Grüße"];
    let more = ["-a", "/home/carla/a.pdf", "-c", "bob@example.test", &to];
    machine.call(CARLA, &[&words[..], &more].concat(), TEXT.as_bytes());
    let mail = postfix.postfix.mail_for(&to);
    assert_eq!(mail.header("from"), "Carla Größe <carla@example.test>");
    assert_eq!((mail.header("to"), mail.header("cc")), (to.as_str(), "bob@example.test"));
    assert_eq!((mail.header("subject"), mail.text()), ("Grüße", TEXT));
    mail.has_file("a.pdf", &pdf);
    assert_eq!(return_path(&mail), "<carla@example.test>");
}

#[test]
fn bsd_mailx_writes() {
    let Some((postfix, machine)) = place("queue-then-try") else { return };
    let to = unique("mailx");
    let words = ["/usr/bin/bsd-mailx", "-s", "Grüße", "-a", "X-Report: weekly", "-r", "carla@example.test", &to];
    machine.call(CARLA, &words, TEXT.as_bytes());
    let mail = postfix.postfix.mail_for(&to);
    assert_eq!((mail.header("from"), mail.header("to")), ("carla@example.test", to.as_str()));
    assert_eq!((mail.header("subject"), mail.text()), ("Grüße", TEXT));
    assert_eq!(mail.header("x-report"), "weekly");
    assert_eq!(return_path(&mail), "<carla@example.test>");
}

#[test]
fn php_calls_mail() {
    let Some((postfix, machine)) = place("queue-then-try") else { return };
    // Whoever has no home keeps the queue there.
    fs::create_dir(machine.path("var/spool/mailsend")).expect("a folder");
    machine.run(ROOT, &["/bin/chmod", "1777", "/var/spool/mailsend"], b"").exits(0);
    let (plain, bounced, noise) = (unique("php"), unique("php"), noise(20_000));
    machine.file("tmp/noise", &noise, WWW_DATA);
    let script = r#"<?php
[, $plain, $bounced] = $argv;
$text = file_get_contents("php://stdin");
$head = ["From" => "Web <web@example.test>", "Message-ID" => "<php-1@example.test>", "Bcc" => "bob@example.test",
    "Content-Type" => "text/plain; charset=UTF-8", "Content-Transfer-Encoding" => "8bit"];
$first = mail($plain, "=?UTF-8?B?" . base64_encode("Grüße") . "?=", $text, $head);
$file = chunk_split(base64_encode(file_get_contents("/tmp/noise")));
$parts = "--=_x\r\nContent-Type: text/html; charset=UTF-8\r\n\r\n<p>Grüße\r\n--=_x\r\n"
    . "Content-Type: application/octet-stream; name=noise\r\nContent-Disposition: attachment; filename=noise\r\n"
    . "Content-Transfer-Encoding: base64\r\n\r\n$file\r\n--=_x--\r\n";
$head = "From: web@example.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_x\"\r\n"
    . "X-Mailer: PHP/8";
$second = mail($bounced, "With a file", $parts, $head, "-fbounces@example.test");
exit($first && $second ? 0 : 1);
"#;
    machine.file("var/www/mail.php", script, ROOT);
    machine.call(WWW_DATA, &["/usr/bin/php", "/var/www/mail.php", &plain, &bounced], TEXT.as_bytes());
    let mail = postfix.postfix.mail_for(&plain);
    assert_eq!((mail.header("from"), mail.header("to")), ("Web <web@example.test>", plain.as_str()));
    // PHP ends the text with a line end of its own.
    assert_eq!((mail.header("subject"), mail.text()), ("Grüße", format!("{TEXT}\n").as_str()));
    assert_eq!(mail.header("message-id"), "<php-1@example.test>");
    assert!(mail.all("bcc").is_empty() && mail.all("x-mailer").is_empty(), "{mail:#?}");
    assert_eq!(return_path(&mail), "<web@example.test>");
    let mail = postfix.postfix.mail_for(&bounced);
    assert_eq!((mail.header("subject"), mail.header("from")), ("With a file", "web@example.test"));
    assert_eq!((mail.text(), mail.header("x-mailer")), ("<p>Grüße", "PHP/8"));
    mail.has_file("noise", &noise);
    assert_eq!(return_path(&mail), "<bounces@example.test>");
}

#[test]
fn reports_are_piped() {
    let Some((postfix, machine)) = place("direct") else { return };
    let ops = unique("report");
    machine.file("etc/aliases", format!("root: {ops}\n"), ROOT);
    // logwatch, in an old charset that it has declared.
    let head = "To: root\nFrom: Logwatch\nSubject: Logwatch for host (Linux)\nMIME-Version: 1.0\n\
                Content-Transfer-Encoding: 8bit\nContent-Type: text/plain; charset=\"iso-8859-1\"\n\n";
    let text = b"\n ######## Logwatch ########\n Gr\xfc\xdfe\n";
    machine.file("root/report", [head.as_bytes(), text, b".\n behind a lone dot\n"].concat(), ROOT);
    let pipe = |line: &str| machine.call(ROOT, &["/bin/sh", "-c", &format!("cat /root/report | {line}")], b"");
    pipe("/usr/sbin/sendmail -t");
    let mail = postfix.postfix.mail_for(&ops);
    // Without -i a lone dot is the end, as it always was.
    assert_eq!(mail.body(), text);
    assert_eq!((mail.header("to"), mail.header("from")), ("root@example.test", "Logwatch@example.test"));
    assert_eq!(mail.header("subject"), "Logwatch for host (Linux)");
    assert_eq!(return_path(&mail), "<Logwatch@example.test>");

    // unattended-upgrades, which writes with Python.
    let ops = unique("report");
    let report = format!(
        "Content-Type: text/plain; charset=\"utf-8\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\
         Subject: unattended-upgrades result for host: SUCCESS\nFrom: root\nTo: {ops}\nAuto-Submitted: auto-generated\n\n{}\n",
        encodify::base64::STANDARD.encode(TEXT)
    );
    machine.file("root/report", &report, ROOT);
    pipe("/usr/sbin/sendmail -oi -t");
    let mail = postfix.postfix.mail_for(&ops);
    assert_eq!((mail.text(), mail.header("auto-submitted")), (TEXT, "auto-generated"));
    assert_eq!((mail.header("to"), mail.header("from")), (ops.as_str(), "root@example.test"));
    assert_eq!(mail.body(), report.split_once("\n\n").expect("a body").1.as_bytes());

    let ops = unique("report");
    machine.file("root/report", TEXT, ROOT);
    pipe(&format!("mail -r root@example.test -s 'unattended-upgrades result for host: SUCCESS' {ops}"));
    let mail = postfix.postfix.mail_for(&ops);
    assert_eq!((mail.text(), mail.header("to")), (TEXT, ops.as_str()));
    assert_eq!(mail.header("subject"), "unattended-upgrades result for host: SUCCESS");
    assert!(mail.header("from").contains("root@example.test"), "{mail:#?}");
}

#[test]
fn smtplib_speaks_through_pipes_and_a_worker_sends() {
    let Some((postfix, machine)) = place("queue") else { return };
    let (first, second, pdf) = (unique("smtplib"), unique("smtplib"), pdf());
    let mail = format!(
        "From: Ada <ada@example.test>\r\nTo: {first}, {second}\r\nSubject: Dialogue\r\nMessage-ID: <dialogue@example.test>\r\n\
         Date: Sat, 28 Nov 2026 12:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
         --x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{TEXT}\r\n--x\r\n\
         Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--x--\r\n",
        encodify::base64::STANDARD.encode(&pdf)
    );
    // It sends octets as they are.
    let mail = mail.replace("\r\n", "\n").replace('\n', "\r\n");
    let server = machine.command(CARLA, &["/usr/sbin/sendmail", "-bs"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/smtp_on_pipes.py");
    let mut python = Command::new("python3");
    python.args([script, "ada@example.test", &format!("{first},{second}")]).arg(server.get_program());
    python.args(server.get_args());
    let run = run_to_end(python, mail.as_bytes()).exits(0).silently();
    assert_eq!(run.stdout, "");

    // Nobody has tried yet.
    let listed = machine.run(CARLA, &["/usr/bin/mailq"], b"").exits(0).stdout;
    assert!(listed.contains(&first) && listed.contains(&second), "{listed}");
    assert_eq!(postfix.postfix.mails_for(&first), [""; 0].map(PathBuf::from));
    machine.call(CARLA, &["/bin/sh", "-c", "mailsend worker > ~/worker.log 2>&1 &"], b"");
    for to in [&first, &second] {
        let arrived = postfix.postfix.mail_for(to);
        let (head, body) = mail.split_once("\r\n\r\n").expect("a header");
        assert_eq!(String::from_utf8_lossy(arrived.body()), body.replace("\r\n", "\n"));
        assert!(String::from_utf8_lossy(&arrived.octets).contains(&head.replace("\r\n", "\n")), "{arrived:#?}");
        arrived.has_file("a.pdf", &pdf);
        assert_eq!(return_path(&arrived), "<ada@example.test>");
    }
    let start = Instant::now();
    loop {
        let listed = machine.run(CARLA, &["/usr/bin/mailq"], b"").exits(0).stdout;
        if listed == "Mail queue is empty\n" {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{listed}");
    }
}
