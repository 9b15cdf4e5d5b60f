//! A table of bad inputs, each with the message it gets and the proof that the good ones around it arrived.
//!
//! One service takes what comes over HTTP and what a producer has written to its topics; `driftline replay` then takes the
//! files into the same log. At the end every good row is in the archive once, every dead letter has its reason and message,
//! and every odd value that was kept is counted under its name, as often as the table says and not once more.

mod files;
mod records;
mod requests;
mod rows;
mod settings;
mod table;

use arrow::array::AsArray;
use capture::partial::{CaptureEpoch, PartialBody};
use codec::decode::REASON_HEADER;
use detectors::profile::{Fault, Profile};
use detectors::quality::Quality;
use driftline_tests::{Answer, On, Running, Sent, Workplace, all, archived_files};
use files::{BadFile, COLUMNS, Ending, FILES};
use records::RECORDS;
use requests::{REQUESTS, Request};
use rows::{BROKEN, HEADS, STREAMS, VALUES};
use streams::log::{Log, NewRecord, Retention, TopicSpec};
use streams::topics;

use settings::{Configuration, SETTINGS, Setting, VALID};
use std::collections::BTreeMap;
use std::path::Path;
use table::{FIRST, Fate, Input, Row, To, words};

const CONFIGURATION: &str = "
version: 1
log: LOG
api: {listen: \"127.0.0.1:0\", max_body: 2MiB}
partitions: 1
epoch: {interval: 100ms}
models:
  loan:
    task: {type: binary, positive: \"yes\", negative: \"no\"}
    features: {amount: numeric, age: numeric, country: categorical}
    segments: {ward: from_event}
    windows: {size: 1h}
    labels: {mature: {after: 1h}, horizon: 30d}
    reference: {file: reference.csv, columns: {label: y, prediction: p, score: s}}
  fare:
    task: {type: regression}
    features: {km: numeric}
    windows: {size: 1h}
    labels: {mature: {after: 1h}, horizon: 30d}
";

/// What the table promises of the log, once everything has been sent.
#[derive(Default)]
struct Promised {
    /// Ids of good rows.
    good: Vec<(To, String)>,
    /// Topic, reason and message of dead letters.
    letters: Vec<(String, String, String)>,
    /// Odd values that are kept, by name.
    counted: BTreeMap<String, i64>,
    /// Rows of events that are good, or only odd.
    events: usize,
    /// Answers that are not those of the table.
    misses: Vec<String>,
}

#[test]
fn each_bad_input_gets_its_message_and_the_good_ones_around_it_arrive() {
    each_bad_input_gets_its_message(On::Embedded);
}

#[test]
fn each_bad_input_gets_its_message_and_the_good_ones_around_it_arrive_on_kafka() {
    let Some(kafka) = On::kafka().unwrap() else { return };
    each_bad_input_gets_its_message(kafka);
}

fn each_bad_input_gets_its_message(on: On) {
    let place = Workplace::new(crate::BINARY, CONFIGURATION, on).unwrap();
    place.write("reference.csv", &reference()).unwrap();
    let mut promised = Promised::default();
    write_records(&place, &mut promised);
    let mut service = place.start().unwrap();
    promised.neighbour(&service, To::Events, FIRST);
    for (number, row) in [BROKEN, HEADS, VALUES, STREAMS].into_iter().flatten().enumerate() {
        promised.row(&service, number, row);
    }
    for (number, request) in REQUESTS.iter().enumerate() {
        promised.request(&service, number, request);
    }
    let arrived = |service: &Running| {
        let events = service.metric("driftline_events_total", &[("model", "loan")])?;
        Ok((events >= promised.events as f64).then_some(()))
    };
    service.until("every good event is captured", arrived).unwrap();
    service.stop().unwrap();
    FILES.iter().for_each(|file| promised.file(&place, file));
    promised.check(&place);
    let rows = BROKEN.len() + HEADS.len() + VALUES.len() + STREAMS.len();
    println!(
        "bad inputs: {rows} rows and {} requests over HTTP, {} records, {} files; {} good rows arrived around them",
        REQUESTS.len(),
        RECORDS.len(),
        FILES.len(),
        promised.good.len()
    );
}

#[test]
fn a_wrong_command_line_or_configuration_is_told_and_nothing_is_written() {
    let mut misses = Vec::new();
    for setting in SETTINGS {
        let place = Workplace::new(crate::BINARY, VALID, On::Embedded).unwrap();
        setting.prepare(place.path());
        let before = everything_in(place.path());
        let output = place.command(setting.arguments).output().unwrap();
        let said = told(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
        if (output.status.code(), said.as_str()) != (Some(setting.exit), setting.says) {
            misses.push(format!("{}: {:?} {said}", setting.name, output.status.code()));
        }
        if everything_in(place.path()) != before {
            misses.push(format!("{}: something was written", setting.name));
        }
    }
    assert!(misses.is_empty(), "{} of {} differ:\n{}", misses.len(), SETTINGS.len(), misses.join("\n"));
    println!("bad inputs: {} configurations and command lines", SETTINGS.len());
}

/// Two hundred good rows.
fn reference() -> String {
    let row = |n: u32| {
        let (yes, country) = (["no", "yes"][n as usize % 2], ["DE", "FR"][n as usize % 2]);
        format!("{},{},{country},{yes},{yes},{}\n", n % 100, 20 + n % 40, f64::from(n % 101) / 100.0)
    };
    format!("amount,age,country,y,p,s\n{}", (0..200).map(row).collect::<String>())
}

/// Writes the bad records between good ones, as a producer does that does not come through the API.
fn write_records(place: &Workplace, promised: &mut Promised) {
    let log = place.log().unwrap();
    for name in [topics::INFERENCES, topics::LABELS] {
        let topic = TopicSpec { name: name.to_owned(), partitions: 1, retention: Retention::default() };
        log.ensure_topic(&topic).unwrap();
    }
    for (number, bad) in RECORDS.iter().enumerate() {
        let topic = if bad.to == To::Labels { topics::LABELS } else { topics::INFERENCES };
        let good = ["a", "b"].map(|end| format!("record-{number}{end}"));
        let record = |value: Option<Vec<u8>>| NewRecord {
            topic: topic.to_owned(),
            partition: 0,
            key: None,
            value: value.map(Into::into),
            headers: Vec::new(),
            appended_ms: None,
        };
        let [before, after] = good.each_ref().map(|id| record(Some(bad.to.json(id))));
        let mut bad_record = record(bad.value.map(<[u8]>::to_vec));
        let headers = bad.content_type.map(|it| ("content-type".to_owned(), it.as_bytes().to_vec().into()));
        bad_record.headers.extend(headers);
        log.append(&[before, bad_record, after]).unwrap_or_else(|error| panic!("{}: {error}", bad.name));
        promised.letters.push((topics::dead_letters_of(topic), bad.reason.to_owned(), bad.says.to_owned()));
        promised.events += if bad.to == To::Events { 2 } else { 0 };
        promised.good.extend(good.map(|id| (bad.to, id)));
    }
}

impl Promised {
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, name: &str, wanted: &T, found: &T) {
        if wanted != found {
            self.misses.push(format!("{name}: {found:?}\n    should be {wanted:?}"));
        }
    }

    fn good(&mut self, to: To, id: String) {
        self.events += usize::from(to == To::Events);
        self.good.push((to, id));
    }

    /// Sends a good row alone.
    fn neighbour(&mut self, service: &Running, to: To, id: &str) {
        let answer = service.post(to.path(), Sent::json_lines(&to.json(id))).unwrap();
        assert_eq!((answer.status, answer.body["accepted"].as_u64()), (200, Some(1)), "{answer:?}");
        self.good(to, id.to_owned());
    }

    /// Sends a bad row between two good ones.
    fn row(&mut self, service: &Running, number: usize, row: &Row) {
        let [before, bad, after] = ["before", "bad", "after"].map(|place| format!("{place}-{number:03}"));
        let (body, rest) = row.bodies([&before, &bad, &after]);
        let answer = service.post(row.to.path(), row.sent(&body)).unwrap();
        let in_body = if rest.is_some() { 1 } else { 2 };
        self.answered(row, &answer, in_body);
        if let Some(rest) = rest {
            let answer = service.post(row.to.path(), row.sent(&rest)).unwrap();
            self.same(row.name, &Some(1), &answer.body["accepted"].as_u64());
        }
        self.good(row.to, before);
        self.good(row.to, after);
    }

    fn answered(&mut self, row: &Row, answer: &Answer, good: u64) {
        let accepted = answer.body["accepted"].as_u64();
        let rejected = &answer.body["rejected"][0];
        let text = |field: &str| rejected[field].as_str().unwrap_or_default().to_owned();
        let found = (accepted, rejected["index"].as_u64(), text("reason"), text("message"));
        let nothing = String::new;
        let wanted = match &row.fate {
            Fate::Refused(reason, says) => (Some(good), Some(1), (*reason).to_owned(), (*says).to_owned()),
            Fate::DeadLetter(reason, says) => {
                let topic = if row.to == To::Labels { topics::LABELS } else { topics::INFERENCES };
                self.letters.push((topics::dead_letters_of(topic), (*reason).to_owned(), (*says).to_owned()));
                (Some(good + 1), None, nothing(), nothing())
            }
            Fate::Counted(names) => {
                self.events += usize::from(row.to == To::Events);
                names.iter().for_each(|name| *self.counted.entry((*name).to_owned()).or_default() += 1);
                (Some(good + 1), None, nothing(), nothing())
            }
        };
        self.same(row.name, &wanted, &found);
    }

    /// Sends a request that is refused whole between two good events.
    fn request(&mut self, service: &Running, number: usize, request: &Request) {
        self.neighbour(service, To::Events, &format!("before-{number}"));
        let answer = request.send(service, &format!("never-{number}"));
        let found = (answer.status, answer.body["detail"].as_str().unwrap_or_default().to_owned());
        self.same(request.name, &(request.status, request.says.to_owned()), &found);
        self.neighbour(service, To::Events, &format!("after-{number}"));
    }

    /// Replays a bad file, and where there is one its mended text.
    fn file(&mut self, place: &Workplace, bad: &BadFile) {
        bad.content.write(&place.path().join(bad.file));
        let arguments = [&["replay", bad.file, "--json"][..], &COLUMNS, bad.more].concat();
        let before = end_of_inferences(place);
        let output = place.command(&arguments).output().unwrap();
        let ended = (output.status.code(), told(&output.stderr));
        match bad.ending {
            Ending::Refused(exit, says, mended) => {
                self.same(bad.name, &(Some(exit), says.to_owned()), &ended);
                self.same(bad.name, &before, &end_of_inferences(place));
                if let Some(mended) = mended {
                    place.write(bad.file, mended).unwrap();
                    place.run(&arguments).unwrap();
                }
            }
            Ending::DeadLetter(reason, says) => {
                self.same(bad.name, &Some(7), &ended.0);
                let topic = topics::dead_letters_of(topics::INFERENCES);
                self.letters.push((topic, reason.to_owned(), says.to_owned()));
            }
        }
        self.good.extend(bad.good.iter().map(|id| (To::Events, (*id).to_owned())));
    }

    /// Holds what the log and the archive have against what was promised.
    fn check(&mut self, place: &Workplace) {
        let log = place.log().unwrap();
        let ids = ids(place, log.as_ref());
        for (to, id) in std::mem::take(&mut self.good) {
            self.same(&format!("{to:?} {id} arrived"), &Some(&1), &ids.get(&(to, id.clone())));
            self.good.push((to, id));
        }
        assert!(ids.keys().all(|(_, id)| !id.starts_with("never-")), "a refused body was kept");
        let mut letters = letters(log.as_ref());
        self.letters.sort();
        letters.sort();
        let (missing, stray) = (without(&self.letters, &letters), without(&letters, &self.letters));
        self.same("dead letters", &missing, &stray);
        let wanted = self.counted.clone();
        self.same("odd values", &wanted, &odd_values(log.as_ref()));
        assert!(self.misses.is_empty(), "{} differ:\n{}", self.misses.len(), self.misses.join("\n"));
    }
}

impl Row {
    /// The body, and where what follows the bad row cannot be told a second one with the good row after it.
    fn bodies(&self, [before, bad, after]: [&str; 3]) -> (Vec<u8>, Option<Vec<u8>>) {
        let array = |rows: &[&[u8]], announced: u8| [&[0x90 | announced][..], &rows.concat()].concat();
        let line = |text: &[u8]| [&self.to.json(before)[..], text, &self.to.json(after)[..]].join(&b'\n');
        let (first, last) = (self.to.packed(before, &[]), self.to.packed(after, &[]));
        match &self.input {
            Input::Json(text) => (line(words(text, bad).as_bytes()), None),
            Input::Bytes(bytes) if bytes.starts_with(b"{") => (line(bytes), None),
            Input::Bytes(bytes) => (array(&[&first, bytes, &last], 3), None),
            Input::Packed(changes) => (array(&[&first, &self.to.packed(bad, changes), &last], 3), None),
            Input::Column(name, value) => (self.to.stream([before, bad, after], (name, *value)), None),
            Input::Cut(bytes) => (array(&[&first, bytes], 2), Some(array(&[&last], 1))),
        }
    }

    fn sent<'a>(&self, body: &'a [u8]) -> Sent<'a> {
        match body.first() {
            Some(b'{') => Sent::json_lines(body),
            Some(0xff) => Sent::arrow(body),
            _ => Sent::messagepack(body),
        }
    }
}

impl Setting {
    fn prepare(&self, folder: &Path) {
        let file = folder.join("driftline.yaml");
        match self.configuration {
            Configuration::Valid => {}
            Configuration::Missing => std::fs::remove_file(file).unwrap(),
            Configuration::Folder => {
                std::fs::remove_file(&file).unwrap();
                std::fs::create_dir(file).unwrap();
            }
            Configuration::Broken(whole, broken) => {
                assert!(VALID.contains(whole), "{whole} is not in the valid configuration");
                std::fs::write(file, VALID.replacen(whole, broken, 1)).unwrap();
            }
        }
    }
}

/// What a command said last in its own name, or else up to the first empty line: what follows is help.
fn told(said: &[u8]) -> String {
    const NAME: &str = "driftline: ";
    let text = String::from_utf8_lossy(said);
    let lines: Vec<_> = text.lines().collect();
    match lines.iter().rposition(|line| line.starts_with(NAME)) {
        Some(last) => lines[last..].join("\n").replacen(NAME, "", 1),
        None => lines.into_iter().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n"),
    }
}

/// Every file below a folder with its content.
fn everything_in(folder: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.insert(path.display().to_string(), std::fs::read(&path).ok());
        if path.is_dir() {
            found.extend(everything_in(&path));
        }
    }
    found
}

fn end_of_inferences(place: &Workplace) -> i64 {
    place.log().unwrap().bounds(topics::INFERENCES, 0).unwrap().end
}

/// How often each id is in the archive, or for feedback, which is not archived, on its topic.
fn ids(place: &Workplace, log: &dyn Log) -> BTreeMap<(To, String), i64> {
    let mut ids = BTreeMap::new();
    for (topic, rows) in archived_files(log, &place.store().unwrap()).unwrap() {
        let to = if topic == topics::LABELS { To::Labels } else { To::Events };
        for id in rows.column_by_name(codec::columns::EVENT_ID).unwrap().as_string::<i32>() {
            *ids.entry((to, id.unwrap().to_owned())).or_default() += 1;
        }
    }
    for record in all(log, topics::FEEDBACK).unwrap() {
        let text = String::from_utf8_lossy(record.value.as_deref().unwrap()).into_owned();
        for word in text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-') {
            *ids.entry((To::Feedback, word.to_owned())).or_default() += 1;
        }
    }
    ids
}

/// Topic, reason and message of every dead letter.
fn letters(log: &dyn Log) -> Vec<(String, String, String)> {
    let mut letters = Vec::new();
    for topic in [topics::INFERENCES, topics::LABELS].map(topics::dead_letters_of) {
        for record in all(log, &topic).unwrap() {
            let header = |name: &str| String::from_utf8_lossy(record.header(name).unwrap()).into_owned();
            letters.push((topic.clone(), header(REASON_HEADER), header("__connect.errors.exception.message")));
        }
    }
    letters
}

/// The sorted letters of `all` that `others` does not have.
fn without<T: Ord + Clone>(all: &[T], others: &[T]) -> Vec<T> {
    let mut left = others.to_vec();
    let mut found = Vec::new();
    for one in all {
        match left.binary_search(one) {
            Ok(place) => drop(left.remove(place)),
            Err(_) => found.push(one.clone()),
        }
    }
    found
}

/// What capture counted as odd, by name.
fn odd_values(log: &dyn Log) -> BTreeMap<String, i64> {
    let mut odd = BTreeMap::new();
    let mut count = |name: String, values: i64| *odd.entry(name).or_default() += values;
    for record in all(log, topics::PARTIALS).unwrap() {
        let epoch: CaptureEpoch = rmp_serde::from_slice(record.value.as_deref().unwrap()).unwrap();
        for counts in epoch.ledger.iter().flat_map(|entry| entry.counts.values()) {
            count("late".to_owned(), counts.late);
            count("future".to_owned(), counts.future);
            count("duplicates".to_owned(), counts.duplicates);
            count("unknown_features".to_owned(), counts.unknown_features);
        }
        for partial in epoch.partials.into_iter().filter(|partial| partial.segment.is_none()) {
            match partial.body {
                PartialBody::Inputs { profile, .. } => odd_inputs(&profile, &mut count),
                PartialBody::Outcomes { quality, .. } => odd_outcomes(&quality, &mut count),
                _ => {}
            }
        }
    }
    odd.retain(|_, values| *values != 0);
    odd
}

fn odd_inputs(profile: &Profile, count: &mut impl FnMut(String, i64)) {
    for (column, name) in profile.columns().iter().zip(["amount", "age", "country", "prediction", "score"]) {
        for fault in Fault::ALL {
            count(format!("{name} {}", fault.test_name()), column.count_of(fault).unwrap_or(0));
        }
    }
}

fn odd_outcomes(quality: &Quality, count: &mut impl FnMut(String, i64)) {
    let exclusions = quality.exclusions();
    for (name, values) in [
        ("invalid_label", exclusions.invalid_label),
        ("invalid_prediction", exclusions.invalid_prediction),
        ("invalid_score", exclusions.invalid_score),
        ("null_label", exclusions.null_label),
        ("null_prediction", exclusions.null_prediction),
        ("null_score", exclusions.null_score),
    ] {
        count(name.to_owned(), values);
    }
}
