//! What keeps the monitor from seeing: nobody would be told of harm.

use super::{Alert, Urgency};

pub(super) const ALL: &[Alert] = &[
    Alert {
        name: "DriftlineDown",
        urgency: Urgency::Page,
        expr: "absent(driftline_build_info)",
        lasting: "5m",
        summary: "no driftline is scraped",
        description: "Nothing is watched, or Prometheus does not reach it: then none of the other alerts means anything.",
    },
    Alert {
        name: "DriftlineMonitorStandsStill",
        urgency: Urgency::Page,
        expr: r#"
            min by (model) (driftline_windows_without_verdict) >= 3
            and on (model) model:driftline_events:rate10m > 0"#,
        lasting: "10m",
        summary: "{{ $value }} windows of {{ $labels.model }} have passed without a verdict, and events come",
        description: "Capture goes on and the monitor does not: harm would not be seen.",
    },
    Alert {
        name: "DriftlineBlind",
        urgency: Urgency::Ticket,
        expr: r#"
            model:driftline_drift_unjudged:seconds
            > on (model) (3 * max by (model) (driftline_model_window_seconds) + 900)
            and on (model) model:driftline_events:rate10m > 0"#,
        lasting: "",
        summary: "no window of {{ $labels.model }} could be judged for {{ $value | humanizeDuration }}",
        description: r#"
            Its events come, and its windows cannot be judged.
            {{- range query (printf "max by (why) (driftline_window_unjudged{model=%q,monitor=\"drift\"})" $labels.model) }}
            The last: {{ .Labels.why }}.{{ end }}"#,
    },
    Alert {
        name: "DriftlineBlindToQuality",
        urgency: Urgency::Ticket,
        expr: r#"
            model:driftline_quality_unjudged:seconds
            > on (model) (
              3 * max by (model) (driftline_model_window_seconds)
              + max by (model) (driftline_model_labels_mature_seconds) + 900
            )
            and on (model) model:driftline_events:rate10m > 0"#,
        lasting: "",
        summary: "the quality of {{ $labels.model }} could not be judged for {{ $value | humanizeDuration }}",
        description: r#"
            Its events come; labels do not, or not enough of them.
            {{- range query (printf "time() - max(driftline_last_label_timestamp_seconds{model=%q})" $labels.model) }}
            The last label came {{ .Value | humanizeDuration }} ago.{{ end }}"#,
    },
    Alert {
        name: "DriftlineThresholdsNotLearned",
        urgency: Urgency::Ticket,
        expr: r#"
            max by (model, version, why) (
              driftline_window_unjudged{
                monitor="drift", why=~"learning|reference_too_short|out_of_reach|not_in_reference"
              }
            ) == 1
            and on (model, version) model_version:driftline_answers:max"#,
        lasting: "30m",
        summary: "{{ $labels.model }} {{ $labels.version }} has no thresholds to be judged by: {{ $labels.why }}",
        description: "Its reference is missing, too short for the budget of false alarms, or not of these rows.",
    },
    Alert {
        name: "DriftlineEventsStopped",
        urgency: Urgency::Ticket,
        expr: r#"
            time() - max by (model) (driftline_last_event_timestamp_seconds)
            > on (model) (3 * max by (model) (driftline_model_window_seconds) + 900)"#,
        lasting: "",
        summary: "no event of {{ $labels.model }} has come for {{ $value | humanizeDuration }}",
        description: "It had events before. Either nobody asks the model any more, or what writes them has stopped.",
    },
    Alert {
        name: "DriftlineLag",
        urgency: Urgency::Ticket,
        expr: "max by (stage) (driftline_stage_lag_seconds) > 300",
        lasting: "10m",
        summary: "stage {{ $labels.stage }} is {{ $value | humanizeDuration }} behind its input",
        description: "What it does not keep up with is judged, archived or trained on later.",
    },
    Alert {
        name: "DriftlinePartitionBehind",
        urgency: Urgency::Ticket,
        expr: r#"max by (topic, partition) (driftline_watermark_behind_seconds{topic="inferences"}) > 600"#,
        lasting: "15m",
        summary: "windows wait for {{ $labels.topic }}/{{ $labels.partition }}, {{ $value | humanizeDuration }} behind",
        description: "Its events are old, or a producer's clock is slow. Windows close when the slowest partition passes their end.",
    },
];
