//! What the messages of a batch are made of: options as templates, columns, templates in folders, files.

use std::fs;

use super::{batch, ended, is_refused, people, records, who};
use crate::support::{
    Sandbox,
    sink::{Sink, Taken},
};

/// The message for this recipient.
#[track_caller]
fn to<'a>(taken: &'a [Taken], recipient: &str) -> &'a Taken {
    let mut all = taken.iter().filter(|taken| taken.recipients.iter().any(|known| known == recipient));
    let one = all.next().unwrap_or_else(|| panic!("nothing for {recipient}"));
    assert!(all.next().is_none(), "two for {recipient}");
    one
}

#[test]
fn every_option_of_a_message_is_a_template() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("PIPELINING");
    sandbox.file(
        "people.csv",
        "who,boss,n,token\nAda <ada@y.example>,eve@y.example,1,t/1\nbob@y.example,dan@y.example,2,t 2\n",
    );
    let arguments = ["batch", "people.csv", "--server", &sink.url(), "--to", "{{who}}", "--cc", "{{boss}}"];
    let more = ["--bcc", "audit+{{n}}@y.example", "-r", "Team {{n}} <team{{n}}@x.example>", "-s", "No. {{n}} – é"];
    let further = ["--reply-to", "re{{n}}@x.example", "-f", "bounce{{n}}@x.example", "--body", "{{who}} & {{word}}"];
    let html = ["--html", "<p>{{who}}</p>", "--set", "word=all", "--message-id", "<{{n}}.x@x.example>"];
    let fields = ["-H", "X-Number: {{n}}", "--unsubscribe", "https://x.example/u?t={{url-encode token}}"];
    sandbox.run(&[&arguments[..], &more, &further, &html, &fields].concat()).exits(0);
    let taken = sink.taken();
    assert_eq!(taken.len(), 2);
    let ada = to(&taken, "ada@y.example");
    assert_eq!(ada.sender, "bounce1@x.example");
    assert_eq!(ada.recipients, ["ada@y.example", "eve@y.example", "audit+1@y.example"]);
    let field = |name: &str| ada.field(name).unwrap_or_else(|| panic!("no {name} in {}", ada.content));
    assert!(field("From").starts_with("Team 1 <team1@x.example>") || field("From").contains("\"Team 1\""));
    assert_eq!((field("Cc"), field("Reply-To")), ("<eve@y.example>".to_owned(), "<re1@x.example>".to_owned()));
    assert!(!ada.content.contains("audit"), "{}", ada.content);
    assert_eq!(field("X-Number"), "1");
    assert_eq!(field("Message-ID"), "<1.x@x.example>");
    assert_eq!(field("Auto-Submitted"), "auto-generated");
    assert_eq!(field("List-Unsubscribe"), "<https://x.example/u?t=t%2F1>");
    assert_eq!(field("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    // Text is as it is, HTML is escaped.
    assert!(ada.body().contains("Ada <ada@y.example> & all"), "{}", ada.content);
    assert!(ada.body().contains("<p>Ada &lt;ada@y.example&gt;</p>"), "{}", ada.content);
    assert_eq!(to(&taken, "bob@y.example").field("List-Unsubscribe").as_deref(), Some("<https://x.example/u?t=t%202>"));
}

#[test]
fn columns_say_where_it_goes() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("");
    sandbox.file("terms.txt", "the terms");
    sandbox.file(
        "people.csv",
        "Email;Cc;BCC;name;attach\n\
         ada@y.example;c1@y.example, c2@y.example;;Ada Lovelace;terms.txt\n\
         \"bob@y.example; ben@y.example\";;b@y.example;;\n",
    );
    sandbox.run(&batch("people.csv", &sink.url(), &[])).exits(0);
    let taken = sink.taken();
    let ada = to(&taken, "ada@y.example");
    assert_eq!(ada.field("To").as_deref(), Some("\"Ada Lovelace\" <ada@y.example>"), "{}", ada.content);
    assert_eq!(ada.recipients, ["ada@y.example", "c1@y.example", "c2@y.example"]);
    assert!(ada.content.contains("filename=\"terms.txt\"") || ada.content.contains("filename=terms.txt"));
    let bob = to(&taken, "bob@y.example");
    assert_eq!(bob.recipients, ["bob@y.example", "ben@y.example", "b@y.example"]);
    assert!(!bob.content.contains("b@y.example\r\n") || bob.field("Bcc").is_none(), "{}", bob.content);
    assert!(!bob.content.contains("terms.txt"));
}

#[test]
fn a_template_speaks_the_language_of_the_row() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("");
    sandbox.file("templates/welcome/subject.txt", "Welcome, {{first_name}}\n");
    sandbox.file("templates/welcome/subject.zh.txt", "欢迎 {{first_name}}\n");
    sandbox.file("templates/welcome/welcome.html", "<p style=\"x\">Welcome</p>");
    sandbox.file("templates/welcome/welcome.zh.html", "<p>欢迎</p>");
    sandbox.file("templates/welcome/template.toml", "attachments = [\"terms-{{plan}}.txt\"]\n");
    sandbox.file("templates/welcome/terms-pro.txt", "terms\n");
    sandbox.file(
        "people.csv",
        "to,First Name,locale,plan\nada@y.example,Ada,,pro\nli@y.example,Li,zh-CN,pro\nbob@y.example,Bob,fr,pro\n",
    );
    let url = sink.url();
    let arguments = ["batch", "people.csv", "--template", "./templates/welcome", "--server", &url, "-r", "s@x.example"];
    sandbox.run(&arguments).exits(0);
    let taken = sink.taken();
    assert_eq!(to(&taken, "ada@y.example").field("Subject").as_deref(), Some("Welcome, Ada"));
    assert_eq!(to(&taken, "bob@y.example").field("Subject").as_deref(), Some("Welcome, Bob"));
    let li = to(&taken, "li@y.example");
    assert!(li.field("Subject").is_some_and(|subject| subject.starts_with("=?utf-8?")), "{}", li.content);
    assert!(!li.content.contains("Welcome"), "{}", li.content);
    assert!(taken.iter().all(|taken| taken.content.contains("terms-pro.txt")));
    // A row whose file is not there, before anything is sent.
    sandbox.file("people.csv", "to,First Name,plan\nada@y.example,Ada,pro\nbob@y.example,Bob,free\n");
    let run = sandbox.run(&arguments).exits(65).says("row 2").says("terms-free.txt");
    assert_eq!(sink.count(), 3, "{run:#?}");
}

#[test]
fn a_row_leads_out_of_no_folder() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("");
    let url = sink.url();
    sandbox.file("invoices/1.txt", "one");
    sandbox.file("invoices/2.txt", "two");
    sandbox.file("secret.txt", "secret");
    let attach = ["--attach", "invoices/{{n}}.txt;name=invoice-{{n}}.txt"];
    let run = |table: &str| {
        let file = sandbox.file("people.csv", table);
        sandbox.run(&batch(&file, &url, &attach))
    };
    let out = "to,n\nada@y.example,1\nbob@y.example,../secret\n";
    is_refused(run(out), &sink, &["row 2", "'invoices/../secret.txt' lies outside of invoices"]);
    is_refused(run("to,n\nada@y.example,1\nbob@y.example,3\n"), &sink, &["row 2", "invoices/3.txt"]);
    std::os::unix::fs::symlink("../secret.txt", sandbox.path("invoices/4.txt")).expect("a link");
    is_refused(run("to,n\nada@y.example,4\n"), &sink, &["row 1", "lies outside of"]);
    // The column, too, is held in its folder.
    let file = sandbox.file("people.csv", "to,attach\nada@y.example,/etc/passwd\n");
    is_refused(sandbox.run(&batch(&file, &url, &[])), &sink, &["row 1", "lies outside of"]);
    run("to,n\nada@y.example,1\nbob@y.example,2\n").exits(0);
    let taken = sink.taken();
    for (who, name) in [("ada@y.example", "invoice-1.txt"), ("bob@y.example", "invoice-2.txt")] {
        assert!(to(&taken, who).content.contains(name), "{who}");
    }
}

/// A file that goes to all is encoded once, and never held as often as there are messages.
#[test]
fn a_large_file_for_all_is_encoded_once() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("PIPELINING, CHUNKING");
    let noise: Vec<u8> = (0..10_000_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    sandbox.file("large.bin", noise);
    let file = sandbox.file("people.csv", people(200));
    let arguments = batch(&file, &sink.url(), &["--attach", "large.bin", "--report", "run.jsonl"])
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut child = super::start(&sandbox, &arguments);
    let mut peak = 0;
    while child.try_wait().expect("a state").is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
        peak = peak.max(line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number"));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    crate::support::finish(child).exits(0);
    assert_eq!((sink.count(), ended(&sandbox.path("run.jsonl"), "accepted")), (200, 200));
    assert!(peak > 0 && peak < 64 * 1024, "{peak} kB at the most");
}

#[test]
fn the_message_id_is_the_rows_on_every_attempt() {
    let sandbox = Sandbox::new();
    let first = std::sync::atomic::AtomicBool::new(true);
    let sink = Sink::with("", move |moment| match &moment.heard {
        // Heard of, yet not taken.
        crate::support::sink::Heard::Content(_) if first.swap(false, std::sync::atomic::Ordering::SeqCst) => {
            crate::support::sink::Act::Say("451 4.3.0 later".to_owned())
        }
        _ => crate::support::sink::Act::Agree,
    });
    let file = sandbox.file("people.csv", people(3));
    let url = sink.url();
    let more = ["--report", "run.jsonl", "-o", "retry.initial-delay=20ms", "--concurrency", "1"];
    sandbox.run(&batch(&file, &url, &more)).exits(0);
    let ids = |kind: &str, row: u64| {
        let records = records(&sandbox.path("run.jsonl"), kind).into_iter().filter(|record| record["row"] == row);
        records.map(|record| record["message_id"].as_str().expect("an ID").to_owned()).collect::<Vec<_>>()
    };
    let tried = ids("attempt", 1);
    assert_eq!(tried.len(), 1);
    assert_eq!(ids("outcome", 1), tried);
    let taken = sink.taken();
    let mut seen: Vec<_> = taken.iter().filter_map(|taken| taken.field("Message-ID")).collect();
    assert!(seen.contains(&tried[0]));
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3);
    assert_eq!(who(&sink).len(), 3);
}

#[test]
fn looking_sends_nothing() {
    let sandbox = Sandbox::new();
    let sink = Sink::new("");
    let url = sink.url();
    let file = sandbox.file("people.csv", people(3));
    let dry = sandbox.run(&batch(&file, &url, &["--dry-run", "--report", "run.jsonl"])).exits(0).stdout;
    for line in ["rows        3", "messages    3", "recipients  3"] {
        assert!(dry.contains(line), "{dry}");
    }
    let arguments =
        ["batch", &file, "--server", &url, "-r", "s@x.example", "-s", "No. {{n}}", "--body", "Dear {{to}},"];
    let preview = sandbox.run(&[&arguments[..], &["--preview", "2"]].concat()).exits(0).stdout;
    for line in ["subject     No. 1\n", "Dear p1@y.example,\n", "to          p2@y.example\n"] {
        assert!(preview.contains(line), "{preview}");
    }
    assert!(!preview.contains("No. 3"), "{preview}");
    assert!(!sandbox.path("run.jsonl").exists());
    // No state is left behind either.
    let left = fs::read_dir(sandbox.path(".local/state/mailsend/batches")).map(Iterator::count).unwrap_or_default();
    assert_eq!(left, 0);
    assert_eq!(sink.count(), 0);
    // Neither does a look at what is left to be done.
    let look = ["--dry-run", "--resume", "--report", "run.jsonl"];
    sandbox.run(&batch(&file, &url, &look)).exits(0);
    assert!(!sandbox.path("run.jsonl").exists());
    sandbox.run(&batch(&file, &url, &["--report", "run.jsonl", "--rows", "2"])).exits(0);
    let before = fs::read(sandbox.path("run.jsonl")).expect("a ledger");
    let dry = sandbox.run(&batch(&file, &url, &look)).exits(0).stdout;
    assert!(dry.contains("messages    2\n") && dry.contains("settled     1\n"), "{dry}");
    assert_eq!(fs::read(sandbox.path("run.jsonl")).expect("a ledger"), before);
    assert_eq!(sink.count(), 1);
}
