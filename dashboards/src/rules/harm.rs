//! What pages because the model does harm: its answers have become worse.

use super::{Alert, Urgency};

pub(super) const ALL: &[Alert] = &[
    Alert {
        name: "DriftlineQualityFell",
        urgency: Urgency::Page,
        expr: r#"
            max by (model, version) (
              model_version_segment_monitor:driftline_drift:max{monitor="quality", segment="all"}
            ) == 1
            and on (model, version) model_version:driftline_answers:max"#,
        lasting: "",
        summary: "{{ $labels.model }} {{ $labels.version }} answers worse than its reference",
        description: r#"
            Matured labels say so in as many windows as its hysteresis asks.
            {{- range query (printf "max by (metric) (driftline_quality{model=%q,version=%q,segment=\"all\",finality=\"final\",metric=~\"accuracy|mae\"})" $labels.model $labels.version) }}
            Now {{ .Labels.metric }} {{ .Value | printf "%.3f" }}.{{ end }}
            {{- range query (printf "max by (metric) (driftline_quality_baseline{model=%q,version=%q,segment=\"all\"})" $labels.model $labels.version) }}
            In the reference {{ .Value | printf "%.3f" }}.{{ end }}"#,
    },
    Alert {
        name: "DriftlineSegmentQualityFell",
        urgency: Urgency::Ticket,
        expr: r#"
            count by (model, version) (
              model_version_segment_monitor:driftline_drift:max{monitor="quality", segment!="all"} == 1
            )
            and on (model, version) model_version:driftline_answers:max
            unless on (model, version) (
              model_version_segment_monitor:driftline_drift:max{monitor="quality", segment="all"} == 1
            )"#,
        lasting: "",
        summary: "{{ $labels.model }} {{ $labels.version }} answers worse in {{ $value }} segments, though not overall",
        description: "The model's page shows which segments, and what moved in them.",
    },
    Alert {
        name: "DriftlineErrorsRose",
        urgency: Urgency::Ticket,
        expr: r#"
            max by (model) (
              time() - max by (model, version) (
                driftline_last_drift_timestamp_seconds{monitor!~"drift|data_quality|quality"}
              ) < 3600
              and on (model, version) model_version:driftline_answers:max
            )"#,
        lasting: "",
        summary: "a sequential detector saw the errors of {{ $labels.model }} rise within the last hour",
        description: "It looks at single steps and so is earlier than the windows; the next of them confirm it, or do not.",
    },
];
