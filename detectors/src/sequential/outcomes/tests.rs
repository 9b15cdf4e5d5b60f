//! The promises that every detector of outcomes keeps. What they find is held against other implementations elsewhere.

use super::*;
use crate::sequential::Sides;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

fn outcomes() -> impl Strategy<Value = Vec<RowOutcome>> {
    let stretch = (0.0..=1.0, 1_usize..300).prop_flat_map(|(share, rows)| {
        let wrong = |is_wrong| if is_wrong { RowOutcome::Wrong } else { RowOutcome::Right };
        prop::collection::vec(prop::bool::weighted(share).prop_map(wrong), rows)
    });
    prop::collection::vec(stretch, 1..5).prop_map(|stretches| stretches.concat())
}

/// Stored and read back after any outcome, and forgetting, change nothing; a change lies before its alarm; the state is
/// small and made of numbers.
fn keeps_its_promises<D>(new: &D, outcomes: &[RowOutcome], store_at: usize) -> Result<(), TestCaseError>
where
    D: OutcomeDetector + Clone + PartialEq + Debug + Serialize + DeserializeOwned,
{
    let (mut whole, mut stored) = (new.clone(), new.clone());
    let mut since = 0;
    for (place, outcome) in outcomes.iter().enumerate() {
        if place == store_at % outcomes.len() {
            stored = rmp_serde::from_slice(&rmp_serde::to_vec(&stored).unwrap()).unwrap();
        }
        let alert = whole.observe(*outcome);
        prop_assert_eq!(alert, stored.observe(*outcome));
        since += 1;
        if let Alert::Drift { change_point } = alert {
            prop_assert!(change_point < since, "{} of {}", change_point, since);
            prop_assert_eq!(&whole, new, "a drift is followed by a fresh start");
            since = 0;
        }
    }
    // A NaN equals nothing, not even itself, and would be found here.
    prop_assert_eq!(&whole, &stored);
    prop_assert!(rmp_serde::to_vec(&whole).unwrap().len() < 256, "{:?}", whole);
    whole.reset();
    prop_assert_eq!(&whole, new);
    Ok(())
}

proptest! {
    #[test]
    fn state_may_be_stored_between_any_two_outcomes(outcomes in outcomes(), store_at in 0_usize..2_000) {
        keeps_its_promises(&Ddm::new(DdmPolicy::default()).unwrap(), &outcomes, store_at)?;
        keeps_its_promises(&Eddm::new(EddmPolicy::default()).unwrap(), &outcomes, store_at)?;
        for sides in [Sides::Up, Sides::Down, Sides::Both] {
            let hddm_a = HddmAPolicy { sides, ..HddmAPolicy::default() };
            keeps_its_promises(&HddmA::new(hddm_a).unwrap(), &outcomes, store_at)?;
            let hddm_w = HddmWPolicy { sides, ..HddmWPolicy::default() };
            keeps_its_promises(&HddmW::new(hddm_w).unwrap(), &outcomes, store_at)?;
        }
    }
}

#[test]
fn a_share_that_falls_is_found_where_it_is_asked_for_and_put_near_its_change() {
    let outcomes = (0..2_000).map(|n| if n < 1_000 && n % 2 == 0 { RowOutcome::Wrong } else { RowOutcome::Right });
    let outcomes: Vec<_> = outcomes.collect();
    let first = |mut detector: Box<dyn OutcomeDetector>| {
        outcomes.iter().find_map(|outcome| match detector.observe(*outcome) {
            Alert::Drift { change_point } => Some(change_point),
            _ => None,
        })
    };
    let hddm_a = |sides| Box::new(HddmA::new(HddmAPolicy { sides, ..Default::default() }).unwrap());
    assert_eq!(first(hddm_a(Sides::Up)), None);
    let found = first(hddm_a(Sides::Down)).unwrap();
    assert!((950..=1_050).contains(&found), "{found}");
    let hddm_w = |sides| Box::new(HddmW::new(HddmWPolicy { sides, ..Default::default() }).unwrap());
    assert_eq!(first(hddm_w(Sides::Up)), None);
    assert!(first(hddm_w(Sides::Both)).is_some());
}

#[test]
fn settings_that_mean_nothing_are_refused_by_name() {
    let told = |error: SequentialError| error.to_string();
    let ddm = Ddm::new(DdmPolicy { drift: f64::NAN, ..Default::default() }).unwrap_err();
    assert_eq!(told(ddm), "ddm setting drift is NaN: it must be finite and above zero");
    let eddm = Eddm::new(EddmPolicy { warning: 1.0, ..Default::default() }).unwrap_err();
    assert_eq!(told(eddm), "eddm setting warning is 1: it must be above 0 and below 1");
    assert!(HddmA::new(HddmAPolicy { drift: 0.0, ..Default::default() }).is_err());
    assert!(HddmW::new(HddmWPolicy { weight: -1.0, ..Default::default() }).is_err());
}
