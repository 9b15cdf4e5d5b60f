//! A real Prometheus, where there is one: its tools on files, and a server that scrapes and evaluates rules.
//!
//! `DRIFTLINE_TEST_PROMETHEUS` is the folder with `prometheus` and `promtool`; without it they are looked for in `PATH`. With
//! `DRIFTLINE_REQUIRE_PROMETHEUS` it is an error that there are none.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a Prometheus may take to begin to answer, or to have evaluated what it is to.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Prometheus {
    folder: PathBuf,
}

/// A server at work. It is killed when it is dropped.
pub struct Server {
    process: Child,
    url: String,
    agent: ureq::Agent,
    _data: tempfile::TempDir,
}

impl Prometheus {
    /// The programs that are at hand; `None` (told) where there are none.
    ///
    /// # Errors
    /// When there must be some.
    pub fn found() -> Result<Option<Self>> {
        let told = std::env::var_os("DRIFTLINE_TEST_PROMETHEUS").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = told.into_iter().chain(std::env::split_paths(&path));
        let has = |folder: &PathBuf| ["prometheus", "promtool"].iter().all(|program| folder.join(program).is_file());
        let found = folders.into_iter().find(has).map(|folder| Self { folder });
        if found.is_none() {
            ensure!(
                std::env::var_os("DRIFTLINE_REQUIRE_PROMETHEUS").is_none(),
                "there is no prometheus and no promtool"
            );
            eprintln!("SKIPPED: no prometheus and promtool");
        }
        Ok(found)
    }

    /// Runs `promtool`; what it said.
    ///
    /// # Errors
    /// When it finds fault; the message holds what it said.
    pub fn tool(&self, arguments: &[&str], input: &str) -> Result<String> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), input)?;
        let mut command = Command::new(self.folder.join("promtool"));
        let output = command.args(arguments).stdin(file.reopen()?).output().context("starting promtool")?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure!(output.status.success(), "promtool {arguments:?} ended with {}: {said}", output.status);
        Ok(said)
    }

    /// Starts a server that scrapes this address and evaluates these rules every second.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn serve(&self, target: &str, rules: &Path) -> Result<Server> {
        let data = tempfile::tempdir()?;
        let configuration = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [\"{}\"]\nscrape_configs:\n\
             - {{job_name: driftline, static_configs: [{{targets: [\"{target}\"]}}]}}\n",
            rules.display()
        );
        let file = data.path().join("prometheus.yml");
        std::fs::write(&file, configuration)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Command::new(self.folder.join("prometheus"))
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting prometheus")?;
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
        let server = Server { process, url: format!("http://{address}"), agent: agent.into(), _data: data };
        server.until("it is ready", |server| {
            let answer = server.agent.get(format!("{}/-/ready", server.url)).call();
            Ok(answer.is_ok_and(|answer| answer.status() == 200).then_some(()))
        })?;
        Ok(server)
    }
}

impl Server {
    /// The series that a query has had since a moment, in seconds of the epoch, each with its labels and values.
    ///
    /// # Errors
    /// When the query is refused; the message holds why.
    pub fn series(&self, query: &str, since_s: f64) -> Result<Vec<Value>> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
        let form = [
            ("query", query.to_owned()),
            ("start", since_s.to_string()),
            ("end", now.to_string()),
            ("step", "1".to_owned()),
        ];
        let mut answer = self.agent.post(format!("{}/api/v1/query_range", self.url)).send_form(form)?;
        let body: Value = answer.body_mut().with_config().limit(1 << 28).read_json()?;
        match body["data"]["result"].as_array() {
            Some(series) => Ok(series.clone()),
            None => bail!("{query}: {body}"),
        }
    }

    /// Every rule, as it stands.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn rules(&self) -> Result<Vec<Value>> {
        let body: Value = self.agent.get(format!("{}/api/v1/rules", self.url)).call()?.body_mut().read_json()?;
        let groups = body["data"]["groups"].as_array().cloned().unwrap_or_default();
        Ok(groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect())
    }

    /// Waits until the condition gives something.
    ///
    /// # Errors
    /// When the condition fails, or patience does.
    pub fn until<T>(&self, what: &str, condition: impl Fn(&Self) -> Result<Option<T>>) -> Result<T> {
        let started = Instant::now();
        loop {
            if let Some(found) = condition(self)? {
                return Ok(found);
            }
            ensure!(started.elapsed() < PATIENCE, "prometheus: in {PATIENCE:?} not: {what}");
            thread::park_timeout(LOOK_EVERY);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
