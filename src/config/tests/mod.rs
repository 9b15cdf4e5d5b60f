//! The configuration's promises: the example is valid, and every mistake is answered with where it is and how to mend it.

use super::*;
use crate::files::EventTime;
use detectors::schema::{ColumnKind, Task};

use capture::watched::SequentialPolicy;
use codec::decode::{Policy, PrivacyError};
use expect_test::{Expect, expect, expect_file};
use retrain::policy::RetrainPolicy;

const EXAMPLE: &str = include_str!("../../../driftline.example.yaml");

mod mutants;

/// A small valid configuration that the tables below break in one place each.
const VALID: &str = "\
version: 1
log: {directory: data}
models:
  fraud:
    task: {type: binary, positive: \"1\", negative: \"0\"}
    features:
      amount: numeric
      country: categorical
    windows: {size: 1h}
";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("etc/driftline.yaml"))
}

fn check_findings(text: &str, expected: &Expect) {
    let findings: Vec<_> = check(&parse(text).unwrap()).iter().map(ToString::to_string).collect();
    expected.assert_eq(&findings.join("\n"));
}

#[test]
fn the_shipped_example_is_valid_and_has_nothing_to_look_at_again() {
    let config = Config::parse(EXAMPLE, Path::new("driftline.example.yaml")).unwrap();
    assert_eq!(config.models.len(), 2);
    assert_eq!(check(&config), []);
    let admission = &config.models["admission"];
    assert_eq!(admission.event_segments(), ["ward"]);
    assert_eq!(admission.privacy["postcode"], Policy::Hash);
    let unnamed: Vec<&str> = admission.watched.panel.unnamed.iter().map(String::as_str).collect();
    assert_eq!(unnamed, ["postcode"], "no verdict names a value of it");
}

#[test]
fn defaults_are_filled_in_and_paths_are_relative_to_the_file() {
    let config = parse(VALID).unwrap();
    assert_eq!(config.log.directory, Path::new("etc/data"));
    assert_eq!(config.artifacts, ArtifactLocation::Directory("etc/data/artifacts".into()));
    assert!(config.api.listen.ip().is_loopback());
    assert_eq!(config.partitions.get(), 4);
    assert_eq!(config.label_memory, 256 << 20);
    assert_eq!(config.archive.roll, RollPolicy { rows: 100_000, after: Duration::from_secs(300) });
    assert_eq!(config.archive.compaction.keep, None);
    let fraud = config.models["fraud"].watched();
    assert_eq!((fraud.windows.hop_ms(), fraud.step_ms), (3_600_000, 72_000));
    assert_eq!((&fraud.labels, fraud.panel.min_rows), (&None, 100));
    assert_eq!(fraud.sequential, SequentialPolicy { adwin: true, ..SequentialPolicy::default() });
    assert_eq!(*config.models["fraud"].task(), Task::Binary { positive: "1".into(), negative: "0".into() });
    assert_eq!(config.models["fraud"].retrain, RetrainPolicy::default());
}

#[test]
fn capture_gathers_for_a_twentieth_of_the_time_between_windows_unless_it_is_told() {
    let seconds = |windows: &str| parse(&VALID.replace("{size: 1h}", windows)).unwrap().epoch_interval.as_secs_f64();
    let found = ["{size: 5s}", "{size: 1m}", "{size: 1h, hop: 2m}", "{size: 1h}"].map(seconds);
    assert_eq!(found, [1.0, 3.0, 6.0, 10.0]);
    assert_eq!(parse(&format!("{VALID}\nepoch: {{interval: 200ms}}")).unwrap().epoch_interval.as_secs_f64(), 0.2);
}

/// The model of [`VALID`] with more settings below its windows.
fn fraud_with(settings: &str) -> ModelConfig {
    let text = VALID.replace("{size: 1h}", &format!("{{size: 1h}}\n    {settings}"));
    parse(&text).unwrap().models.remove("fraud").unwrap()
}

#[test]
fn labels_are_judged_at_one_age_or_as_soon_as_enough_have_come() {
    let labels = |settings: &str| fraud_with(settings).watched().labels.clone().unwrap();
    let plain = labels("labels: {}");
    assert_eq!((plain.ages_ms, plain.coverage, plain.max_pending), (vec![3_600_000], None, 5_000_000));
    let covered = labels("labels: {mature: {coverage: 0.9, at_most: 16h}, absent_means: {label: \"0\", after: 1d}}");
    assert_eq!(covered.ages_ms, (1..=16).map(|hour| hour * 3_600_000).collect::<Vec<_>>());
    assert_eq!((covered.coverage, covered.absent.unwrap().after_ms), (Some(0.9), 86_400_000));
    assert_eq!(labels("labels: {mature: {coverage: 1, at_most: 3ms}}").ages_ms, [0, 1, 2, 3]);
}

#[test]
fn a_step_is_a_whole_part_of_the_pane() {
    assert_eq!(fraud_with("step: 20m").watched().step_ms, 1_200_000);
    let odd = parse(&VALID.replace("{size: 1h}", "{size: 7ms}")).unwrap();
    assert_eq!(odd.models["fraud"].watched().step_ms, 7);
}

#[test]
fn a_budget_turns_on_the_detector_that_keeps_it_and_adwin_off() {
    let off = SequentialPolicy::default();
    let policy = |settings: &str| fraud_with(settings).watched().sequential;
    let budget = "labels: {}\n    panel: {false_alarms: 1 per month}";
    // A third of one a month: one in 90 days, of steps of 72 seconds.
    assert_eq!(policy(budget), SequentialPolicy { e_detector: Some(108_000.0), ..off });
    let windows = "labels: {}\n    panel: {false_alarms: 1 per 1000 windows}";
    let run_length = policy(windows).e_detector.unwrap();
    assert!((run_length / 150_000.0 - 1.0).abs() < 1e-12, "{run_length}");
    let both = policy(&format!("{budget}\n    sequential: {{cusum: true}}"));
    assert_eq!(both, SequentialPolicy { e_detector: Some(216_000.0), cusum: Some(216_000.0), ..off });
    let neither = policy(&format!("{budget}\n    sequential: {{e_detector: false}}"));
    assert_eq!(neither, off);
    assert_eq!(policy("panel: {false_alarms: 1 per month}"), off, "without labels nothing is read");
    assert_eq!(policy("sequential: {adwin: false}"), off);
}

#[test]
fn a_regression_keeps_its_budget_by_its_losses() {
    let regression = |settings: &str| {
        VALID
            .replace("{type: binary, positive: \"1\", negative: \"0\"}", "{type: regression}")
            .replace("{size: 1h}", &format!("{{size: 1h}}\n    labels: {{}}\n    {settings}"))
    };
    let config = parse(&regression("panel: {false_alarms: 1 per month}")).unwrap();
    let expected = SequentialPolicy { cusum: Some(21_600.0), ..SequentialPolicy::default() };
    assert_eq!(config.models["fraud"].watched().sequential, expected);
    let refused = parse(&regression("sequential: {e_detector: true}")).unwrap_err().to_string();
    assert!(refused.contains("a regression task takes no `e_detector`"), "{refused}");
}

#[test]
fn detectors_beside_the_budget_are_found() {
    let text = VALID.replace(
        "{size: 1h}",
        "{size: 1h}\n    labels: {}\n    panel: {false_alarms: 1 per month}\n    sequential: {adwin: true, page_hinkley: true}",
    );
    check_findings(
        &text,
        &expect![[r#"
        models.fraud.sequential.adwin: adwin's false alarms are not covered by models.fraud.panel.false_alarms; they come on top of its `1 per month`: turn it off, or expect more
        models.fraud.sequential.page_hinkley: page_hinkley's false alarms are not covered by models.fraud.panel.false_alarms; they come on top of its `1 per month`: turn it off, or expect more"#]],
    );
}

#[test]
fn a_source_has_the_mapping_and_hashes_with_the_key_it_is_given() {
    let text = VALID
        .replace("country: categorical", "country: {kind: categorical, privacy: hash}")
        .replace("{size: 1h}", "{size: 1h}\n    map: {id: i, time: t, features: {amount: payload.eur}}");
    let model = parse(&text).unwrap().models.remove("fraud").unwrap();
    assert!(matches!(model.source(None).unwrap_err(), PrivacyError::NoKey { .. }));
    let source = model.source(Some(HashKey::new(b"0123456789abcdef"))).unwrap();
    assert_eq!((&*source.model, source.privacy.of("country")), ("fraud", Policy::Hash));
    assert!(source.mapping.is_some());
    assert_eq!(model.renamed_features(), BTreeMap::from([("amount".into(), "payload.eur".into())]));
}

#[test]
fn a_command_runs_in_the_folder_of_the_configuration() {
    let model = fraud_with("labels: {}\n    trainer: {command: {program: bin/train, arguments: [a]}}");
    let Some(TrainerConfig::Command(command)) = model.trainer else { panic!("a command was configured") };
    let spec = command.spec().unwrap();
    let folder = std::path::absolute("etc").unwrap();
    assert_eq!(spec.program, folder.join("bin/train"));
    assert_eq!((spec.working_directory, spec.time_limit), (Some(folder), Duration::from_secs(3600)));
}

#[test]
fn a_reference_is_trained_on_where_a_champion_of_its_own_serves() {
    let reference = |settings: &str| fraud_with(settings).reference.unwrap();
    let watched = reference("reference: {file: r.csv, columns: {time: at, score: p}}");
    assert_eq!((watched.file.as_path(), watched.train), (Path::new("etc/r.csv"), false));
    assert_eq!(watched.columns.time, EventTime::Column("at".into()));
    let served = "trainer: {builtin: {}}\n    serving: champion\n    reference: {file: r.csv, columns: {label: y}}";
    assert!(reference(served).train);
}

#[test]
fn features_keep_the_order_of_the_file() {
    let text = VALID
        .replace("      amount: numeric\n", "      zeta: numeric\n      alpha: {kind: categorical, privacy: drop}\n");
    let config = parse(&text).unwrap();
    let features: Vec<_> = config.models["fraud"].schema().features().map(|c| (c.name.as_str(), c.kind)).collect();
    let expected =
        [("zeta", ColumnKind::Numeric), ("alpha", ColumnKind::Categorical), ("country", ColumnKind::Categorical)];
    assert_eq!(features, expected);
}

#[test]
fn a_kafka_is_reached_with_the_secrets_of_its_files_and_none_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("word"), "hunter2\n").unwrap();
    let kafka = "kafka: {bootstrap: \"a:1, b:2\", security: {tls: {ca: ca.pem}, sasl: {mechanism: scram_sha_512, \
                 username: u, password_file: word}}, options: {fetch.wait.max.ms: 5, linger.ms: 0.5}}";
    let text = VALID.replace("{directory: data}", &format!("{{directory: data, {kafka}}}"));
    let file = folder.path().join("driftline.yaml");
    let config = Config::parse(&text, &file).unwrap();
    let LogPlace::Kafka(kafka) = &config.log.place else { panic!("the log is on a Kafka") };
    let options = kafka.options(&file).unwrap();
    assert!(!format!("{config:?} {options:?}").contains("hunter2"));
    std::fs::remove_file(folder.path().join("word")).unwrap();
    let refused = kafka.options(&file).unwrap_err().to_string();
    assert!(refused.contains("log.kafka.security.sasl") && refused.contains("word"), "{refused}");
}

#[test]
fn schemas_are_read_from_files_and_what_is_wrong_with_them_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("driftline.yaml");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("e.avsc", r#"{"type": "record", "name": "E", "fields": [{"name": "id", "type": "string"}]}"#);
    write("word", "hunter2\n");
    let with = |schemas: &str| {
        let text = VALID.replace("log: {directory: data}", &format!("log: {{directory: data}}\nschemas: {schemas}"));
        Config::parse(&text, &file).unwrap().schemas
    };
    let ids = "files: [{file: e.avsc, ids: [7, 00112233-4455-6677-8899-aabbccddeeff]}], unframed: e.avsc";
    let registry = "registry: {url: \"http://r:8081\", username: u, password_file: word}";
    let config = with(&format!("{{{ids}, {registry}}}"));
    assert!(!format!("{config:?} {:?}", config.open().unwrap()).contains("hunter2"));
    write("word", "");
    let refused = config.open().unwrap_err().to_string();
    assert!(refused.contains("schemas.registry: the secret is empty"), "{refused}");
    config.of_files().unwrap();
    write("wrong.avsc", r#"{"type": "string"}"#);
    let wrong = [
        ("{files: [{file: none.avsc}]}", "schemas.files: ", "none.avsc cannot be read: No such file"),
        ("{unframed: wrong.avsc}", "schemas.unframed: ", "wrong.avsc: the schema cannot be read as a record of Avro"),
        ("{registry: {url: \"https://r\", ca: word}}", "schemas.registry: ", "the certificates: there are none"),
    ];
    for (schemas, path, why) in wrong {
        let refused = with(schemas).open().unwrap_err().to_string();
        assert!(refused.contains(path) && refused.contains(why), "{refused}");
    }
}

#[test]
fn every_mistake_is_answered_with_file_line_path_and_remedy() {
    let breaks = [
        ("version: 1", "version: 2"),
        ("version: 1", "versoin: 1"),
        ("version: 1", "version: 1\nmodel: x"),
        ("log: {directory: data}", "log: {}"),
        ("log: {directory: data}", "log: {directory: data, durability: some}"),
        ("log: {directory: data}", "log: {directory: data, retention: {age: 30}}"),
        ("log: {directory: data}", "log: {directory: data, retention: {bytes: lots}}"),
        ("log: {directory: data}", "log: {directory: data"),
        ("log: {directory: data}", "log: {kafka: {bootstrap: \"k:9092\"}}"),
        ("log: {directory: data}", "log: {directory: data, kafka: {}}"),
        ("log: {directory: data}", "log: {directory: data, kafka: {bootstrap: k}}"),
        ("log: {directory: data}", "log: {directory: data, durability: full, kafka: {bootstrap: \"k:9092\"}}"),
        ("log: {directory: data}", "log: {directory: data, kafka: {bootstrap: \"k:9092\", prefix: a b}}"),
        ("log: {directory: data}", "log: {directory: data, kafka: {bootstrap: \"k:9092\", replication: 0}}"),
        ("log: {directory: data}", "log: {directory: data, kafka: {bootstrap: \"k:9092\", repartition: [feedback]}}"),
        (
            "log: {directory: data}",
            "log: {directory: data, kafka: {bootstrap: \"k:9092\", security: {sasl: {mechanism: plain, username: u}}}}",
        ),
        (
            "log: {directory: data}",
            "log: {directory: data, kafka: {bootstrap: \"k:9092\", security: {sasl: {mechanism: plain, username: u, password: p}}}}",
        ),
        (
            "log: {directory: data}",
            "log: {directory: data, kafka: {bootstrap: \"k:9092\", security: {sasl: {mechanism: md5, username: u}}}}",
        ),
        (
            "log: {directory: data}",
            "log: {directory: data, kafka: {bootstrap: \"k:9092\", security: {tls: {certificate: c.pem}}}}",
        ),
        (
            "log: {directory: data}",
            "log: {directory: data, kafka: {bootstrap: \"k:9092\", security: {tls: {key_password_file: a, key_password_env: B}}}}",
        ),
        (
            "log: {directory: data}",
            "log: {directory: data, kafka: {bootstrap: \"k:9092\", options: {isolation.level: read_uncommitted}}}",
        ),
        (
            "log: {directory: data}",
            "log: {directory: data, kafka: {bootstrap: \"k:9092\", options: {sasl.password: hunter2}}}",
        ),
        (
            "log: {directory: data}",
            "log: {directory: data, kafka: {bootstrap: \"k:9092\", options: {no.such.option: 1}}}",
        ),
        (
            "log: {directory: data}",
            "log: {directory: data, kafka: {bootstrap: \"k:9092\", options: {fetch.wait.max.ms: soon}}}",
        ),
        ("log: {directory: data}", "log: {directory: data}\nschemas: {file: a.avsc}"),
        ("log: {directory: data}", "log: {directory: data}\nschemas: {files: [{ids: [7]}]}"),
        ("log: {directory: data}", "log: {directory: data}\nschemas: {files: [{file: a.avsc, ids: [-7]}]}"),
        ("log: {directory: data}", "log: {directory: data}\nschemas: {files: [{file: a.avsc, ids: [seven]}]}"),
        (
            "log: {directory: data}",
            "log: {directory: data}\nschemas: {files: [{file: a.avsc, ids: [7]}, {file: b.avsc, ids: [7]}]}",
        ),
        ("log: {directory: data}", "log: {directory: data}\nschemas: {registry: {username: u}}"),
        ("log: {directory: data}", "log: {directory: data}\nschemas: {registry: {url: \"registry:8081\"}}"),
        ("log: {directory: data}", "log: {directory: data}\nschemas: {registry: {url: \"http://u:hunter2@r\"}}"),
        ("log: {directory: data}", "log: {directory: data}\nschemas: {registry: {url: \"http://r\", username: u}}"),
        ("log: {directory: data}", "log: {directory: data}\nschemas: {registry: {url: \"http://r\", password: p}}"),
        (
            "log: {directory: data}",
            "log: {directory: data}\nschemas: {registry: {url: \"http://r\", username: u, password_file: a, password_env: B}}",
        ),
        ("log: {directory: data}", "log: {directory: data}\nschemas: {registry: {url: \"http://r\", password_env: B}}"),
        (
            "log: {directory: data}",
            "log: {directory: data}\nschemas: {registry: {url: \"https://r\", certificate: c.pem}}",
        ),
        ("log: {directory: data}", "log: {directory: data}\npartitions: 0"),
        ("log: {directory: data}", "log: {directory: data}\npartitions: many"),
        ("log: {directory: data}", "log: {directory: data}\nepoch: {interval: 0s}"),
        ("log: {directory: data}", "log: {directory: data}\napi: {listen: here}"),
        ("log: {directory: data}", "log: {directory: data}\napi: {in_flight: 0}"),
        ("log: {directory: data}", "log: {directory: data}\napi: {listen: \"0.0.0.0:9464\"}"),
        ("log: {directory: data}", "log: {directory: data}\napi: {hosts: [fine.example, \"no host\"]}"),
        ("log: {directory: data}", "log: {directory: data}\nartifacts: {url: \"ftp://x\"}"),
        ("log: {directory: data}", "log: {directory: data}\narchive: {roll_rows: 0}"),
        ("log: {directory: data}", "log: {directory: data}\nlabel_memory: 64KiB"),
        ("log: {directory: data}", "log: {directory: data}\nlog: {directory: data}"),
        ("  fraud:", "  Fraud Model:"),
        ("positive: \"1\"", "positive: \"0\""),
        (", negative: \"0\"", ""),
        ("type: binary", "type: regression"),
        ("type: binary", "type: ternary"),
        ("amount: numeric", "amount: number"),
        ("amount: numeric", "amount: {kind: numeric, privacy: hash}"),
        ("amount: numeric", "amount: {kind: numeric, secret: yes}"),
        (
            "country: categorical\n    windows: {size: 1h}",
            "country: {kind: categorical, privacy: profile_only}\n    windows: {size: 1h}\n    trainer: {builtin: {}}",
        ),
        ("amount: numeric", "label: numeric"),
        ("      amount: numeric\n      country: categorical", "      {}"),
        ("{size: 1h}", "{size: 1}"),
        ("{size: 1h}", "{size: 0s}"),
        ("{size: 1h}", "{size: 9999y}"),
        ("{size: 1h}", "{size: 1h, hop: 2h}"),
        ("{size: 1h}", "{size: 1h}\n    step: 2h"),
        ("{size: 1h}", "{size: 1h}\n    step: 7m"),
        ("{size: 1h}", "{size: 1h}\n    sequential: {ewma: true}"),
        ("{size: 1h}", "{size: 1h}\n    sequential: {cusum: true}"),
        ("{size: 1h}", "{size: 1h}\n    panel: {false_alarms: 1 per month}\n    sequential: {e_detector: true}"),
        ("{size: 1h}", "{size: 1h}\n    sequential: {adwin: soon}"),
        ("{size: 1h}", "{size: 1h}\n    step: 1h\n    labels: {}\n    panel: {false_alarms: 2 per 1 windows}"),
        ("{size: 1h}", "{size: 1h}\n    segments: {adult: \"age >\"}"),
        ("{size: 1h}", "{size: 1h}\n    segments: {adult: \"age > 18\"}"),
        ("{size: 1h}", "{size: 1h}\n    labels: {max_pending: 0}"),
        ("{size: 1h}", "{size: 1h}\n    labels: {mature: {coverage: 0.9}}"),
        ("{size: 1h}", "{size: 1h}\n    labels: {mature: {coverage: 90, at_most: 1d}}"),
        ("{size: 1h}", "{size: 1h}\n    labels: {absent_means: {label: none, after: 1d}}"),
        ("{size: 1h}", "{size: 1h}\n    panel: {hysteresis: {windows: 4, of: 3}}"),
        ("{size: 1h}", "{size: 1h}\n    panel: {min_rows: 0}"),
        ("{size: 1h}", "{size: 1h}\n    panel: {false_alarms: sometimes}"),
        ("{size: 1h}", "{size: 1h}\n    panel: {false_alarms: 1 per 5 years}"),
        ("{size: 1h}", "{size: 1h}\n    panel: {categorical: [ks]}"),
        ("{size: 1h}", "{size: 1h}\n    panel: {data_quality: {null_share: 2}}"),
        ("{size: 1h}", "{size: 1h}\n    panel:\n      thresholds:\n        fixed: {psi: 0.2}"),
        ("{size: 1h}", "{size: 1h}\n    retrain: {gate: {alpha: 2}}"),
        ("{size: 1h}", "{size: 1h}\n    retrain:\n      max_attempts: 0"),
        ("{size: 1h}", "{size: 1h}\n    retrain: {schedule: mondays}"),
        ("{size: 1h}", "{size: 1h}\n    trainer: {command: {program: \"\"}}"),
        ("{size: 1h}", "{size: 1h}\n    trainer: {builtin: {alpha: 1}}"),
        ("{size: 1h}", "{size: 1h}\n    trainer: {builtin: {}}\n    retrain: {parameters: {alhpa: \"1\"}}"),
        ("{size: 1h}", "{size: 1h}\n    trainer: {builtin: {}}\n    retrain: {parameters: {alpha: \"-1\"}}"),
        ("{size: 1h}", "{size: 1h}\n    map: {features: {amount: a.b}}"),
        ("{size: 1h}", "{size: 1h}\n    map: {id: i, time: t, features: {amuont: a.b}}"),
        ("{size: 1h}", "{size: 1h}\n    map: {id: i, time: t, segment: {ward: w}}"),
        ("{size: 1h}", "{size: 1h}\n    map: {id: a..b, time: t}"),
        ("{size: 1h}", "{size: 1h}\n    reference: {file: r.csv, train: true}"),
        ("{size: 1h}", "{size: 1h}\n    reference: {file: r.csv, columns: {score: {a: b}}}"),
        ("{size: 1h}", "{size: 1h}\n    reference: {file: r.csv, columns: {time: t, start: now}}"),
        ("{size: 1h}", "{size: 1h}\n    reference: {file: r.csv, columns: {time: t, interval: 1s}}"),
        ("{size: 1h}", "{size: 1h}\n    reference: {file: r.csv, columns: {segments: {ward: w}}}"),
    ];
    let mut messages = String::new();
    for (whole, broken) in breaks {
        let text = VALID.replace(whole, broken);
        assert_ne!(text, VALID, "{whole} is not in the valid configuration");
        messages += &format!("# {}\n{}\n\n", broken.replace('\n', "⏎"), parse(&text).unwrap_err());
    }
    expect_file!["../mistakes.txt"].assert_eq(&messages);
}

#[test]
fn settings_that_work_but_hardly_as_meant_are_found() {
    let text = VALID
        .replace("{directory: data}", "{directory: data, retention: {age: 1d}}\napi: {metrics_listen: \"0.0.0.0:80\"}")
        .replace(
            "{size: 1h}",
            "{size: 5m}\n    retrain: {every_labelled_rows: 10}\n    labels: {mature: {after: 40d}}",
        );
    check_findings(
        &text,
        &expect![[r#"
        api.metrics_listen: 0.0.0.0:80 can be reached from other machines, and shows metrics and health to everyone: let a firewall or a network policy decide who that is
        models.fraud.windows.size: windows of 5m are shorter than max_disorder 10m: each is judged long after it ended; lengthen the windows or allow less disorder
        models.fraud.labels.mature: labels are judged after 1month 9days 13h 26m 24s, but a prediction waits for its label 30days only: lengthen the horizon
        models.fraud.retrain: without a `trainer` the model is never retrained"#]],
    );
}

#[test]
fn a_label_horizon_beyond_the_topics_and_the_archive_is_refused_and_one_within_either_is_not() {
    let with = |retention: &str, keep: &str| {
        let log = format!("{{directory: data, retention: {retention}}}\narchive: {keep}");
        let text = VALID.replace("{directory: data}", &log);
        parse(&text.replace("{size: 1h}", "{size: 1h}\n    labels: {horizon: 30d}"))
    };
    let message = with("{age: 7d}", "{keep: 20d}").unwrap_err().to_string();
    expect!["etc/driftline.yaml:11: models.fraud.labels.horizon: predictions of fraud wait 30days 1h 10m for their labels (a horizon of 30days, a window of 1h, and max_disorder 10m), and are kept nowhere as long: their topics keep them 7days (log.retention.age; on Kafka also the topics' own retention.ms), and the archive 20days (archive.keep); shorten models.fraud.labels.horizon, or have either keep them longer"].assert_eq(&message);
    // A window and the disorder are part of what is needed.
    assert!(with("{age: 7d}", "{keep: 30d}").is_err());
    for (retention, keep) in
        [("{age: 7d}", "{keep: 31d}"), ("{age: 7d}", "{}"), ("{age: 31d}", "{keep: 1d}"), ("{}", "{keep: 1d}")]
    {
        assert!(with(retention, keep).is_ok(), "{retention} {keep}");
    }
}

#[test]
fn a_trainer_without_labels_is_found() {
    let text = VALID.replace("{size: 1h}", "{size: 1h}\n    trainer: {builtin: {}}");
    check_findings(
        &text,
        &expect!["models.fraud.labels: without labels no challenger is ever trained or judged: say when they come"],
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let message = Config::load(Path::new("nowhere/driftline.yaml")).unwrap_err().to_string();
    assert!(message.starts_with("cannot read the configuration nowhere/driftline.yaml"), "{message}");
}
