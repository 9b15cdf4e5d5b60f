//! Circles of a graph: its strongly connected components of more than one file.

use crate::imports::Imports;
use std::collections::BTreeSet;

/// Groups of files that reach each other, each in alphabetical order.
pub(crate) fn of(imports: &Imports) -> Vec<Vec<String>> {
    let mut left: BTreeSet<&String> = imports.keys().collect();
    let mut circles = Vec::new();
    while let Some(start) = left.pop_first() {
        let from_start = reached(imports, start);
        let circle: Vec<String> = from_start
            .iter()
            .filter(|file| reached(imports, file).contains(start))
            .map(|file| (*file).clone())
            .collect();
        circle.iter().for_each(|file| {
            left.remove(file);
        });
        if circle.len() > 1 {
            circles.push(circle);
        }
    }
    circles
}

/// Every file that can be reached from one, in one step or more.
fn reached<'a>(imports: &'a Imports, start: &str) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<&String> = imports.get(start).into_iter().flatten().collect();
    while let Some(file) = waiting.pop() {
        if found.insert(file) {
            waiting.extend(imports.get(file).into_iter().flatten());
        }
    }
    found
}
