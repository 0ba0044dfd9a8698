use std::{fs, path::Path, time::Instant};

use super::*;
use crate::mail::{Entry, parse_list_at};

/// The files `own`, `mailrc` and `system` with these texts.
struct Files {
    folder: tempfile::TempDir,
    allows: Vec<AliasKind>,
}

impl Files {
    fn new(own: &str, mailrc: &str, system: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("own", own), ("mailrc", mailrc), ("system", system)] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder, allows: Vec::new() }
    }

    fn system(text: &str) -> Self {
        Self::new("", "", text)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn aliases(&self) -> Aliases {
        let table = SendmailTable {
            domain: Some("box.example".to_owned()),
            allows: self.allows.clone(),
            ..SendmailTable::default()
        };
        let sources = vec![
            (self.path("own"), Form::Aliases),
            (self.path("mailrc"), Form::Mailrc),
            (self.path("system"), Form::Aliases),
        ];
        Aliases::of(sources, &table, "Host7".to_owned())
    }

    fn expand(&self, recipients: &str) -> Result<Vec<String>, String> {
        let entries = parse_list_at(recipients, "").unwrap();
        let recipients: Vec<Mailbox> = entries.iter().flat_map(Entry::mailboxes).cloned().collect();
        let expanded = self.aliases().expand(&recipients).map_err(|error| match &error {
            ConfigError::Value { hint: Some(hint), .. } => format!("{error} ({hint})"),
            _ => error.to_string(),
        })?;
        let places = expanded.places.iter().map(ToString::to_string);
        Ok(expanded.mailboxes.iter().map(ToString::to_string).chain(places).collect())
    }

    #[track_caller]
    fn leads(&self, recipients: &str, wanted: &[&str]) {
        assert_eq!(self.expand(recipients).unwrap(), wanted, "{recipients}");
    }

    #[track_caller]
    fn fails(&self, recipients: &str, wanted: &[&str]) {
        let error = self.expand(recipients).unwrap_err();
        assert!(wanted.iter().all(|wanted| error.contains(wanted)), "{error}");
    }
}

#[test]
fn names_lead_to_names_and_addresses() {
    let files = Files::system("root: ada, Ops <ops@x.example>\nada: \\ada, ada@y.example\nPostmaster: ROOT\n");
    files.leads("postmaster", &["ada@box.example", "ada@y.example", "Ops <ops@x.example>"]);
    files.leads(
        "root@LOCALHOST, root@host7, root@localhost.localdomain",
        &["ada@box.example", "ada@y.example", "Ops <ops@x.example>"],
    );
    files.leads("bob, Root <root@z.example>, bob@localhost", &["bob@box.example", "Root <root@z.example>"]);
}

#[test]
fn the_first_file_that_knows_a_name_counts() {
    let files = Files::new(
        "a: own@x.example\n",
        "alias a rc@x.example\nalias b rc@x.example c\nalias b d\n",
        "b: s@x.example\nc: s@x.example\n",
    );
    files.leads("a", &["own@x.example"]);
    files.leads("b", &["rc@x.example", "s@x.example", "d@box.example"]);
    for text in ["a", "B", "c"] {
        assert!(files.aliases().knows(&parse_list_at(text, "").unwrap()[0].mailboxes()[0].address).unwrap());
    }
    assert_eq!(files.aliases().nearest("d").unwrap(), None);
}

/// The mailbox of a name is what stands in its own list.
#[test]
fn a_name_in_its_own_list_is_itself() {
    Files::system("root: root, ops@x.example\n").leads("root", &["root@box.example", "ops@x.example"]);
    Files::system("root: root@localhost\n").leads("root", &["root@box.example"]);
    Files::new("ada: ada, a@x.example\n", "", "ada: never@x.example\n")
        .leads("ada", &["ada@box.example", "a@x.example"]);
}

#[test]
fn circles_show_their_way() {
    let files = Files::system("x: a\na: b\nb: c, ok@x.example\nc: A\n");
    files.fails("x", &["system:4: ", "circle: a -> b -> c -> a"]);
    let mut files = Files::system("");
    files.allows = vec![AliasKind::Include];
    fs::write(files.path("system"), format!("a: :include:{}\n", files.path("list").display())).unwrap();
    fs::write(files.path("list"), format!("b@x.example\n:include:{}\n", files.path("list").display())).unwrap();
    files.fails("a", &["list:2: ", "circle: :include:/"]);
    fs::write(files.path("list"), "a, b@x.example\n").unwrap();
    files.leads("a", &["a@box.example", "b@x.example"]);
    let chain: String = (0..200).map(|n| format!("n{n}: n{}\n", n + 1)).collect();
    Files::system(&chain).fails("n0", &["system:100: ", "more than 100"]);
}

#[test]
fn what_nobody_knows_goes_to_the_catch_all() {
    for name in ["*", "default"] {
        let files = Files::system(&format!("ada: a@x.example\n{name}: root, all@x.example\n"));
        files.leads("who, ada, else", &["root@box.example", "all@x.example", "a@x.example"]);
    }
    Files::system("x: \\y\n*: all@x.example\n").leads("x", &["y@box.example"]);
}

#[test]
fn what_is_no_address_is_refused_unless_it_is_allowed() {
    let text = "c: \"|exec cat > /dev/null\"\nf: /var/mail/f\nn: /dev/null\n";
    let mut files = Files::system(text);
    files.fails("c", &["system:1: '|exec cat > /dev/null' is a command", "[sendmail] allow = [\"command\"]"]);
    files.fails("f", &["system:2: '/var/mail/f' is a file", "allow = [\"file\"]"]);
    files.leads("n", &["/dev/null"]);
    files.allows = vec![AliasKind::Command];
    files.fails("f", &["allow = [\"command\", \"file\"]"]);
    files.allows = vec![AliasKind::Command, AliasKind::File];
    files.leads("f, c, f", &["/var/mail/f", "|exec cat > /dev/null"]);
}

#[test]
fn included_lists_name_addresses_only() {
    let mut files = Files::system("");
    let list = files.path("list");
    fs::write(files.path("system"), format!("all: :include:{}, z@x.example\nbob: b@x.example\n", list.display()))
        .unwrap();
    fs::write(&list, "# members\nAda <ada@x.example>, bob\n\n  carl # new\n").unwrap();
    files.fails("all", &["system:1: ", "is a list in another file", "allow = [\"include\"]"]);
    files.allows = vec![AliasKind::Include, AliasKind::Command, AliasKind::File];
    files.leads("all", &["Ada <ada@x.example>", "b@x.example", "carl@box.example", "z@x.example"]);
    fs::write(&list, "a@x.example\n|sh\n").unwrap();
    files.fails("all", &["list:2: '|sh' is a command", "addresses only"]);
    fs::write(&list, "a@x.example\nb c\n").unwrap();
    files.fails("all", &["list:2: "]);
    fs::remove_file(&list).unwrap();
    files.fails("all", &["system:1: ", "list: No such file"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::write(&list, "a@x.example\n").unwrap();
        fs::set_permissions(&list, fs::Permissions::from_mode(0o666)).unwrap();
        files.fails("all", &["system:1: ", "everybody can write it", "chmod o-w"]);
        fs::set_permissions(files.path("own"), fs::Permissions::from_mode(0o602)).unwrap();
        files.fails("bob", &["own: ", "everybody can write it"]);
    }
}

/// Nobody who writes to an address suffers from a broken file, or from a line that others need.
#[test]
fn only_what_is_needed_is_read() {
    let files = Files::system("a: b c\nd: d@x.example\n");
    files.leads("d", &["d@x.example"]);
    files.fails("a", &["system:1: "]);
    let files = Files::system("no alias at all\n");
    files.leads("a@x.example", &["a@x.example"]);
    files.fails("d", &["system:1: ", "is no alias"]);
    fs::remove_file(files.path("system")).unwrap();
    files.leads("d", &["d@box.example"]);
    fs::create_dir(files.path("system")).unwrap();
    files.fails("d", &["no file with a list"]);
}

#[test]
fn everything_can_be_looked_at() {
    assert_eq!(Files::new("a: b@x.example\n", "alias c d\n", "e: f\n").aliases().check().unwrap(), (3, Vec::new()));
    let (count, remarks) = Files::system("a: b\na: c\n").aliases().check().unwrap();
    assert_eq!((count, remarks.len()), (1, 1));
    assert!(Files::system("a: b\nc: d e\n").aliases().check().unwrap_err().to_string().contains("system:2: "));
}

/// Each name is looked up once: lists of lists do not multiply, and 10,000 members are nothing.
#[test]
fn many_are_fast_and_a_million_is_an_accident() {
    let mut text = String::new();
    for level in 0..60 {
        text += &format!("l{level}: l{0}, L{0}, l{0}@localhost\n", level + 1);
    }
    text += "l60: end@x.example\n";
    Files::system(&text).leads("l0", &["end@x.example"]);
    let members = |count: usize| (0..count).map(|n| format!("user{n}@x.example")).collect::<Vec<_>>().join(",\n ");
    let start = Instant::now();
    assert_eq!(Files::system(&format!("all: {}\n", members(10_000))).expand("all").unwrap().len(), 10_000);
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    Files::system(&format!("all: {}\n", members(100_001))).fails("all", &["system:1: ", "more than 100000 recipients"]);
}

#[test]
fn files_are_found_where_they_belong() {
    let environment = Environment::from([("HOME", "/home/ada")]);
    let places = |places: &[&str], environment: &Environment, has_mailrc| {
        let files = super::Files { places: places.iter().map(PathBuf::from).collect(), ..super::Files::default() };
        let aliases = Aliases::new(&files, environment, &SendmailTable::default(), has_mailrc);
        aliases.paths().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        places(&["/home/ada/.config/mailsend/config.toml", SYSTEM_FILE], &environment, true),
        "/home/ada/.config/mailsend/aliases /home/ada/.mailrc /etc/aliases"
    );
    let elsewhere = Environment::from([("HOME", "/home/ada"), ("MAILRC", "/dev/null")]);
    assert_eq!(places(&[SYSTEM_FILE], &elsewhere, true), "/dev/null /etc/aliases");
    assert_eq!(places(&["c.toml", SYSTEM_FILE], &environment, false), "aliases /etc/aliases");
    assert_eq!(read_list(Path::new("/dev/null")).unwrap(), "");
}
