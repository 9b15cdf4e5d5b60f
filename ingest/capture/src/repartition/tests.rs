//! What a repartition promises, with runners that take turns and die at any moment.

use super::*;
use crate::fixtures::{self, START_MS, as_stored, event, new_record};
use codec::decode::{EventKind, Limits};
use proptest::prelude::*;
use serde_json::Value;
use streams::partition::partition_of;

const SOURCES: u32 = 3;
const PARTITIONS: u32 = 2;
const DISORDER_MS: i64 = 200;

/// The log, and what runs on it.
struct House {
    /// The records of each partition of the users' topic.
    sources: Vec<Vec<Record>>,
    standings: Vec<Record>,
    /// What was written to the repartitioned topic.
    written: Vec<NewRecord>,
    runners: Vec<Runner>,
    lives: u32,
}

/// A runner of one partition, as the runner of the log does it.
struct Runner {
    partition: PartitionId,
    stage: Repartition,
    /// Up to where the source and the standings are read.
    read: (Offset, Offset),
    committed: Committed,
}

#[derive(Clone, Default)]
struct Committed {
    source: Offset,
    resume: Offset,
    standings: Offset,
    snapshot: Option<Bytes>,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Read(usize),
    Listen,
    Seal,
    Die,
}

fn stage(incarnation: u32) -> Repartition {
    let models = vec![fixtures::source(&fixtures::watched())];
    Repartition::new(RepartitionSpec {
        topic: topics::INFERENCES,
        sources: SOURCES,
        partitions: PARTITIONS,
        disorder: Duration::from_millis(DISORDER_MS as u64),
        incarnation: format!("life-{incarnation}"),
        splitter: Splitter::new(models, Limits::default(), EventKind::Inference, PARTITIONS),
    })
}

impl House {
    /// A house whose sources hold these records.
    fn new(sources: Vec<Vec<NewRecord>>) -> Self {
        let store = |records: Vec<NewRecord>| {
            let stored = (0..).zip(records).map(|(offset, record)| as_stored(record, offset, START_MS + 1_000_000));
            stored.collect()
        };
        let runner =
            |partition| Runner { partition, stage: stage(partition), read: (0, 0), committed: Committed::default() };
        let runners = (0..SOURCES).map(runner).collect();
        let sources = sources.into_iter().map(store).collect();
        Self { sources, standings: Vec::new(), written: Vec::new(), runners, lives: SOURCES }
    }

    /// Lets a runner act; whether that changed anything.
    fn act(&mut self, runner: usize, act: Act) -> bool {
        match act {
            Act::Read(most) => self.read(runner, most),
            Act::Listen => self.listen(runner),
            Act::Seal => self.seal(runner),
            Act::Die => {
                self.die(runner);
                true
            }
        }
    }

    fn read(&mut self, runner: usize, most: usize) -> bool {
        let Runner { partition, stage, read: (from, _), .. } = &mut self.runners[runner];
        let topic = topics::source_of(topics::INFERENCES);
        let records = &self.sources[runner][*from as usize..];
        if stage.awaits_alignment(&topic, *partition) {
            return false;
        }
        if records.is_empty() {
            stage.absorb(Input::CaughtUp).unwrap();
            return false;
        }
        let records = &records[..most.clamp(1, records.len())];
        let (topic, partition, delivery) = (topic.as_str(), *partition, Delivery::Live);
        stage.absorb(Input::Records { topic, partition, records, delivery }).unwrap();
        *from += records.len() as Offset;
        true
    }

    fn listen(&mut self, runner: usize) -> bool {
        let Runner { stage, read: (_, from), .. } = &mut self.runners[runner];
        let records = &self.standings[*from as usize..];
        let (topic, delivery) = (topics::standings_of(topics::INFERENCES), Delivery::Live);
        if !records.is_empty() {
            stage.absorb(Input::Records { topic: &topic, partition: 0, records, delivery }).unwrap();
        }
        *from = self.standings.len() as Offset;
        !records.is_empty()
    }

    fn seal(&mut self, runner: usize) -> bool {
        let Runner { stage, read, committed, .. } = &mut self.runners[runner];
        let Epoch { records, snapshot, resume_from, .. } = stage.seal(Seal::Due).unwrap().unwrap();
        let is_something = !records.is_empty();
        let resume = resume_from.first().map_or(read.0, |point| point.offset);
        let snapshot = snapshot.or(committed.snapshot.take());
        *committed = Committed { source: read.0, resume, standings: read.1, snapshot };
        for record in records {
            if record.topic == topics::INFERENCES {
                self.written.push(record);
            } else {
                let offset = self.standings.len() as Offset;
                self.standings.push(as_stored(record, offset, START_MS));
            }
        }
        is_something
    }

    fn die(&mut self, runner: usize) {
        self.lives += 1;
        let Runner { partition, stage, read, committed } = &mut self.runners[runner];
        *stage = self::stage(self.lives);
        if let Some(snapshot) = &committed.snapshot {
            stage.restore(snapshot).unwrap();
        }
        let records = &self.sources[runner][committed.resume as usize..committed.source as usize];
        let (topic, partition, delivery) = (topics::source_of(topics::INFERENCES), *partition, Delivery::Replayed);
        if !records.is_empty() {
            stage.absorb(Input::Records { topic: &topic, partition, records, delivery }).unwrap();
        }
        *read = (committed.source, committed.standings);
    }

    /// Goes on until nobody has anything to do.
    fn run(&mut self) {
        loop {
            let mut is_something = false;
            for runner in 0..self.runners.len() {
                for act in [Act::Listen, Act::Read(7), Act::Seal] {
                    is_something |= self.act(runner, act);
                }
            }
            if !is_something {
                return;
            }
        }
    }

    /// The events that were written, in order, by partition.
    fn events(&self) -> Vec<Vec<(String, i64)>> {
        let mut events = vec![Vec::new(); PARTITIONS as usize];
        for NewRecord { partition, value, .. } in self.controls(false) {
            let value: Value = serde_json::from_slice(value.as_deref().unwrap()).unwrap();
            let event = (value["id"].as_str().unwrap().to_owned(), value["time"].as_i64().unwrap());
            events[*partition as usize].push(event);
        }
        events
    }

    fn controls(&self, wanted: bool) -> impl Iterator<Item = &NewRecord> {
        let is_control = |record: &NewRecord| Control::read(&as_stored(record.clone(), 0, 0)).is_some();
        self.written.iter().filter(move |record| is_control(record) == wanted)
    }
}

/// Events of one source by their times.
fn events_of(source: u32, times: &[i64]) -> Vec<NewRecord> {
    let event = |(number, ms): (usize, &i64)| event(&format!("{source}-{number}"), START_MS + ms, *ms);
    let record = |value| new_record(&topics::source_of(topics::INFERENCES), source, &value);
    times.iter().enumerate().map(event).map(record).collect()
}

fn any_times() -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(0..150i64, 0..40).prop_map(|steps| {
        let sum = |at: &mut i64, step| {
            *at += step;
            Some(*at)
        };
        steps.into_iter().scan(0, sum).collect()
    })
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..9usize).prop_map(Act::Read),
        4 => Just(Act::Listen),
        3 => Just(Act::Seal),
        1 => Just(Act::Die),
    ]
}

proptest! {
    #[test]
    fn every_row_is_written_once_and_none_is_late_whoever_is_read_first_and_whoever_dies(
        times in prop::collection::vec(any_times(), SOURCES as usize),
        acts in prop::collection::vec((0..SOURCES as usize, any_act()), 0..120),
    ) {
        let sources = (0..).zip(&times).map(|(source, times)| events_of(source, times)).collect();
        let mut house = House::new(sources);
        for (runner, act) in acts {
            house.act(runner, act);
        }
        house.run();
        let mut ids = Vec::new();
        for (partition, events) in (0..).zip(house.events()) {
            let mut latest_ms = i64::MIN;
            for (id, time_ms) in events {
                prop_assert_eq!(partition_of(&id, PARTITIONS), partition);
                prop_assert!(time_ms >= latest_ms.saturating_sub(DISORDER_MS / 2), "{} is behind", id);
                latest_ms = latest_ms.max(time_ms);
                ids.push(id);
            }
        }
        ids.sort();
        let mut expected: Vec<_> =
            (0..).zip(&times).flat_map(|(source, times): (u32, _)| (0..times.len()).map(move |n| format!("{source}-{n}"))).collect();
        expected.sort();
        prop_assert_eq!(ids, expected);
    }
}

#[test]
fn a_record_bears_the_time_at_which_the_log_took_it() {
    let mut house = House::new((0..SOURCES).map(|source| events_of(source, &[1, 2])).collect());
    house.run();
    assert_eq!(house.written.len(), 6);
    assert!(house.written.iter().all(|record| record.appended_ms == Some(START_MS + 1_000_000)));
}

#[test]
fn what_cannot_be_read_is_forwarded_to_the_partition_of_its_source() {
    let tombstone = |source| NewRecord { value: None, ..new_record("", source, &Value::Null) };
    let mut unknown = Control::Heartbeat(1).to_record("", 0);
    unknown.value = None;
    let mut house = House::new((0..SOURCES).map(|source| vec![tombstone(source), unknown.clone()]).collect());
    house.run();
    let mut partitions: Vec<_> = house.written.iter().map(|record| (record.headers.len(), record.partition)).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [(0, 0), (0, 0), (0, 1), (1, 0), (1, 0), (1, 1)]);
}

#[test]
fn the_end_of_the_input_is_said_to_every_partition_behind_the_last_event_of_every_source() {
    for died in 0..=SOURCES as usize {
        let end = |source: u32| {
            let mut records = events_of(source, &[i64::from(source), 40]);
            records.push(Control::EndOfInput(START_MS + i64::from(source)).to_record("", source));
            records
        };
        let mut house = House::new((0..SOURCES).map(end).collect());
        for runner in 0..died {
            for act in [Act::Read(2), Act::Seal, Act::Listen, Act::Read(9), Act::Seal, Act::Die] {
                house.act(runner, act);
            }
        }
        house.run();
        let written: Vec<_> = house.controls(true).cloned().collect();
        let end = Control::EndOfInput(START_MS + 2);
        let mut said: Vec<_> = written.into_iter().map(|record| record.partition).collect();
        said.sort_unstable();
        assert_eq!(said, [0, 1]);
        let last = house.written.split_off(house.written.len() - PARTITIONS as usize);
        let last: Vec<_> = last.into_iter().map(|record| Control::read(&as_stored(record, 0, 0))).collect();
        assert_eq!(last, [Some(Ok(end)), Some(Ok(end))], "after {died} have died");
    }
}

#[test]
fn one_source_that_has_said_nothing_keeps_the_heartbeats_of_the_others() {
    let beat = |source| match source {
        0 => Vec::new(),
        _ => vec![Control::Heartbeat(START_MS + i64::from(source)).to_record("", source)],
    };
    let mut house = House::new((0..SOURCES).map(beat).collect());
    house.run();
    assert_eq!(house.controls(true).count(), 0);
}
