//! A Kafka that asks who its clients are lets Driftline in by each way that the configuration knows, and out with a reason
//! by the wrong one. What is secret is never said.

use driftline_tests::kafka::fresh_prefix;
use driftline_tests::secured::{Door, KEY_PASSWORD, PASSWORD, SecuredKafka, USER};
use driftline_tests::{On, Running, Sent, Workplace};

const EVENT: &str =
    r#"{"id": "a", "time": 1767571200000, "model": "fare", "version": "1", "features": {"km": 3.5}, "prediction": 7}"#;

/// Variables that processes find a secret in.
const VARIABLES: [(&str, &str); 2] = [("KAFKA_WORD", PASSWORD), ("WRONG_WORD", "open-rye-4713")];

#[test]
fn kafka_is_reached_by_passwords_and_certificates() {
    let Some(kafka) = SecuredKafka::start().unwrap() else { return };
    let sasl = |mechanism: &str, word: &str| format!("sasl: {{mechanism: {mechanism}, username: {USER}, {word}}}");
    let (from_file, from_variable) = ("password_file: word", "password_env: KAFKA_WORD");
    let trust = "ca: ca.pem";
    let own = format!("{trust}, certificate: client.pem");
    let ways = [
        (Door::Sasl, sasl("plain", from_file)),
        (Door::Sasl, sasl("scram_sha_256", from_variable)),
        (Door::SaslTls, format!("{}, tls: {{{trust}}}", sasl("scram_sha_512", from_file))),
        (Door::SaslTls, format!("{}, tls: {{{trust}}}", sasl("plain", from_variable))),
        (Door::Tls, format!("tls: {{{trust}}}")),
        (Door::MutualTls, format!("tls: {{{own}, key: client.key}}")),
        (Door::MutualTls, format!("tls: {{{own}, key: client.encrypted.key, key_password_file: key-word}}")),
    ];
    for (door, security) in ways {
        let place = place(&kafka, door, &security);
        let mut service = place.start_with(&VARIABLES).unwrap();
        let answer = service.post("/v1/events", Sent::json_lines(EVENT.as_bytes())).unwrap();
        assert_eq!(answer.status, 200, "{security}: {}", answer.body);
        let captured = |service: &Running| Ok((service.metric("driftline_events_total", &[])? >= 1.0).then_some(()));
        service.until("the event is captured", captured).unwrap();
        assert_secret(&service.heard().concat());
        service.stop().unwrap();
    }
}

#[test]
fn a_kafka_that_lets_nobody_in_is_told_of_with_its_reason() {
    let Some(kafka) = SecuredKafka::start().unwrap() else { return };
    let wrong = |mechanism| format!("sasl: {{mechanism: {mechanism}, username: {USER}, password_env: WRONG_WORD}}");
    let (refused, unanswered) = ("lets Driftline in (", "no broker answers at");
    let ways = [
        (Door::Sasl, wrong("plain"), refused, "Invalid username or password"),
        (Door::Sasl, wrong("scram_sha_512"), refused, "invalid credentials"),
        (Door::Tls, "tls: {}".to_owned(), refused, "certificate verify failed"),
        (Door::MutualTls, "tls: {ca: ca.pem}".to_owned(), refused, "certificate"),
        (Door::Tls, String::new(), unanswered, "closed by peer"),
    ];
    for (door, security, how, why) in ways {
        let place = place(&kafka, door, &security);
        let said = place.start_with(&VARIABLES).err().unwrap().to_string();
        assert_secret(&said);
        assert!(said.starts_with("driftline ended with exit status: 5"), "{security}: {said}");
        let last = said.lines().rfind(|line| line.contains("driftline: ")).unwrap_or_default();
        assert!(last.contains(how) && last.contains(why) && last.contains("check log.kafka."), "{security}: {said}");
    }
}

fn place(kafka: &SecuredKafka, door: Door, security: &str) -> Workplace {
    let (bootstrap, prefix) = (kafka.bootstrap(door), fresh_prefix());
    let configuration = format!(
        "
version: 1
log:
  directory: driftline-data
  kafka:
    bootstrap: \"{bootstrap}\"
    prefix: {prefix}
    input_prefix: {prefix}
    security: {{{security}}}
api: {{listen: \"127.0.0.1:0\"}}
partitions: 1
epoch: {{interval: 100ms}}
models:
  fare:
    task: {{type: regression}}
    features: {{km: numeric}}
    windows: {{size: 5m}}
"
    );
    let place = Workplace::new(crate::BINARY, &configuration, On::Embedded).unwrap();
    for file in ["ca.pem", "client.pem", "client.key", "client.encrypted.key"] {
        std::fs::copy(kafka.files().join(file), place.path().join(file)).unwrap();
    }
    place.write("word", &format!("{PASSWORD}\n")).unwrap();
    place.write("key-word", KEY_PASSWORD).unwrap();
    place
}

fn assert_secret(said: &str) {
    for secret in [PASSWORD, KEY_PASSWORD, "open-rye-4713"] {
        assert!(!said.contains(secret), "{said}");
    }
}
