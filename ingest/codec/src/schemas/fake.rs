//! A registry for tests: it answers what it is told to, and remembers what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The request lines and headers of one question.
pub(crate) type Question = Vec<String>;

/// A registry that answers until it is dropped.
pub(crate) struct FakeRegistry {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Question>>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Status and body by path.
pub(crate) type Answers = HashMap<String, (u16, String)>;

impl FakeRegistry {
    pub(crate) fn start(answers: Answers) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), answers)
    }

    pub(crate) fn start_at(address: SocketAddr, answers: Answers) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, stopping) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let (questions, stop) = (Arc::clone(&asked), Arc::clone(&stopping));
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                answer(&connection.unwrap(), &answers, &questions);
            }
        });
        Self { address, asked, stopping, thread: Some(thread) }
    }

    /// An address where nobody answers.
    pub(crate) fn nowhere() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that was asked.
    pub(crate) fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }

    /// The paths that were asked for.
    pub(crate) fn paths(&self) -> Vec<String> {
        let path = |question: &Question| question[0].split(' ').nth(1).unwrap().to_owned();
        self.asked().iter().map(path).collect()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(connection: &TcpStream, answers: &Answers, asked: &Mutex<Vec<Question>>) {
    let lines = BufReader::new(connection).lines().map(Result::unwrap);
    let question: Question = lines.take_while(|line| !line.is_empty()).collect();
    let path = question[0].split(' ').nth(1).unwrap();
    let missing = (404, r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned());
    let (status, body) = answers.get(path).unwrap_or(&missing).clone();
    asked.lock().unwrap().push(question);
    let head = format!("HTTP/1.1 {status} said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let mut connection = connection;
    // Whoever asks may have heard enough.
    let _ = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body.as_bytes()));
}

/// A registry's description of an Avro schema.
pub(crate) fn described(schema: &str) -> (u16, String) {
    (200, serde_json::json!({"schema": schema}).to_string())
}
