//! Keeping count of what was compared, how far off it was at most, and what was left out.

use std::collections::BTreeMap;

/// What a test has compared so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    values: usize,
    refusals: usize,
    worst: BTreeMap<&'static str, (f64, String)>,
    left_out: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Tally {
    /// Holds a number against the one expected: both must agree relative to it, or be within `floor` of each other.
    pub(crate) fn number(&mut self, what: &str, kind: &'static str, (found, expected): (f64, f64), bound: Bound) {
        self.values += 1;
        // Two infinities are equal, though their difference is not a number.
        let off = if found == expected { 0.0 } else { (found - expected).abs() };
        let relative = if off == 0.0 || off <= bound.floor { 0.0 } else { off / expected.abs() };
        if relative.is_nan() || relative > bound.relative {
            self.wrong.push(format!("{what}: {found} instead of {expected}"));
        }
        let worst = self.worst.entry(kind).or_insert((0.0, "none differs".to_owned()));
        if relative > worst.0 {
            *worst = (relative, what.to_owned());
        }
    }

    /// Notes that a thing which is undefined there was refused here, or that it was not.
    pub(crate) fn refusal<T: std::fmt::Debug, E>(&mut self, what: &str, found: Result<T, E>) {
        self.refusals += 1;
        if let Ok(found) = found {
            self.wrong.push(format!("{what}: {found:?}, where it is undefined"));
        }
    }

    /// Notes a thing that has no counterpart, and why.
    pub(crate) fn left_out(&mut self, why: &str) {
        *self.left_out.entry(why.to_owned()).or_default() += 1;
    }

    /// A thing that does not agree.
    pub(crate) fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// Prints the count, and fails if anything did not agree.
    pub(crate) fn conclude(&self, folder: &str) {
        println!("{folder}: {} values compared, {} refused here as there", self.values, self.refusals);
        for (kind, (relative, what)) in &self.worst {
            println!("  worst relative difference of a {kind}: {relative:.1e} ({what})");
        }
        for (why, count) in &self.left_out {
            println!("  {count} left out: {why}");
        }
        assert!(self.values > 0, "nothing was compared");
        assert!(self.wrong.is_empty(), "{} differ:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

/// How far two numbers may be apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    /// Relative to the expected one.
    pub(crate) relative: f64,
    /// Or this far, whatever they are.
    pub(crate) floor: f64,
}

/// Of a statistic or a distance. What is zero there is a rounding error here.
pub(crate) const STATISTIC: Bound = Bound { relative: 1e-9, floor: 1e-15 };
