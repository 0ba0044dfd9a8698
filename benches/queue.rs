//! The queue, as whole processes: adding, draining, listing.
//!
//! `cargo bench --bench queue` prints Markdown; `-- --quick` only shows that everything runs; `-- add` measures one topic
//! of `add`, `drain`, `many`, `rabbitmq`. Nothing leaves this machine. The last one wants to know a RabbitMQ, whose queue
//! `mailsend-bench` it fills and drains: RABBITMQ_URL=amqp://USER@127.0.0.1 RABBITMQ_PASSWORD=…

#[allow(dead_code)]
mod peers;
#[allow(dead_code)]
mod postfix;
#[allow(dead_code)]
mod run;
#[allow(dead_code)]
mod sink;

use std::{env, fs, io, path::PathBuf, process::Command};

use peers::FROM;
use postfix::SmtpSink;
use run::{Run, measure, mebibytes, rate, table};
use sink::{Authority, Sink};

const CHUNKING: &[&str] = &["PIPELINING", "CHUNKING"];
const TEXT: &str = "Dear {{first_name}},\n\nyour invoice {{id}} of {{amount}} EUR is due at the end of this month.\n";

struct Bench {
    authority: Authority,
    folder: tempfile::TempDir,
    is_quick: bool,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (flags, topics): (Vec<_>, Vec<_>) = arguments.into_iter().partition(|argument| argument.starts_with('-'));
    let is_wanted = |topic: &str| topics.is_empty() || topics.iter().any(|wanted| wanted == topic);
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("body.txt"), TEXT)?;
    let is_quick = flags.iter().any(|flag| flag == "--quick");
    let bench = Bench { authority: Authority::new(), folder, is_quick };
    let measures = [
        ("add", Bench::add as fn(&Bench) -> io::Result<()>),
        ("drain", Bench::drain),
        ("many", Bench::many),
        ("rabbitmq", Bench::rabbitmq),
    ];
    for (topic, measure) in measures {
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

    /// A command in a sealed place, whose messages go to this port and are drained by nobody but us.
    fn mailsend(&self, port: u16, words: &[&str]) -> Command {
        self.mailsend_with(port, words, "path = \"queue.sqlite\"\ndrain = false")
    }

    /// The same with this queue.
    fn mailsend_with(&self, port: u16, words: &[&str], queue: &str) -> Command {
        let config = format!(
            "[queue]\n{queue}\n[profiles.bench]\nserver = \"smtp://127.0.0.1:{port}\"\n\
             from = \"{FROM}\"\npool.max-connections = 10\n"
        );
        fs::write(self.path("config.toml"), config).expect("a folder that can be written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailsend"));
        command
            .env_clear()
            .envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LOGNAME", "bench")])
            .env("HOME", self.folder.path())
            .env("MAILSEND_CONFIG", self.path("config.toml"))
            .current_dir(self.folder.path())
            .args(words);
        command
    }

    /// Fills the queue with so many messages.
    fn fill(&self, port: u16, count: u64) -> io::Result<Run> {
        let table = table(self.folder.path(), count)?;
        // There may be none.
        let _ = fs::remove_file(self.path("ledger.jsonl"));
        let mut command = self.mailsend(port, &["batch"]);
        command.arg(table).args(["--queue", "-s", "Invoice {{id}}", "--body", "@body.txt"]);
        command.args(["--report", "ledger.jsonl", "-y"]);
        Ok(measure(command))
    }

    fn empty(&self) -> io::Result<()> {
        for name in ["queue.sqlite", "queue.sqlite-wal", "queue.sqlite-shm"] {
            // There may be none.
            let _ = fs::remove_file(self.path(name));
        }
        let _ = fs::remove_dir_all(self.path("queue.sqlite.d"));
        Ok(())
    }

    /// One message after the other, and a batch.
    fn add(&self) -> io::Result<()> {
        self.empty()?;
        let mut singles = Vec::new();
        for _ in 0..self.count(101).max(3) {
            let words = ["--queue", "--to", "a@example.net", "-s", "x", "--body", "x"];
            singles.push(measure(self.mailsend(1, &words)));
        }
        self.empty()?;
        let count = self.count(20_000);
        let batch = self.fill(1, count)?;
        println!("\nAdding, durable each time:\n\n| | | memory |\n|---|---|---|");
        // The first makes the file.
        let middle = 1e3 / rate(&singles[1..], 1);
        println!("| one message, from start to exit, median | {middle:.1} ms | {} |", mebibytes(singles[1].memory));
        println!("| {count} rows of a batch | {:.0} /s | {} |", rate(&[batch], count), mebibytes(batch.memory));
        Ok(())
    }

    /// Everything that is due, to two kinds of server.
    fn drain(&self) -> io::Result<()> {
        let rounds = if self.is_quick { 1 } else { 5 };
        let count = self.count(20_000);
        let own = Sink::new(CHUNKING, &self.authority);
        let postfix = SmtpSink::start()?;
        let sinks = postfix.iter().map(|sink| ("smtp-sink", sink.port)).chain([("own sink, CHUNKING", own.port)]);
        println!("\nDraining {count} messages over 10 sessions (median of {rounds}):\n");
        println!("| | messages/s | processor, us each | memory |\n|---|---|---|---|");
        for (name, port) in sinks {
            let mut runs = Vec::new();
            for _ in 0..rounds {
                self.empty()?;
                self.fill(port, count)?;
                runs.push(measure(self.mailsend(port, &["queue", "run"])));
            }
            self.show(name, &runs, count);
        }
        assert_eq!(own.taken(), rounds * count, "messages that have arrived");
        Ok(())
    }

    fn show(&self, name: &str, runs: &[Run], count: u64) {
        let processor = runs.iter().map(|run| run.processor.as_secs_f64()).sum::<f64>() / runs.len() as f64;
        let memory = mebibytes(runs.iter().map(|run| run.memory).max().unwrap_or_default());
        println!("| {name} | {:.0} | {:.1} | {memory} |", rate(runs, count), processor * 1e6 / count as f64);
    }

    /// Filled first, then drained by one worker, without and with records.
    fn rabbitmq(&self) -> io::Result<()> {
        let (Ok(url), Ok(password)) = (env::var("RABBITMQ_URL"), env::var("RABBITMQ_PASSWORD")) else {
            println!("\nNo RabbitMQ is known: RABBITMQ_URL, RABBITMQ_PASSWORD.");
            return Ok(());
        };
        let Some(sink) = SmtpSink::start()? else { return Ok(()) };
        let (count, rounds) = (self.count(20_000), if self.is_quick { 1 } else { 3 });
        let (people, port) = (table(self.folder.path(), count)?, sink.port);
        println!("\n{count} messages through RabbitMQ to smtp-sink over 10 sessions (median of {rounds}):\n");
        println!("| | messages/s | processor, us each | memory |\n|---|---|---|---|");
        for (name, results) in [("sent", ""), ("sent, with records", "results = \"mailsend-bench-results\"")] {
            let queue = format!(
                "url = \"{url}\"\npassword = {{ env = \"RABBITMQ_PASSWORD\" }}\nname = \"mailsend-bench\"\n{results}"
            );
            let (mut added, mut sent) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                // There may be none.
                let _ = fs::remove_file(self.path("ledger.jsonl"));
                let mut batch = self.mailsend_with(port, &["batch"], &queue);
                batch.arg(&people).args(["--queue", "-p", "bench", "-s", "Invoice {{id}}", "--body", "@body.txt"]);
                batch.args(["--report", "ledger.jsonl", "-y"]).env("RABBITMQ_PASSWORD", &password);
                added.push(measure(batch));
                let mut run = self.mailsend_with(port, &["queue", "run"], &queue);
                run.env("RABBITMQ_PASSWORD", &password);
                sent.push(measure(run));
            }
            self.show("added in a batch", &added, count);
            self.show(name, &sent, count);
        }
        Ok(())
    }

    /// A queue that has grown.
    fn many(&self) -> io::Result<()> {
        self.empty()?;
        let count = self.count(200_000);
        let sink = Sink::new(CHUNKING, &self.authority);
        println!("\n{count} messages in the queue:\n\n| | s | memory |\n|---|---|---|");
        let show = |name: &str, run: Run| {
            println!("| {name} | {:.2} | {} |", run.time.as_secs_f64(), mebibytes(run.memory));
        };
        show("added", self.fill(sink.port, count)?);
        show("listed", measure(self.mailsend(sink.port, &["queue", "list"])));
        show("listed as JSON", measure(self.mailsend(sink.port, &["queue", "list", "--json"])));
        show("counted", measure(self.mailsend(sink.port, &["queue", "stats"])));
        show("drained", measure(self.mailsend(sink.port, &["queue", "run"])));
        assert_eq!(sink.taken(), count, "messages that have arrived");
        Ok(())
    }
}
