#!/usr/bin/env python3
"""Runs the benchmarks of build/bench and prints tables, and the bars that must be reached.

    report.py [lookup|open|all] [--quick] [--sets S,M,L,XL] [--names FILE]... [--save]
    report.py --load FILE       print the tables of a saved run again

Every set runs in a process of its own, in which the repetitions of all engines are interleaved at
random. Figures are medians over the repetitions. --save keeps every repetition's time in
bench/results/, with the machine, compiler, flags, kernel and commit it was taken with.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
# One file of XL would have a header over the format's limit.
SETS = {"lookup": ["S", "M", "L", "XL"], "open": ["S", "M", "L", "million"]}
QUICK_SETS = {"lookup": ["S", "M", "L"], "open": ["S", "M", "L", "million"]}
SIZES = {"S": 323, "M": 5900, "L": 91985, "XL": 993417, "million": 1700000}
LOOKUP_PATTERNS = [
    "find_hit", "find_miss", "find_dependent", "find_offset", "find_many", "find_many_16", "build",
]
BASE = "tare"  # the engine that ratios refer to


# Running


def run_set(program, name, arguments, options):
    """Runs one set in one process; returns Google Benchmark's report."""
    pattern = re.sub(r"([.+*?()\[\]{}^$|\\])", r"\\\1", name)  # as POSIX expressions have it
    command = [str(options.build / program), f"--benchmark_filter=/{pattern}(/|$)"] + arguments
    command += [f"--benchmark_repetitions={options.repetitions}"]
    command += [f"--benchmark_min_time={options.min_time}"]
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "report.json"
        command += [f"--benchmark_out={out}", "--benchmark_out_format=json"]
        print(f"{program}: set {name} ...", file=sys.stderr, flush=True)
        pin = None
        if options.cpu >= 0:
            pin = lambda: os.sched_setaffinity(0, {options.cpu})
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True, preexec_fn=pin)
        if done.returncode != 0 or not out.exists():
            sys.exit(f"{done.stderr}report.py: {program} failed on set {name}")
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
        run["times_ns"].append(float(f"{time:.6g}"))
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
    changed = command_output("git", "status", "--porcelain", "--", "src", "include", "bench")
    return {
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
        "pinned_to_cpu": options.cpu if options.cpu >= 0 else None,
        "load_average_before": context["load_avg"],
        "cache_state": "warm: data in memory, files in the page cache",
        "repetitions": options.repetitions,
        "min_time_s": options.min_time,
    }


def run(what, options):
    sets = (QUICK_SETS if options.quick else SETS)[what]
    if options.sets:
        sets = [name for name in options.sets if name in SETS[what]]
    arguments = []
    if what == "lookup":
        arguments = [f"--names_file={os.path.abspath(path)}" for path in options.names]
        sets = sets + [os.path.basename(path).split(".index.json")[0] for path in options.names]
    facts, runs = None, {}
    for name in sets:
        report = run_set(f"bench_{what}", name, arguments, options)
        facts = facts or facts_of_run(what, report["context"], options)
        runs.update(summarise(report))
    if not runs:
        sys.exit("report.py: no set to run")
    return {**facts, "runs": runs}


# Printing


def median(result, name):
    run = result["runs"].get(name)
    return statistics.median(run["times_ns"]) if run else None


def counter(result, name, key):
    return result["runs"].get(name, {}).get("counters", {}).get(key)


def number(value):
    """Three figures, thousands separated."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(value, base):
    if value is None or not base:
        return ""
    return f"{number(value / base)}x"


def print_table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  " + "  ".join(cells).rstrip())


def parts(result, index):
    """The different patterns (0), engines (1) or sets (2) of the run, known ones first."""
    known = dict.fromkeys(sorted(name.split("/")[index] for name in result["runs"]))
    order = {0: LOOKUP_PATTERNS, 1: [BASE], 2: list(SIZES)}[index]
    return [p for p in order if p in known] + [p for p in known if p not in order]


def title(result, name):
    size = f": {SIZES[name]:,} tensors" if name in SIZES else ""
    return f"set {name}{size}"


def print_lookup(result):
    patterns = parts(result, 0)
    for name in parts(result, 2):
        print(f"\n{title(result, name)}; ns a name, times those of {BASE}")
        rows = [["engine"]]
        for pattern in patterns:
            rows[0] += [pattern.replace("find_", ""), ""]
        rows[0].append("heap B/name")
        engines = [e for e in parts(result, 1) if f"build/{e}/{name}" in result["runs"]]
        hit = lambda engine: median(result, f"find_hit/{engine}/{name}") or 0
        for engine in sorted(engines, key=lambda e: (e != BASE, hit(e))):
            row = [engine]
            for pattern in patterns:
                value = median(result, f"{pattern}/{engine}/{name}")
                base = median(result, f"{pattern}/{BASE}/{name}")
                row += [number(value), "" if engine == BASE else ratio(value, base)]
            heap = counter(result, f"build/{engine}/{name}", "heap_bytes_per_name")
            rows.append(row + [number(heap)])
        print_table(rows)


def print_open(result):
    for name in parts(result, 2):
        header = counter(result, f"open/{BASE}/{name}", "header_size")
        size = f", header {header / 1e6:.3g} MB" if header else ""
        print(f"\n{title(result, name)}{size}")
        rows = [["engine", "ms", "", "peak MB", "B/tensor", "names", "shapes"]]
        base = median(result, f"open/{BASE}/{name}")
        for engine in parts(result, 1):
            run_name = f"open/{engine}/{name}"
            value = median(result, run_name)
            if value is None:
                continue
            get = lambda key: counter(result, run_name, key)
            row = [engine, number(value / 1e6), "" if engine == BASE else ratio(value, base)]
            if get("memory_peak") is None:
                row += ["", "", "", ""]
            else:
                row += [number(get("memory_peak") / 1e6), number(get("bytes_per_tensor"))]
                row += [number(get(key) / get("tensors"))
                        for key in ("memory_names", "memory_shapes")]
            rows.append(row)
        print_table(rows)
    print("\n  B/tensor: all that the model holds but names and shapes; theirs follow")


def divide(a, b):
    return a / b if a is not None and b else None


def bars_of(result):
    """(what, value, relation, bar, unit) for each bar that the run can tell about."""
    time = lambda name: median(result, name)
    if result["what"] == "lookup":
        absl = "absl_flat_hash_map"
        yield ("find_hit/L: linear scan / tare",
               divide(time("find_hit/linear/L"), time("find_hit/tare/L")), ">=", 100, "x")
        for pattern in ("find_hit", "find_miss"):
            yield (f"{pattern}/L: tare / absl::flat_hash_map of string_view",
                   divide(time(f"{pattern}/tare/L"), time(f"{pattern}/{absl}/L")), "<=", 1, "x")
        return
    yield ("open/L: tare / reading and scanning for quotes",
           divide(time("open/tare/L"), time("open/read_and_scan_quotes/L")), "<=", 2, "x")
    yield ("open/L: bytes a tensor beside names and shapes",
           counter(result, "open/tare/L", "bytes_per_tensor"), "<=", 64, " B")
    yield ("open/million: time", divide(time("open/tare/million"), 1e9), "<", 1, " s")
    yield ("open/million: time a tensor / that of open/L",
           divide(divide(time("open/tare/million"), SIZES["million"]),
                  divide(time("open/tare/L"), SIZES["L"])), "<=", 2, "x")
    yield ("open/million: most memory",
           divide(counter(result, "open/tare/million", "memory_peak"), 1e6), "<", 400, " MB")


def print_bars(result):
    rows = [["bar", "reached", "", "wanted", ""]]
    for what, value, relation, bar, unit in bars_of(result):
        if value is None:
            continue
        met = {">=": value >= bar, "<=": value <= bar, "<": value < bar}[relation]
        rows.append([what, number(value) + unit, relation, f"{bar}{unit}",
                     "met" if met else "NOT MET"])
    if len(rows) > 1:
        print()
        print_table(rows)


def print_result(result):
    changed = " with changes" if result["changed_since_commit"] else ""
    print(f"{result['what']}: {result['date']}, commit {result['commit'][:12] or 'none'}{changed}")
    print(f"{result['processor']}, {result['kernel']}, {result['compiler']}"
          f" {result['compiler_flags']}")
    print(f"median of {result['repetitions']} repetitions, load before"
          f" {result['load_average_before'][0]:.2f}, cache {result['cache_state']}")
    (print_lookup if result["what"] == "lookup" else print_open)(result)
    print_bars(result)
    print()


def save(result):
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result['date'][:10]}-{result['what']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"saved as {path.relative_to(ROOT)}", file=sys.stderr)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", nargs="?", choices=["lookup", "open", "all"], default="all")
    parser.add_argument("--quick", action="store_true", help="3 short repetitions, without XL")
    parser.add_argument("--sets", type=lambda text: text.split(","), help="such as S,M,L,XL")
    parser.add_argument("--names", action="append", default=[], metavar="FILE",
                        help="also look up the names of a file or index.json (lookup)")
    parser.add_argument("--repetitions", type=int, help="default 10")
    parser.add_argument("--min-time", type=float, help="seconds a repetition, default 0.05")
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)),
                        help="processor to run on, -1 for any; default the last")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "bench",
                        help="folder of the programs")
    parser.add_argument("--json-out", type=pathlib.Path, metavar="FILE", help="write the results")
    parser.add_argument("--save", action="store_true", help="write them to bench/results/")
    parser.add_argument("--load", type=pathlib.Path, metavar="FILE", help="print saved results")
    options = parser.parse_args()
    for name in options.sets or []:
        if name not in SIZES:
            parser.error(f"no set {name}; there are {', '.join(SIZES)}")
    if options.repetitions is None:
        options.repetitions = 3 if options.quick else 10
    if options.min_time is None:
        options.min_time = 0.02 if options.quick else 0.05
    return options


def main():
    options = parse_arguments()
    if options.load:
        loaded = json.loads(options.load.read_text())
        results = loaded if isinstance(loaded, list) else [loaded]
    else:
        kinds = list(SETS) if options.what == "all" else [options.what]
        for kind in kinds:
            if not (options.build / f"bench_{kind}").exists():
                sys.exit(f"report.py: no {options.build}/bench_{kind}; run ./x bench")
        results = [run(kind, options) for kind in kinds]
    for result in results:
        print_result(result)
        if options.save and not options.load:
            save(result)
    if options.json_out:
        options.json_out.write_text(
            json.dumps(results if len(results) > 1 else results[0], indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(1)
