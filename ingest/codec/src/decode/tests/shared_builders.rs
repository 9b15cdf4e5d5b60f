//! The promise that it does not show in a batch what else was decoded with it.

use super::*;
use arrow::compute::concat_batches;

/// More than have a builder each while they take turns.
const MODELS: usize = 40;

/// Of so many of them a feature is hashed, so that they have other columns than the rest.
const HASHED: usize = 2;

fn sources() -> Vec<Source> {
    let key = HashKey::new(b"a key of thirty-two bytes or more");
    let hashes = |number| number < HASHED;
    let privacy = |number| match hashes(number) {
        true => Privacy::new([("town".to_owned(), Policy::Hash)].into(), Some(key.clone()), &schema(), &[]).unwrap(),
        false => Privacy::default(),
    };
    (0..MODELS).map(|number| Source { model: name(number).into(), ..source(privacy(number)) }).collect()
}

fn name(number: usize) -> String {
    format!("model {number}")
}

/// A row of a model, which may lack a value or have one of a wrong type.
fn row(number: usize, (model, version, kind): (usize, u8, u8)) -> Tree {
    let mut row = event(&format!("event {number}"));
    row["model"] = name(model).into();
    row["version"] = version.to_string().into();
    match kind {
        0 => row["features"]["age"] = "old".into(),
        1 => row["features"]["town"] = Tree::Null,
        2 => row["label"] = "1".into(),
        3 => row["segment"] = json!({"site": "south"}),
        _ => row["features"]["age"] = number.into(),
    }
    row
}

/// Each version's rows of each round.
fn decoded(sources: Vec<Source>, rounds: &[Vec<Tree>]) -> BTreeMap<(usize, String, String), RecordBatch> {
    let mut decoder = Decoder::new(sources, Limits::default());
    let mut found: BTreeMap<_, Vec<RecordBatch>> = BTreeMap::new();
    for (round, rows) in rounds.iter().enumerate() {
        let decoded = decode(&mut decoder, serde_json::to_vec(rows).unwrap());
        assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
        for EventBatch { model, version, batch } in decoded.events {
            found.entry((round, model.to_string(), version.to_string())).or_default().push(batch);
        }
    }
    let whole = |batches: &Vec<RecordBatch>| concat_batches(&batches[0].schema(), batches).unwrap();
    found.iter().map(|(owner, batches)| (owner.clone(), whole(batches))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// In the first round each version has a builder of its own; in later ones all that take turns share one.
    #[test]
    fn a_batch_is_the_same_whatever_is_decoded_with_it(
        rounds in prop::collection::vec(prop::collection::vec((0..MODELS, 0_u8..2, 0_u8..6), 100..300), 3),
    ) {
        let rows = |round: &Vec<_>| round.iter().enumerate().map(|(number, of)| row(number, *of)).collect::<Vec<_>>();
        let rounds: Vec<Vec<Tree>> = rounds.iter().map(rows).collect();
        let shared_builders = decoded(sources(), &rounds);
        for model in 0..MODELS {
            let own = |round: &Vec<Tree>| round.iter().filter(|row| row["model"] == name(model)).cloned().collect();
            let own: Vec<Vec<Tree>> = rounds.iter().map(own).collect();
            for ((round, name, version), mut alone) in decoded(sources(), &own) {
                let among = &shared_builders[&(round, name.clone(), version.clone())];
                // The place of a row within its record is all that differs.
                let index = alone.schema().index_of(columns::INDEX).unwrap();
                let mut columns = alone.columns().to_vec();
                columns[index] = Arc::clone(among.column(index));
                alone = RecordBatch::try_new(alone.schema(), columns).unwrap();
                prop_assert_eq!(&alone, among, "{} {} in round {}", name, version, round);
            }
        }
    }
}

#[test]
fn models_that_take_turns_share_a_builder_and_those_that_hash_do_not() {
    let mut decoder = Decoder::new(sources(), Limits::default());
    assert_eq!(decoder.events.len(), 1 + HASHED);
    let turns: Vec<_> = (0..200).map(|number| row(number, (number % MODELS, 1, 5))).collect();
    let long: Vec<_> = (0..4_000).map(|number| row(number, (number / 100, 1, 5))).collect();
    let mut builders = |rows: &Vec<Tree>| {
        decoder.decode_events(3, &record(serde_json::to_vec(rows).unwrap())).unwrap();
        let builders = decoder.events.last().unwrap().builders();
        decoder.take().unwrap();
        builders
    };
    let rounds = [&turns, &turns, &long, &long].map(&mut builders);
    assert_eq!(rounds, [MODELS - HASHED, 1, 1, MODELS - HASHED], "what a round does tells the next one");
}
