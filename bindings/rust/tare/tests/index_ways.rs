//! Models that are opened from index files, and index files that do not fit.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tare::{
    Backing, Dtype, IndexCheck, IndexOptions, LoadOptions, Model, OpenOptions, Result, SaveOptions,
    SaveTensor, Status, UseIndex, WeightLoader,
};

/// A sharded model of `t.0` to `t.5` in a folder.
fn sharded() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut map = Vec::new();
    for shard in 0..3u8 {
        let name = format!("m-{shard}.safetensors");
        let names: Vec<_> = (0..2).map(|number| format!("t.{}", shard * 2 + number)).collect();
        let bytes = [shard; 100];
        let tensors: Vec<_> =
            names.iter().map(|name| SaveTensor::new(name, Dtype::U8, &[100], &bytes)).collect();
        let options = SaveOptions::new().metadata("format", "pt");
        tare::save(folder.path().join(&name), &tensors, options).unwrap();
        map.extend(names.iter().map(|tensor| format!(r#""{tensor}":"{name}""#)));
    }
    let index = format!(r#"{{"weight_map":{{{}}}}}"#, map.join(","));
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    folder
}

fn with(how: UseIndex) -> OpenOptions {
    OpenOptions::new().use_index(how)
}

/// Mapped.
fn map(options: &OpenOptions, path: &Path) -> Result<Model> {
    // SAFETY: the files are this test's own; none is written to while a model of them is used.
    unsafe { options.open(path) }
}

fn check(model: &Model, is_mapped: bool) {
    assert_eq!(model.count(), 6);
    assert!(model.tensors().zip(0..).all(|(tensor, i)| tensor.name() == format!("t.{i}")));
    let block = model.load_all(LoadOptions::new()).unwrap();
    for (number, bytes) in block.iter().enumerate() {
        let tensor = model.find(format!("t.{number}")).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::U8, &[100][..]));
        assert_eq!(bytes, [number as u8 / 2; 100]);
        assert_eq!(tensor.data(), is_mapped.then_some(bytes));
        assert_eq!(tensor.shard(), number as u32 / 2);
        tensor.ready().unwrap();
    }
    model.ready().unwrap();
    assert_eq!(model.metadata_str("format").unwrap(), "pt");
    assert_eq!(model.names().len(), 6);
    let backing = if is_mapped { Backing::Map } else { Backing::Read };
    assert!(model.shards().all(|shard| shard.backing == backing));
}

#[test]
fn a_saved_index_is_used_and_gives_the_same_model() {
    let folder = sharded();
    let model = map(&OpenOptions::new(), folder.path()).unwrap();
    check(&model, true);
    assert_eq!(model.stat().index_file_size, 0);
    assert_eq!(model.index_status().unwrap_err().status(), Status::Open);
    let place = model.index_path().unwrap();
    assert_eq!(place, folder.path().join("tare.idx"));
    model.save_index(IndexOptions::new()).unwrap();
    model.save_index(IndexOptions::new()).unwrap(); // over its like
    let size = fs::metadata(&place).unwrap().len();

    for how in [UseIndex::Auto, UseIndex::Require] {
        for (model, is_mapped) in [
            (map(&with(how), folder.path()).unwrap(), true),
            (with(how).open_read(folder.path()).unwrap(), false),
        ] {
            model.index_status().unwrap();
            assert_eq!(model.stat().index_file_size, size);
            check(&model, is_mapped);
        }
    }
    let never = map(&with(UseIndex::Never), folder.path()).unwrap();
    assert_eq!(never.index_status().unwrap_err().status(), Status::Open);
    check(&never, true);
    never.check_index(IndexOptions::new()).unwrap();
}

#[test]
fn an_index_may_be_elsewhere_and_replaces_no_other_file() {
    let folder = sharded();
    let place = folder.path().join("elsewhere");
    fs::write(&place, "something else").unwrap();
    let at = || IndexOptions::new().path(&place);
    let model = Model::open_read(folder.path()).unwrap();
    assert_eq!(model.save_index(at()).unwrap_err().status(), Status::Exists);
    model.save_index(at().replace(true)).unwrap();
    model.check_index(at()).unwrap();
    let found = OpenOptions::new().index_path(&place).use_index(UseIndex::Require);
    check(&map(&found, folder.path()).unwrap(), true);
    let bytes: Arc<[u8]> = fs::read(&place).unwrap().into();
    let found = with(UseIndex::Require).index_bytes(bytes);
    check(&map(&found, folder.path()).unwrap(), true);
    check(&found.open_read(folder.path()).unwrap(), false);
    let both = found.index_path(&place);
    assert_eq!(both.open_read(folder.path()).unwrap_err().status(), Status::Argument);
    let error = model.save_index(IndexOptions::new().path("a\0b")).unwrap_err();
    assert_eq!(error.status(), Status::Argument);
}

#[test]
fn one_that_is_stale_damaged_or_missing_is_told() {
    let folder = sharded();
    let require = with(UseIndex::Require);
    assert_eq!(require.open_read(folder.path()).unwrap_err().status(), Status::Open);
    let model = with(UseIndex::Never).open_read(folder.path()).unwrap();
    assert_eq!(model.check_index(IndexOptions::new()).unwrap_err().status(), Status::Open);
    model.save_index(IndexOptions::new()).unwrap();
    let place = model.index_path().unwrap();
    let good = fs::read(&place).unwrap();

    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&place, &bad).unwrap();
    let error = model.check_index(IndexOptions::new()).unwrap_err();
    assert!(error.status() == Status::Prebuilt && error.offset().is_some(), "{error:?}");
    fs::write(&place, &good[..100]).unwrap();
    let error = require.open_read(folder.path()).unwrap_err();
    assert_eq!(error.status(), Status::Prebuilt);

    // Another time, the same bytes: by the header it is the same model.
    fs::write(&place, &good).unwrap();
    let shard = folder.path().join("m-1.safetensors");
    let time = std::time::SystemTime::UNIX_EPOCH;
    fs::File::options().write(true).open(&shard).unwrap().set_modified(time).unwrap();
    let error = require.open_read(folder.path()).unwrap_err();
    assert_eq!((error.status(), error.shard()), (Status::Stale, Some(1)));
    assert!(error.message().contains("m-1.safetensors"), "{error}");
    let model = Model::open_read(folder.path()).unwrap();
    assert_eq!(model.index_status().unwrap_err().status(), Status::Stale);
    check(&model, false);
    let by_header = require.clone().index_check(IndexCheck::Header);
    check(&by_header.open_read(folder.path()).unwrap(), false);
}

#[test]
fn a_shard_that_is_gone_when_it_is_wanted_is_an_error_of_that_call() {
    let folder = sharded();
    Model::open_read(folder.path()).unwrap().save_index(IndexOptions::new()).unwrap();
    let model = map(&with(UseIndex::Require), folder.path()).unwrap();
    let shard = folder.path().join("m-2.safetensors");
    let away = folder.path().join("away");
    fs::rename(&shard, &away).unwrap();
    let tensor = model.find("t.5").unwrap();
    assert_eq!(tensor.data(), None);
    assert_eq!(model.tensor_bytes("t.5"), None);
    assert_eq!(tensor.ready().unwrap_err().status(), Status::Open);
    assert_eq!(model.ready().unwrap_err().status(), Status::Open);
    assert_eq!(tensor.to_vec().unwrap_err().status(), Status::Open);
    assert_eq!(model.tensor_bytes("t.0"), Some(&[0; 100][..]));
    fs::rename(&away, &shard).unwrap();
    assert_eq!(tensor.data(), Some(&[2; 100][..]));
    model.ready().unwrap();
}

#[test]
fn models_in_memory_and_readers_take_an_index_that_is_handed_in() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("model.safetensors");
    let place = folder.path().join("index");
    tare::save(&path, &[SaveTensor::new("w", Dtype::U8, &[3], b"abc")], SaveOptions::new())
        .unwrap();
    let bytes = fs::read(&path).unwrap();
    let size = bytes.len() as u64;
    let model = Model::from_bytes(bytes.clone()).unwrap();
    assert_eq!(model.index_path(), None);
    let error = model.save_index(IndexOptions::new()).unwrap_err();
    assert_eq!(error.status(), Status::Argument);
    model.save_index(IndexOptions::new().path(&place)).unwrap();
    let pairs = Model::from_pairs(&[("a", "b")]).unwrap();
    let error = pairs.save_index(IndexOptions::new().path(&place)).unwrap_err();
    assert_eq!(error.status(), Status::Unsupported);

    let by_path = with(UseIndex::Require).index_path(&place);
    let by_bytes = with(UseIndex::Require).index_bytes(fs::read(&place).unwrap());
    for options in [by_path, by_bytes] {
        let model = options.open_bytes(bytes.clone()).unwrap();
        model.index_status().unwrap();
        assert_eq!(model.tensor_bytes("w"), Some(&b"abc"[..]));
        assert_eq!(model.shards().next().unwrap().backing, Backing::Memory);
        assert_eq!(options.open_slice(&bytes).unwrap().tensor_bytes("w"), Some(&b"abc"[..]));
        let file = fs::File::open(&path).unwrap();
        let model = options.open_reader(file, size).unwrap();
        drop(options);
        assert_eq!(model.find("w").unwrap().to_vec().unwrap(), b"abc");
    }
}

/// No safe call maps an index file: cutting it short is then no signal.
#[test]
fn safe_calls_map_no_index_file() {
    let folder = sharded();
    let place = folder.path().join("tare.idx");
    let saved = Model::open_read(folder.path()).unwrap();
    saved.save_index(IndexOptions::new()).unwrap();
    let options = with(UseIndex::Require).backing(Backing::Map);
    let model = options.open_read(folder.path()).unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let folder_name = folder.path().to_str().unwrap();
    assert!(!maps.contains(folder_name), "{maps}");
    fs::File::options().write(true).open(&place).unwrap().set_len(10).unwrap();
    check(&model, false);
}

/// Where a section is, by the numbers of docs/format_index.md.
fn section(index: &[u8], number: usize) -> usize {
    let head = 64 + 24 * number;
    u64::from_le_bytes(index[head..head + 8].try_into().unwrap()) as usize
}

#[test]
fn values_that_a_damaged_index_leads_astray_are_of_no_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let options = SaveOptions::new().metadata("a", "1").metadata("b", "2").metadata("c", "3");
    tare::save(&path, &[SaveTensor::new("w", Dtype::U8, &[3], b"abc")], options).unwrap();
    let model = Model::open_read(&path).unwrap();
    model.save_index(IndexOptions::new()).unwrap();
    let mut index = fs::read(model.index_path().unwrap()).unwrap();
    let values = section(&index, 13);
    index[values + 32] = 0xff; // the kind of the second one
    let damaged = with(UseIndex::Require).index_bytes(index).open_read(&path).unwrap();
    let entries: Vec<_> = damaged.metadata().collect();
    assert_eq!((entries.len(), damaged.metadata().len()), (3, 3));
    assert!(entries.iter().map(|entry| entry.key()).eq(["a", "b", "c"]));
    let texts: Vec<_> = entries.iter().map(|entry| entry.value.as_bytes()).collect();
    assert_eq!(texts, [Some(&b"1"[..]), None, Some(&b"3"[..])]);
    assert!(entries[1].value.raw_bytes().is_empty() && entries[1].value.items().next().is_none());
    assert!(!format!("{:?} {}", damaged.metadata(), entries[1].value.kind()).is_empty());
    assert!(damaged.metadata_value("b").is_none());
}

/// Memory is taken for strings that come, not for as many as an index file tells of.
#[test]
fn strings_that_a_damaged_index_tells_of_take_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let words = ["a", "", "three"].map(text).concat();
    let array = |kind: u8, count: u8| [9, 0, 0, 0, kind, 0, 0, 0, count, 0, 0, 0, 0, 0, 0, 0];
    let file = [
        &b"GGUF\x03\0\0\0"[..],
        &0u64.to_le_bytes(),
        &2u64.to_le_bytes(),
        &text("words"),
        &array(8, 3),
        &words,
        &text("numbers"),
        &array(4, 2),
        &[7, 0, 0, 0, 8, 0, 0, 0],
        &[0; 32],
    ]
    .concat();
    fs::write(&path, file).unwrap();
    let model = Model::open_read(&path).unwrap();
    let (strings, numbers) =
        (model.metadata_array("words").unwrap(), model.metadata_array("numbers").unwrap());
    assert_eq!((strings.len(), strings.size_hint(), strings.count()), (3, (0, Some(3)), 3));
    assert_eq!((numbers.len(), numbers.size_hint(), numbers.count()), (2, (2, Some(2)), 2));
    assert!(!strings.is_empty() && model.metadata_value("words").unwrap().items().len() == 3);

    model.save_index(IndexOptions::new()).unwrap();
    let good = fs::read(model.index_path().unwrap()).unwrap();
    let at = section(&good, 13) + 8; // the count of the first value
    for (count, len) in [(3u64, Some(3)), (2, Some(2)), (1 << 40, None), (u64::MAX, None)] {
        let mut index = good.clone();
        index[at..at + 8].copy_from_slice(&count.to_le_bytes());
        let model = with(UseIndex::Require).index_bytes(index).open_read(&path).unwrap();
        let found = model.metadata_array("words").ok().map(|items| items.collect::<Vec<_>>());
        assert_eq!(found.map(|items| items.len()), len, "{count}");
    }

    // As many as the bytes may hold, and fewer that are there.
    let mut index = good.clone();
    let bytes = section(&good, 14);
    index[bytes..bytes + 8].copy_from_slice(&1000u64.to_le_bytes());
    let model = with(UseIndex::Require).index_bytes(index).open_read(&path).unwrap();
    let items = model.metadata_array("words").unwrap();
    assert_eq!((items.len(), items.size_hint()), (3, (0, Some(3))));
    assert_eq!(items.collect::<Vec<_>>().len(), 0);
}
