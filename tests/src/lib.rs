//! Whole-system flows.
