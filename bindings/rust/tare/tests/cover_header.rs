//! Whatever tare.h has, this crate uses, or says here why not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Functions that have no wrapper.
const FUNCTIONS: [(&str, &str); 2] = [
    ("tare_data", "Tensor::data asks tare_data_at for as many bytes as the slice has"),
    ("tare_metadata_find", "Model::metadata_value gives the same, whatever its kind"),
];

/// Constants that stand for nothing here.
const CONSTANTS: [(&str, &str); 4] = [
    ("TARE_COPY_ON_WRITE", "bytes of a Model are shared; those of a Block may be written to"),
    ("TARE_VERSION_MAJOR", "version() is that of the library that runs"),
    ("TARE_VERSION_MINOR", "the same"),
    ("TARE_VERSION_PATCH", "the same"),
];

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// All names of the library in this crate's code, comments apart.
fn used() -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for entry in fs::read_dir(folder("src")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines() {
            let code = line.split("//").next().unwrap();
            let found = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            words.extend(found.filter(|word| word.starts_with("tare_")).map(str::to_owned));
            let found = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            words.extend(found.filter(|word| word.starts_with("TARE_")).map(str::to_owned));
        }
    }
    words
}

fn check<'a>(names: impl Iterator<Item = &'a str>, excused: &[(&str, &str)], least: usize) {
    let (used, mut seen) = (used(), BTreeSet::new());
    for name in names {
        let is_excused = excused.iter().any(|(other, _)| *other == name);
        assert_ne!(used.contains(name), is_excused, "{name}: used here, or named with a reason");
        seen.insert(name);
    }
    assert!(seen.len() >= least, "{} names are not what tare.h has", seen.len());
    for (name, reason) in excused {
        assert!(seen.contains(name) && !reason.is_empty(), "{name} is not in tare.h");
    }
}

#[test]
fn every_function_is_used_or_named_with_a_reason() {
    let symbols = fs::read_to_string(folder("../../../tests/symbols.txt")).unwrap();
    check(symbols.lines(), &FUNCTIONS, 70);
}

/// What tare-sys declares is what tare.h has: its own tests compare them.
#[test]
fn every_constant_is_used_or_named_with_a_reason() {
    let text = fs::read_to_string(folder("../tare-sys/src/constants.rs")).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    check(names, &CONSTANTS, 100);
}

/// The fields of options: each is set somewhere, or is one of these.
#[test]
fn every_option_is_set_or_named_with_a_reason() {
    const NOT_SET: [(&str, &str); 3] = [
        ("struct_size", "set by TARE_*_OPTIONS_INIT"),
        ("reserved", "must be 0"),
        ("allocator", "the allocator of a Rust program is global"),
    ];
    let types = fs::read_to_string(folder("../tare-sys/src/types.rs")).unwrap();
    let mut code = String::new();
    for entry in fs::read_dir(folder("src")).unwrap() {
        code += &fs::read_to_string(entry.unwrap().path()).unwrap();
    }
    let mut count = 0;
    for part in types.split("pub struct tare_").skip(1) {
        let Some((name, behind)) = part.split_once(" {\n") else { continue };
        if !name.ends_with("options") {
            continue;
        }
        let body = behind.split_once("\n}").unwrap().0;
        let fields =
            body.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next());
        for field in fields.filter(|field| NOT_SET.iter().all(|(other, _)| other != field)) {
            // `raw.field = ...` or, in an initializer, `field,` or `field: ...`.
            let is_set = ["raw.{} =", "{ {},", "{ {}:", "            {}: self.{},"]
                .iter()
                .any(|form| code.contains(&form.replace("{}", field)));
            assert!(is_set, "tare_{name}.{field} is never set");
            count += 1;
        }
    }
    assert!(count >= 25, "{count} fields are not all options");
}
