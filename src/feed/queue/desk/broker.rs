//! RabbitMQ at work, seen from the feed: what is wished goes to the task that has the connection, and what it tells comes
//! back.

use tokio::{sync::mpsc, task::JoinHandle};

use super::{Answers, Orders, Wanted};
use crate::{
    feed::queue::{
        Broking, Draining,
        desk::{Commit, Note, keeper::Keeper},
    },
    mail::Trouble,
    queue::{Claim, QueueError},
};

/// What the feed wishes of the task.
pub(super) enum Wish {
    Commit(Commit),
    Note(Box<Note>),
    /// Messages, but none of these places.
    Claim(Wanted),
    /// No more messages: what has not begun is for others.
    Stop,
}

/// What the task tells the feed.
pub(super) enum Told {
    Claimed(Vec<Claim>),
    /// Nothing is there that is due.
    Nothing,
    /// So many notes are settled.
    Settled(usize),
    /// Others may have them by now.
    Lost(Vec<u64>),
    /// A record of a message that has failed, for a command.
    Failed(String),
    Warning(String),
    /// It cannot be used now, or not at all.
    Down {
        trouble: Trouble,
        is_new: bool,
        is_hopeless: bool,
    },
    /// It lives.
    Alive,
}

/// The task, and what waits for it.
pub(super) struct BrokerDesk {
    wishes: mpsc::UnboundedSender<Wish>,
    told: mpsc::UnboundedReceiver<Told>,
    /// Notes that are not settled.
    pending: usize,
    task: Ended,
}

/// The task ends with the feed.
struct Ended(JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl BrokerDesk {
    pub fn new(broking: Broking, draining: Draining, clock: fn() -> i64) -> Self {
        let (wishes, wished) = mpsc::unbounded_channel();
        let (tell, told) = mpsc::unbounded_channel();
        let keeper = Keeper::new(broking, draining, clock, wished, tell);
        Self { wishes, told, pending: 0, task: Ended(tokio::spawn(keeper.run())) }
    }

    pub fn is_idle(&self) -> bool {
        self.pending == 0
    }

    pub fn begin(&mut self, orders: &mut Orders) {
        let Orders { commits, notes, claim, .. } = std::mem::take(orders);
        // First, so that it is known which places are left alone.
        claim.into_iter().for_each(|wanted| self.wish(Wish::Claim(wanted)));
        commits.into_iter().for_each(|commit| self.wish(Wish::Commit(commit)));
        self.pending += notes.len();
        notes.into_iter().for_each(|note| self.wish(Wish::Note(Box::new(note))));
    }

    pub fn stop(&self) {
        self.wish(Wish::Stop);
    }

    fn wish(&self, wish: Wish) {
        // If the task has met a defect, answers() tells.
        let _ = self.wishes.send(wish);
    }

    /// Gives what is left to others.
    pub async fn end(self) {
        let Self { wishes, told, mut task, .. } = self;
        drop((wishes, told));
        // Its defects were told while it was asked.
        let _ = (&mut task.0).await;
    }

    /// Waits for something that is told. Dropping the future loses nothing.
    pub async fn answers(&mut self) -> Answers {
        let Some(told) = self.told.recv().await else {
            // It ends with the feed only: unless it has met a defect.
            if let Err(error) = (&mut self.task.0).await
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
            return std::future::pending().await;
        };
        let mut answers = Answers::default();
        match told {
            Told::Claimed(claims) => answers.claimed = Some(claims),
            Told::Nothing => answers.claimed = Some(Vec::new()),
            Told::Settled(count) => self.pending = self.pending.saturating_sub(count),
            Told::Lost(numbers) => answers.lost = numbers,
            Told::Failed(record) => answers.failed.push(record),
            Told::Warning(what) => answers.warnings.push(what),
            Told::Down { trouble, is_new, is_hopeless } => {
                answers.error = Some(QueueError::Broker(trouble));
                (answers.is_new, answers.is_hopeless) = (is_new, is_hopeless);
            }
            Told::Alive => {}
        }
        answers
    }
}
