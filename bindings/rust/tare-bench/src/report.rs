//! The table of ratios, the kept figures, and the section of README.md.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::machine::Machine;
use crate::{median, Series};

const BEGIN: &str = "<!-- figures: written by ./x bench rust --save -->\n";
const END: &str = "<!-- end of figures -->\n";

/// Ratios to the crate tare, as the median of each round's ratio.
pub fn table(found: &[Series]) -> String {
    let mut text = String::from(
        "| pattern | set | tare, ns | other | its ns | its time / tare's |\n\
         | --- | --- | ---: | --- | ---: | ---: |\n",
    );
    for base in found.iter().filter(|series| series.engine == "tare") {
        for other in found.iter().filter(|other| {
            (other.pattern, other.set) == (base.pattern, base.set) && other.engine != "tare"
        }) {
            let ratios: Vec<f64> =
                other.times.iter().zip(&base.times).map(|(other, base)| other / base).collect();
            writeln!(
                text,
                "| `{}` | {} | {} | {} | {} | {:.2} |",
                base.pattern,
                base.set,
                number(base.median()),
                other.engine,
                number(other.median()),
                median(&ratios)
            )
            .expect("writing to a string");
        }
    }
    text
}

fn number(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

pub fn save(root: &Path, machine: &Machine, found: &[Series], table: &str) {
    let series: Vec<_> = found
        .iter()
        .map(|series| {
            let times: Vec<f64> =
                series.times.iter().map(|time| (time * 100.0).round() / 100.0).collect();
            json!({
                "set": series.set,
                "pattern": series.pattern,
                "engine": series.engine,
                "ns_per_item": times,
            })
        })
        .collect();
    let mut kept = machine.to_json();
    kept["series"] = series.into();
    let name = format!("bench/results/{}-rust.json", &machine.date[..10]);
    let text =
        serde_json::to_string(&kept).expect("numbers and text").replace("{\"set\"", "\n{\"set\"")
            + "\n";
    fs::write(root.join(&name), text).expect("the results can be kept");
    let readme = root.join("bindings/rust/README.md");
    let old = fs::read_to_string(&readme).expect("the README is there");
    let (before, behind) = old.split_once(BEGIN).expect("the README has a place for figures");
    let (_, behind) = behind.split_once(END).expect("and it ends");
    let about = format!(
        "{}, commit `{}`, {}; {}, {}. Medians of {} rounds, in which every engine has its turn; \
         ns an item (of `open`: a tensor). All figures: `{name}`.\n",
        &machine.date[..10],
        &machine.commit[..12.min(machine.commit.len())],
        machine.processor,
        machine.rustc,
        machine.c_compiler,
        found[0].times.len(),
    );
    let new = format!("{before}{BEGIN}\n{about}\n{table}\n{END}{behind}");
    fs::write(&readme, new).expect("the README can be written");
    eprintln!("saved as {name}, written to bindings/rust/README.md");
}
