"""Runs the benchmark programs, one process a set, and keeps what they measured."""

import datetime
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

import report_count
import report_index
import report_load_run
from report_figures import GGUF, LISTS, ROOT, SWEEP

sys.path.insert(1, str(ROOT / "tests" / "checkpoint"))
import peer

NAMES = ROOT / "tests" / "data" / "names"
# One file of XL would have a header over the format's limit.
SETS = {
    "lookup": ["S", "M", "L", "XL", "lists", "sweep"],
    "open": ["S", "M", "L", "million", *GGUF],
    "index": ["1000", "L", "million", "shards_74"],
    "load": ["large", "small"],
}
ENGINES = {
    "open": ["tare", "tare_sharded", "tare_read_backing", "read_only", "read_and_scan_quotes", "cjson_parse",
             "gguf_loop", "gguf_python"],
    "index": [*report_index.ENGINES, *report_index.PROCESSES],
}
QUICK_SETS = {**SETS, "lookup": ["S", "M", "L", "sweep"]}
MIN_TIMES = {"lookup": 0.02, "open": 0.05, "index": 0.05}
PROGRAMS = {"index": "open"}  # where it is not called as what it measures
REPETITIONS = 10


def expand(sets, options):
    """Groups of sets by their members, in order; names of files by the label of the file."""
    expanded, files = [], [os.path.abspath(path) for path in options.names]
    for name in sets:
        if name == "sweep":
            expanded += [str(count) for count in SWEEP if count < 1000000 or not options.quick]
        elif name == "lists":
            for label in LISTS:
                if (NAMES / f"{label}.tsv").exists():
                    expanded.append(label)
                    files.append(str(NAMES / f"{label}.tsv"))
        else:
            expanded.append(name)
    for path in options.names:
        expanded.append(name_of_file(path))
    return expanded, [f"--names_file={path}" for path in files]


def sources_of(sets, options):
    """{name: what count_lines makes it of}: sets that are no part of the sweep."""
    files = {label: NAMES / f"{label}.tsv" for label in LISTS}
    files.update((name_of_file(path), path) for path in options.names)
    return {name: files.get(name, name) for name in sets if not name.isdigit()}


def name_of_file(path):
    return re.sub(r"(\.index\.json|\.tsv|\.txt).*", "", os.path.basename(path))


def python_peer():
    """The argument that names a Python with the packages gguf and safetensors, or none where that cannot be had."""
    cache = str(ROOT / "build" / "checkpoint")  # the tests' own
    try:
        with peer.lock(cache):
            return [f"--python={peer.environment(cache)}"]
    except peer.Missing as missing:
        print(f"report.py: without the Python packages gguf and safetensors: {missing}", file=sys.stderr)
        return []


def run_set(what, name, arguments, options):
    """Runs one set in one process; returns Google Benchmark's report."""
    pattern = re.sub(r"([.+*?()\[\]{}^$|\\])", r"\\\1", name)  # as POSIX expressions have it
    program = options.build / f"bench_{PROGRAMS.get(what, what)}"
    if what in ENGINES:
        pattern = f"({'|'.join(ENGINES[what])})/{pattern}"
    min_time = options.min_time or MIN_TIMES[what] / (2 if options.quick else 1)
    command = [str(program), f"--benchmark_filter=/{pattern}(/|$)"] + arguments
    command += [f"--benchmark_repetitions={options.repetitions or REPETITIONS}"]
    command += [f"--benchmark_min_time={min_time}"]
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "report.json"
        command += [f"--benchmark_out={out}", "--benchmark_out_format=json"]
        print(f"{program.name}: set {name} ...", file=sys.stderr, flush=True)
        pin = None
        if options.cpu >= 0:
            pin = lambda: os.sched_setaffinity(0, {options.cpu})
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True, preexec_fn=pin)
        if done.returncode != 0 or not out.exists():
            sys.exit(f"{done.stderr}report.py: {program.name} failed on set {name}")
        return json.loads(out.read_text())


def summarise(report):
    """{'find_hit/tare/L': {'times_ns': [...], 'counters': {...}}}: of an item or iteration."""
    known = {
        "name", "run_name", "run_type", "family_index", "per_family_instance_index", "repetitions",
        "repetition_index", "threads", "iterations", "real_time", "cpu_time", "time_unit",
        "items_per_second",
    }
    units = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
    runs = {}
    for entry in report["benchmarks"]:
        if entry["run_type"] != "iteration":
            continue
        if entry.get("error_occurred"):
            sys.exit(f"report.py: {entry['name']}: {entry['error_message']}")
        run = runs.setdefault("/".join(entry["run_name"].split("/")[:3]), {"times_ns": []})
        if "items_per_second" in entry:
            time = 1e9 / entry["items_per_second"]
        else:
            time = entry["real_time"] * units[entry["time_unit"]]
        run["times_ns"].append(float(f"{time:.5g}"))
        counters = {key: value for key, value in entry.items() if key not in known}
        if counters:
            run["counters"] = counters
    return runs


def command_output(*command):
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def processor():
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def facts_of_run(what, context, options):
    changed = command_output("git", "status", "--porcelain", "--", "src", "include", "bench",
                             ":(exclude)bench/results")
    facts = {
        "what": what,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": command_output("git", "rev-parse", "HEAD"),
        "changed_since_commit": bool(changed),
        "processor": processor(),
        "processors": context["num_cpus"],
        "caches": [f"L{c['level']} {c['type']} {c['size']}" for c in context["caches"]],
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "compiler": context["compiler"],
        "compiler_flags": context["compiler_flags"],
        "tare_version": context["tare_version"],
        "tare_linkage": context["tare_linkage"],
        "pinned_to_cpu": options.cpu if options.cpu >= 0 and what != "load" else None,
        "load_average_before": context["load_avg"],
        "cache_state": "warm: data in memory, files in the page cache",
        "repetitions": options.repetitions or REPETITIONS,
    }
    if what == "index":
        facts["engines"] = {"rust": context["rust"]}
    if what == "lookup":
        facts["engines"] = {key: context[key] for key in ("absl", "boost", "uthash", "rust")}
        facts["evicted_bytes"] = int(context["evicted_bytes"])
    return facts


def run(what, options):
    wanted = (QUICK_SETS if options.quick else SETS)[what]
    if options.sets:
        wanted = [name for name in options.sets if name in SETS[what]]
    sets, arguments = wanted, []
    if what == "load":
        context, own_facts, runs = report_load_run.run(wanted, options)
        facts = facts_of_run(what, context, options)
        return report_load_run.with_parts({**facts, **own_facts, "runs": runs})
    if what == "lookup":
        sets, arguments = expand(wanted, options)
    elif what == "index" or any(name in GGUF for name in sets):
        arguments = python_peer()
    facts, runs = None, {}
    for name in sets:
        report = run_set(what, name, arguments, options)
        facts = facts or facts_of_run(what, report["context"], options)
        runs.update(summarise(report))
    if not runs:
        sys.exit("report.py: no set to run")
    result = {**facts, "runs": runs}
    if what == "lookup":
        result["instructions"] = report_count.count(options.build, ["S", "L"])
        result["lines"] = report_count.count_lines(options.build, sources_of(sets, options))
    if what == "open":
        plain = {name: GGUF[name] for name in sets if name in GGUF and name != "gguf_vocabulary"}
        result["gguf_instructions"] = report_count.count_gguf(options.build, plain) if plain else None
    return result


def to_json(result):
    """One line a run: thousands of figures stay legible, and so do their changes."""
    runs = ",\n".join(f'  {json.dumps(name)}: {json.dumps(run)}'
                      for name, run in sorted(result["runs"].items()))
    rest = json.dumps({key: value for key, value in result.items() if key != "runs"}, indent=1)
    return f'{rest[:-2]},\n "runs": {{\n{runs}\n }}\n}}\n'
