//! What every request passes before any handler: the host and the page that it comes from, who asks, and what that one may.
//!
//! It is a layer over the whole router, so a route that is added has it too; and a method that changes something on a path
//! that [`needed`] does not know asks for the highest role. Where no tokens are configured everyone who reaches the API may
//! do everything: that is for loopback, and [`check_listen`] refuses any other address.
//!
//! A token comes as `Authorization: Bearer …`, or as the password of `Basic`, which is how a browser asks for one.

use crate::api::admission::{Rates, Wrongs};
use crate::api::error::{Problem, ProblemKind};
use crate::api::hosts::Hosts;
use crate::api::server::Arrival;
use crate::api::tokens::{Role, Roles, Token, Tokens};
use crate::api::{ApiOptions, Commands};
use crate::audit::AuditEntry;
use crate::telemetry::HttpTelemetry;
use axum::extract::{Request, State};
use axum::http::header::{self, AUTHORIZATION, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// An address that others reach, where nobody is asked who he is.
#[derive(Debug, Error)]
#[error(
    "{listen} can be reached from other machines, and no tokens are configured: name a file under `api.tokens` (`driftline token NAME --role ROLE` prints a line for it), or listen on 127.0.0.1"
)]
pub struct OpenToAll {
    listen: SocketAddr,
}

/// Refuses to listen where others reach it, without tokens.
///
/// # Errors
/// When the address is none of loopback, and there are no tokens.
pub fn check_listen(listen: SocketAddr, has_tokens: HasTokens) -> Result<(), OpenToAll> {
    match has_tokens {
        HasTokens::No if !listen.ip().to_canonical().is_loopback() => Err(OpenToAll { listen }),
        _ => Ok(()),
    }
}

/// Whether tokens are configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HasTokens {
    /// They are.
    Yes,
    /// They are not.
    No,
}

/// Who asks.
#[derive(Clone)]
pub(crate) struct Caller {
    /// The name of the token; `None` where there are no tokens.
    pub(crate) name: Option<Arc<str>>,
    /// The address.
    pub(crate) from: Option<IpAddr>,
    pub(super) roles: Roles,
    pub(super) rates: Arc<Rates>,
}

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: whether the service lives is told to everyone.
    Nothing,
    /// A role.
    Role(Role),
}

/// What a request needs. Reading needs `read`; of what changes something, what is not known needs the most.
pub(super) fn needed(method: &Method, path: &str) -> Need {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    match path {
        "/healthz" | "/readyz" if reads => Need::Nothing,
        _ if reads => Need::Role(Role::Read),
        "/v1/events" | "/v1/labels" | "/v1/feedback" => Need::Role(Role::WriteEvents),
        "/v1/alerts" => Need::Role(Role::Operate),
        _ if path.ends_with("/retrain") => Need::Role(Role::Operate),
        _ => Need::Role(Role::Promote),
    }
}

/// Who may come in.
pub(super) struct Guard {
    hosts: Hosts,
    tokens: Option<Arc<Tokens>>,
    /// The rates of everyone, where there are no tokens.
    everyone: Arc<Rates>,
    /// The rates of each token that was shown, by its name.
    of_tokens: Mutex<BTreeMap<Arc<str>, Arc<Rates>>>,
    options: ApiOptions,
    wrongs: Wrongs,
    commands: Arc<dyn Commands>,
    http: HttpTelemetry,
}

impl Guard {
    pub(super) fn new(options: &ApiOptions, commands: Arc<dyn Commands>, http: HttpTelemetry) -> Arc<Self> {
        let (hosts, everyone) = (Hosts::new(options.hosts.clone()), Arc::new(Rates::new(options)));
        let (options, tokens) = (options.clone(), options.tokens.clone());
        let (of_tokens, wrongs) = (Mutex::default(), Wrongs::default());
        Arc::new(Self { hosts, tokens, everyone, of_tokens, options, wrongs, commands, http })
    }

    /// The rates of a token.
    fn rates(&self, name: &Arc<str>) -> Arc<Rates> {
        let mut of_tokens = self.of_tokens.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(of_tokens.entry(Arc::clone(name)).or_insert_with(|| Arc::new(Rates::new(&self.options))))
    }

    /// Who asks, if he may.
    fn admit(&self, request: &Request) -> Result<Caller, Refused> {
        let arrival = request.extensions().get::<Arrival>();
        let at = arrival.map(|arrival| arrival.at.ip());
        self.hosts.check(request, at).map_err(|problem| Refused { why: "site", problem, caller: None })?;
        let need = needed(request.method(), request.uri().path());
        let caller =
            self.caller(request.headers(), need).map_err(|problem| Refused { why: "token", problem, caller: None })?;
        let caller = Caller { from: arrival.map(|arrival| arrival.peer.ip().to_canonical()), ..caller };
        match need {
            Need::Role(role) if !caller.roles.contains(role) => Err(lacking(role, caller)),
            _ => Ok(caller),
        }
    }

    fn caller(&self, headers: &HeaderMap, need: Need) -> Result<Caller, Problem> {
        let everyone = |roles| Caller { name: None, from: None, roles, rates: Arc::clone(&self.everyone) };
        let Some(tokens) = &self.tokens else { return Ok(everyone(Roles::all())) };
        let secret = match shown(headers) {
            Some(secret) => secret,
            None if need == Need::Nothing => return Ok(everyone(Roles::none())),
            None => return Err(unauthorized("no token was shown")),
        };
        match tokens.find(&secret) {
            Some(Token { name, roles, .. }) => {
                let rates = self.rates(&name);
                Ok(Caller { name: Some(name), from: None, roles, rates })
            }
            None => {
                self.wrongs.admit()?;
                Err(unauthorized("the token that was shown is not one of those that this service knows"))
            }
        }
    }
}

impl Guard {
    /// Keeps that someone who is known asked for more than he may, as often as he may give commands.
    fn audit(&self, request: &Request, caller: &Caller, problem: &Problem) {
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if !changes || caller.rates.admit_command().is_err() {
            return;
        }
        let what: String = format!("{} {}", request.method(), request.uri().path()).chars().take(200).collect();
        let entry = AuditEntry { refused: Some(problem.detail().to_owned()), ..caller.entry(what) };
        let commands = Arc::clone(&self.commands);
        // The answer does not wait for it: nothing has happened that it would have to be durable for.
        tokio::task::spawn_blocking(move || commands.audit(entry));
    }
}

impl Caller {
    /// What is kept of something that he asks for.
    pub(crate) fn entry(&self, what: String) -> AuditEntry {
        AuditEntry {
            by: self.name.as_deref().map(str::to_owned),
            from: self.from.map(|from| from.to_string()),
            what,
            ..AuditEntry::default()
        }
    }
}

struct Refused {
    /// The kind of refusal, as metrics name it.
    why: &'static str,
    problem: Problem,
    /// Who was refused, where that is known.
    caller: Option<Box<Caller>>,
}

fn lacking(role: Role, caller: Caller) -> Refused {
    let name = caller.name.as_deref().unwrap_or_default();
    let detail = format!(
        "this needs the role `{}`, and the token `{name}` has {}: show one that has it",
        role.name(),
        caller.roles
    );
    let problem = Problem::new(ProblemKind::Forbidden, detail).with("needs", role.name());
    Refused { why: "role", problem, caller: Some(Box::new(caller)) }
}

fn unauthorized(what: &str) -> Problem {
    let detail = format!(
        "{what}: send `authorization: Bearer TOKEN`; driftline's own commands take a token from the variable DRIFTLINE_TOKEN or from --token-file"
    );
    Problem::new(ProblemKind::Unauthorized, detail)
}

/// The token that a request shows.
fn shown(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
        return pair.split_once(':').map(|(_, password)| password.to_owned());
    }
    None
}

/// The layer.
///
/// A request in chunks may have had a length as well, which is not told here, and of which another server on the way may have
/// made something else: such a connection carries no further request.
pub(super) async fn guard(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut response = match guard.admit(&request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(Refused { why, problem, caller }) => {
            let from = request.extensions().get::<Arrival>().map(|arrival| arrival.peer.ip());
            guard.http.refused(why, from);
            if let Some(caller) = caller {
                guard.audit(&request, &caller, &problem);
            }
            problem.into_response()
        }
    };
    set_headers(response.headers_mut());
    if is_chunked {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What browsers are told of every answer that does not say otherwise itself.
const TOLD: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'; base-uri 'none'; object-src 'none'; form-action 'self'"),
];

fn set_headers(headers: &mut HeaderMap) {
    for (name, value) in TOLD {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_and_is_not_known_needs_the_most() {
        let post = |path| needed(&Method::POST, path);
        assert_eq!(post("/v1/events"), Need::Role(Role::WriteEvents));
        assert_eq!(post("/v1/models/bed/retrain"), Need::Role(Role::Operate));
        for path in ["/v1/models/bed/promote", "/v1/models/bed/rollback", "/models/bed/acknowledge", "/", "/healthz"] {
            assert_eq!(post(path), Need::Role(Role::Promote), "{path}");
        }
        assert_eq!(needed(&Method::DELETE, "/v1/events/x"), Need::Role(Role::Promote));
        assert_eq!(needed(&Method::GET, "/v1/models/bed/retrain"), Need::Role(Role::Read));
        assert_eq!(needed(&Method::GET, "/healthz"), Need::Nothing);
    }

    #[test]
    fn an_address_that_others_reach_asks_for_tokens() {
        for listen in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(check_listen(listen.parse().unwrap(), HasTokens::No).is_ok(), "{listen}");
        }
        for listen in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            let refused = check_listen(listen.parse().unwrap(), HasTokens::No).unwrap_err().to_string();
            assert!(refused.contains("driftline token"), "{refused}");
            assert!(check_listen(listen.parse().unwrap(), HasTokens::Yes).is_ok(), "{listen}");
        }
    }
}
