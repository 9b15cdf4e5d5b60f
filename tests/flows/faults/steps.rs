//! Death at every step of a transaction, stage by stage: the process kills itself there (`streams::crash`), and another
//! goes on.

use super::all;
use super::house::House;
use super::lifecycle::Lifecycle;
use driftline_tests::{On, Running, Sent};
use std::time::{Duration, Instant};
use streams::crash::Step;

/// The variable that plans a crash.
const CRASH: &str = "DRIFTLINE_TEST_CRASH";
const PARTITIONS: u32 = 2;
/// Rows that are waiting when a process starts that is to die: two windows of them, and enough for files of the archive.
const ROWS: usize = 600;
/// Requests that must have ended before it is seen whether each was worked off once.
const REQUESTS: usize = 2;
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(120);
const STAGES: [&str; 5] = ["capture", "archive", "monitor", "controller", "trainer"];
/// One step of each stage, and of capture one more: what a run in continuous integration has.
const FEW: [(&str, Step); 6] = [
    ("capture", Step::Settled),
    ("archive", Step::FilesDurable),
    ("monitor", Step::OffsetsSent),
    ("controller", Step::Committed),
    ("trainer", Step::HandedOver),
    ("capture", Step::Committed),
];
/// A transaction that was left open ends with its owner's successor: long before the 20 seconds after which the broker
/// gives it up. What is waited for is the dead process' session, of 6 seconds.
const LEFT_OPEN: Duration = Duration::from_secs(15);

#[test]
fn a_death_at_any_step_of_a_transaction_loses_nothing_and_counts_nothing_twice() {
    let Some(on) = On::kafka().unwrap() else { return };
    let every = STAGES.iter().flat_map(|stage| Step::ALL.map(|step| (*stage, step)));
    let deaths: Vec<_> = if all() { every.collect() } else { FEW.to_vec() };
    let mut house = House::retraining(&on, PARTITIONS);
    // The first one learns the reference: the others have something to do as soon as they start.
    let mut service = house.start();
    house.send(ROWS);
    house.until_captured(&mut service, Instant::now());
    service.stop().unwrap();
    let mut fault = Instant::now();
    for (number, (stage, step)) in deaths.iter().enumerate() {
        house.send(ROWS);
        house.flush();
        // Not always the first transaction of a run.
        let plan = format!("{stage}:{}:{}", step.name(), 1 + number % 2);
        println!("dies at {plan}");
        house.place.run_to_its_death(&[(CRASH, &plan)]).unwrap();
        fault = Instant::now();
    }
    house.send(ROWS);
    let mut service = house.start();
    let recovery = house.until_captured(&mut service, fault);
    until_retrained(&mut house, &mut service);
    let house = house.finish(vec![service], ("death at a step", deaths.len() as u32), recovery);
    Lifecycle::read(&house.place).check();
}

/// Sends rows until requests have been made, worked off, and have ended by the deadlines that the rows bring.
fn until_retrained(house: &mut House, service: &mut Running) {
    let started = Instant::now();
    loop {
        let lifecycle = Lifecycle::read(&house.place);
        if lifecycle.ended() >= REQUESTS {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "the trainer has come no further than {lifecycle:?}");
        house.send(ROWS);
        house.until_captured(service, Instant::now());
    }
}

#[test]
fn a_death_with_an_append_half_done_holds_no_one_up() {
    let Some(on) = On::kafka().unwrap() else { return };
    let mut house = House::new(&on, PARTITIONS);
    let mut service = house.start();
    house.send(ROWS);
    house.until_captured(&mut service, Instant::now());
    service.stop().unwrap();
    let mut recovery = Duration::ZERO;
    let steps = [Step::Settled, Step::Committed];
    for step in steps {
        let doomed = house.place.start_with(&[(CRASH, &format!("append:{}:1", step.name()))]).unwrap();
        // No one will know whether it was taken; the oracle counts it where it came to stand in the log.
        let event = house.stream.by_ref().next().unwrap().event();
        let answer = doomed.post("/v1/events", Sent::json_lines(&event));
        assert!(answer.is_err(), "it answered {answer:?}");
        doomed.until_killed().unwrap();
        let fault = Instant::now();
        house.send(ROWS);
        let mut service = house.start();
        let took = house.until_captured(&mut service, fault);
        assert!(took < LEFT_OPEN, "readers were held up for {took:?}");
        recovery = recovery.max(took);
        service.stop().unwrap();
    }
    let service = house.start();
    house.finish(vec![service], ("death at an append", steps.len() as u32), recovery);
}
