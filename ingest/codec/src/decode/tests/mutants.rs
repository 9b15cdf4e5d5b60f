//! Mutants: small valid bodies of every format with their bytes changed. Whatever they have become, they end in no panic
//! and take no more memory than their bytes are worth.
//!
//! Each format has [`MUTANTS`] of them. With `DRIFTLINE_FUZZ_MINUTES` set they go on for so many minutes, each with others than
//! the time before; what fails tells its seed, and belongs into the corpus.

use super::amplification::{Doors, FLOOR, MOST_PER_BYTE};
use super::columnar::{batch, events as columns_of, stream};
use super::*;
use crate::schemas::{SchemaId, Schemas};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const MUTANTS: u64 = 25_000;
/// Of its name, the variable that has mutants go on.
const MINUTES: &str = "DRIFTLINE_FUZZ_MINUTES";

/// Bodies as senders write them, and what was found by mutants before.
fn corpus(format: &str) -> Vec<Vec<u8>> {
    let files: &[&[u8]] = match format {
        "json" => &[
            include_bytes!("corpus/json/events.jsonl"),
            include_bytes!("corpus/json/cut-off.jsonl"),
            include_bytes!("corpus/json/mapped.json"),
            include_bytes!("corpus/json/odd-values.json"),
        ],
        _ => &[],
    };
    files.iter().map(|file| file.to_vec()).collect()
}

/// Numbers by which a body is changed: SplitMix64 (Steele, Lea and Flood 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// A stretch of so many bytes at the most.
    fn stretch(&mut self, bytes: usize) -> std::ops::Range<usize> {
        let start = self.below(bytes);
        start..start + self.below((bytes - start).min(64) + 1)
    }

    fn change(&mut self, body: &mut Vec<u8>, other: &[u8]) {
        const LENGTHS: [u32; 6] = [0, 1, 0x7f, 0xffff, i32::MAX as u32, u32::MAX];
        if body.is_empty() {
            return body.push(self.next() as u8);
        }
        let at = self.below(body.len());
        match self.below(9) {
            0 => body[at] ^= 1 << self.below(8),
            1 => body[at] = [0, 1, 0x7f, 0x80, 0xdc, 0xff, b'{', b'"', b'[', b'\n'][self.below(10)],
            2 => body.truncate(at),
            3 => drop(body.drain(self.stretch(body.len()))),
            4 => {
                let again = body[self.stretch(body.len())].repeat(1 + self.below(20));
                body.splice(at..at, again);
            }
            5 => {
                let from = self.stretch(other.len());
                body.splice(at..at, other.get(from).unwrap_or_default().to_vec());
            }
            6 => (0..4).for_each(|_| body.insert(at, self.next() as u8)),
            wide => {
                let length = LENGTHS[self.below(LENGTHS.len())];
                let bytes = if wide == 7 { length.to_le_bytes() } else { length.to_be_bytes() };
                body.iter_mut().skip(at).zip(bytes).for_each(|(byte, new)| *byte = new);
            }
        }
    }
}

/// How many mutants there are to be: a number, or as many as there is time for.
enum Quota {
    Number(u64),
    Until(Instant),
}

impl Quota {
    fn of_environment() -> (Self, u64) {
        let Some(minutes) = std::env::var(MINUTES).ok().and_then(|minutes| minutes.parse::<f64>().ok()) else {
            return (Self::Number(MUTANTS), 0);
        };
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        (Self::Until(Instant::now() + Duration::from_secs_f64(60.0 * minutes)), seed)
    }

    fn allows(&self, done: u64) -> bool {
        match self {
            Self::Number(number) => done < *number,
            Self::Until(end) => Instant::now() < *end,
        }
    }
}

/// Takes mutants of these bodies through every door.
fn survive(name: &str, bodies: &[Vec<u8>], doors: &mut Doors) {
    let (quota, offset) = Quota::of_environment();
    let (mut done, mut worst) = (0, 0.0_f64);
    while quota.allows(done) {
        let seed = offset.wrapping_add(done);
        let mut chance = Chance(seed);
        let mut body = bodies[chance.below(bodies.len())].clone();
        let other = &bodies[chance.below(bodies.len())];
        (0..=chance.below(6)).for_each(|_| chance.change(&mut body, other));
        let bytes = body.len() as u64;
        let kind = [EventKind::Inference, EventKind::Label, EventKind::Feedback][chance.below(3)];
        let most = doors.take(kind, &body.into()).most();
        assert!(most <= MOST_PER_BYTE * bytes + FLOOR, "{name}, seed {seed}: {bytes} bytes take {most}");
        worst = worst.max(most.saturating_sub(1 << 20) as f64 / bytes.max(1) as f64);
        done += 1;
    }
    println!("{name}: {done} mutants; the worst took a megabyte and {worst:.1} times its bytes");
}

fn some_events() -> Vec<Tree> {
    let bad = [with("weight", json!(-1)), without("version"), with("features", json!([1, "x"])), json!(7)];
    [event("a"), event("b"), with("model", json!("cot")), with("label", json!(true))].into_iter().chain(bad).collect()
}

#[test]
fn mutants_of_json() {
    let mut bodies = corpus("json");
    bodies.push(Tree::from(some_events()).to_string().into_bytes());
    bodies.push(event("a").to_string().into_bytes());
    survive("JSON", &bodies, &mut Doors::plain());
}

#[test]
fn mutants_of_message_pack() {
    let bodies = [msgpack(&Tree::from(some_events())), msgpack(&event("a"))];
    survive("MessagePack", &bodies, &mut Doors::plain());
}

#[test]
fn mutants_of_arrow() {
    let [one, two] = [columns_of(&["a", "b", "c"]), columns_of(&["d"])].map(|columns| batch(&columns));
    let mut nameless = columns_of(&["a", "b"]);
    nameless.retain(|(name, _)| *name != "id");
    let bodies = [stream(std::slice::from_ref(&one)), stream(&[one.clone(), two]), stream(&[batch(&nameless)])];
    survive("Arrow", &bodies, &mut Doors::plain());
}

#[test]
fn mutants_of_avro_and_its_frames() {
    let ids = [SchemaId::Number(7), SchemaId::Guid(*b"0123456789abcdef"), SchemaId::Unframed];
    let schemas = Schemas::default().with_avro(&super::avro::event_schema().to_string(), &ids).unwrap();
    let avro = super::avro::avro("a");
    let fingerprint = [0xc3, 0x01, 1, 2, 3, 4, 5, 6, 7, 8];
    let json = event("a").to_string();
    let bodies = [
        [&[0, 0, 0, 0, 7][..], &avro].concat(),
        [&[1][..], b"0123456789abcdef", &avro].concat(),
        [&fingerprint[..], &avro].concat(),
        [&[0, 0, 0, 0, 8][..], json.as_bytes()].concat(),
    ];
    survive("Avro and frames", &bodies, &mut Doors::new(&Arc::new(schemas)));
}

#[test]
fn mutants_of_records_of_other_shapes() {
    let settings = serde_json::from_value(json!({
        "id": "request.uuid", "time": {"path": "ts", "unit": "s"}, "version": {"constant": 4}, "label": "outcome.label",
        "features": {"age": "payload.0.age", "town": "payload.0.town"}, "prediction": "answer", "segment": {"site": "at"},
    }))
    .unwrap();
    let mapping = Mapping::new(&settings, &schema(), &["site".to_owned()]).unwrap();
    let [mut open, mut private] = super::amplification::sources();
    (open.mapping, private.mapping) = (Some(mapping.clone()), Some(mapping));
    let foreign = json!({
        "request": {"uuid": "m"}, "ts": 1_700_000_000.5, "payload": [{"age": 3, "town": "Köln"}], "answer": "0",
        "at": "south", "outcome": {"label": "1"},
    });
    let rows = json!([foreign, event("a"), foreign]);
    let mut bodies = corpus("json");
    bodies.extend([rows.to_string().into_bytes(), msgpack(&rows)]);
    for (name, sources) in [("mapped", [open.clone(), private.clone()]), ("mapped and private", [private, open])] {
        survive(name, &bodies, &mut Doors::of(&sources, &Arc::default()));
    }
}
