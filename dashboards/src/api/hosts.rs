//! Which hosts the API answers for, and which pages may speak to it.
//!
//! A browser on this machine is inside the loopback: a page of another site that has its own name resolve to this address,
//! or that posts a form here, speaks with the rights of whoever runs the browser. So before any handler the `Host` has to be
//! one that is answered, an `Origin` has to be this very service, and what a browser says of the page that asks
//! (`Sec-Fetch-Site`) has to be no other site. A program that is no browser sends neither and is not concerned.
//!
//! An address in place of a name cannot be rebound, but only those of this machine are answered: loopback, and the address
//! at which the connection has come in. A port in `Host` is not looked at, because a tunnel changes it.

use crate::api::error::{Problem, ProblemKind};
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Request};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A host by its name or address, with a port where only that one is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    name: String,
    port: Option<u16>,
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a host: write a name or an address as a browser shows it, as `driftline.example` or `driftline.example:8443`"
            )
        };
        let authority = Authority::from_str(text).map_err(|_| wrong())?;
        // What stands before a host, a user, is part of an authority and not of a host.
        let behind = text.strip_prefix(authority.host()).ok_or_else(wrong)?;
        let port = match behind.strip_prefix(':') {
            None if behind.is_empty() => None,
            Some(port) if port.bytes().all(|sign| sign.is_ascii_digit()) => Some(port.parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        };
        let name = authority.host().trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let is_name = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '.' | '-' | '_');
        let is_host = !name.is_empty() && (name.chars().all(is_name) || name.parse::<IpAddr>().is_ok());
        if is_host { Ok(Self { name, port }) } else { Err(wrong()) }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        self.port.map_or(Ok(()), |port| write!(formatter, ":{port}"))
    }
}

impl HostName {
    fn address(&self) -> Option<IpAddr> {
        self.name.parse::<IpAddr>().ok().map(|address| address.to_canonical())
    }

    /// Whether it is this machine as seen from itself.
    fn is_loopback(&self) -> bool {
        self.name == "localhost" || self.address().is_some_and(|address| address.is_loopback())
    }
}

/// Where a page stands: the `Origin` that a browser names.
struct Site {
    name: String,
    port: u16,
    /// The port that its scheme has where none is written.
    usual_port: u16,
}

impl Site {
    /// `None` for what is no site of the web, as `null`, which sandboxed pages and files have.
    fn of(origin: &str) -> Option<Self> {
        let (scheme, authority) = origin.split_once("://")?;
        let usual_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let HostName { name, port } = authority.parse().ok()?;
        Some(Self { name, port: port.unwrap_or(usual_port), usual_port })
    }
}

/// Hosts that are answered beside those of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hosts(Vec<HostName>);

impl Hosts {
    pub(super) fn new(configured: Vec<HostName>) -> Self {
        Self(configured)
    }

    /// Refuses a request that names another host, or that a page of another site has made. `at` is the address at which its
    /// connection has come in.
    pub(super) fn check<B>(&self, request: &Request<B>, at: Option<IpAddr>) -> Result<(), Problem> {
        let host = named_host(request)?;
        if !self.answers(&host, at) {
            let detail = format!(
                "nothing is answered for the host `{host}`: ask for localhost, the address that the API listens on{}; to allow another, list it under `api.hosts` in the configuration",
                self.listed()
            );
            return Err(Problem::new(ProblemKind::Misdirected, detail));
        }
        self.check_origin(request.headers(), &host)?;
        check_fetch(request.method(), request.headers())
    }

    fn answers(&self, host: &HostName, at: Option<IpAddr>) -> bool {
        let is_here = host.address().is_some_and(|address| Some(address) == at.map(|at| at.to_canonical()));
        host.is_loopback() || is_here || self.0.iter().any(|listed| listed.name == host.name)
    }

    fn check_origin(&self, headers: &HeaderMap, host: &HostName) -> Result<(), Problem> {
        for origin in headers.get_all(ORIGIN) {
            let site = origin.to_str().ok().and_then(Site::of);
            if !site.is_some_and(|site| self.is_own(&site, host)) {
                let shown: String = String::from_utf8_lossy(origin.as_bytes()).chars().take(200).collect();
                let detail = format!(
                    "a page of `{shown}` may not speak to this API; if that is this service behind a proxy, list its host under `api.hosts` in the configuration"
                );
                return Err(Problem::new(ProblemKind::Forbidden, detail));
            }
        }
        Ok(())
    }

    /// Whether a site is the host that was asked, or one that is listed. A listed host without a port means the web's own.
    fn is_own(&self, site: &Site, host: &HostName) -> bool {
        let is = |known: &HostName| known.name == site.name && known.port.unwrap_or(site.usual_port) == site.port;
        is(host) || self.0.iter().any(is)
    }

    fn listed(&self) -> String {
        self.0.iter().map(|host| format!(", {host}")).collect()
    }
}

/// The one host that a request names. One of HTTP/1.1 has to, and what it names in two places has to be the same.
fn named_host<B>(request: &Request<B>) -> Result<HostName, Problem> {
    let refuse = |detail: &str| Problem::new(ProblemKind::BadRequest, detail);
    let mut named = request.headers().get_all(HOST).iter();
    let host = match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        (None, _) => return Err(refuse("the request has no `host` header: send the host that it is meant for")),
        (Some(_), Some(_)) => return Err(refuse("the request has several `host` headers: send one")),
    };
    if request.uri().authority().is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(host)) {
        return Err(refuse("the request's target and its `host` header name different hosts: send the same in both"));
    }
    host.parse().map_err(|reason: String| Problem::new(ProblemKind::BadRequest, reason))
}

/// Refuses what a browser sends for a page of another site, but for links that lead here: a page that is opened so shows what
/// it shows, and changes nothing.
fn check_fetch(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let said = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap_or("?"));
    let is_link = method == Method::GET && said("sec-fetch-mode") == "navigate" && said("sec-fetch-dest") == "document";
    match said("sec-fetch-site") {
        "" | "same-origin" | "none" => Ok(()),
        _ if is_link => Ok(()),
        _ => {
            let detail = "a page of another site may not speak to this API (`sec-fetch-site`): open this service itself, or use a program";
            Err(Problem::new(ProblemKind::Forbidden, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        Hosts::new(vec!["driftline.example".parse().unwrap(), "spare.example:8443".parse().unwrap()])
    }

    fn judged(method: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri("/v1/models");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let at = Some("10.1.2.3".parse().unwrap());
        hosts().check(&request.body(()).unwrap(), at).map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    #[test]
    fn this_machine_and_listed_hosts_are_answered_and_no_others() {
        let answered = [
            "localhost",
            "LOCALHOST:9464",
            "localhost.",
            "127.0.0.1:9464",
            "127.9.9.9",
            "[::1]:9464",
            "[::ffff:127.0.0.1]",
        ];
        for host in
            answered.into_iter().chain(["10.1.2.3:80", "driftline.example", "Driftline.Example:9464", "spare.example"])
        {
            assert_eq!(judged("GET", &[("host", host)]), 200, "{host}");
        }
        let others = [
            "rebound.example:9464",
            "10.1.2.4",
            "0.0.0.0:9464",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "example",
        ];
        for host in others {
            assert_eq!(judged("GET", &[("host", host)]), 421, "{host}");
        }
        for host in ["", "a b", "user@localhost", "localhost:", "localhost:99999", "localhost/evil", "lo\u{e9}"] {
            assert_eq!(judged("GET", &[("host", host)]), 400, "{host}");
        }
        assert_eq!(judged("GET", &[]), 400);
        assert_eq!(judged("GET", &[("host", "localhost"), ("host", "localhost")]), 400);
    }

    #[test]
    fn a_target_and_a_header_that_differ_are_refused() {
        let request = |host: &str| Request::get("http://localhost:1/metrics").header("host", host).body(()).unwrap();
        assert!(hosts().check(&request("localhost:1"), None).is_ok());
        assert!(hosts().check(&request("127.0.0.1:1"), None).is_err());
    }

    #[test]
    fn only_pages_of_this_service_speak_to_it() {
        let host = ("host", "127.0.0.1:9464");
        for method in ["GET", "POST"] {
            for own in ["http://127.0.0.1:9464", "https://driftline.example", "https://spare.example:8443"] {
                assert_eq!(judged(method, &[host, ("origin", own)]), 200, "{own}");
            }
            let foreign = [
                "null",
                "http://evil.example",
                "http://127.0.0.1:3000",
                "http://localhost:9464",
                "http://127.0.0.1",
                "file://",
                "",
                "https://driftline.example:8443",
                "https://spare.example",
            ];
            for origin in foreign {
                assert_eq!(judged(method, &[host, ("origin", origin)]), 403, "{method} {origin}");
            }
        }
        assert_eq!(judged("POST", &[("host", "driftline.example"), ("origin", "https://driftline.example")]), 200);
    }

    #[test]
    fn links_lead_here_and_nothing_else_of_another_site() {
        let host = ("host", "localhost");
        for site in ["cross-site", "same-site", "sideways"] {
            let link = [host, ("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
            assert_eq!((judged("GET", &link), judged("POST", &link)), (200, 403));
            let frame = [host, ("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
            assert_eq!(judged("GET", &frame), 403);
            assert_eq!(judged("GET", &[host, ("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")]), 403);
        }
        for site in ["none", "same-origin"] {
            assert_eq!(judged("POST", &[host, ("sec-fetch-site", site)]), 200);
        }
    }
}
