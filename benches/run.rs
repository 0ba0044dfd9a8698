//! Whole processes, measured from the outside, and the tables that they get.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// What a process took.
#[derive(Clone, Copy)]
pub struct Run {
    pub time: Duration,
    /// Of all its threads, in user and kernel.
    pub processor: Duration,
    /// Octets of the largest resident set.
    pub memory: u64,
    pub threads: u64,
}

/// Runs to the end, which must be a good one. Its memory is looked at every few milliseconds: the high-water mark only
/// rises.
pub fn measure(mut command: Command) -> Run {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().expect("a program that starts");
    let id = child.id();
    let watcher = thread::spawn(move || {
        let (mut memory, mut threads) = (0, 0);
        // A process that has ended has no memory any more.
        while let Some(mark) = status(id, "VmHWM:") {
            memory = memory.max(mark * 1024);
            threads = threads.max(status(id, "Threads:").unwrap_or(0));
            thread::sleep(Duration::from_millis(5));
        }
        (memory, threads)
    });
    let pid = Pid::from_child(&child);
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).expect("it ends");
    let time = start.elapsed();
    let processor = processor(id);
    let status = child.wait().expect("it has ended");
    assert!(status.success(), "{status}: {command:?}");
    let (memory, threads) = watcher.join().expect("the watcher ends");
    Run { time, processor, memory, threads }
}

fn status(id: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Processor time of a process that nobody has waited for yet, in steps of 10 ms.
fn processor(id: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let behind = text.rsplit_once(')').map_or("", |(_, behind)| behind);
    let ticks = behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// A line of a table: so many messages in each run.
pub fn row(name: &str, runs: &[Run], count: u64, base: f64) {
    if runs.is_empty() {
        return println!("| {name} | not on this machine | | | |");
    }
    let rate = rate(runs, count);
    let mean = runs.iter().map(|run| run.processor).sum::<Duration>().as_secs_f64() / runs.len() as f64;
    let processor = mean * 1e6 / count as f64;
    let memory = mebibytes(runs.iter().map(|run| run.memory).max().unwrap_or_default());
    println!("| {name} | {rate:.1} | {:.2} | {processor:.1} | {memory} |", rate / base);
}

/// Messages a second of the run in the middle.
pub fn rate(runs: &[Run], count: u64) -> f64 {
    let mut times: Vec<f64> = runs.iter().map(|run| run.time.as_secs_f64()).collect();
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 2).map_or(f64::NAN, |time| count as f64 / time)
}

/// Octets for people.
pub fn mebibytes(octets: u64) -> String {
    format!("{:.1} MiB", octets as f64 / 1_048_576.0)
}

/// A table of so many rows in this folder.
pub fn table(folder: &Path, rows: u64) -> io::Result<PathBuf> {
    let path = folder.join(format!("people-{rows}.csv"));
    let mut file = io::BufWriter::new(fs::File::create(&path)?);
    writeln!(file, "id,First Name,email,amount")?;
    for row in 1..=rows {
        writeln!(file, "{row},Person {row},person{row}@example.net,{}.{:02}", row * 7 % 1000, row % 100)?;
    }
    file.flush()?;
    Ok(path)
}
