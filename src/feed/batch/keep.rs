//! A batch that goes into the queue: letters are kept in large transactions, and the ledger knows of each once it is safe.
//!
//! Nothing leaves here, so that no row is reserved. Whoever dies between queue and ledger leaves rows that the next run adds
//! again, under the same keys: the queue has them already, and says so. RabbitMQ knows no keys: there intents are noted, and
//! whoever dies leaves rows of which nobody knows whether they were added.

use std::mem;

use tokio::sync::{mpsc, watch};

use super::{
    BatchTold, End, Keeping, Verdict,
    course::no_more,
    press::{Made, Ticket},
};
use crate::{
    feed::recipe::{Letters, Recipe},
    ledger::{Ledger, Record},
    mail::{Address, DsnRequest, Envelope, Outcome, Route, State, Stop},
    queue::{Added, Inlet, Job, QueueError},
    smtp::changed,
};

/// Messages that are made durable together.
const MANY: usize = 200;
/// Octets in memory from which they are fewer.
const HEAVY: u64 = 64 << 20;

pub(super) struct Keep<T> {
    ledger: Ledger,
    run: String,
    inlet: Inlet,
    keeping: Keeping,
    dsn: DsnRequest,
    has_verp: bool,
    told: T,
    /// Messages that are not kept yet, with their rows.
    jobs: Vec<(u64, Job)>,
    octets: u64,
    /// Rows that the press has and that have not come.
    in_press: u64,
    is_read: bool,
    verdict: Verdict,
}

impl<T: FnMut(BatchTold<'_>)> Keep<T> {
    pub fn new(ledger: Ledger, inlet: Inlet, keeping: Keeping, recipe: &Recipe, told: T) -> Self {
        Self {
            run: ledger.run().to_owned(),
            ledger,
            inlet,
            keeping,
            dsn: recipe.dsn.clone(),
            has_verp: recipe.has_verp,
            told,
            jobs: Vec::with_capacity(MANY),
            octets: 0,
            in_press: 0,
            is_read: false,
            verdict: Verdict::default(),
        }
    }

    pub async fn run(mut self, mut made: mpsc::Receiver<Vec<Made>>, mut wish: watch::Receiver<Stop>) -> Verdict {
        while self.verdict.end.is_none() && !(self.is_read && self.in_press == 0) {
            tokio::select! {
                biased;
                stop = changed(&mut wish) => if stop != Stop::No {
                    self.end(End::Stopped);
                },
                chunk = made.recv() => match chunk {
                    Some(chunk) => for one in chunk {
                        self.made(one).await;
                    },
                    // The press ends only with the feed: it has met a defect.
                    None => self.end(no_more()),
                },
            }
        }
        while matches!(self.verdict.end, None | Some(End::Stopped)) && !self.jobs.is_empty() {
            self.add().await;
        }
        self.inlet.close().await;
        self.finish()
    }

    /// Something is left that could still be kept.
    fn end(&mut self, end: End) {
        self.verdict.has_more = true;
        self.verdict.end.get_or_insert(end);
    }

    async fn made(&mut self, made: Made) {
        match made {
            Made::Block(rows) => self.in_press += rows.len() as u64,
            Made::End => self.is_read = true,
            Made::Defect => self.end(no_more()),
            Made::Letters(ticket, letters, left) => {
                self.in_press -= 1;
                for (recipient, fate) in left {
                    if let Some(outcome) = fate.outcome(recipient) {
                        self.settle(ticket.row, &letters.message_id, None, &outcome);
                    }
                }
                self.letters(&ticket, letters).await;
            }
            Made::Bad(ticket, error) => {
                self.in_press -= 1;
                if self.keeping.skips_bad {
                    self.ledger.skipped(ticket.row, &error.what);
                    self.verdict.counts[State::Skipped as usize] += 1;
                    return (self.told)(BatchTold::Skipped(ticket.row, &error.what));
                }
                // It could be made before: a file has gone. The next run may find it again.
                self.leave_row(ticket.row, &error.what);
            }
        }
    }

    async fn letters(&mut self, ticket: &Ticket, letters: Letters) {
        for letter in letters.all {
            let run = &self.run;
            // What is settled of a row may differ from run to run; with a return path of its own each is a message.
            let key = match letter.envelope.to() {
                [recipient] if self.has_verp => format!("batch {run} {} {recipient}", ticket.row),
                _ => format!("batch {run} {}", ticket.row),
            };
            let keeping = &self.keeping;
            let job = Job {
                message_id: letters.message_id.clone(),
                envelope: letter.envelope,
                content: letter.content,
                dsn: self.dsn.clone(),
                place: keeping.place.clone(),
                priority: keeping.priority,
                due: keeping.due,
                expires: keeping.expires,
                key: Some(key),
            };
            self.octets += job.content.len();
            self.jobs.push((ticket.row, job));
            if self.jobs.len() >= MANY || self.octets >= HEAVY {
                self.add().await;
            }
        }
    }

    /// Keeps what has come, and notes it.
    async fn add(&mut self) {
        self.octets = 0;
        let (rows, jobs): (Vec<u64>, Vec<Job>) = mem::take(&mut self.jobs).into_iter().unzip();
        if jobs.is_empty() || matches!(self.verdict.end, Some(End::Ledger(_) | End::Queue(_))) {
            return;
        }
        if let Err(error) = self.inlet.ready().await {
            return self.end(End::Queue(error));
        }
        if !self.intend(&rows) {
            return;
        }
        match self.inlet.add(&jobs).await {
            Ok(added) => self.added(&rows, &jobs, &added),
            // One of them cannot be kept, and the others are no worse for it.
            Err(QueueError::Input { .. }) => {
                self.release(&rows);
                for (row, job) in rows.iter().zip(&jobs) {
                    if !self.intend(&[*row]) {
                        return;
                    }
                    match self.inlet.add(std::slice::from_ref(job)).await {
                        Ok(added) => self.added(&[*row], std::slice::from_ref(job), &added),
                        Err(error @ QueueError::Input { .. }) => {
                            self.release(&[*row]);
                            self.leave_row(*row, &error.to_string());
                        }
                        Err(error) => return self.end(End::Queue(error)),
                    }
                }
            }
            Err(error) => self.end(End::Queue(error)),
        }
    }

    /// Notes that these rows are about to be added, where nobody would know otherwise. Tells whether they may be.
    fn intend(&mut self, rows: &[u64]) -> bool {
        if !self.inlet.knows_keys() {
            self.ledger.intent(rows);
            self.write();
        }
        !matches!(self.verdict.end, Some(End::Ledger(_)))
    }

    /// They were not.
    fn release(&mut self, rows: &[u64]) {
        if !self.inlet.knows_keys() {
            self.ledger.release(rows);
        }
    }

    fn added(&mut self, rows: &[u64], jobs: &[Job], added: &[Added]) {
        for ((row, job), (name, first)) in rows.iter().zip(jobs).zip(added) {
            for recipient in job.envelope.to() {
                match first {
                    Some(first) if !first.is_for(recipient) => self.jobs.push((*row, alone(job, recipient))),
                    _ => {
                        let message_id = first.as_ref().map_or(&job.message_id, |first| &first.message_id);
                        let outcome = Outcome::queued(recipient.clone(), name);
                        self.settle(*row, message_id, job.envelope.from(), &outcome);
                    }
                }
            }
        }
        self.write();
    }

    /// A recipient has ended for this run.
    fn settle(&mut self, row: u64, message_id: &str, from: Option<&Address>, outcome: &Outcome) {
        let nowhere = Route { profile: None, server: String::new() };
        let route = if outcome.state == State::Queued { &*self.keeping.route } else { &nowhere };
        let (run, is_redelivered) = (&self.run, false);
        let record = Record { run, row: Some(row), message_id, from, outcome, route, attempts: 0, is_redelivered };
        self.ledger.outcome(&record);
        self.verdict.counts[outcome.state as usize] += 1;
        (self.told)(BatchTold::Settled(&record));
    }

    fn leave_row(&mut self, row: u64, why: &str) {
        self.verdict.has_more = true;
        (self.told)(BatchTold::Left(row, why));
    }

    fn write(&mut self) {
        if let Err(error) = self.ledger.write() {
            self.end(End::Ledger(error));
        }
    }

    /// The ledger may lose to a loss of power what the queue keeps: the keys bring it back.
    fn finish(mut self) -> Verdict {
        if !matches!(self.verdict.end, Some(End::Ledger(_))) {
            self.write();
            if let Err(error) = self.ledger.file().and_then(|file| file.sync_data()) {
                self.end(End::Ledger(error));
            }
        }
        self.verdict
    }
}

/// For a recipient of a row that an earlier run has kept for others of it.
fn alone(job: &Job, recipient: &Address) -> Job {
    let from = job.envelope.from().cloned();
    Job {
        // There is one.
        envelope: Envelope::new(from, vec![recipient.clone()]).unwrap_or_else(|_| job.envelope.clone()),
        key: job.key.as_ref().map(|key| format!("{key} {recipient}")),
        ..job.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        feed::{ReturnPath, Values, recipe::Letter},
        ledger::{self, Facts},
        mail::{Content, Mailbox, Piece, Source},
        queue::{Place, Status, Store},
        rows::Layout,
    };
    use std::path::Path;

    fn address(text: &str) -> Address {
        Mailbox::parse(text).unwrap().address
    }

    fn letters(row: u64, content: Content) -> Made {
        letters_to(row, &[&format!("p{row}@y.example")], content)
    }

    fn letters_to(row: u64, to: &[&str], content: Content) -> Made {
        let envelope = Envelope::new(None, to.iter().map(|to| address(to)).collect()).unwrap();
        let ticket = Ticket { row, position: None, attempts: 0, first: None, open: None, has_turn: false };
        let letters = Letters { message_id: format!("<{row}@x>"), all: vec![Letter { envelope, content }] };
        Made::Letters(ticket, letters, Vec::new())
    }

    fn bytes() -> Content {
        Content::from_bytes(b"Subject: x\r\n\r\ny\r\n".to_vec())
    }

    fn missing() -> Content {
        let mut content = bytes();
        let source = Source::Path { path: "/nowhere/at/all".into(), modified: None };
        content.push(Piece::base64(source, 0, 57));
        content
    }

    /// Keeps what the press gives; tells what was queued and what was left.
    async fn keep(folder: &Path, made: Vec<Made>, expected: u64) -> (Verdict, Vec<u64>, Vec<u64>) {
        let path = folder.join("run.jsonl");
        let (ledger, _) = Ledger::resume(&path, &Facts::default(), false).unwrap();
        let inlet = Inlet::Store(Box::new(Store::open(&folder.join("queue.sqlite")).unwrap()));
        let route = std::sync::Arc::new(Route { profile: None, server: "s".to_owned() });
        let keeping =
            Keeping { place: Place::default(), route, priority: 0, due: None, expires: i64::MAX, skips_bad: false };
        let recipe = Recipe {
            base: crate::message::Draft::new(Mailbox::parse("a@x.example").unwrap()),
            values: Values::default(),
            layout: Layout::find(&["to".to_owned()], None).unwrap(),
            template: None,
            set: serde_json::Map::new(),
            dsn: DsnRequest::default(),
            return_path: ReturnPath::Null,
            redirect: None,
            has_verp: false,
        };
        let (mut queued, mut left) = (Vec::new(), Vec::new());
        let told = |told: BatchTold<'_>| match told {
            BatchTold::Settled(record) => queued.extend(record.row.filter(|_| record.outcome.state == State::Queued)),
            BatchTold::Left(row, _) => left.push(row),
            _ => {}
        };
        let (press, results) = mpsc::channel(8);
        press.send(vec![Made::Block((1..=expected).collect()), Made::End]).await.unwrap();
        press.send(made).await.unwrap();
        let (_stop, wish) = watch::channel(Stop::No);
        let verdict = Keep::new(ledger, inlet, keeping, &recipe, told).run(results, wish).await;
        (verdict, queued, left)
    }

    #[tokio::test]
    async fn a_file_that_has_gone_takes_no_other_row_along() {
        let folder = tempfile::tempdir().unwrap();
        let made = vec![letters(1, bytes()), letters(2, missing()), letters(3, bytes())];
        let (verdict, queued, left) = keep(folder.path(), made, 3).await;
        assert_eq!((queued, left), (vec![1, 3], vec![2]));
        assert!(verdict.has_more && verdict.end.is_none());
        // The next run finds it again, and adds the others no second time though the ledger has lost them.
        let path = folder.path().join("run.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.lines().next().unwrap().to_owned() + "\n").unwrap();
        let made = vec![letters(1, bytes()), letters(2, bytes()), letters(3, bytes())];
        let (verdict, queued, _) = keep(folder.path(), made, 3).await;
        assert_eq!((queued, verdict.has_more), (vec![1, 2, 3], false));
        let mut count = 0;
        let mut store = Store::open(&folder.path().join("queue.sqlite")).unwrap();
        store.list(&Status::ALL, &mut |_| count += 1).unwrap();
        assert_eq!(count, 3);
        let past = ledger::past(&path, &Facts::default(), false).unwrap();
        assert_eq!(past.of(2, &address("p2@y.example")), Some(State::Queued));
    }

    /// The ledger has lost that one was excluded, and the queue knows the row without them.
    #[tokio::test]
    async fn whoever_an_earlier_run_left_out_is_added() {
        let folder = tempfile::tempdir().unwrap();
        keep(folder.path(), vec![letters(1, bytes())], 1).await;
        let path = folder.path().join("run.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let begin = text.lines().next().unwrap().to_owned() + "\n";
        let all = ["p1@y.example", "late@y.example", "later@y.example"];
        for _ in 0..2 {
            std::fs::write(&path, &begin).unwrap();
            let (verdict, queued, _) = keep(folder.path(), vec![letters_to(1, &all, bytes())], 1).await;
            assert_eq!((queued, verdict.has_more), (vec![1, 1, 1], false));
            let mut kept = Vec::new();
            let mut store = Store::open(&folder.path().join("queue.sqlite")).unwrap();
            store.list(&Status::ALL, &mut |one| kept.push((one.first_recipient.clone(), one.recipients))).unwrap();
            assert_eq!(kept, all.map(|to| (to.to_owned(), 1)));
        }
    }

    #[tokio::test]
    async fn a_press_that_breaks_leaves_something_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let (verdict, queued, _) = keep(folder.path(), vec![letters(1, bytes()), Made::Defect], 2).await;
        assert!(verdict.has_more && matches!(verdict.end, Some(End::Trouble(_))));
        assert!(queued.len() <= 1);
    }
}
