//! What acts.

pub mod lifecycle;
pub mod request;

pub mod answers;
pub mod encoding;
pub mod process;
pub mod rows_file;
pub mod scorer;
pub mod trainer;
pub mod triton;
