//! Every model at a glance: who is harmed, who cannot be seen, and what has moved.

use super::{Panel, PanelKind, ReadModel, query, query_or_none};

const NO_DRIFT: &str = "nothing drifts";
const NO_LABELS: &str = "no model has labels";
const NO_TRAINER: &str = "no model is retrained";

pub(super) const BOARD: ReadModel = ReadModel {
    uid: "driftline-fleet",
    title: "Driftline / Fleet",
    description: "Every model at a glance: who is harmed, who cannot be seen, and what has moved.",
    variables: &[],
    marks_promotions: false,
    panels: &[
        Panel {
            kind: PanelKind::Number,
            title: "Models",
            description: "Models that are configured.",
            unit: "short",
            width: 4,
            queries: &[query("max(driftline_models)", "models")],
        },
        Panel {
            kind: PanelKind::Trouble,
            title: "Worse than their references",
            description: "Models whose quality has fallen, by matured labels. This is harm.",
            unit: "short",
            width: 5,
            queries: &[query(
                r#"count(max by (model) (driftline_drift_state{monitor="quality", segment="all", state="drift"}) == 1) or vector(0)"#,
                "models",
            )],
        },
        Panel {
            kind: PanelKind::Trouble,
            title: "Newest window not judged",
            description: "Models whose newest window could not be judged: of them nothing is known.",
            unit: "short",
            width: 5,
            queries: &[query(
                r#"count(min by (model) (driftline_window_judged{monitor="drift", segment="all"}) == 0) or vector(0)"#,
                "models",
            )],
        },
        Panel {
            kind: PanelKind::Trouble,
            title: "Inputs drift",
            description: "Models whose inputs or answers are not what they were. By itself that is no harm.",
            unit: "short",
            width: 5,
            queries: &[query(
                r#"count(max by (model) (driftline_drift_state{monitor="drift", state="drift"}) == 1) or vector(0)"#,
                "models",
            )],
        },
        Panel {
            kind: PanelKind::Trouble,
            title: "Faulty data",
            description: "Models whose inputs have far more odd values than their references.",
            unit: "short",
            width: 5,
            queries: &[query(
                r#"count(max by (model) (driftline_drift_state{monitor="data_quality", state="drift"}) == 1) or vector(0)"#,
                "models",
            )],
        },
        Panel {
            kind: PanelKind::States,
            title: "Quality, by model",
            description: "Red while the quality of a model's traffic is below its reference.",
            unit: "short",
            width: 12,
            queries: &[query_or_none(
                r#"max by (model) (driftline_drift_state{monitor="quality", segment="all", state="drift"})"#,
                "{{model}}",
                NO_LABELS,
            )],
        },
        Panel {
            kind: PanelKind::States,
            title: "Inputs and answers, by model",
            description: "Red while the distributions of a model's traffic are not those of its reference.",
            unit: "short",
            width: 12,
            queries: &[query(
                r#"max by (model) (driftline_drift_state{monitor="drift", segment="all", state="drift"})"#,
                "{{model}}",
            )],
        },
        Panel {
            kind: PanelKind::Table,
            title: "Furthest past their thresholds",
            description: "The worst tests of all models on one scale: above 1 a threshold is passed.",
            unit: "short",
            width: 12,
            queries: &[query(
                "topk(20, max by (model, version, segment, monitor, kind, column, test) (driftline_drift_score_ratio))",
                "{{model}} {{column}} {{test}}",
            )],
        },
        Panel {
            kind: PanelKind::Table,
            title: "Columns that carry the drift",
            description: "Which columns have what part of the drift of which model.",
            unit: "percentunit",
            width: 12,
            queries: &[query_or_none(
                r#"topk(20, max by (model, version, column) (driftline_drift_contribution_ratio{segment="all"}))"#,
                "{{model}} {{column}}",
                NO_DRIFT,
            )],
        },
        Panel {
            kind: PanelKind::Lines,
            title: "Windows without a verdict",
            description: "Windows that event time has passed without a verdict: without rows, or not judged yet.",
            unit: "short",
            width: 12,
            queries: &[query("topk(10, min by (model) (driftline_windows_without_verdict))", "{{model}}")],
        },
        Panel {
            kind: PanelKind::Lines,
            title: "Tests past their thresholds",
            description: "How many tests of a model's traffic are past their thresholds.",
            unit: "short",
            width: 12,
            queries: &[query(
                r#"topk(10, sum by (model) (max by (model, version, monitor) (driftline_exceeded_tests{segment="all"})))"#,
                "{{model}}",
            )],
        },
        Panel {
            kind: PanelKind::Lines,
            title: "Rows captured",
            description: "Rows a second of the busiest models.",
            unit: "reqps",
            width: 12,
            queries: &[query("topk(10, max by (model) (rate(driftline_events_total[$__rate_interval])))", "{{model}}")],
        },
        Panel {
            kind: PanelKind::Lines,
            title: "Rows with a label",
            description: "The share of the newest final window's rows that have one, of the models that have least.",
            unit: "percentunit",
            width: 12,
            queries: &[query_or_none(
                r#"bottomk(10, max by (model) (driftline_label_coverage_ratio{segment="all", finality="final"}))"#,
                "{{model}}",
                NO_LABELS,
            )],
        },
        Panel {
            kind: PanelKind::Lines,
            title: "Verdicts",
            description: "Final verdicts a second, by what windows came to.",
            unit: "cps",
            width: 12,
            queries: &[query(
                "sum by (severity) (max by (model, monitor, severity) (rate(driftline_verdicts_total[$__rate_interval])))",
                "{{severity}}",
            )],
        },
        Panel {
            kind: PanelKind::Table,
            title: "Retraining under way",
            description: "Models whose retraining is not idle, and where it stands.",
            unit: "short",
            width: 12,
            queries: &[query_or_none(
                r#"max by (model, state) (driftline_retrain_state{state!="idle"}) == 1"#,
                "{{model}} {{state}}",
                NO_TRAINER,
            )],
        },
        Panel {
            kind: PanelKind::Table,
            title: "Age of champions",
            description: "How long the version that answers has answered.",
            unit: "s",
            width: 8,
            queries: &[query_or_none(
                "time() - max by (model, version) (driftline_champion_since_timestamp_seconds)",
                "{{model}} {{version}}",
                "no model has a champion",
            )],
        },
        Panel {
            kind: PanelKind::Table,
            title: "Age of references",
            description: "How long ago what windows are held against was learned.",
            unit: "s",
            width: 8,
            queries: &[query_or_none(
                "time() - max by (model, version) (driftline_reference_learned_timestamp_seconds)",
                "{{model}} {{version}}",
                "no model has a reference",
            )],
        },
        Panel {
            kind: PanelKind::Table,
            title: "Last trainings",
            description: "How long ago a training last brought a version.",
            unit: "s",
            width: 8,
            queries: &[query_or_none(
                "time() - max by (model) (driftline_last_training_timestamp_seconds)",
                "{{model}}",
                "nothing was trained yet",
            )],
        },
    ],
};
