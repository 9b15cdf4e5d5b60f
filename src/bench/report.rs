//! What was measured: the figures, and their table, plot and JSON.

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;
use serde::Serialize;
use std::path::Path;

/// Pixels of the plot.
const PLOT: (u32, u32) = (960, 480);

/// How quickly something went.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Rate {
    /// Events.
    pub(super) events: u64,
    /// From the first to the last.
    pub(super) seconds: f64,
    /// Processor time that this process spent meanwhile.
    pub(super) processor_s: f64,
}

impl Rate {
    pub(super) fn per_second(&self) -> f64 {
        self.events as f64 / self.seconds
    }

    pub(super) fn processor_us_per_event(&self) -> f64 {
        self.processor_s * 1e6 / self.events as f64
    }

    fn processors(&self) -> f64 {
        self.processor_s / self.seconds
    }
}

/// What one topic showed.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) format: &'static str,
    pub(super) per_record: u64,
    pub(super) models: u32,
    pub(super) partitions: u32,
    pub(super) events: u64,
    /// Of the records' values.
    pub(super) bytes: u64,
    /// Of what capture wrote for the monitor.
    pub(super) internal_bytes: u64,
    /// A consumer that polls and drops.
    pub(super) bare: Rate,
    /// Capture alone.
    pub(super) capture: Rate,
    /// Capture with labels awaited, and the archive.
    pub(super) join_and_archive: Rate,
}

impl Figures {
    /// Its line of the table.
    pub(super) fn line(&self) -> String {
        let Self { format, per_record, bare, capture, join_and_archive, .. } = self;
        format!(
            "| {format:<11} | {per_record:>10} | {:>11.1} | {:>14.1} | {:>9.0} | {:>12.0} | {:>12.2} | {:>13.2} | {:>10.1} | {:>21.0} |\n",
            self.bytes as f64 / self.events as f64,
            self.internal_bytes as f64 / self.events as f64,
            bare.per_second(),
            capture.per_second(),
            capture.per_second() / bare.per_second(),
            capture.processor_us_per_event(),
            capture.processors(),
            join_and_archive.per_second()
        )
    }
}

/// Bars of one colour: what they are called, and which rate they show.
type Series = (&'static str, RGBColor, fn(&Figures) -> Rate);

/// All that was measured, and where.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    processors: usize,
    processor: String,
    measurements: Vec<Figures>,
}

/// How many processors there are, and what they are called; empty where the system does not say.
fn processors() -> (usize, String) {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = told.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let name = name.map_or_else(String::new, |(_, name)| name.to_owned());
    (std::thread::available_parallelism().map_or(0, usize::from), name)
}

/// The build and what it runs on, in a line.
pub(super) fn machine() -> String {
    let (processors, processor) = processors();
    format!("driftline {} on {processors} processors ({processor})", env!("CARGO_PKG_VERSION"))
}

impl Report {
    /// A report without figures.
    pub(super) fn of_this_machine() -> Self {
        let (processors, processor) = processors();
        Self { version: env!("CARGO_PKG_VERSION"), processors, processor, measurements: Vec::new() }
    }

    pub(super) fn add(&mut self, figures: Figures) {
        self.measurements.push(figures);
    }

    /// Where it was measured, and the head of the table.
    pub(super) fn head(&self) -> String {
        let Self { version, processors, processor, .. } = self;
        let head = "| format      | per record | bytes/event | internal bytes | bare ev/s | capture ev/s | capture/bare | cpu µs/event  | processors | with join and archive |";
        let rule = head.replace(|c| c != '|', "-");
        format!("driftline {version} on {processors} processors ({processor})\n\n{head}\n{rule}\n")
    }

    /// Writes the table, the plot and the figures.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let place = || format!("writing the report to {}", folder.display());
        std::fs::create_dir_all(folder).with_context(place)?;
        std::fs::write(folder.join("kafka.json"), serde_json::to_string_pretty(self)?).with_context(place)?;
        let lines = self.measurements.iter().map(Figures::line).collect::<String>();
        std::fs::write(folder.join("kafka.md"), self.head() + &lines).with_context(place)?;
        self.plot(&folder.join("kafka.svg")).map_err(|error| anyhow!("{error}")).with_context(place)
    }

    /// Events a second of each measurement, as bars.
    fn plot(&self, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::new(file, PLOT).into_drawing_area();
        root.fill(&WHITE)?;
        let series: [Series; 3] = [
            ("bare consumer", RGBColor(160, 160, 160), |figures| figures.bare),
            ("capture", RGBColor(31, 119, 180), |figures| figures.capture),
            ("capture, join and archive", RGBColor(255, 127, 14), |figures| figures.join_and_archive),
        ];
        let rates = self.measurements.iter().flat_map(|figures| series.map(|(_, _, rate)| rate(figures).per_second()));
        let most = rates.fold(0.0, f64::max) / 1e6;
        let names: Vec<_> =
            self.measurements.iter().map(|figures| format!("{} x {}", figures.format, figures.per_record)).collect();
        let mut chart = ChartBuilder::on(&root)
            .caption("Million events a second", ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .build_cartesian_2d(0.0..names.len() as f64, 0.0..most * 1.05)?;
        let name_at = |x: &f64| names.get(x.floor() as usize).cloned().unwrap_or_default();
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().x_labels(names.len() + 1).x_label_formatter(&name_at).draw()?;
        for (place, (name, colour, rate)) in series.into_iter().enumerate() {
            let bar = |(index, figures): (usize, &Figures)| {
                let left = index as f64 + 0.1 + 0.27 * place as f64;
                let top = rate(figures).per_second() / 1e6;
                Rectangle::new([(left, 0.0), (left + 0.25, top)], colour.filled())
            };
            let bars = chart.draw_series(self.measurements.iter().enumerate().map(bar))?;
            bars.label(name).legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
        }
        chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
        root.present()?;
        Ok(())
    }
}
