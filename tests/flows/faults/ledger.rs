//! What a finished log says of its inputs, held against the oracle's count of them.

use super::oracle::{Counted, Pane};
use super::profile::merged;
use super::stream::{MODEL, VERSION, WINDOW_MS};
use capture::archive::index::ArchiveIndex;
use capture::partial::{CaptureEpoch, EventCounts, PartialBody};
use capture::references::{ReferenceCache, ReferenceRegistry};
use detectors::profile::Profile;
use detectors::reference::Reference;
use detectors::verdict::{Monitor, Position};
use driftline_tests::{ArchivedRow, Workplace, all};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use streams::log::{Log, Record};
use streams::topics;

/// The header of a dead letter that names its record.
const OFFSET_HEADER: &str = "__connect.errors.offset";

/// What was found and what should have been, partition by partition.
pub(super) struct Ledger {
    reference: Arc<Reference>,
    partitions: Vec<Partition>,
    /// Rows of each window's final verdict on its inputs.
    verdicts: BTreeMap<i64, Vec<i64>>,
    archived: BTreeMap<(String, i32), Vec<i64>>,
    archived_to: BTreeMap<(String, i32), i64>,
}

struct Partition {
    expected: Counted,
    found: Found,
    /// Offsets that the dead letters name.
    dead_letters: BTreeMap<&'static str, Vec<i64>>,
}

/// What capture committed for a partition.
#[derive(Default)]
struct Found {
    counts: EventCounts,
    panes: BTreeMap<Pane, Vec<Profile>>,
    dead_letters: i64,
}

impl Ledger {
    pub(super) fn read(place: &Workplace, partitions: u32) -> Self {
        let log = place.log().unwrap();
        let mut references = ReferenceRegistry::new(ReferenceCache::new(Arc::new(place.store().unwrap())));
        for record in all(log.as_ref(), topics::MODELS).unwrap() {
            references.absorb(&record).unwrap();
        }
        let reference = references.choose(MODEL, VERSION).unwrap().reference;
        let [inferences, labels] = [topics::INFERENCES, topics::LABELS].map(|topic| whole(log.as_ref(), topic));
        let mut found: Vec<Found> = (0..partitions).map(|_| Found::default()).collect();
        for epochs in whole(log.as_ref(), topics::PARTIALS) {
            take(&epochs, &mut found);
        }
        let letters = [topics::INFERENCES, topics::LABELS].map(|topic| dead_letters(log.as_ref(), topic));
        let partitions = found.into_iter().enumerate().map(|(partition, found)| {
            let expected = Counted::of(&inferences[partition], &labels[partition]);
            let letters = [topics::INFERENCES, topics::LABELS].into_iter().zip(&letters);
            let dead_letters = letters.map(|(topic, letters)| (topic, letters[partition].clone())).collect();
            Partition { expected, found, dead_letters }
        });
        let partitions = partitions.collect();
        let mut ledger = Self {
            reference,
            partitions,
            verdicts: BTreeMap::new(),
            archived: BTreeMap::new(),
            archived_to: BTreeMap::new(),
        };
        ledger.read_outcome(place, log.as_ref());
        ledger
    }

    fn read_outcome(&mut self, place: &Workplace, log: &dyn Log) {
        let outcome = place.outcome().unwrap();
        for verdict in outcome.verdicts.iter().filter(|verdict| verdict.monitor == Monitor::Drift) {
            self.verdicts.entry(verdict.window.start_ms).or_default().push(verdict.rows);
        }
        for ArchivedRow { topic, partition, offset, .. } in outcome.archived {
            self.archived.entry((topic, partition)).or_default().push(offset);
        }
        let mut index = ArchiveIndex::default();
        index.refresh(log).unwrap();
        for topic in [topics::INFERENCES, topics::LABELS] {
            for partition in 0..self.partitions.len() as u32 {
                self.archived_to.insert((topic.to_owned(), partition as i32), index.end(topic, partition));
            }
        }
    }

    /// Rows that should have been counted in a pane and were not, and those that were counted too often.
    pub(super) fn lost_and_doubled(&self) -> (i64, i64) {
        let (mut lost, mut doubled) = (0, 0);
        for Partition { expected, found, .. } in &self.partitions {
            let expected = expected.panes(&self.reference);
            let panes: BTreeSet<_> = expected.keys().chain(found.panes.keys()).collect();
            for pane in panes {
                let wanted = expected.get(pane).map_or(0, Profile::rows);
                let counted: i64 = found.panes.get(pane).into_iter().flatten().map(Profile::rows).sum();
                lost += (wanted - counted).max(0);
                doubled += (counted - wanted).max(0);
            }
        }
        (lost, doubled)
    }

    /// Fails where anything differs.
    pub(super) fn check(&self) {
        for (number, partition) in self.partitions.iter().enumerate() {
            partition.check(number, &self.reference);
        }
        self.check_verdicts();
        self.check_archive();
    }

    /// Each window is judged once, over its rows that were not late.
    fn check_verdicts(&self) {
        let mut windows: BTreeMap<i64, i64> = BTreeMap::new();
        let watermark_ms = self.partitions.iter().map(|it| it.expected.watermark_ms.unwrap()).min().unwrap();
        for partition in &self.partitions {
            for ((start_ms, _), profile) in partition.expected.panes(&self.reference).iter().filter(|(pane, _)| !pane.1)
            {
                *windows.entry(*start_ms).or_default() += profile.rows();
            }
        }
        windows.retain(|start_ms, _| start_ms + WINDOW_MS <= watermark_ms);
        let windows: Vec<_> = windows.into_iter().map(|(start_ms, rows)| (start_ms, vec![rows])).collect();
        let judged = self.verdicts.iter().filter(|(_, rows)| **rows != [0]);
        let judged: Vec<_> = judged.map(|(start_ms, rows)| (*start_ms, rows.clone())).collect();
        assert_eq!(judged, windows, "rows of the windows' verdicts");
    }

    /// The archive holds each good row up to where it has come once.
    fn check_archive(&self) {
        for (number, Partition { expected, .. }) in self.partitions.iter().enumerate() {
            let (inferences, labels) = &expected.archived;
            for (topic, good) in [(topics::INFERENCES, inferences), (topics::LABELS, labels)] {
                let place = (topic.to_owned(), number as i32);
                let to = self.archived_to[&place];
                let wanted: Vec<_> = good.iter().copied().filter(|offset| *offset < to).collect();
                let found = self.archived.get(&place).cloned().unwrap_or_default();
                assert!(found == wanted, "archive of {place:?} up to {to}: {} rows of {}", found.len(), wanted.len());
                assert!(to > 0, "the archive has come nowhere in {place:?}");
            }
        }
    }
}

impl Partition {
    fn check(&self, number: usize, reference: &Reference) {
        let Self { expected, found, dead_letters } = self;
        let counts = &found.counts;
        let rows = |late| found.panes.iter().filter(move |((_, is), _)| *is == late).flat_map(|(_, parts)| parts);
        let [on_time, late] = [false, true].map(|late| rows(late).map(Profile::rows).sum::<i64>());
        let all = on_time + late + counts.duplicates + dead_letters[topics::INFERENCES].len() as i64;
        assert_eq!(all, expected.produced, "panes + late + duplicates + dead letters of partition {number}");
        assert_eq!(counts.duplicates, expected.duplicates, "duplicates of partition {number}");
        assert_eq!(dead_letters[topics::INFERENCES], expected.dead_letters, "dead letters of partition {number}");
        assert_eq!(dead_letters[topics::LABELS], expected.dead_labels, "dead labels of partition {number}");
        let told = (expected.dead_letters.len() + expected.dead_labels.len()) as i64;
        assert_eq!(found.dead_letters, told, "dead letters of partition {number} in the ledger");
        assert_eq!(counts.labelled, expected.labelled, "labelled predictions of partition {number}");
        assert_eq!(counts.expired, expected.expired, "expired predictions of partition {number}");
        let pending = expected.predictions - counts.labelled - counts.expired;
        assert!(pending > 0, "what closes the stream is pending in partition {number}");
        let panes = expected.panes(reference);
        let wanted: BTreeMap<_, _> = panes.iter().map(|(pane, of)| (pane, merged(reference.layouts(), [of]))).collect();
        let bins = found.panes.iter().map(|(pane, parts)| (pane, merged(reference.layouts(), parts)));
        assert_eq!(bins.collect::<BTreeMap<_, _>>(), wanted, "bins of the panes of partition {number}");
    }
}

/// Adds what one monitor was told to what was found. An epoch is of one partition, and its ranges follow on the last one's.
fn take(epochs: &[Record], found: &mut [Found]) {
    let mut read_to: BTreeMap<(String, u32), i64> = BTreeMap::new();
    for record in epochs {
        let epoch: CaptureEpoch = rmp_serde::from_slice(record.value.as_deref().unwrap()).unwrap();
        let partition = epoch.ledger[0].to.partition;
        let found = &mut found[partition as usize];
        for entry in epoch.ledger.iter().filter(|_| !epoch.continues) {
            let Position { topic, partition: own, offset } = entry.to.clone();
            assert_eq!(own, partition, "an epoch is of one partition");
            let last = read_to.insert((topic.clone(), own), offset).unwrap_or(0);
            assert_eq!(entry.from, last, "the ledger's ranges of {topic}/{partition} meet");
            entry.counts.values().for_each(|counts| found.counts.add(counts));
            found.dead_letters += entry.dead_letters.values().sum::<i64>();
        }
        for partial in epoch.partials {
            if let PartialBody::Inputs { pane_start_ms, late, profile } = partial.body {
                found.panes.entry((pane_start_ms, late)).or_default().push(profile);
            }
        }
    }
}

fn whole(log: &dyn Log, topic: &str) -> Vec<Vec<Record>> {
    let partitions = 0..log.partitions(topic).unwrap();
    partitions.map(|partition| records(log, (topic, partition))).collect()
}

fn records(log: &dyn Log, (topic, partition): (&str, u32)) -> Vec<Record> {
    let (mut next, mut records) = (log.bounds(topic, partition).unwrap().first, Vec::new());
    loop {
        let budget = streams::log::ReadBudget { records: 4_096, bytes: 64 << 20 };
        let read = log.read(topic, partition, next, budget).unwrap();
        let Some(last) = read.last() else { return records };
        next = last.offset + 1;
        records.extend(read);
    }
}

/// The offsets that the dead letters of a topic name, by partition.
fn dead_letters(log: &dyn Log, topic: &str) -> Vec<Vec<i64>> {
    let offset = |record: &Record| {
        let offset = record.header(OFFSET_HEADER).unwrap();
        std::str::from_utf8(offset).unwrap().parse().unwrap()
    };
    let partitions = whole(log, &topics::dead_letters_of(topic));
    partitions.iter().map(|letters| letters.iter().map(offset).collect()).collect()
}
