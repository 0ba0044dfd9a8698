//! mailsend beside other programs that send mail, in one run: whole processes, round trips, a large file, sizes.
//!
//! `cargo bench` prints Markdown; `cargo bench -- --quick` only shows that everything runs; `cargo bench -- process`
//! measures one topic of `process`, `trips`, `large`, `size`. Programs that are not there are named and left out.
//! Nothing leaves this machine: all mail goes to a server in this process, or to Postfix's smtp-sink.

mod bare;
mod peers;
#[allow(dead_code)]
mod postfix;
mod proxy;
mod sink;

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
    process::Command,
    time::Duration,
};

use peers::{Peers, Task, Tool, run, run_watched};
use postfix::SmtpSink;
use sink::{Authority, Sink};

/// What is offered by a server of today, without and with the login over TLS that a provider wants.
const PLAIN: &[&str] = &["PIPELINING", "SIZE 500000000", "CHUNKING"];
const SECURE: &[&str] = &["PIPELINING", "SIZE 500000000", "CHUNKING", "STARTTLS", "AUTH PLAIN"];
/// The same without CHUNKING: the message goes with DATA.
const PLAIN_DATA: &[&str] = &["PIPELINING", "SIZE 500000000"];
const SECURE_DATA: &[&str] = &["PIPELINING", "SIZE 500000000", "STARTTLS", "AUTH PLAIN"];

/// From one end of the line to the other and back.
const ROUND_TRIP: Duration = Duration::from_millis(100);
const LARGE: usize = 100_000_000;

struct Bench {
    authority: Authority,
    peers: Peers,
    is_quick: bool,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (flags, topics): (Vec<_>, Vec<_>) = arguments.into_iter().partition(|argument| argument.starts_with('-'));
    let is_wanted = |topic: &str| topics.is_empty() || topics.iter().any(|wanted| wanted == topic);
    let authority = Authority::new();
    let peers = Peers::new(&authority.ca);
    let bench = Bench { authority, peers, is_quick: flags.iter().any(|flag| flag == "--quick") };
    if !bench.peers.absent().is_empty() {
        println!("Not on this machine: {}.", bench.peers.absent().join(", "));
    }
    if is_wanted("process") {
        bench.whole_process()?;
    }
    if is_wanted("trips") {
        bench.round_trips();
    }
    if is_wanted("large") {
        bench.large_file()?;
    }
    if is_wanted("size") {
        let size = fs::metadata(env!("CARGO_BIN_EXE_mailsend"))?.len();
        println!("\nThe binary: {:.1} MB.", size as f64 / 1e6);
    }
    Ok(())
}

impl Bench {
    /// One small message from start to exit, the programs in turn, so that all have the same weather.
    fn whole_process(&self) -> io::Result<()> {
        let rounds = if self.is_quick { 2 } else { 101 };
        let plain = Sink::new(PLAIN, &self.authority);
        let secure = Sink::new(SECURE, &self.authority);
        let postfix = SmtpSink::start()?;
        let mut columns = vec!["`--version`", "plaintext", "STARTTLS, AUTH PLAIN"];
        if postfix.is_some() {
            columns.push("plaintext to Postfix's smtp-sink");
        }
        let tools = self.peers.tools();
        let mut times = vec![vec![Vec::new(); columns.len()]; tools.len()];
        for round in 0..rounds + 1 {
            for number in 0..tools.len() {
                let number = (number + round) % tools.len();
                let tool = tools[number];
                let mut commands = vec![
                    self.version(tool),
                    self.peers.command(tool, &Task { port: plain.port, is_tls: false, attachment: None }),
                    self.peers.command(tool, &Task { port: secure.port, is_tls: true, attachment: None }),
                ];
                if let Some(postfix) = &postfix {
                    let task = Task { port: postfix.port, is_tls: false, attachment: None };
                    commands.push(self.peers.command(tool, &task));
                }
                for (column, command) in commands.into_iter().enumerate() {
                    let time = run(command).time;
                    // The first round brings files into memory.
                    if round > 0 {
                        times[number][column].push(time);
                    }
                }
            }
        }
        let sent = ((rounds + 1) * tools.len()) as u64;
        assert_eq!((plain.taken(), secure.taken()), (sent, sent), "messages that have arrived");

        let medians: Vec<Vec<Duration>> =
            times.into_iter().map(|columns| columns.into_iter().map(median).collect()).collect();
        let curl = tools.iter().position(|tool| *tool == Tool::Curl);
        println!("\nOne small message, the whole process, ms (median of {rounds}, in brackets: curl = 1):\n");
        table(&["", &columns.join(" | ")].join(" | "), tools.iter().zip(&medians), |row| {
            let cells = row.iter().enumerate().map(|(column, time)| {
                let ratio = curl.map(|curl| time.as_secs_f64() / medians[curl][column].as_secs_f64());
                format!("{:.1}{}", millis(*time), ratio.map(|ratio| format!(" ({ratio:.2})")).unwrap_or_default())
            });
            cells.collect()
        });
        Ok(())
    }

    /// A start with nothing to do.
    fn version(&self, tool: Tool) -> Command {
        let mut command = self.peers.program(tool);
        match tool {
            Tool::Curl => command.args(["-q", "--version"]),
            _ => command.arg("--version"),
        };
        command
    }

    /// One small message over a long line.
    fn round_trips(&self) {
        let rounds = if self.is_quick { 1 } else { 7 };
        let sinks = [Sink::new(PLAIN_DATA, &self.authority), Sink::new(PLAIN, &self.authority)];
        let ports = sinks.each_ref().map(|sink| proxy::start(sink.port, ROUND_TRIP));
        let tools = self.peers.tools();
        println!(
            "\nOne small message, plaintext, over a line of 100 ms, round trips (whole process, median of {rounds}):\n"
        );
        let rows: Vec<[Duration; 2]> = tools
            .iter()
            .map(|&tool| {
                ports.map(|port| {
                    let task = Task { port, is_tls: false, attachment: None };
                    median((0..rounds).map(|_| run(self.peers.command(tool, &task)).time).collect())
                })
            })
            .collect();
        table(" | PIPELINING | PIPELINING, CHUNKING", tools.iter().zip(&rows), |row| {
            row.iter().map(|time| format!("{:.2}", time.as_secs_f64() / ROUND_TRIP.as_secs_f64())).collect()
        });
    }

    /// A file of 100 MB: memory, and speed beside that of a bare copy of the same octets.
    fn large_file(&self) -> io::Result<()> {
        let rounds = if self.is_quick { 1 } else { 21 };
        let file = self.peers.path("large.bin");
        fs::write(&file, random_octets(if self.is_quick { LARGE / 10 } else { LARGE }))?;
        let message = self.ready_made(&file)?;
        let lines: [(&str, &'static [&'static str], bool); 4] = [
            ("plaintext, DATA", PLAIN_DATA, false),
            ("plaintext, CHUNKING", PLAIN, false),
            ("STARTTLS, DATA", SECURE_DATA, true),
            ("STARTTLS, CHUNKING", SECURE, true),
        ];
        println!(
            "\nA file of {} MB attached, {} MB on the line, the whole process (median of {rounds}):\n",
            fs::metadata(&file)?.len() / 1_000_000,
            message.len() / 1_000_000
        );
        println!("| | largest resident set | MB/s | bare copy, MB/s | share of it |\n|---|---|---|---|---|");
        for (name, offers, is_tls) in lines {
            let sink = Sink::new(offers, &self.authority);
            let (mut bare, mut own, mut shares, mut memory) = (Vec::new(), Vec::new(), Vec::new(), None);
            let is_chunked = offers.contains(&"CHUNKING");
            let ca = is_tls.then_some(self.authority.ca.as_str());
            for _ in 0..rounds {
                let copy = bare::copy(sink.port, &message, is_chunked, ca)?;
                let before = sink.octets();
                let task = Task { port: sink.port, is_tls, attachment: Some(&file) };
                let run = run_watched(self.peers.command(Tool::Mailsend, &task));
                assert_eq!((sink.octets() - before) >> 10, message.len() as u64 >> 10, "octets that have arrived");
                // Of neighbours in time, which had the same weather.
                shares.push(copy.as_secs_f64() / run.time.as_secs_f64());
                bare.push(copy);
                own.push(run.time);
                memory = memory.max(run.memory);
            }
            let rate = |times| message.len() as f64 / 1e6 / median(times).as_secs_f64();
            let (bare, own) = (rate(bare), rate(own));
            shares.sort_unstable_by(f64::total_cmp);
            let share = shares[shares.len() / 2];
            println!("| mailsend, {name} | {} | {own:.0} | {bare:.0} | {share:.2} |", mebibytes(memory));
        }
        // msmtp sends what others have made; the others are slow enough for one run.
        let sink = Sink::new(PLAIN, &self.authority);
        for tool in self.peers.tools().into_iter().filter(|tool| !matches!(tool, Tool::Mailsend | Tool::Msmtp)) {
            let task = Task { port: sink.port, is_tls: false, attachment: Some(&file) };
            let (before, run) = (sink.octets(), run_watched(self.peers.command(tool, &task)));
            let rate = (sink.octets() - before) as f64 / 1e6 / run.time.as_secs_f64();
            println!("| {}, plaintext (one run) | {} | {rate:.0} | | |", tool.name(), mebibytes(run.memory));
        }
        Ok(())
    }

    /// The octets that mailsend would send.
    fn ready_made(&self, file: &Path) -> io::Result<Vec<u8>> {
        let path = self.peers.path("ready.eml");
        let mut command = self.peers.command(Tool::Mailsend, &Task { port: 25, is_tls: false, attachment: Some(file) });
        command.arg("--eml").arg(&path);
        run(command);
        let message = fs::read(&path)?;
        fs::remove_file(&path)?;
        assert!(memchr::memmem::find(&message, b"\n.").is_none(), "a line that begins with a dot");
        Ok(message)
    }
}

/// A row per program; the header brings the names of the columns.
fn table<'a, T: 'a>(header: &str, rows: impl Iterator<Item = (&'a Tool, &'a T)>, cells: impl Fn(&T) -> Vec<String>) {
    println!("|{header} |");
    println!("|---{}|", "|---".repeat(header.matches(" | ").count()));
    for (tool, row) in rows {
        println!("| {} | {} |", tool.name(), cells(row).join(" | "));
        // Whoever looks sees it grow; a closed output ends printing.
        let _ = io::stdout().flush();
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mebibytes(octets: Option<u64>) -> String {
    octets.map_or_else(|| "not told here".to_owned(), |octets| format!("{:.1} MiB", octets as f64 / 1_048_576.0))
}

/// Octets that nothing can compress, the same every time (xorshift64).
fn random_octets(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length / 8).flatten().collect()
}
