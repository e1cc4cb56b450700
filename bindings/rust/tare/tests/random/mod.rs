//! Random tensors, and a file of them as the safetensors crate writes it.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use safetensors::tensor::TensorView;

/// Bits of an element.
const DTYPES: [(&str, usize); 22] = [
    ("BOOL", 8),
    ("F4", 4),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("U8", 8),
    ("I8", 8),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("I16", 16),
    ("U16", 16),
    ("F16", 16),
    ("BF16", 16),
    ("I32", 32),
    ("U32", 32),
    ("F32", 32),
    ("C64", 64),
    ("F64", 64),
    ("I64", 64),
    ("U64", 64),
];

pub fn cases(count: u32) -> ProptestConfig {
    // PROPTEST_CASES asks for more.
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(count),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[derive(Clone, Debug)]
pub struct Drawn {
    pub dtype: (&'static str, usize),
    pub shape: Vec<u64>,
}

impl Drawn {
    pub fn size(&self) -> usize {
        self.shape.iter().map(|&dimension| dimension as usize).product::<usize>() * self.dtype.1 / 8
    }
}

pub fn drawn() -> impl Strategy<Value = Drawn> {
    (select(&DTYPES[..]), vec(0u64..5, 0..4)).prop_map(|(dtype, mut shape)| {
        if dtype.1 % 8 != 0 {
            shape.push(4); // tensors end at the end of a byte
        }
        Drawn { dtype, shape }
    })
}

pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab.01]{0,4}",
        "layers\\.[0-9]{1,3}\\.weight",
        "[\u{e9}\n\"\\\\/\0\u{1F600} ]{0,6}",
        ".{0,8}"
    ]
}

pub fn tensors() -> impl Strategy<Value = BTreeMap<String, Drawn>> {
    btree_map(text().prop_filter("a reserved name", |name| name != "__metadata__"), drawn(), 0..8)
}

pub fn data_of(size: usize, seed: u8) -> Vec<u8> {
    (0..size).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

/// The file that the crate writes of these tensors.
pub fn serialize(
    tensors: &BTreeMap<String, Drawn>,
    data: &[Vec<u8>],
    metadata: &BTreeMap<String, String>,
) -> Vec<u8> {
    let views = tensors.iter().zip(data).map(|((name, tensor), data)| {
        let dtype = serde_json::from_str(&format!("{:?}", tensor.dtype.0)).unwrap();
        let shape = tensor.shape.iter().map(|&dimension| dimension as usize).collect();
        (name, TensorView::new(dtype, shape, data).unwrap())
    });
    let info = metadata.clone().into_iter().collect();
    safetensors::serialize(views, (!metadata.is_empty()).then_some(info)).unwrap()
}
