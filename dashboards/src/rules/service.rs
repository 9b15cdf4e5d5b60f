//! What goes wrong in the service, and with what it is sent.

use super::{Alert, Urgency};

pub(super) const ALL: &[Alert] = &[
    Alert {
        name: "DriftlineStageDown",
        urgency: Urgency::Page,
        expr: "max by (stage) (driftline_stage_up) == 0",
        lasting: "5m",
        summary: "stage {{ $labels.stage }} is down",
        description: r#"
            No process runs it.
            {{- range query (printf "sum(driftline_stage_ended_total{stage=%q}) > 0" $labels.stage) }}
            It failed for good: it does nothing until what is wrong is mended and driftline started again.{{ end }}
            The log has the error; /readyz names the stage."#,
    },
    Alert {
        name: "DriftlineStageRestarts",
        urgency: Urgency::Ticket,
        expr: r#"sum by (stage, cause) (increase(driftline_stage_restarts_total{cause!="displaced"}[30m])) > 3"#,
        lasting: "",
        summary: "stage {{ $labels.stage }} is rebuilt again and again: {{ $labels.cause }}",
        description: "Each time it reads again what it had not committed. The log has the errors.",
    },
    Alert {
        name: "DriftlineDeadLetters",
        urgency: Urgency::Ticket,
        expr: r#"
            max by (topic) (
              sum by (topic, instance, job) (increase(driftline_dead_letters_total[15m]))
              and on (instance, job) (time() - process_start_time_seconds > 900)
            ) > 0"#,
        lasting: "",
        summary: "rows of {{ $labels.topic }} became dead letters",
        description: r#"
            By what is wrong with them:
            {{- range query (printf "topk(3, sum by (reason) (increase(driftline_dead_letters_total{topic=%q}[15m])) > 0)" $labels.topic) }}
            {{ .Labels.reason }}: about {{ .Value | printf "%.0f" }}.{{ end }}
            They are in the topic {{ $labels.topic }}-dlt, each with what is wrong with it."#,
    },
    Alert {
        name: "DriftlineRowsRefused",
        urgency: Urgency::Ticket,
        expr: "sum by (kind, reason) (increase(driftline_intake_rejected_total[15m])) > 0",
        lasting: "",
        summary: "{{ $labels.kind }} sent over HTTP are refused: {{ $labels.reason }}",
        description: "The sender was told which rows and why; they are not stored.",
    },
    Alert {
        name: "DriftlineSeriesCapped",
        urgency: Urgency::Ticket,
        expr: "max by (metric) (increase(driftline_series_capped_total[15m])) > 0",
        lasting: "",
        summary: "{{ $labels.metric }} has as many series as it may have",
        description: "Some are missing: alerts and panels do not see them. Most often a version or a segment has a value for each row.",
    },
    Alert {
        name: "DriftlineDiskFull",
        urgency: Urgency::Page,
        expr: "min by (part, instance) (driftline_disk_free_bytes) < 1e9",
        lasting: "5m",
        summary: "less than a gigabyte is free where driftline keeps its {{ $labels.part }}: {{ $value | humanize1024 }}B",
        description: "When it is full nothing is captured any more. What takes the room is in driftline_disk_used_bytes.",
    },
];
