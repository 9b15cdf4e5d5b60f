//! What decides, and only decides.

pub mod layout;
pub mod moments;
pub mod profile;
pub mod schema;
pub mod statistics;
pub mod verdict;
pub mod windows;
