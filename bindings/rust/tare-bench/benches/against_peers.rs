//! Opening, finding and going through models of 323, 5,900 and 91,985 tensors, beside the safetensors
//! crate and a scan of a `Vec`: `cargo bench -p tare-bench`. Ratios out of one run in turn are what
//! `./x bench rust` prints.

use std::path::Path;

use criterion::{criterion_group, criterion_main, BatchSize, BenchmarkId, Criterion, Throughput};
use tare_bench::{c_names, find, find_data, iterate, keep_no_memory, open, Peers, Set, LABELS};

fn bench_open(c: &mut Criterion, set: &Set) {
    let mut group = c.benchmark_group("open");
    group.sample_size(20).throughput(Throughput::Elements(set.names.len() as u64));
    let id = |engine| BenchmarkId::new(engine, set.label);
    // Closing is not timed: batches of one are dropped behind the clock.
    let one = BatchSize::PerIteration;
    group.bench_function(id("tare_file"), |b| {
        b.iter_batched(|| &set.path, |path| open::tare_file(path), one);
    });
    group.bench_function(id("tare_memory"), |b| {
        b.iter_batched(|| &set.map, |map| open::tare_memory(map), one);
    });
    group.bench_function(id("safetensors_file_and_close"), |b| {
        b.iter(|| open::safetensors_file(&set.path, |tensors| assert!(!tensors.is_empty())));
    });
    group.bench_function(id("safetensors_memory"), |b| {
        b.iter_batched(|| &set.map, |map| open::safetensors_memory(map), one);
    });
    group.finish();
}

fn bench_find(c: &mut Criterion, set: &Set, peers: &Peers<'_>) {
    let names: Vec<&str> = set.names.iter().map(String::as_str).collect();
    let c_names = c_names(&names);
    let some = &names[..names.len().min(200)];
    let mut group = c.benchmark_group("find");
    let id = |engine| BenchmarkId::new(engine, set.label);
    group.throughput(Throughput::Elements(names.len() as u64));
    group.bench_function(id("c"), |b| b.iter(|| find::c(&peers.tare, &c_names)));
    group.bench_function(id("tare"), |b| b.iter(|| find::tare(&peers.tare, &names)));
    group.bench_function(id("tare_many"), |b| b.iter(|| find::tare_many(&peers.tare, &names)));
    group.bench_function(id("tare_data"), |b| b.iter(|| find_data::tare(&*peers.tare, &names)));
    group.bench_function(id("safetensors_data"), |b| {
        b.iter(|| find_data::safetensors(&peers.tensors, &names));
    });
    group.throughput(Throughput::Elements(some.len() as u64)).sample_size(10);
    group.bench_function(id("scan_data"), |b| {
        b.iter(|| find_data::scan(&peers.list, peers.bytes, some));
    });
    group.finish();
}

fn bench_iterate(c: &mut Criterion, set: &Set, peers: &Peers<'_>) {
    let mut group = c.benchmark_group("iterate");
    let id = |engine| BenchmarkId::new(engine, set.label);
    group.throughput(Throughput::Elements(set.names.len() as u64));
    group.bench_function(id("c"), |b| b.iter(|| iterate::c(&peers.tare)));
    group.bench_function(id("tare"), |b| b.iter(|| iterate::tare(&peers.tare)));
    group.bench_function(id("safetensors"), |b| b.iter(|| iterate::safetensors(&peers.tensors)));
    group.bench_function(id("scan"), |b| b.iter(|| iterate::scan(&peers.list)));
    group.finish();
}

fn bench_all(c: &mut Criterion) {
    keep_no_memory();
    for label in LABELS {
        let set = Set::make(label, Path::new(env!("CARGO_TARGET_TMPDIR")));
        bench_open(c, &set);
        let peers = Peers::open(&set);
        bench_find(c, &set, &peers);
        bench_iterate(c, &set, &peers);
    }
}

criterion_group!(benches, bench_all);
criterion_main!(benches);
