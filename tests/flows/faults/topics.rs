//! Topics that lose what has not been read: an error that names the place, and never a silent skip.

use super::house::House;
use driftline_tests::{On, Running};
use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};
use streams::log::{Retention, TopicSpec};
use streams::topics;

const ROWS: usize = 300;
const PARTITIONS: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(120);

/// The broker forgets a group's offsets of a topic that is deleted: it must not look like a topic that was never read.
#[test]
fn a_topic_that_was_made_anew_while_driftline_was_down_is_an_error_that_names_it() {
    let Some(on) = On::kafka().unwrap() else { return };
    let mut house = captured(&on);
    let log = house.place.log().unwrap();
    let name = house.topic(topics::INFERENCES);
    run(house.admin().delete_topics(&[&name], &AdminOptions::new())).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while log.partitions(topics::INFERENCES).is_ok() {
        assert!(Instant::now() < deadline, "the topic is still there");
    }
    let retention = Retention::default();
    let anew = TopicSpec { name: topics::INFERENCES.to_owned(), partitions: PARTITIONS, retention };
    house.place.log().unwrap().ensure_topic(&anew).unwrap();
    house.send(10);
    house.flush();
    let said = not_ready(&mut house.start());
    assert!(said.contains("inferences/") && said.contains("made anew"), "{said}");
}

#[test]
fn retention_that_passed_what_was_not_read_is_an_error_that_names_it() {
    let Some(on) = On::kafka().unwrap() else { return };
    let mut house = captured(&on);
    house.send(ROWS);
    house.flush();
    expire(&house, |end| end - 10);
    let said = not_ready(&mut house.start());
    assert!(said.contains("inferences/") && said.contains("has passed its retention"), "{said}");
}

/// A house whose driftline has read everything and ended.
fn captured(on: &On) -> House {
    let mut house = House::new(on, PARTITIONS);
    let mut service = house.start();
    house.send(ROWS);
    house.until_captured(&mut service, Instant::now());
    service.stop().unwrap();
    house
}

/// Deletes what lies before an offset that follows from the end.
fn expire(house: &House, first: fn(i64) -> i64) {
    let log = house.place.log().unwrap();
    let mut deleted = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let end = log.bounds(topics::INFERENCES, partition).unwrap().end;
        let topic = house.topic(topics::INFERENCES);
        deleted.add_partition_offset(&topic, partition as i32, Offset::Offset(first(end))).unwrap();
    }
    run(house.admin().delete_records(&deleted, &AdminOptions::new())).unwrap();
}

/// What a driftline says that stands and is not ready.
fn not_ready(service: &mut Running) -> String {
    let failed = |service: &Running| {
        let answer = service.get("/readyz")?;
        let said = answer.body.to_string();
        Ok((answer.status == 503 && said.contains("inferences/")).then_some(said))
    };
    service.until("it says that it is not ready", failed).unwrap()
}

fn run<T>(operation: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(operation)
}
