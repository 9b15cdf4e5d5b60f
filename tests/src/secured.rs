//! A real Kafka that asks who its clients are: one broker with a door for each way to prove it.
//!
//! Certificates are made anew each time. Behind every door the same topics lie; authorization is not what is tested.

use crate::kafka::{Cluster, Demands, free_ports};
use anyhow::{Context, Result};
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::symm::Cipher;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};
use std::path::Path;

/// The user that may log in, and how.
pub const USER: &str = "driftline";
/// The user's password.
pub const PASSWORD: &str = "open-sesame-4711";
/// What the encrypted key is encrypted with.
pub const KEY_PASSWORD: &str = "open-barley-4712";

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A password, in the clear.
    Sasl,
    /// A password, within TLS.
    SaslTls,
    /// TLS; whoever trusts the broker comes in.
    Tls,
    /// TLS, and a certificate of the client's own.
    MutualTls,
}

/// The doors, with the names of their listeners and the protocols that Kafka calls them by.
const DOORS: [(Door, &str, &str); 4] = [
    (Door::Sasl, "SASL", "SASL_PLAINTEXT"),
    (Door::SaslTls, "SASLTLS", "SASL_SSL"),
    (Door::Tls, "TLS", "SSL"),
    (Door::MutualTls, "MUTUAL", "SSL"),
];

/// The broker, while it runs.
pub struct SecuredKafka {
    _cluster: Cluster,
    ports: Vec<u16>,
    files: tempfile::TempDir,
}

impl SecuredKafka {
    /// Starts it, and waits until it answers; `None` (told) where there are no jars.
    ///
    /// # Errors
    /// When it does not start; the message holds what it said.
    pub fn start() -> Result<Option<Self>> {
        let files = tempfile::tempdir()?;
        let ports = free_ports(DOORS.len())?;
        let (broker, trusted) = write_certificates(files.path())?;
        let listeners = DOORS.iter().zip(&ports);
        let demands = Demands {
            listeners: listeners.map(|((_, name, protocol), port)| (*name, *protocol, *port)).collect(),
            settings: settings(&broker, &trusted),
            scram: ["SCRAM-SHA-256", "SCRAM-SHA-512"]
                .map(|mechanism| format!("{mechanism}=[name={USER},password={PASSWORD}]"))
                .to_vec(),
        };
        let cluster = Cluster::start_demanding(1, &demands)?;
        Ok(cluster.map(|cluster| Self { _cluster: cluster, ports, files }))
    }

    /// Where a door is.
    pub fn bootstrap(&self, door: Door) -> String {
        let found = DOORS.iter().zip(&self.ports).find(|((found, ..), _)| *found == door);
        found.map_or_else(String::new, |(_, port)| format!("127.0.0.1:{port}"))
    }

    /// The folder of what a client needs: `ca.pem`, and `client.pem` with `client.key`, or encrypted `client.encrypted.key`.
    pub fn files(&self) -> &Path {
        self.files.path()
    }
}

/// What the broker is told beside its listeners, with the files of its own certificate and of those that it trusts.
fn settings(broker: &str, trusted: &str) -> Vec<(String, String)> {
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let plain = format!("org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";");
    let mut settings: Vec<(String, String)> = [
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.location", broker),
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.location", trusted),
        ("listener.name.mutual.ssl.client.auth", "required"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec();
    for listener in ["sasl", "sasltls"] {
        let setting = |name: &str| format!("listener.name.{listener}.{name}");
        settings.push((setting("sasl.enabled.mechanisms"), "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned()));
        settings.push((setting("plain.sasl.jaas.config"), plain.clone()));
        for mechanism in ["scram-sha-256", "scram-sha-512"] {
            settings.push((setting(&format!("{mechanism}.sasl.jaas.config")), scram.to_owned()));
        }
    }
    settings
}

/// Writes a certificate for a server on loopback, `server.pem` with `server.key`, and the authority's, `ca.pem`.
///
/// # Errors
/// When one cannot be made or written.
pub fn write_server_certificate(folder: &Path) -> Result<()> {
    let authority = Issued::new("driftline tests", None)?;
    let server = Issued::new("server", Some(&authority))?;
    std::fs::write(folder.join("ca.pem"), authority.certificate.to_pem()?)?;
    std::fs::write(folder.join("server.pem"), server.certificate.to_pem()?)?;
    Ok(std::fs::write(folder.join("server.key"), server.key.private_key_to_pem_pkcs8()?)?)
}

/// Writes the clients' files, and the broker's: its key with its certificate, and what it trusts.
fn write_certificates(folder: &Path) -> Result<(String, String)> {
    let authority = Issued::new("driftline tests", None)?;
    let broker = Issued::new("broker", Some(&authority))?;
    let client = Issued::new(USER, Some(&authority))?;
    let path = |name: &str| folder.join(name).to_str().map(str::to_owned).context("a folder that is no text");
    let (ca, keystore) = (path("ca.pem")?, path("broker.pem")?);
    std::fs::write(&ca, authority.certificate.to_pem()?)?;
    std::fs::write(&keystore, [broker.key.private_key_to_pem_pkcs8()?, broker.certificate.to_pem()?].concat())?;
    std::fs::write(path("client.pem")?, client.certificate.to_pem()?)?;
    std::fs::write(path("client.key")?, client.key.private_key_to_pem_pkcs8()?)?;
    let encrypted = client.key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), KEY_PASSWORD.as_bytes())?;
    std::fs::write(path("client.encrypted.key")?, encrypted)?;
    Ok((keystore, ca))
}

/// A certificate and its key.
struct Issued {
    key: PKey<Private>,
    certificate: X509,
}

impl Issued {
    /// A certificate for loopback, signed by its issuer; one that signs others, and itself, without.
    fn new(name: &str, issuer: Option<&Self>) -> Result<Self> {
        let key = PKey::from_ec_key(EcKey::generate(EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?.as_ref())?)?;
        let mut subject = X509Name::builder()?;
        subject.append_entry_by_nid(Nid::COMMONNAME, name)?;
        let subject = subject.build();
        let mut serial = BigNum::new()?;
        serial.rand(128, MsbOption::MAYBE_ZERO, false)?;
        let mut builder: X509Builder = X509::builder()?;
        builder.set_version(2)?;
        builder.set_serial_number(serial.to_asn1_integer()?.as_ref())?;
        builder.set_subject_name(&subject)?;
        builder.set_issuer_name(issuer.map_or(subject.as_ref(), |issuer| issuer.certificate.subject_name()))?;
        builder.set_pubkey(&key)?;
        builder.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
        builder.set_not_after(Asn1Time::days_from_now(1)?.as_ref())?;
        if issuer.is_none() {
            builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        }
        let host = SubjectAlternativeName::new().ip("127.0.0.1").build(&builder.x509v3_context(None, None))?;
        builder.append_extension(host)?;
        builder.sign(issuer.map_or(&key, |issuer| &issuer.key), MessageDigest::sha256())?;
        Ok(Self { certificate: builder.build(), key })
    }
}
