//! Where in the traffic of a model it drifts, and where it does not.

use super::{MODEL, Panel, PanelKind, ReadModel, VERSION, query_or_none};

pub(super) const BOARD: ReadModel = ReadModel {
    uid: "driftline-segments",
    title: "Driftline / Segments",
    description: "Where in the traffic of a model it drifts, and where it does not.",
    variables: &[MODEL, VERSION],
    marks_promotions: true,
    panels: &[
        Panel {
            kind: PanelKind::States,
            title: "Segments that drift",
            description: "Red while the inputs or answers of a segment are not what they were. Stable segments are left out.",
            unit: "short",
            width: 24,
            queries: &[query_or_none(
                r#"max by (segment, monitor) (driftline_drift_state{model="$model", version=~"$version", segment!="all", state="drift"})"#,
                "{{segment}} {{monitor}}",
                "no segment drifts",
            )],
        },
        Panel {
            kind: PanelKind::Lines,
            title: "Rows",
            description: "Rows in the newest window, of the largest segments.",
            unit: "short",
            width: 12,
            queries: &[query_or_none(
                r#"topk(10, max by (segment) (driftline_window_rows{model="$model", version=~"$version", segment!="all", monitor="drift"}))"#,
                "{{segment}}",
                "the model has no segments",
            )],
        },
        Panel {
            kind: PanelKind::Lines,
            title: "Quality",
            description: "The metric that quality is judged by, of the worst segments.",
            unit: "short",
            width: 12,
            queries: &[
                query_or_none(
                    r#"bottomk(10, max by (segment, metric) (driftline_quality{model="$model", version=~"$version", segment!="all", finality="final", metric="accuracy"}))"#,
                    "{{segment}} {{metric}}",
                    "the model has no labels",
                ),
                query_or_none(
                    r#"topk(10, max by (segment, metric) (driftline_quality{model="$model", version=~"$version", segment!="all", finality="final", metric="mae"}))"#,
                    "{{segment}} {{metric}}",
                    "the model has no labels",
                ),
            ],
        },
        Panel {
            kind: PanelKind::Lines,
            title: "Quality against the reference",
            description: "How far below the segment's own reference the accuracy is, or how far above it the error.",
            unit: "short",
            width: 12,
            queries: &[query_or_none(
                r#"max by (segment, metric) (driftline_quality_baseline{model="$model", version=~"$version", segment!="all"}) - on (segment, metric) max by (segment, metric) (driftline_quality{model="$model", version=~"$version", segment!="all", finality="final"})"#,
                "{{segment}} {{metric}}",
                "no segment drifts",
            )],
        },
        Panel {
            kind: PanelKind::Lines,
            title: "Standard errors",
            description: "How sure the quality of a segment is: segments have few rows.",
            unit: "short",
            width: 12,
            queries: &[query_or_none(
                r#"max by (segment, metric) (driftline_quality_standard_error{model="$model", version=~"$version", segment!="all"})"#,
                "{{segment}} {{metric}}",
                "no segment drifts",
            )],
        },
        Panel {
            kind: PanelKind::Ratios,
            title: "Furthest past their thresholds",
            description: "The worst tests of segments, on one scale.",
            unit: "short",
            width: 12,
            queries: &[query_or_none(
                r#"topk(10, max by (segment, column, test) (driftline_drift_score_ratio{model="$model", version=~"$version", segment!="all"}))"#,
                "{{segment}} {{column}} {{test}}",
                "no segment drifts",
            )],
        },
        Panel {
            kind: PanelKind::Table,
            title: "Columns that carry the drift",
            description: "The first column of each segment that drifts, and how far it moved.",
            unit: "percentunit",
            width: 12,
            queries: &[
                query_or_none(
                    r#"max by (segment, column) (driftline_drift_contribution_ratio{model="$model", version=~"$version", segment!="all"})"#,
                    "{{segment}} {{column}}",
                    "no segment drifts",
                ),
                query_or_none(
                    r#"max by (segment, column) (driftline_drift_moved_ratio{model="$model", version=~"$version", segment!="all"})"#,
                    "{{segment}} {{column}}",
                    "no segment drifts",
                ),
            ],
        },
        Panel {
            kind: PanelKind::Lines,
            title: "Tests past their thresholds",
            description: "How many, of the segments that are not stable.",
            unit: "short",
            width: 12,
            queries: &[query_or_none(
                r#"topk(10, max by (segment, monitor) (driftline_exceeded_tests{model="$model", version=~"$version", segment!="all"}))"#,
                "{{segment}} {{monitor}}",
                "no segment drifts",
            )],
        },
        Panel {
            kind: PanelKind::Lines,
            title: "Rows with a label",
            description: "The share of a segment's rows that have one.",
            unit: "percentunit",
            width: 12,
            queries: &[query_or_none(
                r#"bottomk(10, max by (segment) (driftline_label_coverage_ratio{model="$model", version=~"$version", segment!="all", finality="final"}))"#,
                "{{segment}}",
                "no segment drifts",
            )],
        },
    ],
};
