//! The promises of the schemas: what is refused, what is asked for once, and what passes.

use super::fake::{Answers, FakeRegistry, described};
use super::*;
use serde_json::json;
use streams::secret::Secret;

const GUID: &str = "00112233-4455-6677-8899-aabbccddeeff";
const EVENT: &str = r#"{"type":"record","name":"E","fields":[{"name":"id","type":"string"}]}"#;

fn answers<const N: usize>(answers: [(&str, (u16, String)); N]) -> Answers {
    answers.into_iter().map(|(path, answer)| (path.to_owned(), answer)).collect()
}

fn schemas(url: &str) -> Schemas {
    Schemas::default().with_registry(RegistrySettings::new(url).unwrap()).unwrap()
}

fn is_avro(found: &Result<Option<Schema>, Outage>) -> bool {
    matches!(found, Ok(Some(Schema::Avro(_))))
}

fn why_unread(text: &str) -> String {
    Schemas::default().with_avro(text, &[]).unwrap_err().to_string()
}

#[test]
fn a_schema_is_asked_for_once_by_number_and_by_guid() {
    let by_guid = format!("/schemas/guids/{GUID}");
    let registry = FakeRegistry::start(answers([("/schemas/ids/7", described(EVENT)), (&by_guid, described(EVENT))]));
    let schemas = schemas(&format!("{}/", registry.url()));
    for id in [SchemaId::Number(7), SchemaId::guid(GUID).unwrap(), SchemaId::Number(7)] {
        assert!(is_avro(&schemas.find(id)), "{id}");
    }
    assert_eq!(registry.paths(), ["/schemas/ids/7".to_owned(), by_guid]);
}

#[test]
fn a_schema_of_a_file_is_never_asked_for() {
    let registry = FakeRegistry::start(Answers::new());
    let fingerprint = AvroSchema::new(EVENT).unwrap().fingerprint().unwrap();
    let schemas = schemas(&registry.url()).with_avro(EVENT, &[SchemaId::Number(7)]).unwrap();
    for id in [SchemaId::Number(7), SchemaId::Fingerprint(fingerprint)] {
        assert!(is_avro(&schemas.find(id)), "{id}");
    }
    assert!(matches!(schemas.find(SchemaId::Fingerprint(1)), Ok(None)));
    assert!(!schemas.has_unframed() && registry.asked().is_empty());
}

#[test]
fn what_a_registry_does_not_have_is_nothing_and_not_asked_for_again_at_once() {
    let registry = FakeRegistry::start(Answers::new());
    let schemas = schemas(&registry.url());
    for _ in 0..2 {
        assert!(matches!(schemas.find(SchemaId::Number(9)), Ok(None)));
    }
    assert_eq!(registry.paths(), ["/schemas/ids/9"]);
}

#[test]
fn whatever_is_no_word_of_a_registry_is_an_outage() {
    let page = |status| (status, "<html>Not here</html>".to_owned());
    let path = (404, json!({"error_code": 404, "message": "HTTP 404 Not Found"}).to_string());
    let cases = answers([
        ("/schemas/ids/1", page(404)),
        ("/schemas/ids/2", path.clone()),
        ("/schemas/ids/3", page(200)),
        ("/schemas/ids/4", page(503)),
        ("/schemas/ids/5", page(401)),
        ("/schemas/ids/6", page(429)),
        (&format!("/schemas/guids/{GUID}"), path),
    ]);
    let registry = FakeRegistry::start(cases);
    let schemas = schemas(&registry.url());
    for number in 1..=6 {
        let outage = schemas.find(SchemaId::Number(number)).unwrap_err().to_string();
        let begins =
            format!("schema {number} cannot be had from the schema registry at {} (it answered", registry.url());
        assert!(outage.starts_with(&begins), "{outage}");
    }
    // One that knows no GUIDs has no such path.
    assert!(matches!(schemas.find(SchemaId::guid(GUID).unwrap()), Ok(None)));
}

#[test]
fn a_registry_that_is_down_is_asked_again_until_it_is_up() {
    let address = FakeRegistry::nowhere();
    let schemas = schemas(&format!("http://{address}"));
    let outage = schemas.find(SchemaId::Number(7)).unwrap_err().to_string();
    assert!(outage.contains("Connection refused") && outage.ends_with("its records wait until it can"), "{outage}");
    let _registry = FakeRegistry::start_at(address, answers([("/schemas/ids/7", described(EVENT))]));
    assert!(is_avro(&schemas.find(SchemaId::Number(7))));
}

#[test]
fn a_registry_can_be_asked_from_within_a_runtime() {
    let registry = FakeRegistry::start(answers([("/schemas/ids/7", described(EVENT))]));
    let schemas = schemas(&registry.url());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(runtime.block_on(async { is_avro(&schemas.find(SchemaId::Number(7))) }));
}

#[test]
fn a_registry_is_told_who_asks_and_nobody_else_is() {
    let registry = FakeRegistry::start(answers([("/schemas/ids/7", (401, String::new()))]));
    let settings = RegistrySettings::new(&registry.url()).unwrap().with_basic("drift", Secret::new("hunter2"));
    assert!(!format!("{settings:?}").contains("hunter2"));
    let outage = Schemas::default().with_registry(settings).unwrap().find(SchemaId::Number(7)).unwrap_err();
    assert!(!format!("{outage} {outage:?}").contains("hunter2"), "{outage:?}");
    let sent = &registry.asked()[0];
    assert!(sent.iter().any(|line| line.eq_ignore_ascii_case("authorization: basic zhjpznq6ahvudgvymg==")), "{sent:?}");
}

#[test]
fn urls_and_certificates_that_cannot_be_are_refused() {
    let refused = [
        ("registry:8081", "is none of HTTP or HTTPS"),
        ("registry", "cannot be read"),
        ("http://drift:hunter2@registry", "has credentials in it"),
        ("https://registry/?a=b", "is none of HTTP or HTTPS"),
    ];
    for (url, why) in refused {
        let refused = RegistrySettings::new(url).unwrap_err().to_string();
        assert!(refused.contains(why) && !refused.contains("hunter2"), "{url}: {refused}");
    }
    let settings = RegistrySettings::new("https://registry").unwrap();
    for settings in [settings.clone().with_ca(b"nothing".to_vec()), settings.with_identity(b"nothing".to_vec())] {
        let refused = Schemas::default().with_registry(settings).unwrap_err().to_string();
        assert!(refused.starts_with("the certificates: ") || refused.starts_with("certificate and key: "), "{refused}");
    }
}

#[test]
fn schemas_of_other_kinds_and_too_large_ones_are_named_and_not_read() {
    let kind = |kind: &str| (200, json!({"schema": "message E {}", "schemaType": kind}).to_string());
    let references = json!({"schema": EVENT, "references": [{"name": "F", "subject": "f", "version": 1}]});
    let registry = FakeRegistry::start(answers([
        ("/schemas/ids/1", kind("PROTOBUF")),
        ("/schemas/ids/2", kind("THRIFT")),
        ("/schemas/ids/3", kind("JSON")),
        ("/schemas/ids/4", (200, references.to_string())),
        ("/schemas/ids/5", described(&" ".repeat(2 << 20))),
        ("/schemas/ids/6", described("\"string\"")),
    ]));
    let schemas = schemas(&registry.url());
    let why = |number| match schemas.find(SchemaId::Number(number)) {
        Ok(Some(Schema::Unread(why))) => why,
        other => format!("{other:?}"),
    };
    assert_eq!(why(1), "is one of Protobuf");
    assert_eq!(why(2), "is none of Avro or JSON");
    assert_eq!(why(3), "Ok(Some(Json))");
    assert!(why(4).starts_with("refers to other schemas"));
    assert_eq!(why(5), "is larger than 1048576 bytes");
    assert!(why(6).starts_with("cannot be read as a record of Avro"), "{}", why(6));
}

#[test]
fn schemas_that_would_grow_without_bounds_are_refused() {
    let field = |name: &str, kind: &serde_json::Value| json!({"name": name, "type": kind});
    let record = |fields: Vec<serde_json::Value>| json!({"type": "record", "name": "E", "fields": fields}).to_string();
    // Each type has two of the one before it: a thousand bytes that stand for 2^40 fields.
    let mut fields = vec![field("a", &json!({"type": "record", "name": "T0", "fields": [field("x", &json!("int"))]}))];
    for level in 1..40 {
        let below = json!(format!("T{}", level - 1));
        let twice = vec![field("l", &below), field("r", &below)];
        fields.push(field(
            &format!("f{level}"),
            &json!({"type": "record", "name": format!("T{level}"), "fields": twice}),
        ));
    }
    assert!(why_unread(&record(fields)).contains("more than 2000 fields"));
    let own = record(vec![field("next", &json!(["null", "E"]))]);
    assert!(why_unread(&own).starts_with("the schema "));
    let mut deep = json!("int");
    for _ in 0..40 {
        deep = json!({"type": "array", "items": deep});
    }
    assert!(why_unread(&record(vec![field("deep", &deep)])).contains("beyond 32 levels"));
    assert!(why_unread(&"[".repeat(100_000)).contains("is no JSON"));
    for nothing in [
        json!("null"),
        json!({"type": "fixed", "name": "N", "size": 0}),
        serde_json::from_str(&record(vec![])).unwrap(),
    ] {
        let items = record(vec![field("items", &json!({"type": "array", "items": nothing}))]);
        let items = items.replacen("\"E\"", "\"Outer\"", 1);
        assert!(why_unread(&items).contains("whose items take no bytes"), "{items}: {}", why_unread(&items));
    }
    let large = json!({"type": "fixed", "name": "N", "size": 1 << 30});
    assert!(why_unread(&record(vec![field("large", &large)])).contains("too much space"));
}

#[test]
fn a_guid_is_read_as_it_is_written() {
    let guid = SchemaId::guid(GUID).unwrap();
    assert_eq!(guid.to_string(), format!("schema {GUID}"));
    for wrong in [
        "",
        "00112233445566778899aabbccddeeff",
        "0011223-34455-6677-8899-aabbccddeeff",
        "+0112233-4455-6677-8899-aabbccddeeff",
    ] {
        assert_eq!(SchemaId::guid(wrong), None, "{wrong}");
    }
}
