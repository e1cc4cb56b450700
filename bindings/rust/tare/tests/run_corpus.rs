//! The corpus of good and hostile files, with the verdicts of its manifest and what it says that
//! good files hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tare::{Error, Kind, LoadOptions, Model, ModelFile, Result, Value};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/data/corpus")
}

fn rows(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(corpus().join(name)).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// One value as expect.tsv has it: numbers as their bytes, strings as theirs.
fn bytes_of(value: &Value<'_>) -> Vec<u8> {
    value.as_bytes().unwrap_or_else(|| value.raw_bytes()).to_vec()
}

fn facts_of_value(value: &Value<'_>) -> (String, Vec<Vec<u8>>) {
    if value.kind() != Kind::Array {
        return (value.kind().to_string(), vec![bytes_of(value)]);
    }
    let items = value.items();
    assert_eq!(items.len(), items.count());
    (format!("[{}", items.kind()), items.map(|item| bytes_of(&item)).collect())
}

/// The lines of expect.tsv that belong to a model, as far as it can tell.
fn facts(path: &str, model: &Model) -> Vec<Vec<String>> {
    let hex = |bytes: &[u8]| match bytes {
        [] => "-".to_owned(),
        bytes => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let metadata = model.metadata().map(|entry| {
        let (kind, items) = facts_of_value(&entry.value);
        let items: Vec<_> = items.iter().map(|item| hex(item)).collect();
        vec![
            path.to_owned(),
            "metadata".to_owned(),
            hex(entry.key_bytes()),
            kind,
            entry.shard.to_string(),
            format!("{}:{}", items.len(), items.join(",")),
        ]
    });
    let tensors = model.tensors().map(|tensor| {
        let shape: Vec<_> = tensor.shape().iter().map(u64::to_string).collect();
        let shape = if shape.is_empty() { "-".to_owned() } else { shape.join(",") };
        vec![
            path.to_owned(),
            "tensor".to_owned(),
            hex(tensor.name_bytes()),
            tensor.dtype().to_string(),
            shape,
            tensor.shard().to_string(),
            tensor.offset().to_string(),
            tensor.size().to_string(),
        ]
    });
    metadata.chain(tensors).collect()
}

/// Every tensor can be found, and its bytes are the same whichever way they are asked for.
fn check_bytes(model: &Model, shards: &[Vec<u8>]) {
    let block = model.load_all(LoadOptions::new()).unwrap();
    for (tensor, loaded) in model.tensors().zip(block.iter()) {
        assert_eq!(model.find(tensor.name_bytes()), Some(tensor));
        let begin = tensor.offset() as usize;
        let bytes = &shards[tensor.shard() as usize][begin..][..tensor.size() as usize];
        assert_eq!(loaded, bytes);
        assert_eq!(tensor.to_vec().unwrap(), bytes);
        assert!(tensor.data().is_none_or(|data| data == bytes));
    }
}

/// Without a name that says so nothing is meant to be GGUF.
fn is_decided_by_name(path: &str, format: &str) -> bool {
    format == "gguf" && !fs::read(corpus().join(path)).unwrap().starts_with(b"GGUF")
}

type Open = fn(&Path) -> Result<Model>;

fn mapped(path: &Path) -> Result<Model> {
    // SAFETY: nobody writes to files of the corpus.
    unsafe { Model::open(path) }
}

fn read(path: &Path) -> Result<Model> {
    Model::open_read(path)
}

fn in_memory(path: &Path) -> Result<Model> {
    Model::from_bytes(Arc::<[u8]>::from(fs::read(path).unwrap()))
}

fn behind_a_reader(path: &Path) -> Result<Model> {
    let file = fs::File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    Model::from_reader(file, size)
}

fn a_file_alone(path: &Path) -> Result<Model> {
    let name = path.file_name().unwrap().to_str().unwrap();
    Model::from_files(&[ModelFile::from_bytes(name, fs::read(path).unwrap())])
}

fn check_error(path: &str, error: &Error) {
    assert!((10..70).contains(&error.status().raw()), "{path}: {error:?}");
    let message = error.message();
    assert!(!message.is_empty() && message.bytes().all(|byte| (32..127).contains(&byte)));
    assert!(error.offset().is_none() || error.shard().is_some() || path.ends_with(".json"));
}

fn run(open: Open, by_path: bool) {
    let mut expected: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for row in rows("expect.tsv") {
        expected.entry(row[0].clone()).or_default().push(row);
    }
    // Metadata and tensors have an order each; which comes first is the file's.
    expected.values_mut().for_each(|rows| rows.sort_by_key(|row| row[1] != "metadata"));
    let (mut good, mut bad) = (0, 0);
    for row in rows("manifest.tsv") {
        let [path, format, verdict, rule] = &row[..] else { panic!("{row:?}") };
        if !by_path && (format == "index" || is_decided_by_name(path, format)) {
            continue;
        }
        let result = open(&corpus().join(path));
        assert_eq!(result.is_ok(), verdict == "accept", "{path} ({rule}): {result:?}");
        match result {
            Ok(model) => {
                let name = |number: usize| model.shards().nth(number).unwrap().name.into_owned();
                let shards: Vec<_> = (0..model.shards().len())
                    .map(|number| match &name(number)[..] {
                        "" => fs::read(corpus().join(path)).unwrap(),
                        name => fs::read(corpus().join(path).with_file_name(name)).unwrap(),
                    })
                    .collect();
                let expected = expected.get(path).cloned().unwrap_or_default();
                let found = facts(path, &model);
                for (found, expected) in found.iter().zip(&expected) {
                    assert_eq!(found, expected);
                }
                assert_eq!(found.len(), expected.len(), "{path}");
                check_bytes(&model, &shards);
                good += 1;
            }
            Err(error) => {
                check_error(path, &error);
                bad += 1;
            }
        }
    }
    assert!(good >= 40 && bad >= 100, "{good} good and {bad} bad files: not much of a corpus");
}

#[test]
fn verdicts_and_facts_of_mapped_files() {
    run(mapped, true);
}

#[test]
fn verdicts_and_facts_of_files_that_are_read() {
    run(read, true);
}

#[test]
fn verdicts_and_facts_in_memory() {
    run(in_memory, false);
}

#[test]
fn verdicts_and_facts_of_files_that_are_handed_in() {
    run(a_file_alone, false);
}

#[test]
fn verdicts_and_facts_behind_a_reader() {
    run(behind_a_reader, false);
}
