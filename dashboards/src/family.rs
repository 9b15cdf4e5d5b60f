//! One family of series with a cap on how many it may have.
//!
//! Label values come from configuration and from events; a mistake in either must not fill the memory of Driftline and of
//! every Prometheus that scrapes it. Where the first label names a model the cap is each model's own, so that one cannot take
//! another's room. At its cap a family takes no new series: a gauge's value is dropped, a counter's and a histogram's goes to
//! one series whose labels, but for the model, all read `other`, so that sums stay true. Which of them happened, the caller is
//! told.

use crate::catalogue::{Kind, Metric};
use prometheus::{Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, Opts, Registry};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The label value of the series that takes what a full family cannot tell apart.
const OTHER: &str = "other";

/// Whether an update got the series it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// The series took it.
    Found,
    /// The family is at its cap.
    Full,
}

/// The series of one metric.
pub(crate) struct Family {
    vec: Vector,
    /// Keyed by the label values, each preceded by its length so that no two lists share a key.
    series: HashMap<String, Series>,
    /// Series of each model, or of the one owner `""`.
    owned: HashMap<String, usize>,
    is_of_models: bool,
    most: usize,
}

enum Vector {
    Counter(CounterVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
}

struct Series {
    labels: Vec<String>,
    handle: Handle,
}

enum Handle {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Family {
    /// The metric's family, registered, with at most `most` series, of each model where it is of models, and one for the rest.
    pub(crate) fn register(metric: &Metric, most: usize, registry: &Registry) -> prometheus::Result<Self> {
        let opts = Opts::new(metric.name, metric.help);
        let vec = match metric.kind {
            Kind::Counter => Vector::Counter(CounterVec::new(opts, metric.labels)?),
            Kind::Gauge => Vector::Gauge(GaugeVec::new(opts, metric.labels)?),
            Kind::Histogram(bounds) => {
                let opts = HistogramOpts::from(opts).buckets(bounds.to_vec());
                Vector::Histogram(HistogramVec::new(opts, metric.labels)?)
            }
        };
        match &vec {
            Vector::Counter(vec) => registry.register(Box::new(vec.clone()))?,
            Vector::Gauge(vec) => registry.register(Box::new(vec.clone()))?,
            Vector::Histogram(vec) => registry.register(Box::new(vec.clone()))?,
        }
        let is_of_models = metric.is_of_models();
        Ok(Self { vec, series: HashMap::new(), owned: HashMap::new(), is_of_models, most })
    }

    /// How many series it has.
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Adds to a counter.
    pub(crate) fn add(&mut self, labels: &[&str], count: u64) -> prometheus::Result<Room> {
        let (room, handle) = self.series_or_other(labels)?;
        if let Handle::Counter(counter) = handle {
            counter.inc_by(count as f64);
        }
        Ok(room)
    }

    /// Brings a counter to a total that someone else keeps.
    pub(crate) fn raise(&mut self, labels: &[&str], total: f64) -> prometheus::Result<Room> {
        let (room, handle) = self.series_or_other(labels)?;
        if let Handle::Counter(counter) = handle {
            counter.inc_by((total - counter.get()).max(0.0));
        }
        Ok(room)
    }

    /// Adds an observation to a histogram.
    pub(crate) fn observe(&mut self, labels: &[&str], value: f64) -> prometheus::Result<Room> {
        let (room, handle) = self.series_or_other(labels)?;
        if let Handle::Histogram(histogram) = handle {
            histogram.observe(value);
        }
        Ok(room)
    }

    /// Sets a gauge, if there is room for it.
    pub(crate) fn set(&mut self, labels: &[&str], value: f64) -> prometheus::Result<Room> {
        if self.is_full_for(labels) {
            return Ok(Room::Full);
        }
        if let Handle::Gauge(gauge) = self.series(labels)? {
            gauge.set(value);
        }
        Ok(Room::Found)
    }

    /// Ends one series and makes room for another.
    pub(crate) fn remove(&mut self, labels: &[&str]) {
        if let Some(series) = self.series.remove(&key_of(labels)) {
            self.forget(&series);
        }
    }

    /// Ends every series whose label values are accepted by `stale`.
    pub(crate) fn remove_where(&mut self, stale: impl Fn(&[String]) -> bool) {
        let gone: Vec<_> = self.series.extract_if(|_, series| stale(&series.labels)).collect();
        for (_, series) in gone {
            self.forget(&series);
        }
    }

    fn series_or_other(&mut self, labels: &[&str]) -> prometheus::Result<(Room, &Handle)> {
        if !self.is_full_for(labels) {
            return Ok((Room::Found, self.series(labels)?));
        }
        let known = usize::from(self.is_of_models);
        let other: Vec<_> =
            labels.iter().enumerate().map(|(at, label)| if at < known { *label } else { OTHER }).collect();
        Ok((Room::Full, self.series(&other)?))
    }

    fn is_full_for(&self, labels: &[&str]) -> bool {
        let owned = self.owned.get(self.owner(labels)).copied().unwrap_or_default();
        owned >= self.most && !self.series.contains_key(&key_of(labels))
    }

    /// Whose room a series takes.
    fn owner<'a>(&self, labels: &[&'a str]) -> &'a str {
        labels.first().filter(|_| self.is_of_models).copied().unwrap_or_default()
    }

    fn series(&mut self, labels: &[&str]) -> prometheus::Result<&Handle> {
        let owner = self.owner(labels);
        let series = match self.series.entry(key_of(labels)) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => {
                let handle = self.vec.child(labels)?;
                *self.owned.entry(owner.to_owned()).or_default() += 1;
                place.insert(Series { labels: labels.iter().map(|label| (*label).to_owned()).collect(), handle })
            }
        };
        Ok(&series.handle)
    }

    /// The vector knows every series of `self.series`, so there is nothing to do where it says that it does not.
    fn forget(&mut self, series: &Series) {
        let labels: Vec<_> = series.labels.iter().map(String::as_str).collect();
        let owner = self.owner(&labels);
        match self.owned.get_mut(owner) {
            Some(owned) if *owned > 1 => *owned -= 1,
            _ => drop(self.owned.remove(owner)),
        }
        let removed = match &self.vec {
            Vector::Counter(vec) => vec.remove_label_values(&series.labels),
            Vector::Gauge(vec) => vec.remove_label_values(&series.labels),
            Vector::Histogram(vec) => vec.remove_label_values(&series.labels),
        };
        debug_assert!(removed.is_ok(), "a series is in the vector from its insertion in `Family::series` on");
    }
}

impl Vector {
    fn child(&self, labels: &[&str]) -> prometheus::Result<Handle> {
        Ok(match self {
            Self::Counter(vec) => Handle::Counter(vec.get_metric_with_label_values(labels)?),
            Self::Gauge(vec) => Handle::Gauge(vec.get_metric_with_label_values(labels)?),
            Self::Histogram(vec) => Handle::Histogram(vec.get_metric_with_label_values(labels)?),
        })
    }
}

fn key_of(labels: &[&str]) -> String {
    let mut key = String::with_capacity(labels.iter().map(|label| label.len() + 4).sum());
    for label in labels {
        key.push_str(&label.len().to_string());
        key.push(':');
        key.push_str(label);
    }
    key
}
