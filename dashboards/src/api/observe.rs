//! A router whose every answer is counted under its route's pattern and carries the request's id.

use super::{Api, no_such_method};
use crate::telemetry::{Answer, HttpTelemetry};
use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::{HeaderValue, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::MethodRouter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The header by which a request is followed from one service to the next.
const REQUEST_ID: &str = "x-request-id";
/// The longest id that is taken over from a client.
const LONGEST_ID: usize = 64;
/// The route of requests that have none, whose paths must not become label values.
const UNKNOWN: &str = "unknown";

/// Routes that are being put together.
pub(super) struct Observed {
    router: Router<Arc<Api>>,
    http: HttpTelemetry,
    requests: Arc<AtomicU64>,
    #[cfg(test)]
    patterns: Vec<&'static str>,
}

#[derive(Clone)]
struct Observer {
    route: &'static str,
    http: HttpTelemetry,
    /// Number of the next request, over all routes.
    requests: Arc<AtomicU64>,
}

impl Observed {
    pub(super) fn new(http: HttpTelemetry) -> Self {
        Self {
            router: Router::new(),
            http,
            requests: Arc::default(),
            #[cfg(test)]
            patterns: Vec::new(),
        }
    }

    /// Answers a pattern, and refuses its other methods.
    pub(super) fn at(mut self, route: &'static str, methods: MethodRouter<Arc<Api>>) -> Self {
        let observer = self.observer(route);
        let methods = methods.fallback(no_such_method).layer(from_fn_with_state(observer, observe));
        self.router = self.router.route(route, methods);
        #[cfg(test)]
        self.patterns.push(route);
        self
    }

    /// The patterns that are answered.
    #[cfg(test)]
    pub(super) fn patterns(&self) -> &[&'static str] {
        &self.patterns
    }

    /// Answers every other path.
    pub(super) fn otherwise<T: 'static>(self, handler: impl Handler<T, Arc<Api>>) -> Router<Arc<Api>> {
        let observer = self.observer(UNKNOWN);
        self.router.fallback(handler.layer(from_fn_with_state(observer, observe)))
    }

    fn observer(&self, route: &'static str) -> Observer {
        Observer { route, http: self.http.clone(), requests: Arc::clone(&self.requests) }
    }
}

async fn observe(State(observer): State<Observer>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = name_of(request.method());
    let id = observer.id_of(&request);
    let mut response = next.run(request).await;
    observer.http.answered(Answer {
        request: id.to_str().unwrap_or_default(),
        route: observer.route,
        method,
        code: response.status().as_u16(),
        took: started.elapsed(),
    });
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

impl Observer {
    fn id_of(&self, request: &Request) -> HeaderValue {
        match request.headers().get(REQUEST_ID) {
            Some(given) if given.len() <= LONGEST_ID && given.to_str().is_ok() => given.clone(),
            _ => HeaderValue::from(self.requests.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// A client may invent methods; a label may not.
fn name_of(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
