//! Models of files that are in no folder.

use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use tare::{
    list_files, Dtype, LoadOptions, Model, ModelFile, OpenOptions, SaveOptions, SaveTensor, Status,
};

fn shard(names: [&str; 2], byte: u8) -> Vec<u8> {
    let bytes = [byte; 16];
    let tensors = names.map(|name| SaveTensor::new(name, Dtype::U8, &[16], &bytes));
    tare::save_to_vec(&tensors, SaveOptions::new()).unwrap()
}

const INDEX: &str = r#"{"weight_map":{"a":"1.safetensors","b":"1.safetensors",
    "c":"sub-2.safetensors","d":"sub-2.safetensors"}}"#;

fn check(model: &Model, is_in_memory: bool) {
    let names: Vec<_> = model.tensors().map(|tensor| tensor.name()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    for (name, byte) in [("a", 1), ("b", 1), ("c", 2), ("d", 2)] {
        let tensor = model.find(name).unwrap();
        assert_eq!(tensor.to_vec().unwrap(), [byte; 16]);
        assert_eq!(tensor.data().is_some(), is_in_memory);
    }
    let shards: Vec<_> = model.shards().map(|shard| shard.name).collect();
    assert_eq!(shards, ["1.safetensors", "sub-2.safetensors"]);
}

#[test]
fn a_sharded_model_of_bytes_and_readers() {
    let index = ModelFile::from_bytes("m.safetensors.index.json", INDEX);
    assert_eq!(list_files(&index).unwrap(), ["1.safetensors", "sub-2.safetensors"]);
    let (first, second) = (shard(["a", "b"], 1), shard(["c", "d"], 2));
    let other = ModelFile::from_bytes("README.md", "not of the model");
    let in_memory = [
        ModelFile::from_bytes("sub-2.safetensors", second.clone()),
        other.clone(),
        index.clone(),
        ModelFile::from_bytes("1.safetensors", first.clone()),
    ];
    let model = Model::from_files(&in_memory).unwrap();
    drop(in_memory);
    check(&model, true);

    let calls = Arc::new(AtomicUsize::new(0));
    let reader = |bytes: Vec<u8>| {
        let calls = calls.clone();
        move |offset: u64, target: &mut [u8]| {
            calls.fetch_add(1, Ordering::Relaxed);
            target.copy_from_slice(&bytes[offset as usize..][..target.len()]);
            Ok(target.len())
        }
    };
    let sizes = [first.len() as u64, second.len() as u64];
    let behind = [
        index.clone(),
        ModelFile::from_reader("1.safetensors", reader(first.clone()), sizes[0]),
        ModelFile::from_reader("sub-2.safetensors", reader(second), sizes[1]),
    ];
    check(&Model::from_files(&behind).unwrap(), false);

    // Where the head has the header, the reader is not asked.
    calls.store(0, Ordering::Relaxed);
    let head = first[..first.len() - 32].to_vec();
    let one = [ModelFile::from_reader("", reader(first), sizes[0]).head(head)];
    let model = OpenOptions::new().open_files(&one).unwrap();
    assert_eq!((model.count(), calls.load(Ordering::Relaxed)), (2, 0));
    assert_eq!(model.find("b").unwrap().to_vec().unwrap(), [1; 16]);
    assert!(calls.load(Ordering::Relaxed) > 0);
    let debug = format!("{:?}", one[0]);
    assert!(debug.contains(&format!("reader: Some({})", sizes[0])), "{debug}");
}

#[test]
fn files_that_are_missing_or_given_twice_are_errors() {
    let index = ModelFile::from_bytes("m.safetensors.index.json", INDEX);
    let first = ModelFile::from_bytes("1.safetensors", shard(["a", "b"], 1));
    assert_eq!(Model::from_files(&[]).unwrap_err().status(), Status::NoModel);
    let error = Model::from_files(&[index.clone(), first.clone()]).unwrap_err();
    assert_eq!((error.status(), error.system_error()), (Status::Open, Some(2)));
    assert!(error.message().contains("sub-2.safetensors"), "{error}");
    let error = Model::from_files(&[index.clone(), first.clone(), first.clone()]).unwrap_err();
    assert_eq!(error.status(), Status::Argument);
    let zero = ModelFile::from_bytes("a\0b", "");
    assert_eq!(
        Model::from_files(std::slice::from_ref(&zero)).unwrap_err().status(),
        Status::Argument
    );
    assert_eq!(list_files(&zero).unwrap_err().status(), Status::Argument);
    let broken = ModelFile::from_bytes("x.json", "{");
    assert_eq!(list_files(&broken).unwrap_err().status(), Status::Json);
}

#[test]
fn lists_of_other_files_come_from_their_names() {
    let list = |name: &str| list_files(&ModelFile::from_bytes(name, "")).unwrap();
    assert_eq!(list("m.gguf"), ["m.gguf"]);
    assert_eq!(list("m-00002-of-00002.gguf"), ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]);
}

#[test]
fn errors_and_panics_of_the_readers_reach_the_caller() {
    fn failing(_: u64, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the server said no"))
    }
    let index = ModelFile::from_bytes("m.safetensors.index.json", INDEX);
    let first = ModelFile::from_bytes("1.safetensors", shard(["a", "b"], 1));
    let second = shard(["c", "d"], 2);
    let (head, size) = (second[..second.len() - 32].to_vec(), second.len() as u64);
    let bad = ModelFile::from_reader("sub-2.safetensors", failing, size);
    let error = Model::from_files(&[index.clone(), first.clone(), bad.clone()]).unwrap_err();
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the server said no");
    let model = Model::from_files(&[index, first, bad.head(head)]).unwrap();
    let error = model.load_all(LoadOptions::new().threads(2)).unwrap_err();
    assert_eq!(error.status(), Status::Read);
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the server said no");

    let listing = ModelFile::from_reader("m.json", |_, _: &mut [u8]| panic!("from the reader"), 9);
    let payload = catch_unwind(AssertUnwindSafe(|| list_files(&listing).map(drop))).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"from the reader"));
}
