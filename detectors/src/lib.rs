//! What decides, and only decides.

pub mod schema;
pub mod windows;

pub mod moments;
pub mod quality;

pub mod sequential;
pub mod verdict;
