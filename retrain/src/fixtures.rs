//! What the tests of several modules set up alike.

use crate::lifecycle::Lineage;
use std::collections::BTreeMap;

/// The lineage of a version that nobody trained.
pub(crate) fn lineage() -> Lineage {
    Lineage {
        request: None,
        cause: "set up".into(),
        parent: None,
        training_set: None,
        training_rows: 0,
        trained_from_ms: None,
        trained_until: None,
        code_revision: None,
        parameters: BTreeMap::new(),
        metrics: BTreeMap::new(),
    }
}
