//! What the loop was worth: the table, the plot and the figures.

use super::served::Served;
use super::strategies::{Outcome, Strategies};
use super::stream::Stream;
use crate::cli::BenchLoopArgs;
use anyhow::{Context, Result, anyhow};
use detectors::schema::Task;
use plotters::prelude::*;
use serde::Serialize;
use std::path::Path;

/// Pixels of the plot of one stream.
const PLOT: (u32, u32) = (960, 220);

/// One stream.
#[derive(Debug, Serialize)]
pub(super) struct StreamReport {
    name: String,
    rows: usize,
    first: usize,
    is_classifier: bool,
    changes: Vec<usize>,
    others: Strategies,
    ours: Served,
    /// Losses and trainings of ours over those of the best choice in hindsight.
    regret: f64,
    /// Rows from each change to the next promotion before another change; `None` where there was none.
    delays: Vec<Option<usize>>,
    /// Seconds that the service took.
    served_s: f64,
}

/// All of them, and what they were made with.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    machine: String,
    label_delay_rows: usize,
    window_rows: usize,
    training_cost: f64,
    every: Vec<usize>,
    pub(super) streams: Vec<StreamReport>,
}

impl StreamReport {
    pub(super) fn new(stream: &Stream, args: &BenchLoopArgs, ours: Served, others: Strategies, served_s: f64) -> Self {
        let rows = stream.len() - args.first;
        let total = |loss: f64, trainings: f64| loss * rows as f64 + args.training_cost * trainings;
        let best = total(others.hindsight.loss, others.hindsight.trainings as f64);
        let regret = total(ours.loss, ours.trainings as f64) / best.max(f64::MIN_POSITIVE);
        let ends = stream.changes.iter().skip(1).copied().chain([usize::MAX]);
        let delays = stream.changes.iter().zip(ends).map(|(change, end)| {
            let promoted = ours.promotions.iter().find(|at| (*change + 1..=end).contains(at));
            promoted.map(|at| at - change)
        });
        Self {
            name: stream.name.clone(),
            rows: stream.len(),
            first: args.first,
            is_classifier: stream.schema.task != Task::Regression,
            changes: stream.changes.clone(),
            regret,
            delays: delays.collect(),
            others,
            ours,
            served_s,
        }
    }

    /// Accuracy of a classifier, mean absolute error of a regression.
    fn figure(&self, loss: f64) -> String {
        if self.is_classifier { format!("{:.3}", 1.0 - loss) } else { format!("{loss:.4}") }
    }

    fn shown(&self, outcome: Option<&Outcome>) -> String {
        outcome.map_or_else(|| "–".to_owned(), |outcome| self.figure(outcome.loss))
    }

    /// Its line of the table.
    pub(super) fn line(&self, every: &[usize]) -> String {
        let every = every.iter().map(|rows| format!(" {:>7} |", self.shown(self.others.every.get(rows))));
        let most = self.others.every.values().next().map_or(0, |outcome| outcome.trainings);
        format!(
            "| {:<28} | {:>7} | {:>7} |{} {:>7} | {:>7} | {:>9} | {:>7} | {:>6.2} | {:>9} | {:>10} | {:>6} |\n",
            self.name,
            self.rows,
            self.figure(self.others.frozen.loss),
            every.collect::<String>(),
            self.shown(self.others.at_changes.as_ref()),
            self.shown(self.others.with_follow_ups.as_ref()),
            self.figure(self.others.hindsight.loss),
            self.figure(self.ours.loss),
            self.regret,
            format!("{}/{most}", self.ours.trainings),
            self.ours.promotions.len(),
            self.median_delay().map_or_else(|| "–".to_owned(), |delay| delay.to_string()),
        )
    }

    /// Rows from change to promotion; a change without a promotion counts as the longest.
    fn median_delay(&self) -> Option<usize> {
        let mut delays: Vec<usize> = self.delays.iter().map(|delay| delay.unwrap_or(usize::MAX)).collect();
        delays.sort_unstable();
        delays.get(delays.len() / 2).copied().filter(|delay| *delay < usize::MAX)
    }
}

impl Report {
    pub(super) fn new(machine: String, args: &BenchLoopArgs) -> Self {
        Self {
            machine,
            label_delay_rows: args.label_delay_rows,
            window_rows: args.window_rows,
            training_cost: args.training_cost,
            every: args.every.clone(),
            streams: Vec::new(),
        }
    }

    /// Where it was measured, and the head of the table.
    pub(super) fn head(&self) -> String {
        let every = self.every.iter().map(|rows| format!(" {:>7} |", format!("/{rows}"))).collect::<String>();
        let head = format!(
            "| {:<28} | {:>7} | {:>7} |{every} {:>7} | {:>7} | {:>9} | {:>7} | {:>6} | {:>9} | {:>10} | {:>6} |",
            "stream",
            "rows",
            "frozen",
            "changes",
            "follow",
            "hindsight",
            "ours",
            "regret",
            "trainings",
            "promotions",
            "delay"
        );
        let rule = head.replace(|c| c != '|', "-");
        format!(
            "{}; labels {} rows late, windows of {} rows; accuracy, or mean absolute error\n\n{head}\n{rule}\n",
            self.machine, self.label_delay_rows, self.window_rows
        )
    }

    /// What the columns are.
    pub(super) fn foot(&self) -> String {
        format!(
            "\n/N: retrained every N rows on the last N. changes: 500 rows after each known change; follow: also 250, 1000, \
             2000 and 4000 rows after it. hindsight: the best choice among all of these models, a training at the price of \
             {} wrong rows; regret: ours over that, trainings included. trainings: ours / every {}. delay: median rows from a \
             change to the next promotion.\n",
            self.training_cost,
            self.every.first().copied().unwrap_or_default()
        )
    }

    /// Writes `loop.md`, `loop.json` and `loop.svg`.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let place = || format!("writing the report to {}", folder.display());
        std::fs::create_dir_all(folder).with_context(place)?;
        std::fs::write(folder.join("loop.json"), serde_json::to_string_pretty(self)?).with_context(place)?;
        let lines = self.streams.iter().map(|stream| stream.line(&self.every)).collect::<String>();
        std::fs::write(folder.join("loop.md"), self.head() + &lines + &self.foot()).with_context(place)?;
        self.plot(&folder.join("loop.svg")).map_err(|error| anyhow!("{error}")).with_context(place)
    }

    /// For each stream the service's loss over time, with changes and promotions.
    fn plot(&self, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let height = PLOT.1 * u32::try_from(self.streams.len().max(1))?;
        let root = SVGBackend::new(file, (PLOT.0, height)).into_drawing_area();
        root.fill(&WHITE)?;
        for (stream, area) in self.streams.iter().zip(root.split_evenly((self.streams.len().max(1), 1))) {
            let most = stream.ours.losses.iter().copied().fold(1e-9, f64::max) * 1.1;
            let mut chart = ChartBuilder::on(&area)
                .caption(&stream.name, ("sans-serif", 15))
                .margin(8)
                .x_label_area_size(24)
                .y_label_area_size(48)
                .build_cartesian_2d(stream.first as f64..stream.rows as f64, 0.0..most)?;
            chart.configure_mesh().disable_x_mesh().x_labels(8).y_labels(4).y_desc("mean loss").draw()?;
            let mark = |at: usize, colour: RGBColor| PathElement::new([(at as f64, 0.0), (at as f64, most)], colour);
            chart.draw_series(stream.changes.iter().map(|at| mark(*at, RGBColor(214, 39, 40))))?;
            chart.draw_series(stream.ours.promotions.iter().map(|at| mark(*at, RGBColor(44, 160, 44))))?;
            let losses = stream.ours.losses.iter().enumerate();
            let points = losses.map(|(place, loss)| ((stream.first + place * 1_000) as f64 + 500.0, *loss));
            chart.draw_series([PathElement::new(points.collect::<Vec<_>>(), RGBColor(31, 119, 180))])?;
        }
        root.present()?;
        Ok(())
    }
}
