use super::*;
use crate::template::list;
use crate::{
    config::{ConfigFile, DataSource},
    template::{Data, Names, Rendered},
};
use serde_json::{Value, json};

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Loads the folder `t` of these files.
fn of(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Template, Vec<TemplateError>>) {
    let folder = folder(files);
    let template = load_reporting_all(&format!("{}/t", folder.path().display()), &Files::default());
    (folder, template)
}

fn render(files: &[(&str, &str)], data: Value, locale: Option<&str>) -> Rendered {
    let (_folder, template) = of(files);
    template.unwrap().render(&Data::new(data), locale).unwrap()
}

fn errors(files: &[(&str, &str)]) -> Vec<String> {
    of(files).1.unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_folder_is_a_template() {
    let rendered = render(
        &[
            ("t/subject.txt", "Hi {{name}}\n"),
            ("t/body.txt", "{{> greeting}}!\n"),
            ("t/body.html", "<p>{{> greeting}}</p><img src='{{logo}}.png'>"),
            ("t/layout.html", "<html>{{name}}:{{{body}}}</html>"),
            ("t/layout.txt", "{{> @partial-block}}-- \nus"),
            ("t/partials/greeting.txt", "Dear {{name}}"),
            ("t/partials/greeting.html", "<b>{{name}}</b>"),
            ("t/a.png", "x"),
            ("t/template.toml", "attachments = [\"{{name}}.pdf\"]\noptional = [\"logo\"]\n"),
        ],
        json!({"name": "A & B", "logo": "a"}),
        None,
    );
    assert_eq!(rendered.subject.as_deref(), Some("Hi A & B"));
    assert_eq!(rendered.text.as_deref(), Some("Dear A & B!\n-- \nus"));
    assert_eq!(rendered.html.as_deref(), Some("<html>A &amp; B:<p><b>A &amp; B</b></p><img src=\"cid:a.png\"></html>"));
    assert_eq!(rendered.images.len(), 1);
    assert!(rendered.attachments[0].input.path().ends_with("t/A & B.pdf"), "{:?}", rendered.attachments);
}

#[test]
fn languages_go_together() {
    let files = [
        ("t/subject.txt", "Hello"),
        ("t/subject.de.txt", "Hallo"),
        ("t/body.txt", "hello"),
        ("t/t.html", "<p>hello"),
        ("t/t.de.html", "<p>hallo"),
        ("t/t.zh-TW.html", "<p>tw"),
    ];
    let parts = |locale: Option<&str>, data: Value| {
        let rendered = render(&files, data, locale);
        [rendered.subject, rendered.text, rendered.html].map(Option::unwrap_or_default)
    };
    assert_eq!(parts(None, json!({})), ["Hello", "hello", "<p>hello"]);
    assert_eq!(parts(Some("de_AT"), json!({})), ["Hallo", "", "<p>hallo"]);
    assert_eq!(parts(None, json!({"Locale": "de"})), ["Hallo", "", "<p>hallo"]);
    assert_eq!(parts(Some("zh-tw"), json!({"locale": "de"})), ["Hello", "", "<p>tw"]);
    assert_eq!(parts(Some("zh"), json!({})), ["Hello", "hello", "<p>hello"]);
    let (_folder, only) = of(&[("t/body.de.txt", "hallo")]);
    let error = only.unwrap().render(&Data::new(json!({})), Some("fr")).unwrap_err();
    assert_eq!(error.to_string(), "t: it has neither text nor HTML for the language 'fr'");
}

#[test]
fn markdown_gives_both() {
    let rendered = render(
        &[("t/body.md", "# Hi {{name}}\n\n{{{more}}} <a href=\"{{url}}\">x</a>\n")],
        json!({"name": "*A* <b>", "more": "*y*", "url": "http://x.example/?a=1&b=\"2\""}),
        None,
    );
    assert_eq!(rendered.text.as_deref(), Some("# Hi *A* <b>\n\n*y* <a href=\"http://x.example/?a=1&b=\"2\"\">x</a>\n"));
    let html = rendered.html.unwrap();
    assert!(html.contains("<h1>Hi *A* &lt;b&gt;</h1>"), "{html}");
    assert!(html.contains("<em>y</em> <a href=\"http://x.example/?a=1&#38;b=&#34;2&#34;\">"), "{html}");
    assert!(html.starts_with("<!DOCTYPE html>"), "{html}");
}

#[test]
fn tables_name_their_files() {
    let folder = folder(&[
        ("mail/w.html", "<p>{{name}}"),
        ("mail/w.de.html", "<p>Herr {{name}}"),
        ("templates/news/body.txt", "news {{x}}"),
        ("templates/.hidden/body.txt", "x"),
    ]);
    let path = folder.path().join("config.toml");
    let text = "[templates.welcome]\nsubject = \"Hi {{name}}\"\nhtml = \"mail/w.html\"\ndata = \"p.csv\"\n\
                [templates.gone]\nhtml = \"mail/x.html\"\n[templates.news2]\nfolder = \"templates/news\"\nsubject = \"s\"\n";
    let files =
        Files { user: Some(ConfigFile::parse(&path, text).unwrap()), places: vec![path.clone()], ..Files::default() };
    let welcome = load("welcome", &files).unwrap();
    let rendered = welcome.render(&Data::new(json!({"name": "Ada", "locale": "de"})), None).unwrap();
    assert_eq!((rendered.subject.as_deref(), rendered.html.as_deref()), (Some("Hi Ada"), Some("<p>Herr Ada")));
    assert_eq!(welcome.source(), Some(&DataSource::File(folder.path().join("p.csv"))));
    assert_eq!(load("news", &files).unwrap().variables(), [("x", "news/body.txt:1:6")]);
    let news = load("news2", &files).unwrap();
    assert_eq!((news.name(), news.variables().len()), ("news2", 1));
    let names: Vec<String> = list(&files).into_iter().map(|listed| listed.name).collect();
    assert_eq!(names, ["gone", "news", "news2", "welcome"]);
    let error = load("gone", &files).unwrap_err();
    assert!(error.is_unreadable && error.name.ends_with("config.toml:5"), "{error:?}");
    let error = load("newz", &files).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.hints[0].as_str()),
        ("template 'newz': there is none of this name", "did you mean 'news'?")
    );
    for name in ["../news", "./nonesuch", "", ".hidden/.."] {
        assert!(load(name, &files).is_err(), "{name}");
    }
}

#[test]
fn everything_that_is_wrong_is_told() {
    assert_eq!(
        errors(&[
            ("t/subject.txt", "a\nb"),
            ("t/body.txt", "x\n{{#if a}}"),
            ("t/body.html", "{{> foot}}<img src=l.png>"),
            ("t/layout.html", "nothing"),
            ("t/partials/foot.html", "{{> leg}}"),
            ("t/partials/leg.html", "\n{{> foot}}"),
        ]),
        [
            "t/subject.txt: it contains a line end, where only one line may be",
            "t/body.txt:2: the block '{{#if a}}' has no end",
            "t/partials/leg.html:2:1: partials include each other without end: 'foot' includes 'leg' includes 'foot'",
            "t/layout.html: the layout has no place for the body",
            "t/body.html: there is no image 'l.png' in the template's folder",
        ]
    );
    assert!(errors(&[("t/x", "")])[0].ends_with("/t: there is nothing of a template in it"));
    assert!(errors(&[("t/template.toml", "optionl = []")])[0].contains("template.toml:1: unknown key 'optionl'"));
    let (folder, _) = of(&[("t/body.txt", "x")]);
    fs::write(folder.path().join("t/body.txt"), b"\xFF").unwrap();
    let error = load(&format!("{}/t", folder.path().display()), &Files::default()).unwrap_err();
    assert_eq!(error.to_string(), "t/body.txt: it is not UTF-8");
}

#[test]
fn names_are_checked_in_every_part() {
    let (_folder, template) = of(&[
        ("t/body.txt", "{{a}}{{maybe}}"),
        ("t/body.de.txt", "{{b}}"),
        ("t/layout.txt", "{{c}}{{{body}}}"),
        ("t/template.toml", "optional = [\"maybe\"]"),
    ]);
    let template = template.unwrap();
    let names = Names { given: vec!["x".to_owned()], optional: Vec::new() };
    let places: Vec<String> = template.check_all(&names).into_iter().map(|error| error.name).collect();
    assert_eq!(places, ["t/body.txt:1:1", "t/body.de.txt:1:1", "t/layout.txt:1:1"]);
    let names: Vec<&str> = template.variables().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["a", "maybe", "b", "c"]);
    let text = template.render(&Data::new(json!({"a": 1, "c": 3})), None).unwrap().text;
    assert_eq!(text.as_deref(), Some("31"));
}

#[test]
fn attachments_stay_in_their_folder() {
    let (_folder, template) = of(&[("t/body.txt", "x"), ("t/template.toml", "attachments = \"in/{{id}}.pdf\"")]);
    let template = template.unwrap();
    let render = |id: &str| template.render(&Data::new(json!({"id": id})), None);
    assert!(render("7").unwrap().attachments[0].input.path().ends_with("t/in/7.pdf"));
    assert!(render("../../etc/passwd").unwrap_err().to_string().contains("leads out of its folder"));
    let (_folder, template) = of(&[("t/body.txt", "x"), ("t/template.toml", "attachments = \"{{id}}\"")]);
    assert!(template.unwrap().render(&Data::new(json!({"id": "/etc/passwd"})), None).is_err());
}

#[test]
fn a_folder_takes_nothing_from_elsewhere() {
    for (line, expected) in [
        ("data = { command = \"id\" }", "data: a template's folder runs no command"),
        ("data = { url = \"http://127.0.0.1:9/x\" }", "data: a template's folder asks no server"),
        ("data = { url = \"https://x.example/x\" }", "data: a template's folder asks no server"),
        ("data = \"../rows.csv\"", "data: "),
        ("text = \"/etc/passwd\"", "text: /etc/passwd lies outside"),
        ("html = \"~/x.html\"", "html: "),
        ("layout = [\"x/../../l.html\"]", "layout: "),
        ("partials = \"..\"", "partials: "),
        ("attachments = [\"ok.pdf\", \"/etc/passwd\"]", "attachments: /etc/passwd lies outside"),
        ("attachments = [\"{{x}}/../../y\"]", "attachments: "),
        ("folder = \"/etc\"", "folder: "),
    ] {
        let errors = errors(&[("t/body.txt", "x"), ("t/template.toml", line)]);
        assert!(errors[0].contains(&format!("template.toml: {expected}")), "{errors:?}");
    }
    let inside = "data = \"rows.csv\"\nlayout = \"l/l.html\"\npartials = \"parts\"\nattachments = \"{{x}}.pdf\"";
    assert!(
        of(&[("t/body.txt", "x"), ("t/template.toml", inside), ("t/parts/a.txt", ""), ("t/l/l.html", "{{{body}}}")])
            .1
            .is_ok()
    );
}

#[test]
fn no_value_sets_a_mark_of_an_attachment() {
    let table = "attachments = [\"{{a}}\", \"{{a}};name={{b}};type=text/plain\"]";
    let (_folder, template) = of(&[("t/body.txt", "x"), ("t/template.toml", table)]);
    let template = template.unwrap();
    let hostile = "b.pdf;name=evil.exe;type=application/x-msdownload";
    let specs = template.render(&Data::new(json!({"a": hostile, "b": "c;cid=d"})), None).unwrap().attachments;
    for spec in &specs {
        assert!(spec.input.path().to_string_lossy().ends_with(&format!("/t/{hostile}")), "{spec:?}");
        assert_eq!(spec.cid, None);
    }
    let marks = |spec: &crate::message::AttachmentSpec| (spec.name.clone(), spec.media_type.clone());
    assert_eq!(marks(&specs[0]), (None, None));
    assert_eq!(marks(&specs[1]), (Some("c;cid=d".to_owned()), Some("text/plain".to_owned())));
    assert_eq!(template.variables().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["a", "b"]);
}

#[cfg(unix)]
#[test]
fn no_link_leads_out_of_a_folder() {
    use std::os::unix::fs::symlink;
    let linked = |name: &str, table: &str| {
        let files =
            [("t/body.html", "<img src='a.png'>x"), ("t/template.toml", table), ("secret", "key"), ("in/b.md", "b")];
        let folder = folder(&files);
        let link = folder.path().join("t").join(name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&link);
        symlink(folder.path().join("secret"), &link).unwrap();
        if name != "a.png" {
            fs::write(folder.path().join("t/a.png"), "").unwrap();
        }
        let template = load(&format!("{}/t", folder.path().display()), &Files::default());
        (folder, template)
    };
    for (name, table) in [
        ("subject.txt", ""),
        ("body.txt", ""),
        ("body.de.html", ""),
        ("layout.txt", ""),
        ("partials/p.txt", ""),
        ("a.png", ""),
        ("template.toml", ""),
        ("own.txt", "text = \"own.txt\""),
        ("rows.csv", "data = \"rows.csv\""),
        ("f.pdf", "attachments = \"f.pdf;name=g.pdf\""),
    ] {
        let error = linked(name, table).1.unwrap_err().to_string();
        assert!(error.contains("out of the template's folder") || error.contains("lies outside"), "{name}: {error}");
    }
    let (folder, template) = linked("1.pdf", "attachments = \"{{id}}.pdf\"");
    let template = template.unwrap();
    let error = template.render(&Data::new(json!({"id": 1})), None).unwrap_err().to_string();
    assert!(error.contains("'1.pdf' is a link that leads out"), "{error}");
    // A link within the folder is nobody's harm.
    symlink(folder.path().join("t/a.png"), folder.path().join("t/2.pdf")).unwrap();
    assert!(template.render(&Data::new(json!({"id": 2})), None).is_ok());
    // What the configuration names is the user's own will.
    let text = "[templates.x]\nfolder = \"t\"\ntext = \"linked.txt\"\nattachments = \"{{id}}.pdf\"\n";
    symlink(folder.path().join("secret"), folder.path().join("linked.txt")).unwrap();
    let user = ConfigFile::parse(&folder.path().join("c.toml"), text).unwrap();
    let files = Files { user: Some(user), ..Files::default() };
    let rendered = load("x", &files).unwrap().render(&Data::new(json!({"id": 1})), None).unwrap();
    assert_eq!(rendered.text.as_deref(), Some("key"));
    assert!(rendered.attachments[0].input.path().ends_with("1.pdf"));
}

#[test]
fn images_of_markdown_and_partials() {
    let files = [
        ("t/body.md", "![Logo](img/{{logo}}.png)\n"),
        ("t/layout.html", "<p>{{lookup this \"logo\"}}</p>{{{body}}}{{> foot}}"),
        ("t/partials/foot.hbs", "<img src='img/b.png'>"),
        ("t/img/a.png", "x"),
        ("t/img/b.png", "y"),
    ];
    let rendered = render(&files, json!({"logo": "a"}), None);
    assert_eq!(
        rendered.html.as_deref(),
        Some("<p>a</p><p><img src=\"cid:img-a.png\" alt=\"Logo\" /></p>\n<img src=\"cid:img-b.png\">")
    );
    let (_folder, template) = of(&files);
    let error = template.unwrap().render(&Data::new(json!({"logo": "c"})), None).unwrap_err();
    assert_eq!(error.to_string(), "t: there is no image 'img/c.png' in the template's folder");
    fn shared<T: Send + Sync>() {}
    shared::<Template>();
}

#[test]
fn the_digest_is_that_of_everything() {
    let digest = |text: &str| of(&[("t/body.txt", text), ("t/partials/a.txt", "x")]).1.unwrap().digest().to_owned();
    assert_eq!(digest("a").len(), 64);
    assert_eq!(digest("a"), digest("a"));
    assert_ne!(digest("a"), digest("b"));
}
