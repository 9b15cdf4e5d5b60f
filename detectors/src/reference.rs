//! A reference: what a version's traffic is held against, frozen.
//!
//! It holds layouts, counts and moments, for all of the traffic and for each segment, and the same again pane by pane, so
//! that one knows how windows of the reference vary among themselves. It holds no raw rows. Its id is a hash of its
//! content: equal content is the same reference, and nothing can be changed under an id.
//!
//! Deliberately absent: learning from rows, which is the work of whoever reads them.

use crate::layout::ColumnLayout;
use crate::moments::{Moments, StepMoments};
use crate::profile::{PackedProfile, Profile, ProfileError};
use crate::quality::{Quality, QualityError};
use crate::schema::{ColumnKind, ModelSchema};
use crate::verdict::Segment;
use crate::windows::{Window, WindowSpec, floor_to};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// What the bytes of a reference begin with; the last one is the version of the format.
const HEADER: [u8; 5] = *b"DLRF\x01";

/// Why a reference was refused.
#[derive(Debug, Error)]
pub enum ReferenceError {
    /// Layouts that are not those of the schema.
    #[error(
        "reference of {model} {version}: the layout of column `{column}` is missing or of another kind than the schema says"
    )]
    Layout {
        /// The model.
        model: String,
        /// The version.
        version: String,
        /// The column's name.
        column: String,
    },
    /// More layouts than columns.
    #[error("reference of {model} {version} has {layouts} layouts for {columns} columns")]
    LayoutCount {
        /// The model.
        model: String,
        /// The version.
        version: String,
        /// How many layouts there are.
        layouts: usize,
        /// How many columns the schema has.
        columns: usize,
    },
    /// The first slice is not the whole traffic, or a later one is.
    #[error("slice {place} of a reference: the first must be all of the traffic, and every other one a segment")]
    SliceOrder {
        /// Place of the slice.
        place: usize,
    },
    /// A profile that was counted against other layouts.
    #[error("slice {place} of a reference: {source}")]
    Profile {
        /// Place of the slice.
        place: usize,
        /// What does not fit.
        #[source]
        source: ProfileError,
    },
    /// Panes that are not aligned, or not in order of time.
    #[error(
        "slice {place} of a reference: its pane at {start_ms} ms is not aligned to {pane_ms} ms, or not after the one before it"
    )]
    Pane {
        /// Place of the slice.
        place: usize,
        /// Start of the pane.
        start_ms: i64,
        /// Length of a pane.
        pane_ms: i64,
    },
    /// Qualities of panes that do not add up.
    #[error("the qualities of a reference's panes do not add up: {source}")]
    Quality {
        /// What does not fit.
        #[source]
        source: QualityError,
    },
    /// Bytes of something else, or of a format that this program does not know.
    #[error("these bytes are no reference of format {known}: they were written by another version or are something else; learn the reference again", known = HEADER[4])]
    Format,
    /// Bytes that cannot be decoded.
    #[error("the reference cannot be decoded ({reason}): the file is torn; learn the reference again")]
    Undecodable {
        /// What the decoder said.
        reason: String,
    },
    /// Content that cannot be encoded.
    #[error("the reference cannot be encoded: {reason}")]
    Unencodable {
        /// What the encoder said.
        reason: String,
    },
}

/// What a reference was learned from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A file.
    File {
        /// Its name, without the folder.
        name: String,
        /// SHA-256 of its bytes.
        digest: String,
    },
    /// A range of event time of the archive.
    Archive {
        /// First millisecond.
        from_ms: i64,
        /// First millisecond after it.
        until_ms: i64,
    },
    /// The training set of a promoted version.
    TrainingSet {
        /// Its digest.
        digest: String,
    },
}

/// One pane of a slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReferencePane {
    /// Start of the pane.
    pub start_ms: i64,
    /// Its rows.
    pub profile: PackedProfile,
    /// Its labelled rows, where there are labels.
    pub quality: Option<Quality>,
}

/// All of the traffic, or one segment of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// The segment; `None` for all of the traffic.
    pub segment: Option<Segment>,
    /// All rows of the slice.
    pub profile: Profile,
    /// All labelled rows, where there are labels.
    pub quality: Option<Quality>,
    /// The same rows pane by pane, oldest first; panes without rows may be absent.
    pub panes: Vec<ReferencePane>,
}

/// Where values lie and how far they spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (of the population).
    pub standard_deviation: f64,
}

impl Spread {
    /// Of the values that the moments hold; `None` where there are none, or they are not finite.
    pub fn of(moments: &Moments) -> Option<Self> {
        let (mean, standard_deviation) = (moments.mean()?, moments.variance()?.sqrt());
        (mean.is_finite() && standard_deviation.is_finite()).then_some(Self { mean, standard_deviation })
    }
}

/// How one measure varied over the reference's steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepSpread {
    /// Over single rows.
    pub of_rows: Spread,
    /// Over the means of steps.
    pub of_step_means: Spread,
}

impl StepSpread {
    fn learn(steps: impl Iterator<Item = Moments>) -> Option<Self> {
        let (mut rows, mut means) = (Moments::default(), Moments::default());
        for step in steps {
            rows.merge(&step);
            if let Some(mean) = step.mean() {
                means.merge(&Moments::of(mean));
            }
        }
        Some(Self { of_rows: Spread::of(&rows)?, of_step_means: Spread::of(&means)? })
    }
}

/// What the sequential detectors need to know of the reference; a measure without values is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReferenceSteps {
    /// Length of a step.
    pub step_ms: i64,
    /// All steps together.
    pub total: StepMoments,
    /// Of the errors.
    pub error: Option<StepSpread>,
    /// Of the losses.
    pub loss: Option<StepSpread>,
    /// Of the predictions.
    pub prediction: Option<StepSpread>,
}

impl ReferenceSteps {
    /// Learned from the reference's steps of `step_ms` each.
    pub fn learn(step_ms: i64, steps: &[StepMoments]) -> Self {
        let mut total = StepMoments::default();
        steps.iter().for_each(|step| total.merge(step));
        Self {
            step_ms,
            total,
            error: StepSpread::learn(steps.iter().map(|step| step.error)),
            loss: StepSpread::learn(steps.iter().map(|step| step.loss)),
            prediction: StepSpread::learn(steps.iter().map(|step| step.prediction)),
        }
    }
}

/// What a reference is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReferenceParts {
    /// The model.
    pub model: String,
    /// The version that answered.
    pub version: String,
    /// The columns.
    pub schema: ModelSchema,
    /// What it was learned from.
    pub origin: Origin,
    /// The windows it is to judge; the panes have their length.
    pub windows: WindowSpec,
    /// How each column is counted, in the schema's order.
    pub layouts: Vec<ColumnLayout>,
    /// All of the traffic, then its segments.
    pub slices: Vec<Slice>,
    /// For the sequential detectors, where there are labels.
    pub steps: Option<ReferenceSteps>,
}

/// One full window of a reference.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceWindow {
    /// Its span.
    pub window: Window,
    /// Its rows.
    pub profile: Profile,
    /// Its labelled rows, where there are labels.
    pub quality: Option<Quality>,
}

/// What a version's traffic is held against, frozen under an id.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    id: String,
    parts: ReferenceParts,
}

impl Reference {
    /// Checks the parts and freezes them under the hash of their content.
    ///
    /// # Errors
    /// When the parts do not fit each other.
    pub fn new(parts: ReferenceParts) -> Result<Self, ReferenceError> {
        let content = encode(&parts)?;
        Self::frozen(parts, &content)
    }

    fn frozen(parts: ReferenceParts, content: &[u8]) -> Result<Self, ReferenceError> {
        check_layouts(&parts)?;
        for (place, slice) in parts.slices.iter().enumerate() {
            check_slice(&parts, place, slice)?;
        }
        if parts.slices.is_empty() {
            return Err(ReferenceError::SliceOrder { place: 0 });
        }
        let id = hex::encode(Sha256::digest(content).get(..16).unwrap_or_default());
        Ok(Self { id, parts })
    }

    /// 32 hexadecimal digits that stand for the content.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The model.
    pub fn model(&self) -> &str {
        &self.parts.model
    }

    /// The version that answered.
    pub fn version(&self) -> &str {
        &self.parts.version
    }

    /// The columns.
    pub fn schema(&self) -> &ModelSchema {
        &self.parts.schema
    }

    /// What it was learned from.
    pub fn origin(&self) -> &Origin {
        &self.parts.origin
    }

    /// The windows it judges.
    pub fn windows(&self) -> WindowSpec {
        self.parts.windows
    }

    /// How each column is counted, in the schema's order.
    pub fn layouts(&self) -> &[ColumnLayout] {
        &self.parts.layouts
    }

    /// All of the traffic, then its segments.
    pub fn slices(&self) -> &[Slice] {
        &self.parts.slices
    }

    /// For the sequential detectors.
    pub fn steps(&self) -> Option<&ReferenceSteps> {
        self.parts.steps.as_ref()
    }

    /// The place among [`Self::slices`] of a segment, or of all of the traffic.
    pub fn slice_of(&self, segment: Option<&Segment>) -> Option<usize> {
        self.parts.slices.iter().position(|slice| slice.segment.as_ref() == segment)
    }

    /// A slice as tumbling windows of the specification's size, oldest first: those that lie wholly between the
    /// reference's first pane and its last, and have rows. None where there is no such slice.
    ///
    /// # Errors
    /// When the panes' qualities do not add up, which those of one model always do.
    pub fn window_profiles(&self, slice: usize) -> Result<Vec<ReferenceWindow>, ReferenceError> {
        let (Some(whole), Some(slice_panes)) = (self.parts.slices.first(), self.parts.slices.get(slice)) else {
            return Ok(Vec::new());
        };
        let (Some(first), Some(last)) = (whole.panes.first(), whole.panes.last()) else {
            return Ok(Vec::new());
        };
        let until_ms = last.start_ms + self.parts.windows.pane_ms();
        let size_ms = self.parts.windows.size_ms();
        let mut windows = Vec::new();
        for panes in slice_panes.panes.chunk_by(|a, b| floor_to(a.start_ms, size_ms) == floor_to(b.start_ms, size_ms)) {
            let start_ms = panes.first().map(|pane| floor_to(pane.start_ms, size_ms)).unwrap_or_default();
            let window = Window { start_ms, end_ms: start_ms + size_ms };
            if window.start_ms >= first.start_ms && window.end_ms <= until_ms {
                windows.push(self.merge_panes(window, panes, place_error(slice))?);
            }
        }
        Ok(windows)
    }

    /// The bytes to store: a header with the format's version, then MessagePack.
    ///
    /// # Errors
    /// When the encoder refuses, which it does not for a reference that was checked.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ReferenceError> {
        let mut bytes = HEADER.to_vec();
        bytes.extend(encode(&self.parts)?);
        Ok(bytes)
    }

    /// The reference that [`Self::to_bytes`] has written. Its id is that of these bytes.
    ///
    /// # Errors
    /// When the bytes are no reference, are of another format, or their parts do not fit each other.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReferenceError> {
        let content = bytes.strip_prefix(&HEADER).ok_or(ReferenceError::Format)?;
        let parts = rmp_serde::from_slice(content)
            .map_err(|error| ReferenceError::Undecodable { reason: error.to_string() })?;
        Self::frozen(parts, content)
    }

    fn merge_panes(
        &self,
        window: Window,
        panes: &[ReferencePane],
        misfit: impl Fn(ProfileError) -> ReferenceError,
    ) -> Result<ReferenceWindow, ReferenceError> {
        let mut profile = Profile::empty(&self.parts.layouts);
        let mut quality: Option<Quality> = None;
        for pane in panes {
            profile.merge(&pane.profile.unpacked().map_err(&misfit)?).map_err(&misfit)?;
            match (&mut quality, &pane.quality) {
                (Some(sum), Some(part)) => sum.merge(part).map_err(|source| ReferenceError::Quality { source })?,
                (None, Some(part)) => quality = Some(part.clone()),
                (_, None) => {}
            }
        }
        Ok(ReferenceWindow { window, profile, quality })
    }
}

fn encode(parts: &ReferenceParts) -> Result<Vec<u8>, ReferenceError> {
    rmp_serde::to_vec(parts).map_err(|error| ReferenceError::Unencodable { reason: error.to_string() })
}

fn place_error(place: usize) -> impl Fn(ProfileError) -> ReferenceError {
    move |source| ReferenceError::Profile { place, source }
}

fn check_layouts(parts: &ReferenceParts) -> Result<(), ReferenceError> {
    let (model, version) = (parts.model.clone(), parts.version.clone());
    let (layouts, columns) = (parts.layouts.len(), parts.schema.columns.len());
    for (place, column) in parts.schema.columns.iter().enumerate() {
        let fits = match parts.layouts.get(place) {
            Some(ColumnLayout::Numeric(_)) => column.kind == ColumnKind::Numeric,
            Some(ColumnLayout::Categorical(_)) => column.kind == ColumnKind::Categorical,
            None => false,
        };
        if !fits {
            return Err(ReferenceError::Layout { model, version, column: column.name.clone() });
        }
    }
    if layouts > columns {
        return Err(ReferenceError::LayoutCount { model, version, layouts, columns });
    }
    Ok(())
}

fn check_slice(parts: &ReferenceParts, place: usize, slice: &Slice) -> Result<(), ReferenceError> {
    if (place == 0) != slice.segment.is_none() {
        return Err(ReferenceError::SliceOrder { place });
    }
    slice.profile.check_columns(&parts.layouts).map_err(place_error(place))?;
    let pane_ms = parts.windows.pane_ms();
    let mut before = None;
    for pane in &slice.panes {
        let start_ms = pane.start_ms;
        if parts.windows.pane_of(start_ms) != start_ms || before.is_some_and(|before| before >= start_ms) {
            return Err(ReferenceError::Pane { place, start_ms, pane_ms });
        }
        before = Some(start_ms);
        let profile = pane.profile.unpacked().map_err(place_error(place))?;
        profile.check_columns(&parts.layouts).map_err(place_error(place))?;
    }
    Ok(())
}
