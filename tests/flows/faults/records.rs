//! Records that no one should have written, or that were written twice.

use super::house::House;
use super::stream::{Row, now_ms};
use driftline_tests::On;
use rand::{RngCore, SeedableRng};
use std::time::Instant;
use streams::topics;

const ROWS: usize = 300;
const PARTITIONS: u32 = 2;
const HOUR_MS: i64 = 3_600_000;
/// The largest value that a topic takes: what it may hold in all, less what stands around the value.
const LARGEST: usize = (16 << 20) - 150;
/// Zeros that are a few kilobytes on their way.
const BOMB: usize = 64 << 20;

#[test]
fn records_that_cannot_be_read_become_dead_letters_and_cost_nothing_else() {
    let Some(on) = On::kafka().unwrap() else { return };
    let mut house = House::new(&on, PARTITIONS);
    let mut service = house.start();
    house.send(ROWS);
    let fault = Instant::now();
    let row: Row = house.stream.by_ref().next().unwrap();
    let whole = rmp_serde::to_vec_named(&serde_json::from_slice::<serde_json::Value>(&row.event()).unwrap()).unwrap();
    let mut noise = vec![0; LARGEST];
    rand_chacha::ChaCha8Rng::seed_from_u64(3).fill_bytes(&mut noise);
    let poison: [Option<&[u8]>; 6] =
        [Some(&whole[..whole.len() / 2]), None, Some(b""), Some(b"{\"id\": "), Some(&noise), Some(&vec![0; BOMB])];
    for value in &poison {
        for (topic, partition) in [(topics::INFERENCES, 0), (topics::INFERENCES, 1), (topics::LABELS, 1)] {
            house.produce((topic, partition), *value);
            house.send(ROWS / 30);
        }
    }
    let recovery = house.until_captured(&mut service, fault);
    house.finish(vec![service], ("poison", poison.len() as u32 * 3), recovery);
}

#[test]
fn events_that_are_produced_twice_count_once() {
    let Some(on) = On::kafka().unwrap() else { return };
    let mut house = House::new(&on, PARTITIONS);
    let mut service = house.start();
    let fault = Instant::now();
    for _ in 0..4 {
        let rows: Vec<_> = house.stream.by_ref().take(ROWS).collect();
        // The second producer is a little behind the first.
        rows.iter().chain(&rows).for_each(|row| house.send_row(row));
    }
    let recovery = house.until_captured(&mut service, fault);
    house.finish(vec![service], ("everything produced twice", 4 * ROWS as u32), recovery);
}

#[test]
fn clocks_that_are_an_hour_wrong_neither_hide_events_nor_move_time() {
    let Some(on) = On::kafka().unwrap() else { return };
    let mut house = House::new(&on, PARTITIONS);
    let mut service = house.start();
    let fault = Instant::now();
    let mut wrong = 0;
    let rows: Vec<_> = house.stream.by_ref().take(4 * ROWS).collect();
    for (number, row) in (0..).zip(rows) {
        // One producer's clock is behind, and another's is ahead.
        let off_ms = match number % 50 {
            20 => -HOUR_MS,
            40 => HOUR_MS,
            _ => 0,
        };
        wrong += u32::from(off_ms != 0);
        house.send_row(&row.at(now_ms() + off_ms));
    }
    let recovery = house.until_captured(&mut service, fault);
    // No window is over: no clock but the log's own could have ended one.
    house.conclude(vec![service], ("clock wrong", wrong), recovery);
}
