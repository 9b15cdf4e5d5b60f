//! A real Kafka for the tests: brokers in processes of their own, on loopback, with configuration of ours.
//!
//! The jars are Maven's (`tests/kafka/pom.xml`); `tests/run` brings them and says where in [`JARS`]. A broker is started
//! by a shell that reads from a pipe of this process and kills the broker when the pipe closes: whichever way the test
//! process ends, no broker outlives it, nor does its folder. Ports and data stay the same across [`Broker::kill`] and
//! [`Broker::start`].
//!
//! [`shared`] is the one broker that tests use which do not hurt it; each takes a prefix of its own.
//! Who its clients are it asks only where its demands say so. Deliberately absent: anything that waits by the clock.

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The variable that names a Kafka which runs already.
pub const BOOTSTRAP: &str = "DRIFTLINE_TEST_KAFKA";
/// The variable that names the folder of Kafka's jars.
pub const JARS: &str = "DRIFTLINE_TEST_KAFKA_JARS";
/// The variable that makes it a failure that there is no Kafka.
pub const REQUIRED: &str = "DRIFTLINE_REQUIRE_KAFKA";

/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often is looked whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The identity of a cluster, in Kafka's own writing of a UUID.
const CLUSTER: &str = "ZHJpZnRsaW5lLXRlc3RzLQ";
/// Runs the command after the log's name and the folder, says its process id, and kills it when standard input ends.
/// The folder goes with it, and the cluster's with the last one, unless it was told to keep them.
const GUARD: &str = r#"log="$1"; folder="$2"; shift 2; "$@" >>"$log" 2>&1 </dev/null & echo $!
read -r word; kill -9 $! 2>/dev/null; wait
[ "$word" = keep ] || { rm -rf "$folder"; rmdir "${folder%/*}" 2>/dev/null; }"#;
/// Tells the guard to keep the folder: the broker is to be started again.
const KEEP: &[u8] = b"keep\n";

/// Brokers that know each other.
pub struct Cluster {
    brokers: Vec<Broker>,
    _folder: tempfile::TempDir,
}

/// What brokers ask of clients: listeners beside the one that asks for nothing, and what these need.
#[derive(Debug, Clone, Default)]
pub(crate) struct Demands {
    /// Names, protocols and ports of further listeners.
    pub(crate) listeners: Vec<(&'static str, &'static str, u16)>,
    /// Further settings.
    pub(crate) settings: Vec<(String, String)>,
    /// SCRAM credentials, as the storage is formatted with them.
    pub(crate) scram: Vec<String>,
}

/// One broker: its place, and its process while it runs.
pub struct Broker {
    folder: PathBuf,
    jars: PathBuf,
    port: u16,
    running: Option<Process>,
}

/// A broker's process and the shell that guards it.
struct Process {
    guard: Child,
    /// Closed on drop, which is what kills the broker.
    pipe: Option<ChildStdin>,
    broker: Pid,
}

/// A Kafka to test with; `None` (told) where there is none, which fails where one is required.
///
/// All tests of this process share it, and it ends with the process.
///
/// # Errors
/// When a broker could be had but does not start.
pub fn shared() -> Result<Option<String>> {
    static SHARED: Mutex<Option<Cluster>> = Mutex::new(None);
    if let Ok(bootstrap) = std::env::var(BOOTSTRAP) {
        return Ok(Some(bootstrap));
    }
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.is_none() {
        *shared = Cluster::start(1)?;
    }
    Ok(shared.as_ref().map(Cluster::bootstrap))
}

/// A prefix that no other test of any process uses.
pub fn fresh_prefix() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("t{:08x}-{}-{number}-", rand::random::<u32>(), std::process::id())
}

impl Cluster {
    /// Starts so many brokers and waits until they answer; `None` (told) where there are no jars.
    ///
    /// # Errors
    /// When a broker does not start; the message holds what it said.
    pub fn start(count: u16) -> Result<Option<Self>> {
        Self::start_demanding(count, &Demands::default())
    }

    /// As [`Cluster::start`], with brokers that ask this of clients.
    pub(crate) fn start_demanding(count: u16, demands: &Demands) -> Result<Option<Self>> {
        let Some(jars) = std::env::var_os(JARS).map(PathBuf::from) else {
            ensure!(
                std::env::var_os(REQUIRED).is_none(),
                "a Kafka is required, and {JARS} does not say where its jars are"
            );
            eprintln!("SKIPPED: no Kafka ({JARS} names its jars, {BOOTSTRAP} one that runs; ./tests/run brings it)");
            return Ok(None);
        };
        let folder = tempfile::tempdir_in(jars.parent().unwrap_or(Path::new(".")))?;
        let ports = free_ports(usize::from(count) * 2)?;
        let (listeners, controllers) = ports.split_at(usize::from(count));
        let mut brokers = Vec::new();
        for (number, port) in listeners.iter().enumerate() {
            let folder = folder.path().join(format!("broker-{}", number + 1));
            std::fs::create_dir_all(&folder)?;
            let properties = properties(&folder, (number, demands), (listeners, controllers));
            std::fs::write(folder.join("server.properties"), properties)?;
            let mut broker = Broker { folder, jars: jars.clone(), port: *port, running: None };
            broker.format(&demands.scram)?;
            broker.spawn()?;
            brokers.push(broker);
        }
        brokers.iter().try_for_each(Broker::until_it_answers)?;
        Ok(Some(Self { brokers, _folder: folder }))
    }

    /// Addresses of its brokers.
    pub fn bootstrap(&self) -> String {
        self.brokers.iter().map(Broker::address).collect::<Vec<_>>().join(",")
    }

    /// One of its brokers.
    pub fn broker(&mut self, index: usize) -> Option<&mut Broker> {
        self.brokers.get_mut(index)
    }
}

impl Broker {
    /// Its address and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it, as a power cut of its machine would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.running.take() {
            process.keep_folder();
        }
    }

    /// Lets it end in order: its partitions move to the others first.
    ///
    /// # Errors
    /// When it is not running, or does not end.
    pub fn stop(&mut self) -> Result<()> {
        let mut process = self.running.take().context("the broker is not running")?;
        kill(process.broker, Signal::SIGTERM)?;
        // The shell has not asked for its status yet: it is there without a command line.
        let commands = format!("/proc/{}/cmdline", process.broker);
        self.until("it ended", || Ok(std::fs::read(&commands).is_ok_and(|line| line.is_empty())))?;
        process.keep_folder();
        Ok(())
    }

    /// Starts it again with the same data and port, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start; the message holds what it said.
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.until_it_answers()
    }

    /// Stops its process where it stands, as a long pause of its machine would.
    ///
    /// # Errors
    /// When it is not running.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// When it is not running.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.running.as_ref().context("the broker is not running")?;
        Ok(kill(process.broker, signal)?)
    }

    fn java(&self, memory: &str) -> Command {
        let mut command = Command::new("java");
        let classes = format!("{}/*", self.jars.display());
        command.args([memory, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4", "-cp", &classes]);
        command
    }

    fn format(&self, scram: &[String]) -> Result<()> {
        let mut format = self.java("-Xmx256m");
        format.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]);
        format.arg(self.folder.join("server.properties"));
        format.args(scram.iter().flat_map(|credential| ["--add-scram", credential]));
        let output = format.output().context("starting java")?;
        ensure!(output.status.success(), "formatting a broker: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn spawn(&mut self) -> Result<()> {
        std::fs::write(self.said(), "")?;
        let java = self.java("-Xmx512m");
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "kafka"]).arg(self.said()).arg(&self.folder);
        guard.arg(java.get_program()).args(java.get_args());
        guard.arg("kafka.Kafka").arg(self.folder.join("server.properties"));
        let mut guard = guard.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting a shell")?;
        let mut id = String::new();
        BufReader::new(guard.stdout.take().context("no output")?).read_line(&mut id)?;
        let broker = Pid::from_raw(id.trim().parse().context("the shell did not say the broker's process id")?);
        self.running = Some(Process { pipe: guard.stdin.take(), guard, broker });
        Ok(())
    }

    fn until_it_answers(&self) -> Result<()> {
        self.until("it answers", || {
            let said = std::fs::read_to_string(self.said()).unwrap_or_default();
            ensure!(!said.contains("Exiting Kafka due to fatal exception"), "a broker did not start: {said}");
            Ok(said.contains("Kafka Server started") && TcpStream::connect(self.socket()).is_ok())
        })
    }

    fn until(&self, what: &str, condition: impl Fn() -> Result<bool>) -> Result<()> {
        let started = Instant::now();
        while !condition()? {
            if started.elapsed() > PATIENCE {
                let said = std::fs::read_to_string(self.said()).unwrap_or_default();
                bail!("in {PATIENCE:?} not: {what} (broker at {}); it said {said}", self.address());
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        Ok(())
    }

    fn socket(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    fn said(&self) -> PathBuf {
        self.folder.join("said.log")
    }
}

impl Process {
    /// Ends the broker, if it has not ended, and lets its folder stay: it is started again.
    fn keep_folder(&mut self) {
        // Only a guard that is gone does not hear it, and that one removes nothing any more.
        let _ = self.pipe.as_mut().map(|pipe| pipe.write_all(KEEP));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The shell kills the broker when its input ends, and ends itself after that.
        drop(self.pipe.take());
        let _ = self.guard.wait();
    }
}

/// Ports that are free now; all are held until the last is found, so that they differ.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>> {
    let held = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// The configuration of one broker: small, quick, and nothing created that was not asked for.
fn properties(
    folder: &Path,
    (number, demands): (usize, &Demands),
    (listeners, controllers): (&[u16], &[u16]),
) -> String {
    let brokers = listeners.len();
    let voters = controllers.iter().enumerate().map(|(index, port)| format!("{}@127.0.0.1:{port}", index + 1));
    let voters = voters.collect::<Vec<_>>().join(",");
    let (listener, controller) = (listeners[number], controllers[number]);
    let least = brokers.div_ceil(2);
    let mut advertised = format!("PLAINTEXT://127.0.0.1:{listener}");
    let mut protocols = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned();
    for (name, protocol, port) in &demands.listeners {
        let _ = write!(advertised, ",{name}://127.0.0.1:{port}");
        let _ = write!(protocols, ",{name}:{protocol}");
    }
    let mut text = String::new();
    let settings = [
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", (number + 1).to_string()),
        ("controller.quorum.voters", voters),
        ("listeners", format!("{advertised},CONTROLLER://127.0.0.1:{controller}")),
        ("advertised.listeners", advertised),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("listener.security.protocol.map", protocols),
        ("log.dirs", folder.join("data").display().to_string()),
        ("auto.create.topics.enable", "false".to_owned()),
        ("default.replication.factor", brokers.to_string()),
        ("min.insync.replicas", least.to_string()),
        ("offsets.topic.replication.factor", brokers.to_string()),
        ("offsets.topic.num.partitions", "4".to_owned()),
        ("transaction.state.log.replication.factor", brokers.to_string()),
        ("transaction.state.log.min.isr", least.to_string()),
        ("transaction.state.log.num.partitions", "4".to_owned()),
        ("share.coordinator.state.topic.replication.factor", brokers.to_string()),
        ("share.coordinator.state.topic.min.isr", least.to_string()),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
        ("num.network.threads", "2".to_owned()),
        ("num.io.threads", "4".to_owned()),
        ("log.cleaner.dedupe.buffer.size", (8 << 20).to_string()),
    ];
    let demanded = demands.settings.iter().map(|(key, value)| (key.as_str(), value.clone()));
    for (key, value) in settings.into_iter().chain(demanded) {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}
