"""Runs bench_load: makes room for its models, finds its peers, keeps what it measured.

A part is one set in one state. Each runs in a process of its own, so that what is cold has not been
warm, and parts that ran at different times make one result.
"""

import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

from report_figures import ROOT
from report_load import SETS, STATES, part_of, size_text

GIB = 1 << 30
SIZES = {"large": 4 * GIB, "small": GIB}
QUICK_SIZES = {"large": GIB // 4, "small": GIB // 4}
REPETITIONS = {"large": 3, "small": 5}
# What the parts of one result have in common, and what each has for itself.
SHARED = ("processor", "processors", "memory", "kernel", "compiler", "compiler_flags", "device")
OWN = ("date", "commit", "changed_since_commit")


def proc_size(field):
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def size_that_fits(size, folder):
    """Halved until the page cache, memory that is read into and one copy more have room, and the
    disk too."""
    room = min((proc_size("MemAvailable") - GIB) / 3.5, (shutil.disk_usage(folder).free - GIB) / 2)
    while size > room and size > GIB // 16:
        size //= 2
    return size


def file_system(folder):
    """(type, device) of what the folder lies on."""
    found, folder = ("", "", ""), os.path.realpath(folder)
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        place = left.split()[4]
        inside = folder == place or folder.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(found[0]):
            found = (place, *right.split()[:2])
    return found[1:]


def python_peer():
    """(its path or None, why not). The environment is that of tests/checkpoint."""
    sys.path.insert(0, str(ROOT / "tests" / "checkpoint"))
    import peer
    try:
        return peer.environment(str(ROOT / "build" / "checkpoint")), ""
    except peer.Missing as missing:
        return None, f"left out: {missing}"


def read_word(path):
    """The word in brackets of a file of /sys, or all of it."""
    try:
        text = pathlib.Path(path).read_text().strip()
    except OSError:
        return "unknown"
    return text.split("[")[1].split("]")[0] if "[" in text else text


def facts_of_folder(folder):
    kind, device = file_system(folder)
    return {
        "file_system": kind, "device": device, "memory": proc_size("MemTotal"),
        "page_size": resource.getpagesize(),
        "huge_pages": read_word("/sys/kernel/mm/transparent_hugepage/enabled"),
        "page_reporting": os.path.isdir("/sys/module/page_reporting"),
    }


def run_state(name, pattern, sizes, python, folder, repetitions, options):
    """Runs one set in one state, in one process; returns Google Benchmark's report."""
    program = options.build / "bench_load"
    with tempfile.TemporaryDirectory() as out_folder:
        out = pathlib.Path(out_folder) / "report.json"
        command = [str(program), f"--set={name}", f"--data={folder}",
                   f"--large_size={sizes['large']}", f"--small_size={sizes['small']}",
                   f"--benchmark_filter={pattern}", f"--benchmark_repetitions={repetitions}",
                   f"--benchmark_out={out}", "--benchmark_out_format=json"]
        if python:
            command.append(f"--python={python}")
        print(f"bench_load: set {name}, {pattern[1:-1]}, {size_text(sizes[name])} ...",
              file=sys.stderr, flush=True)
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"{done.stderr}report.py: bench_load failed on set {name}")
        text = out.read_text() if out.exists() else ""
        return json.loads(text) if text else None  # empty: no benchmark matched


def summarise(report):
    """{'warm/tare/large': {'times_ns': [...], 'opens_s': [...], 'counters': {...}}}."""
    kept = ("bytes", "tensors", "peak_beyond", "hooks_beyond", "metadata", "huge")
    runs = {}
    for entry in report["benchmarks"]:
        if entry["run_type"] != "iteration":
            continue
        name = "/".join(entry["run_name"].split("/")[:3])
        run = runs.setdefault(name, {"times_ns": [], "opens_s": [], "counters": {}})
        run["times_ns"].append(float(f"{entry['real_time'] * 1e6:.6g}"))  # they are in ms
        run["opens_s"].append(float(f"{entry['open_s']:.4g}"))
        run["counters"].update({key: entry[key] for key in kept if key in entry})
    return runs


def parent_folder():
    """Where models go: what the user says, else a folder for large files that outlive a boot."""
    for folder in (os.environ.get("TARE_BENCH_DIR"), "/var/tmp", tempfile.gettempdir()):
        if folder and os.path.isdir(folder):
            return folder
    sys.exit("report.py: no folder for models; set TARE_BENCH_DIR")


def run_parts(wanted, sizes, python, folder, options):
    """(context of the last process, facts of each part, runs)."""
    context, parts, runs = None, {}, {}
    for name in [name for name in SETS if name in wanted]:
        for state in [state for state in STATES if state in (options.states or STATES)]:
            repetitions = options.repetitions or REPETITIONS[name]
            start = time.monotonic()
            report = run_state(name, f"^{state}/", sizes, python, folder, repetitions, options)
            if report is None:
                continue
            context = report["context"]
            runs.update(summarise(report))
            parts[f"{name} {state}"] = {"repetitions": repetitions,
                                        "seconds": round(time.monotonic() - start),
                                        "load_average_before": context["load_avg"],
                                        "held": True}  # see take_and_give_back of bench_load
        for path in pathlib.Path(folder).iterdir():
            path.unlink()
    if context is None:
        sys.exit("report.py: nothing to run")
    return context, parts, runs


def run(wanted, options):
    """(context of a process, facts for the result, runs)."""
    python, why_not = python_peer()
    parent = parent_folder()
    published = QUICK_SIZES if options.quick else SIZES
    sizes = {name: size_that_fits(size, parent) for name, size in published.items()}
    with tempfile.TemporaryDirectory(prefix="tare-bench-", dir=parent) as folder:
        facts = facts_of_folder(folder)
        context, parts, runs = run_parts(wanted, sizes, python, folder, options)
    facts.update({key: context[key] for key in ("threads", "cold", "direct")})
    facts["engines"] = {"rust": context["rust"], "cp": context["cp"],
                        "python": why_not or context["python"]}
    facts["cache_state"] = "each figure says whether the file was in the page cache"
    facts["size_text"] = "; ".join(
        f"{name} {size_text(sizes[name])} instead of {size_text(SIZES[name])}"
        for name in SETS if sizes[name] < SIZES[name])
    facts["parts"] = parts
    return context, facts, runs


def with_parts(result):
    """Each part says when it ran, and of which commit it is."""
    for part in result["parts"].values():
        part.update({key: result[key] for key in OWN})
    return result


def same_code(commit, other):
    """Whether nothing that is measured or measures differs between two commits."""
    command = ["git", "diff", "--quiet", commit, other, "--", "src", "include", "bench",
               ":(exclude)bench/results", ":(exclude)bench/*.md"]
    return subprocess.run(command, cwd=ROOT, stderr=subprocess.DEVNULL).returncode == 0


def merge(kept, new):
    """The new result, and those parts of the kept one that it does not have, if the same code ran on
    the same machine."""
    if kept is None or any(kept.get(key) != new.get(key) for key in SHARED):
        return new
    if "parts" not in kept or not same_code(kept["commit"], new["commit"]):
        return new
    old = [name for name in kept["parts"] if name not in new["parts"]]
    if not old:
        return new
    runs = {key: run for key, run in kept["runs"].items() if part_of(key) in old}
    parts = {name: kept["parts"][name] for name in old}
    return {**new, "date": kept["date"], "parts": {**parts, **new["parts"]},
            "runs": {**runs, **new["runs"]}}
