//! Random models in random shards, written by the safetensors crate, are what it reads of them; saved
//! into one file they are what it writes of all. Whichever way they are opened.

mod random;

use std::collections::BTreeMap;
use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use random::{cases, data_of, serialize, tensors, text, Drawn};
use safetensors::SafeTensors;
use tare::{
    list_files, save_to_vec, IndexOptions, LoadOptions, Model, ModelFile, OpenOptions, SaveOptions,
    SaveTensor, UseIndex,
};

type Named = BTreeMap<String, Drawn>;

fn data(tensors: &Named, seed: u8) -> Vec<Vec<u8>> {
    let seeds = (0..).map(|place: u8| seed.wrapping_add(place.wrapping_mul(13)));
    tensors.values().zip(seeds).map(|(tensor, seed)| data_of(tensor.size(), seed)).collect()
}

/// Name and content of each shard, as the crate writes them.
fn shards(tensors: &Named, data: &[Vec<u8>], places: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut parts: BTreeMap<String, (Named, Vec<Vec<u8>>)> = BTreeMap::new();
    for (((name, tensor), data), place) in tensors.iter().zip(data).zip(places) {
        let part = parts.entry(format!("model-{place}.safetensors")).or_default();
        part.0.insert(name.clone(), tensor.clone());
        part.1.push(data.clone());
    }
    let none = BTreeMap::new();
    parts.into_iter().map(|(name, (list, data))| (name, serialize(&list, &data, &none))).collect()
}

fn index_of(tensors: &Named, places: &[u8]) -> String {
    let files = places.iter().map(|place| format!("model-{place}.safetensors"));
    let map: BTreeMap<_, _> = tensors.keys().zip(files).collect();
    serde_json::json!({"metadata": {"total_size": 0}, "weight_map": map}).to_string()
}

/// Every tensor is the one that the crate finds in its shard, found by name and in order.
fn check(model: &Model, files: &BTreeMap<String, Vec<u8>>) -> Result<(), TestCaseError> {
    let block = model.load_all(LoadOptions::new()).unwrap();
    let mut count = 0;
    prop_assert_eq!(model.shards().len(), files.len());
    for (number, (name, bytes)) in files.iter().enumerate() {
        prop_assert!(model.shards().nth(number).unwrap().name.ends_with(&**name));
        let theirs = SafeTensors::deserialize(bytes).unwrap();
        for (name, view) in theirs.iter() {
            let tensor = model.find(name).expect("the crate finds it");
            prop_assert_eq!(tensor.shard() as usize, number);
            prop_assert_eq!(tensor.dtype().to_string(), view.dtype().to_string());
            let shape: Vec<_> = view.shape().iter().map(|&size| size as u64).collect();
            prop_assert_eq!(tensor.shape(), shape);
            prop_assert_eq!(&block[tensor.index()], view.data());
            prop_assert!(tensor.data().is_none_or(|data| data == view.data()));
            prop_assert_eq!(tensor.to_vec().unwrap(), view.data());
            count += 1;
        }
    }
    prop_assert_eq!(model.count(), count);
    Ok(())
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn sharded_models_are_what_the_crate_reads_and_saves(
        tensors in tensors().prop_filter("a model", |tensors| !tensors.is_empty()),
        places in vec(0u8..3, 8),
        metadata in proptest::collection::btree_map("[a-z]{1,5}", text(), 0..2),
        seed in any::<u8>(),
    ) {
        let data = data(&tensors, seed);
        let (files, places) = (shards(&tensors, &data, &places), &places[..tensors.len()]);
        let index = index_of(&tensors, places);
        let whole = serialize(&tensors, &data, &metadata);

        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in &files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        fs::write(folder.path().join("model.safetensors.index.json"), &index).unwrap();
        let json = ModelFile::from_bytes("model.safetensors.index.json", index);
        prop_assert!(list_files(&json).unwrap().iter().eq(files.keys()));
        let mut handed: Vec<_> = files
            .iter()
            .map(|(name, bytes)| ModelFile::from_bytes(name, bytes.clone()))
            .collect();
        handed.push(json);

        // SAFETY: nobody writes to the files in place.
        let mapped = unsafe { Model::open(folder.path()) }.unwrap();
        mapped.save_index(IndexOptions::new()).unwrap();
        let indexed = OpenOptions::new().use_index(UseIndex::Require);
        for model in [
            mapped,
            Model::open_read(folder.path()).unwrap(),
            Model::from_files(&handed).unwrap(),
            // SAFETY: the same.
            unsafe { indexed.open(folder.path()) }.unwrap(),
            indexed.open_read(folder.path()).unwrap(),
        ] {
            check(&model, &files)?;
            let list: Vec<_> = model.tensors().map(SaveTensor::from).collect();
            let options = metadata
                .iter()
                .fold(SaveOptions::new(), |options, (key, value)| options.metadata(key, value));
            prop_assert_eq!(&save_to_vec(&list, options).unwrap(), &whole);
        }
    }
}
