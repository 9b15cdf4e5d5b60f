//! A dashboard as Grafana reads it: those fields of its schema that are used here, under its names.

use super::{Choice, Panel, PanelKind, Query, ReadModel, Variable};
use serde::Serialize;
use serde_json::{Value, json};

/// The version of Grafana's schema that these fields are of.
const SCHEMA_VERSION: u32 = 39;

/// Columns of a dashboard.
const COLUMNS: u32 = 24;

/// Where the model's page is.
const PAGE_LINK: &str = "${page}/models/${__field.labels.model}";

/// The file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DashboardFile {
    uid: &'static str,
    title: &'static str,
    description: &'static str,
    tags: [&'static str; 1],
    timezone: &'static str,
    editable: bool,
    graph_tooltip: u8,
    schema_version: u32,
    refresh: &'static str,
    time: TimeRange,
    links: Vec<Value>,
    annotations: List<Value>,
    templating: List<Value>,
    panels: Vec<PanelJson>,
}

#[derive(Debug, Serialize)]
struct TimeRange {
    from: &'static str,
    to: &'static str,
}

#[derive(Debug, Serialize)]
struct List<T> {
    list: Vec<T>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PanelJson {
    id: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    description: &'static str,
    datasource: DataSource,
    grid_pos: Place,
    targets: Vec<Target>,
    field_config: Value,
    options: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transformations: Vec<Value>,
}

#[derive(Debug, Serialize)]
struct DataSource {
    #[serde(rename = "type")]
    kind: &'static str,
    uid: &'static str,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Place {
    x: u32,
    y: u32,
    w: u32,
    h: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    ref_id: String,
    datasource: DataSource,
    expr: String,
    legend_format: &'static str,
    instant: bool,
    range: bool,
    format: &'static str,
}

impl DataSource {
    const CHOSEN: Self = Self { kind: "prometheus", uid: "${datasource}" };
}

impl DashboardFile {
    /// The file of a dashboard.
    pub fn new(read_model: &ReadModel) -> Self {
        Self {
            uid: read_model.uid,
            title: read_model.title,
            description: read_model.description,
            tags: ["driftline"],
            timezone: "browser",
            editable: false,
            graph_tooltip: 1,
            schema_version: SCHEMA_VERSION,
            refresh: "30s",
            time: TimeRange { from: "now-24h", to: "now" },
            links: vec![json!({"type": "dashboards", "title": "Driftline", "tags": ["driftline"], "asDropdown": true,
                "includeVars": true, "keepTime": true})],
            annotations: List { list: marks(read_model) },
            templating: List { list: variables(read_model) },
            panels: panels(read_model.panels),
        }
    }
}

/// A mark where another version came to answer.
fn marks(read_model: &ReadModel) -> Vec<Value> {
    let mark = json!({
        "name": "Promotions",
        "datasource": DataSource::CHOSEN,
        "enable": true,
        "iconColor": "purple",
        "expr": r#"max by (model, version) (driftline_champion_since_timestamp_seconds{model="$model"}) * 1000"#,
        "titleFormat": "{{version}} answers",
        "useValueForTime": "on",
    });
    if read_model.marks_promotions { vec![mark] } else { Vec::new() }
}

fn variables(read_model: &ReadModel) -> Vec<Value> {
    let source = json!({"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"});
    let page =
        json!({"name": "page", "label": "Driftline's address", "type": "textbox", "query": "http://127.0.0.1:9464"});
    let chosen = read_model.variables.iter().map(|Variable { name, label, query, choice }| {
        let is_any = *choice == Choice::Any;
        json!({"name": name, "label": label, "type": "query", "query": {"query": query, "refId": name},
            "datasource": DataSource::CHOSEN, "refresh": 2, "sort": 1, "multi": is_any, "includeAll": is_any,
            "allValue": is_any.then_some(".*")})
    });
    [source].into_iter().chain(chosen).chain([page]).collect()
}

/// Panels from left to right, in rows as high as their highest.
fn panels(panels: &[Panel]) -> Vec<PanelJson> {
    let mut placed = Vec::new();
    let (mut x, mut y, mut row) = (0, 0, 0);
    for (id, panel) in (1..).zip(panels) {
        let (w, h) = (panel.width, panel.kind.height());
        if x + w > COLUMNS {
            (x, y, row) = (0, y + row, 0);
        }
        placed.push(PanelJson::new(id, panel, Place { x, y, w, h }));
        (x, row) = (x + w, row.max(h));
    }
    placed
}

impl PanelJson {
    fn new(id: u32, panel: &Panel, grid_pos: Place) -> Self {
        Self {
            id,
            kind: panel.kind.name(),
            title: panel.title,
            description: panel.description,
            datasource: DataSource::CHOSEN,
            grid_pos,
            targets: ('A'..).zip(panel.queries).map(|(id, query)| Target::new(id, query, panel.kind)).collect(),
            field_config: json!({"defaults": panel.field_defaults(), "overrides": []}),
            options: panel.kind.options(),
            transformations: panel.kind.transformations(),
        }
    }
}

impl Target {
    fn new(id: char, query: &Query, kind: PanelKind) -> Self {
        let is_now = matches!(kind, PanelKind::Table | PanelKind::Number | PanelKind::Trouble);
        Self {
            ref_id: id.to_string(),
            datasource: DataSource::CHOSEN,
            expr: query.expr.split_whitespace().collect::<Vec<_>>().join(" "),
            legend_format: query.legend,
            instant: is_now,
            range: !is_now,
            format: if kind == PanelKind::Table { "table" } else { "time_series" },
        }
    }
}

impl Panel {
    fn field_defaults(&self) -> Value {
        let links = json!([{"title": "The model's page", "url": PAGE_LINK, "targetBlank": true}]);
        let names_models = self.queries.iter().any(|query| query.legend.contains("{{model}}"));
        let steps = match self.kind {
            PanelKind::Ratios => json!([{"color": "green", "value": null}, {"color": "red", "value": 1}]),
            PanelKind::States | PanelKind::Trouble => {
                json!([{"color": "green", "value": null}, {"color": "red", "value": 1}])
            }
            _ => json!([{"color": "blue", "value": null}]),
        };
        let custom = match self.kind {
            PanelKind::Ratios => json!({"thresholdsStyle": {"mode": "line"}, "spanNulls": false}),
            PanelKind::Lines => json!({"spanNulls": false}),
            _ => json!({}),
        };
        json!({"unit": self.unit, "links": if names_models { links } else { json!([]) }, "custom": custom,
            "thresholds": {"mode": "absolute", "steps": steps}})
    }
}

impl PanelKind {
    fn name(self) -> &'static str {
        match self {
            Self::Lines | Self::Ratios => "timeseries",
            Self::Number | Self::Trouble => "stat",
            Self::Table => "table",
            Self::States => "state-timeline",
        }
    }

    fn height(self) -> u32 {
        match self {
            Self::Number | Self::Trouble => 4,
            _ => 8,
        }
    }

    fn options(self) -> Value {
        match self {
            Self::Lines | Self::Ratios => {
                json!({"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull"]},
                "tooltip": {"mode": "multi", "sort": "desc"}})
            }
            Self::Number | Self::Trouble => json!({"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"}),
            Self::Table => json!({"sortBy": [{"displayName": "Value", "desc": true}]}),
            Self::States => json!({"mergeValues": true, "showValue": "never", "rowHeight": 0.9}),
        }
    }

    fn transformations(self) -> Vec<Value> {
        match self {
            Self::Table => vec![json!({"id": "organize", "options": {"excludeByName": {"Time": true}}})],
            _ => Vec::new(),
        }
    }
}
