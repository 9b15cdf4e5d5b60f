//! What a value names, however it is written, and what follows where none is.

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
            r#"{{"id":"a","time":1700000000000,"model":"bed","version":"4","features":{{"town":{written}}},"prediction":{written},
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
fn a_prediction_that_was_not_sent_follows_from_its_score() {
    let predicted = |event: Tree| {
        let decoded = decode(&mut decoder(), event.to_string());
        let column = decoded.events[0].batch.column_by_name("prediction").unwrap().as_string::<i32>().clone();
        column.is_valid(0).then(|| column.value(0).to_owned())
    };
    let scored = |score: Tree| {
        let mut event = without("prediction");
        event["score"] = score;
        predicted(event)
    };
    for (score, prediction) in [
        (json!(0.5), Some("1")),
        (json!(0.499), Some("0")),
        (json!({"1": 0.9}), Some("1")),
        (json!(4.2), None),
        (json!(null), None),
    ] {
        assert_eq!(scored(score.clone()).as_deref(), prediction, "{score}");
    }
    assert_eq!(predicted(event("a")).as_deref(), Some("1"), "what was sent stands");
    let mut wrong = with("prediction", json!([1]));
    wrong["score"] = json!(0.9);
    assert_eq!(predicted(wrong), None, "what was sent wrongly stays so");
}

#[test]
fn the_most_probable_of_several_classes_is_the_prediction_that_was_not_sent() {
    let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
    let schema = ModelSchema::new([], Task::Multiclass { classes });
    let source = Source { schema, segments: Vec::new(), ..source(Privacy::default()) };
    for (score, prediction) in [
        (json!({"a": 0.2, "b": 0.5, "c": 0.3}), Some("b")),
        (json!({"a": 0.4, "b": 0.2, "c": 0.4}), Some("a")),
        (json!({"a": 0.4, "b": 0.6}), None),
    ] {
        let event = json!({"id": "x", "time": NOW_MS, "model": "bed", "version": "4", "features": {}, "score": score});
        let decoded = decode(&mut Decoder::new(vec![source.clone()], Limits::default()), event.to_string());
        let column = decoded.events[0].batch.column_by_name("prediction").unwrap().as_string::<i32>();
        assert_eq!(column.is_valid(0).then(|| column.value(0)), prediction, "{score}");
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
