//! How a value is spelled that names something: a category, a class, a label, a segment, an id.
//!
//! One value has one spelling, whatever brought it: a file of text, a typed column, JSON. Booleans are `true` and `false`,
//! numbers the shortest decimal that means them (`16`, not `16.0`), and null is not the empty text. Whole numbers and
//! decimals never pass through floats.
//!
//! Of text only that is spelled anew which no program means otherwise: `True`, `FALSE`, and whole numbers with a fraction of
//! zeros, as data frames write a column of whole numbers with gaps. All other text stays as it is: `007` is no seven, and
//! `3.10` need not be 3.1.

use arrow::array::{Array, ArrayRef, AsArray, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::error::ArrowError;

/// The spelling of text.
pub fn of_text(text: &str) -> &str {
    // What is left of UTF-8 text before an ASCII point is UTF-8.
    std::str::from_utf8(of_bytes(text.as_bytes())).unwrap_or(text)
}

/// As [`of_text`], of bytes that are UTF-8.
#[inline]
pub fn of_bytes(text: &[u8]) -> &[u8] {
    match text {
        [.., b'e' | b'E'] => of_truth(text),
        [.., b'0'] => whole_part(text).unwrap_or(text),
        _ => text,
    }
}

/// The spelling of a boolean.
pub fn of_bool(truth: bool) -> &'static str {
    if truth { "true" } else { "false" }
}

/// The spelling of a number; `None` of NaN, which stands for a value that is missing.
///
/// A fraction that single precision holds exactly was written by it, so it gets the digits that single precision needs: the
/// .1 of a 32-bit column is `0.1`.
pub fn of_number(number: f64) -> Option<String> {
    let single = number as f32;
    match number {
        _ if number.is_nan() => None,
        // Minus nought is nought.
        0.0 => Some("0".to_owned()),
        _ if number.fract() != 0.0 && f64::from(single) == number => Some(single.to_string()),
        _ => Some(number.to_string()),
    }
}

/// The spelling of a decimal that is written with all digits of its scale.
pub fn of_decimal(digits: &str) -> &str {
    let shortest = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    };
    if shortest == "-0" { "0" } else { shortest }
}

/// The spellings of a column's values; `None` where the column's type holds no names, such as lists or times.
///
/// # Errors
/// When Arrow cannot convert values that it should.
pub fn of_array(values: &ArrayRef) -> Result<Option<StringArray>, ArrowError> {
    let texts = |values: &ArrayRef| Ok::<_, ArrowError>(cast(values, &DataType::Utf8)?.as_string::<i32>().clone());
    Ok(Some(match values.data_type() {
        DataType::Utf8 => of_texts(values.as_string::<i32>()),
        DataType::LargeUtf8 | DataType::Utf8View => of_texts(&texts(values)?),
        DataType::Dictionary(_, held) => return of_array(&cast(values, held)?),
        DataType::Null => new_null_array(&DataType::Utf8, values.len()).as_string::<i32>().clone(),
        DataType::Boolean => texts(values)?,
        whole if whole.is_integer() => texts(values)?,
        float if float.is_floating() => {
            let numbers = cast(values, &DataType::Float64)?;
            numbers.as_primitive::<Float64Type>().iter().map(|number| of_number(number?)).collect()
        }
        decimal if decimal.is_decimal() => texts(values)?.iter().map(|digits| digits.map(of_decimal)).collect(),
        _ => return Ok(None),
    }))
}

/// The spellings of texts.
pub fn of_texts(texts: &StringArray) -> StringArray {
    if texts.iter().flatten().all(|text| of_text(text) == text) {
        return texts.clone();
    }
    texts.iter().map(|text| text.map(of_text)).collect()
}

fn of_truth(text: &[u8]) -> &[u8] {
    match text {
        b"True" | b"TRUE" => b"true",
        b"False" | b"FALSE" => b"false",
        _ => text,
    }
}

/// The whole number that has nothing but zeros behind its point.
fn whole_part(text: &[u8]) -> Option<&[u8]> {
    let point = text.iter().rposition(|byte| *byte != b'0').filter(|at| text.get(*at) == Some(&b'.'));
    let Some(point) = point else { return (text == b"-0").then_some(b"0") };
    let whole = text.get(..point)?;
    match whole.strip_prefix(b"-").unwrap_or(whole) {
        b"0" => Some(b"0"),
        digits @ [b'1'..=b'9', ..] if digits.iter().all(u8::is_ascii_digit) => Some(whole),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BooleanArray, Decimal128Array, DictionaryArray, Float32Array, Float64Array, UInt64Array};
    use arrow::datatypes::Int32Type;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn spelled(values: impl Array + 'static) -> Vec<Option<String>> {
        let values: ArrayRef = Arc::new(values);
        of_array(&values).unwrap().unwrap().iter().map(|text| text.map(str::to_owned)).collect()
    }

    #[test]
    fn a_whole_number_and_a_boolean_have_one_spelling_and_other_text_stays() {
        for (text, spelling) in [
            ("16.0", "16"),
            ("16", "16"),
            ("-3.000", "-3"),
            ("0.0", "0"),
            ("-0.0", "0"),
            ("-0", "0"),
            ("18446744073709551617.0", "18446744073709551617"),
            ("True", "true"),
            ("TRUE", "true"),
            ("False", "false"),
            ("false", "false"),
        ] {
            assert_eq!(of_text(text), spelling, "{text}");
        }
        let stay = [
            "", "0", "10", "007", "007.0", "3.10", "1.50", ".0", "-.0", "1e0", "a.0", "1.2.0", "tRUE", "None", "é.0",
            "+1.0",
        ];
        for text in stay {
            assert_eq!(of_text(text), text);
        }
    }

    #[test]
    fn a_column_of_any_type_has_the_spelling_of_the_same_text() {
        let some = |texts: &[&str]| texts.iter().map(|text| Some((*text).to_owned())).collect::<Vec<_>>();
        assert_eq!(spelled(UInt64Array::from(vec![u64::MAX])), some(&["18446744073709551615"]));
        assert_eq!(
            spelled(Float64Array::from(vec![16.0, 0.1, -0.0, 1e21])),
            some(&["16", "0.1", "0", "1000000000000000000000"])
        );
        assert_eq!(spelled(Float32Array::from(vec![0.1, 16.0, 16_777_216.0])), some(&["0.1", "16", "16777216"]));
        assert_eq!(spelled(Float64Array::from(vec![f64::NAN, f64::INFINITY])), [None, Some("inf".to_owned())]);
        assert_eq!(spelled(BooleanArray::from(vec![true, false])), some(&["true", "false"]));
        let decimals = Decimal128Array::from(vec![1600, 150, -5]).with_precision_and_scale(38, 2).unwrap();
        assert_eq!(spelled(decimals), some(&["16", "1.5", "-0.05"]));
        let dictionary: DictionaryArray<Int32Type> = ["True", "2.0", "b"].into_iter().collect();
        assert_eq!(spelled(dictionary), some(&["true", "2", "b"]));
        let list: ArrayRef = Arc::new(arrow::array::BinaryArray::from(vec![b"a".as_slice()]));
        assert!(of_array(&list).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn spelling_again_changes_nothing(text in "(-?[0-9]{0,3}(\\.[0-9]{0,3})?|[Tt][Rr][Uu][Ee]|\\PC{0,6})") {
            let once = of_text(&text).to_owned();
            prop_assert_eq!(of_text(&once), once.as_str());
        }

        #[test]
        fn a_number_is_the_number_that_its_spelling_means(number: f64, single: f32) {
            prop_assume!(number.is_finite() && single.is_finite());
            let meant = |number| of_number(number).unwrap().parse::<f64>().unwrap();
            prop_assert!(meant(number) == number || f64::from(number as f32) == number);
            prop_assert_eq!(meant(f64::from(single)) as f32, single);
        }
    }
}
