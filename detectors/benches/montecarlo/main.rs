//! What the sequential detectors find, how late, and how often they cry wolf: three simulations, printed as tables.
//!
//! `cargo bench -p detectors --bench montecarlo` runs them; nothing is measured in time, and the same seeds give the same
//! figures. [`scenarios`] holds our detectors beside river's and MOA's on the streams that those were run on, and says
//! where figures of the same detector differ; [`run_lengths`] holds promised run lengths against simulated ones;
//! [`budgets`] gives each detector the same budget of false alarms and measures the delay.
//!
//! The streams of the first lie in a folder of their own, `$DRIFTLINE_SHARED` or `../shared` beside the workspace. Where it
//! is absent it says so and draws streams of its own from the same scenarios.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a simulation stops where it is wrong")]

mod budgets;
mod contestants;
mod random;
mod run_lengths;
mod scenarios;
#[path = "../../tests/oracle/shared.rs"]
#[allow(dead_code, reason = "the tests read more kinds of files than this")]
mod shared;
mod streams;

fn main() {
    // `cargo test --benches` starts it without the argument, and has nothing to learn from a simulation.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("montecarlo: run by `cargo bench -p detectors --bench montecarlo`");
        return;
    }
    scenarios::print();
    run_lengths::print();
    budgets::print();
}
