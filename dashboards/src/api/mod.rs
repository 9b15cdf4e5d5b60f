//! The HTTP API: events and commands in; models, windows, verdicts, requests and metrics out.
//!
//! It holds no state but limits. What it shows is the board's and the exporter's; what comes in leaves through
//! [`EventIntake`] and [`Commands`], on threads where blocking is allowed. Every error is a problem of RFC 9457.
//!
//! A request passes `guard` before any handler, and its connection the limits of `server`. Where to listen is the caller's
//! to say; an address that others reach asks for tokens ([`check_listen`]).

mod connections;
mod server;
mod tls;

pub(crate) mod guard;
mod hosts;
mod tokens;

mod admission;
mod encoding;
mod error;
mod extract;
mod observe;
mod paging;
mod receive;

mod alerts;
mod commands;
mod health;
mod intake;
mod models;
mod openapi;
mod verdicts;

pub use admission::RateLimit;
pub use commands::{Asker, Command, CommandError, Commands, Order};
pub use connections::ConnectionLimits;
pub use error::ApiError;
pub use guard::{HasTokens, OpenToAll, check_listen};
pub use health::{NotReady, Readiness};
pub use hosts::HostName;
pub use intake::{EventIntake, Format, IntakeError, Kind, Receipt, Rejected, Submission};
pub use tls::{Tls, TlsError, TlsFiles};
pub use tokens::{NewToken, Role, TokenError, Tokens};

use crate::audit::SharedTrail;
use crate::exporter::Exporter;
use crate::read_model::SharedReadModel;
use crate::telemetry::HttpTelemetry;
use admission::Admission;
use alerts::SeenAlerts;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use connections::Connections;
use error::{Problem, ProblemKind};
use guard::Guard;
use observe::Observed;
use server::Server;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

/// What the API stands on.
#[derive(Clone)]
pub struct Services {
    /// Where events go.
    pub intake: Arc<dyn EventIntake>,
    /// Where commands go.
    pub commands: Arc<dyn Commands>,
    /// What is shown.
    pub read_model: SharedReadModel,
    /// Who asked for what, and what became of it.
    pub trail: SharedTrail,
    /// The metrics.
    pub exporter: Arc<Exporter>,
    /// Whether the service is ready.
    pub readiness: Readiness,
    /// Cancelled when the service is to end: what comes in is refused, and the server stops once it has answered.
    pub closing: CancellationToken,
}

/// Limits of the API.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// The most bytes of a body, counted after decompression.
    pub most_body_bytes: usize,
    /// The most submissions between their first byte and the log's word that they are durable.
    pub most_in_flight: usize,
    /// How long a body may take to arrive, and the log to store it.
    pub request_timeout: Duration,
    /// How long requests that are under way may take to end when the service closes.
    pub drain: Duration,
    /// How many submissions of each token, or of everyone, may come in; `None` for as many as the log can take.
    pub rate: Option<RateLimit>,
    /// How many commands of each token, or of everyone, may come in.
    pub command_rate: RateLimit,
    /// Limits of connections.
    pub connections: ConnectionLimits,
    /// Hosts that are answered beside this machine.
    pub hosts: Vec<HostName>,
    /// Who may do what; `None` lets everyone do everything.
    pub tokens: Option<Arc<Tokens>>,
    /// What encrypts connections.
    pub tls: Option<Tls>,
}

/// Commands a second, and at once: each is kept in the log, and people give few.
const COMMANDS_A_SECOND: u32 = 1;
const COMMANDS_AT_ONCE: u32 = 20;

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            most_body_bytes: 8 << 20,
            most_in_flight: 32,
            request_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            rate: None,
            command_rate: RateLimit {
                per_second: NonZeroU32::MIN.saturating_add(COMMANDS_A_SECOND - 1),
                burst: NonZeroU32::MIN.saturating_add(COMMANDS_AT_ONCE - 1),
            },
            connections: ConnectionLimits::default(),
            hosts: Vec::new(),
            tokens: None,
            tls: None,
        }
    }
}

/// The most bytes of a command's body: a few names and a reason.
const MOST_COMMAND_BYTES: usize = 64 << 10;

/// What every handler has at hand.
struct Api {
    services: Services,
    options: ApiOptions,
    admission: Admission,
    alerts: SeenAlerts,
    http: HttpTelemetry,
}

/// Serves the API until `services.closing` is cancelled and what was under way has been answered.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, services: Services, options: ApiOptions) -> Result<(), ApiError> {
    let following = options.tokens.clone().map(|tokens| tokio::spawn(tokens.follow(services.closing.clone())));
    let server = server_of(&services, &options, router(services.clone(), options.clone()));
    let served = server.run(listener).await;
    if let Some(following) = following {
        following.abort();
    }
    served
}

/// Serves nothing but metrics and health, to everyone who reaches the address.
///
/// # Errors
/// When the listener fails.
pub async fn serve_metrics(listener: TcpListener, services: Services, options: ApiOptions) -> Result<(), ApiError> {
    let options = ApiOptions { tokens: None, ..options };
    let http = HttpTelemetry::new(Arc::clone(&services.exporter));
    let routes = Observed::new(http)
        .at("/metrics", get(health::metrics))
        .at("/healthz", get(health::alive))
        .at("/readyz", get(health::ready));
    let router = guarded(routes, services.clone(), options.clone());
    server_of(&services, &options, router).run(listener).await
}

fn server_of(services: &Services, options: &ApiOptions, router: Router) -> Server {
    Server {
        router,
        connections: Connections::new(options.connections),
        tls: options.tls.clone(),
        http: HttpTelemetry::new(Arc::clone(&services.exporter)),
        closing: services.closing.clone(),
        drain: options.drain,
    }
}

/// The API's routes, for [`serve`] and for tests without a port.
pub fn router(services: Services, options: ApiOptions) -> Router {
    let routes = routes(HttpTelemetry::new(Arc::clone(&services.exporter)));
    let console = crate::page::routes(&services);
    let routes = console.into_iter().fold(routes, |all, (pattern, methods)| all.at(pattern, methods));
    guarded(routes, services, options)
}

/// Every route with its handler. What a body may hold is the handlers' to say, but for commands, which are small.
fn routes(http: HttpTelemetry) -> Observed {
    let command = |methods: MethodRouter<Arc<Api>>| methods.layer(DefaultBodyLimit::max(MOST_COMMAND_BYTES));
    Observed::new(http)
        .at("/v1/events", post(intake::events))
        .at("/v1/labels", post(intake::labels))
        .at("/v1/feedback", post(intake::feedback))
        .at("/v1/alerts", post(alerts::take))
        .at("/v1/models", get(models::list))
        .at("/v1/models/{model}", get(models::show))
        .at("/v1/models/{model}/versions", get(models::versions))
        .at("/v1/models/{model}/windows", get(models::windows))
        .at("/v1/models/{model}/requests", get(models::requests))
        .at("/v1/models/{model}/retrain", command(post(commands::retrain)))
        .at("/v1/models/{model}/promote", command(post(commands::promote)))
        .at("/v1/models/{model}/rollback", command(post(commands::roll_back)))
        .at("/v1/models/{model}/release", command(post(commands::release)))
        .at("/v1/commands/{id}", get(commands::show))
        .at("/v1/audit", get(commands::audit))
        .at("/v1/verdicts", get(verdicts::list))
        .at("/v1/verdicts/{id}", get(verdicts::show))
        .at("/v1/openapi.json", get(openapi::document))
        .at("/metrics", get(health::metrics))
        .at("/healthz", get(health::alive))
        .at("/readyz", get(health::ready))
}

/// Routes behind the guard, with answers compressed for those who take that.
fn guarded(routes: Observed, services: Services, options: ApiOptions) -> Router {
    let http = HttpTelemetry::new(Arc::clone(&services.exporter));
    let guard = Guard::new(&options, Arc::clone(&services.commands), http.clone());
    let admission = Admission::new(&options);
    let api = Api { services, options, admission, alerts: SeenAlerts::default(), http };
    routes
        .otherwise(no_such_path)
        .with_state(Arc::new(api))
        .layer(from_fn_with_state(guard, guard::guard))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::new(ProblemKind::NotFound, format!("there is nothing at {}: / lists what there is", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not answer {method}; the `allow` header names the methods that it does", uri.path());
    Problem::new(ProblemKind::MethodNotAllowed, detail)
}

impl Api {
    fn refuse_if_closing(&self) -> Result<(), Problem> {
        if self.services.closing.is_cancelled() {
            return Err(IntakeError::ShuttingDown.into());
        }
        Ok(())
    }

    /// Runs `work` on a thread where it may block, for as long as a request may take. Work that takes longer goes on
    /// unheard: it cannot be called back from the log.
    async fn on_blocking_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let patience = self.options.request_timeout;
        match tokio::time::timeout(patience, tokio::task::spawn_blocking(work)).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(error)) => {
                tracing::error!(%error, "a request's work panicked");
                let detail = "the work on this request broke off: whether it was stored is not known; the log of the service says more";
                Err(Problem::new(ProblemKind::Internal, detail))
            }
            Err(_) => {
                let detail = format!(
                    "the log gave no answer within {patience:?}, so whether the body is stored is not known: send it again, an id that is there already counts once"
                );
                Err(Problem::new(ProblemKind::TimedOut, detail).retry_after(Duration::from_secs(5)))
            }
        }
    }
}

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod tests;
