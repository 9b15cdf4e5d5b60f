//! Runs a program that may misbehave, and leaves nothing of it behind.
//!
//! The program gets a job file and an environment of its own making: everything is cleared but `PATH`, `HOME`, `LANG` and
//! `TMPDIR`, what the configuration adds, and [`JOB_VARIABLE`] with the path of the job file. It leads a process group. Of
//! its output, which comes through a pipe, a failure quotes the last lines.
//!
//! However the run ends, it and everything that it started (`descendants`) is killed before it is reaped: until then the
//! group's number cannot belong to anyone else. On the time limit or a stop all of them are asked with SIGTERM first and
//! given [`GRACE`].
//!
//! If this process is killed itself, its programs live on. Every descendant inherits [`JOB_VARIABLE`], so [`sweep`] finds
//! them at the next start by the job's directory, and kills no one else's: a number in a file could be another process's by
//! then, the variable cannot. It reads `/proc` and finds nothing where there is none.

mod cgroup;
mod descendants;
pub(crate) mod limits;
mod output;
mod standing;
mod table;
mod usage;

pub use output::LastLines;
pub use standing::{Ends, StandingProgram};
pub use usage::Usage;

use descendants::Descendants;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use output::Output;
use std::collections::BTreeMap;
use std::io::{PipeReader, PipeWriter};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use usage::Watched;

/// The environment variable that holds the path of the job file.
pub const JOB_VARIABLE: &str = "DRIFTLINE_JOB";

/// How long a program may take to end after SIGTERM, before SIGKILL.
pub const GRACE: Duration = Duration::from_secs(5);

/// How often a running program is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Variables that are passed on from this process.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];

/// A program, as the configuration describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandSpec {
    /// The program: a path, or a name that is looked up in `PATH`.
    pub program: PathBuf,
    /// Its arguments; the job file's path comes after them.
    pub arguments: Vec<String>,
    /// Variables added to its environment.
    pub environment: BTreeMap<String, String>,
    /// Where it runs; the job's own directory if `None`.
    pub working_directory: Option<PathBuf>,
    /// How long it may take.
    pub time_limit: Duration,
    /// How many last lines of its output a failure quotes.
    pub output_lines_kept: usize,
    /// How many bytes a file that it leaves may have, rows also when they are unpacked.
    pub most_result_bytes: u64,
}

/// How a program failed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("{program} cannot be started; check that it exists, may be executed and is found in PATH", program = program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It ended with an error.
    #[error("{program} {ended}{output}", program = program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended: `exited with code 3`, `was killed by SIGSEGV`.
        ended: String,
        /// Its exit code, if it has one.
        code: Option<i32>,
        /// The last lines of its output.
        output: LastLines,
    },
    /// It took too long.
    #[error("{program} was stopped after its time limit of {limit:?}{output}", program = program.display())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// The limit.
        limit: Duration,
        /// The last lines of its output.
        output: LastLines,
    },
    /// It was told to stop.
    #[error("{program} was stopped because this process stops", program = program.display())]
    Stopped {
        /// The program.
        program: PathBuf,
    },
    /// The system refused something on the way.
    #[error("{program} cannot be looked after while {doing}", program = program.display())]
    System {
        /// The program.
        program: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl ProcessError {
    /// Calls the program by another name, where its path would say nothing to a reader.
    pub(crate) fn rename(&mut self, name: &str) {
        match self {
            Self::Start { program, .. }
            | Self::Failed { program, .. }
            | Self::TimedOut { program, .. }
            | Self::Stopped { program }
            | Self::System { program, .. } => *program = name.into(),
        }
    }
}

/// Runs the program on a job file until it ends, and tells what it took. Blocks.
///
/// # Errors
/// It cannot be started, ends with another code than 0, takes too long or is stopped. Nothing of it runs any more then.
pub fn run(spec: &CommandSpec, job: &Path, stop: &CancellationToken) -> Result<Usage, ProcessError> {
    run_among(spec, job, stop, Descendants::awaited(job))
}

fn run_among(
    spec: &CommandSpec,
    job: &Path,
    stop: &CancellationToken,
    descendants: Descendants,
) -> Result<Usage, ProcessError> {
    let (reader, writer) = pipe(spec)?;
    let errors = writer.try_clone().map_err(|source| system(spec, "opening a pipe for its output", source))?;
    let streams = Streams { input: Stdio::null(), output: writer.into(), errors: errors.into() };
    let mut running = RunningProgram::start(spec, job, streams, descendants)?;
    let output = Output::follow(reader).map_err(|source| system(spec, "reading its output", source))?;
    let mut watched = Watched::new(running.id().as_raw());
    let end = watch(spec, (&running, &mut watched), stop)?;
    let usage = watched.total();
    let status = running.end(end).map_err(|source| system(spec, "ending it", source))?;
    if end == End::Itself && status.success() { Ok(usage) } else { Err(failure(spec, end, status, &output)) }
}

fn failure(spec: &CommandSpec, end: End, status: ExitStatus, output: &Output) -> ProcessError {
    let program = spec.program.clone();
    let output = || output.last_lines(spec.output_lines_kept);
    match end {
        End::Itself => ProcessError::Failed { program, ended: describe(status), code: status.code(), output: output() },
        End::TimeLimit => ProcessError::TimedOut { program, limit: spec.time_limit, output: output() },
        End::Stopped => ProcessError::Stopped { program },
    }
}

/// Kills what an earlier run of this process left running for jobs in this directory or below; gives their number.
///
/// # Errors
/// `/proc` is there and cannot be listed.
pub fn sweep(directory: &Path) -> std::io::Result<usize> {
    let directory = &std::path::absolute(directory)?;
    let own = std::process::id() as i32;
    let mut killed = 0;
    for process in table::all()?.into_iter().filter(|process| process.id != own) {
        let works_here = table::job_of(process.id).is_some_and(|job| job.starts_with(directory));
        if works_here && kill(Pid::from_raw(process.id), Signal::SIGKILL).is_ok() {
            let directory = directory.display();
            tracing::warn!(process = process.id, %directory, "killed a program that outlived its run");
            killed += 1;
        }
    }
    cgroup::remove_empty();
    Ok(killed)
}

fn pipe(spec: &CommandSpec) -> Result<(PipeReader, PipeWriter), ProcessError> {
    std::io::pipe().map_err(|source| system(spec, "opening a pipe", source))
}

/// Why a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Itself,
    TimeLimit,
    Stopped,
}

fn watch(
    spec: &CommandSpec,
    (running, watched): (&RunningProgram, &mut Watched),
    stop: &CancellationToken,
) -> Result<End, ProcessError> {
    let started = Instant::now();
    loop {
        if running.leader_has_ended().map_err(|source| system(spec, "waiting for it", source))? {
            return Ok(End::Itself);
        }
        if stop.is_cancelled() {
            return Ok(End::Stopped);
        }
        if started.elapsed() >= spec.time_limit {
            return Ok(End::TimeLimit);
        }
        watched.look();
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Where a program's streams come from and go to.
struct Streams {
    input: Stdio,
    output: Stdio,
    errors: Stdio,
}

/// A program and whatever it started; killed when this is dropped.
struct RunningProgram {
    child: Child,
    descendants: Descendants,
    reaped: bool,
}

impl RunningProgram {
    fn start(
        spec: &CommandSpec,
        job: &Path,
        streams: Streams,
        mut descendants: Descendants,
    ) -> Result<Self, ProcessError> {
        let directory = spec.working_directory.as_deref().or(job.parent()).unwrap_or(Path::new("."));
        let child = Command::new(&spec.program)
            .args(&spec.arguments)
            .arg(job)
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))))
            .envs(&spec.environment)
            .env(JOB_VARIABLE, job)
            .current_dir(directory)
            .stdin(streams.input)
            .stdout(streams.output)
            .stderr(streams.errors)
            .process_group(0)
            .spawn()
            .map_err(|source| ProcessError::Start { program: spec.program.clone(), source })?;
        descendants.begin_with(&child);
        Ok(Self { child, descendants, reaped: false })
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Looks without reaping, so that the group's number stays taken.
    fn leader_has_ended(&self) -> std::io::Result<bool> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(self.id()), flags) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => Ok(false),
            Ok(_) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Kills everything, kindly first unless the leader has ended by itself, and reaps the leader.
    fn end(&mut self, end: End) -> std::io::Result<ExitStatus> {
        if end != End::Itself {
            self.descendants.signal(self.id(), Signal::SIGTERM)?;
            let asked = Instant::now();
            while asked.elapsed() < GRACE
                && !(self.leader_has_ended()? && self.descendants.strays(self.id())?.is_empty())
            {
                std::thread::sleep(LOOK_EVERY);
            }
        }
        self.descendants.kill(self.id())?;
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(status)
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        if !self.reaped {
            // Nothing more can be done about a failure here; the next sweep finds what is left.
            let killed = self.descendants.kill(self.id()).and_then(|()| self.child.wait());
            if let Err(error) = killed {
                tracing::warn!(process = self.child.id(), %error, "a program could not be ended");
            }
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("was killed by {signal}"),
            Err(_) => format!("was killed by signal {number}"),
        },
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

fn system(spec: &CommandSpec, doing: &'static str, source: std::io::Error) -> ProcessError {
    ProcessError::System { program: spec.program.clone(), doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use tempfile::TempDir;

    fn shell(script: &str) -> CommandSpec {
        CommandSpec {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
            working_directory: None,
            time_limit: Duration::from_secs(60),
            output_lines_kept: 2,
            most_result_bytes: 1 << 20,
        }
    }

    fn job() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let job = directory.path().join("job.json");
        (directory, job)
    }

    fn wait_for(what: &str, condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < Duration::from_secs(30), "{what}");
            thread::yield_now();
        }
    }

    fn is_gone(id_file: &Path) -> bool {
        let id: i32 = std::fs::read_to_string(id_file).unwrap().trim().parse().unwrap();
        match std::fs::read_to_string(format!("/proc/{id}/stat")) {
            // Killed and waiting for a parent to notice counts as gone.
            Ok(stat) => stat.rsplit(')').next().unwrap().trim().starts_with(['Z', 'X']),
            Err(_) => true,
        }
    }

    #[test]
    fn a_program_sees_only_the_documented_environment() {
        let (directory, job) = job();
        run(&shell("env > environment"), &job, &CancellationToken::new()).unwrap();
        let environment = std::fs::read_to_string(directory.path().join("environment")).unwrap();
        assert!(environment.contains("GREETING=hello\n"));
        assert!(environment.contains(&format!("{JOB_VARIABLE}={}\n", job.display())));
        assert!(!environment.contains("CARGO"), "{environment}");
    }

    #[test]
    fn a_failure_quotes_the_last_lines() {
        let (_directory, job) = job();
        let error = run(&shell("echo one; echo two >&2; echo three; exit 3"), &job, &CancellationToken::new());
        let message = error.unwrap_err().to_string();
        assert_eq!(message, "/bin/sh exited with code 3; its last lines were:\ntwo\nthree");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let (_directory, job) = job();
        let spec = CommandSpec { program: "/no/such/trainer".into(), ..shell("") };
        let error = run(&spec, &job, &CancellationToken::new()).unwrap_err();
        assert!(error.to_string().starts_with("/no/such/trainer cannot be started"), "{error}");
    }

    #[test]
    fn the_time_limit_ends_the_whole_group() {
        let (directory, job) = job();
        let spec = CommandSpec {
            time_limit: Duration::from_millis(300),
            ..shell("echo began; sleep 600 & echo $! > child; wait")
        };
        let error = run(&spec, &job, &CancellationToken::new()).unwrap_err();
        assert!(error.to_string().contains("time limit of 300ms; its last lines were:\nbegan"), "{error}");
        wait_for("the child is killed", || is_gone(&directory.path().join("child")));
    }

    /// Each begins a session of its own; the second also leaves its parents, and the third its environment as well.
    const RUNAWAYS: [&str; 3] = [
        "setsid sh -c 'echo $$ > child; exec sleep 600' &",
        "(setsid sh -c 'echo $$ > child; exec sleep 600' &) &",
        "(setsid env -i PATH=\"$PATH\" sh -c 'echo $$ > child; exec sleep 600' &) &",
    ];

    /// With a cgroup where there can be one, and without.
    fn households(job: &Path) -> [Descendants; 2] {
        [Descendants::awaited(job), Descendants::adopted(job)]
    }

    #[test]
    fn the_time_limit_ends_what_a_program_started_in_sessions_of_their_own() {
        for runaway in RUNAWAYS {
            let (directory, job) = job();
            let limit = Duration::from_millis(500);
            let spec = CommandSpec { time_limit: limit, ..shell(&format!("{runaway} exec sleep 600")) };
            for descendants in households(&job) {
                let error = run_among(&spec, &job, &CancellationToken::new(), descendants).unwrap_err();
                assert!(matches!(error, ProcessError::TimedOut { .. }), "{error}");
                assert!(is_gone(&directory.path().join("child")), "{runaway}");
            }
        }
    }

    #[test]
    fn a_program_that_ends_takes_along_what_it_started_in_sessions_of_their_own() {
        for runaway in RUNAWAYS {
            let (directory, job) = job();
            let spec = shell(&format!("rm -f child; {runaway} until test -s child; do sleep .01; done"));
            for descendants in households(&job) {
                run_among(&spec, &job, &CancellationToken::new(), descendants).unwrap();
                assert!(is_gone(&directory.path().join("child")), "{runaway}");
            }
        }
    }

    #[test]
    fn output_without_an_end_is_quoted_by_its_last_bytes() {
        let (_directory, job) = job();
        let script = "head -c 20000000 /dev/zero | tr '\\0' y; echo; echo the end; exit 3";
        let message = run(&shell(script), &job, &CancellationToken::new()).unwrap_err().to_string();
        assert!(message.len() < 6_000 && message.ends_with("\nthe end"), "{} bytes", message.len());
        assert!(message.contains("its last lines were, after 19995"), "{}", &message[..100]);
    }

    #[test]
    fn what_a_finished_program_left_behind_is_killed() {
        let (directory, job) = job();
        run(&shell("sleep 600 & echo $! > child"), &job, &CancellationToken::new()).unwrap();
        wait_for("the child is killed", || is_gone(&directory.path().join("child")));
    }

    #[test]
    fn a_stop_ends_the_program() {
        let (directory, job) = job();
        let stop = CancellationToken::new();
        let error = thread::scope(|scope| {
            let run = scope.spawn(|| run(&shell("echo $$ > leader; exec sleep 600"), &job, &stop));
            let leader = directory.path().join("leader");
            wait_for("it started", || std::fs::read_to_string(&leader).is_ok_and(|id| id.ends_with('\n')));
            stop.cancel();
            run.join().unwrap()
        });
        assert!(matches!(error, Err(ProcessError::Stopped { .. })));
        assert!(is_gone(&directory.path().join("leader")));
    }

    #[test]
    fn a_sweep_kills_what_works_for_the_directory_and_nothing_else() {
        let (ours, job) = job();
        let (_theirs, other_job) = self::job();
        let start = |job: &Path| {
            let child = Command::new("/bin/sleep").arg("600").env(JOB_VARIABLE, job).process_group(0).spawn().unwrap();
            // A program runs a moment before its environment can be read.
            let environment = format!("/proc/{}/environ", child.id());
            wait_for("its environment is there", || std::fs::read(&environment).is_ok_and(|read| !read.is_empty()));
            child
        };
        let mut swept = start(&job);
        let descendants = Descendants::awaited(&other_job);
        let mut spared = RunningProgram { child: start(&other_job), descendants, reaped: false };
        assert_eq!(sweep(ours.path()).unwrap(), 1);
        assert_eq!(swept.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
        assert!(!spared.leader_has_ended().unwrap());
        spared.end(End::Stopped).unwrap();
    }
}
