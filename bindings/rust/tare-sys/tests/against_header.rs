//! What this crate declares is what tare.h declares: a C program, made from the text of the header
//! and compiled here, tells sizes, offsets and values, and the compiler compares the functions.

use std::collections::BTreeMap;
use std::mem::{align_of, offset_of, size_of};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, str};

use tare_sys::*;

type Facts = BTreeMap<String, String>;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("/*") {
        out.push_str(before);
        rest = behind.split_once("*/").expect("a comment ends").1;
    }
    out + rest
}

fn words(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The name that a member of a struct declares: `x` of `char x[8]`, `f` of `int (*f)(void *)`.
fn member_name(declaration: &str) -> &str {
    match declaration.split_once("(*") {
        Some((_, behind)) => words(behind).next(),
        None => words(declaration.split('[').next().expect("split gives one")).next_back(),
    }
    .expect("a member has a name")
}

/// Each struct of the header that is no opaque one, with its members.
fn structs(header: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found = Vec::new();
    for part in header.split("typedef struct ").skip(1) {
        let (head, behind) = part.split_once(['{', ';']).expect("a struct goes on");
        if part.as_bytes()[head.len()] == b'{' {
            let body = behind.split_once('}').expect("a struct ends").0;
            let members = body.split(';').map(str::trim).filter(|text| !text.is_empty());
            found.push((head.trim(), members.map(member_name).collect()));
        }
    }
    found
}

/// `#define TARE_NAME 1u`: the names.
fn numbers(header: &str) -> Vec<&str> {
    let lines = header.lines().filter_map(|line| line.strip_prefix("#define TARE_"));
    lines
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, value)| value.starts_with("UINT") || value.starts_with(char::is_numeric))
        .map(|(name, _)| name)
        .collect()
}

fn probe_text(header: &str) -> String {
    let mut text = String::from(
        "#include <stdio.h>\n#include <tare.h>\n\
         #define VALUE(name, value) printf(\"%s = %lld\\n\", name, (long long)(value));\n\
         #define STATUS(name, value, text) VALUE(\"TARE_\" #name, TARE_##name)\n\
         #define DTYPE(name, value, bits) VALUE(\"TARE_DTYPE_\" #name, TARE_DTYPE_##name)\n\
         #define BLOCK(name, value, count, size) DTYPE(name, value, 0)\n\
         #define KIND(name, value, text) VALUE(\"TARE_KIND_\" #name, TARE_KIND_##name)\n",
    );
    for prototype in prototypes(&read("src/functions.rs")) {
        text += &format!("{prototype};\n");
    }
    text += "int main(void)\n{\n\
             TARE_STATUS_LIST(STATUS) TARE_DTYPE_LIST(DTYPE) TARE_DTYPE_BLOCK_LIST(BLOCK)\n\
             TARE_KIND_LIST(KIND)\n";
    for name in numbers(header) {
        text += &format!("VALUE(\"TARE_{name}\", TARE_{name})\n");
    }
    for (name, members) in structs(header) {
        text += &format!(
            "printf(\"{name} = size %zu, alignment %zu\\n\", sizeof({name}), _Alignof({name}));\n"
        );
        for member in members {
            text += &format!(
                "printf(\"{name}.{member} = offset %zu, size %zu\\n\", offsetof({name}, {member}), \
                 sizeof((({name} *)0)->{member}));\n"
            );
        }
    }
    text + "return 0;\n}\n"
}

/// The functions of functions.rs as C has them. Declared after the header, those that differ from
/// it are errors.
fn prototypes(rust: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in rust.split("pub fn ").skip(1) {
        let (name, behind) = part.split_once('(').expect("a function has arguments");
        let (arguments, behind) = behind.split_once(')').expect("arguments end");
        let result = behind.split(';').next().expect("split gives one").trim();
        let result = result.strip_prefix("->").map_or("void".to_owned(), c_type);
        let arguments: Vec<String> = arguments
            .split(',')
            .filter_map(|argument| argument.split_once(':'))
            .map(|(_, rust_type)| c_type(rust_type))
            .collect();
        let arguments = if arguments.is_empty() { "void".to_owned() } else { arguments.join(", ") };
        found.push(format!("{result} {name}({arguments})"));
    }
    found
}

/// `*const *mut c_void` -> `void *const *`
fn c_type(rust: &str) -> String {
    let rust = rust.trim();
    if let Some(to) = rust.strip_prefix("*const ") {
        return format!("{} const *", c_type(to));
    }
    if let Some(to) = rust.strip_prefix("*mut ") {
        return format!("{} *", c_type(to));
    }
    match rust {
        "usize" => "size_t",
        "u64" => "uint64_t",
        "i64" => "int64_t",
        "u32" => "uint32_t",
        "i32" => "int32_t",
        "f64" => "double",
        other => other.strip_prefix("c_").unwrap_or(other),
    }
    .to_owned()
}

/// A folder for the program that is this test's own.
fn work_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("against_header");
    fs::create_dir_all(&folder).expect("the folder of tests can be written");
    folder
}

/// What the C compiler says about the header.
fn facts_of_c(header: &str) -> Facts {
    let folder = work_folder();
    let source = folder.join("probe.c");
    let program = folder.join("probe");
    fs::write(&source, probe_text(header)).expect("the folder can be written");
    let compiler = cc::Build::new()
        .target(env!("TARE_SYS_TARGET"))
        .host(env!("TARE_SYS_TARGET"))
        .opt_level(0)
        .cargo_metadata(false)
        .get_compiler();
    let compiled = compiler
        .to_command()
        .args(["-std=c11", "-fsyntax-only", "-Werror", "-I"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("c/include"))
        .arg(&source)
        .status();
    assert!(compiled.expect("the compiler runs").success(), "functions.rs differs from tare.h");
    let compiled = compiler
        .to_command()
        .args(["-std=c11", "-I"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("c/include"))
        .args([source.as_os_str(), "-o".as_ref(), program.as_os_str()])
        .status();
    assert!(compiled.expect("the compiler runs").success());
    let output = Command::new(&program).output().expect("the program runs");
    assert!(output.status.success());
    let text = str::from_utf8(&output.stdout).expect("it prints ASCII");
    let lines = text.lines().map(|line| line.split_once(" = ").expect("it prints facts"));
    lines.map(|(name, fact)| (name.to_owned(), fact.to_owned())).collect()
}

fn size_of_member<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! layouts {
    ($facts:ident: $($name:ident { $($member:ident),* })*) => {$(
        let fact = format!("size {}, alignment {}", size_of::<$name>(), align_of::<$name>());
        $facts.insert(stringify!($name).to_owned(), fact);
        $(
            let size = size_of_member(|value: &$name| &value.$member);
            let fact = format!("offset {}, size {size}", offset_of!($name, $member));
            $facts.insert(format!("{}.{}", stringify!($name), stringify!($member)), fact);
        )*
    )*};
}

/// The same facts of this crate: layouts from the compiler, values from the text of constants.rs.
fn facts_of_rust() -> Facts {
    let mut facts = Facts::new();
    layouts! { facts:
        tare_error { status, system_error, shard, reserved, offset, message }
        tare_string { data, size }
        tare_info { name, name_size, shape, rank, dtype, size, offset, shard, reserved, later }
        tare_file { name, bytes, size, reader, later }
        tare_pair { name, name_size, data, size }
        tare_reader { struct_size, context, read_at, total_size }
        tare_allocator { struct_size, context, allocate, release }
        tare_options {
            struct_size, backing, flags, alignment, seed, header_size_max, allocator, index,
            index_check, index_path, index_bytes, index_size, tensor_count_max, rank_max,
            name_size_max, metadata_size_max
        }
        tare_key { name, name_size, hash }
        tare_range { prefix, prefix_size, at, end }
        tare_digest { low, high }
        tare_load_options {
            struct_size, io, flags, alignment, threads, reserved, chunk_size, flight_size_max,
            progress, progress_context, digests, allocator, device, slices,
            target_sizes
        }
        tare_slice { start, stop }
        tare_device_options { struct_size, staging_size_max, allocator }
        tare_device_info { kind, number, label, name, staging_size, later }
        tare_value { kind, item_kind, count, data, size }
        tare_save_tensor { name, name_size, shape, rank, dtype, data, size, model, tensor, later }
        tare_save_metadata { key, value }
        tare_save_options {
            struct_size, flags, reserved, alignment, metadata, metadata_count, progress,
            progress_context, allocator
        }
        tare_index_options { struct_size, flags, reserved, allocator }
        tare_shard_info { name, size, data_offset, backing, format, later }
        tare_stat {
            struct_size, memory_size, record_size, name_size, shape_size, index_size,
            index_reseeds, index_sorted, probe_max, reserved, index_file_size
        }
    }
    for line in read("src/constants.rs").lines() {
        let Some(constant) = line.strip_prefix("pub const ") else { continue };
        let (name, value) = constant.trim_end_matches(';').split_once(": ").expect("it has a type");
        let value = match value.split_once(" = ").expect("it has a value").1 {
            "u32::MAX" => i64::from(u32::MAX),
            "u64::MAX" => -1, // what the C program prints for it
            number => number.parse().expect("a number"),
        };
        facts.insert(name.to_owned(), value.to_string());
    }
    facts
}

#[test]
fn layouts_values_and_functions_are_those_of_the_header() {
    let header = without_comments(&read("c/include/tare.h"));
    let c = facts_of_c(&header);
    assert!(c.len() > 200, "only {} facts were found in tare.h", c.len());
    let rust = facts_of_rust();
    for (name, fact) in &c {
        assert_eq!(rust.get(name), Some(fact), "{name}: tare.h has the second");
    }
    for name in rust.keys() {
        assert!(c.contains_key(name), "tare.h has no {name}");
    }
}

#[test]
fn every_exported_function_is_declared_and_no_other() {
    let header = without_comments(&read("c/include/tare.h"));
    // What other packages do not have: the list that the C library's own tests check.
    let listed = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/symbols.txt"),
    );
    let mut exported: Vec<&str> = match &listed {
        Ok(text) => text.lines().collect(),
        Err(_) => header
            .split("TARE_API ")
            .skip(1)
            .filter_map(|part| words(part.split('(').next()?).next_back())
            .filter(|name| name.starts_with("tare_"))
            .collect(),
    };
    exported.sort_unstable();
    let rust = read("src/functions.rs");
    let mut declared: Vec<&str> =
        rust.split("pub fn ").skip(1).filter_map(|part| part.split('(').next()).collect();
    declared.sort_unstable();
    assert_eq!(declared, exported);
}

#[test]
fn initial_options_are_those_of_the_header() {
    // TARE_OPTIONS_INIT and the others: the size, then zeros.
    fn is_size_and_zeros<T>(value: &T) -> bool {
        // SAFETY: these structs are integers and pointers without padding, as the sizes of their
        // members add up to that of the whole (checked by the caller).
        let bytes = unsafe {
            std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>())
        };
        let (size, rest) = bytes.split_at(size_of::<usize>());
        size == size_of::<T>().to_ne_bytes() && rest.iter().all(|&byte| byte == 0)
    }
    let facts = facts_of_rust();
    for name in [
        "tare_options",
        "tare_load_options",
        "tare_save_options",
        "tare_device_options",
        "tare_index_options",
    ] {
        let prefix = format!("{name}.");
        let members = facts.iter().filter(|(key, _)| key.starts_with(&prefix));
        let sizes = members.map(|(_, fact)| fact.rsplit_once(' ').expect("a size").1);
        let sum: usize = sizes.map(|size| size.parse::<usize>().expect("a number")).sum();
        assert!(facts[name].starts_with(&format!("size {sum},")), "{name} has padding");
    }
    assert!(is_size_and_zeros(&TARE_OPTIONS_INIT));
    assert!(is_size_and_zeros(&TARE_LOAD_OPTIONS_INIT));
    assert!(is_size_and_zeros(&TARE_SAVE_OPTIONS_INIT));
    assert!(is_size_and_zeros(&TARE_DEVICE_OPTIONS_INIT));
    assert!(is_size_and_zeros(&TARE_INDEX_OPTIONS_INIT));
}

#[test]
fn the_library_that_is_linked_has_the_version_of_the_header() {
    // SAFETY: it returns a terminated string that lives forever.
    let version = unsafe { std::ffi::CStr::from_ptr(tare_version()) };
    let expected = format!("{TARE_VERSION_MAJOR}.{TARE_VERSION_MINOR}.{TARE_VERSION_PATCH}");
    assert_eq!(version.to_str(), Ok(expected.as_str()));
    assert_eq!(env!("CARGO_PKG_VERSION"), expected, "the crate has the library's version");
}
