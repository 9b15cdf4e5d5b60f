//! What explains harm, and is no harm by itself.

use super::{Alert, Urgency};

pub(super) const ALL: &[Alert] = &[
    Alert {
        name: "DriftlineInputsDrift",
        urgency: Urgency::Ticket,
        expr: r#"
            max by (model, version) (model_version_segment_monitor:driftline_drift:max{monitor="drift"}) == 1
            and on (model, version) model_version:driftline_answers:max"#,
        lasting: "",
        summary: "the inputs or answers of {{ $labels.model }} {{ $labels.version }} have changed",
        description: r#"
            Their distributions are not those of its reference.
            {{- range query (printf "topk(3, max by (column) (driftline_drift_contribution_ratio{model=%q,version=%q,segment=\"all\"}))" $labels.model $labels.version) }}
            Column {{ .Labels.column }} has {{ .Value | humanizePercentage }} of it.{{ end }}
            Whether that harms is for the quality to say."#,
    },
    Alert {
        name: "DriftlineDataFault",
        urgency: Urgency::Ticket,
        expr: r#"
            max by (model, version) (model_version_segment_monitor:driftline_drift:max{monitor="data_quality"}) == 1
            and on (model, version) model_version:driftline_answers:max"#,
        lasting: "",
        summary: "the data of {{ $labels.model }} {{ $labels.version }} is faulty",
        description: r#"
            More than its reference ever had.
            {{- range query (printf "topk(3, max by (column, test) (driftline_drift_score_ratio{model=%q,version=%q,monitor=\"data_quality\"} > 1))" $labels.model $labels.version) }}
            {{ .Labels.test }} of {{ .Labels.column }} is {{ .Value | printf "%.1f" }} times what it may be.{{ end }}
            This is a broken feed more often than a changed world."#,
    },
];
