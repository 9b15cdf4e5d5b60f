//! The HTTP API: events and commands in; models, windows, verdicts, requests and metrics out.
//!
//! It holds no state but limits. What it shows is the board's and the exporter's; what comes in leaves through
//! [`EventIntake`] and [`Commands`], on threads where blocking is allowed. Every error is a problem of RFC 9457.
//!
//! Where to listen is the caller's to say. There is no authentication here: the address is meant to be loopback, or one
//! that only those can reach who may do all of this.

mod admission;
mod encoding;
mod error;
mod extract;
mod health;
mod intake;
mod models;
mod observe;
mod verdicts;

pub use admission::RateLimit;
pub use error::ApiError;
pub use health::{NotReady, Readiness};
pub use intake::{EventIntake, Format, IntakeError, Kind, Receipt, Rejected, Submission};
pub use models::{Command, CommandError, Commands, Order};

use crate::exporter::Exporter;
use crate::read_model::SharedReadModel;
use crate::telemetry::HttpTelemetry;
use admission::Admission;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::routing::{MethodRouter, get, post};
use error::{Problem, ProblemKind};
use observe::Observed;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the API stands on.
#[derive(Clone)]
pub struct Services {
    /// Where events go.
    pub intake: Arc<dyn EventIntake>,
    /// Where commands go.
    pub commands: Arc<dyn Commands>,
    /// What is shown.
    pub read_model: SharedReadModel,
    /// The metrics.
    pub exporter: Arc<Exporter>,
    /// Whether the service is ready.
    pub readiness: Readiness,
    /// Cancelled when the service is to end: what comes in is refused, and the server stops once it has answered.
    pub closing: CancellationToken,
}

/// Limits of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiOptions {
    /// The most bytes of a body, counted after decompression.
    pub most_body_bytes: usize,
    /// The most submissions between their first byte and the log's word that they are durable.
    pub most_in_flight: usize,
    /// How long a body may take to arrive, and the log to store it.
    pub request_timeout: Duration,
    /// How long requests that are under way may take to end when the service closes.
    pub drain: Duration,
    /// How many submissions may come in; `None` for as many as the log can take.
    pub rate: Option<RateLimit>,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            most_body_bytes: 8 << 20,
            most_in_flight: 32,
            request_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            rate: None,
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
    http: HttpTelemetry,
}

/// Serves the API until `services.closing` is cancelled and what was under way has been answered.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, services: Services, options: ApiOptions) -> Result<(), ApiError> {
    let address = listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string());
    tracing::info!(address, "http api listens");
    let (closing, drain) = (services.closing.clone(), options.drain);
    let server =
        axum::serve(listener, router(services, options)).with_graceful_shutdown(closing.clone().cancelled_owned());
    let out_of_patience = async {
        closing.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        served = server.into_future() => served.map_err(|source| ApiError::Serve { address, source }),
        () = out_of_patience => {
            tracing::warn!(?drain, "http requests still open at the end of their grace were cut off");
            Ok(())
        }
    }
}

/// The API's routes, for [`serve`] and for tests without a port.
pub fn router(services: Services, options: ApiOptions) -> Router {
    let http = HttpTelemetry::new(Arc::clone(&services.exporter));
    let most_body_bytes = options.most_body_bytes;
    let intake = |methods: MethodRouter<Arc<Api>>| methods.layer(DefaultBodyLimit::max(most_body_bytes));
    let command = |methods: MethodRouter<Arc<Api>>| methods.layer(DefaultBodyLimit::max(MOST_COMMAND_BYTES));
    let routes = Observed::new(http.clone())
        .at("/v1/events", intake(post(intake::events)))
        .at("/v1/labels", intake(post(intake::labels)))
        .at("/v1/feedback", intake(post(intake::feedback)))
        .at("/v1/models", get(models::list))
        .at("/v1/models/{model}", get(models::show))
        .at("/v1/models/{model}/versions", get(models::versions))
        .at("/v1/models/{model}/windows", get(models::windows))
        .at("/v1/models/{model}/requests", get(models::requests))
        .at("/v1/models/{model}/retrain", command(post(models::retrain)))
        .at("/v1/models/{model}/promote", command(post(models::promote)))
        .at("/v1/models/{model}/rollback", command(post(models::roll_back)))
        .at("/v1/models/{model}/release", command(post(models::release)))
        .at("/v1/verdicts", get(verdicts::list))
        .at("/v1/verdicts/{id}", get(verdicts::show))
        .at("/metrics", get(health::metrics))
        .at("/healthz", get(health::alive))
        .at("/readyz", get(health::ready));
    let routes =
        crate::page::routes(&services).into_iter().fold(routes, |all, (route, methods)| all.at(route, methods));
    let routes = routes.otherwise(no_such_path);
    let admission = Admission::new(&options);
    routes.with_state(Arc::new(Api { services, options, admission, http }))
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
mod tests;
