//! More at once than usual.

use super::all;
use super::house::House;
use driftline_tests::{On, Running};
use std::time::{Duration, Instant};

const PARTITIONS: u32 = 4;
/// Rows a second: a busy service's predictions.
const USUAL: usize = 500;
const USUAL_LASTS: Duration = Duration::from_secs(3);
const TIMES: usize = 10;
/// How long it lasts, and in continuous integration.
const LASTS: Duration = Duration::from_secs(60);
const LASTS_SHORTLY: Duration = Duration::from_secs(5);
/// Rows are handed over so often.
const EVERY: Duration = Duration::from_millis(50);

#[test]
fn ten_times_the_usual_load_is_counted_like_any_other() {
    let Some(on) = On::kafka().unwrap() else { return };
    let mut house = House::new(&on, PARTITIONS);
    let mut service = house.start();
    load(&mut house, &mut service, (USUAL, USUAL_LASTS));
    house.until_captured(&mut service, Instant::now());
    load(&mut house, &mut service, (USUAL * TIMES, if all() { LASTS } else { LASTS_SHORTLY }));
    // The load is usual again, and what has piled up is worked off meanwhile.
    let fault = Instant::now();
    load(&mut house, &mut service, (USUAL, USUAL_LASTS));
    let recovery = house.until_captured(&mut service, fault);
    house.finish(vec![service], ("ten times the usual load", 1), recovery);
}

/// Sends so many rows a second for so long, whether they are read or not.
fn load(house: &mut House, service: &mut Running, (rows_a_second, lasts): (usize, Duration)) {
    let started = Instant::now();
    let mut sent = 0;
    while started.elapsed() < lasts {
        let due = (started.elapsed().as_secs_f64() * rows_a_second as f64) as usize;
        house.send(due - sent);
        sent = due;
        let next = started + EVERY * (started.elapsed().as_millis() / EVERY.as_millis() + 1) as u32;
        let is_next = |_: &Running| Ok((Instant::now() >= next).then_some(()));
        service.until("the next rows are due", is_next).unwrap();
    }
    house.send((lasts.as_secs_f64() * rows_a_second as f64) as usize - sent);
}
