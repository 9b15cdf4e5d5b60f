//! Dashboards for Grafana, made from tables in here and checked in as `dashboards/grafana/`.
//!
//! Each begins with what may be wrong and ends with what explains it. A panel names the unit of what it shows and says in a
//! sentence what to make of it; its links lead to the model's page of the service, whose address is a variable.

mod fleet;
mod json;
mod model;
mod pipeline;
mod segments;

pub use json::DashboardFile;

/// A dashboard.
#[derive(Debug, Clone, Copy)]
pub struct ReadModel {
    /// Its id, which links go by, and the name of its file.
    pub uid: &'static str,
    /// Its title.
    pub title: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// What can be chosen.
    pub variables: &'static [Variable],
    /// Whether changes of champions are marked.
    pub marks_promotions: bool,
    /// Its panels, in reading order.
    pub panels: &'static [Panel],
}

/// Something that can be chosen.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it is called.
    pub label: &'static str,
    /// The query for its values.
    pub query: &'static str,
    /// Whether all values may be chosen at once.
    pub choice: Choice,
}

/// How many values of a variable are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// One.
    One,
    /// Any, and all at first.
    Any,
}

/// A panel.
#[derive(Debug, Clone, Copy)]
pub struct Panel {
    /// How it shows.
    pub kind: PanelKind,
    /// Its title.
    pub title: &'static str,
    /// What to make of it.
    pub description: &'static str,
    /// Grafana's name of the unit.
    pub unit: &'static str,
    /// Of the 24 columns of a dashboard.
    pub width: u32,
    /// What it asks.
    pub queries: &'static [Query],
}

/// How a panel shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PanelKind {
    /// Lines over time.
    Lines,
    /// Lines over time, with a line at 1, beyond which a threshold is passed.
    Ratios,
    /// A number.
    Number,
    /// A number that is green at 0 and red above.
    Trouble,
    /// A table of what is now, the largest first.
    Table,
    /// Bands of states over time: 0 green, 1 red.
    States,
}

/// A query, with what its series are called.
#[derive(Debug, Clone, Copy)]
pub struct Query {
    /// The query.
    pub expr: &'static str,
    /// What a series is called, with labels in double braces.
    pub legend: &'static str,
    /// When it has no series although all is well; empty where it always has.
    pub empty_when: &'static str,
}

/// A query that always has series.
const fn query(expr: &'static str, legend: &'static str) -> Query {
    Query { expr, legend, empty_when: "" }
}

/// A query that has none at times.
const fn query_or_none(expr: &'static str, legend: &'static str, empty_when: &'static str) -> Query {
    Query { expr, legend, empty_when }
}

/// Every dashboard.
pub const BOARDS: &[ReadModel] = &[fleet::BOARD, model::BOARD, segments::BOARD, pipeline::BOARD];

const MODEL: Variable = Variable {
    name: "model",
    label: "Model",
    query: "label_values(driftline_model_window_seconds, model)",
    choice: Choice::One,
};

const VERSION: Variable = Variable {
    name: "version",
    label: "Version",
    query: r#"label_values(driftline_window_rows{model="$model"}, version)"#,
    choice: Choice::Any,
};

#[cfg(test)]
mod tests;
