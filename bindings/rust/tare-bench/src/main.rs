//! Times the crate beside C, the safetensors crate and a scan of a `Vec`, in one process and in turn,
//! and prints ratios. `./x bench rust [--quick] [--save]`.

mod machine;
mod report;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tare_bench::{c_names, find, find_data, iterate, keep_no_memory, open, shuffle, Peers, Set};

/// Nanoseconds an item of one engine, each round's.
pub struct Series {
    set: &'static str,
    pattern: &'static str,
    engine: &'static str,
    times: Vec<f64>,
}

impl Series {
    fn median(&self) -> f64 {
        median(&self.times)
    }
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

/// One engine: a name, and what times one pass in nanoseconds an item.
type Engine<'a> = (&'static str, Box<dyn FnMut() -> f64 + 'a>);

/// Lets each engine make a pass in turn, in another order each round; the first round is not kept.
fn alternate(
    set: &'static str,
    pattern: &'static str,
    rounds: usize,
    mut engines: Vec<Engine<'_>>,
    found: &mut Vec<Series>,
) {
    let mut times = vec![Vec::new(); engines.len()];
    let mut order: Vec<usize> = (0..engines.len()).collect();
    for round in 0..=rounds {
        shuffle(&mut order, round as u64);
        for &number in &order {
            let time = engines[number].1();
            if round > 0 {
                times[number].push(time);
            }
        }
    }
    for ((engine, _), times) in engines.iter().zip(times) {
        found.push(Series { set, pattern, engine, times });
    }
}

/// Times one pass over `count` items, behind an untimed one: other engines had the caches before.
fn pass<'a>(name: &'static str, count: usize, mut run: impl FnMut() -> usize + 'a) -> Engine<'a> {
    let timed = move || {
        black_box(run());
        let start = Instant::now();
        black_box(run());
        start.elapsed().as_nanos() as f64 / count as f64
    };
    (name, Box::new(timed))
}

fn time_opening(set: &Set, rounds: usize, found: &mut Vec<Series>) {
    let count = set.names.len() as f64;
    // Closing is not timed.
    fn timed<T>(make: impl FnOnce() -> T) -> f64 {
        let start = Instant::now();
        let made = black_box(make());
        let time = start.elapsed();
        drop(made);
        time.as_nanos() as f64
    }
    let file: Vec<Engine<'_>> = vec![
        ("tare", Box::new(|| timed(|| open::tare_file(&set.path)) / count)),
        (
            "safetensors",
            Box::new(|| {
                let start = Instant::now();
                let mut time = 0.0;
                open::safetensors_file(&set.path, |tensors| {
                    black_box(tensors);
                    time = start.elapsed().as_nanos() as f64;
                });
                time / count
            }),
        ),
    ];
    alternate(set.label, "open_file", rounds, file, found);
    let memory: Vec<Engine<'_>> = vec![
        ("tare", Box::new(|| timed(|| open::tare_memory(&set.map)) / count)),
        ("safetensors", Box::new(|| timed(|| open::safetensors_memory(&set.map)) / count)),
    ];
    alternate(set.label, "open_memory", rounds, memory, found);
}

fn time_finding(set: &Set, peers: &Peers<'_>, rounds: usize, found: &mut Vec<Series>) {
    // Small sets in several orders, so that a pass takes long enough and no order is learned. Names
    // are copies, packed in the order they are asked for.
    let mut names: Vec<&str> = Vec::new();
    let mut order: Vec<&str> = set.names.iter().map(String::as_str).collect();
    while names.len() < 50_000 {
        shuffle(&mut order, names.len() as u64 + 2);
        names.extend(&order);
    }
    let text = names.concat();
    let mut rest = &text[..];
    for name in &mut names {
        let (this, behind) = rest.split_at(name.len());
        (*name, rest) = (this, behind);
    }
    let c = c_names(&names);
    let (model, count) = (&peers.tare, names.len());
    let engines = vec![
        pass("c", count, || find::c(model, &c)),
        pass("tare", count, || find::tare(model, &names)),
        pass("tare_many", count, || find::tare_many(model, &names)),
    ];
    alternate(set.label, "find", rounds, engines, found);

    let some = &names[..count.min(40_000_000 / set.names.len())];
    let engines = vec![
        pass("c", count, || find_data::c(model, &c)),
        pass("tare", count, || find_data::tare(&**model, &names)),
        pass("safetensors", count, || find_data::safetensors(&peers.tensors, &names)),
        pass("vec_scan", some.len(), || find_data::scan(&peers.list, peers.bytes, some)),
    ];
    alternate(set.label, "find_data", rounds, engines, found);
}

fn time_walking(set: &Set, peers: &Peers<'_>, rounds: usize, found: &mut Vec<Series>) {
    let times = 1 + 50_000 / set.names.len();
    let count = times * set.names.len();
    let model = &peers.tare;
    let engines = vec![
        pass("c", count, || (0..times).map(|_| iterate::c(model)).sum()),
        pass("tare", count, || (0..times).map(|_| iterate::tare(model)).sum()),
        pass("safetensors", count, || {
            (0..times).map(|_| iterate::safetensors(&peers.tensors)).sum()
        }),
        pass("vec_scan", count, || (0..times).map(|_| iterate::scan(&peers.list)).sum()),
    ];
    alternate(set.label, "iterate", rounds, engines, found);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if let Some(wrong) = arguments.iter().find(|it| *it != "--quick" && *it != "--save") {
        eprintln!("tare-bench: {wrong}? The options are --quick and --save");
        std::process::exit(2);
    }
    let rounds = if has("--quick") { 5 } else { 31 };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let folder: PathBuf = root.join("build/bench-data/rust");
    keep_no_memory();
    let machine = machine::Machine::look(&root);
    let mut found = Vec::new();
    for label in tare_bench::LABELS {
        eprintln!("tare-bench: set {label} ...");
        let set = Set::make(label, &folder);
        time_opening(&set, rounds, &mut found);
        let peers = Peers::open(&set);
        time_finding(&set, &peers, rounds, &mut found);
        time_walking(&set, &peers, rounds, &mut found);
    }
    let table = report::table(&found);
    println!("{table}");
    if has("--save") && !has("--quick") {
        report::save(&root, &machine, &found, &table);
    }
}
