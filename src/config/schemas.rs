//! The section `schemas`: what records are written with that cannot be read without it.
//!
//! Shapes are checked when the file is read. Schemas, secrets and certificates are read when they are needed, so that a
//! configuration can be checked where there are none; the registry is not asked before a record names a schema.

use super::error::{ConfigError, Problem, Validated, refuse};
use super::secret::{SecretSource, secret};
use codec::schemas::{RegistrySettings, SchemaId, Schemas};
use serde::Deserialize;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSchemas {
    /// Avro schemas in files.
    files: Vec<RawFile>,
    /// File with the schema of Avro records that name none.
    unframed: Option<PathBuf>,
    registry: Option<RawRegistry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    file: PathBuf,
    /// What its records are framed with; its fingerprint goes without saying.
    #[serde(default)]
    ids: Vec<RawId>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a registry's number, or a GUID as `00112233-4455-6677-8899-aabbccddeeff`")]
enum RawId {
    Number(u32),
    Guid(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRegistry {
    /// Where its API begins: `/schemas/ids/…` follows.
    url: String,
    username: Option<String>,
    /// File with the password …
    password_file: Option<PathBuf>,
    /// … or the variable that holds it.
    password_env: Option<String>,
    /// File with the certificates that the registry's one is signed with, beside those of the system.
    ca: Option<PathBuf>,
    /// Driftline's own certificate, where the registry asks for one; with `key`.
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// Where schemas are.
#[derive(Debug, Clone)]
pub struct SchemasConfig {
    /// The configuration file, as messages call it.
    config: PathBuf,
    files: Vec<(PathBuf, Vec<SchemaId>)>,
    unframed: Option<PathBuf>,
    registry: Option<RegistryConfig>,
}

#[derive(Debug, Clone)]
struct RegistryConfig {
    settings: RegistrySettings,
    basic: Option<(String, SecretSource)>,
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
}

impl SchemasConfig {
    /// The schemas of the files.
    ///
    /// # Errors
    /// When a file cannot be read, or holds no schema that can be used.
    pub fn of_files(&self) -> Result<Schemas, ConfigError> {
        let unframed = self.unframed.iter().map(|file| ("unframed", file, vec![SchemaId::Unframed]));
        let mut schemas = Schemas::default();
        for (key, file, ids) in self.files.iter().map(|(file, ids)| ("files", file, ids.clone())).chain(unframed) {
            let text = String::from_utf8_lossy(&self.read(key, file)?).into_owned();
            let refuse = |error| self.refuse(key, format!("{}: {error}", file.display()));
            schemas = schemas.with_avro(&text, &ids).map_err(refuse)?;
        }
        Ok(schemas)
    }

    /// The schemas of the files, and the registry's.
    ///
    /// # Errors
    /// As there, and when a secret or a certificate cannot be read.
    pub fn open(&self) -> Result<Schemas, ConfigError> {
        let schemas = self.of_files()?;
        let Some(registry) = &self.registry else { return Ok(schemas) };
        let mut settings = registry.settings.clone();
        if let Some((username, source)) = &registry.basic {
            settings = settings.with_basic(username, source.read(&self.config, "schemas.registry")?);
        }
        if let Some(ca) = &registry.ca {
            settings = settings.with_ca(self.read("registry.ca", ca)?);
        }
        if let Some((certificate, key)) = &registry.identity {
            let mut pem = self.read("registry.certificate", certificate)?;
            pem.push(b'\n');
            pem.extend(self.read("registry.key", key)?);
            settings = settings.with_identity(pem);
        }
        schemas.with_registry(settings).map_err(|error| self.refuse("registry", error.to_string()))
    }

    fn read(&self, key: &str, file: &Path) -> Result<Vec<u8>, ConfigError> {
        std::fs::read(file).map_err(|error| self.refuse(key, format!("{} cannot be read: {error}", file.display())))
    }

    fn refuse(&self, key: &str, reason: String) -> ConfigError {
        ConfigError::Schemas { file: self.config.clone(), path: format!("schemas.{key}"), reason }
    }
}

/// Checks the section.
pub(super) fn schemas(raw: RawSchemas, config: &Path, folder: &Path) -> Validated<SchemasConfig> {
    let mut files = Vec::new();
    let mut known = HashSet::new();
    for RawFile { file, ids } in raw.files {
        let ids = ids.into_iter().map(schema_id).collect::<Validated<Vec<_>>>()?;
        if let Some(twice) = ids.iter().find(|id| !known.insert(**id)) {
            let reason = format!("{twice} has two files: an id stands for one schema");
            return refuse("schemas.files", Problem::Refused { reason });
        }
        files.push((folder.join(file), ids));
    }
    Ok(SchemasConfig {
        config: config.to_owned(),
        files,
        unframed: raw.unframed.map(|file| folder.join(file)),
        registry: raw.registry.map(|raw| registry(raw, folder)).transpose()?,
    })
}

fn schema_id(raw: RawId) -> Validated<SchemaId> {
    let guid = match raw {
        RawId::Number(number) => return Ok(SchemaId::Number(number)),
        RawId::Guid(guid) => guid,
    };
    SchemaId::guid(&guid).map_or_else(
        || {
            let reason = format!("`{guid}` is no GUID: write it as `00112233-4455-6677-8899-aabbccddeeff`");
            refuse("schemas.files", Problem::Refused { reason })
        },
        Ok,
    )
}

fn registry(raw: RawRegistry, folder: &Path) -> Validated<RegistryConfig> {
    let path = "schemas.registry";
    let settings = RegistrySettings::new(&raw.url)
        .or_else(|error| refuse(format!("{path}.url"), Problem::Refused { reason: error.to_string() }))?;
    let password = secret(path, ("password_file", raw.password_file), ("password_env", raw.password_env), folder)?;
    let basic = match (raw.username, password) {
        (Some(username), Some(password)) => Some((username, password)),
        (None, None) => None,
        (Some(_), None) => {
            let why = "the password is read from a file, or from `password_env`";
            return refuse(path, Problem::Needs { key: "password_file", why });
        }
        (None, Some(_)) => return refuse(path, Problem::Needs { key: "username", why: "the password is its own" }),
    };
    let identity = match (raw.certificate, raw.key) {
        (Some(certificate), Some(key)) => Some((folder.join(certificate), folder.join(key))),
        (None, None) => None,
        (Some(_), None) => return refuse(path, Problem::Needs { key: "key", why: "it proves the certificate" }),
        (None, Some(_)) => return refuse(path, Problem::Needs { key: "certificate", why: "`key` proves it" }),
    };
    Ok(RegistryConfig { settings, basic, ca: raw.ca.map(|ca| folder.join(ca)), identity })
}
