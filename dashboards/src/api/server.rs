//! The server under the API: it accepts connections within their limits, and lets none take longer than it may.
//!
//! HTTP/1.1 only, on purpose: HTTP/2 would bring many requests into one connection, past the limit of their number, and no
//! client of an API like this gains by it. Heads are small; whoever sends a larger one is answered 431.
//!
//! [`Connections`] decides; this file tells it what each connection is doing, and closes those that it ends.

use crate::api::connections::{Connection, Connections, Entered, Phase, Place, Taken};
use crate::api::error::ApiError;
use crate::api::tls::Tls;
use crate::telemetry::HttpTelemetry;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// The most bytes of a request's head, and how many headers.
const MOST_HEAD_BYTES: usize = 32 << 10;
const MOST_HEADERS: usize = 100;
/// The most bytes that are read or written at a time.
const MOST_BUFFERED: usize = 64 << 10;
/// The most bytes of a refused body that are read to be thrown away.
const MOST_THROWN_AWAY: usize = 64 << 20;
/// How often connections are looked at that may take too long.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long nothing is accepted where no more files can be had.
const REST: Duration = Duration::from_millis(100);
/// How often it is told that connections reach their number.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Where a request has come from, and where it has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The other end of the connection.
    pub(super) peer: SocketAddr,
    /// This end.
    pub(super) at: SocketAddr,
}

/// What connections are served with.
pub(super) struct Server {
    pub(super) router: Router,
    pub(super) connections: Arc<Connections>,
    pub(super) tls: Option<Tls>,
    pub(super) http: HttpTelemetry,
    pub(super) closing: CancellationToken,
    /// How long requests that are under way may take to end when the service closes.
    pub(super) drain: Duration,
}

impl Server {
    /// Serves until the service closes and what was under way has been answered.
    pub(super) async fn run(self, listener: TcpListener) -> Result<(), ApiError> {
        let address = listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string());
        tracing::info!(address, tls = self.tls.is_some(), "http api listens");
        let (server, tasks) = (Arc::new(self), TaskTracker::new());
        let mut teller = Teller::default();
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                () = server.closing.cancelled() => break,
                _ = sweep.tick() => server.swept(),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let Some(place) = server.enter(peer, &mut teller) else { continue };
                        tasks.spawn(Arc::clone(&server).attend(stream, peer, place));
                    }
                    Err(error) if is_passing(&error) => {
                        teller.tell(|| tracing::warn!(%error, "no connection can be accepted at the moment"));
                        tokio::time::sleep(REST).await;
                    }
                    Err(source) => return Err(ApiError::Serve { address, source }),
                },
            }
        }
        drop(listener);
        server.drained(&tasks).await;
        Ok(())
    }

    fn enter(&self, peer: SocketAddr, teller: &mut Teller) -> Option<Place> {
        let Entered { place, cut } = self.connections.enter(peer.ip(), Instant::now());
        if let Some(cut) = cut {
            let open = self.connections.count();
            teller.tell(|| {
                tracing::warn!(
                    open,
                    "as many connections are open as may be (api.connections, and a quarter of the files that the process may have): those that keep the service waiting are closed for new ones"
                );
            });
            self.http.connection_cut(cut.name());
        }
        self.http.connections(self.connections.count());
        place
    }

    fn swept(&self) {
        let cuts = self.connections.sweep(Instant::now());
        cuts.into_iter().for_each(|cut| self.http.connection_cut(cut.name()));
        self.http.connections(self.connections.count());
    }

    /// Waits for what is under way, and ends what takes longer than its grace.
    async fn drained(&self, tasks: &TaskTracker) {
        tasks.close();
        if tokio::time::timeout(self.drain, tasks.wait()).await.is_err() {
            tracing::warn!(drain = ?self.drain, "http requests still open at the end of their grace were cut off");
            self.connections.end_all();
            tasks.wait().await;
        }
    }

    /// Serves a connection to its end.
    async fn attend(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Place) {
        // An answer is written in one piece: waiting for more would only delay it.
        let _ = stream.set_nodelay(true);
        let Ok(at) = stream.local_addr() else { return };
        let arrival = Arrival { peer, at };
        match &self.tls {
            None => self.converse(stream, arrival, &place).await,
            Some(tls) => tokio::select! {
                () = place.connection.cut.cancelled() => {}
                secured = tls.accept(stream) => match secured {
                    Ok(stream) => self.converse(stream, arrival, &place).await,
                    Err(error) => tracing::debug!(%peer, %error, "a connection is not secured"),
                },
            },
        }
    }

    /// Answers one request after the other.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, arrival: Arrival, place: &Place) {
        let connection = &place.connection;
        let watched = Watched { stream, connection: Arc::clone(connection), thrown_away: None };
        let service = hyper::service::service_fn(|request| self.answer(request, arrival, Arc::clone(connection)));
        let mut served = pin!(protocol().serve_connection(TokioIo::new(watched), service));
        let mut is_open = true;
        loop {
            tokio::select! {
                ended = served.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %arrival.peer, %error, "a connection ended");
                    }
                    return;
                }
                () = connection.cut.cancelled() => return,
                () = self.closing.cancelled(), if is_open => {
                    is_open = false;
                    served.as_mut().graceful_shutdown();
                }
            }
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        arrival: Arrival,
        connection: Arc<Connection>,
    ) -> Result<Response<Leaving>, Infallible> {
        connection.enters(if request.body().is_end_stream() { Phase::Answer } else { Phase::Body });
        let arriving = Arc::clone(&connection);
        let mut request = request.map(|body| Body::new(Arriving { body, connection: arriving }));
        request.extensions_mut().insert(arrival);
        let response = self.router.clone().oneshot(request).await?;
        Ok(response.map(|body| Leaving { body, connection }))
    }
}

fn protocol() -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new());
    // The sweep sees to that, and knows more: that a connection is idle, and that another wants its place.
    protocol.header_read_timeout(None);
    protocol.max_header_size(MOST_HEAD_BYTES);
    protocol.max_headers(MOST_HEADERS);
    protocol.max_buf_size(MOST_BUFFERED);
    protocol
}

/// Whether accepting may succeed a moment later: one connection was torn, or the process has no more files.
fn is_passing(error: &io::Error) -> bool {
    let torn = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::ConnectionRefused];
    let wanting = [ErrorKind::OutOfMemory, ErrorKind::Interrupted, ErrorKind::WouldBlock];
    // EMFILE and ENFILE have no kind of their own.
    torn.contains(&error.kind())
        || wanting.contains(&error.kind())
        || matches!(error.raw_os_error(), Some(23 | 24 | 105))
}

/// Tells now and then what would fill the log if it were told each time.
#[derive(Default)]
struct Teller {
    told: Option<Instant>,
}

impl Teller {
    fn tell(&mut self, tell: impl FnOnce()) {
        let now = Instant::now();
        if self.told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY) {
            self.told = Some(now);
            tell();
        }
    }
}

/// A stream that tells when bytes come in, and whether they go out.
struct Watched<S> {
    stream: S,
    connection: Arc<Connection>,
    /// Bytes that were thrown away since this end has said that it says no more.
    thrown_away: Option<usize>,
}

impl<S> Watched<S> {
    fn told<T>(&self, written: Poll<T>) -> Poll<T> {
        self.connection.takes(if written.is_pending() { Taken::Nothing } else { Taken::Some });
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.connection.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.told(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.told(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.told(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.thrown_away.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.thrown_away = Some(0);
            self.connection.enters(Phase::Linger);
        }
        if self.connection.leaves_body() { self.poll_rest(cx) } else { Poll::Ready(Ok(())) }
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Throws away what still comes of a body that was refused. A socket that is closed before that resets the connection,
    /// and a client that is writing never reads why.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; 8 << 10];
        while self.thrown_away.is_some_and(|bytes| bytes < MOST_THROWN_AWAY) {
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            self.thrown_away = self.thrown_away.map(|bytes| bytes.saturating_add(buffer.filled().len()));
        }
        Poll::Ready(Ok(()))
    }
}

/// A request's body, which tells when it is there.
struct Arriving {
    body: Incoming,
    connection: Arc<Connection>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() {
            self.connection.enters(Phase::Answer);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body. Once it has been handed over, the next request is waited for.
struct Leaving {
    body: Body,
    connection: Arc<Connection>,
}

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.connection.answered();
    }
}
