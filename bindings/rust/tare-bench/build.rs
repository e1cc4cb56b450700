//! Compiles the loops in C, and what makes models of published names (bench/model_*.c).

use std::path::Path;

fn main() {
    let models = Path::new("../../../bench");
    let include = Path::new("../../../include");
    let mut build = cc::Build::new();
    build.std("gnu11").include(models).include(include).opt_level(3);
    build.file("src/c_loops.c");
    println!("cargo:rerun-if-changed=src/c_loops.c");
    for name in ["model_names.c", "model_names_list.c", "model_file.c"] {
        let file = models.join(name);
        println!("cargo:rerun-if-changed={}", file.display());
        build.file(file);
    }
    build.compile("tare_bench_c");
}
