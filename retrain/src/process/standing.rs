//! A program that stays up: started once, spoken with over its standard input and output for as long as it is wanted.
//!
//! What is said there is the affair of who starts it. This file waits for what is heard, within the program's time limit,
//! and ends a program that ends, takes too long or is stopped, with all that it started. Standard error is kept for quoting.

use super::descendants::Descendants;
use super::output::Output;
use super::{CommandSpec, End, GRACE, LOOK_EVERY, ProcessError, RunningProgram, Streams, failure, pipe, system};
use std::io::{PipeReader, PipeWriter};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long what a program said before it ended may be on its way.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A program that is up.
pub struct StandingProgram {
    spec: CommandSpec,
    job: PathBuf,
    running: RunningProgram,
    output: Output,
}

/// This process' ends of the program's standard streams.
#[derive(Debug)]
pub struct Ends {
    /// What it reads.
    pub orders: PipeWriter,
    /// What it writes.
    pub said: PipeReader,
}

impl std::fmt::Debug for StandingProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StandingProgram").field("job", &self.job).finish_non_exhaustive()
    }
}

impl StandingProgram {
    /// Starts the program with the path of its job file.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(spec: &CommandSpec, job: &Path) -> Result<(Self, Ends), ProcessError> {
        let ((input, orders), (said, says), (errors, complains)) = (pipe(spec)?, pipe(spec)?, pipe(spec)?);
        let streams = Streams { input: input.into(), output: says.into(), errors: complains.into() };
        let running = RunningProgram::start(spec, job, streams, Descendants::awaited(job))?;
        let output = Output::follow(errors).map_err(|source| system(spec, "reading its output", source))?;
        Ok((Self { spec: spec.clone(), job: job.to_owned(), running, output }, Ends { orders, said }))
    }

    /// What a thread hears next from the program, within its time limit. Blocks.
    ///
    /// # Errors
    /// It has ended, takes too long or is stopped. Nothing of it runs any more then: start another.
    pub fn hear<T>(&mut self, heard: &Receiver<T>, stop: &CancellationToken) -> Result<T, ProcessError> {
        let end = match self.watch(heard, stop)? {
            Ok(heard) => return Ok(heard),
            Err(end) => end,
        };
        let status = self.running.end(end).map_err(|source| system(&self.spec, "ending it", source))?;
        Err(failure(&self.spec, end, status, &self.output))
    }

    /// Waits until something is heard; gives how the program is to end, if nothing is.
    fn watch<T>(&self, heard: &Receiver<T>, stop: &CancellationToken) -> Result<Result<T, End>, ProcessError> {
        let started = Instant::now();
        loop {
            match heard.recv_timeout(LOOK_EVERY) {
                Ok(heard) => return Ok(Ok(heard)),
                Err(RecvTimeoutError::Disconnected) => {
                    self.await_its_end()?;
                    return Ok(Err(End::Itself));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.has_ended()? {
                return Ok(heard.recv_timeout(LAST_WORDS).map_err(|_| End::Itself));
            }
            if stop.is_cancelled() {
                return Ok(Err(End::Stopped));
            }
            if started.elapsed() >= self.spec.time_limit {
                return Ok(Err(End::TimeLimit));
            }
        }
    }

    /// A program that says nothing more is about to end, and its exit code tells why.
    fn await_its_end(&self) -> Result<(), ProcessError> {
        let started = Instant::now();
        while started.elapsed() < GRACE && !self.has_ended()? {
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn has_ended(&self) -> Result<bool, ProcessError> {
        self.running.leader_has_ended().map_err(|source| system(&self.spec, "waiting for it", source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::sync::mpsc::channel;

    fn shell(script: &str, time_limit: Duration) -> CommandSpec {
        CommandSpec {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            time_limit,
            output_lines_kept: 5,
            ..CommandSpec::default()
        }
    }

    const LIMIT: Duration = Duration::from_secs(60);

    /// Has a program say its lines to a channel.
    fn start(script: &str, limit: Duration) -> (StandingProgram, PipeWriter, Receiver<String>, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let job = directory.path().join("job.json");
        let (program, Ends { orders, said }) = StandingProgram::start(&shell(script, limit), &job).unwrap();
        let (tell, heard) = channel();
        std::thread::spawn(move || {
            BufReader::new(said).lines().map_while(Result::ok).all(|line| tell.send(line).is_ok())
        });
        (program, orders, heard, directory)
    }

    #[test]
    fn one_program_answers_one_order_after_the_other() {
        let (mut program, mut orders, heard, _directory) =
            start("count=0; while read -r order; do count=$((count+1)); echo $count $order; done", LIMIT);
        for (number, order) in ["one", "two"].into_iter().enumerate() {
            writeln!(orders, "{order}").unwrap();
            let answer = program.hear(&heard, &CancellationToken::new()).unwrap();
            assert_eq!(answer, format!("{} {order}", number + 1));
        }
    }

    #[test]
    fn a_program_that_ends_or_hangs_has_failed_and_its_last_words_are_heard() {
        let told = |script: &str, limit: Duration| {
            let (mut program, _orders, heard, _directory) = start(script, limit);
            program.hear(&heard, &CancellationToken::new()).map_err(|error| error.to_string())
        };
        let failed = told("echo no such artifact >&2; exit 4", LIMIT).unwrap_err();
        assert!(failed.contains("exited with code 4") && failed.contains("no such artifact"), "{failed}");
        assert!(told("exit 0", LIMIT).unwrap_err().contains("exited with code 0"));
        assert!(told("exec sleep 600", Duration::from_millis(200)).unwrap_err().contains("time limit of 200ms"));
        assert_eq!(told("echo the answer; exit 0", LIMIT).unwrap(), "the answer");
    }
}
