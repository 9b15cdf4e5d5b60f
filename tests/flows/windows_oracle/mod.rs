//! Windows as pandas and scikit-learn compute them, reproduced through the running service: in order, shuffled within the
//! allowed disorder, with every event sent twice, and as a replayed file.
//!
//! Three models see the same rows in windows of a week, of a day, and of a week every day. Counts are compared exactly,
//! metrics to [`TOLERANCE`]; the AUC to the bound that its score histogram states (the rows' scores have two decimals, so
//! it must be exact as well). Of a median, which no window holds, it is tested that its bin is the right one.

mod compare;
mod loans;

use compare::{Finished, OracleWindow, Tally};
use driftline_tests::{On, Running, Sent, Workplace};
use loans::{Loan, Loans};
use nix::sys::signal::Signal;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

const SHUFFLE_SEED: u64 = 20_181_030;
/// Rows in one body, a day and a half: a body that is sent again is later than labels mature.
const BODY_ROWS: usize = 256;
const HOUR_MS: i64 = 3_600_000;
const DISORDER_MS: i64 = 6 * HOUR_MS;
/// Beyond every window's end, maturity and disorder: events from which on everything before is closed.
const CLOSING_MS: i64 = 30 * 24 * HOUR_MS;
/// Enough ids that every partition gets one.
const CLOSING_EVENTS: usize = 16;

/// A shape of windows, and the model that is watched by it.
struct Shape {
    model: &'static str,
    windows: &'static str,
    /// As the oracle writes them.
    size_and_hop: (&'static str, &'static str),
}

const ROLLING: Shape = Shape { model: "rolling", windows: "{size: 7d, hop: 1d}", size_and_hop: ("7D", "1D") };
const SHAPES: [Shape; 3] = [
    Shape { model: "week", windows: "{size: 7d}", size_and_hop: ("7D", "7D") },
    Shape { model: "day", windows: "{size: 1d}", size_and_hop: ("1D", "1D") },
    ROLLING,
];

const SERVICE: &str = "
version: 1
log: LOG
api: {listen: \"127.0.0.1:0\"}
partitions: PARTITIONS
epoch: {interval: 200ms}
idle_after: 1h
max_disorder: 6h
models:
";

const MODEL: &str = "
  NAME:
    task: {type: binary, positive: \"1\", negative: \"0\"}
    features:
      {car_value: numeric, salary_range: categorical, debt_to_income_ratio: numeric, loan_length: numeric,
       repaid_loan_on_prev_car: categorical, size_of_downpayment: categorical, driver_tenure: numeric}
    windows: WINDOWS
    labels: {mature: {after: 12h}, horizon: 30d}
    reference:
      file: reference.csv
      columns: {id: id, time: timestamp, label: repaid, prediction: y_pred, score: y_pred_proba}
";

fn configuration(partitions: u32) -> String {
    let models = SHAPES.map(|shape| MODEL.replace("NAME", shape.model).replace("WINDOWS", shape.windows));
    format!("{}{}", SERVICE.replace("PARTITIONS", &partitions.to_string()), models.concat())
}

/// How the rows are sent over HTTP.
struct Sending {
    name: &'static str,
    /// Rows in the order of their events, and in that of their labels.
    events: Vec<usize>,
    labels: Vec<usize>,
    /// The formats of the copies of each body.
    copies: &'static [Format],
}

#[derive(Clone, Copy)]
enum Format {
    JsonLines,
    MessagePack,
}

#[test]
fn windows_are_those_of_the_oracle_in_order_shuffled_and_sent_twice() {
    windows_are_those_of_the_oracle(&On::Embedded);
}

#[test]
fn windows_are_those_of_the_oracle_in_order_shuffled_and_sent_twice_on_kafka() {
    let Some(kafka) = On::kafka().unwrap() else { return };
    windows_are_those_of_the_oracle(&kafka);
}

fn windows_are_those_of_the_oracle(on: &On) {
    let Some(oracle) = crate::shared("oracle/windows_oracle") else { return };
    let Some(data) = crate::shared("data/nannyml_car_loan") else { return };
    let loans = Loans::read(&data);
    let in_order = || (0..loans.rows.len()).collect();
    let sendings = [
        Sending { name: "in order", events: in_order(), labels: in_order(), copies: &[Format::JsonLines] },
        Sending {
            name: "shuffled",
            events: shuffled(&loans.rows, SHUFFLE_SEED),
            labels: shuffled(&loans.rows, SHUFFLE_SEED + 1),
            copies: &[Format::MessagePack],
        },
        Sending {
            name: "sent twice",
            events: in_order(),
            labels: in_order(),
            copies: &[Format::JsonLines, Format::MessagePack],
        },
    ];
    for sending in &sendings {
        let started = Instant::now();
        let place = prepared(&data, on, 2);
        let counted = send_all(&place, &loans, (sending, &oracle));
        let tally = compared(&place, &oracle, &SHAPES);
        println!("windows_oracle, {:11} {tally}; {counted}; {:.1} s", sending.name, started.elapsed().as_secs_f64());
    }
}

#[test]
fn windows_of_a_replayed_file_are_those_of_the_oracle() {
    windows_of_a_replayed_file(&On::Embedded);
}

#[test]
fn windows_of_a_replayed_file_are_those_of_the_oracle_on_kafka() {
    let Some(kafka) = On::kafka().unwrap() else { return };
    windows_of_a_replayed_file(&kafka);
}

fn windows_of_a_replayed_file(on: &On) {
    let Some(oracle) = crate::shared("oracle/windows_oracle") else { return };
    let Some(data) = crate::shared("data/nannyml_car_loan") else { return };
    let started = Instant::now();
    let place = prepared(&data, on, 2);
    place.write("loans.csv", &Loans::read(&data).with_labels).unwrap();
    let columns = ["--id", "id", "--time", "timestamp", "--label", "repaid", "--label-delay", "2h"];
    let outputs = ["--prediction", "y_pred", "--score", "y_pred_proba"];
    place.run(&[&["replay", "loans.csv", "--model", ROLLING.model][..], &columns, &outputs].concat()).unwrap();
    let tally = compared(&place, &oracle, &[ROLLING]);
    println!("windows_oracle, {:11} {tally}; {:.1} s", "replayed", started.elapsed().as_secs_f64());
}

/// Five processes share the stages: one is killed, one stands still until the others have its partitions, one comes later,
/// and one is ended in order.
#[test]
fn windows_are_those_of_the_oracle_with_processes_that_come_and_go_on_kafka() {
    let Some(kafka) = On::kafka().unwrap() else { return };
    let Some(oracle) = crate::shared("oracle/windows_oracle") else { return };
    let Some(data) = crate::shared("data/nannyml_car_loan") else { return };
    let started = Instant::now();
    let loans = Loans::read(&data);
    let place = prepared(&data, &kafka, 6);
    let bodies: Vec<&[Loan]> = loans.rows.chunks(BODY_ROWS).collect();
    let send_share = |service: &Running, share: std::ops::Range<usize>| {
        for body in &bodies[bodies.len() * share.start / 5..bodies.len() * share.end / 5] {
            let rows: Vec<&Loan> = body.iter().collect();
            send(service, (&rows, &rows), &[Format::JsonLines]);
        }
    };
    let mut first = place.start().unwrap();
    send_share(&first, 0..1);
    let [killed, stopped, ended] = [(); 3].map(|()| place.start().unwrap());
    send_share(&first, 1..2);
    killed.kill().unwrap();
    stopped.signal(Signal::SIGSTOP).unwrap();
    send_share(&first, 2..3);
    ended.stop().unwrap();
    let later = place.start().unwrap();
    send_share(&first, 3..4);
    stopped.signal(Signal::SIGCONT).unwrap();
    send_share(&first, 4..5);
    let closing = closing(&loans.rows);
    let closing: Vec<_> = closing.iter().collect();
    send(&first, (&closing, &closing), &[Format::JsonLines]);
    await_verdicts(&mut first, &oracle);
    for service in [first, stopped, later] {
        service.stop().unwrap();
    }
    let tally = compared(&place, &oracle, &SHAPES);
    println!("windows_oracle, {:11} {tally}; {:.1} s", "come and go", started.elapsed().as_secs_f64());
}

fn compared(place: &Workplace, oracle: &Path, shapes: &[Shape]) -> Tally {
    let finished = Finished::read(place).unwrap();
    let mut tally = Tally::default();
    for shape in shapes {
        finished.compare(shape.model, &OracleWindow::read(oracle, shape.size_and_hop), &mut tally);
    }
    tally
}

/// A folder with the configuration and the file that the references are learned from.
fn prepared(data: &Path, on: &On, partitions: u32) -> Workplace {
    let place = Workplace::new(crate::BINARY, &configuration(partitions), on.anew()).unwrap();
    place.write("reference.csv", &loans::text(&data.join("synthetic_car_loan_reference.csv.gz"))).unwrap();
    place
}

/// An order in which no row comes after one that is later by the allowed disorder or more.
fn shuffled(rows: &[Loan], seed: u64) -> Vec<usize> {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let moved: Vec<_> = rows.iter().map(|row| row.time_ms + random.random_range(0..DISORDER_MS)).collect();
    let mut order: Vec<_> = (0..rows.len()).collect();
    order.sort_by_key(|row| moved[*row]);
    order
}

/// Sends the rows to a running service, closes the last windows with later events, and ends the service; says what it
/// counted.
fn send_all(place: &Workplace, loans: &Loans, (sending, oracle): (&Sending, &Path)) -> String {
    let mut service = place.start().unwrap();
    for (events, labels) in sending.events.chunks(BODY_ROWS).zip(sending.labels.chunks(BODY_ROWS)) {
        send(&service, (&loans.at(events), &loans.at(labels)), sending.copies);
    }
    let closing = closing(&loans.rows);
    let closing: Vec<_> = closing.iter().collect();
    send(&service, (&closing, &closing), &[Format::JsonLines]);
    await_verdicts(&mut service, oracle);
    let counted = counted(&mut service, sending, loans.rows.len());
    service.stop().unwrap();
    counted
}

/// Waits until the last window of every model is judged.
fn await_verdicts(service: &mut Running, oracle: &Path) {
    for shape in &SHAPES {
        let last = OracleWindow::read(oracle, shape.size_and_hop).iter().map(OracleWindow::end_ms).max().unwrap();
        let quality = [("model", shape.model), ("monitor", "quality")];
        let what = format!("the quality of the last window of {} is final", shape.model);
        let is_judged = |service: &Running| {
            let end = service.metric("driftline_window_end_timestamp_seconds", &quality)?;
            Ok((end >= last as f64 / 1e3).then_some(()))
        };
        service.until(&what, is_judged).unwrap();
    }
}

/// Every copy arrived, every one but the first was counted as a duplicate, and none was late that should not be.
fn counted(service: &mut Running, sending: &Sending, rows: usize) -> String {
    let again = (sending.copies.len() - 1) * rows;
    for shape in &SHAPES {
        // Verdicts are shown before what capture counted for them.
        let all_told = |service: &Running| {
            let of_model = [("model", shape.model)];
            let events = service.metric("driftline_events_total", &of_model)? as usize;
            let labels = service.metric("driftline_labels_matched_total", &of_model)? as usize;
            Ok((events >= rows + again + CLOSING_EVENTS && labels >= rows + CLOSING_EVENTS).then_some(()))
        };
        service.until(&format!("every row of {} is counted", shape.model), all_told).unwrap();
        let count = |name: &str| service.metric(name, &[("model", shape.model)]).unwrap() as usize;
        assert_eq!(count("driftline_events_total"), rows + again + CLOSING_EVENTS, "{}", sending.name);
        assert_eq!(count("driftline_duplicate_events_total"), again, "{}", sending.name);
        assert_eq!(count("driftline_labels_replaced_total"), again, "{}", sending.name);
        assert_eq!(count("driftline_labels_matched_total"), rows + CLOSING_EVENTS, "{}", sending.name);
        // A body that is sent again lies behind what it brought the first time.
        assert!(again > 0 || count("driftline_late_events_total") == 0, "{}", sending.name);
    }
    assert_eq!(service.metric("driftline_dead_letters_total", &[]).unwrap(), 0.0, "{}", sending.name);
    format!("each model {} events, {again} duplicates, {again} labels again", rows + again)
}

/// Sends events and their labels for each model, each body as often as there are formats.
fn send(service: &Running, (events, labels): (&[&Loan], &[&Loan]), copies: &[Format]) {
    // Row by row, not model by model: the models share their partitions' watermarks.
    let events: Vec<_> = events.iter().flat_map(|row| SHAPES.map(|shape| row.event(shape.model))).collect();
    let labels: Vec<_> = labels.iter().flat_map(|row| SHAPES.map(|shape| row.label_event(shape.model))).collect();
    for format in copies {
        format.post(service, "/v1/events", &events);
        format.post(service, "/v1/labels", &labels);
    }
}

impl Format {
    fn post<T: Serialize>(self, service: &Running, path: &str, rows: &[T]) {
        let body = match self {
            Self::JsonLines => {
                rows.iter().map(|row| serde_json::to_string(row).unwrap() + "\n").collect::<String>().into_bytes()
            }
            Self::MessagePack => rmp_serde::to_vec_named(rows).unwrap(),
        };
        let sent = match self {
            Self::JsonLines => Sent::json_lines(&body),
            Self::MessagePack => Sent::messagepack(&body),
        };
        let answer = service.post(path, sent).unwrap();
        assert_eq!((answer.status, answer.body["accepted"].as_u64()), (200, Some(rows.len() as u64)), "{answer:?}");
    }
}

/// Events so much later than the last that every window before them is over.
fn closing(rows: &[Loan]) -> Vec<Loan> {
    let last = rows.last().unwrap();
    (0..CLOSING_EVENTS).map(|n| last.again(format!("closing-{n}"), last.time_ms + CLOSING_MS)).collect()
}
