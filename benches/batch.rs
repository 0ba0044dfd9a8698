//! Batches, as whole processes: a row, a template and a ledger for every message, beside Postfix's smtp-source, which
//! repeats one.
//!
//! `cargo bench --bench batch` prints Markdown; `-- --quick` only shows that everything runs; `-- rate` measures one
//! topic of `rate`, `trips`, `tls`, `rows`, `attachment`, `slow`. Nothing leaves this machine.

#[allow(dead_code)]
mod peers;
mod postfix;
mod proxy;
mod run;
#[allow(dead_code)]
mod sink;
mod slow;

use std::{env, fs, io, path::PathBuf, process::Command, time::Duration};

use mailsend::delivery::make_room_for;
use peers::FROM;
use postfix::SmtpSink;
use run::{Run, measure, mebibytes, rate, row, table};
use sink::{Authority, Sink};

const PIPELINING: &[&str] = &["PIPELINING"];
const CHUNKING: &[&str] = &["PIPELINING", "CHUNKING"];
const STARTTLS: &[&str] = &["PIPELINING", "STARTTLS"];
const STARTTLS_CHUNKING: &[&str] = &["PIPELINING", "CHUNKING", "STARTTLS"];

const SUBJECT: &str = "{{first_name}}, your invoice {{id}}\n";
const TEXT: &str = "Dear {{first_name}},

this is to let you know that invoice {{id}} of {{amount}} EUR is due at the end of this month. It goes to {{email}},
the address that we know of you; if you want it elsewhere, tell us, and it will go there from the next month on.

With kind regards
The accounts department
";
const HTML: &str = "<html><body style=\"font-family: sans-serif\">
<p>Dear {{first_name}},</p>
<p>this is to let you know that invoice <b>{{id}}</b> of <b>{{amount}} EUR</b> is due at the end of this month. It goes to
<a href=\"mailto:{{email}}\">{{email}}</a>, the address that we know of you; if you want it elsewhere, tell us, and it will
go there from the next month on.</p>
<p>With kind regards<br>The accounts department</p>
</body></html>
";

struct Bench {
    authority: Authority,
    folder: tempfile::TempDir,
    is_quick: bool,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (flags, topics): (Vec<_>, Vec<_>) = arguments.into_iter().partition(|argument| argument.starts_with('-'));
    let is_wanted = |topic: &str| topics.is_empty() || topics.iter().any(|wanted| wanted == topic);
    let authority = Authority::new();
    let folder = tempfile::tempdir()?;
    let template = folder.path().join("invoice");
    fs::create_dir(&template)?;
    for (name, text) in [("subject.txt", SUBJECT), ("body.txt", TEXT), ("body.html", HTML)] {
        fs::write(template.join(name), text)?;
    }
    fs::write(folder.path().join("ca.pem"), &authority.ca)?;
    fs::write(folder.path().join("empty.toml"), "")?;
    let bench = Bench { authority, folder, is_quick: flags.iter().any(|flag| flag == "--quick") };
    for (topic, measure) in [
        ("rate", Bench::rate as fn(&Bench) -> io::Result<()>),
        ("trips", Bench::trips),
        ("tls", Bench::tls),
        ("rows", Bench::rows),
        ("attachment", Bench::attachment),
        ("slow", Bench::slow),
    ] {
        if is_wanted(topic) {
            measure(&bench)?;
        }
    }
    Ok(())
}

impl Bench {
    fn count(&self, count: u64) -> u64 {
        if self.is_quick { count / 100 } else { count }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A batch of this table to this port, with a new ledger.
    fn batch(&self, table: &PathBuf, port: u16, sessions: usize) -> Command {
        // There may be none.
        let _ = fs::remove_file(self.path("ledger.jsonl"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailsend"));
        command
            .env_clear()
            .envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LOGNAME", "bench")])
            .env("HOME", self.folder.path())
            .env("MAILSEND_CONFIG", self.path("empty.toml"))
            .current_dir(self.folder.path());
        command.arg("batch").arg(table).args(["--server", &format!("smtp://127.0.0.1:{port}"), "-r", FROM]);
        command.args(["--template", "./invoice", "--report", "ledger.jsonl", "-y"]);
        command.args(["-o", &format!("pool.max-connections={sessions}")]);
        command
    }

    /// Ten sessions with full ledger and preflight, the two programs in turn.
    fn rate(&self) -> io::Result<()> {
        let rounds = if self.is_quick { 1 } else { 11 };
        let count = self.count(20_000);
        let table = table(self.folder.path(), count)?;
        let own = Sink::new(CHUNKING, &self.authority);
        let mut sinks = vec![("own sink, CHUNKING", own.port)];
        let postfix = SmtpSink::start()?;
        sinks.extend(postfix.iter().map(|sink| ("smtp-sink", sink.port)).rev());
        sinks.reverse();
        println!("\n{count} messages over 10 sessions, preflight and ledger included (median of {rounds} in turn):\n");
        println!("| | messages/s | smtp-source = 1 | processor, us each | memory |\n|---|---|---|---|---|");
        for (name, port) in sinks {
            let (mut sources, mut batches) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                sources.extend(postfix::source(port, count, 10).map(measure));
                batches.push(measure(self.batch(&table, port, 10)));
            }
            let source = rate(&sources, count);
            row(&format!("smtp-source, {name}"), &sources, count, source);
            row(&format!("mailsend, {name}"), &batches, count, source);
        }
        Ok(())
    }

    /// One session over a line of 50 ms.
    fn trips(&self) -> io::Result<()> {
        let trip = Duration::from_millis(50);
        println!("\nOne session over a line of 50 ms:\n");
        println!("| | messages/s | smtp-source = 1 | processor, us each | memory |\n|---|---|---|---|---|");
        for (name, offers, count) in [("PIPELINING", PIPELINING, 200), ("PIPELINING, CHUNKING", CHUNKING, 4_000)] {
            let port = proxy::start(Sink::new(offers, &self.authority).port, trip);
            let few = self.count(2_000).min(50);
            let sources: Vec<_> = postfix::source(port, few, 1).map(measure).into_iter().collect();
            let source = rate(&sources, few);
            row(&format!("smtp-source, {name}"), &sources, few, source);
            let count = self.count(count).max(10);
            let table = table(self.folder.path(), count)?;
            let mut batch = self.batch(&table, port, 1);
            // One connection, as smtp-source has it: a new one after each 100 messages costs four trips.
            batch.args(["-o", "pool.max-messages-per-connection=1000000"]);
            row(&format!("mailsend, {name}"), &[measure(batch)], count, source);
        }
        Ok(())
    }

    /// STARTTLS beside plaintext, in turn.
    fn tls(&self) -> io::Result<()> {
        let rounds = if self.is_quick { 1 } else { 5 };
        let count = self.count(20_000);
        let table = table(self.folder.path(), count)?;
        println!("\n{count} messages over 10 sessions to the suite's own sink (median of {rounds} in turn):\n");
        println!("| | messages/s | plaintext = 1 | processor, us each | memory |\n|---|---|---|---|---|");
        for (name, plain, secure) in
            [("PIPELINING", PIPELINING, STARTTLS), ("PIPELINING, CHUNKING", CHUNKING, STARTTLS_CHUNKING)]
        {
            let (plain, secure) = (Sink::new(plain, &self.authority), Sink::new(secure, &self.authority));
            let (mut plains, mut secures) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                plains.push(measure(self.batch(&table, plain.port, 10)));
                let mut command = self.batch(&table, secure.port, 10);
                command.args(["-o", "security=starttls", "-o", "tls.ca-file=ca.pem"]);
                secures.push(measure(command));
            }
            assert_eq!((plain.taken(), secure.taken()), (rounds * count, rounds * count), "messages that have arrived");
            let base = rate(&plains, count);
            row(&format!("plaintext, {name}"), &plains, count, base);
            row(&format!("STARTTLS, {name}"), &secures, count, base);
        }
        Ok(())
    }

    /// How time and memory grow with the rows.
    fn rows(&self) -> io::Result<()> {
        let sink = Sink::new(CHUNKING, &self.authority);
        println!("\nTables of different lengths (one run each):\n");
        println!("| rows | what | s | us a row | processor, us a row | memory |\n|---|---|---|---|---|---|");
        for count in [10_000, 100_000, 1_000_000].map(|count| self.count(count)) {
            let table = table(self.folder.path(), count)?;
            let show = |what: &str, run: Run| {
                let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
                let (time, memory) = (run.time.as_secs_f64(), mebibytes(run.memory));
                let (all, processor) = (each(run.time), each(run.processor));
                println!("| {count} | {what} | {time:.2} | {all:.1} | {processor:.1} | {memory} |");
            };
            let mut dry = self.batch(&table, sink.port, 10);
            dry.arg("--dry-run");
            show("--dry-run", measure(dry));
            show("all sent", measure(self.batch(&table, sink.port, 10)));
            let ledger = fs::read(self.path("ledger.jsonl"))?;
            let mut again = self.batch(&table, sink.port, 10);
            fs::write(self.path("ledger.jsonl"), ledger)?;
            again.arg("--resume");
            show("--resume, nothing left", measure(again));
        }
        Ok(())
    }

    /// The same large file for all.
    fn attachment(&self) -> io::Result<()> {
        let count = self.count(200).max(2);
        let table = table(self.folder.path(), count)?;
        fs::write(self.path("large.bin"), vec![0xA5; 10_000_000])?;
        let sink = Sink::new(CHUNKING, &self.authority);
        let mut command = self.batch(&table, sink.port, 10);
        command.args(["--attach", "large.bin"]);
        let run = measure(command);
        let rate = sink.octets() as f64 / 1e6 / run.time.as_secs_f64();
        println!("\n{count} messages with the same file of 10 MB, encoded once, over 10 sessions:\n");
        println!("| s | MB/s | processor, s | memory |\n|---|---|---|---|");
        let (time, processor) = (run.time.as_secs_f64(), run.processor.as_secs_f64());
        println!("| {time:.2} | {rate:.0} | {processor:.2} | {} |", mebibytes(run.memory));
        Ok(())
    }

    /// Many sessions that mostly wait.
    fn slow(&self) -> io::Result<()> {
        let sessions = if self.is_quick { 50 } else { 1_000 };
        make_room_for(2 * sessions + 100).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let count = 3 * sessions as u64;
        let table = table(self.folder.path(), count)?;
        let run = measure(self.batch(&table, slow::start(), sessions));
        let share = 100.0 * run.processor.as_secs_f64() / run.time.as_secs_f64();
        println!("\n{count} messages over {sessions} sessions to a server that takes 1 s for each reply:\n");
        println!("| s | processor, % of a core | threads | memory |\n|---|---|---|---|");
        println!("| {:.1} | {share:.1} | {} | {} |", run.time.as_secs_f64(), run.threads, mebibytes(run.memory));
        Ok(())
    }
}
