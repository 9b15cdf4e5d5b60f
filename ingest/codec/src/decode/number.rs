//! JSON numbers.
//!
//! Most numbers are short: their digits fit a double exactly, and so does the power of ten, so one multiplication or division
//! rounds correctly (Clinger, "How to read floating point numbers accurately", 1990). All others go to the standard
//! library, so that every number is rounded correctly.

use super::cursor::{Text, Value};

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Digits that always fit 64 bits.
const MOST_DIGITS: usize = 19;

/// Reads the number at the start of `bytes`; returns it with its length, or `None` where there is no JSON number.
///
/// Whole numbers stay integers, those that fit none of 64 bits as their digits; what has a fraction or an exponent is a float,
/// beyond the range of doubles an infinite one.
#[inline]
pub(super) fn number(bytes: &[u8]) -> Option<(Value<'_>, usize)> {
    let negative = bytes.first() == Some(&b'-');
    let whole_start = usize::from(negative);
    let mut mantissa = 0u64;
    let whole_end = digits(bytes, whole_start, &mut mantissa);
    let whole = whole_end - whole_start;
    if whole == 0 || (whole > 1 && bytes.get(whole_start) == Some(&b'0')) {
        return None;
    }
    match bytes.get(whole_end) {
        Some(b'.' | b'e' | b'E') => {}
        _ => {
            let short = if whole <= MOST_DIGITS { integer(mantissa, negative) } else { None };
            return Some((short.map_or_else(|| long_integer(bytes, whole_end), Some)?, whole_end));
        }
    }
    let mut end = whole_end;
    let mut fraction = 0;
    if bytes.get(end) == Some(&b'.') {
        end = digits(bytes, whole_end + 1, &mut mantissa);
        fraction = end - whole_end - 1;
        if fraction == 0 {
            return None;
        }
    }
    let mut exponent = 0i64;
    if let Some(b'e' | b'E') = bytes.get(end) {
        (exponent, end) = read_exponent(bytes, end + 1)?;
    }
    let exact = whole + fraction <= MOST_DIGITS && mantissa < (1 << 53);
    let scaled = exact.then(|| scale(mantissa, exponent - fraction as i64)).flatten();
    let value = match scaled {
        Some(magnitude) if negative => -magnitude,
        Some(magnitude) => magnitude,
        None => std::str::from_utf8(bytes.get(..end)?).ok()?.parse().ok()?,
    };
    Some((Value::Float(value), end))
}

/// Adds the digits from `at` on to the mantissa, which wraps if there are too many; returns where they end.
#[inline]
fn digits(bytes: &[u8], mut at: usize, mantissa: &mut u64) -> usize {
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        at += 1;
    }
    at
}

fn integer<'a>(magnitude: u64, negative: bool) -> Option<Value<'a>> {
    Some(match (i64::try_from(magnitude), negative) {
        (Ok(value), false) => Value::Int(value),
        (Ok(value), true) => Value::Int(-value),
        (Err(_), false) => Value::Uint(magnitude),
        (Err(_), true) if magnitude == i64::MIN.unsigned_abs() => Value::Int(i64::MIN),
        (Err(_), true) => return None,
    })
}

#[cold]
fn long_integer(bytes: &[u8], end: usize) -> Option<Value<'_>> {
    let digits = bytes.get(..end)?;
    let short = std::str::from_utf8(digits).ok()?.parse().map(Value::Uint);
    Some(short.unwrap_or(Value::Long(Text::plain(digits))))
}

fn read_exponent(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let start = at + usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
    let mut magnitude = 0u64;
    let end = digits(bytes, start, &mut magnitude);
    if end == start {
        return None;
    }
    // An exponent of many digits is beyond every exact power, and so is this stand-in.
    let magnitude = if end - start > 6 { 1_000_000 } else { magnitude as i64 };
    Some((if bytes.get(at) == Some(&b'-') { -magnitude } else { magnitude }, end))
}

#[inline]
fn scale(mantissa: u64, exponent: i64) -> Option<f64> {
    let power = *POWERS.get(usize::try_from(exponent.unsigned_abs()).ok()?)?;
    let mantissa = mantissa as f64;
    Some(if exponent < 0 { mantissa / power } else { mantissa * power })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn float(text: &str) -> Option<f64> {
        match number(text.as_bytes())? {
            (Value::Float(value), end) if end == text.len() => Some(value),
            (Value::Int(value), end) if end == text.len() => Some(value as f64),
            (Value::Uint(value), end) if end == text.len() => Some(value as f64),
            (Value::Long(digits), end) if end == text.len() => digits.to_text().parse().ok(),
            _ => None,
        }
    }

    #[test]
    fn what_json_does_not_call_a_number_is_none() {
        for text in ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "-a", "--1"] {
            assert!(float(text).is_none(), "{text}");
        }
    }

    #[test]
    fn integers_stay_exact_up_to_the_largest() {
        fn read(text: &str) -> Option<Value<'_>> {
            number(text.as_bytes()).map(|(value, _)| value)
        }
        assert!(matches!(read("9223372036854775807"), Some(Value::Int(i64::MAX))));
        assert!(matches!(read("-9223372036854775808"), Some(Value::Int(i64::MIN))));
        assert!(matches!(read("18446744073709551615"), Some(Value::Uint(u64::MAX))));
        for text in ["18446744073709551616", "-9223372036854775809", "-18446744073709551616"] {
            assert!(matches!(read(text), Some(Value::Long(digits)) if digits.to_text() == text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_double_is_read_as_the_standard_library_reads_it(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            for text in [format!("{value:?}"), format!("{value:e}"), format!("{value:.3}")] {
                prop_assert_eq!(float(&text), text.parse::<f64>().ok(), "{}", text);
            }
        }

        #[test]
        fn short_decimals_are_rounded_correctly(mantissa in 0u64..1 << 60, exponent in -40i32..40) {
            let text = format!("{mantissa}e{exponent}");
            prop_assert_eq!(float(&text), text.parse::<f64>().ok(), "{}", text);
        }
    }
}
