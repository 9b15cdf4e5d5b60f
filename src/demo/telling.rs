//! The demo's voice: what happens, told once each, and what is kept of it for the end.

use super::simulation::Phase;
use crate::files::rfc3339;
use crate::output::note;
use crate::replay::event_feed::{EventFeed, FeedEvent, Sums};
use crate::replay::reporter::Reporter;
use anyhow::Result;
use console::style;
use detectors::verdict::{Finality, Monitor, Severity, Verdict};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use streams::log::Log;

/// A window's accuracy as it was judged.
#[derive(Debug, Clone)]
pub(super) struct JudgedWindow {
    pub(super) version: String,
    pub(super) start_ms: i64,
    pub(super) accuracy: f64,
    pub(super) labelled: i64,
}

/// Reports events and remembers them.
pub(super) struct Teller {
    event_feed: EventFeed,
    reporter: Reporter,
    silent: bool,
    told: BTreeSet<String>,
    phases: Vec<Phase>,
    pub(super) judged: Vec<JudgedWindow>,
    /// Windows since the first shift began, until drift was found.
    pub(super) windows_to_drift: Option<u64>,
    shifted_windows: u64,
    pub(super) false_alarms: u64,
    pub(super) promoted: Option<String>,
}

impl Teller {
    pub(super) fn new(log: &Arc<dyn Log>, silent: bool) -> Result<Self> {
        Ok(Self {
            event_feed: EventFeed::new(log)?,
            reporter: Reporter::default(),
            silent,
            told: BTreeSet::new(),
            phases: vec![Phase::ConceptChange, Phase::CovariateShift, Phase::Control],
            judged: Vec::new(),
            windows_to_drift: None,
            shifted_windows: 0,
            false_alarms: 0,
            promoted: None,
        })
    }

    pub(super) fn sums(&self) -> &Sums {
        self.event_feed.sums()
    }

    pub(super) fn opening(&self, directory: &Path) {
        self.say(&format!(
            "An emergency department predicts who will need a bed. Log and artifacts: {}",
            directory.display()
        ));
    }

    pub(super) fn learned(&self, rows: usize) {
        self.say(&format!("Version v1 trained, and its reference learned, on {rows} arrivals of four weeks."));
    }

    pub(super) fn listening(&self, address: Option<SocketAddr>) {
        if let Some(address) = address {
            self.say(&format!("Metrics at http://{address}/metrics"));
        }
    }

    /// Reads on in the log, and tells what is new.
    pub(super) fn read(&mut self) -> Result<()> {
        for happening in self.event_feed.read()? {
            if let FeedEvent::Verdict(verdict) = &happening {
                self.keep(verdict);
            }
            self.tell(&happening);
        }
        self.promoted = self.event_feed.sums().champion.clone().filter(|_| self.event_feed.sums().promotions > 0);
        Ok(())
    }

    fn keep(&mut self, verdict: &Verdict) {
        if verdict.segment.is_some() || verdict.finality == Finality::Provisional {
            return;
        }
        self.announce_phase(verdict.window.start_ms);
        let shifted = verdict.window.start_ms >= Phase::CovariateShift.start_ms();
        let drifted = verdict.severity == Severity::Drift;
        self.false_alarms += u64::from(drifted && verdict.window.end_ms <= Phase::CovariateShift.start_ms());
        if verdict.monitor == Monitor::Drift && shifted {
            self.shifted_windows += 1;
            if drifted && self.windows_to_drift.is_none() {
                self.windows_to_drift = Some(self.shifted_windows);
            }
        }
        if let (Monitor::Quality, Some(accuracy)) = (&verdict.monitor, verdict.metrics.get("accuracy")) {
            self.judged.push(JudgedWindow {
                version: verdict.version.clone(),
                start_ms: verdict.window.start_ms,
                accuracy: accuracy.value,
                labelled: verdict.labelled.unwrap_or(0),
            });
        }
    }

    fn announce_phase(&mut self, time_ms: i64) {
        let Some(next) = self.phases.last().copied() else { return };
        if time_ms < next.start_ms() {
            return;
        }
        self.phases.pop();
        let what = match next {
            Phase::Control => "three weeks as before: nothing should be found",
            Phase::CovariateShift => "a heat wave: older and sicker patients, the same rule",
            Phase::ConceptChange => "a virus: the rule itself changes, and v1 no longer knows it",
            Phase::Reference => return,
        };
        self.say(&format!("{} {}", style(rfc3339(next.start_ms())).dim(), style(what).bold()));
    }

    /// Reports an event the first time that one of its kind comes up.
    fn tell(&mut self, happening: &FeedEvent) {
        let Some(sentence) = self.reporter.sentence(happening) else { return };
        let kind = match happening {
            FeedEvent::Verdict(verdict) => format!("{} {}", verdict.monitor.name(), verdict.version),
            _ => sentence.clone(),
        };
        if self.told.insert(kind) {
            self.say(&format!("  {sentence}"));
        }
    }

    /// Says a sentence, unless the demo is silent.
    pub(super) fn say(&self, sentence: &str) {
        if !self.silent {
            note(format_args!("{sentence}"));
        }
    }
}
