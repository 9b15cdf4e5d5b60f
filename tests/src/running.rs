//! A driftline that runs in a process of its own: spoken to over HTTP, waited for, and ended by SIGTERM.

use crate::Workplace;
use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a condition is waited for before the test gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// A condition is looked at again when driftline says something, or after so long.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What `driftline run` says once its API listens.
const LISTENS: &str = "driftline: metrics and API at ";

/// A running driftline. It is killed when it is dropped before it was stopped.
pub struct Running {
    process: Child,
    said: Receiver<String>,
    heard: Vec<String>,
    url: String,
    agent: ureq::Agent,
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

/// A body to be sent, with the headers that say what it is.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// The content type; `None` sends none.
    pub content_type: Option<&'a str>,
    /// The content encoding, where there is one.
    pub encoding: Option<&'a str>,
    /// The bytes.
    pub body: &'a [u8],
}

impl<'a> Sent<'a> {
    /// JSON, one event a line.
    pub fn json_lines(body: &'a [u8]) -> Self {
        Self { content_type: Some("application/x-ndjson"), encoding: None, body }
    }

    /// MessagePack.
    pub fn messagepack(body: &'a [u8]) -> Self {
        Self { content_type: Some("application/msgpack"), encoding: None, body }
    }

    /// An Arrow IPC stream.
    pub fn arrow(body: &'a [u8]) -> Self {
        Self { content_type: Some("application/vnd.apache.arrow.stream"), encoding: None, body }
    }
}

impl Workplace {
    /// Starts `driftline run` and waits until its API listens.
    ///
    /// # Errors
    /// When it ends instead; the message holds what it said.
    pub fn start(&self) -> Result<Running> {
        self.start_with(&[])
    }

    /// Starts `driftline run` with these variables in its environment, and waits until its API listens.
    ///
    /// # Errors
    /// When it ends instead; the message holds what it said.
    pub fn start_with(&self, variables: &[(&str, &str)]) -> Result<Running> {
        until_it_listens(self.spawn(variables)?)
    }

    /// Starts `driftline run` with these variables in its environment, and waits until it has ended by SIGKILL.
    ///
    /// # Errors
    /// When it ends otherwise, or not at all; the message holds what it said.
    pub fn run_to_its_death(&self, variables: &[(&str, &str)]) -> Result<()> {
        self.spawn(variables)?.until_killed()
    }

    /// Starts `driftline run` with these stages only, and waits until its API listens.
    ///
    /// # Errors
    /// When it ends instead; the message holds what it said.
    pub fn start_stages(&self, stages: &str) -> Result<Running> {
        until_it_listens(spawn(self.command(&["run", "--stages", stages]))?)
    }

    fn spawn(&self, variables: &[(&str, &str)]) -> Result<Running> {
        let mut command = self.command(&["run"]);
        command.envs(variables.iter().copied());
        spawn(command)
    }
}

impl Running {
    /// Where its API is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a body.
    ///
    /// # Errors
    /// When there is no answer, or none in JSON.
    pub fn post(&self, path: &str, sent: Sent<'_>) -> Result<Answer> {
        let mut request = self.agent.post(format!("{}{path}", self.url));
        if let Some(content_type) = sent.content_type {
            request = request.header("content-type", content_type);
        }
        if let Some(encoding) = sent.encoding {
            request = request.header("content-encoding", encoding);
        }
        let mut answer = request.send(sent.body).with_context(|| format!("posting to {path}"))?;
        let body = answer.body_mut().read_json().with_context(|| format!("{path} answered no JSON"))?;
        Ok(Answer { status: answer.status().as_u16(), body })
    }

    /// What stands at a path.
    ///
    /// # Errors
    /// When there is no answer, or none in JSON.
    pub fn get(&self, path: &str) -> Result<Answer> {
        let mut answer = self.agent.get(format!("{}{path}", self.url)).call()?;
        let body = answer.body_mut().with_config().limit(1 << 30).read_json()?;
        Ok(Answer { status: answer.status().as_u16(), body })
    }

    /// The sum of a metric over the series that have these labels; 0 where there is none.
    ///
    /// # Errors
    /// When the metrics cannot be read.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let page = self.agent.get(format!("{}/metrics", self.url)).call()?.body_mut().read_to_string()?;
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let series = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        let wanted = series.filter(|line| labels.iter().all(|label| line.contains(label.as_str())));
        let values = wanted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// Waits until the condition gives something.
    ///
    /// # Errors
    /// When the condition fails, driftline ends, or patience does.
    pub fn until<T>(&mut self, what: &str, condition: impl Fn(&Self) -> Result<Option<T>>) -> Result<T> {
        let started = Instant::now();
        loop {
            if let Some(found) = condition(self)? {
                return Ok(found);
            }
            ensure!(started.elapsed() < PATIENCE, "in {PATIENCE:?} not: {what}; driftline said {:#?}", self.heard);
            match self.said.recv_timeout(LOOK_EVERY) {
                Ok(line) => self.heard.push(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("driftline ended with {} before {what}; it said {:#?}", self.process.wait()?, self.heard)
                }
            }
        }
    }

    /// What it has said so far.
    pub fn heard(&mut self) -> &[String] {
        self.heard.extend(self.said.try_iter());
        &self.heard
    }

    /// Ends it by SIGKILL.
    ///
    /// # Errors
    /// When it had ended before.
    pub fn kill(mut self) -> Result<()> {
        if let Some(status) = self.process.try_wait()? {
            self.heard.extend(self.said.iter());
            bail!("driftline ended with {status} before it was killed; it said {:#?}", self.heard);
        }
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Waits until it has ended by SIGKILL, which no one but itself has sent.
    ///
    /// # Errors
    /// When it ends otherwise, or patience does; the message holds what it said.
    pub fn until_killed(mut self) -> Result<()> {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait()? {
                break status;
            }
            ensure!(started.elapsed() < PATIENCE, "in {PATIENCE:?} it did not die; it said {:#?}", self.heard);
            match self.said.recv_timeout(LOOK_EVERY) {
                Ok(line) => self.heard.push(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break self.process.wait()?,
            }
        };
        self.heard.extend(self.said.try_iter());
        let is_killed = status.signal() == Some(Signal::SIGKILL as i32);
        ensure!(is_killed, "driftline ended with {status}; it said {:#?}", self.heard);
        Ok(())
    }

    /// Stops it in its tracks, or lets it go on: SIGSTOP and SIGCONT.
    ///
    /// # Errors
    /// When it is not there any more.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.process.id())?), signal)?)
    }

    /// Ends it by SIGTERM, and waits until it has ended.
    ///
    /// # Errors
    /// When it does not end with 0; the message holds what it said.
    pub fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.process.id())?), Signal::SIGTERM)?;
        let status: ExitStatus = self.process.wait()?;
        self.heard.extend(self.said.iter());
        ensure!(status.success(), "driftline ended with {status}; it said {:#?}", self.heard);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where it was stopped; then there is nothing to be killed.
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

fn spawn(mut command: Command) -> Result<Running> {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = command.spawn().context("starting driftline")?;
    let stderr = process.stderr.take().context("driftline has no standard error")?;
    let (say, said) = channel();
    std::thread::spawn(move || {
        BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| say.send(line))
    });
    let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
    Ok(Running { process, said, heard: Vec::new(), url: String::new(), agent: agent.into() })
}

fn until_it_listens(mut running: Running) -> Result<Running> {
    running.url = running.until("its API listens", |running| {
        Ok(running.heard.iter().find_map(|line| line.strip_prefix(LISTENS)).map(str::to_owned))
    })?;
    Ok(running)
}
