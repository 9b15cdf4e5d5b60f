//! What decides, and only decides.

pub mod alarm;
pub mod layout;
pub mod moments;
pub mod panel;
pub mod profile;
pub mod quality;
pub mod reference;
pub mod schema;
pub mod statistics;
pub mod threshold;
pub mod verdict;
pub mod windows;
