//! How the console writes times, spans, numbers and states. All times are of events, in UTC.

use crate::read_model::segment_name;
use detectors::threshold::ThresholdSource;
use detectors::verdict::{OutsideKind, Segment, Severity, TestResult};
use detectors::windows::Window;
use maud::{Markup, html};
use std::time::{Duration, UNIX_EPOCH};

/// RFC 3339 to the second; milliseconds where the moment cannot be written so.
pub(super) fn timestamp(time_ms: i64) -> String {
    let since = u64::try_from(time_ms).ok().map(Duration::from_millis);
    let moment = since.and_then(|since| UNIX_EPOCH.checked_add(since)).filter(|_| time_ms < LATEST_MS);
    moment.map_or_else(|| format!("{time_ms} ms"), |moment| humantime::format_rfc3339_seconds(moment).to_string())
}

/// The end of the year 9999, which RFC 3339 cannot pass.
const LATEST_MS: i64 = 253_402_300_800_000;

/// `2026-01-05 08:00`, with seconds where there are some.
pub(super) fn moment_text(time_ms: i64) -> String {
    let text = timestamp(time_ms);
    match text.split_once('T') {
        Some((day, time)) => {
            let time = time.trim_end_matches('Z');
            format!("{day} {}", time.strip_suffix(":00").unwrap_or(time))
        }
        None => text,
    }
}

/// A moment that programs can read too.
pub(super) fn moment(time_ms: i64) -> Markup {
    html! { time datetime=(timestamp(time_ms)) { (moment_text(time_ms)) } }
}

/// `2026-01-05 08:00 – 09:00`.
pub(super) fn span(window: Window) -> Markup {
    html! { (moment(window.start_ms)) " – " time datetime=(timestamp(window.end_ms)) { (end_text(window)) } }
}

pub(super) fn span_text(window: Window) -> String {
    format!("{} – {}", moment_text(window.start_ms), end_text(window))
}

/// The end of a window, without the day where it is the day of its start.
fn end_text(window: Window) -> String {
    let (start, end) = (moment_text(window.start_ms), moment_text(window.end_ms));
    match (start.split_once(' '), end.split_once(' ')) {
        (Some((first, _)), Some((last, time))) if first == last => time.to_owned(),
        _ => end,
    }
}

/// A length of time in its two largest units, as `3 d 4 h`.
pub(super) fn length(length_ms: i64) -> String {
    const UNITS: [(i64, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    let mut rest = length_ms.max(0);
    let mut parts = Vec::new();
    for (unit, name) in UNITS {
        let count = rest / unit;
        rest %= unit;
        match (count, parts.is_empty()) {
            (0, true) => {}
            // What is less than the unit after the largest is left out.
            (0, false) => break,
            _ => parts.push(format!("{count} {name}")),
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

/// A share of one as hundredths: `35 %`, `0.4 %`.
pub(super) fn percent(share: f64) -> String {
    let hundredths = 100.0 * share;
    match hundredths.abs() {
        exact if exact == 0.0 || exact >= 9.95 => format!("{hundredths:.0} %"),
        small if small < 0.01 => "< 0.01 %".to_owned(),
        small if small < 0.995 => format!("{hundredths:.2} %"),
        _ => format!("{hundredths:.1} %"),
    }
}

/// A number to four digits that matter.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        _ if value == 0.0 => "0".to_owned(),
        _ if !value.is_finite() => value.to_string(),
        size if !(1e-4..1e6).contains(&size) => format!("{value:.2e}"),
        size if size >= 1_000.0 => format!("{value:.0}"),
        size => {
            let digits = (3 - size.log10().floor() as i32).clamp(0, 7);
            let text = format!("{value:.*}", usize::try_from(digits).unwrap_or_default());
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
        }
    }
}

/// A number beside an axis, where there is room for five letters.
pub(super) fn axis(value: f64) -> String {
    match value.abs() {
        size if (1e4..1e6).contains(&size) => format!("{:.0}k", value / 1e3),
        size if (0.1..100.0).contains(&size) => {
            let text = format!("{value:.2}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        size if (100.0..1e4).contains(&size) => format!("{value:.0}"),
        _ if value == 0.0 => "0".to_owned(),
        _ => format!("{value:.0e}"),
    }
}

/// A count with thin spaces between thousands.
pub(super) fn count(rows: i64) -> String {
    let digits = rows.unsigned_abs().to_string();
    let mut text = if rows < 0 { "−".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`.
pub(super) fn counted(number: i64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {one}s", count(number)) }
}

/// A score in units of its threshold; `None` where the threshold says nothing.
pub(super) fn ratio(test: &TestResult) -> Option<f64> {
    let ratio = test.score / test.threshold;
    (test.threshold > 0.0 && ratio.is_finite()).then_some(ratio)
}

/// A sentence whose names stand between back quotes.
pub(super) fn prose(text: &str) -> Markup {
    if !text.matches('`').count().is_multiple_of(2) {
        return html! { (text) };
    }
    html! {
        @for (place, part) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// Name of a slice for people.
pub(super) fn slice(segment: Option<&Segment>) -> String {
    segment.map_or_else(|| "all traffic".to_owned(), |_| segment_name(segment))
}

/// Where a threshold came from, in words.
pub(super) fn threshold_source(source: ThresholdSource) -> &'static str {
    match source {
        ThresholdSource::Fixed => "fixed by a setting",
        ThresholdSource::MinimumEffect => {
            "the least change that matters (`min_effect`): chance and the reference's own windows stay below it"
        }
        ThresholdSource::Sampling => "what samples of the reference of this size differ by, by chance alone",
        ThresholdSource::ReferenceWindows => "learned from how the reference's own windows differ among themselves",
    }
}

/// The same in short, for tables.
pub(super) fn threshold_source_short(source: ThresholdSource) -> &'static str {
    match source {
        ThresholdSource::Fixed => "setting",
        ThresholdSource::MinimumEffect => "least effect",
        ThresholdSource::Sampling => "sampling",
        ThresholdSource::ReferenceWindows => "reference's windows",
    }
}

/// What a kind of row outside the bins is called.
pub(super) fn outside(kind: OutsideKind) -> &'static str {
    match kind {
        OutsideKind::Below => "below the reference",
        OutsideKind::Above => "above the reference",
        OutsideKind::Other => "other categories",
        OutsideKind::Unseen => "new categories",
        OutsideKind::Null => "missing",
        OutsideKind::Nan => "NaN",
        OutsideKind::Infinite => "infinite",
        OutsideKind::WrongType => "wrong type",
    }
}

/// A state as a word with a sign of its own, so that it is never told by colour alone.
pub(super) fn badge(severity: &Severity) -> Markup {
    let name = severity.name();
    html! { span class={ "badge " (name) } { span aria-hidden="true" { (sign(severity)) } " " (name) } }
}

/// The sign of a state.
pub(super) fn sign(severity: &Severity) -> &'static str {
    match severity {
        Severity::Learning => "◌",
        Severity::Stable => "●",
        Severity::Warning => "◆",
        Severity::Drift => "▲",
        Severity::Inconclusive(_) => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_spans_are_as_short_as_they_can_be() {
        let (start_ms, end_ms) = (1_767_600_000_000, 1_767_603_600_000);
        assert_eq!(span_text(Window { start_ms, end_ms }), "2026-01-05 08:00 – 09:00");
        assert_eq!(span_text(Window { start_ms, end_ms: end_ms + 86_400_000 }), "2026-01-05 08:00 – 2026-01-06 09:00");
        assert_eq!(moment_text(start_ms + 1_000), "2026-01-05 08:00:01");
        assert_eq!((timestamp(-1), timestamp(i64::MAX)), ("-1 ms".to_owned(), format!("{} ms", i64::MAX)));
    }

    #[test]
    fn numbers_are_told_to_what_matters_of_them() {
        assert_eq!(
            [0.0, 0.5, 0.123_456, 1234.5, 2e7, 1e-9].map(number),
            ["0", "0.5", "0.1235", "1234", "2.00e7", "1.00e-9"]
        );
        assert_eq!([0.0, 0.35, 0.0351, 0.004, 0.000_001].map(percent), ["0 %", "35 %", "3.5 %", "0.40 %", "< 0.01 %"]);
        assert_eq!(
            [0.0, 0.8809, 5.375, 2240.0, 31_500.0, 0.012].map(axis),
            ["0", "0.88", "5.38", "2240", "32k", "1e-2"]
        );
        assert_eq!([1_234_567, 12, -1_000].map(count), ["1\u{202f}234\u{202f}567", "12", "−1\u{202f}000"]);
        assert_eq!([0, 61_000, 90_061_000, 3_600_000].map(length), ["0 s", "1 min 1 s", "1 d 1 h", "1 h"]);
    }
}
