//! Dying on purpose: a process that kills itself at a step of a stage's transaction, for tests that show what that costs.
//!
//! ```text
//! sealed ─► files-durable ─► begun ─► handed-over ─► settled ─► offsets-sent ─► committed (and not noted yet)
//! ```
//!
//! A crash is planned in words, `stage:step:pass`: `capture:settled:2` dies when capture has settled its second transaction.
//! What belongs to no stage is appended by the stage `append`, in transactions without files and offsets. It dies by
//! SIGKILL, so that nothing is tidied up. Without a plan, which is what everyone but a test has, each step costs one
//! comparison a transaction. Whoever runs the process plans (a variable of the environment, read at the edge); neither
//! configuration nor API can. Deliberately absent: any fault but death. Those of disks and brokers are made there.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use thiserror::Error;

/// What has just been done of an epoch's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The stage has sealed the epoch; nothing is stored.
    Sealed,
    /// Its files are durable; no record names them.
    FilesDurable,
    /// The transaction has begun, and is empty.
    Begun,
    /// Its records are handed over; some may be with the broker.
    HandedOver,
    /// Its records are with the broker.
    Settled,
    /// The offsets are part of it.
    OffsetsSent,
    /// It is committed; the runner does not know.
    Committed,
}

/// A crash that is planned, or, by default, none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Crash(Option<Arc<Plan>>);

#[derive(Debug)]
struct Plan {
    stage: String,
    step: Step,
    /// The pass that is the last one, counted from 1 over all partitions of the stage.
    pass: u32,
    passed: AtomicU32,
}

/// A plan that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{plan}` is no plan of a crash: write `stage:step:pass`, as capture:settled:1; the steps are {}",
    Step::ALL.map(Step::name).join(", ")
)]
pub struct UnknownCrash {
    plan: String,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 7] = [
        Self::Sealed,
        Self::FilesDurable,
        Self::Begun,
        Self::HandedOver,
        Self::Settled,
        Self::OffsetsSent,
        Self::Committed,
    ];

    /// What it is called in a plan.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::FilesDurable => "files-durable",
            Self::Begun => "begun",
            Self::HandedOver => "handed-over",
            Self::Settled => "settled",
            Self::OffsetsSent => "offsets-sent",
            Self::Committed => "committed",
        }
    }
}

impl Crash {
    /// A group of a stage has done a step: where that was planned, the process ends here.
    pub fn after(&self, step: Step, group: &str) {
        if self.0.as_ref().is_some_and(|plan| plan.is_due(step, group)) {
            // Nothing is left to be said if this fails, and then the test that waits for the end says it.
            let _ = kill(Pid::this(), Signal::SIGKILL);
            loop {
                std::thread::park();
            }
        }
    }
}

impl Plan {
    fn is_due(&self, step: Step, group: &str) -> bool {
        let is_of_stage = group.strip_prefix(&self.stage).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        step == self.step && is_of_stage && self.passed.fetch_add(1, Ordering::Relaxed) + 1 == self.pass
    }
}

/// Two plans are the same however far they have come.
impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        (&self.stage, self.step, self.pass) == (&other.stage, other.step, other.pass)
    }
}

impl Eq for Plan {}

impl FromStr for Crash {
    type Err = UnknownCrash;

    fn from_str(plan: &str) -> Result<Self, UnknownCrash> {
        let unknown = || UnknownCrash { plan: plan.to_owned() };
        let mut parts = plan.split(':');
        let (Some(stage), Some(step), Some(pass), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(unknown());
        };
        let step = Step::ALL.into_iter().find(|known| known.name() == step).ok_or_else(unknown)?;
        let pass = pass.parse().ok().filter(|pass| *pass > 0).ok_or_else(unknown)?;
        if stage.is_empty() {
            return Err(unknown());
        }
        Ok(Self(Some(Arc::new(Plan { stage: stage.to_owned(), step, pass, passed: AtomicU32::new(0) }))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_due_once_at_its_step_of_its_stage() {
        let Crash(plan) = "capture:settled:2".parse().unwrap();
        let plan = plan.unwrap();
        assert!(!plan.is_due(Step::Begun, "capture-0") && !plan.is_due(Step::Settled, "captured"));
        let due = ["capture-0", "monitor-0", "capture-1", "capture"].map(|group| plan.is_due(Step::Settled, group));
        assert_eq!(due, [false, false, true, false]);
    }

    #[test]
    fn what_is_no_plan_is_refused_with_what_would_be_one() {
        for wrong in
            ["", "capture", "capture:settled", "capture:settled:0", "capture:later:1", ":settled:1", "a:sealed:1:2"]
        {
            let error = wrong.parse::<Crash>().unwrap_err().to_string();
            assert!(error.contains("capture:settled:1") && error.contains("files-durable, begun"), "{error}");
        }
    }

    #[test]
    fn without_a_plan_nothing_happens() {
        Step::ALL.into_iter().for_each(|step| Crash::default().after(step, "capture-0"));
    }
}
