//! The API as it runs: one small runtime, with a server for everything and, where it is configured, one for metrics alone.

use crate::config::Config;
use anyhow::{Context, Result};
use dashboards::api::{
    self, ApiError, ApiOptions, ConnectionLimits, HasTokens, RateLimit, Services, Tls, Tokens, check_listen,
};
use nix::sys::resource::{Resource, getrlimit};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// The part of the files of a process that connections may take; the others are for the log and what is read of it.
const FILES_PER_CONNECTION: u64 = 4;
/// So many are open however few files there may be.
const LEAST_CONNECTIONS: u64 = 8;
/// Connections of a server that shows metrics alone.
const METRICS_CONNECTIONS: usize = 32;
/// How many commands may come at once, as seconds of their rate.
const COMMANDS_AT_ONCE: u32 = 20;

/// The servers, and what they run on.
pub(super) struct RunningApi {
    address: SocketAddr,
    runtime: Runtime,
    servers: Vec<JoinHandle<Result<(), ApiError>>>,
}

impl RunningApi {
    /// Listens, and serves until the services close.
    pub(super) fn start(listen: SocketAddr, services: Services, config: &Config) -> Result<Self> {
        let options = options(config)?;
        let has_tokens = if options.tokens.is_some() { HasTokens::Yes } else { HasTokens::No };
        check_listen(listen, has_tokens).context("api.listen")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let bind = |listen: SocketAddr, setting: &str| {
            let bound = runtime.block_on(TcpListener::bind(listen));
            bound.with_context(|| format!("{setting}: cannot listen on {listen}; choose another address or port"))
        };
        let listener = bind(listen, "api.listen")?;
        let address = listener.local_addr()?;
        let mut servers = Vec::new();
        if let Some(listen) = config.api.metrics_listen {
            let listener = bind(listen, "api.metrics_listen")?;
            let connections = ConnectionLimits { most: METRICS_CONNECTIONS, ..options.connections };
            let options = ApiOptions { connections, ..options.clone() };
            servers.push(runtime.spawn(api::serve_metrics(listener, services.clone(), options)));
        }
        servers.push(runtime.spawn(api::serve(listener, services, options)));
        Ok(Self { address, runtime, servers })
    }

    /// Where the API listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the servers have ended.
    pub(super) fn join(self) -> Result<()> {
        for server in self.servers {
            self.runtime.block_on(server).context("ending the API")??;
        }
        Ok(())
    }
}

/// Refuses what the API could not be started with: tokens or certificates that cannot be used.
///
/// # Errors
/// When a file that the section `api` names cannot be used.
pub fn check_api(config: &Config) -> Result<()> {
    options(config).map(drop)
}

fn options(config: &Config) -> Result<ApiOptions> {
    let api = &config.api;
    let limits = ApiOptions::default();
    let at_once = |per_second: NonZeroU32, seconds: u32| RateLimit {
        per_second,
        burst: NonZeroU32::MIN.max(per_second.saturating_mul(NonZeroU32::MIN.saturating_add(seconds - 1))),
    };
    Ok(ApiOptions {
        most_body_bytes: usize::try_from(api.max_body_bytes).unwrap_or(usize::MAX),
        most_in_flight: api.in_flight.get() as usize,
        rate: api.requests_per_second.map(|per_second| at_once(per_second, 1)),
        command_rate: at_once(api.commands_per_second, COMMANDS_AT_ONCE),
        connections: ConnectionLimits { most: most_connections(api.connections), ..limits.connections },
        hosts: api.hosts.clone(),
        tokens: api.tokens.as_deref().map(Tokens::load).transpose().context("api.tokens")?.map(Arc::new),
        tls: api.tls.as_ref().map(Tls::load).transpose().context("api.tls")?,
        ..limits
    })
}

/// As many as are configured, but no more than leave the log its files.
fn most_connections(configured: NonZeroU32) -> usize {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    let most = (files / FILES_PER_CONNECTION).max(LEAST_CONNECTIONS).min(u64::from(configured.get()));
    usize::try_from(most).unwrap_or(usize::MAX)
}
