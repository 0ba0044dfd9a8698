//! What earlier runs have left, as their lines tell it: sixteen octets per row, and as
//! many for each further recipient.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    ops::Range,
};

use super::lines::{Kind, Line, Text};
use crate::mail::{Address, State};

/// Rows that are kept together: few enough that one more recipient finds its place quickly among theirs.
const PAGE: u64 = 32;

/// How many there are of each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// A server took responsibility.
    pub accepted: u64,
    /// Not now.
    pub deferred: u64,
    /// Never like this.
    pub failed: u64,
    /// Nobody can know.
    pub unknown: u64,
    /// Not to be sent.
    pub skipped: u64,
    /// Kept in the queue.
    pub queued: u64,
}

impl Counts {
    /// One more of this state.
    pub fn add(&mut self, state: State) {
        self.add_many(state, 1);
    }

    /// So many more of this state.
    pub fn add_many(&mut self, state: State, number: u64) {
        *match state {
            State::Accepted => &mut self.accepted,
            State::Deferred => &mut self.deferred,
            State::Failed => &mut self.failed,
            State::Unknown => &mut self.unknown,
            State::Skipped => &mut self.skipped,
            State::Queued => &mut self.queued,
        } += number;
    }

    /// How many have this state.
    pub fn of(&self, state: State) -> u64 {
        match state {
            State::Accepted => self.accepted,
            State::Deferred => self.deferred,
            State::Failed => self.failed,
            State::Unknown => self.unknown,
            State::Skipped => self.skipped,
            State::Queued => self.queued,
        }
    }

    /// All.
    pub fn total(&self) -> u64 {
        self.accepted + self.deferred + self.failed + self.unknown + self.skipped + self.queued
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            deferred: self.deferred + other.deferred,
            failed: self.failed + other.failed,
            unknown: self.unknown + other.unknown,
            skipped: self.skipped + other.skipped,
            queued: self.queued + other.queued,
        }
    }
}

/// What earlier runs have left.
#[derive(Debug, Default)]
pub struct Past {
    pages: BTreeMap<u64, Box<Page>>,
    hasher: RandomState,
    run: String,
    source: String,
    template: String,
    boot: Option<String>,
    is_begun: bool,
}

/// Rows that follow each other.
#[derive(Debug, Default)]
struct Page {
    slots: [Slot; PAGE as usize],
    /// Second and further recipients, ordered by row and hash.
    further: Vec<Further>,
}

/// Second or further recipient of a row.
#[derive(Debug)]
struct Further {
    hash: u64,
    /// Place of the row in its page.
    at: u8,
    settled: Settled,
}

/// A row: its first recipient, by hash, and all that no line has named.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    hash: u64,
    first: Settled,
    others: Mark,
}

/// A recipient whom a line has named.
#[derive(Debug, Clone, Copy, Default)]
struct Settled {
    mark: Mark,
    /// Lines that name them, as many as fit; on a second reading those that still come.
    lines: u16,
}

/// A state, and what may still change it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark(u8);

impl Mark {
    /// The lowest bits are a state: 0 for none.
    const STATE: u8 = 7;
    const RESERVED: u8 = 8;
    const INTENT: u8 = 16;
    /// An intent of an earlier part of the run, or a reservation before a loss of power.
    const DOUBT: u8 = 32;
    const NAMED: u8 = 64;

    fn settled(state: State) -> Self {
        Self(
            Self::NAMED
                | match state {
                    State::Accepted => 1,
                    State::Deferred => 2,
                    State::Failed => 3,
                    State::Unknown => 4,
                    State::Skipped => 5,
                    State::Queued => 6,
                },
        )
    }

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    fn state(self) -> Option<State> {
        match self.0 & Self::STATE {
            1 => Some(State::Accepted),
            3 => Some(State::Failed),
            5 => Some(State::Skipped),
            6 => Some(State::Queued),
            _ if self.has(Self::INTENT | Self::DOUBT) => Some(State::Unknown),
            2 => Some(State::Deferred),
            4 => Some(State::Unknown),
            _ => None,
        }
    }

    fn is_final(self) -> bool {
        matches!(self.0 & Self::STATE, 1 | 3 | 5 | 6)
    }

    fn note(&mut self, kind: Kind) {
        match kind {
            _ if self.is_final() => {}
            Kind::Reserve => self.0 |= Self::RESERVED,
            Kind::Intent => self.0 |= Self::INTENT,
            Kind::Release => self.0 &= !Self::INTENT,
            _ => {}
        }
    }

    /// Another part of the run begins.
    fn age(&mut self, has_lost_power: bool) {
        if self.has(Self::INTENT) || (has_lost_power && self.has(Self::RESERVED)) {
            self.0 |= Self::DOUBT;
        }
        self.0 &= !(Self::INTENT | Self::RESERVED);
    }
}

impl Page {
    /// The row's further recipients.
    fn range(&self, at: usize) -> Range<usize> {
        if self.further.is_empty() {
            return 0..0;
        }
        let start = self.further.partition_point(|further| usize::from(further.at) < at);
        let end = self.further.partition_point(|further| usize::from(further.at) <= at);
        start..end
    }

    /// Where this further recipient is, or belongs.
    fn find(&self, at: usize, hash: u64) -> Result<usize, usize> {
        self.further.binary_search_by_key(&(at, hash), |further| (usize::from(further.at), further.hash))
    }
}

impl Past {
    /// What became of this recipient of this row, if it was begun: deferred means that it was tried and may be again,
    /// unknown that an intent, or after a loss of power a reserved row, has no outcome.
    pub fn of(&self, row: u64, recipient: &Address) -> Option<State> {
        self.mark(row, recipient.as_ref())?.state()
    }

    /// How many recipients have which state. A row in doubt none of whose recipients a line has named counts as one.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.states().for_each(|(_, state)| counts.add(state));
        counts
    }

    /// Rows, in order, with what is not final in them, one each for every recipient as in [`Past::counts`].
    pub fn open(&self) -> impl Iterator<Item = (u64, State)> {
        self.states().filter(|(_, state)| matches!(state, State::Deferred | State::Unknown))
    }

    /// Rows, in order, that are in doubt and none of whose recipients a line has named.
    pub fn unnamed(&self) -> impl Iterator<Item = u64> {
        self.slots()
            .filter(|(_, slot)| !slot.first.mark.has(Mark::NAMED) && slot.others.state().is_some())
            .map(|(row, _)| row)
    }

    /// Rows, in order, with an intent since the last part of the run began that may be for recipients whom no line has
    /// named, beside others who are settled. An intent that is released by the time all are is for nobody.
    pub fn partly_named(&self) -> impl Iterator<Item = u64> {
        self.pages.iter().flat_map(|(number, page)| {
            (number * PAGE + 1..).zip(page.slots.iter().enumerate()).filter_map(|(row, (at, slot))| {
                let is_partly = slot.first.mark.has(Mark::NAMED) && slot.others.has(Mark::INTENT);
                let mut named = page.further[page.range(at)].iter().map(|further| further.settled.mark);
                // Who is named and in doubt stands for the row.
                let is_told =
                    is_partly && (slot.first.mark.has(Mark::INTENT) || named.any(|mark| mark.has(Mark::INTENT)));
                (is_partly && !is_told).then_some(row)
            })
        })
    }

    /// The name of the run, empty as long as no line has told it.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Digest of the table in the last part of the run.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Digest of template and options in the last part of the run.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Takes a line in. The last one says what holds; what stands before the line of a run belongs to none.
    ///
    /// # Errors
    /// With a clause for people.
    pub fn note(&mut self, line: &Line<'_>) -> Result<(), String> {
        match line.kind {
            kind if kind != Kind::Run && !self.is_begun => {}
            Kind::Run => {
                let text = |text: &Option<Text<'_>>| text.as_ref().map(|text| text.as_str().to_owned());
                let run = text(&line.run).filter(|run| !run.is_empty()).ok_or("a run without a name")?;
                if self.is_begun && self.run != run {
                    return Err("another run begins here: each has a ledger of its own".to_owned());
                }
                self.run = run;
                self.source = text(&line.source).unwrap_or_default();
                self.template = text(&line.template).unwrap_or_default();
                let boot = text(&line.boot);
                self.begin(boot.as_deref());
            }
            Kind::Reserve | Kind::Intent | Kind::Release => {
                for row in line.named_rows()?.into_iter().flatten() {
                    let (page, at) = self.page(row);
                    page.slots[at].others.note(line.kind);
                    page.slots[at].first.mark.note(line.kind);
                    let range = page.range(at);
                    page.further[range].iter_mut().for_each(|further| further.settled.mark.note(line.kind));
                }
            }
            Kind::Attempt | Kind::Outcome => self.settle(line)?,
            Kind::Other => {}
        }
        Ok(())
    }

    fn settle(&mut self, line: &Line<'_>) -> Result<(), String> {
        let (Some(recipient), Some(state)) = (&line.recipient, line.state) else {
            return Err("a recipient and its state are wanted".to_owned());
        };
        // A single message has no second run.
        let Some(row) = line.row else { return Ok(()) };
        if row == 0 {
            return Err("rows are numbered from 1".to_owned());
        }
        let hash = self.hasher.hash_one(recipient.as_str());
        let nobody = self.hasher.hash_one("");
        let (page, at) = self.page(row);
        let slot = &mut page.slots[at];
        // A row that could not be sent names nobody; once it can be, it does.
        let is_free = !slot.first.mark.has(Mark::NAMED) || slot.hash == nobody;
        let settled = if is_free || slot.hash == hash {
            slot.first.lines *= u16::from(slot.hash == hash);
            slot.hash = hash;
            &mut slot.first
        } else {
            let place = page.find(at, hash).unwrap_or_else(|place| {
                page.further.insert(place, Further { hash, at: at as u8, settled: Settled::default() });
                place
            });
            &mut page.further[place].settled
        };
        settled.mark = Mark::settled(state);
        settled.lines = settled.lines.saturating_add(1);
        Ok(())
    }

    /// Another part of the run begins, after this start of the system: open intents are in doubt from now on, and if
    /// the system has been started since, so are open reservations. Where starts have no mark they are taken for one.
    pub fn begin(&mut self, boot: Option<&str>) {
        let has_lost_power = self.is_begun && self.boot.as_deref() != boot;
        for page in self.pages.values_mut() {
            for slot in &mut page.slots {
                slot.others.age(has_lost_power);
                slot.first.mark.age(has_lost_power);
            }
            page.further.iter_mut().for_each(|further| further.settled.mark.age(has_lost_power));
        }
        self.boot = boot.map(str::to_owned);
        self.is_begun = true;
    }

    /// Whether another start of the system than `boot` is what the last part of the run was written under.
    pub(super) fn is_of_another_boot(&self, boot: Option<&str>) -> bool {
        self.boot.as_deref() != boot
    }

    /// On a second reading of the same lines: what became of the recipient of this line, if it is the last that names
    /// them. An outcome that belongs to no run stands for itself.
    pub fn last_word(&mut self, line: &Line<'_>) -> Option<State> {
        let recipient = line.recipient.as_ref().filter(|_| matches!(line.kind, Kind::Attempt | Kind::Outcome))?;
        let Some(row) = line.row.filter(|_| !self.run.is_empty()) else {
            return line.state.filter(|_| line.kind == Kind::Outcome);
        };
        let hash = self.hasher.hash_one(recipient.as_str());
        let (page, at) = self.page(row);
        let settled = match page.slots[at].hash == hash {
            true => &mut page.slots[at].first,
            false => {
                let place = page.find(at, hash).ok()?;
                &mut page.further[place].settled
            }
        };
        settled.lines = settled.lines.saturating_sub(1);
        settled.mark.state().filter(|_| settled.lines == 0)
    }

    fn mark(&self, row: u64, recipient: &str) -> Option<Mark> {
        let index = row.checked_sub(1)?;
        let (page, at) = (self.pages.get(&(index / PAGE))?, (index % PAGE) as usize);
        let slot = &page.slots[at];
        let hash = self.hasher.hash_one(recipient);
        if slot.first.mark.has(Mark::NAMED) && slot.hash == hash {
            return Some(slot.first.mark);
        }
        Some(page.find(at, hash).map_or(slot.others, |place| page.further[place].settled.mark))
    }

    /// The page of a row from 1, and the row's place in it.
    fn page(&mut self, row: u64) -> (&mut Page, usize) {
        let index = row.saturating_sub(1);
        (self.pages.entry(index / PAGE).or_default(), (index % PAGE) as usize)
    }

    fn slots(&self) -> impl Iterator<Item = (u64, &Slot)> {
        self.pages.iter().flat_map(|(page, rows)| (page * PAGE + 1..).zip(&rows.slots))
    }

    /// Rows, in order, with the states of their recipients; of a row whose recipients are not named, with its own.
    fn states(&self) -> impl Iterator<Item = (u64, State)> {
        self.pages.iter().flat_map(|(number, page)| {
            page.slots.iter().enumerate().flat_map(move |(at, slot)| {
                let own = if slot.first.mark.has(Mark::NAMED) { slot.first.mark } else { slot.others };
                let further = page.further[page.range(at)].iter().map(|further| further.settled.mark);
                let marks = std::iter::once(own).chain(further);
                marks.filter_map(Mark::state).map(move |state| (number * PAGE + 1 + at as u64, state))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Octets that are allocated, without what the pages' own tree needs for the few entries it has.
    fn octets(past: &Past) -> usize {
        let further: usize = past.pages.values().map(|page| page.further.capacity()).sum();
        past.pages.len() * (size_of::<Page>() + 3 * size_of::<(u64, usize)>()) + further * size_of::<Further>()
    }

    fn outcome(past: &mut Past, row: u64, recipient: &str) {
        let line = format!(
            "{{\"v\":1,\"type\":\"outcome\",\"row\":{row},\"recipient\":\"{recipient}\",\"state\":\"accepted\"}}"
        );
        past.note(&Line::parse(line.as_bytes()).unwrap()).unwrap();
    }

    #[test]
    fn a_row_with_two_recipients_needs_less_than_fifty_octets() {
        const ROWS: u64 = 20_000;
        let mut past = Past::default();
        past.begin(None);
        // Rows end in any order; this one comes to all of them.
        for row in (0..ROWS).map(|number| number * 7_919 % ROWS + 1) {
            outcome(&mut past, row, "a@x.example");
            outcome(&mut past, row, "b@x.example");
        }
        assert_eq!(past.counts().accepted, 2 * ROWS);
        let each = octets(&past) / ROWS as usize;
        assert!(each < 48, "{each}");
    }

    #[test]
    fn many_recipients_of_neighbouring_rows() {
        let mut past = Past::default();
        past.begin(None);
        for recipient in 0..300 {
            for row in [31, 32, 33, 1] {
                outcome(&mut past, row, &format!("{recipient}-{row}@x.example"));
            }
        }
        assert_eq!(past.counts().accepted, 1200);
        for row in [1, 31, 32, 33] {
            for recipient in 0..300 {
                assert!(past.mark(row, &format!("{recipient}-{row}@x.example")).unwrap().has(Mark::NAMED));
            }
            assert!(!past.mark(row, "0-9@x.example").unwrap().has(Mark::NAMED));
        }
        assert!(past.mark(34, "0-33@x.example").is_some_and(|mark| mark == Mark::default()));
    }
}
