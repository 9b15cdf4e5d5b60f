//! A row as the JSON event it would have been: for the judge that looks at rows one by one, and for dead letters.
//!
//! What is null is left out. Binary data becomes an array of numbers, which is of the wrong type for every field that has one.

use super::table::{FEATURES, SCORE, SEGMENT, Table, plain_within};
use arrow::array::{Array, ArrayRef, AsArray, StructArray, UnionArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use std::io::Write;

/// Appends the row as JSON.
pub(super) fn write_row(out: &mut Vec<u8>, table: &Table, row: usize) {
    let groups = [FEATURES, SCORE, SEGMENT];
    let is_grouped = |name: &str| groups.iter().any(|group| super::table::inner(name, group).is_some());
    let plain = table.columns.iter().filter(|column| !is_grouped(&column.name));
    out.push(b'{');
    let mut first = true;
    for column in plain.filter(|column| is_there(&column.plain, row)) {
        write_key(out, &column.name, &mut first);
        write_value(out, &column.plain, row);
    }
    for group in groups {
        if table.within(group).next().is_none() {
            continue;
        }
        write_key(out, group, &mut first);
        out.push(b'{');
        let mut first = true;
        for (name, column) in table.within(group).filter(|(_, column)| is_there(&column.plain, row)) {
            write_key(out, name, &mut first);
            write_value(out, &column.plain, row);
        }
        out.push(b'}');
    }
    out.push(b'}');
}

fn is_there(values: &ArrayRef, row: usize) -> bool {
    *values.data_type() != DataType::Null && values.is_valid(row)
}

fn write_key(out: &mut Vec<u8>, name: &str, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    write_text(out, name);
    out.push(b':');
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok(), "text is always JSON, and memory takes it");
}

fn write_number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    let written = write!(out, "{number}");
    debug_assert!(written.is_ok(), "memory takes all that is written");
}

fn write_float(out: &mut Vec<u8>, number: f64) {
    match number {
        f64::INFINITY => out.extend_from_slice(b"Infinity"),
        f64::NEG_INFINITY => out.extend_from_slice(b"-Infinity"),
        // Shown in full it reads as the very same number, and with its point or exponent as no integer.
        _ => write_number(out, format_args!("{number:?}")),
    }
}

/// All digits of a decimal, as JSON takes them.
fn write_decimal(out: &mut Vec<u8>, values: &ArrayRef, row: usize) {
    let digits = cast(&values.slice(row, 1), &DataType::Utf8).ok();
    match digits.as_ref().and_then(|digits| digits.as_string_opt::<i32>()) {
        Some(digits) => write_number(out, digits.value(0)),
        None => out.extend_from_slice(b"null"),
    }
}

fn write_value(out: &mut Vec<u8>, values: &ArrayRef, row: usize) {
    if !is_there(values, row) {
        return out.extend_from_slice(b"null");
    }
    match values.data_type() {
        DataType::Boolean => write_number(out, values.as_boolean().value(row)),
        DataType::Int64 => write_number(out, values.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => write_number(out, values.as_primitive::<UInt64Type>().value(row)),
        DataType::Float64 => write_float(out, values.as_primitive::<Float64Type>().value(row)),
        decimal if decimal.is_decimal() => write_decimal(out, values, row),
        DataType::Utf8 => write_text(out, values.as_string::<i32>().value(row)),
        DataType::Binary => write_bytes(out, values.as_binary::<i32>().value(row)),
        DataType::LargeBinary => write_bytes(out, values.as_binary::<i64>().value(row)),
        DataType::List(_) => write_list(out, &values.as_list::<i32>().value(row)),
        DataType::LargeList(_) => write_list(out, &values.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => write_list(out, &values.as_fixed_size_list().value(row)),
        DataType::Struct(_) => write_struct(out, values, row),
        DataType::Map(..) => write_map(out, &values.as_map().value(row)),
        DataType::Union(..) => match values.as_any().downcast_ref::<UnionArray>() {
            Some(union) => write_value(out, &plain_within(&union.value(row)), 0),
            None => out.extend_from_slice(b"null"),
        },
        // Any other type has become one of these when the table was made.
        _ => out.extend_from_slice(b"[]"),
    }
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'[');
    for (place, byte) in bytes.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_number(out, byte);
    }
    out.push(b']');
}

fn write_list(out: &mut Vec<u8>, items: &ArrayRef) {
    let items = plain_within(items);
    out.push(b'[');
    for place in 0..items.len() {
        if place > 0 {
            out.push(b',');
        }
        write_value(out, &items, place);
    }
    out.push(b']');
}

/// The entries of a map. A key that is there twice is written twice, for the judge to find.
fn write_map(out: &mut Vec<u8>, entries: &StructArray) {
    let mut first = true;
    out.push(b'{');
    if let [keys, values] = entries.columns()
        && let Some(keys) = keys.as_string_opt::<i32>()
    {
        let values = plain_within(values);
        for (row, key) in keys.iter().enumerate() {
            write_key(out, key.unwrap_or_default(), &mut first);
            write_value(out, &values, row);
        }
    }
    out.push(b'}');
}

fn write_struct(out: &mut Vec<u8>, values: &ArrayRef, row: usize) {
    let parent = values.as_struct();
    let mut first = true;
    out.push(b'{');
    for (field, child) in parent.fields().iter().zip(parent.columns()) {
        write_key(out, field.name(), &mut first);
        write_value(out, &plain_within(&child.slice(row, 1)), 0);
    }
    out.push(b'}');
}
