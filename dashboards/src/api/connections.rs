//! The connections that are open: how many there may be, how long each may take over what, and which one gives way.
//!
//! A connection takes a file, and the log needs files too. So their number is bounded, and when it is reached the new one
//! displaces another: of the address that has the most, the one that has kept the server waiting for the longest. A request
//! that is being answered is never displaced. Whoever opens connections and says nothing so pushes out himself, and a client
//! that sends its request at once is answered however many of those there are.
//!
//! What a connection is doing is told by the server that reads and writes it; [`Connections::sweep`] ends those that take
//! too long. Times enter as arguments, so that this can be tested without waiting.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Limits of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// The most that are open at once.
    pub most: usize,
    /// How long the head of a request may take, and the beginning of a connection.
    pub head: Duration,
    /// How long a connection may stay open without a request.
    pub idle: Duration,
    /// How long a body may take to arrive.
    pub body: Duration,
    /// How long a client may leave an answer unread.
    pub unread: Duration,
    /// How long the rest of a body is thrown away that was refused before it was there.
    pub linger: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            most: 512,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body: Duration::from_secs(35),
            unread: Duration::from_secs(30),
            linger: Duration::from_secs(2),
        }
    }
}

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client: the head of a request.
    Head,
    /// The client: a next request.
    Idle,
    /// The client: the rest of a body.
    Body,
    /// The server: an answer.
    Answer,
    /// The client: that it has sent the rest of a body which nobody reads.
    Linger,
}

/// Why a connection was ended from this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cut {
    /// A head, a body or a request took too long.
    Overdue,
    /// An answer was not read.
    Unread,
    /// Another came when there were as many as there may be.
    Displaced,
    /// There were as many as there may be, and none could give way.
    Refused,
}

impl Cut {
    /// The name used in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overdue => "overdue",
            Self::Unread => "unread",
            Self::Displaced => "displaced",
            Self::Refused => "refused",
        }
    }
}

/// What one connection does, as its reader and writer tell.
pub(super) struct Connection {
    peer: IpAddr,
    state: Mutex<State>,
    /// Cancelled when it is to be closed at once.
    pub(super) cut: CancellationToken,
}

struct State {
    phase: Phase,
    since: Instant,
    /// Since when the client takes no more of what is sent.
    unread_since: Option<Instant>,
    /// Whether a request was answered before its body was there.
    leaves_body: bool,
}

impl Connection {
    fn new(peer: IpAddr, now: Instant) -> Self {
        let state = Mutex::new(State { phase: Phase::Head, since: now, unread_since: None, leaves_body: false });
        Self { peer, state, cut: CancellationToken::new() }
    }

    /// It waits for something else now.
    pub(super) fn enters(&self, phase: Phase) {
        let mut state = self.state();
        (state.phase, state.since) = (phase, Instant::now());
    }

    /// A request was answered, and the next one is waited for.
    pub(super) fn answered(&self) {
        let mut state = self.state();
        state.leaves_body |= state.phase == Phase::Body;
        (state.phase, state.since) = (Phase::Idle, Instant::now());
    }

    /// Whether a request was answered before its body was there: the client may still be sending it.
    pub(super) fn leaves_body(&self) -> bool {
        self.state().leaves_body
    }

    /// Bytes have come in: between requests they begin a head.
    pub(super) fn received(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            (state.phase, state.since) = (Phase::Head, Instant::now());
        }
    }

    /// The client takes what is sent, or does not.
    pub(super) fn takes(&self, taken: Taken) {
        let mut state = self.state();
        match taken {
            Taken::Some => state.unread_since = None,
            Taken::Nothing => _ = state.unread_since.get_or_insert_with(Instant::now),
        }
    }

    fn overdue(&self, limits: &ConnectionLimits, now: Instant) -> Option<Cut> {
        let state = self.state();
        let lasts = |since: Instant| now.saturating_duration_since(since);
        if state.unread_since.is_some_and(|since| lasts(since) > limits.unread) {
            return Some(Cut::Unread);
        }
        let most = match state.phase {
            Phase::Head => limits.head,
            Phase::Idle => limits.idle,
            Phase::Body => limits.body,
            Phase::Linger => limits.linger,
            Phase::Answer => return None,
        };
        (lasts(state.since) > most).then_some(Cut::Overdue)
    }

    /// Since when the server waits for the client; `None` where it is the other way round.
    fn waited_for_since(&self) -> Option<Instant> {
        let state = self.state();
        state.unread_since.or((state.phase != Phase::Answer).then_some(state.since))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a client takes what is sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Some,
    Nothing,
}

/// Every open connection.
pub(super) struct Connections {
    limits: ConnectionLimits,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// In the order in which they came.
    by_number: BTreeMap<u64, Arc<Connection>>,
}

/// A connection's place among the open ones; dropped when it is closed.
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
    pub(super) connection: Arc<Connection>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().by_number.remove(&self.number);
    }
}

/// What becomes of a connection that comes in.
pub(super) struct Entered {
    /// Its place; `None` where it is to be closed.
    pub(super) place: Option<Place>,
    /// What that cost another one, or itself.
    pub(super) cut: Option<Cut>,
}

impl Connections {
    pub(super) fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, open: Mutex::default() })
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.open().by_number.len()
    }

    /// Takes a connection in, in place of another where there are as many as there may be.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr, now: Instant) -> Entered {
        let mut open = self.open();
        let mut cut = None;
        if open.by_number.len() >= self.limits.most.max(1) {
            let Some(number) = open.gives_way() else { return Entered { place: None, cut: Some(Cut::Refused) } };
            open.end(number);
            cut = Some(Cut::Displaced);
        }
        let (number, connection) = (open.next, Arc::new(Connection::new(peer.to_canonical(), now)));
        open.next += 1;
        open.by_number.insert(number, Arc::clone(&connection));
        drop(open);
        Entered { place: Some(Place { connections: Arc::clone(self), number, connection }), cut }
    }

    /// Ends those that take too long; says why each was ended.
    pub(super) fn sweep(&self, now: Instant) -> Vec<Cut> {
        let mut open = self.open();
        let overdue = |(number, connection): (&u64, &Arc<Connection>)| {
            connection.overdue(&self.limits, now).map(|cut| (*number, cut))
        };
        let overdue: Vec<_> = open.by_number.iter().filter_map(overdue).collect();
        overdue.iter().for_each(|(number, _)| open.end(*number));
        overdue.into_iter().map(|(_, cut)| cut).collect()
    }

    /// Ends every one.
    pub(super) fn end_all(&self) {
        self.open().by_number.values().for_each(|connection| connection.cut.cancel());
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Ends one and gives its place away before it is closed: that takes no longer than its task needs to be woken.
    fn end(&mut self, number: u64) {
        if let Some(connection) = self.by_number.remove(&number) {
            connection.cut.cancel();
        }
    }

    /// Of the address with the most connections that keep the server waiting, the one that has done so for the longest.
    fn gives_way(&self) -> Option<u64> {
        let mut waiting: BTreeMap<IpAddr, Vec<(Instant, u64)>> = BTreeMap::new();
        for (number, connection) in &self.by_number {
            if let Some(since) = connection.waited_for_since() {
                waiting.entry(connection.peer).or_default().push((since, *number));
            }
        }
        let most = waiting.into_values().max_by_key(Vec::len)?;
        most.into_iter().min().map(|(_, number)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn connections(most: usize) -> Arc<Connections> {
        Connections::new(ConnectionLimits { most, ..ConnectionLimits::default() })
    }

    fn enter(connections: &Arc<Connections>, peer: &str, now: Instant) -> Entered {
        connections.enter(peer.parse().unwrap(), now)
    }

    #[test]
    fn the_address_with_the_most_gives_way_with_the_one_that_waited_longest() {
        let (connections, now) = (connections(3), Instant::now());
        let quiet = enter(&connections, "10.0.0.1", now).place.unwrap();
        let first = enter(&connections, "10.0.0.2", now + SECOND).place.unwrap();
        let second = enter(&connections, "10.0.0.2", now + SECOND * 2).place.unwrap();
        let third = enter(&connections, "10.0.0.2", now + SECOND * 3);
        assert_eq!((third.place.is_some(), third.cut, connections.count()), (true, Some(Cut::Displaced), 3));
        let cut = [&quiet, &first, &second].map(|place| place.connection.cut.is_cancelled());
        assert_eq!(cut, [false, true, false]);
        drop(first);
        assert_eq!(connections.count(), 3, "its place had been given away");
    }

    #[test]
    fn a_request_that_is_being_answered_keeps_its_place() {
        let (connections, now) = (connections(1), Instant::now());
        let busy = enter(&connections, "10.0.0.1", now).place.unwrap();
        busy.connection.enters(Phase::Answer);
        let late = enter(&connections, "10.0.0.2", now);
        assert_eq!((late.place.is_none(), late.cut), (true, Some(Cut::Refused)));
        busy.connection.enters(Phase::Body);
        assert!(enter(&connections, "10.0.0.2", now).place.is_some(), "a body that does not come gives way");
    }

    #[test]
    fn each_wait_for_a_client_has_an_end() {
        let connections = connections(8);
        let limits = connections.limits;
        let phases = [
            (Phase::Head, Some(limits.head)),
            (Phase::Idle, Some(limits.idle)),
            (Phase::Body, Some(limits.body)),
            (Phase::Answer, None),
        ];
        for (phase, most) in phases {
            let place = enter(&connections, "::1", Instant::now()).place.unwrap();
            place.connection.enters(phase);
            let now = Instant::now();
            let Some(most) = most else {
                assert!(connections.sweep(now + SECOND * 3_600).is_empty());
                continue;
            };
            assert!(connections.sweep(now + most - SECOND).is_empty(), "{phase:?}");
            assert_eq!(connections.sweep(now + most + SECOND), [Cut::Overdue], "{phase:?}");
            assert!(place.connection.cut.is_cancelled());
        }
    }

    #[test]
    fn an_answer_that_is_not_read_is_given_up() {
        let connections = connections(8);
        let place = enter(&connections, "::1", Instant::now()).place.unwrap();
        place.connection.enters(Phase::Answer);
        place.connection.takes(Taken::Nothing);
        place.connection.takes(Taken::Some);
        let later = Instant::now() + connections.limits.unread + SECOND;
        assert!(connections.sweep(later).is_empty());
        place.connection.takes(Taken::Nothing);
        assert_eq!(connections.sweep(later + SECOND), [Cut::Unread]);
    }

    #[test]
    fn bytes_between_requests_begin_a_head() {
        let connections = connections(8);
        let place = enter(&connections, "::1", Instant::now()).place.unwrap();
        place.connection.enters(Phase::Idle);
        place.connection.received();
        let later = Instant::now() + connections.limits.head + SECOND;
        assert_eq!(connections.sweep(later), [Cut::Overdue], "sooner than one that is idle");
    }
}
