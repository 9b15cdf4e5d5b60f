//! A profile that is kept and seldom looked at, as the bytes that it is stored as.
//!
//! One in use has room for every bin. A reference holds a profile for each of its panes, which are many and may hold few
//! rows each: as bytes those take a fiftieth of that.

use super::{Profile, ProfileError};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// The bytes of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedProfile(Box<[u8]>);

impl PackedProfile {
    /// Packs a profile.
    ///
    /// # Errors
    /// When it cannot be encoded, as one with a negative count.
    pub fn of(profile: &Profile) -> Result<Self, ProfileError> {
        let bytes = rmp_serde::to_vec(profile).map_err(|error| ProfileError::Packing { reason: error.to_string() })?;
        Ok(Self(bytes.into()))
    }

    /// The profile that was packed.
    ///
    /// # Errors
    /// When the bytes cannot be decoded, which those of [`Self::of`] can.
    pub fn unpacked(&self) -> Result<Profile, ProfileError> {
        rmp_serde::from_slice(&self.0).map_err(|error| ProfileError::Packing { reason: error.to_string() })
    }
}

/// It is stored as the profile would be.
impl Serialize for PackedProfile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.unpacked().map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PackedProfile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(&Profile::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
