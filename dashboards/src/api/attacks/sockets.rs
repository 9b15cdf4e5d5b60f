//! Attacks on connections: what is sent is not what a client of HTTP would send.

use super::super::tests::Fixture;
use super::super::{ApiOptions, ConnectionLimits, serve};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A service on a port of its own.
async fn service(connections: ConnectionLimits) -> (Fixture, SocketAddr) {
    let fixture = Fixture::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = ApiOptions { most_body_bytes: 1_024, connections, ..ApiOptions::default() };
    tokio::spawn(serve(listener, fixture.services.clone(), options));
    (fixture, address)
}

async fn connected(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Sends bytes and reads until the connection is closed, or nothing more comes for a while.
async fn answered(address: SocketAddr, sent: &[u8]) -> String {
    let mut stream = connected(address).await;
    stream.write_all(sent).await.unwrap();
    said(&mut stream).await
}

async fn said(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let mut buffer = [0; 4_096];
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(Duration::from_secs(2), stream.read(&mut buffer)).await {
        heard.extend_from_slice(&buffer[..count]);
        // Whole answers of this service end with the page's or the object's end.
        if heard.ends_with(b"}") || heard.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    String::from_utf8_lossy(&heard).into_owned()
}

/// What is sent on a connection, and how the answer begins; an empty answer is a closed connection.
const TORN: &[(&str, &str, &str)] = &[
    (
        "two lengths that differ",
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        "HTTP/1.1 400",
    ),
    (
        "a length with a sign",
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: +1\r\n\r\nx",
        "HTTP/1.1 400",
    ),
    (
        "a coding that only looks chunked",
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 400",
    ),
    (
        "chunked before another coding",
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 400",
    ),
    (
        "chunks in HTTP/1.0",
        "POST /v1/events HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 400",
    ),
    ("a space before a colon", "GET /healthz HTTP/1.1\r\nhost : localhost\r\n\r\n", "HTTP/1.1 400"),
    ("a header that is folded", "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-a: b\r\n c: d\r\n\r\n", "HTTP/1.1 400"),
    ("no host", "GET /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 400"),
    ("no version", "GET /healthz\r\n\r\n", "HTTP/1.1 400"),
    (
        "TLS where there is none",
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{7c}\x03\x03 hello there, is this TLS?\r\n\r\n",
        "HTTP/1.1 400",
    ),
    ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 "),
    (
        "a length that cannot be",
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9999999999999\r\n\r\n",
        "HTTP/1.1 413",
    ),
];

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_next_client_is_answered() {
    let (fixture, address) = service(ConnectionLimits::default()).await;
    for (name, sent, begins) in TORN {
        let answer = answered(address, sent.as_bytes()).await;
        assert!(answer.is_empty() && *begins == "HTTP/1.1 " || answer.starts_with(begins), "{name}: {answer}");
        assert!(!answer.contains(" 200 "), "{name}: {answer}");
    }
    assert!(answered(address, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    fixture.closing.cancel();
}

#[tokio::test]
async fn a_request_behind_one_with_two_lengths_is_not_answered() {
    let (fixture, address) = service(ConnectionLimits::default()).await;
    let smuggled = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nrow\r\n0\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut stream = connected(address).await;
    stream.write_all(smuggled.as_bytes()).await.unwrap();
    let mut heard = String::new();
    // To the end: the connection is closed behind the one answer.
    let _ = stream.read_to_string(&mut heard).await;
    assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{heard}");
    assert!(heard.contains("connection: close"), "{heard}");
    fixture.closing.cancel();
}

#[tokio::test]
async fn a_client_that_is_still_sending_hears_why_it_is_refused() {
    let (fixture, address) = service(ConnectionLimits::default()).await;
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 16777216\r\n\r\n";
    let mut stream = connected(address).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; 16 << 20]).await.unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    assert!(heard.starts_with("HTTP/1.1 413"), "{heard}");
    fixture.closing.cancel();
}

#[tokio::test]
async fn a_flood_of_headers_is_refused() {
    let (fixture, address) = service(ConnectionLimits::default()).await;
    let many: String = (0..200).map(|number| format!("x-{number}: y\r\n")).collect();
    let long = format!("x-a: {}\r\n", "y".repeat(40 << 10));
    let target = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "y".repeat(70 << 10));
    for headers in [many, long] {
        let answer =
            answered(address, format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    let answer = answered(address, target.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    fixture.closing.cancel();
}

#[tokio::test]
async fn connections_that_say_nothing_give_way() {
    let (fixture, address) = service(ConnectionLimits { most: 16, ..ConnectionLimits::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut stream = connected(address).await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-a: ").await.unwrap();
        silent.push(stream);
    }
    let asked = Instant::now();
    let answer = answered(address, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let page = fixture.exporter.render().unwrap();
    let displaced = page.lines().find(|line| line.contains("\"displaced\"")).unwrap();
    assert!(displaced.rsplit(' ').next().unwrap().parse::<u32>().unwrap() >= 84, "{displaced}");
    fixture.closing.cancel();
}

#[tokio::test]
async fn a_head_a_body_and_a_rest_have_an_end() {
    let short = Duration::from_millis(100);
    let limits = ConnectionLimits { head: short, idle: short, body: short, ..ConnectionLimits::default() };
    let (fixture, address) = service(limits).await;
    let begun = [
        "",
        "GET /hea",
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\nx",
    ];
    for sent in begun {
        let mut stream = connected(address).await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.expect(sent);
        assert!(rest.is_empty(), "{sent}: {}", String::from_utf8_lossy(&rest));
    }
    let mut stream = connected(address).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut whole = String::new();
    let idle = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut whole)).await;
    assert!(idle.is_ok() && whole.starts_with("HTTP/1.1 200"), "an idle connection is closed: {whole}");
    fixture.closing.cancel();
}

#[tokio::test]
async fn a_closing_service_waits_for_no_one_who_says_nothing() {
    let fixture = Fixture::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = ApiOptions { drain: Duration::from_millis(200), ..ApiOptions::default() };
    let server = tokio::spawn(serve(listener, fixture.services.clone(), options));
    let mut silent = connected(address).await;
    silent.write_all(b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\nx").await.unwrap();
    tokio::task::yield_now().await;
    let asked = Instant::now();
    fixture.closing.cancel();
    server.await.unwrap().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}
