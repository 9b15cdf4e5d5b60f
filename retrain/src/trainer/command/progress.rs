//! The learning curve of a training, as its program tells it while it works.
//!
//! The program appends lines of JSON to `progress.jsonl` in its job's folder: `{"step": 10, "loss": 0.31, "valid_auc": 0.8}`,
//! any names, numbers only. What is no number costs that number, and a line that is no JSON costs that line: a training is
//! not thrown away for it. Of a long curve as many points are kept as can be looked at, the first and the last among them.

use serde_json::Value;
use std::collections::BTreeMap;
use streams::outside::plain;

/// Where the program writes it, in its job's folder.
pub(super) const FILE: &str = "progress.jsonl";
/// The most bytes that are read of it.
pub(super) const MOST_BYTES: u64 = 16 << 20;
/// Points that are kept.
const MOST_POINTS: usize = 200;
/// Numbers of a point that are kept, and the length of their names.
const MOST_NUMBERS: usize = 32;
const MOST_NAME: usize = 100;

/// The curve in the text of a file.
pub(super) fn parse(bytes: &[u8]) -> Vec<BTreeMap<String, f64>> {
    let lines = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<BTreeMap<String, Value>>(line).ok());
    let points: Vec<_> = lines.map(point).filter(|point| !point.is_empty()).collect();
    let last = points.len().saturating_sub(1);
    let kept = points.len().min(MOST_POINTS);
    let places = (0..kept).map(|place| if kept < 2 { 0 } else { place * last / (kept - 1) });
    places.filter_map(|place| points.get(place).cloned()).collect()
}

fn point(line: BTreeMap<String, Value>) -> BTreeMap<String, f64> {
    let numbers = line.into_iter().filter_map(|(name, value)| Some((plain(&name, MOST_NAME), value.as_f64()?)));
    numbers.take(MOST_NUMBERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_kept_with_its_ends_and_without_what_is_no_number() {
        let mut text: String = (0..1_000).map(|step| format!("{{\"step\": {step}, \"loss\": 0.5}}\n")).collect();
        text.push_str("progress: 99 %\n{\"step\": 1000, \"loss\": null, \"note\": \"done\"}\n{\"step\": 10");
        let curve = parse(text.as_bytes());
        assert_eq!((curve.len(), curve[0]["step"], curve[0]["loss"]), (200, 0.0, 0.5));
        assert_eq!(curve[199], BTreeMap::from([("step".to_owned(), 1000.0)]));
        assert!(parse(b"").is_empty());
        assert_eq!(parse(b"{\"loss\": 1}").len(), 1);
    }
}
