//! What several rules and panels ask for.

use super::Recording;

pub(super) const ALL: &[Recording] = &[
    // A model whose versions nobody registers has no champion: then every version that has windows answers.
    Recording {
        name: "model_version:driftline_answers:max",
        expr: r#"
            max by (model, version) (driftline_model_info{role="champion"})
            or
            (
              max by (model, version) (driftline_window_judged{segment="all"} >= bool 0)
              unless on (model) max by (model) (driftline_model_info{role="champion"})
            )"#,
    },
    Recording {
        name: "model_version_segment_monitor:driftline_drift:max",
        expr: r#"max by (model, version, segment, monitor) (driftline_drift_state{state="drift"})"#,
    },
    Recording { name: "model:driftline_events:rate10m", expr: "max by (model) (rate(driftline_events_total[10m]))" },
    // Before the first judgement, since there was a reference to judge by.
    Recording {
        name: "model:driftline_drift_unjudged:seconds",
        expr: r#"
            time() - (
              max by (model) (driftline_last_judged_timestamp_seconds{monitor="drift"})
              or max by (model) (driftline_reference_learned_timestamp_seconds)
            )"#,
    },
    Recording {
        name: "model:driftline_quality_unjudged:seconds",
        expr: r#"
            time() - (
              max by (model) (driftline_last_judged_timestamp_seconds{monitor="quality"})
              or max by (model) (driftline_reference_learned_timestamp_seconds)
            )
            and on (model) max by (model) (driftline_model_labels_mature_seconds)"#,
    },
];
