//! The section `api`: where the API listens, what it bounds, and who may do what.
//!
//! An address that other machines reach is refused without tokens. Files are looked at when the service starts, not here.

use super::error::{Misfit, Problem, Validated, out_of_range, refuse, refused};
use super::quantity::ByteSize;
use dashboards::api::{HasTokens, HostName, TlsFiles, check_listen};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

/// The API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// Where metrics and health alone are served, to everyone; `None` for nowhere else than with the API.
    pub metrics_listen: Option<SocketAddr>,
    /// Largest body of a request, unpacked, in bytes.
    pub max_body_bytes: u64,
    /// Bodies of events a second, of each token or of everyone; `None` sets no limit.
    pub requests_per_second: Option<NonZeroU32>,
    /// Commands a second, of each token or of everyone.
    pub commands_per_second: NonZeroU32,
    /// Requests handled at a time.
    pub in_flight: NonZeroU32,
    /// Connections that are open at a time.
    pub connections: NonZeroU32,
    /// Hosts that are answered beside this machine.
    pub hosts: Vec<HostName>,
    /// The file of tokens; without it everyone who reaches the API may do everything.
    pub tokens: Option<PathBuf>,
    /// What encrypts connections.
    pub tls: Option<TlsFiles>,
}

impl ApiConfig {
    /// `https` where connections are encrypted.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Where this machine reaches it.
    pub fn url(&self) -> String {
        let scheme = self.scheme();
        let ip = match self.listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("{scheme}://{}", SocketAddr::new(ip, self.listen.port()))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawApi {
    /// Address and port; loopback unless told otherwise.
    listen: SocketAddr,
    /// Address and port of metrics and health alone.
    metrics_listen: Option<SocketAddr>,
    /// Largest body of a request, unpacked.
    max_body: ByteSize,
    /// Bodies of events a second before `429`, of each token; without it there is no limit.
    requests_per_second: Option<u32>,
    /// Commands a second before `429`, of each token.
    commands_per_second: u32,
    /// Requests on their way to the log at a time; more are turned away.
    in_flight: u32,
    /// Open connections at a time; never more than a quarter of the files that the process may have.
    connections: u32,
    /// Names by which others know this service, as behind a proxy.
    hosts: Vec<String>,
    /// File with a line for each token, as `driftline token` prints it.
    tokens: Option<PathBuf>,
    tls: Option<RawTls>,
}

impl Default for RawApi {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
            metrics_listen: None,
            max_body: ByteSize(8 << 20),
            requests_per_second: None,
            commands_per_second: 1,
            in_flight: 64,
            connections: 512,
            hosts: Vec::new(),
            tokens: None,
            tls: None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    /// Certificate and those above it, in PEM.
    certificate: PathBuf,
    /// Its private key, in PEM.
    key: PathBuf,
    /// Authorities of which clients have to show a certificate.
    client_authorities: Option<PathBuf>,
}

pub(super) fn api(raw: RawApi, folder: &Path) -> Validated<ApiConfig> {
    let at_least_one = |key: &str, count: u32| {
        NonZeroU32::new(count)
            .ok_or_else(|| Misfit { path: format!("api.{key}"), problem: out_of_range("at least 1", count) })
    };
    if raw.max_body.0 == 0 {
        return refuse("api.max_body", out_of_range("at least 1 byte", 0));
    }
    let has_tokens = if raw.tokens.is_some() { HasTokens::Yes } else { HasTokens::No };
    check_listen(raw.listen, has_tokens).map_err(|error| refused("api", "listen", &error))?;
    let limit = raw.requests_per_second.map(|count| at_least_one("requests_per_second", count)).transpose()?;
    Ok(ApiConfig {
        listen: raw.listen,
        metrics_listen: raw.metrics_listen,
        max_body_bytes: raw.max_body.0,
        requests_per_second: limit,
        commands_per_second: at_least_one("commands_per_second", raw.commands_per_second)?,
        in_flight: at_least_one("in_flight", raw.in_flight)?,
        connections: at_least_one("connections", raw.connections)?,
        hosts: hosts(&raw.hosts)?,
        tokens: raw.tokens.map(|file| folder.join(file)),
        tls: raw.tls.map(|tls| TlsFiles {
            certificate: folder.join(tls.certificate),
            key: folder.join(tls.key),
            client_authorities: tls.client_authorities.map(|file| folder.join(file)),
        }),
    })
}

fn hosts(named: &[String]) -> Validated<Vec<HostName>> {
    let mut hosts = Vec::new();
    for (number, name) in named.iter().enumerate() {
        match name.parse() {
            Ok(host) => hosts.push(host),
            Err(reason) => return refuse(format!("api.hosts[{number}]"), Problem::Refused { reason }),
        }
    }
    Ok(hosts)
}
