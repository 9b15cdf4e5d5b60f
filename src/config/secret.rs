//! The key with which columns are hashed, and passwords.
//!
//! They come from files or from the environment and never stand in the configuration; they are never printed.

use super::error::{ConfigError, Problem, Validated, refuse};
use super::{HASH_KEY_VARIABLE, LEAST_KEY_BYTES};
use codec::decode::HashKey;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use streams::secret::Secret;

/// Reads the key from `variable`'s value or else from the file, with surrounding white space removed.
pub(super) fn read(config: &Path, key_file: Option<&Path>, variable: Option<OsString>) -> Result<HashKey, ConfigError> {
    let refuse = |reason: String| ConfigError::HashKey { file: config.to_owned(), reason };
    let (bytes, origin) = match (variable, key_file) {
        (Some(value), _) => (value.into_encoded_bytes(), HASH_KEY_VARIABLE.to_owned()),
        (None, Some(path)) => {
            let bytes =
                std::fs::read(path).map_err(|error| refuse(format!("cannot read {}: {error}", path.display())))?;
            (bytes, path.display().to_string())
        }
        (None, None) => {
            return Err(refuse(
                "a feature has `privacy: hash`, or is a category with `profile_only`, but there is no key".to_owned(),
            ));
        }
    };
    let key = bytes.trim_ascii().to_vec();
    if key.len() < LEAST_KEY_BYTES {
        return Err(refuse(format!("the key in {origin} has {} bytes", key.len())));
    }
    Ok(HashKey::new(&key))
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SecretSource {
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
}

impl SecretSource {
    /// Reads it; `path` is the section that names it.
    pub(super) fn read(&self, config: &Path, path: &str) -> Result<Secret, ConfigError> {
        let refuse = |reason| ConfigError::Secret { file: config.to_owned(), path: path.to_owned(), reason };
        let text = match self {
            Self::File(file) => std::fs::read_to_string(file)
                .map_err(|error| refuse(format!("the secret in {} cannot be read: {error}", file.display())))?,
            Self::Variable(name) => {
                std::env::var(name).map_err(|_| refuse(format!("the variable {name} is not set, or is no text")))?
            }
        };
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(refuse("the secret is empty".to_owned())),
            secret => Ok(Secret::new(secret)),
        }
    }
}

/// The one of two keys that says where a secret is; `None` where neither does.
pub(super) fn secret(
    path: &str,
    (file_key, file): (&'static str, Option<PathBuf>),
    (variable_key, variable): (&'static str, Option<String>),
    folder: &Path,
) -> Validated<Option<SecretSource>> {
    match (file, variable) {
        (Some(_), Some(_)) => refuse(path, Problem::Exclusive { one: file_key, other: variable_key }),
        (Some(file), None) => Ok(Some(SecretSource::File(folder.join(file)))),
        (None, variable) => Ok(variable.map(SecretSource::Variable)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_key_is_no_part_of_it() {
        let key = read(Path::new("c.yaml"), None, Some("0123456789abcdef\n".into())).unwrap();
        assert_eq!(key.hash(b"town"), HashKey::new(b"0123456789abcdef").hash(b"town"));
    }

    #[test]
    fn a_short_or_missing_key_is_refused_without_showing_it() {
        let short = read(Path::new("c.yaml"), None, Some("secret".into())).unwrap_err().to_string();
        assert!(short.contains("6 bytes") && !short.contains("secret"), "{short}");
        assert!(read(Path::new("c.yaml"), None, None).unwrap_err().to_string().contains("there is no key"));
    }
}
