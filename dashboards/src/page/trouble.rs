//! How much a model needs somebody to look, worst first. Pure.
//!
//! Harm comes first, then blindness, because a model that nobody can judge may be harmed; then faults of the data, and only
//! then drift of the inputs, which explains harm and is none. What the champion's monitors say counts: of a version that
//! answers no more nothing is to be feared.

use crate::read_model::{ModelSummary, ReadModel, RetrainState, Standing, StandingKey};
use detectors::verdict::{Monitor, Severity, Verdict};
use std::sync::Arc;

/// What is the matter with a model, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// Quality is below the reference's.
    Harm,
    /// The last window could not be judged.
    Blind,
    /// The data are at fault.
    Fault,
    /// Inputs, prediction or score have drifted.
    Drift,
    /// A threshold was passed, in too few windows yet.
    Warning,
    /// There is nothing to compare with yet.
    Learning,
    /// No window has closed yet.
    Silent,
    /// Nothing.
    Quiet,
}

impl Trouble {
    /// Every one, worst first.
    pub(super) const ALL: [Self; 8] =
        [Self::Harm, Self::Blind, Self::Fault, Self::Drift, Self::Warning, Self::Learning, Self::Silent, Self::Quiet];

    /// In a word or two.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Harm => "quality fell",
            Self::Blind => "blind",
            Self::Fault => "data fault",
            Self::Drift => "drift",
            Self::Warning => "warning",
            Self::Learning => "learning",
            Self::Silent => "no window yet",
            Self::Quiet => "quiet",
        }
    }

    /// Its class in the stylesheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Harm => "harm",
            Self::Blind => "inconclusive",
            Self::Fault => "fault",
            Self::Drift => "drift",
            Self::Warning => "warning",
            Self::Learning | Self::Silent => "learning",
            Self::Quiet => "stable",
        }
    }

    /// A sign, so that it is never told by colour alone.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Harm => "■",
            Self::Blind => "?",
            Self::Fault => "✕",
            Self::Drift => "▲",
            Self::Warning => "◆",
            Self::Learning | Self::Silent => "◌",
            Self::Quiet => "●",
        }
    }

    /// What one monitor's standing amounts to.
    pub(super) fn of_standing(monitor: &Monitor, standing: &Standing) -> Self {
        match (monitor, standing.state()) {
            (Monitor::Quality | Monitor::Sequential(_), Some(Severity::Drift)) => Self::Harm,
            // A detector that the reference does not support leaves the window's own judgement of quality.
            (Monitor::Sequential(_), _) => Self::Quiet,
            (_, None) if standing.is_blind() => Self::Blind,
            (_, None) => Self::Learning,
            (Monitor::DataQuality, Some(Severity::Drift)) => Self::Fault,
            (Monitor::Drift, Some(Severity::Drift)) => Self::Drift,
            (_, Some(Severity::Warning)) => Self::Warning,
            (_, Some(Severity::Learning)) => Self::Learning,
            // What was found stays until it is judged away; where there is nothing found, not seeing is the trouble.
            _ if standing.is_blind() => Self::Blind,
            _ => Self::Quiet,
        }
    }
}

/// How a model fares.
pub(super) struct Health {
    /// The model in brief.
    pub(super) summary: ModelSummary,
    /// The worst there is.
    pub(super) trouble: Trouble,
    /// Since when; `None` where that is not known.
    pub(super) since_ms: Option<i64>,
    /// The verdict that says so.
    pub(super) evidence: Option<Arc<Verdict>>,
    /// The last judged quality of all traffic.
    pub(super) quality: Option<Arc<Verdict>>,
    /// The last verdict on quality, provisional or not: how many labels have come.
    pub(super) coverage: Option<Arc<Verdict>>,
    /// When the champion became it.
    pub(super) champion_since_ms: Option<i64>,
    /// End of the last window.
    pub(super) last_window_ms: Option<i64>,
    /// What people wait for, a sentence each.
    pub(super) waits: Vec<String>,
}

impl Health {
    /// Of every model, those in the worst trouble first, and of them those that have been for the longest.
    pub(super) fn of_fleet(read_model: &ReadModel) -> Vec<Self> {
        let mut fleet: Vec<_> = read_model.models().into_iter().map(|summary| Self::new(read_model, summary)).collect();
        fleet.sort_by(|a, b| {
            let key = |health: &Self| (health.trouble, health.since_ms.unwrap_or(i64::MAX));
            key(a).cmp(&key(b)).then_with(|| a.summary.model.cmp(&b.summary.model))
        });
        fleet
    }

    /// Of one model; `None` where nothing is known of it.
    pub(super) fn of_model(read_model: &ReadModel, model: &str) -> Option<Self> {
        let summary = read_model.model_summary(model)?;
        Some(Self::new(read_model, summary))
    }

    fn new(read_model: &ReadModel, summary: ModelSummary) -> Self {
        let model = summary.model.clone();
        let standings = answering(read_model.standings(&model), &summary);
        let worst =
            standings.iter().map(|(key, standing)| (Trouble::of_standing(&key.monitor, standing), key, standing));
        // A slice with too few rows is a matter of the slice.
        let is_told =
            |trouble: Trouble| matches!(trouble, Trouble::Harm | Trouble::Fault | Trouble::Drift | Trouble::Warning);
        let worst = worst.filter(|(trouble, key, _)| key.segment.is_none() || is_told(*trouble));
        let worst = worst.min_by_key(|(trouble, key, standing)| (*trouble, key.segment.is_some(), standing.since_ms));
        let of_quality = |(key, _): &&(StandingKey, Standing)| key.monitor == Monitor::Quality && key.segment.is_none();
        let quality = standings.iter().find(of_quality).and_then(|(_, standing)| standing.judged.clone());
        let (trouble, since_ms, evidence) = match worst {
            None => (Trouble::Silent, None, None),
            Some((Trouble::Blind, _, standing)) => (Trouble::Blind, None, Some(Arc::clone(&standing.last))),
            Some((trouble, _, standing)) => {
                let verdict = standing.judged.as_ref().unwrap_or(&standing.last);
                (trouble, standing.since_ms, Some(Arc::clone(verdict)))
            }
        };
        Self {
            trouble,
            since_ms,
            evidence,
            quality,
            coverage: read_model.coverage(&model),
            champion_since_ms: read_model.champion_since_ms(&model),
            last_window_ms: standings.iter().map(|(_, standing)| standing.last.window.end_ms).max(),
            waits: waits(read_model, &summary),
            summary,
        }
    }
}

/// The standings that count: those of the champion or, where events name versions that the registry does not know, of the
/// version that was judged last. A sequential detector's finding counts until the quality of a later window was judged.
pub(super) fn answering(all: Vec<(StandingKey, Standing)>, summary: &ModelSummary) -> Vec<(StandingKey, Standing)> {
    let of_champion = |key: &StandingKey| {
        summary.champion.as_ref().is_some_and(|champion| retrain::lifecycle::is_version(&key.version, champion))
    };
    let latest = all.iter().max_by_key(|(_, standing)| standing.last.window.end_ms);
    let latest = latest.map(|(key, _)| key.version.clone());
    let is_champions = all.iter().any(|(key, _)| of_champion(key));
    let counts =
        |key: &StandingKey| if is_champions { of_champion(key) } else { Some(&key.version) == latest.as_ref() };
    let mut found: Vec<_> = all.into_iter().filter(|(key, _)| counts(key)).collect();
    let judged = found.iter().filter(|(key, _)| key.monitor == Monitor::Quality);
    let judged_ms = judged.filter_map(|(_, standing)| Some(standing.judged.as_ref()?.window.end_ms)).max();
    let is_over = |(key, standing): &(StandingKey, Standing)| {
        matches!(key.monitor, Monitor::Sequential(_)) && Some(standing.last.window.end_ms) <= judged_ms
    };
    found.retain(|standing| !is_over(standing));
    found
}

/// What is under way, or waits for somebody.
fn waits(read_model: &ReadModel, summary: &ModelSummary) -> Vec<String> {
    let (mut waits, (hold, progress)) = (Vec::new(), read_model.under_way(&summary.model));
    if let Some(reason) = &hold {
        waits.push(format!("promotions are held by a roll-back: {reason}"));
    }
    let state = summary.retrain;
    if state != RetrainState::Idle {
        waits.push(match &progress {
            Some(progress) if state == RetrainState::Waiting => {
                format!("an episode waits: {} of {} labelled rows", progress.rows, progress.rows_needed)
            }
            _ if summary.challengers.is_empty() => format!("retraining: {}", state.name()),
            _ => format!("on trial: {}", summary.challengers.join(", ")),
        });
    }
    waits
}
