//! A simulated emergency department: will an arriving patient need a bed?
//!
//! Patients arrive at a rate that follows the hour and the day of the week; what they have follows the hour too. Whether one
//! needs a bed follows a logistic rule with noise, and is known hours later. Four phases follow each other:
//!
//! 1. **Reference**: the model is trained on it, and its windows show how days differ.
//! 2. **Control**: the same again, and nothing must be found.
//! 3. **Covariate shift**: a heat wave brings older and sicker patients by ambulance; the rule is the same.
//! 4. **Concept change**: a virus and a new admission policy change the rule, so that the old model fails.
//!
//! The stream is a function of the seed alone. Nothing here knows of models, windows or the log.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, StandardNormal};

/// Midnight, 5 January 2026 (UTC), a Monday: when the simulation begins, milliseconds since the epoch.
pub const START_MS: i64 = 1_767_571_200_000;
const HOUR_MS: f64 = 3_600_000.0;
/// Arrivals an hour on average, so that a day has about a thousand.
const ARRIVALS_AN_HOUR: f64 = 40.0;
/// Whole days of each phase, in their order.
const PHASE_DAYS: [(Phase, u32); 4] =
    [(Phase::Reference, 28), (Phase::Control, 21), (Phase::CovariateShift, 14), (Phase::ConceptChange, 42)];

/// What goes on in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// What the model learns from.
    Reference,
    /// The same as the reference.
    Control,
    /// Other patients, the same rule.
    CovariateShift,
    /// Another rule.
    ConceptChange,
}

impl Phase {
    /// When the phase begins, milliseconds since the epoch.
    pub fn start_ms(self) -> i64 {
        let before = PHASE_DAYS.iter().take_while(|(phase, _)| *phase != self).map(|(_, days)| i64::from(*days));
        START_MS + before.sum::<i64>() * 86_400_000
    }

    /// The phase at a time; `None` after the last.
    fn at(time_ms: f64) -> Option<Self> {
        let mut day = (time_ms - START_MS as f64) / (24.0 * HOUR_MS);
        for (phase, days) in PHASE_DAYS {
            if day < f64::from(days) {
                return Some(phase);
            }
            day -= f64::from(days);
        }
        None
    }
}

/// What is known of a patient on arrival. Units stand in the names.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// Age.
    pub age_years: f64,
    /// Urgency by triage: 1 is the most urgent, 5 the least.
    pub triage_level: f64,
    /// Beats a minute.
    pub heart_rate: f64,
    /// Systolic blood pressure, mmHg.
    pub systolic_bp: f64,
    /// Degrees Celsius.
    pub temperature: f64,
    /// Per cent.
    pub oxygen_saturation: f64,
    /// Patients who came in the hour before.
    pub arrivals_last_hour: f64,
    /// How the patient came.
    pub arrival_mode: &'static str,
    /// What the patient came with.
    pub complaint: &'static str,
}

impl Features {
    /// Names of the numeric features, in the order of [`Self::numbers`].
    pub const NUMERIC: [&'static str; 7] =
        ["age", "triage_level", "heart_rate", "systolic_bp", "temperature", "oxygen_saturation", "arrivals_last_hour"];
    /// Names of the categorical features, in the order of [`Self::categories`].
    pub const CATEGORICAL: [&'static str; 2] = ["arrival_mode", "complaint"];

    /// The numeric features.
    pub fn numbers(&self) -> [f64; 7] {
        [
            self.age_years,
            self.triage_level,
            self.heart_rate,
            self.systolic_bp,
            self.temperature,
            self.oxygen_saturation,
            self.arrivals_last_hour,
        ]
    }

    /// The categorical features.
    pub fn categories(&self) -> [&'static str; 2] {
        [self.arrival_mode, self.complaint]
    }
}

/// One arrival, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Patient {
    /// When the patient arrived, milliseconds since the epoch.
    pub time_ms: i64,
    /// The visit's id.
    pub id: String,
    /// What was known then.
    pub features: Features,
    /// What came of it: `bed` or `home`.
    pub label: &'static str,
    /// When that was known, 2 to 8 hours later.
    pub label_time_ms: i64,
    /// The phase, which the model does not see.
    pub phase: Phase,
}

/// The class of patients who are admitted.
pub const BED: &str = "bed";
/// The class of patients who are sent home.
pub const HOME: &str = "home";

const ARRIVAL_MODES: [&str; 3] = ["walk_in", "ambulance", "referral"];
const COMPLAINTS: [&str; 6] = ["injury", "chest_pain", "breathing", "abdominal_pain", "fever", "other"];

/// Arrivals in the order of their time.
#[derive(Debug, Clone)]
pub struct Simulation {
    random: ChaCha8Rng,
    time_ms: f64,
    number: u64,
    last_hour: std::collections::VecDeque<f64>,
}

impl Simulation {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self { random, time_ms: START_MS as f64, number: 0, last_hour: std::collections::VecDeque::new() }
    }

    fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let standard: f64 = StandardNormal.sample(&mut self.random);
        mean + deviation * standard
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.random.random::<f64>() < probability
    }

    /// One of `choices`, each as likely as its weight; the last where rounding leaves none.
    fn choose<const N: usize>(&mut self, choices: [&'static str; N], weights: [f64; N]) -> &'static str {
        let mut place = self.random.random::<f64>() * weights.iter().sum::<f64>();
        for (choice, weight) in choices.into_iter().zip(weights) {
            if place < weight {
                return choice;
            }
            place -= weight;
        }
        choices.last().copied().unwrap_or_default()
    }

    /// Moves to the next arrival. The rate of the current hour is used until the next arrival, some minutes at most.
    fn advance(&mut self) {
        let rate = ARRIVALS_AN_HOUR * season(self.time_ms);
        let gap: f64 = Exp1.sample(&mut self.random);
        self.time_ms += gap * HOUR_MS / rate;
        while self.last_hour.front().is_some_and(|earlier| *earlier < self.time_ms - HOUR_MS) {
            self.last_hour.pop_front();
        }
    }

    fn features(&mut self, phase: Phase) -> Features {
        let heat = if phase == Phase::CovariateShift { 1.0 } else { 0.0 };
        let night = if (6.0..22.0).contains(&hour_of_day(self.time_ms)) { 0.0 } else { 1.0 };
        let age_years = (self.normal(48.0 + 12.0 * heat, 20.0)).clamp(0.0, 100.0).round();
        let severity = self.normal(0.25 * night + 0.3 * heat + (age_years - 48.0) / 60.0, 1.0);
        let modes = [0.62, 0.22 + 0.2 * heat + 0.08 * night + 0.06 * severity.clamp(-1.0, 2.0), 0.16];
        let arrival_mode = self.choose(ARRIVAL_MODES, modes);
        let complaint = self.choose(COMPLAINTS, [0.24, 0.13, 0.12 + 0.1 * heat, 0.17, 0.10 + 0.05 * heat, 0.24]);
        let fever = if complaint == "fever" { 1.4 } else { 0.0 };
        Features {
            age_years,
            triage_level: (self.normal(3.3 - 0.8 * severity, 0.5)).clamp(1.0, 5.0).round(),
            heart_rate: (self.normal(84.0 + 9.0 * severity + 8.0 * heat + 5.0 * fever, 11.0))
                .clamp(35.0, 210.0)
                .round(),
            systolic_bp: (self.normal(132.0 - 5.0 * severity - 4.0 * heat, 17.0)).clamp(60.0, 230.0).round(),
            temperature: tenths((self.normal(36.9 + fever + 0.3 * heat, 0.5)).clamp(34.0, 41.5)),
            oxygen_saturation: (self.normal(97.2 - 1.3 * severity.max(-0.5), 1.2)).clamp(75.0, 100.0).round(),
            arrivals_last_hour: self.last_hour.len() as f64,
            arrival_mode,
            complaint,
        }
    }

    fn needs_bed(&mut self, features: &Features, phase: Phase) -> bool {
        let logit = match phase {
            Phase::ConceptChange => changed_rule(features),
            _ => first_rule(features),
        };
        self.chance(1.0 / (1.0 + (-logit).exp()))
    }
}

impl Iterator for Simulation {
    type Item = Patient;

    fn next(&mut self) -> Option<Patient> {
        self.advance();
        let phase = Phase::at(self.time_ms)?;
        let features = self.features(phase);
        let label = if self.needs_bed(&features, phase) { BED } else { HOME };
        let wait_hours = self.random.random_range(2.0..8.0);
        self.last_hour.push_back(self.time_ms);
        self.number += 1;
        Some(Patient {
            time_ms: self.time_ms as i64,
            id: format!("visit-{:06}", self.number),
            features,
            label,
            label_time_ms: (self.time_ms + wait_hours * HOUR_MS) as i64,
            phase,
        })
    }
}

/// Who needs a bed at first: the old, the urgent and the short of breath. The slope is steep, so that a good model is
/// right about five times in six.
fn first_rule(features: &Features) -> f64 {
    let arrival = if features.arrival_mode == "ambulance" { 1.2 } else { 0.0 };
    let complaint = match features.complaint {
        "chest_pain" => 1.0,
        "breathing" => 0.8,
        "injury" => -1.0,
        _ => 0.0,
    };
    0.06 * (features.age_years - 52.0) - 1.8 * (features.triage_level - 3.0) + 0.02 * (features.heart_rate - 86.0)
        - 0.25 * (features.oxygen_saturation - 96.5)
        + arrival
        + complaint
        - 0.8
}

/// Who needs a bed afterwards: a virus that takes the young and feverish in, and a policy that sends the old home with
/// care there. As steep as the first rule, so that a good model is right as often.
fn changed_rule(features: &Features) -> f64 {
    let fever = 3.2 * (features.temperature - 37.1);
    let complaint = match features.complaint {
        "breathing" | "fever" => 2.3,
        "chest_pain" => -1.2,
        _ => 0.0,
    };
    -0.07 * (features.age_years - 46.0)
        - 1.3 * (features.triage_level - 3.0)
        - 0.43 * (features.oxygen_saturation - 96.5)
        + fever
        + complaint
}

/// How the rate of arrivals differs from its mean, by the hour and the day of the week.
fn season(time_ms: f64) -> f64 {
    let hour = hour_of_day(time_ms);
    let daily = 1.0 + 0.55 * ((hour - 15.0) / 24.0 * std::f64::consts::TAU).cos();
    let day = ((time_ms - START_MS as f64) / (24.0 * HOUR_MS)).rem_euclid(7.0);
    let weekly = if day < 1.0 {
        1.08
    } else if day >= 5.0 {
        0.96
    } else {
        1.0
    };
    daily * weekly
}

fn hour_of_day(time_ms: f64) -> f64 {
    (time_ms / HOUR_MS).rem_euclid(24.0)
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Inputs of a plain logistic regression: standardised by hand, categories one-hot.
    fn inputs(features: &Features) -> Vec<f64> {
        let centre = [48.0, 3.3, 84.0, 132.0, 36.9, 97.0, 40.0];
        let scale = [20.0, 0.9, 14.0, 18.0, 0.7, 1.6, 18.0];
        let numbers = features.numbers().into_iter().zip(centre).zip(scale).map(|((x, c), s)| (x - c) / s);
        let modes = ARRIVAL_MODES.iter().map(|mode| f64::from(*mode == features.arrival_mode));
        let complaints = COMPLAINTS.iter().map(|complaint| f64::from(*complaint == features.complaint));
        numbers.chain(modes).chain(complaints).chain([1.0]).collect()
    }

    fn logit(weights: &[f64], inputs: &[f64]) -> f64 {
        weights.iter().zip(inputs).map(|(w, x)| w * x).sum()
    }

    fn train(patients: &[Patient]) -> Vec<f64> {
        let mut weights = vec![0.0; 17];
        for epoch in 0..4 {
            let rate = 0.05 / f64::from(1 + epoch);
            for patient in patients {
                let inputs = inputs(&patient.features);
                let error = f64::from(patient.label == BED) - 1.0 / (1.0 + (-logit(&weights, &inputs)).exp());
                weights.iter_mut().zip(&inputs).for_each(|(w, x)| *w += rate * error * x);
            }
        }
        weights
    }

    fn accuracy(weights: &[f64], patients: &[Patient]) -> f64 {
        let right =
            patients.iter().filter(|p| (logit(weights, &inputs(&p.features)) > 0.0) == (p.label == BED)).count();
        right as f64 / patients.len() as f64
    }

    fn by_phase(seed: u64) -> HashMap<Phase, Vec<Patient>> {
        let mut phases: HashMap<_, Vec<_>> = HashMap::new();
        Simulation::new(seed).for_each(|patient| phases.entry(patient.phase).or_default().push(patient));
        phases
    }

    #[test]
    fn a_seed_gives_the_same_stream_every_time() {
        assert!(Simulation::new(7).take(5_000).eq(Simulation::new(7).take(5_000)));
        assert!(Simulation::new(7).take(50).ne(Simulation::new(8).take(50)));
    }

    #[test]
    fn arrivals_come_in_order_about_a_thousand_a_day_and_labels_hours_later() {
        let patients: Vec<_> = Simulation::new(7).collect();
        assert!(patients.len() < 150_000, "{}", patients.len());
        assert!(patients.is_sorted_by_key(|patient| patient.time_ms));
        let days = (patients[patients.len() - 1].time_ms - START_MS) as f64 / 86_400_000.0;
        assert!((850.0..1_150.0).contains(&(patients.len() as f64 / days)));
        assert!(patients.iter().all(|p| (2..=8).contains(&((p.label_time_ms - p.time_ms) / 3_600_000))));
    }

    #[test]
    fn a_model_of_the_reference_holds_through_the_covariate_shift_and_fails_after_the_concept_change() {
        for seed in [7, 8] {
            let phases = by_phase(seed);
            let weights = train(&phases[&Phase::Reference]);
            let [reference, control, shifted, changed] =
                PHASE_DAYS.map(|(phase, _)| accuracy(&weights, &phases[&phase]));
            for held in [reference, control, shifted] {
                assert!(held >= 0.80, "seed {seed}: {reference} {control} {shifted} {changed}");
            }
            assert!(reference - changed >= 0.08, "seed {seed}: {reference} {changed}");
            let relearned = accuracy(&train(&phases[&Phase::ConceptChange]), &phases[&Phase::ConceptChange]);
            assert!(relearned - changed >= 0.08, "seed {seed}: {changed} {relearned}");
        }
    }

    #[test]
    fn the_control_phase_is_like_the_reference_and_the_shift_is_not() {
        let phases = by_phase(7);
        let mean_age = |phase| {
            let patients: &Vec<Patient> = &phases[&phase];
            patients.iter().map(|p| p.features.age_years).sum::<f64>() / patients.len() as f64
        };
        // The standard error of a mean of some 20,000 ages is 0.14 years; four of them tell chance from change.
        assert!((mean_age(Phase::Control) - mean_age(Phase::Reference)).abs() < 0.8);
        assert!(mean_age(Phase::CovariateShift) - mean_age(Phase::Reference) > 8.0);
    }
}
