//! What acts.

pub mod lifecycle;
pub mod request;

pub mod encoding;

pub mod answers;

pub mod rows_file;

pub mod process;

pub mod trainer;

pub mod scorer;

pub mod triton;
