"""Runs bench_load: makes room for its models, finds its peers, keeps what it measured."""

import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile

from report_figures import ROOT
from report_load import SETS, size_text

GIB = 1 << 30
SIZES = {"large": 4 * GIB, "small": GIB}
QUICK_SIZES = {"large": GIB // 4, "small": GIB // 4}
STATES = {"warm": "^warm", "cold": "^cold"}  # a process each: what is cold must not be warm


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
        print(f"bench_load: set {name}, {pattern[1:]}, {size_text(sizes[name])} ...",
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


def run(wanted, options):
    """(context of the first process, facts for the result, runs)."""
    python, why_not = python_peer()
    facts, runs, context = {}, {}, None
    parent = parent_folder()
    published = QUICK_SIZES if options.quick else SIZES
    sizes = {name: size_that_fits(size, parent) for name, size in published.items()}
    with tempfile.TemporaryDirectory(prefix="tare-bench-", dir=parent) as folder:
        facts.update(facts_of_folder(folder))
        for name in [name for name in SETS if name in wanted]:
            for state, pattern in STATES.items():
                repetitions = options.repetitions
                if state == "cold":
                    repetitions = max(min(3, repetitions), repetitions // 2)
                report = run_state(name, pattern, sizes, python, folder, repetitions, options)
                if report is None:
                    continue
                context = context or report["context"]
                runs.update(summarise(report))
            for path in pathlib.Path(folder).iterdir():
                path.unlink()
    facts.update({key: context[key] for key in ("threads", "cold", "direct")})
    facts["engines"] = {"rust": context["rust"], "cp": context["cp"],
                        "python": why_not or context["python"]}
    facts["cache_state"] = "each figure says whether the file was in the page cache"
    facts["repetitions_cold"] = max(min(3, options.repetitions), options.repetitions // 2)
    smaller = [f"{name} {size_text(sizes[name])} instead of {size_text(SIZES[name])}"
               for name in SETS if sizes[name] < SIZES[name]]
    facts["size_text"] = "; ".join(smaller)
    return context, facts, runs
