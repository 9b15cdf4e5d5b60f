//! Configurations and command lines that cannot be: what is said of them, the exit code, and that nothing is written.

/// A command line, perhaps with a configuration.
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) configuration: Configuration,
    pub(super) arguments: &'static [&'static str],
    pub(super) exit: i32,
    pub(super) says: &'static str,
}

pub(super) enum Configuration {
    /// There is none.
    Missing,
    /// There is a folder of its name.
    Folder,
    /// [`VALID`].
    Valid,
    /// [`VALID`] with one text in place of another.
    Broken(&'static str, &'static str),
}

pub(super) const VALID: &str = "\
version: 1
log: {directory: driftline-data}
api: {listen: \"127.0.0.1:0\"}
models:
  loan:
    task: {type: binary, positive: \"yes\", negative: \"no\"}
    features: {amount: numeric, country: categorical}
    windows: {size: 1h}
";

/// A table of settings: `name: configuration, arguments => exit code, message;`.
macro_rules! settings {
    ($($name:literal : $configuration:expr, $arguments:expr => $exit:literal, $says:literal;)*) => {
        &[$(Setting {
            name: $name,
            configuration: $configuration,
            arguments: &$arguments,
            exit: $exit,
            says: $says,
        }),*]
    };
}

use Configuration::{Broken, Folder, Missing, Valid};

pub(super) const SETTINGS: &[Setting] = settings! {
    "no configuration":
        Missing, ["run"]
        => 2, "cannot read the configuration driftline.yaml: No such file or directory (os error 2); name an existing file with --config, or write one with `driftline init`";
    "a configuration elsewhere":
        Valid, ["check", "--config", "etc/driftline.yaml"]
        => 2, "cannot read the configuration etc/driftline.yaml: No such file or directory (os error 2); name an existing file with --config, or write one with `driftline init`";
    "a folder for a configuration":
        Folder, ["check"]
        => 2, "cannot read the configuration driftline.yaml: Is a directory (os error 21); name an existing file with --config, or write one with `driftline init`";
    "an unknown key":
        Broken("log:", "lgo:"), ["run"]
        => 2, "driftline.yaml:2: lgo: unknown field `lgo`, expected one of version, log, partitions, api, metrics, artifacts, archive, epoch, idle_after, max_disorder, label_memory, stage_failure, privacy, onnxruntime, schemas, models";
    "an unknown key within a section":
        Broken("{directory: driftline-data}", "{directory: driftline-data, durable: full}"), ["check"]
        => 2, "driftline.yaml:2: log.durable: unknown field `durable`, expected one of directory, durability, retention, kafka";
    "a version that is not known":
        Broken("version: 1", "version: 2"), ["check"]
        => 2, "driftline.yaml:1: version: this driftline reads version 1 of the format, the file has version 2: install the driftline that wrote it";
    "no models":
        Broken("models:\n  loan:", "models: {}\nunused:\n  loan:"), ["check"]
        => 2, "driftline.yaml:5: unused: unknown field `unused`, expected one of version, log, partitions, api, metrics, artifacts, archive, epoch, idle_after, max_disorder, label_memory, stage_failure, privacy, onnxruntime, schemas, models";
    "a bracket that is not closed":
        Broken("driftline-data}", "driftline-data"), ["check"]
        => 2, "driftline.yaml:3: log: while parsing a flow mapping, did not find expected ',' or '}'";
    "a key twice":
        Broken("api:", "log: {directory: other}\napi:"), ["check"]
        => 2, "driftline.yaml:3: duplicate mapping key: log: keep one";
    "a duration without a unit":
        Broken("{size: 1h}", "{size: 60}"), ["check"]
        => 2, "driftline.yaml:8: models.loan.windows.size: `60` is not a duration (time unit needed, for example 60sec or 60ms): write a number and a unit, as `90s`, `1h` or `7d`";
    "a duration of an unknown unit":
        Broken("{size: 1h}", "{size: 1fortnight}"), ["check"]
        => 2, "driftline.yaml:8: models.loan.windows.size: `1fortnight` is not a duration (unknown time unit \"fortnight\", supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations)): write a number and a unit, as `90s`, `1h` or `7d`";
    "a size of an unknown unit":
        Broken("api: {", "api: {max_body: 8 boxes, "), ["check"]
        => 2, "driftline.yaml:3: api.max_body: `8 boxes` is not a size in bytes: write a whole number and a unit, as `8MiB` or `20GB`";
    "a class that is missing":
        Broken(", negative: \"no\"", ""), ["check"]
        => 2, "driftline.yaml:6: models.loan.task: `negative` is missing: a binary task names its two classes";
    "a feature of an unknown kind":
        Broken("amount: numeric", "amount: money"), ["check"]
        => 2, "driftline.yaml:7: models.loan.features.amount: unknown variant `money`, expected one of numeric, categorical";
    "a segment of an unknown column":
        Broken("    windows:", "    segments: {old: \"age > 60\"}\n    windows:"), ["check"]
        => 2, "driftline.yaml:8: models.loan.segments.old: `age > 60` cannot be a segment (Schema error: No field named age. Valid fields are log_partition, log_offset, log_index, event_id, event_time_ms, append_time_ms, model_version, amount, country, prediction, score, label, sampling_rate, weight, wrong_type.): write an SQL expression over the features, as `CASE WHEN age < 65 THEN 'young' ELSE 'old' END`, or `from_event`";
    "a hash without a key":
        Broken("country: categorical", "country: {kind: categorical, privacy: hash}"), ["run"]
        => 2, "driftline.yaml: a feature has `privacy: hash`, or is a category with `profile_only`, but there is no key: put at least 16 random bytes into a file named by privacy.hash_key_file, or set DRIFTLINE_HASH_KEY";
    "a reference that is not there":
        Broken("    windows:", "    reference: {file: nowhere.csv}\n    windows:"), ["run"]
        => 2, "models.loan.reference: cannot read nowhere.csv (No such file or directory (os error 2)): name a file that is there and may be read";
    "a reference that is not there, checked":
        Broken("    windows:", "    reference: {file: nowhere.csv}\n    windows:"), ["check"]
        => 0, "models.loan.reference.file: there is no file nowhere.csv: without it the first `driftline run` fails; put it there, or correct the path\ndriftline.yaml: 1 model(s), 1 finding(s)";
    "an unknown stage":
        Valid, ["run", "--stages", "capture,moniter"]
        => 2, "no stage `moniter`: the stages are capture, archive, monitor, controller, trainer";
    "an unknown model to replay":
        Valid, ["replay", "driftline.yaml", "--model", "laon"]
        => 2, "no model `laon` in driftline.yaml: it is one of loan";
    "a file of rows that is not there":
        Valid, ["replay", "rows.csv", "--model", "loan"]
        => 2, "cannot read rows.csv (No such file or directory (os error 2)): name a file that is there and may be read";
    "an unknown model to refer to":
        Valid, ["reference", "--model", "laon", "--from-file", "driftline.yaml"]
        => 2, "no model `laon` in driftline.yaml: it is one of loan";
    "nothing to learn from":
        Valid, ["reference", "--model", "loan"]
        => 2, "no rows to learn from: give --from-file, or --from and --until, or configure `reference`";
    "an unknown command":
        Valid, ["rnu"]
        => 2, "error: unrecognized subcommand 'rnu'";
    "an unknown flag":
        Valid, ["run", "--port", "80"]
        => 2, "error: unexpected argument '--port' found";
    "a model that is not named":
        Valid, ["replay", "rows.csv"]
        => 2, "error: the following required arguments were not provided:\n  --model <MODEL>";
    "a speed of no number":
        Valid, ["replay", "rows.csv", "--model", "loan", "--speed", "fast"]
        => 2, "error: invalid value 'fast' for '--speed <SPEED>': write `max`, or a multiple of event time as `60x`";
    "two delays of labels":
        Valid, ["replay", "rows.csv", "--model", "loan", "--label-delay", "2h", "--label-delay-rows", "3"]
        => 2, "error: the argument '--label-delay <DURATION>' cannot be used with '--label-delay-rows <ROWS>'";
    "a moment that is none":
        Valid, ["reference", "--model", "loan", "--from", "noon", "--until", "2026-01-01T00:00:00Z"]
        => 2, "error: invalid value 'noon' for '--from <TIME>': timestamp format is invalid: write it as `2026-01-31T08:00:00Z`";
    "an address that is none":
        Valid, ["demo", "--listen", "here"]
        => 2, "error: invalid value 'here' for '--listen <ADDRESS>': write an address and a port, as `127.0.0.1:9464`";
    "a promotion without a reason":
        Valid, ["models", "promote", "loan", "v2", "--expect", "v1"]
        => 2, "a version that won its trial is promoted by itself; to promote another past the gate give --override REASON";
    "no service at that address":
        Valid, ["models", "list", "--url", "http://127.0.0.1:1"]
        => 4, "no driftline answers at http://127.0.0.1:1 (io: Connection refused (os error 111)): start it with `driftline run`, or name another with --url";
    "an address without a service":
        Valid, ["retrain", "loan", "--reason", "because", "--url", "nowhere"]
        => 4, "no driftline answers at nowhere (http: invalid format): start it with `driftline run`, or name another with --url";
};
