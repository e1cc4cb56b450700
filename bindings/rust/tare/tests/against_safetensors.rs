//! Random models, good and damaged, get the same verdict here and from the safetensors crate, and
//! good ones the same names, dtypes, shapes, bytes and metadata. Where the two are known to differ
//! (docs/format_safetensors.md) a difference must be one of those.

mod random;

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{select, Index};
use random::{cases, data_of, serialize, tensors, text, Drawn};
use safetensors::SafeTensors;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use tare::{save, save_to_vec, Model, SaveOptions, SaveTensor, Status, WeightLoader};

/// What damage puts into a header.
const TOKENS: [&str; 37] = [
    "",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0041",
    "\\ud800",
    "\\ud83e\\udd99",
    "0",
    "1",
    "-1",
    "-0",
    "01",
    "1.0",
    "18446744073709551615",
    "18446744073709551616",
    "null",
    "true",
    "NaN",
    "\"U8\"",
    "\"F4\"",
    "\"dtype\"",
    "\"shape\"",
    "\"data_offsets\"",
    "\"__metadata__\"",
    "\"a\"",
    "\"x\":1,",
    " ",
    "\n",
    "\0",
    "\u{1f}",
    "\u{e9}",
    "[]",
];

/// How a header is written: which of the ways, by numbers that are drawn.
#[derive(Clone, Debug)]
struct Style(Vec<u8>, usize);

impl Style {
    fn next(&mut self, ways: u8) -> u8 {
        self.1 += 1;
        self.0[self.1 % self.0.len()] % ways
    }

    fn space(&mut self) -> &'static str {
        ["", "", "", " ", "\n\t\r "][usize::from(self.next(5))]
    }

    /// A JSON string in one of the ways to write it.
    fn quoted(&mut self, text: &str) -> String {
        if self.next(3) > 0 {
            return serde_json::to_string(text).unwrap();
        }
        let escape = |unit: u16| format!("\\u{unit:04x}");
        format!("\"{}\"", text.encode_utf16().map(escape).collect::<String>())
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        if self.next(3) == 0 {
            for i in (1..items.len()).rev() {
                let other = usize::from(self.next(i as u8 + 1));
                items.swap(i, other);
            }
        }
    }
}

/// The text of a header, and the size of the data that it wants.
fn write(
    style: &mut Style,
    tensors: &BTreeMap<String, Drawn>,
    metadata: &BTreeMap<String, String>,
) -> (String, usize) {
    let mut members = Vec::new();
    let mut offset = 0;
    for (name, tensor) in tensors {
        let end = offset + tensor.size();
        let shape: Vec<_> = tensor
            .shape
            .iter()
            .map(|dimension| format!("{}{dimension}{}", style.space(), style.space()))
            .collect();
        let mut fields = vec![
            format!("\"dtype\":{}{}", style.space(), style.quoted(tensor.dtype.0)),
            format!("{}\"shape\"{}:[{}]", style.space(), style.space(), shape.join(",")),
            format!("\"data_offsets\":[{offset},{}{end}{}]", style.space(), style.space()),
        ];
        if style.next(5) == 0 {
            fields.push("\"extra\":[1,{\"a\":null},-2.5]".to_owned());
        }
        style.shuffle(&mut fields);
        let name = style.quoted(name);
        members.push(format!("{name}{}:{{{}}}", style.space(), fields.join(",")));
        offset = end;
    }
    if !metadata.is_empty() {
        let pairs: Vec<_> = metadata
            .iter()
            .map(|(key, value)| format!("{}:{}", style.quoted(key), style.quoted(value)))
            .collect();
        members.push(format!("\"__metadata__\":{{{}}}", pairs.join(",")));
    }
    style.shuffle(&mut members);
    let separator = format!(",{}", style.space());
    let text = format!("{}{{{}}}{}", style.space(), members.join(&separator), style.space());
    (text, offset)
}

fn file(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header, data].concat()
}

/// All that both tell of a file they accept.
#[derive(Debug, PartialEq)]
struct Facts {
    tensors: BTreeMap<String, (String, Vec<u64>, Vec<u8>)>,
    metadata: BTreeMap<String, String>,
}

fn our_facts(model: &Model) -> Facts {
    let facts = Facts {
        tensors: model
            .tensors()
            .map(|tensor| {
                let bytes = tensor.data().unwrap().to_vec();
                let facts = (tensor.dtype().to_string(), tensor.shape().to_vec(), bytes);
                (tensor.name().into_owned(), facts)
            })
            .collect(),
        metadata: model
            .metadata()
            .map(|entry| (entry.key().into_owned(), entry.value.as_str().unwrap().into_owned()))
            .collect(),
    };
    assert_eq!(facts.tensors.len(), model.count());
    for (name, (_, _, bytes)) in &facts.tensors {
        assert_eq!(model.tensor_bytes(name), Some(&bytes[..]));
    }
    facts
}

fn their_facts(bytes: &[u8]) -> Result<Facts, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    Ok(Facts {
        tensors: tensors
            .iter()
            .map(|(name, view)| {
                let shape = view.shape().iter().map(|&dimension| dimension as u64).collect();
                (name.to_owned(), (view.dtype().to_string(), shape, view.data().to_vec()))
            })
            .collect(),
        metadata: metadata.metadata().clone().unwrap_or_default().into_iter().collect(),
    })
}

/// Whether some object of a JSON text names a member twice.
struct Repeats(bool);

impl<'de> Deserialize<'de> for Repeats {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Looker;
        impl<'de> Visitor<'de> for Looker {
            type Value = Repeats;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Repeats, A::Error> {
                let (mut names, mut found) = (HashSet::new(), false);
                while let Some((name, Repeats(below))) = map.next_entry::<String, Repeats>()? {
                    found |= below | !names.insert(name);
                }
                Ok(Repeats(found))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Repeats, A::Error> {
                let mut found = false;
                while let Some(Repeats(below)) = list.next_element()? {
                    found |= below;
                }
                Ok(Repeats(found))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Repeats, E> {
                Ok(Repeats(false))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Repeats, E> {
                Ok(Repeats(false))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Repeats, E> {
                Ok(Repeats(false))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Repeats, E> {
                Ok(Repeats(false))
            }

            fn visit_str<E>(self, _: &str) -> Result<Repeats, E> {
                Ok(Repeats(false))
            }

            fn visit_unit<E>(self) -> Result<Repeats, E> {
                Ok(Repeats(false))
            }
        }
        deserializer.deserialize_any(Looker)
    }
}

/// A file that the crate accepts and tare does not, for a reason that is written down.
fn is_known(bytes: &[u8], status: Status) -> bool {
    let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = &bytes[8..8 + size];
    let value: serde_json::Value = serde_json::from_slice(header).unwrap();
    let mut members = value.as_object().unwrap().values();
    match status {
        Status::Field => members.any(|member| member.is_array()),
        Status::Dtype => members.any(|member| member.get("dtype").is_some_and(|it| it.is_object())),
        Status::Duplicate | Status::Layout | Status::Cover => {
            serde_json::from_slice::<Repeats>(header).unwrap().0
        }
        _ => false,
    }
}

/// Both look at a file; true if it is accepted.
fn compare(bytes: &[u8]) -> Result<bool, TestCaseError> {
    match (Model::from_slice(bytes), their_facts(bytes)) {
        (Ok(model), Ok(theirs)) => {
            prop_assert_eq!(our_facts(&model), theirs);
            Ok(true)
        }
        (Err(_), Err(_)) => Ok(false),
        (Err(error), Ok(_)) => {
            prop_assert!(is_known(bytes, error.status()), "accepted there: {error:?}");
            Ok(false)
        }
        // A number beyond doubles in a member that nobody reads.
        (Ok(_), Err(why)) => {
            prop_assert!(why.contains("number out of range"), "refused there: {why}");
            Ok(true)
        }
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn what_the_crate_writes_is_read_and_written_the_same(
        tensors in tensors(),
        metadata in btree_map("[a-z]{1,5}", text(), 0..2),
        seed in any::<u8>(),
    ) {
        let data: Vec<_> = tensors.values().map(|tensor| data_of(tensor.size(), seed)).collect();
        let theirs = serialize(&tensors, &data, &metadata);
        prop_assert!(compare(&theirs)?);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        let list: Vec<_> = tensors
            .iter()
            .zip(&data)
            .map(|((name, tensor), data)| {
                SaveTensor::new(name, tensor.dtype.0.parse().unwrap(), &tensor.shape, data)
            })
            .collect();
        let options = || metadata
            .iter()
            .fold(SaveOptions::new(), |options, (key, value)| options.metadata(key, value));
        save(&path, &list, options()).unwrap();
        prop_assert_eq!(&save_to_vec(&list, options()).unwrap(), &theirs);
        prop_assert_eq!(std::fs::read(&path).unwrap(), theirs);
    }

    #[test]
    fn headers_written_in_any_way_are_read_the_same(
        tensors in tensors(),
        metadata in btree_map(text(), text(), 0..3),
        style in vec(any::<u8>(), 64),
        seed in any::<u8>(),
    ) {
        let (header, size) = write(&mut Style(style, 0), &tensors, &metadata);
        prop_assert!(compare(&file(header.as_bytes(), &data_of(size, seed)))?, "{header}");
    }
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn damaged_headers_get_the_same_verdict(
        tensors in tensors(),
        metadata in btree_map(text(), text(), 0..3),
        style in vec(any::<u8>(), 64),
        damage in vec((any::<Index>(), 0usize..6, select(&TOKENS[..])), 1..4),
    ) {
        let (header, size) = write(&mut Style(style, 0), &tensors, &metadata);
        let mut header = header.into_bytes();
        for (at, cut, token) in damage {
            let at = at.index(header.len() + 1);
            let end = header.len().min(at + cut);
            header.splice(at..end, token.bytes());
        }
        compare(&file(&header, &data_of(size, 0)))?;
    }

    #[test]
    fn damaged_bytes_and_sizes_get_the_same_verdict(
        tensors in tensors(),
        style in vec(any::<u8>(), 64),
        changes in vec((any::<Index>(), any::<u8>()), 0..3),
        size in prop_oneof![Just(None), any::<Index>().prop_map(Some)],
        more in 0usize..2,
    ) {
        let (header, data_size) = write(&mut Style(style, 0), &tensors, &BTreeMap::new());
        let mut bytes = file(header.as_bytes(), &data_of(data_size, 1));
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(size) = size {
            bytes.truncate(size.index(bytes.len() + 1));
        }
        bytes.resize(bytes.len() + more, 0);
        compare(&bytes)?;
    }
}
