//! From decoded events to partial profiles, and to the archive.
//!
//! Modules follow the data: records find their partition; labels join their predictions; one DataFusion query counts rows
//! into the profiles of windows; the capture stage runs these and writes partials. The archive stage keeps the rows, and
//! the modules after it read them back.

pub mod repartition;

pub mod join;
pub mod segments;
pub mod watched;
pub mod window_query;

pub mod scan;

pub mod references;

pub mod partial;
pub mod stage;
pub mod watermark_alignment;

pub mod archive;
pub mod history;
pub mod learn;

#[cfg(any(test, feature = "fixtures"))]
#[doc(hidden)]
pub mod fixtures;
