//! The API of a driftline that runs, against those who may not, who say nothing, and who want to know what became of it.

use driftline_tests::secured::write_server_certificate;
use driftline_tests::{On, Running, Sent, Workplace};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;
use std::time::{Duration, Instant};

const CONFIGURATION: &str = "
version: 1
log: LOG
api: {listen: \"127.0.0.1:0\" MORE}
partitions: 1
epoch: {interval: 100ms}
models:
  loan:
    task: {type: binary, positive: \"yes\", negative: \"no\"}
    features: {age: numeric}
    windows: {size: 1h}
    labels: {mature: {after: 1h}, horizon: 30d}
    reference: {file: reference.csv, columns: {label: y, prediction: p, score: s}}
";

fn place(more: &str) -> Workplace {
    let place = Workplace::new(crate::BINARY, &CONFIGURATION.replace(" MORE", more), On::Embedded).unwrap();
    let row = |n: u32| {
        format!(
            "{},{},{},{}\n",
            20 + n % 40,
            ["no", "yes"][n as usize % 2],
            ["no", "yes"][n as usize % 2],
            f64::from(n % 101) / 100.0
        )
    };
    place.write("reference.csv", &format!("age,y,p,s\n{}", (0..200).map(row).collect::<String>())).unwrap();
    place
}

/// Makes a token and appends its line to the file.
fn token(place: &Workplace, name: &str, roles: &str) -> String {
    let output = place.command(&["token", name, "--role", roles, "--json"]).output().unwrap();
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let file = place.path().join("tokens");
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::write(&file, format!("{before}{}\n", made["line"].as_str().unwrap())).unwrap();
    made["token"].as_str().unwrap().to_owned()
}

/// Runs a command against the service, with a token where there is one.
fn ask(place: &Workplace, service: &Running, (token, arguments): (&str, &[&str])) -> Output {
    let mut command = place.command(arguments);
    command.args(["--url", service.url()]).env("DRIFTLINE_TOKEN", token).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn roles_hold_through_the_command_line_and_each_order_is_kept_with_who_gave_it() {
    let place = place(", tokens: tokens");
    let [reader, operator, chief] = [("bob", "read"), ("ann", "read,operate"), ("eve", "read,promote")]
        .map(|(name, roles)| token(&place, name, roles));
    let service = place.start().unwrap();
    let shown = ask(&place, &service, ("", &["models", "list"]));
    assert!(!shown.status.success() && said(&shown).contains("no token was shown"), "{}", said(&shown));
    assert!(ask(&place, &service, (&reader, &["models", "list"])).status.success());
    let promote = ["models", "promote", "loan", "v9", "--expect", "default", "--override", "because"];
    let refused = ask(&place, &service, (&operator, &promote));
    assert!(said(&refused).contains("the role `promote`"), "{}", said(&refused));
    let refused = ask(&place, &service, (&chief, &promote));
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("was taken and then refused"), "{}", said(&refused));
    let audit = ask(&place, &service, (&reader, &["models", "show", "loan"]));
    let told: Value = serde_json::from_slice(&audit.stdout).unwrap();
    let last = &told["commands"][0];
    assert_eq!(
        (last["by"].as_str(), last["version"].as_str(), last["state"].as_str()),
        (Some("eve"), Some("v9"), Some("refused"))
    );
    assert_eq!(last["from"].as_str(), Some("127.0.0.1"));
    service.stop().unwrap();
    let log = std::fs::read(place.path().join("driftline-data/driftline.db")).unwrap_or_default();
    for secret in [&reader, &operator, &chief] {
        assert!(!log.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "a token is in the log");
    }
}

/// Lists the models of a service that encrypts, trusting what the variable names.
fn list(place: &Workplace, service: &Running, authorities: &str) -> Output {
    let mut command = place.command(&["models", "list", "--url", service.url()]);
    command.env("DRIFTLINE_CA", place.path().join(authorities)).output().unwrap()
}

#[test]
fn connections_are_encrypted_for_those_who_know_the_authority() {
    let place = place(", tls: {certificate: server.pem, key: server.key}");
    write_server_certificate(place.path()).unwrap();
    let service = place.start().unwrap();
    assert!(service.url().starts_with("https://"));
    let known = list(&place, &service, "ca.pem");
    assert!(known.status.success() && said(&known).contains("loan"), "{}", said(&known));
    place.write("none.pem", "").unwrap();
    assert!(!list(&place, &service, "none.pem").status.success());
    let mut plain = TcpStream::connect(service.url().strip_prefix("https://").unwrap()).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard);
    assert!(!heard.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&heard));
    service.stop().unwrap();
}

#[test]
fn clients_without_a_certificate_are_refused_where_one_is_asked_for() {
    let place = place(", tls: {certificate: server.pem, key: server.key, client_authorities: ca.pem}");
    write_server_certificate(place.path()).unwrap();
    let service = place.start().unwrap();
    assert!(!list(&place, &service, "ca.pem").status.success());
    service.stop().unwrap();
}

#[test]
fn a_file_of_tokens_or_a_key_that_cannot_be_used_is_told_before_anything_is_written() {
    for (more, says) in
        [(", tokens: tokens", "driftline token NAME"), (", tls: {certificate: a, key: b}", "certificates in PEM")]
    {
        let place = place(more);
        let output = place.command(&["run"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(says), "{}", said(&output));
        assert!(!place.path().join("driftline-data").exists());
    }
}

#[test]
fn an_address_that_others_reach_is_refused_without_tokens() {
    let place = Workplace::new(
        crate::BINARY,
        &CONFIGURATION.replace(" MORE", "").replace("127.0.0.1:0", "0.0.0.0:0"),
        On::Embedded,
    )
    .unwrap();
    let output = place.command(&["check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("api.listen: 0.0.0.0:0 can be reached from other machines"), "{}", said(&output));
}

/// Connections that do nothing, and bodies that never come.
const IDLE: usize = 1_000;
const SLOW: usize = 64;
/// Bodies of events that are sent beside them, and events in each.
const BODIES: usize = 200;
const EVENTS: usize = 100;

#[test]
fn a_crowd_that_says_nothing_and_bodies_that_never_come_keep_nobody_out() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let place = place("");
    let mut service = place.start().unwrap();
    let alone = send(&service, "alone");
    let crowd: Vec<_> =
        (0..IDLE).map(|_| connect(&service, "GET /readyz HTTP/1.1\r\nHost: localhost\r\nX-a: ")).collect();
    let slow = "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n[";
    let bodies: Vec<_> = (0..SLOW).map(|_| connect(&service, slow)).collect();
    let crowded = send(&service, "crowded");
    let asked = Instant::now();
    assert_eq!(service.get("/healthz").unwrap().status, 200);
    let health = asked.elapsed();
    assert!(health < Duration::from_secs(1), "{health:?}");
    let all = (2 * BODIES * EVENTS) as f64;
    let captured = |service: &Running| Ok((service.metric("driftline_events_total", &[])? >= all).then_some(()));
    service.until("every event is captured", captured).unwrap();
    let closed = crowd.into_iter().chain(bodies).filter(is_closed).count();
    println!(
        "guarded: {BODIES} bodies of {EVENTS} events took {alone:?} alone, and {crowded:?} beside {IDLE} connections with half a head and {SLOW} bodies that never come; /healthz {health:?}; {closed} of these were closed"
    );
    service.stop().unwrap();
}

/// How long it takes to send events one body after the other; each has to be accepted.
fn send(service: &Running, name: &str) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let event = |body: usize, n: usize| {
        format!(
            r#"{{"id":"{name}-{body}-{n}","time":{now},"model":"loan","version":"v1","features":{{"age":{}}},"prediction":"yes"}}"#,
            20 + n % 40
        ) + "\n"
    };
    let started = Instant::now();
    for body in 0..BODIES {
        let rows: String = (0..EVENTS).map(|n| event(body, n)).collect();
        let answer = service.post("/v1/events", Sent::json_lines(rows.as_bytes())).unwrap();
        assert_eq!((answer.status, answer.body["accepted"].as_u64()), (200, Some(EVENTS as u64)), "{answer:?}");
    }
    started.elapsed()
}

fn connect(service: &Running, begun: &str) -> TcpStream {
    let address = service.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    // One that was displaced already cannot be written any more.
    let _ = stream.write_all(begun.as_bytes());
    stream
}

fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match stream.peek(&mut [0; 1]) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}
