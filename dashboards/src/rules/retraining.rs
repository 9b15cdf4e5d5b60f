//! What becomes of alarms, where people have to know.

use super::{Alert, Urgency};

pub(super) const ALL: &[Alert] = &[
    Alert {
        name: "DriftlineTrainingFailed",
        urgency: Urgency::Ticket,
        expr: r#"
            max by (model) (
              increase(driftline_trainings_total{outcome="failed"}[30m])
              and on (instance, job) (time() - process_start_time_seconds > 1800)
            ) > 0"#,
        lasting: "",
        summary: "a training of {{ $labels.model }} failed",
        description: "The champion answers on. `driftline models show` has the last lines that the trainer wrote.",
    },
    Alert {
        name: "DriftlineRetrainingRefused",
        urgency: Urgency::Ticket,
        expr: r#"
            max by (model, why) (
              increase(
                driftline_retrain_refusals_total{why=~"budget|held_by_roll_back|older_than_training|not_the_champion"}[1h]
              )
              and on (instance, job) (time() - process_start_time_seconds > 3600)
            ) > 0"#,
        lasting: "",
        summary: "{{ $labels.model }} should be retrained and is not: {{ $labels.why }}",
        description: "A cause that would have led to a training was turned down. What it was is in the model's history.",
    },
    Alert {
        name: "DriftlineRetrainingWaits",
        urgency: Urgency::Ticket,
        expr: r#"max by (model) (driftline_retrain_state{state=~"requested|waiting"}) == 1"#,
        lasting: "6h",
        summary: "the retraining of {{ $labels.model }} has waited for six hours",
        description: r#"
            Labelled rows or a data fault hold it up.
            {{- range query (printf "max(driftline_episode_labelled_rows{model=%q})" $labels.model) }}
            It has {{ .Value }} labelled rows since the change{{ end }}{{- range query (printf "max(driftline_episode_needed_rows{model=%q})" $labels.model) }},
            and needs {{ .Value }}.{{ end }}"#,
    },
    Alert {
        name: "DriftlineEpisodeWithoutRecovery",
        urgency: Urgency::Ticket,
        expr: r#"
            max by (model, outcome) (
              increase(driftline_episodes_total{outcome=~"given_up|no_better_model"}[30m])
              and on (instance, job) (time() - process_start_time_seconds > 1800)
            ) > 0"#,
        lasting: "",
        summary: "the retraining of {{ $labels.model }} ended without recovery: {{ $labels.outcome }}",
        description: "The champion is the best that could be had from these rows, and is not as good as it was.",
    },
    Alert {
        name: "DriftlinePromotion",
        urgency: Urgency::Info,
        expr: r#"
            max by (model, by) (
              increase(driftline_promotions_total{by!="first_version"}[15m])
              and on (instance, job) (time() - process_start_time_seconds > 900)
            ) > 0"#,
        lasting: "",
        summary: "another version of {{ $labels.model }} answers now, by right of {{ $labels.by }}",
        description: r#"
            The champion has changed.
            {{- range query (printf "max by (version) (driftline_model_info{model=%q,role=\"champion\"})" $labels.model) }}
            It is {{ .Labels.version }}.{{ end }}
            `driftline models rollback` takes it back."#,
    },
    Alert {
        name: "DriftlineRolledBack",
        urgency: Urgency::Info,
        expr: r#"
            max by (model) (
              increase(driftline_rollbacks_total[15m])
              and on (instance, job) (time() - process_start_time_seconds > 900)
            ) > 0"#,
        lasting: "",
        summary: "{{ $labels.model }} went back to an earlier version",
        description: "Nothing is promoted until `driftline models release`.",
    },
    Alert {
        name: "DriftlinePublicationFails",
        urgency: Urgency::Ticket,
        expr: r#"max by (model) (increase(driftline_publications_total{outcome="failed"}[15m])) > 0"#,
        lasting: "15m",
        summary: "the champion of {{ $labels.model }} cannot be published",
        description: "The model server serves what it had before.",
    },
];
