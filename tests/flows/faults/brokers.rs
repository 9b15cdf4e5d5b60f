//! Brokers that die, that are restarted one after the other, and that stand still.

use super::house::House;
use super::{all, cluster, is_left_out};
use driftline_tests::Running;
use std::time::{Duration, Instant};

/// Rows before each fault, and rows that are on their way while it happens.
const BEFORE: usize = 300;
const DURING: usize = 300;
/// Longer than any request waits for its answer.
const FROZEN: Duration = Duration::from_secs(45);

#[test]
fn a_broker_that_is_killed_and_comes_back_costs_no_event() {
    let Some((mut brokers, on)) = cluster(1) else { return };
    let times = if all() { 5 } else { 1 };
    let mut house = House::new(&on, 2);
    let mut service = house.start();
    let mut recovery = Duration::ZERO;
    for _ in 0..times {
        before(&mut house, &mut service);
        let fault = Instant::now();
        house.send(DURING);
        let broker = brokers.broker(0).unwrap();
        broker.kill();
        house.send(DURING);
        broker.start().unwrap();
        recovery = recovery.max(house.until_captured(&mut service, fault));
    }
    house.finish(vec![service], ("broker killed", times), recovery);
}

#[test]
fn brokers_that_are_restarted_one_after_the_other_cost_no_event() {
    if is_left_out() {
        return;
    }
    let Some((mut brokers, on)) = cluster(3) else { return };
    let mut house = House::new(&on, 2);
    let mut service = house.start();
    before(&mut house, &mut service);
    let mut recovery = Duration::ZERO;
    for index in 0..3 {
        let fault = Instant::now();
        house.send(DURING);
        let broker = brokers.broker(index).unwrap();
        broker.stop().unwrap();
        house.send(DURING);
        broker.start().unwrap();
        recovery = recovery.max(house.until_captured(&mut service, fault));
    }
    house.finish(vec![service], ("brokers restarted in turn", 3), recovery);
}

#[test]
fn a_broker_that_stands_still_for_longer_than_requests_wait_costs_no_event() {
    if is_left_out() {
        return;
    }
    let Some((mut brokers, on)) = cluster(1) else { return };
    let mut house = House::new(&on, 2);
    let mut service = house.start();
    before(&mut house, &mut service);
    let fault = Instant::now();
    house.send(DURING);
    let broker = brokers.broker(0).unwrap();
    broker.freeze().unwrap();
    house.send(DURING);
    let is_over = |_: &Running| Ok((fault.elapsed() > FROZEN).then_some(()));
    service.until("requests have been given up", is_over).unwrap();
    broker.thaw().unwrap();
    let recovery = house.until_captured(&mut service, fault);
    house.finish(vec![service], ("broker frozen", 1), recovery);
}

fn before(house: &mut House, service: &mut Running) {
    house.send(BEFORE);
    house.until_captured(service, Instant::now());
}
