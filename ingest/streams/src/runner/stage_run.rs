//! One run of a stage: from its last commit to an error or the word to stop.

use super::cursor::{Cursor, Role, Said, Stored, Taken};
use super::failure::Failure;
use super::handle::{Position, Shared};
use super::{EpochFigures, EpochPolicy, Lag, RunnerContext, SealWhen};
use crate::crash::Step;
use crate::log::{LogReader, Offset, Record, Transaction};
use crate::stage::{Delivery, Epoch, Gone, Input, ResumePoint, Seal, Stage, StageError, StageSpec};
use bytes::Bytes;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

/// How long a shutdown may go unnoticed while the stage waits for the log.
const NOTICE: Duration = Duration::from_millis(50);

/// How often is told how far the inputs are behind.
const TELL_LAG: Duration = Duration::from_secs(2);

/// How often is asked where partitions end that are idle, until it is known of all of them.
const ASK_ENDS: Duration = Duration::from_secs(2);

/// How often is asked after that: what is written and not shown, as transactions that were called off, moves ends too.
const ASK_ENDS_AGAIN: Duration = Duration::from_secs(60);

/// The epoch that is being absorbed.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    /// When it took in something for the first time; `None` while it is empty.
    since: Option<Instant>,
    records: usize,
    bytes: usize,
}

/// Whether the stage knows that there is nothing more to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdleNotice {
    Nothing,
    CaughtUp,
}

/// What a round of reading brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Round {
    /// Every partition was read to its end.
    Ended,
    /// Nothing, and of some partitions it is not known whether there is more.
    Waiting,
    /// Something.
    Read,
}

/// What became of an attempt to end an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sealed {
    Committed,
    /// There was nothing to store.
    Unchanged,
    /// The stage goes on with the same epoch.
    Held,
}

/// A stage that has been given its state, and how far it has read.
pub(super) struct StageRun<'a> {
    spec: &'a StageSpec,
    stage: Box<dyn Stage>,
    context: &'a RunnerContext,
    shared: &'a Shared,
    reader: Box<dyn LogReader + 'a>,
    cursors: Vec<Cursor>,
    /// Absorbed since the stage was last asked to end the epoch.
    open: Open,
    /// Absorbed before that, while the stage held the epoch open.
    held: Open,
    told: IdleNotice,
    told_lag: Option<Instant>,
    asked_ends: Option<Instant>,
    /// What it absorbs even if it is to stop.
    owed: Option<&'a Owed>,
}

/// What the last epoch of a run had absorbed, and until when the next one tries to.
pub(super) struct Owed {
    pub(super) positions: Vec<Position>,
    pub(super) until: Instant,
}

impl<'a> StageRun<'a> {
    /// Gives a new stage the snapshot of its last commit, and takes up its partitions.
    pub(super) fn begin(
        spec: &'a StageSpec,
        mut stage: Box<dyn Stage>,
        (context, shared): (&'a RunnerContext, &'a Shared),
    ) -> Result<Self, Failure> {
        let log = context.log.as_ref();
        let group = spec.group();
        log.fence(&group).map_err(|error| Failure::of_log("taking the stage over".to_owned(), error))?;
        let reader = log.reader().map_err(|error| Failure::of_log("opening a reader".to_owned(), error))?;
        shared.wake_by(reader.waker());
        let snapshot = log.snapshot(&group);
        if let Some(snapshot) = snapshot.map_err(|error| Failure::of_log("reading the snapshot".to_owned(), error))? {
            stage.restore(&snapshot)?;
        }
        let broadcasts = spec.broadcasts.iter().map(|topic| (topic, Role::Broadcast));
        let inputs = spec.inputs.iter().map(|topic| (topic, Role::Input));
        let mut cursors = Vec::new();
        for (topic, role) in broadcasts.chain(inputs) {
            let partitions = log.partitions(topic);
            let partitions = partitions.map_err(|error| Failure::of_log(format!("looking for {topic}"), error))?;
            let own = if role == Role::Broadcast { 0..partitions } else { spec.partitions_of(partitions) };
            for partition in own {
                cursors.push(Cursor::take_up(log, &group, (topic, partition, role))?);
            }
        }
        Ok(Self {
            spec,
            stage,
            context,
            shared,
            reader,
            cursors,
            open: Open::default(),
            held: Open::default(),
            told: IdleNotice::Nothing,
            told_lag: None,
            asked_ends: None,
            owed: None,
        })
    }

    /// The same run, which absorbs this before it stops.
    pub(super) fn owing(mut self, owed: Option<&'a Owed>) -> Self {
        self.owed = owed;
        self
    }

    /// Lives until told to stop.
    pub(super) fn run(mut self) -> Result<(), Failure> {
        if !self.replay()? {
            return Ok(());
        }
        self.shared.running();
        loop {
            let round = self.read_each(|_| true)?;
            self.show_positions();
            self.tell_lag();
            if self.is_over() {
                self.end()?;
                return Ok(());
            }
            // Whatever the other partitions do: of one that always has more to come it is never known that it has ended.
            self.tell_idle()?;
            if self.is_due() {
                self.seal(Seal::Due)?;
                continue;
            }
            match round {
                Round::Read => {}
                Round::Waiting => self.wait(),
                Round::Ended => self.rest()?,
            }
        }
    }

    /// Whether it is to stop, and owes nothing more.
    fn is_over(&self) -> bool {
        let is_owed = |owed: &Owed| {
            let owes = |(topic, partition, position): &Position| {
                let own = |cursor: &&Cursor| (&cursor.topic, &cursor.partition) == (topic, partition);
                self.cursors.iter().find(own).is_some_and(|cursor| cursor.lacks(*position))
            };
            Instant::now() < owed.until && owed.positions.iter().any(owes)
        };
        self.shared.is_stopping() && (self.shared.is_abandoned() || !self.owed.is_some_and(is_owed))
    }

    /// Ends the epoch for good, unless the stage is someone else's by now.
    fn end(&mut self) -> Result<(), Failure> {
        if !self.shared.is_abandoned() {
            self.seal(Seal::Stopping)?;
        }
        Ok(())
    }

    /// Rebuilds the state as of the last commit, then brings the broadcasts up to date. `false` when told to stop.
    fn replay(&mut self) -> Result<bool, Failure> {
        self.shared.replaying();
        for role in [Role::Broadcast, Role::Input] {
            loop {
                match self.read_each(|cursor| cursor.role == role && cursor.is_muted())? {
                    Round::Ended => break,
                    Round::Waiting => self.wait(),
                    Round::Read => self.show_positions(),
                }
                if self.is_over() {
                    return Ok(false);
                }
            }
        }
        loop {
            match self.read_each(|cursor| cursor.role == Role::Broadcast)? {
                Round::Ended => return Ok(true),
                Round::Waiting => self.wait(),
                Round::Read => self.show_positions(),
            }
            if self.is_over() {
                self.end()?;
                return Ok(false);
            }
            if self.is_due() {
                self.seal(Seal::Due)?;
            }
        }
    }

    /// One delivery from each partition that has one; an epoch that is full meanwhile is ended.
    fn read_each(&mut self, wanted: impl Fn(&Cursor) -> bool) -> Result<Round, Failure> {
        let mut round = Round::Ended;
        for index in 0..self.cursors.len() {
            let room = self.context.policy.bytes.saturating_sub(self.open.bytes);
            let Some(cursor) = self.cursors.get_mut(index).filter(|cursor| wanted(cursor)) else { continue };
            if cursor.waits_for_others(self.stage.as_ref()) {
                round = round.max(Round::Waiting);
                continue;
            }
            let (records, delivery) = match cursor.read(self.reader.as_mut(), room)? {
                Taken::Records(records, delivery) => (records, delivery),
                other => {
                    round = round.max(self.without_records(index, other)?);
                    continue;
                }
            };
            round = Round::Read;
            self.absorb(index, &records, delivery)?;
            if self.open.bytes >= self.context.policy.bytes {
                self.seal(Seal::Due)?;
            }
            if self.is_over() {
                break;
            }
        }
        Ok(round)
    }

    /// How far a read came that brought no records.
    fn without_records(&mut self, index: usize, taken: Taken) -> Result<Round, Failure> {
        match taken {
            Taken::Passed | Taken::Records(..) => Ok(Round::Read),
            Taken::Pending => Ok(Round::Waiting),
            Taken::End => Ok(Round::Ended),
            Taken::Gone(offsets) => self.recall(index, offsets).map(|()| Round::Read),
        }
    }

    /// Has the stage absorb some of what has passed its retention.
    fn recall(&mut self, index: usize, offsets: Range<Offset>) -> Result<(), Failure> {
        let Some(cursor) = self.cursors.get_mut(index) else { return Ok(()) };
        let gone = Gone { topic: &cursor.topic, partition: cursor.partition, offsets };
        let Some(reached) = self.stage.recall(&gone)? else { return Err(cursor.expired()) };
        cursor.recalled_to(reached);
        self.told = IdleNotice::Nothing;
        Ok(())
    }

    fn absorb(&mut self, index: usize, records: &[Record], delivery: Delivery) -> Result<(), Failure> {
        let Some(cursor) = self.cursors.get(index) else { return Ok(()) };
        let (topic, partition) = (cursor.topic.as_str(), cursor.partition);
        self.stage.absorb(Input::Records { topic, partition, records, delivery })?;
        self.told = IdleNotice::Nothing;
        if delivery == Delivery::Live {
            self.open.take_in(records);
        }
        Ok(())
    }

    /// There is nothing to read: tells the stage so, lets it finish its epoch, and waits for the log to grow.
    fn rest(&mut self) -> Result<(), Failure> {
        self.pass_marks();
        if self.told == IdleNotice::Nothing {
            self.stage.absorb(Input::CaughtUp)?;
            self.told = IdleNotice::CaughtUp;
            self.open.touch();
        }
        let ends_epoch = self.open.since.is_some() && self.context.policy.seal_when == SealWhen::CaughtUp;
        if ends_epoch && self.seal(Seal::Due)? == Sealed::Committed {
            return Ok(());
        }
        if let Some(question) = self.shared.question().filter(|_| self.holds_nothing()) {
            let at_end = self.reader.is_at_end();
            if at_end.map_err(|error| Failure::of_log("looking for the end".to_owned(), error))? {
                self.shared.quiet(question);
            }
        }
        self.wait();
        Ok(())
    }

    /// Waits until there may be more to read or something else to do.
    fn wait(&mut self) {
        let wait = self.next_deadline().map_or(NOTICE, |due| NOTICE.min(due.saturating_duration_since(Instant::now())));
        self.reader.wait(wait);
    }

    fn tell_idle(&mut self) -> Result<(), Failure> {
        let idle_after = self.context.policy.idle_after;
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.role == Role::Input && !cursor.told_idle) {
            if cursor.at_end_since.is_some_and(|since| since.elapsed() >= idle_after) {
                self.stage.absorb(Input::Idle { topic: &cursor.topic, partition: cursor.partition })?;
                cursor.told_idle = true;
                self.open.touch();
                self.told = IdleNotice::Nothing;
            }
        }
        Ok(())
    }

    /// Goes on to the ends of idle partitions, past the marks of transactions behind their last records: when these are
    /// forgotten, a restart does not take them for something that was missed.
    fn pass_marks(&mut self) {
        let pause = if self.cursors.iter().any(Cursor::lacks_marks) { ASK_ENDS } else { ASK_ENDS_AGAIN };
        let is_due = self.asked_ends.is_none_or(|asked| asked.elapsed() >= pause);
        let mut idle: Vec<_> = self.cursors.iter_mut().filter(|cursor| cursor.told_idle).collect();
        if !is_due || idle.is_empty() || self.shared.is_stopping() {
            return;
        }
        self.asked_ends = Some(Instant::now());
        let places: Vec<_> = idle.iter().map(|cursor| (cursor.topic.clone(), cursor.partition)).collect();
        match self.reader.ends(&places) {
            Ok(ends) => {
                for (cursor, end) in idle.iter_mut().zip(ends) {
                    if end.is_some_and(|end| cursor.pass_marks(end)) {
                        self.open.touch();
                    }
                }
            }
            // Nothing depends on it, and it is asked again.
            Err(error) => tracing::debug!(stage = self.spec.name, %error, "looking for the ends of idle partitions"),
        }
    }

    /// Whether the stage has handed over, or chosen to keep, all that it absorbed.
    fn holds_nothing(&self) -> bool {
        self.open.since.is_none() && self.told == IdleNotice::CaughtUp
    }

    /// How long the open epoch may gather: one without records has nothing to gather.
    fn interval(&self) -> Duration {
        let EpochPolicy { interval, awaited, .. } = self.context.policy;
        if self.open.records == 0 || self.stage.is_awaited() { awaited.min(interval) } else { interval }
    }

    fn is_due(&self) -> bool {
        self.open.since.is_some_and(|since| since.elapsed() >= self.interval())
    }

    /// When something is to be done even if the log does not grow.
    fn next_deadline(&self) -> Option<Instant> {
        let policy = &self.context.policy;
        let seal = self.open.since.map(|since| since + self.interval());
        let waiting = self.cursors.iter().filter(|cursor| cursor.role == Role::Input && !cursor.told_idle);
        let idle = waiting.filter_map(|cursor| cursor.at_end_since).map(|since| since + policy.idle_after).min();
        seal.into_iter().chain(idle).min()
    }

    /// Ends the epoch if the stage agrees: files first, then one transaction.
    fn seal(&mut self, reason: Seal) -> Result<Sealed, Failure> {
        let open = std::mem::take(&mut self.held).and(std::mem::take(&mut self.open));
        let Some(epoch) = self.stage.seal(reason)? else {
            self.held = open;
            return Ok(Sealed::Held);
        };
        let said = if epoch.is_empty() && epoch.resume_from.is_empty() { Said::Nothing } else { Said::Something };
        if said == Said::Nothing && self.cursors.iter().all(Cursor::is_where_committed) {
            return Ok(Sealed::Unchanged);
        }
        let progress = self.progress(&epoch.resume_from, said)?;
        if progress.is_empty() && epoch.is_empty() {
            return Ok(Sealed::Unchanged);
        }
        let transaction = self.store(epoch, &progress)?;
        // Its own commit may be what the stage waits for before it goes on.
        self.told = IdleNotice::Nothing;
        self.shared.committed();
        let took = open.since.map_or(Duration::ZERO, |since| since.elapsed());
        let figures = EpochFigures { records: open.records, bytes: open.bytes, took, transaction };
        self.context.telemetry.epoch_committed(&self.spec.name, figures);
        Ok(Sealed::Committed)
    }

    /// Makes an epoch durable; how long its transaction took.
    fn store(&mut self, epoch: Epoch, progress: &[(usize, Stored)]) -> Result<Duration, Failure> {
        let (group, crash) = (self.spec.group(), &self.context.crash);
        crash.after(Step::Sealed, &group);
        for file in epoch.files {
            let put = self.context.files.put(&file.path, file.bytes);
            put.map_err(|error| StageError::failed("making an epoch's files durable", error))?;
        }
        crash.after(Step::FilesDurable, &group);
        let written = |(index, stored): &(usize, Stored)| Some(self.cursors.get(*index)?.written(*stored));
        let transaction = Transaction {
            records: epoch.records,
            progress: progress.iter().filter_map(written).collect(),
            snapshot: epoch.snapshot,
        };
        let began = Instant::now();
        if let Err(error) = self.context.log.commit(&group, &transaction) {
            self.context.telemetry.aborted(&self.spec.name);
            return Err(Failure::of_log("committing an epoch".to_owned(), error));
        }
        let took = began.elapsed();
        crash.after(Step::Committed, &group);
        for (index, stored) in progress {
            if let Some(cursor) = self.cursors.get_mut(*index) {
                cursor.stored(*stored);
            }
        }
        Ok(took)
    }

    /// What has changed since the last commit, by cursor.
    fn progress(&self, resume_from: &[ResumePoint], said: Said) -> Result<Vec<(usize, Stored)>, Failure> {
        if let Some(stray) = resume_from.iter().find(|point| !self.cursors.iter().any(|cursor| names(point, cursor))) {
            let reason = format!("{}/{} is none of the stage's inputs", stray.topic, stray.partition);
            return Err(StageError::failed("resume points", reason).into());
        }
        let mut changed = Vec::new();
        for (index, cursor) in self.cursors.iter().enumerate() {
            let resume = resume_from.iter().find(|point| names(point, cursor)).map(|point| point.offset);
            changed.extend(cursor.progress(resume, said)?.map(|stored| (index, stored)));
        }
        Ok(changed)
    }

    fn show_positions(&self) {
        let positions = self.cursors.iter().map(|cursor| (cursor.topic.clone(), cursor.partition, cursor.position));
        self.shared.moved(positions.collect());
    }

    fn behind(&self, cursor: &Cursor) -> Option<u64> {
        let bounds = self.context.log.bounds(&cursor.topic, cursor.partition).ok()?;
        Some(u64::try_from(bounds.end - cursor.position).unwrap_or(0))
    }

    fn tell_lag(&mut self) {
        if self.told_lag.is_some_and(|told| told.elapsed() < TELL_LAG) {
            return;
        }
        self.told_lag = Some(Instant::now());
        let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_millis());
        for cursor in &self.cursors {
            // Offsets have holes: where all is read, what lies before the end are marks of transactions.
            let offsets = if cursor.at_end_since.is_some() { Some(0) } else { self.behind(cursor) };
            // A lag that cannot be told now is told the next time.
            let Some(offsets) = offsets else { continue };
            let read_ms = cursor.read_to_ms.filter(|_| offsets > 0).and_then(|ms| u128::try_from(ms).ok());
            let age_ms = read_ms.map_or(0, |read_ms| now_ms.saturating_sub(read_ms));
            let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(u64::MAX));
            let input = (cursor.topic.as_str(), cursor.partition);
            self.context.telemetry.lag(self.spec, input, Lag { offsets, age });
        }
    }
}

impl Drop for StageRun<'_> {
    fn drop(&mut self) {
        for cursor in self.cursors.iter().filter(|_| self.shared.is_stopping()) {
            self.context.telemetry.let_go(self.spec, (&cursor.topic, cursor.partition));
        }
    }
}

impl Open {
    fn touch(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// This one and the one that follows it, as one.
    fn and(self, next: Self) -> Self {
        Self { since: self.since.or(next.since), records: self.records + next.records, bytes: self.bytes + next.bytes }
    }

    fn take_in(&mut self, records: &[Record]) {
        self.touch();
        self.records += records.len();
        self.bytes += records.iter().map(|record| record.value.as_ref().map_or(0, Bytes::len)).sum::<usize>();
    }
}

fn names(point: &ResumePoint, cursor: &Cursor) -> bool {
    point.topic == cursor.topic && point.partition == cursor.partition
}
