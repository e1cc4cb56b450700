//! Every way to open a model, what it then tells, and how it fails.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use tare::{
    Backing, Dtype, Format, IndexOptions, Kind, Model, ModelFile, OpenOptions, Status, UseIndex,
};

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/data/corpus").join(name)
}

/// Mapped.
fn map(path: impl AsRef<Path>) -> tare::Result<Model> {
    // SAFETY: the files are this test's own, and nobody writes to them in place.
    unsafe { Model::open(path) }
}

/// Three tensors, one of them empty.
fn file() -> Vec<u8> {
    let header = concat!(
        r#"{"__metadata__":{"format":"pt"},"#,
        r#""layer.0.w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"#,
        r#""layer.0.b":{"dtype":"BF16","shape":[],"data_offsets":[24,26]},"#,
        r#""layer.1.w":{"dtype":"I64","shape":[0,7],"data_offsets":[26,26]}}"#
    );
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(0..26);
    bytes
}

fn check(model: &Model, backing: Backing) {
    let facts: Vec<_> = model
        .tensors()
        .map(|tensor| (tensor.name().into_owned(), tensor.dtype(), tensor.shape().to_vec()))
        .collect();
    assert_eq!(facts[0], ("layer.0.w".to_owned(), Dtype::F32, vec![2, 3]));
    assert_eq!(facts[1], ("layer.0.b".to_owned(), Dtype::BF16, vec![]));
    assert_eq!(facts[2], ("layer.1.w".to_owned(), Dtype::I64, vec![0, 7]));
    assert_eq!(facts.len(), model.count());

    let shards: Vec<_> = model.shards().collect();
    assert_eq!(shards.len(), 1);
    assert_eq!(shards[0].size, file().len() as u64);
    assert_eq!(shards[0].data_offset, file().len() as u64 - 26);
    assert_eq!((shards[0].backing, shards[0].format), (backing, Format::Safetensors));

    for (number, tensor) in model.tensors().enumerate() {
        assert_eq!(tensor.index(), number);
        assert_eq!(tensor.shard(), 0);
        let begin = (tensor.offset() - shards[0].data_offset) as u8;
        let expected: Vec<u8> = (begin..begin + tensor.size() as u8).collect();
        assert_eq!(tensor.to_vec().unwrap(), expected);
        match tensor.data() {
            Some(data) => assert_eq!(data, expected),
            None => assert!(backing == Backing::Read && tensor.alignment() == 0),
        }
        assert_eq!(tensor.data().is_none(), backing == Backing::Read && tensor.size() != 0);
    }
    assert_eq!(model.metadata_str("format").unwrap(), "pt");
    assert!(model.stat().memory_size > 0 && !model.stat().index_sorted);
}

#[test]
fn paths_slices_owned_bytes_and_readers_give_one_model() {
    let bytes = file();
    let path = tempfile::NamedTempFile::with_suffix(".safetensors").unwrap();
    fs::write(&path, &bytes).unwrap();
    check(&map(path.path()).unwrap(), Backing::Map);
    check(&Model::open_read(path.path()).unwrap(), Backing::Read);
    let read = OpenOptions::new().backing(Backing::Read);
    // SAFETY: it maps nothing.
    check(&unsafe { read.open(path.path()) }.unwrap(), Backing::Read);
    let mapped = OpenOptions::new().backing(Backing::Map);
    check(&mapped.open_read(path.path()).unwrap(), Backing::Read);
    check(&mapped.open_bytes(bytes.clone()).unwrap(), Backing::Memory);
    check(&Model::from_slice(&bytes).unwrap(), Backing::Memory);
    check(&Model::from_bytes(bytes.clone()).unwrap(), Backing::Memory);
    check(&Model::from_bytes(Arc::<[u8]>::from(&bytes[..])).unwrap(), Backing::Memory);
    let small: [u8; 8] = 2u64.to_le_bytes();
    let array = [&small[..], b"{}"].concat();
    assert_eq!(Model::from_bytes(<[u8; 10]>::try_from(array).unwrap()).unwrap().count(), 0);

    let size = bytes.len() as u64;
    check(&Model::from_reader(fs::File::open(&path).unwrap(), size).unwrap(), Backing::Read);
    let byte_by_byte = move |offset: u64, target: &mut [u8]| {
        target[0] = bytes[offset as usize];
        Ok(1)
    };
    check(&Model::from_reader(Arc::new(byte_by_byte), size).unwrap(), Backing::Read);
}

/// What `AsRef` gives must be asked for once the owner has come to where it stays.
#[test]
fn owned_bytes_that_lie_within_their_owner_may_move() {
    struct Inside([u8; 10]);
    impl AsRef<[u8]> for Inside {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let mut bytes = [0; 10];
    bytes[0] = 2;
    bytes[8..].copy_from_slice(b"{}");
    let models: Vec<Model> = (0..8).map(|_| Model::from_bytes(Inside(bytes)).unwrap()).collect();
    assert!(models.iter().all(|model| model.count() == 0));
}

#[test]
fn a_model_goes_to_other_threads_and_is_dropped_there() {
    let model = Model::from_bytes(file()).unwrap();
    let count = std::thread::spawn(move || model.count()).join().unwrap();
    assert_eq!(count, 3);
}

#[test]
fn finding_by_name_key_list_and_prefix() {
    let bytes = file();
    let model = Model::from_slice(&bytes).unwrap();
    let names = ["layer.0.w", "layer.0.b", "layer.1.w", "layer.2.w", ""];
    let many = model.find_many(&names);
    for (name, found) in names.iter().zip(&many) {
        assert_eq!(model.find(name), *found);
        assert_eq!(model.find(name.as_bytes()), *found);
        assert_eq!(model.find(String::from(*name)), *found);
        assert_eq!(model.key(*name).find(), *found);
        assert!(found.is_none_or(|tensor| tensor.name() == *name));
    }
    assert_eq!(many.iter().flatten().count(), 3);
    let prefixed: Vec<_> = model.prefix("layer.0.").collect();
    assert_eq!(prefixed, model.tensors().take(2).collect::<Vec<_>>());
    assert_eq!(model.prefix("").count(), 3);
    assert_eq!(model.prefix(b"layer.3").count(), 0);
    assert_eq!(model.at(3), None);
}

#[test]
fn many_names_at_once_are_found_across_batches() {
    let pairs: Vec<_> = (0..1000).map(|i| (format!("t.{i}"), [0u8; 1])).collect();
    let model = Model::from_pairs(&pairs).unwrap();
    for count in [0, 1, 127, 128, 129, 256, 1000] {
        let names: Vec<_> = (0..count).map(|i| format!("t.{}", i * 2)).collect();
        let found = model.find_many(&names);
        assert_eq!(found.len(), count);
        for (i, tensor) in found.iter().enumerate() {
            assert_eq!(tensor.map(|tensor| tensor.index()), (i * 2 < 1000).then_some(i * 2));
        }
    }
}

#[test]
fn iterators_go_both_ways_and_know_how_many_are_left() {
    let model = Model::from_bytes(file()).unwrap();
    let mut tensors = model.tensors();
    assert_eq!(tensors.len(), 3);
    assert_eq!(tensors.next_back().unwrap().index(), 2);
    assert_eq!(tensors.next().unwrap().index(), 0);
    assert_eq!(tensors.len(), 1);
    assert_eq!(tensors.next().unwrap().index(), 1);
    assert_eq!((tensors.next(), tensors.next_back(), tensors.len()), (None, None, 0));
    assert_eq!(model.tensors().rev().map(|tensor| tensor.index()).collect::<Vec<_>>(), [2, 1, 0]);
    assert_eq!(model.tensors().nth(1).unwrap().index(), 1);
    assert_eq!(model.tensors().nth_back(0), model.tensors().last());
    assert_eq!(model.metadata().len(), 1);
    assert_eq!(model.metadata().next_back().unwrap().key(), "format");
    assert_eq!((&model).into_iter().count(), 3);
}

#[test]
fn errors_tell_status_shard_offset_and_system_error() {
    let error = map("/nonexistent/model.safetensors").unwrap_err();
    assert_eq!(error.status(), Status::Open);
    assert_eq!((error.shard(), error.offset()), (None, None));
    assert_eq!(error.system_error(), Some(2));
    assert!(error.source().is_some());
    assert!(error.to_string().starts_with("'/nonexistent/model.safetensors'"));
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);

    let mut bytes = file();
    let at = bytes.windows(4).position(|window| window == b"BF16").unwrap();
    bytes[at] = b'Q';
    let error = Model::from_slice(&bytes).unwrap_err();
    assert_eq!(error.status(), Status::Dtype);
    assert_eq!((error.shard(), error.offset()), (Some(0), Some(at as u64 - 1)));
    assert!(error.message().contains("layer.0.b") && error.system_error().is_none());
    assert!(format!("{error:?}").contains("status: Dtype"));
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidData);

    let error = Model::open_read("a\0b").unwrap_err();
    assert_eq!(error.status(), Status::Argument);
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn options_reach_the_library() {
    let bytes = file();
    let error = OpenOptions::new().alignment(3).open_pairs(&[("a", [1u8])]).unwrap_err();
    assert_eq!(error.status(), Status::Argument);
    let error = OpenOptions::new().backing(Backing::Memory).open_slice(&bytes).unwrap_err();
    assert_eq!(error.status(), Status::Argument);
    assert_eq!(OpenOptions::new().fixed_seed(7).open_slice(&bytes).unwrap().count(), 3);
}

type Limit = fn(OpenOptions, u64) -> OpenOptions;

/// A limit, the most that the model of `file` takes of it, and where, as what, one less is refused.
fn limits() -> [(Limit, u64, &'static str, Status); 5] {
    let header = file().len() as u64 - 8 - 26;
    [
        (OpenOptions::header_size_max, header, "", Status::HeaderSize),
        (OpenOptions::tensor_count_max, 3, "layer.1.w", Status::Limit),
        (OpenOptions::rank_max, 2, "layer.0.w", Status::Limit),
        (OpenOptions::name_size_max, 9, "layer.0.w", Status::Limit),
        (OpenOptions::metadata_size_max, 8, "format", Status::Limit),
    ]
}

#[test]
fn limits_hold_in_every_way_of_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    fs::write(&path, file()).unwrap();
    let ways: [&dyn Fn(OpenOptions) -> tare::Result<Model>; 5] = [
        &|options| options.open_bytes(file()),
        // SAFETY: nobody writes to the file in place.
        &|options| unsafe { options.open(&path) },
        &|options| options.open_read(&path),
        &|options| options.open_reader(fs::File::open(&path).unwrap(), file().len() as u64),
        &|options| options.open_files(&[ModelFile::from_bytes("m", file())]),
    ];
    for (limit, most, word, status) in limits() {
        let quoted = format!("\"{word}\"");
        let place = file().windows(quoted.len()).position(|bytes| bytes == quoted.as_bytes());
        let place = place.map_or(0, |place| place as u64); // of the header itself
        for open in ways {
            for fine in [most, most + 1, 0x7fff_ffff, 0] {
                assert_eq!(open(limit(OpenOptions::new(), fine)).unwrap().count(), 3);
            }
            let error = open(limit(OpenOptions::new(), most - 1)).unwrap_err();
            assert_eq!(
                (error.status(), error.offset(), error.shard()),
                (status, Some(place), Some(0))
            );
            assert!(error.message().contains(word), "{error}");
        }
    }
    let error = OpenOptions::new().header_size_max(1 << 31).open_bytes(file()).unwrap_err();
    assert_eq!(error.status(), Status::Argument);
}

#[test]
fn limits_hold_for_pairs_lists_and_index_files() {
    let pairs = [("a", "x"), ("bcd", "y")];
    for (limit, most) in [limits()[1].0, limits()[3].0].into_iter().zip([2, 3]) {
        assert_eq!(limit(OpenOptions::new(), most).open_pairs(&pairs).unwrap().count(), 2);
        let error = limit(OpenOptions::new(), most - 1).open_pairs(&pairs).unwrap_err();
        assert_eq!(error.status(), Status::Limit);

        let list = r#"{"weight_map":{"a":"1.safetensors","bcd":"1.safetensors"}}"#;
        let list_file = ModelFile::from_bytes("m.json", list);
        let listed = limit(OpenOptions::new(), most).list_files(&list_file).unwrap();
        assert_eq!(listed, ["1.safetensors"]);
        let error = limit(OpenOptions::new(), most - 1).list_files(&list_file).unwrap_err();
        let place = list.find("\"bcd\"").map(|place| place as u64);
        assert_eq!((error.status(), error.offset()), (Status::Limit, place));
        assert!(error.message().contains("'bcd'"), "{error}");
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    fs::write(&path, file()).unwrap();
    Model::open_read(&path).unwrap().save_index(IndexOptions::new()).unwrap();
    let indexed = OpenOptions::new().use_index(UseIndex::Require);
    for (limit, most, word, status) in limits().into_iter().skip(1) {
        assert_eq!(limit(indexed.clone(), most).open_read(&path).unwrap().count(), 3);
        let error = limit(indexed.clone(), most - 1).open_read(&path).unwrap_err();
        assert_eq!(error.status(), status);
        // How many there are the head says, which names none.
        assert!(error.message().contains(word) || word == "layer.1.w", "{error}");
    }
}

#[test]
fn folders_and_indexes_are_models_of_several_shards() {
    let folder = tempfile::tempdir().unwrap();
    let mut listed = Vec::new();
    for shard in 0..3 {
        let name = format!("model-0000{}-of-00003.safetensors", shard + 1);
        let header = format!(r#"{{"t{shard}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}"#);
        let bytes =
            [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[shard]].concat();
        fs::write(folder.path().join(&name), bytes).unwrap();
        listed.push(format!(r#""t{shard}":"{name}""#));
    }
    let index = folder.path().join("model.safetensors.index.json");
    fs::write(&index, format!(r#"{{"weight_map":{{{}}}}}"#, listed.join(","))).unwrap();
    for path in [folder.path(), &index] {
        let model = map(path).unwrap();
        assert_eq!(model.shards().len(), 3);
        for shard in 0..3u8 {
            let tensor = model.find(format!("t{shard}")).unwrap();
            assert_eq!(tensor.shard(), u32::from(shard));
            assert_eq!(tensor.data(), Some(&[shard][..]));
        }
        assert!(model.shards().nth(2).unwrap().name.ends_with("model-00003-of-00003.safetensors"));
    }
}

#[test]
fn names_and_texts_of_numbers_are_those_of_the_library() {
    assert_eq!(Status::Json.name(), "TARE_E_JSON");
    assert_eq!(Status::Json.to_string(), "the header is not JSON as RFC 8259 has it");
    assert_eq!(Status::from(99_999), Status::Unknown(99_999));
    assert_eq!(Status::Unknown(99_999).name(), "TARE_E_UNKNOWN");
    assert_eq!("F8_E4M3".parse::<Dtype>().unwrap(), Dtype::F8_E4M3);
    assert_eq!("f32".parse::<Dtype>().unwrap_err().status(), Status::Dtype);
    assert_eq!((Dtype::Q4_K.block_count(), Dtype::Q4_K.block_size()), (256, 144));
    assert_eq!((Dtype::F4.bits(), Dtype::Q4_K.bits()), (4, 0));
    assert!(Dtype::F4.can_save() && !Dtype::Q4_K.can_save());
    assert_eq!(Dtype::from(12_345), Dtype::Unknown(12_345));
    assert_eq!(format!("{:>6}|{}", Dtype::F32, Dtype::Unknown(12_345)), "   F32|");
    // Every name leads back to its dtype, and is spelled as the variant is.
    for raw in 1..=49 {
        let dtype = Dtype::from(raw);
        assert_eq!(dtype.raw(), raw);
        assert_eq!(dtype.name().parse::<Dtype>().unwrap(), dtype);
        assert_eq!(format!("{dtype:?}"), dtype.name());
    }
    assert_eq!(tare::version(), env!("CARGO_PKG_VERSION"));
}

#[test]
fn metadata_of_gguf_is_typed() {
    let model = map(corpus("gguf/good/kv-all-types-scalars-and-arrays.gguf")).unwrap();
    for (key, kind, expected) in [
        ("my.u8", Kind::U8, i128::from(u8::MAX)),
        ("my.i8", Kind::I8, i128::from(i8::MIN)),
        ("my.u16", Kind::U16, i128::from(u16::MAX)),
        ("my.i16", Kind::I16, i128::from(i16::MIN)),
        ("my.u32", Kind::U32, i128::from(u32::MAX)),
        ("my.i32", Kind::I32, i128::from(i32::MIN)),
        ("my.u64", Kind::U64, i128::from(u64::MAX)),
        ("my.i64", Kind::I64, i128::from(i64::MIN)),
    ] {
        let value = model.metadata_value(key).unwrap();
        assert_eq!(value.kind(), kind);
        assert_eq!(value.as_u64().map(i128::from), u64::try_from(expected).ok().map(i128::from));
        assert_eq!(value.as_i64().map(i128::from), i64::try_from(expected).ok().map(i128::from));
        assert_eq!((value.as_f64(), value.as_bool(), value.as_str()), (None, None, None));
        assert_eq!(model.metadata_u64(key).ok(), value.as_u64());
        assert_eq!(model.metadata_i64(key).ok(), value.as_i64());
        assert_eq!(format!("{value:?}"), expected.to_string());
        assert_eq!(value.items().count(), 0);
    }
    assert_eq!(model.metadata_f64("my.f32").unwrap(), 1.5);
    assert_eq!(model.metadata_f64("my.f64").unwrap(), -0.5);
    assert!(model.metadata_bool("my.bool").unwrap());
    assert_eq!(model.metadata_str("my.str").unwrap(), "h\u{e9}llo");
    assert_eq!(model.metadata_str("my.empty_str").unwrap(), "");
    let items = model.metadata_array("my.arr_u16").unwrap();
    assert_eq!((items.kind(), items.len()), (Kind::U16, 3));
    assert_eq!(items.map(|item| item.as_u64().unwrap()).collect::<Vec<_>>(), [65535; 3]);
    let strings = model.metadata_array("my.arr_str").unwrap();
    assert_eq!(strings.map(|item| item.as_str().unwrap()).collect::<Vec<_>>(), ["h\u{e9}llo"; 3]);
    assert_eq!(model.metadata_array("my.arr_empty_u32").unwrap().len(), 0);

    let error = model.metadata_u64("my.str").unwrap_err();
    assert_eq!((error.status(), error.shard()), (Status::Kind, Some(0)));
    assert_eq!(model.metadata_u64("no such key").unwrap_err().status(), Status::Absent);
    assert_eq!(model.metadata_array("my.u8").unwrap_err().status(), Status::Kind);
    assert!(model.metadata_value("no such key").is_none());
}

#[test]
fn what_is_printed_can_be_read() {
    let model = map(corpus("gguf/good/kv-all-types-scalars-and-arrays.gguf")).unwrap();
    let entry = model.metadata().find(|entry| entry.key() == "my.str").unwrap();
    assert_eq!(format!("{entry:?}"), "Entry { key: \"my.str\", value: \"h\u{e9}llo\", shard: 0 }");
    let all = format!("{:?}", model.metadata());
    for part in ["\"my.arr_u16\": [65535, 65535, 65535]", "\"my.bool\": true", "\"my.f32\": 1.5"] {
        assert!(all.contains(part), "{part}: {all}");
    }
    let bytes = file();
    let model = Model::from_slice(&bytes).unwrap();
    let printed = format!("{:?}", model.find("layer.0.w").unwrap());
    assert_eq!(printed, "Tensor { name: \"layer.0.w\", dtype: F32, shape: [2, 3], size: 24 }");
}

#[test]
fn names_near_to_one_that_is_not_there_are_suggested() {
    let model = Model::from_bytes(file()).unwrap();
    assert_eq!(model.suggest("layer.0.wq"), ["layer.0.w"]);
    assert_eq!(model.suggest("layer.0.B"), ["layer.0.b"]);
    assert!(model.suggest("something.else.entirely").is_empty());
    assert_eq!(model.suggest_prefix("layers.1."), ["layer.1."]);
    assert_eq!(tare::name_distance("ab", "ba", 5), Some(1));
    assert_eq!(tare::name_distance("a", "A", 0), Some(0));
    assert_eq!(tare::name_distance("", "abc", 3), Some(3));
    assert_eq!(tare::name_distance("", "abc", 2), None);
    let long = "x".repeat(600);
    assert_eq!(tare::name_distance(&long, &long[1..], u32::MAX), None);
}
