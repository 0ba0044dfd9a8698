//! Real servers: what scripted ones cannot prove, that others understand us as we mean it.

mod callers;
mod check;
mod extensions;
mod job;
mod keyring;
mod login;
mod other_servers;
mod recipients;
mod smuggling;
mod trust;
mod window;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::support::{
    Run, Sandbox, authority,
    real::{PASSWORD, Postfix, Real},
    traces_of,
};

/// An address that no other test uses.
fn unique(name: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{name}-{}@example.test", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A user of a server: the profile, the password, the authority to trust. Whatever is run here must not show the
/// password.
struct Desk {
    sandbox: Sandbox,
    /// Name of the user, and address of the sender.
    user: String,
}

impl Desk {
    /// `url` has USER where the name of the user belongs.
    fn new(url: &str) -> Self {
        let sandbox = Sandbox::new();
        let user = unique("ada");
        sandbox.config(&format!(
            "[profiles.test]\nserver = \"{}\"\nfrom = \"Ada Größe <{user}>\"\npassword = {{ file = \"password\" }}\ntls.ca-file = \"ca.pem\"\n",
            url.replace("USER", &user)
        ));
        sandbox.file("ca.pem", &authority().ca);
        let password = sandbox.file("password", PASSWORD);
        fs::set_permissions(password, fs::Permissions::from_mode(0o600)).expect("a mode");
        Self { sandbox, user }
    }

    /// At Postfix, with STARTTLS and a login.
    fn at_postfix(postfix: &Postfix) -> Self {
        Self::new(&format!("smtp://USER@localhost:{}?security=starttls", postfix.postfix.said("submission")))
    }

    /// At Exim, likewise.
    fn at_exim(exim: &Real) -> Self {
        Self::new(&format!("smtp://USER@localhost:{}?security=starttls", exim.said("submission")))
    }

    /// At OpenSMTPD, in the clear.
    fn at_opensmtpd(opensmtpd: &Real) -> Self {
        Self::new(&format!("smtp://127.0.0.1:{}", opensmtpd.said("smtp")))
    }

    /// Runs with these bytes on standard input.
    #[track_caller]
    fn run_with(&self, arguments: &[&str], stdin: &[u8]) -> Run {
        let run = self.sandbox.run_with(arguments, stdin);
        let mut shown = vec![("stdout".to_owned(), run.stdout.clone()), ("stderr".to_owned(), run.stderr.clone())];
        for file in fs::read_dir(self.sandbox.path(".")).expect("a folder").flatten() {
            if file.file_name() != "password" && file.path().is_file() {
                let content = fs::read(file.path()).expect("a file");
                shown.push((file.path().display().to_string(), String::from_utf8_lossy(&content).into_owned()));
            }
        }
        for trace in traces_of(PASSWORD) {
            for (place, text) in &shown {
                assert!(!text.contains(&trace), "the password is in {place}");
            }
        }
        run
    }

    /// Runs as `run_with`, and shows the dialogue and writes the records.
    #[track_caller]
    fn trace(&self, arguments: &[&str], stdin: &[u8]) -> Run {
        self.run_with(&[arguments, &["--trace", "--report", "run.jsonl"]].concat(), stdin)
    }

    /// What the records say of a recipient: state, stage and code.
    #[track_caller]
    fn outcome(&self, recipient: &str) -> (String, String, i64) {
        let records = fs::read_to_string(self.sandbox.path("run.jsonl")).expect("records");
        let record = records
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
            .find(|record| record["recipient"] == recipient)
            .unwrap_or_else(|| panic!("no {recipient} in {records}"));
        let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
        (text("state"), text("stage"), record["code"].as_i64().unwrap_or_default())
    }
}

/// The lines of the session in which Postfix logs this word, once the client has gone.
#[track_caller]
fn session(postfix: &Postfix, word: &str) -> Vec<String> {
    let process =
        |line: &str| line.split_once("smtpd[").and_then(|(_, rest)| rest.split_once(']')).map(|it| it.0.to_owned());
    let found = postfix.postfix.log("postfix.log", word);
    let line = found.iter().find(|line| line.contains(word)).expect("it was found");
    let process = process(line).expect("a line of smtpd");
    let mark = format!("smtpd[{process}]: ");
    loop {
        let log = postfix.postfix.log("postfix.log", word);
        let of_process: Vec<&String> = log.iter().filter(|line| line.contains(&mark)).collect();
        let at = of_process.iter().position(|line| line.contains(word)).expect("it was found");
        let Some(end) = of_process[at..].iter().position(|line| line.contains(": disconnect from")) else {
            std::thread::sleep(std::time::Duration::from_millis(20));
            continue;
        };
        let start = of_process[..at].iter().rposition(|line| line.contains(": connect from")).unwrap_or(0);
        return of_process[start..=at + end].iter().map(|line| (*line).clone()).collect();
    }
}

/// A file that a PDF reader opens.
fn pdf() -> Vec<u8> {
    let mut pdf = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut places = Vec::new();
    for (number, object) in [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] >>",
    ]
    .iter()
    .enumerate()
    {
        places.push(pdf.len());
        pdf.extend(format!("{} 0 obj\n{object}\nendobj\n", number + 1).bytes());
    }
    let table = pdf.len();
    pdf.extend(b"xref\n0 4\n0000000000 65535 f \n");
    for place in places {
        pdf.extend(format!("{place:010} 00000 n \n").bytes());
    }
    pdf.extend(format!("trailer\n<< /Size 4 /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n").bytes());
    pdf
}

/// Octets without any order, the same every time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect()
}

#[test]
fn the_password_would_be_found() {
    // What every test here looks for is worth nothing if this fails.
    for user in ["a", "ad", "ada"] {
        let encoded = encodify::base64::STANDARD.encode(format!("\0{user}\0{PASSWORD}"));
        assert!(traces_of(PASSWORD).iter().any(|trace| encoded.contains(trace.as_str())), "{encoded}");
    }
}
