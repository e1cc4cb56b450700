//! What the figures were taken on.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{json, Value};

pub struct Machine {
    pub date: String,
    pub commit: String,
    changed: bool,
    pub processor: String,
    processors: usize,
    kernel: String,
    pub rustc: String,
    pub c_compiler: String,
    load_average: f64,
}

fn ask(folder: &Path, command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).current_dir(folder).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

impl Machine {
    pub fn look(root: &Path) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        Self {
            date: ask(root, "date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
            commit: ask(root, "git", &["rev-parse", "HEAD"]),
            changed: !ask(root, "git", &["status", "--porcelain", "--untracked-files=no"])
                .is_empty(),
            processor: model.unwrap_or_default().trim_start_matches([' ', '\t', ':']).to_owned(),
            processors: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: ask(root, "uname", &["-sr"]),
            rustc: ask(root, "rustc", &["--version"]),
            c_compiler: ask(root, &compiler, &["--version"]),
            load_average: load.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(-1.0),
        }
    }

    pub fn to_json(&self) -> Value {
        json!({
            "what": "rust",
            "date": self.date,
            "commit": self.commit,
            "changed_since_commit": self.changed,
            "processor": self.processor,
            "processors": self.processors,
            "kernel": self.kernel,
            "rustc": self.rustc,
            "compiler": self.c_compiler,
            "compiler_flags": "-O3 (C), opt-level 3, codegen-units 1 (Rust)",
            "load_average_before": self.load_average,
            "cache_state": "files in the page cache; an untimed pass before",
        })
    }
}
