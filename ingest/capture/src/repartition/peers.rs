//! What those that repartition the partitions of one topic tell each other, through a topic that all of them read.
//!
//! A partition's runner knows its own records only, and runners may be in different processes. So each tells how far it
//! is, in event time, and what its source said (heartbeats, the end of the input):
//!
//! - **No partition is read ahead of another.** A record is forwarded once every other partition is about as far. One that
//!   is read to its end is waited for by no one: what is written at the same time is forwarded as it comes.
//! - **After a start nothing is taken for granted.** Whoever starts asks, and forwards nothing until all others have
//!   answered or started themselves: what they told before may be long past.
//! - **What a source says holds for all together.** A heartbeat of one partition says nothing of the others: what is said to
//!   the repartitioned topic is the least of all sources, once each has said something, and the end when all have ended.
//!   It is written by whoever's number is that of the repartitioned partition modulo the sources, after it has read what
//!   the last of them said, and so behind every record that came before.
//!
//! When records are forwarded depends on this; what is forwarded, and where to, does not.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;
use streams::control::Control;
use streams::log::PartitionId;

/// Epochs in a row that do not reach the end of the source before a runner that was at the end says that it is not: most
/// often it is there again at once.
const EPOCHS_BEHIND: u32 = 20;

/// What one partition's runner tells the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PeerProgress {
    /// The run that reports it.
    incarnation: String,
    partition: PartitionId,
    /// The time of what is forwarded next, so far as that is known; none at the end of the source.
    next_ms: Option<i64>,
    /// Whether the others are to tell theirs.
    asks: bool,
    /// What the source said since the last time.
    said: Option<Control>,
}

/// What is known of the other partitions.
#[derive(Debug)]
pub(super) struct Peers {
    incarnation: String,
    /// Partitions of the source topic.
    sources: u32,
    /// How far apart in event time partitions may be.
    apart_ms: i64,
    own: OnceLock<PartitionId>,
    question: Question,
    /// What the others have told since the question.
    others: BTreeMap<PartitionId, Option<i64>>,
    told: Option<i64>,
    epochs_behind: u32,
    is_asked: bool,
    says: Option<Control>,
    /// What each source said last.
    said: BTreeMap<PartitionId, Control>,
}

/// How far a run has come with its question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    NotAsked,
    Asked,
    /// It stands in the topic: what follows answers it.
    Heard,
}

impl Peers {
    /// Knows nothing yet. `incarnation` is a name that no other run has.
    pub(super) fn new(incarnation: String, sources: u32, apart: Duration) -> Self {
        Self {
            incarnation,
            sources,
            apart_ms: i64::try_from(apart.as_millis()).unwrap_or(i64::MAX),
            own: OnceLock::new(),
            question: Question::NotAsked,
            others: BTreeMap::new(),
            told: None,
            epochs_behind: 0,
            is_asked: false,
            says: None,
            said: BTreeMap::new(),
        }
    }

    /// Learns which partition this runner has.
    pub(super) fn is_of(&self, partition: PartitionId) {
        // A runner has one for as long as it runs.
        let _ = self.own.set(partition);
    }

    /// The partition that this runner has, once it is known.
    pub(super) fn own(&self) -> Option<PartitionId> {
        self.own.get().copied()
    }

    /// Partitions of the source topic.
    pub(super) fn sources(&self) -> u32 {
        self.sources
    }

    /// What each source said last, for a snapshot.
    pub(super) fn said(&self) -> &BTreeMap<PartitionId, Control> {
        &self.said
    }

    /// Takes that back.
    pub(super) fn restore(&mut self, said: BTreeMap<PartitionId, Control>) {
        self.said = said;
    }

    /// Whether the others have been asked where they stand.
    pub(super) fn has_asked(&self) -> bool {
        self.question != Question::NotAsked
    }

    /// Whether a record of this time may be forwarded.
    pub(super) fn allow(&self, time_ms: i64) -> bool {
        let Some(own) = self.own() else { return false };
        if self.sources <= 1 {
            return true;
        }
        let are_heard = (0..self.sources).all(|source| source == own || self.others.contains_key(&source));
        let slowest_ms = self.others.values().flatten().min();
        are_heard && slowest_ms.is_none_or(|slowest_ms| time_ms <= slowest_ms.saturating_add(self.apart_ms))
    }

    /// Has the source's word told.
    pub(super) fn say(&mut self, control: Control) {
        self.says = Some(control);
    }

    /// Takes in what one of the runners told, this one included. Returns what all sources together say, where that is new.
    pub(super) fn hear(&mut self, standing: PeerProgress) -> Option<Control> {
        let PeerProgress { incarnation, partition, next_ms, asks, said } = standing;
        let is_own = incarnation == self.incarnation;
        if is_own && asks {
            self.question = Question::Heard;
        }
        self.is_asked |= asks && !is_own;
        if self.question == Question::Heard && Some(partition) != self.own() {
            self.others.insert(partition, next_ms);
        }
        let before = self.together();
        self.said.extend(said.map(|said| (partition, said)));
        self.together().filter(|now| before != Some(*now))
    }

    /// What is to be told at the end of an epoch. `next_ms` is as in [`PeerProgress`].
    pub(super) fn tell(&mut self, next_ms: Option<i64>) -> Option<PeerProgress> {
        let partition = self.own()?;
        let asks = self.question == Question::NotAsked;
        let is_moved = match (self.told, next_ms) {
            (Some(told_ms), Some(next_ms)) => next_ms.saturating_sub(told_ms) >= (self.apart_ms / 2).max(1),
            (Some(_), None) => true,
            (None, Some(_)) => self.epochs_behind >= EPOCHS_BEHIND,
            (None, None) => false,
        };
        self.epochs_behind = if next_ms.is_some() { self.epochs_behind.saturating_add(1) } else { 0 };
        let is_due = asks || self.is_asked || is_moved;
        if self.says.is_none() && (self.sources <= 1 || !is_due) {
            return None;
        }
        if asks {
            self.question = Question::Asked;
        }
        self.is_asked = false;
        self.told = next_ms;
        Some(PeerProgress { incarnation: self.incarnation.clone(), partition, next_ms, asks, said: self.says.take() })
    }

    /// What all sources together say; none while one of them has said nothing.
    fn together(&self) -> Option<Control> {
        let said = (0..self.sources).map(|source| self.said.get(&source).copied()).collect::<Option<Vec<_>>>()?;
        let heartbeats = said.iter().filter_map(|said| match said {
            Control::Heartbeat(time_ms) => Some(*time_ms),
            Control::EndOfInput(_) => None,
        });
        let ends = said.iter().filter_map(|said| match said {
            Control::EndOfInput(time_ms) => Some(*time_ms),
            Control::Heartbeat(_) => None,
        });
        heartbeats.min().map(Control::Heartbeat).or_else(|| ends.max().map(Control::EndOfInput))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APART: Duration = Duration::from_millis(10);

    fn of(partition: PartitionId, sources: u32) -> Peers {
        let peers = Peers::new(format!("life-{partition}"), sources, APART);
        peers.is_of(partition);
        peers
    }

    #[test]
    fn nothing_is_forwarded_before_all_others_have_answered() {
        let (mut first, mut second) = (of(0, 2), of(1, 2));
        assert!(!first.allow(i64::MIN));
        let before = second.tell(Some(500)).unwrap();
        first.hear(before);
        assert!(!first.allow(500), "that was told before it was asked");
        let question = first.tell(Some(505)).unwrap();
        first.hear(question.clone());
        second.hear(question);
        assert!(!first.allow(505));
        let answer = second.tell(Some(500)).expect("it was asked");
        first.hear(answer);
        assert!(first.allow(510), "the other is as far as that");
        assert!(!first.allow(511));
        assert_eq!(first.tell(Some(505)), None, "it has told that already");
        first.hear(second.tell(None).expect("it has come to its end"));
        assert!(first.allow(i64::MAX), "no one waits for one at its end");
    }

    #[test]
    fn one_partition_alone_waits_for_no_one_and_tells_nothing() {
        let mut alone = of(0, 1);
        assert!(alone.allow(i64::MAX));
        assert_eq!(alone.tell(Some(1)), None);
    }

    #[test]
    fn one_that_was_at_its_end_and_falls_behind_says_so_in_the_end() {
        let mut runner = of(0, 2);
        runner.tell(None).unwrap();
        let told = (0..100).find_map(|time_ms| runner.tell(Some(time_ms)));
        assert_eq!(told.unwrap().next_ms, Some(i64::from(EPOCHS_BEHIND)));
    }

    #[test]
    fn what_the_sources_say_holds_for_all_together() {
        let mut runner = of(0, 3);
        let mut hear = |partition, said| {
            let incarnation = format!("life-{partition}");
            runner.hear(PeerProgress { incarnation, partition, next_ms: None, asks: false, said: Some(said) })
        };
        assert_eq!(hear(0, Control::Heartbeat(10)), None);
        assert_eq!(hear(1, Control::EndOfInput(900)), None);
        assert_eq!(hear(2, Control::Heartbeat(20)), Some(Control::Heartbeat(10)));
        assert_eq!(hear(2, Control::Heartbeat(30)), None, "another is slower");
        assert_eq!(hear(0, Control::Heartbeat(40)), Some(Control::Heartbeat(30)));
        assert_eq!(hear(0, Control::EndOfInput(50)), None, "the slowest says what it said");
        assert_eq!(hear(2, Control::EndOfInput(60)), Some(Control::EndOfInput(900)));
    }
}
