//! Templates: listing, checking and rendering them.

use std::fs;

use mail_parser::{MessageParser, MimeHeaders};
use serde_json::Value;

use crate::support::Sandbox;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A template in the folder beside the configuration, and one in its table.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.config(
        "[profiles.work]\nserver = \"maildir:box\"\nfrom = \"Ada <ada@example.com>\"\n\
         [templates.notice]\nsubject = \"Notice for {{Name}}\"\ntext = \"mail/notice.txt\"\ndata = { command = \"list-people\" }\n",
    );
    sandbox.file("mail/notice.txt", "Dear {{name}}\n");
    sandbox.file("templates/welcome/subject.txt", "Welcome, {{first_name}}\n");
    sandbox.file("templates/welcome/subject.de.txt", "Willkommen, {{first_name}}\n");
    sandbox.file(
        "templates/welcome/welcome.html",
        "<style>p { color: red }</style><p>{{first_name}} since {{date since format=\"long\"}}</p>\
         <img src=\"logo.png\">{{> foot}}",
    );
    sandbox.file("templates/welcome/welcome.de.html", "<p>{{first_name}}, {{date since format=\"long\"}}</p>");
    sandbox.file("templates/welcome/partials/foot.html", "<p>{{default nick \"friend\"}}</p>");
    sandbox.file("templates/welcome/logo.png", PNG);
    sandbox.file(
        "templates/welcome/template.toml",
        "optional = [\"nick\"]\nattachments = [\"terms-{{plan}}.txt;name=terms.txt\"]\ndata = \"people.csv\"\n",
    );
    sandbox.file("templates/welcome/terms-pro.txt", "terms\n");
    sandbox.file(
        "people.json",
        "[{\"First Name\": \"Eve\", \"since\": \"2026-01-02\", \"plan\": \"pro\", \"email\": \"eve@example.com\"},\
          {\"First Name\": \"<Bob>\", \"since\": \"2026-03-04\", \"plan\": \"pro\", \"email\": \"bob@example.com\", \"locale\": \"de\"}]",
    );
    sandbox
}

#[test]
fn templates_are_listed_with_their_sources() {
    let sandbox = sandbox();
    let text = sandbox.run(&["template", "list"]).exits(0).stdout;
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.lines().next().unwrap_or_default().ends_with("$ list-people"), "{text}");
    let listed: Value =
        serde_json::from_str(&sandbox.run(&["template", "list", "--json"]).exits(0).stdout).expect("JSON");
    assert_eq!(listed[0]["path"], format!("{}:4", sandbox.path("config.toml").display()));
    assert_eq!(listed[1]["path"], sandbox.path("templates/welcome").display().to_string());
    assert_eq!(listed[1]["source"], sandbox.path("templates/welcome/people.csv").display().to_string());
    let empty = Sandbox::new();
    empty.run(&["template", "list"]).exits(0).says("templates/NAME with subject.txt");
}

#[test]
fn checking_lists_names_and_every_error() {
    let sandbox = sandbox();
    let text = sandbox.run(&["template", "check"]).exits(0).stdout;
    assert!(text.starts_with("notice: ok\n  Name"), "{text}");
    assert!(text.contains("welcome: ok, also in de\n"), "{text}");
    assert!(text.contains("nick        welcome/partials/foot.html:1:4  optional\n"), "{text}");
    sandbox.file("templates/bad/subject.txt", "{{#if a}}");
    sandbox.file("templates/bad/body.txt", "x {{dat d}}");
    let run = sandbox.run(&["template", "check"]).exits(65);
    run.says("bad/subject.txt:1: the block '{{#if a}}' has no end")
        .says("bad/body.txt:1:3: there is no helper 'dat'")
        .says("hint: did you mean 'date'?");
    let json = sandbox.run(&["template", "check", "./templates/bad", "--json"]).exits(65).stdout;
    let checked: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(checked[0]["errors"].as_array().map(Vec::len), Some(2), "{json}");
    sandbox.run(&["template", "check", "wellcome"]).exits(66).says("did you mean 'welcome'?");
    sandbox.config("[templates.x]\nsubjct = \"a\"\n");
    sandbox.run(&["template", "check", "x"]).exits(78).says("config.toml:2: unknown key 'subjct'").says("'subject'");
}

#[test]
fn a_rendered_message_is_the_message() {
    let sandbox = sandbox();
    let run = ["template", "render", "welcome", "--data", "people.json", "--output", "out", "--set", "nick=A & B"];
    sandbox.run(&run).exits(0).says("wrote out/welcome.eml");
    let eml = fs::read(sandbox.path("out/welcome.eml")).expect("a message");
    let message = MessageParser::new().parse(&eml).expect("a message");
    assert_eq!(message.subject(), Some("Welcome, Eve"));
    assert_eq!(message.to().and_then(|to| to.first()?.address()), Some("eve@example.com"));
    assert_eq!(message.from().and_then(|from| from.first()?.address()), Some("ada@example.com"));
    let html = message.body_html(0).expect("HTML").into_owned();
    assert!(html.contains("<p style=\"color: red;\">Eve since January 2, 2026</p>"), "{html}");
    assert!(html.contains("src=\"cid:logo.png\"") && html.contains("A &amp; B"), "{html}");
    assert!(message.body_text(0).expect("a text made of it").contains("Eve since January 2, 2026"));
    let image = message.attachments().find(|part| part.content_id() == Some("logo.png")).expect("the image");
    assert_eq!(image.contents(), PNG);
    assert!(message.attachments().any(|part| part.attachment_name() == Some("terms.txt")));
    let page = fs::read_to_string(sandbox.path("out/welcome.html")).expect("a page");
    assert!(
        page.contains(&format!("src=\"file://{}\"", sandbox.path("templates/welcome/logo.png").display())),
        "{page}"
    );
    assert!(!sandbox.path("out/welcome.txt").exists());
}

#[test]
fn rows_languages_and_what_is_missing() {
    let sandbox = sandbox();
    let render =
        |more: &[&str]| sandbox.run(&[&["template", "render", "welcome", "--data", "people.json"], more].concat());
    let text = render(&["--row", "2"]).exits(0).stdout;
    assert_eq!(text, "Subject: Willkommen, <Bob>\n\n<p>&lt;Bob&gt;, 4. März 2026</p>\n");
    let text = render(&["--row", "1", "--locale", "de-AT"]).exits(0).stdout;
    assert_eq!(text, "Subject: Willkommen, Eve\n\n<p>Eve, 2. Januar 2026</p>\n");
    render(&["--row", "3"]).exits(65).says("there is no row 3: it has 2");
    render(&["--set", "plan=x", "--eml", "-"]).exits(66).says("terms-x.txt");
    render(&["--set", "plan=../../x", "--eml", "-"]).exits(65).says("leads out of its folder");
    render(&["--set", "since=soon"]).exits(65).says("date: 'soon' is no date");
    render(&["--set", "First Name=a\r\nBcc: x@example.com"]).exits(65).says("line end").says("'first_name'");
    let run = sandbox.run(&["template", "render", "welcome", "--set", "firstname=Eve", "--set", "since=2026-01-02"]);
    run.exits(65).says("no column or value named 'plan'").says("no column or value named 'first_name'");
    let run = sandbox.run_with(&["template", "render", "notice", "--data", "-"], b"{\"Name\": \"Eve\"}").exits(0);
    assert_eq!(run.stdout, "Subject: Notice for Eve\n\nDear Eve\n");
    sandbox.run_with(&["template", "render", "notice", "--data", "-"], b"nonsense").exits(65).says("it is no JSON");
    sandbox.run(&["template", "render", "./nonesuch"]).exits(66).says("no such folder");
    sandbox.run(&["template", "render", "notice", "--set", "x"]).exits(64).says("has no '='");
}

/// The browser is a program that copies the page; nothing waits for it, so the copy is waited for.
#[cfg(unix)]
#[test]
fn the_page_opens_in_a_browser() {
    let mut sandbox = sandbox();
    let browser = sandbox.file(
        "browser",
        "#!/bin/sh\nprintf '%s' \"$1\" > \"$HOME/opened.part\" && mv \"$HOME/opened.part\" \"$HOME/opened\"\n",
    );
    fs::set_permissions(&browser, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a program");
    sandbox.env("BROWSER", &browser);
    sandbox.run(&["template", "render", "welcome", "--data", "people.json", "--output", "out", "--open"]).exits(0);
    let opened = sandbox.path("opened");
    let url = (0..500)
        .find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            fs::read_to_string(&opened).ok()
        })
        .expect("an address");
    assert_eq!(url, format!("file://{}", sandbox.path("out/welcome.html").display()));
}
