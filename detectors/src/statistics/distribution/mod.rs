//! Null distributions that `statrs` does not have: Kolmogorov's, Cramér's and von Mises', the rank sum's.
//!
//! Each function returns a probability in `[0, 1]`, never NaN for arguments that its documentation allows. None allocates
//! more than its documentation says, and none loops longer than the limits named beside it.

pub(super) mod cramer_von_mises;
pub(super) mod kolmogorov;
pub(super) mod rank_sum;
