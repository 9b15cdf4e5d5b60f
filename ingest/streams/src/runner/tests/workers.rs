//! What a pool of workers promises: partitions that come and go are worked on once, wherever they are.

use super::*;
use crate::log::{Change, Log, LogError, LogReader, Membership, OffsetRange, RebalanceListener};
use crate::runner::{Sharing, StageWorkers};
use crate::stage::Share;

/// An embedded log that pretends to be shared: the test is the coordinator.
struct SharedLog {
    log: Arc<EmbeddedLog>,
    told: Mutex<Vec<Arc<RebalanceListener>>>,
}

impl SharedLog {
    /// Tells the latest member.
    fn tell(&self, change: Change<'_>) {
        let told = self.told.lock().unwrap().last().map(Arc::clone).unwrap();
        told(change);
    }
}

impl Log for SharedLog {
    fn ensure_topic(&self, topic: &TopicSpec) -> Result<(), LogError> {
        self.log.ensure_topic(topic)
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.log.partitions(topic)
    }

    fn retention(&self, topic: &str) -> Result<Retention, LogError> {
        self.log.retention(topic)
    }

    fn append(&self, records: &[NewRecord]) -> Result<(), LogError> {
        self.log.append(records)
    }

    fn read(&self, topic: &str, partition: u32, from: Offset, budget: ReadBudget) -> Result<Vec<Record>, LogError> {
        self.log.read(topic, partition, from, budget)
    }

    fn bounds(&self, topic: &str, partition: u32) -> Result<OffsetRange, LogError> {
        self.log.bounds(topic, partition)
    }

    fn offset_at(&self, topic: &str, partition: u32, time_ms: i64) -> Result<Offset, LogError> {
        self.log.offset_at(topic, partition, time_ms)
    }

    fn committed(&self, group: &str, topic: &str, partition: u32) -> Result<Option<crate::log::Committed>, LogError> {
        self.log.committed(group, topic, partition)
    }

    fn snapshot(&self, group: &str) -> Result<Option<Bytes>, LogError> {
        self.log.snapshot(group)
    }

    fn commit(&self, group: &str, transaction: &crate::log::Transaction) -> Result<(), LogError> {
        self.log.commit(group, transaction)
    }

    fn enforce_retention(&self, now_ms: i64) -> Result<(), LogError> {
        self.log.enforce_retention(now_ms)
    }

    fn reader(&self) -> Result<Box<dyn LogReader + '_>, LogError> {
        self.log.reader()
    }

    fn fence(&self, group: &str) -> Result<(), LogError> {
        self.log.fence(group)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn join(&self, _: (&str, &str), told: RebalanceListener) -> Result<Membership, LogError> {
        let told = Arc::new(told);
        self.told.lock().unwrap().push(Arc::clone(&told));
        let mut left = Some(Leaving(told));
        Ok(Membership::new(move |timeout| {
            // Holds what hands everything over when the membership is dropped.
            let _ = left.as_mut();
            std::thread::park_timeout(timeout);
        }))
    }

    fn version(&self) -> Result<u64, LogError> {
        self.log.version()
    }
}

/// Hands everything over when it goes.
struct Leaving(Arc<RebalanceListener>);

impl Drop for Leaving {
    fn drop(&mut self) {
        (self.0)(Change::Revoked(&[0, 1]));
    }
}

fn workers(house: &House, log: &Arc<SharedLog>, sharing: Sharing) -> StageWorkers {
    let faulty = Arc::new(Faulty::new(Arc::clone(&house.log), Fault::Never));
    let telemetry = Arc::clone(&house.seen) as Arc<dyn StageTelemetry>;
    let crash = Crash::default();
    let context = RunnerContext { log: Arc::clone(log) as _, files: faulty, policy: house.policy, telemetry, crash };
    StageWorkers::start(house.spec(), house.factory(), context, sharing).unwrap()
}

fn shared(house: &House) -> Arc<SharedLog> {
    Arc::new(SharedLog { log: Arc::clone(&house.log), told: Mutex::default() })
}

fn rest(workers: &StageWorkers, log: &SharedLog) {
    let handles = workers.handles();
    let handles: Vec<_> = handles.iter().map(Arc::as_ref).collect();
    assert!(wait_until_quiet(&handles, log, PATIENCE).unwrap());
}

fn end(workers: StageWorkers) {
    workers.stop();
    workers.join().unwrap();
}

#[test]
fn a_partition_that_is_handed_over_goes_on_where_it_was_in_another_process() {
    let house = House::new();
    let (log, other) = (shared(&house), shared(&house));
    let (one, two) = (workers(&house, &log, Sharing::Among), workers(&house, &other, Sharing::Among));
    log.tell(Change::Assigned(&[0, 1]));
    house.feed(0, 20);
    rest(&one, &log);
    log.tell(Change::Revoked(&[1]));
    assert_eq!(one.handles().len(), 1);
    other.tell(Change::Assigned(&[1]));
    house.feed(20, 40);
    rest(&one, &log);
    rest(&two, &other);
    house.expect(40);
    end(one);
    end(two);
}

#[test]
fn a_partition_that_is_lost_is_dropped_and_what_it_had_open_is_absorbed_by_its_next_owner() {
    let house = House::new();
    let (log, other) = (shared(&house), shared(&house));
    let (one, two) = (workers(&house, &log, Sharing::Among), workers(&house, &other, Sharing::Among));
    log.tell(Change::Assigned(&[0, 1]));
    house.feed(0, 20);
    log.tell(Change::Lost(&[0, 1]));
    assert!(one.handles().is_empty());
    end(one);
    other.tell(Change::Assigned(&[0, 1]));
    house.feed(20, 30);
    rest(&two, &other);
    house.expect(30);
    end(two);
}

#[test]
fn alone_on_a_shared_log_a_process_runs_every_partition() {
    let house = House::new();
    let log = shared(&house);
    house.feed(0, 10);
    let workers = workers(&house, &log, Sharing::Alone);
    let groups: Vec<_> = workers.handles().iter().map(|handle| handle.status().name).collect();
    assert_eq!(groups, ["counting-0", "counting-1"]);
    rest(&workers, &log);
    end(workers);
    house.expect(10);
    assert_eq!(house.spec().share, Share::All);
}
