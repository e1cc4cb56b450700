//! Compiles the C library, or finds an installed one (feature `system`).

use std::path::{Path, PathBuf};
use std::{env, fs, process};

fn fail(message: &str) -> ! {
    eprintln!("tare-sys: {message}");
    process::exit(1);
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=TARE_SYS_TARGET={}", env::var("TARGET").expect("cargo sets it"));
    if env::var_os("DOCS_RS").is_some() {
        // Documentation links nothing, and its builders have no xxhash.h.
    } else if env::var_os("CARGO_FEATURE_SYSTEM").is_some() {
        link_installed();
    } else {
        compile();
    }
}

/// A minor version of 0.x may break the interface.
fn link_installed() {
    let version = env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    let next = match version.split('.').collect::<Vec<_>>()[..] {
        ["0", minor, _] => format!("0.{}.0", minor.parse::<u32>().expect("a number") + 1),
        [major, ..] => format!("{}.0.0", major.parse::<u32>().expect("a number") + 1),
        [] => unreachable!("a version has parts"),
    };
    if let Err(error) =
        pkg_config::Config::new().range_version(version.as_str()..next.as_str()).probe("tare")
    {
        fail(&format!("no installed libtare from {version} to before {next}: {error}"));
    }
}

fn compile() {
    let folder = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("c");
    let sources = folder.join("src");
    let include = folder.join("include");
    println!("cargo:rerun-if-changed={}", sources.display());
    println!("cargo:rerun-if-changed={}", include.display());
    println!("cargo:include={}", include.display());

    let mut build = cc::Build::new();
    build.std("c11").include(&include).warnings(false);
    // A debug build of a Rust program is no reason for slow lookups.
    build.opt_level(3);
    add_xxhash(&mut build);
    for file in c_files(&sources) {
        build.file(file);
    }
    build.compile("tare");
}

/// All of the library but the other operating system's half.
fn c_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        fail(&format!(
            "{} is missing: git must check out symbolic links (core.symlinks)",
            folder.display()
        ));
    };
    let is_wasm = env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family.contains("wasm"));
    let other = if is_wasm { "os_posix.c" } else { "os_wasm.c" };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "c") && !path.ends_with(other))
        .collect();
    files.sort();
    files
}

/// XXH3 is compiled in from its header: `TARE_XXHASH_INCLUDE_DIR`, else what pkg-config says, else
/// where the compiler looks by itself.
fn add_xxhash(build: &mut cc::Build) {
    println!("cargo:rerun-if-env-changed=TARE_XXHASH_INCLUDE_DIR");
    if let Some(folder) = env::var_os("TARE_XXHASH_INCLUDE_DIR") {
        build.include(folder);
    } else if let Ok(found) =
        pkg_config::Config::new().cargo_metadata(false).atleast_version("0.8.0").probe("libxxhash")
    {
        build.includes(found.include_paths);
    }
    let probe = Path::new(&env::var_os("OUT_DIR").expect("cargo sets it")).join("xxhash_probe.c");
    fs::write(&probe, "#include <xxhash.h>\n").expect("OUT_DIR can be written");
    if build.clone().file(&probe).cargo_warnings(false).try_expand().is_err() {
        fail(
            "xxhash.h (0.8.0 or newer) is missing. Install libxxhash-dev (Debian, Ubuntu), \
             xxhash-devel (Fedora) or xxhash (Arch, Homebrew), or set TARE_XXHASH_INCLUDE_DIR",
        );
    }
}
