//! Processes that are killed, that stand still while another takes over, and that come and go under load.

use super::house::House;
use super::{all, is_left_out};
use driftline_tests::{On, Running};
use nix::sys::signal::Signal;
use rand::{Rng, SeedableRng};
use std::time::{Duration, Instant};

const SEED: u64 = 11;
/// Kills, of which a run in continuous integration has the first ones.
const KILLS: u32 = 50;
const FIRST_KILLS: u32 = 5;
/// The latest moment of a kill after the last rows were sent.
const LATEST: Duration = Duration::from_millis(1_500);
/// Rows between two things that happen.
const ROWS: usize = 300;
/// The groups that another process takes for its own.
const USURPED: [&str; 4] = ["capture-0", "capture-1", "archive-0", "monitor-1"];

#[test]
fn kills_at_random_moments_lose_nothing_and_count_nothing_twice() {
    let Some(on) = On::kafka().unwrap() else { return };
    let kills = if all() { KILLS } else { FIRST_KILLS };
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(SEED);
    let mut house = House::new(&on, 2);
    let (mut recovery, mut fault) = (Duration::ZERO, Instant::now());
    for kill in 0..kills {
        let mut service = house.start();
        house.send(ROWS / 3);
        // Half of them come while it starts: the partitions are still those of the one that was killed before.
        if random.random_bool(0.5) {
            let took = house.until_captured(&mut service, fault);
            recovery = recovery.max(if kill == 0 { Duration::ZERO } else { took });
        }
        house.send(ROWS / 3);
        house.flush();
        let (since, delay) = (Instant::now(), LATEST.mul_f64(random.random()));
        let is_now = |_: &Running| Ok((since.elapsed() >= delay).then_some(()));
        service.until("its moment has come", is_now).unwrap();
        service.kill().unwrap();
        fault = Instant::now();
    }
    let mut service = house.start();
    let recovery = recovery.max(house.until_captured(&mut service, fault));
    house.finish(vec![service], ("driftline killed", kills), recovery);
}

/// One stands still for longer than the session lasts, with an epoch begun, and goes on when another has its partitions.
#[test]
fn one_that_was_taken_over_while_it_stood_still_writes_nothing_that_counts() {
    let Some(on) = On::kafka().unwrap() else { return };
    let times = if all() { 5 } else { 1 };
    let mut house = House::new(&on, 2);
    let mut first = house.start();
    house.send(ROWS);
    house.until_captured(&mut first, Instant::now());
    let mut second = None;
    let mut recovery = Duration::ZERO;
    for _ in 0..times {
        house.send(ROWS);
        house.flush();
        let fault = Instant::now();
        first.signal(Signal::SIGSTOP).unwrap();
        house.send(ROWS);
        let other = second.get_or_insert_with(|| house.start());
        recovery = recovery.max(house.until_captured(other, fault));
        first.signal(Signal::SIGCONT).unwrap();
        house.send(ROWS);
        house.until_captured(&mut first, fault);
    }
    let running = second.into_iter().chain([first]).collect();
    house.finish(running, ("driftline stopped and taken over", times), recovery);
}

#[test]
fn a_group_that_grows_to_six_and_shrinks_to_two_under_load_counts_each_event_once() {
    if is_left_out() {
        return;
    }
    let Some(on) = On::kafka().unwrap() else { return };
    let mut house = House::new(&on, 6);
    let mut running = vec![house.start()];
    let mut recovery = Duration::ZERO;
    for _ in 0..5 {
        house.send(ROWS);
        running.push(house.start());
        house.send(ROWS);
    }
    for _ in 0..4 {
        let fault = Instant::now();
        house.send(ROWS);
        running.remove(0).stop().unwrap();
        recovery = recovery.max(house.until_captured(&mut running[0], fault));
    }
    house.finish(running, ("group of one, six and two", 9), recovery);
}

/// The test is the second process: it takes the groups of a running one over, as often as that takes them back.
#[test]
fn two_processes_with_one_transactional_id_never_commit_the_same_twice() {
    let Some(on) = On::kafka().unwrap() else { return };
    let times = if all() { 6 } else { 3 };
    let mut house = House::new(&on, 2);
    let mut service = house.start();
    house.send(ROWS);
    house.until_captured(&mut service, Instant::now());
    let mut recovery = Duration::ZERO;
    for _ in 0..times {
        let fault = Instant::now();
        house.send(ROWS);
        let other = house.place.log().unwrap();
        USURPED.iter().for_each(|group| other.fence(group).unwrap());
        house.send(ROWS);
        recovery = recovery.max(house.until_captured(&mut service, fault));
    }
    let restarts = service.metric("driftline_stage_restarts_total", &[]).unwrap();
    assert!(restarts >= f64::from(times), "it was displaced {times} times and began anew {restarts} times");
    house.finish(vec![service], ("two with one transactional id", times), recovery);
}
