//! What decides, and only decides.

pub mod moments;
pub mod schema;
pub mod verdict;
pub mod windows;
