//! When a partition is told to be idle.

use super::*;
use crate::runner::cursor::{Cursor, Role};

pub(super) fn count(house: &House, what: &str) -> usize {
    house.seen.told().iter().filter(|told| *told == what).count()
}

pub(super) fn wait_for(house: &House, what: &str, times: usize) {
    let deadline = Instant::now() + PATIENCE;
    while count(house, what) < times {
        assert!(Instant::now() < deadline, "{what} was told {} times, not {times}", count(house, what));
        std::thread::yield_now();
    }
}

#[test]
fn a_partition_is_idle_once_until_it_is_not() {
    let mut house = House::new();
    house.policy.idle_after = Duration::ZERO;
    let handle = house.start();
    wait_for(&house, "idle in/0", 1);
    wait_for(&house, "idle in/1", 1);
    house.log.append(&[record_for("in", 0, "value 0")]).unwrap();
    wait_for(&house, "idle in/0", 2);
    assert!(wait_until_quiet(&[&handle], house.log.as_ref(), PATIENCE).unwrap());
    handle.shutdown();
    handle.join().unwrap();
    assert_eq!(["idle in/0", "idle in/1"].map(|what| count(&house, what)), [2, 1]);
}

/// Labels that do not come must not hold up predictions that never stop, nor keep a processor busy with waiting for them.
#[test]
fn a_partition_is_idle_although_another_always_has_more_to_come() {
    let mut house = House::new();
    house.policy.idle_after = Duration::ZERO;
    house.fault = Fault::NeverEnds(1);
    let handle = house.start();
    wait_for(&house, "idle in/0", 1);
    handle.shutdown();
    handle.join().unwrap();
    assert_eq!(["idle in/0", "idle in/1"].map(|what| count(&house, what)), [1, 0]);
}

/// A stage all of whose partitions are ahead of others.
struct Ahead;

impl Stage for Ahead {
    fn restore(&mut self, _: &[u8]) -> Result<(), StageError> {
        Ok(())
    }

    fn absorb(&mut self, _: Input<'_>) -> Result<(), StageError> {
        Ok(())
    }

    fn awaits_alignment(&self, _: &str, _: PartitionId) -> bool {
        true
    }

    fn seal(&mut self, _: Seal) -> Result<Option<Epoch>, StageError> {
        Ok(None)
    }
}

/// Records may come to it while it waits, and time must not pass them by.
#[test]
fn a_partition_that_waits_for_others_is_not_idle_and_one_that_is_idle_does_not_wait() {
    let house = House::new();
    let cursor = Cursor::take_up(house.log.as_ref(), "counting", ("in", 0, Role::Input));
    let mut cursor = cursor.unwrap_or_else(|_| panic!("the partition cannot be taken up"));
    cursor.at_end_since = Some(Instant::now());
    assert!(cursor.waits_for_others(&Ahead));
    assert_eq!(cursor.at_end_since, None);
    cursor.told_idle = true;
    assert!(!cursor.waits_for_others(&Ahead));
}
