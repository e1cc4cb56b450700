//! The trait, and its two implementations.

use tare::{BytesWeightLoader, Dtype, Model, OpenOptions, Status, WeightLoader};

fn pair(name: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), bytes.to_vec())
}

/// A file of "w" and "b", in this order, in the text of its header.
fn file() -> Vec<u8> {
    let header = r#"{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&[1, 2, 3, 4, 5, 6]);
    bytes
}

fn check_w_and_b(weights: &dyn WeightLoader) {
    assert_eq!(weights.tensor_bytes("w"), Some(&[1, 2, 3, 4][..]));
    assert_eq!(weights.tensor_bytes("b"), Some(&[5, 6][..]));
    for absent in ["", "W", "w ", "x", "wb", "w\0"] {
        assert_eq!(weights.tensor_bytes(absent), None, "{absent:?}");
    }
    assert_eq!(weights.names(), ["w", "b"]);
}

#[test]
fn pairs_and_files_and_models_give_the_same_names_and_bytes() {
    let pairs = vec![pair("w", &[1, 2, 3, 4]), pair("b", &[5, 6])];
    check_w_and_b(&Model::from_pairs(&pairs).unwrap());
    check_w_and_b(&BytesWeightLoader::from_pairs(pairs));
    check_w_and_b(&BytesWeightLoader::from_safetensors(file()).unwrap());
    check_w_and_b(&Model::from_bytes(file()).unwrap());
    check_w_and_b(&Model::from_slice(&file()).unwrap());
    let shared: std::sync::Arc<dyn WeightLoader> =
        std::sync::Arc::new(Model::from_bytes(file()).unwrap());
    check_w_and_b(&shared);
    check_w_and_b(&&*shared);
    let boxed: Box<dyn WeightLoader> = Box::new(shared);
    check_w_and_b(&boxed);
    let path = tempfile::NamedTempFile::with_suffix(".safetensors").unwrap();
    std::fs::write(&path, file()).unwrap();
    // SAFETY: nobody writes to the file in place.
    check_w_and_b(&unsafe { Model::open(path.path()) }.unwrap());
}

#[test]
fn no_bytes_differ_from_no_tensor() {
    let weights = BytesWeightLoader::from_pairs(vec![pair("", &[]), pair("empty", &[])]);
    assert_eq!(weights.tensor_bytes("empty"), Some(&[][..]));
    assert_eq!(weights.tensor_bytes(""), Some(&[][..]));
    assert_eq!(weights.tensor_bytes("absent"), None);
    let none = BytesWeightLoader::from_pairs(Vec::new());
    assert_eq!(none.tensor_bytes(""), None);
    assert!(none.names().is_empty());
}

#[test]
fn of_pairs_with_one_name_the_first_is_found_and_all_are_listed() {
    let pairs =
        vec![pair("a", &[1]), pair("b", &[2]), pair("a", &[3, 3]), pair("a", &[]), pair("c", &[4])];
    let weights = BytesWeightLoader::from_pairs(pairs.clone());
    assert_eq!(weights.names(), ["a", "b", "a", "a", "c"]);
    for (name, _) in &pairs {
        let scanned = pairs.iter().find(|(other, _)| other == name).map(|(_, bytes)| &bytes[..]);
        assert_eq!(weights.tensor_bytes(name), scanned);
    }
    let bytes: Vec<_> = weights.model().tensors().map(|tensor| tensor.data().unwrap()).collect();
    assert_eq!(bytes, [&[1][..], &[2], &[3, 3], &[], &[4]]);

    let refused = Model::from_pairs(&pairs).unwrap_err();
    assert_eq!(refused.status(), Status::Duplicate);
    assert!(OpenOptions::new().keep_first(true).keep_first(false).open_pairs(&pairs).is_err());
}

#[test]
fn many_pairs_are_found_as_a_scan_finds_them() {
    let pairs: Vec<_> = (0..10_000usize)
        .map(|i| pair(&format!("layer.{}.{}", i % 977, i % 7), &i.to_le_bytes()))
        .collect();
    let mut first = std::collections::HashMap::new();
    for (name, bytes) in &pairs {
        first.entry(name.clone()).or_insert(bytes);
    }
    let weights = BytesWeightLoader::from_pairs(pairs.clone());
    assert!(first.len() < pairs.len());
    for (name, bytes) in &first {
        assert_eq!(weights.tensor_bytes(name), Some(&bytes[..]));
    }
    assert!(weights.names().iter().eq(pairs.iter().map(|(name, _)| name)));
}

#[test]
fn bytes_of_pairs_are_aligned_and_of_dtype_u8() {
    let pairs = [("a", &[1u8, 2, 3][..]), ("b", &[4])];
    let model = OpenOptions::new().alignment(4096).open_pairs(&pairs).unwrap();
    for tensor in &model {
        assert!(tensor.alignment() >= 4096);
        assert_eq!(tensor.data().unwrap().as_ptr() as usize % 4096, 0);
        assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::U8, &[tensor.size()][..]));
    }
}

#[test]
fn a_damaged_file_is_an_error_and_no_loader() {
    let mut bytes = file();
    bytes.pop();
    let error = BytesWeightLoader::from_safetensors(bytes).unwrap_err();
    assert_eq!(error.status(), Status::Cover);
    let error = BytesWeightLoader::from_safetensors(Vec::new()).unwrap_err();
    assert_eq!((error.status(), error.offset()), (Status::Truncated, Some(0)));
}

#[test]
fn loaders_may_be_shared_between_threads() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Model>();
    is_shared::<BytesWeightLoader>();
    is_shared::<tare::Error>();
    is_shared::<tare::Block>();
    is_shared::<tare::OpenOptions>();
    is_shared::<tare::Tensor<'static>>();
    is_shared::<tare::Key<'static, 'static>>();
    is_shared::<tare::Prefix<'static, 'static>>();
    is_shared::<tare::Value<'static>>();
    is_shared::<tare::SaveTensor<'static>>();
    is_shared::<tare::ModelFile>();
    is_shared::<tare::BorrowedModel<'static>>();
}

/// Names of pairs and GGUF may be any bytes; the trait tells text.
#[test]
fn names_that_are_not_text_are_found_by_their_bytes() {
    let model = Model::from_pairs(&[(&b"a\xff"[..], [1u8])]).unwrap();
    assert_eq!(model.names(), ["a\u{fffd}"]);
    assert_eq!(model.tensor_bytes("a\u{fffd}"), None);
    assert_eq!(model.find(b"a\xff").unwrap().name_bytes(), b"a\xff");
}
