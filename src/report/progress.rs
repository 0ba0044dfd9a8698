//! How far a message has left.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::is_attended;

/// Less than this is gone before anybody could look.
const WORTH_A_BAR: u64 = 1024 * 1024;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressMode {
    /// A bar on a terminal, nothing elsewhere.
    Auto,
    /// A bar.
    Bar,
    /// A line for every tenth.
    Lines,
    /// A JSON object per line for every tenth.
    Json,
    /// Nothing.
    None,
}

/// Shows how far a message has left, on standard error.
pub struct Progress {
    mode: ProgressMode,
    bar: Option<ProgressBar>,
    tenths: u64,
}

impl Progress {
    /// Shows it so; quiet is quiet.
    pub fn new(mode: ProgressMode) -> Self {
        let mode = match mode {
            ProgressMode::Auto if is_attended() => ProgressMode::Bar,
            ProgressMode::Auto => ProgressMode::None,
            mode => mode,
        };
        Self { mode, bar: None, tenths: 0 }
    }

    /// So many octets of so many have left.
    pub fn advance(&mut self, sent: u64, total: u64) {
        match self.mode {
            ProgressMode::Bar if total >= WORTH_A_BAR => {
                let bar = self.bar.get_or_insert_with(|| new_bar(total));
                bar.set_position(sent);
            }
            ProgressMode::Lines | ProgressMode::Json => {
                let tenths = (sent * 10).checked_div(total).unwrap_or(10);
                if tenths > self.tenths {
                    self.tenths = tenths;
                    self.line(sent, total);
                }
            }
            _ => {}
        }
    }

    fn line(&self, sent: u64, total: u64) {
        let line = match self.mode {
            ProgressMode::Json => serde_json::json!({ "type": "progress", "sent": sent, "total": total }).to_string(),
            _ => format!("{}% of {total} octets", self.tenths * 10),
        };
        // Who looks at progress may go; the mail goes on.
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// Prints a line beside the bar.
    pub fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprint_line(line)),
            None => eprint_line(line),
        }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn eprint_line(line: &str) {
    // A closed standard error ends printing, not sending.
    let _ = writeln!(io::stderr(), "{line}");
}

fn new_bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let style =
        ProgressStyle::with_template("{bar:40} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
