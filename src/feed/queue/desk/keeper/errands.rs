//! What is done for a message without anybody being told of it, and how anything is published: until it is done.

use std::{io, time::Duration};

use tokio::{sync::mpsc, task::JoinError, time::sleep};

use super::{FAREWELL, FIRST, Keeper, LONGEST, whole};
use crate::{
    feed::queue::desk::broker::Told,
    mail::{Cause, Stage, Trouble},
    queue::{
        Letter,
        amqp::{Arrival, Dead, Link, Pause, Ticket},
    },
};

/// By this connection something was done; whether it was to begin that messages come.
pub(super) type Done = (i64, bool, Result<(), Trouble>);

/// Something to be done.
pub(super) enum Errand {
    /// Messages are to come, so many at once.
    Consume(u16),
    /// No more are to come.
    Cancel,
    /// It is over.
    Over(Ticket),
    /// It is for others.
    Back(Ticket),
    /// It is put to the dead, with the reason.
    Bury(Arrival, String),
    /// It is published once more as it came, perhaps to wait.
    Again(Arrival, Option<Pause>),
    /// The same as a letter.
    Letter(Box<Letter>, Ticket, Option<Pause>),
}

impl Errand {
    async fn run(&self, link: &Link) -> Result<(), Trouble> {
        match self {
            Errand::Consume(prefetch) => link.consume(*prefetch).await,
            Errand::Cancel => link.cancel().await,
            Errand::Over(ticket) => ticket.acknowledge().await,
            Errand::Back(ticket) => ticket.give_back().await,
            Errand::Bury(arrival, reason) => {
                let publisher = link.publisher().await?;
                publisher.bury(Dead::Arrival(arrival), reason, None).await?;
                publisher.close().await;
                arrival.ticket.acknowledge().await
            }
            Errand::Again(arrival, pause) => {
                let publisher = link.publisher().await?;
                publisher.once_more(*pause, arrival).await?;
                publisher.close().await;
                arrival.ticket.acknowledge().await
            }
            Errand::Letter(letter, ticket, pause) => {
                let broken = |error: io::Error| Trouble::new(Stage::Compose, Cause::Internal, error.to_string());
                let octets = letter.encode().map_err(broken)?;
                let publisher = link.publisher().await?;
                match publisher.letter(*pause, &octets, &letter.job.message_id, letter.attempts).await {
                    Err(trouble) if trouble.cause == Cause::TooLarge => {
                        // It waits as it came, and comes again.
                        sleep(FAREWELL).await;
                        ticket.give_back().await
                    }
                    published => {
                        published?;
                        publisher.close().await;
                        ticket.acknowledge().await
                    }
                }
            }
        }
    }
}

impl Keeper {
    /// Something that no note waits for.
    pub(super) fn errand(&mut self, errand: Errand) {
        // Without a connection it is others' already.
        let Some(link) = self.link.clone() else { return };
        self.begin_moving();
        let (epoch, tell) = (self.epoch, self.tell.clone());
        self.errands.spawn(async move {
            let mut patience = Patience::new();
            let done = loop {
                let Err(trouble) = errand.run(&link).await else { break Ok(()) };
                if let Err(trouble) = patience.wait(&link, &tell, trouble).await {
                    break Err(trouble);
                }
            };
            (epoch, matches!(errand, Errand::Consume(_)), done)
        });
    }

    pub(super) fn done(&mut self, done: Result<Done, JoinError>) {
        self.moved = tokio::time::Instant::now();
        match whole(done) {
            (epoch, ..) if epoch != self.epoch || self.link.is_none() => {}
            (_, _, Err(trouble)) => self.lose(trouble),
            (_, true, Ok(())) => self.is_up(),
            (_, false, Ok(())) => {}
        }
    }
}

/// What stands in the way of something that is to be published, until it is.
pub(super) struct Patience(Duration);

impl Patience {
    pub fn new() -> Self {
        Self(FIRST)
    }

    /// Waits until it may be tried again; what stands in its way is told once.
    ///
    /// # Errors
    /// Gives the trouble back, if the connection has gone.
    pub async fn wait(
        &mut self,
        link: &Link,
        tell: &mpsc::UnboundedSender<Told>,
        trouble: Trouble,
    ) -> Result<(), Trouble> {
        if trouble.cause == Cause::Lost || !link.is_alive() {
            return Err(trouble);
        }
        if self.0 == FIRST {
            // The feed ends before its task does.
            let _ = tell.send(Told::Warning(trouble.to_string()));
        }
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST);
        // A queue may have been taken away. If it cannot be made, the next attempt tells.
        let _ = link.mend().await;
        Ok(())
    }
}
