//! What a value names, however it is written.

use super::*;

/// What is written as JSON, and the name that it gives a category; none where it is no value.
const SPELLINGS: [(&str, Option<&str>); 17] = [
    ("16", Some("16")),
    ("16.0", Some("16")),
    ("1.6e1", Some("16")),
    ("\"16\"", Some("16")),
    ("\"16.00\"", Some("16")),
    ("-0.0", Some("0")),
    ("0.5", Some("0.5")),
    ("true", Some("true")),
    ("\"True\"", Some("true")),
    ("\"FALSE\"", Some("false")),
    ("\"007\"", Some("007")),
    ("\"3.10\"", Some("3.10")),
    ("\"\"", Some("")),
    ("null", None),
    ("NaN", None),
    ("18446744073709551615", Some("18446744073709551615")),
    ("-340282366920938463463374607431768211456", Some("-340282366920938463463374607431768211456")),
];

#[test]
fn a_value_names_one_category_segment_and_label_however_it_is_written() {
    for (written, name) in SPELLINGS {
        let body = format!(
            r#"{{"id":"a","time":5,"model":"bed","version":"4","features":{{"town":{written}}},"prediction":{written},
                "segment":{{"site":{written}}},"label":{written}}}"#
        );
        let mut bodies = vec![body.clone().into_bytes()];
        // What reads JSON here keeps no NaN, and no integers of more than 64 bits.
        if let Some(tree) = serde_json::from_str(&body).ok().filter(|_| written.len() < 25) {
            bodies.push(msgpack(&tree));
        }
        for body in bodies {
            let decoded = decode(&mut decoder(), body);
            assert_eq!(reasons(&decoded), [""; 0], "{written}: {:?}", decoded.bad);
            for column in ["town", "prediction", "segment.site", columns::LABEL] {
                let column = decoded.events[0].batch.column_by_name(column).unwrap().as_string::<i32>();
                assert_eq!(column.is_valid(0).then(|| column.value(0)), name, "{written}");
            }
        }
    }
}

#[test]
fn an_id_is_its_text_or_the_digits_of_its_number_and_none_falls_together_with_another() {
    for (written, id) in [
        ("7.0", "7"),
        ("\"7.0\"", "7.0"),
        ("\"True\"", "True"),
        ("18446744073709551614", "18446744073709551614"),
        ("18446744073709551617", "18446744073709551617"),
    ] {
        let decoded = decode(&mut decoder(), event("ID").to_string().replace("\"ID\"", written));
        assert_eq!(ids(&decoded), [id], "{written}: {:?}", decoded.bad);
    }
}
