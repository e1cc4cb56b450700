"""Counts what does not drift with the machine: instructions of a fixed workload under callgrind,
where there is valgrind, and what finds look at."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# Callers in count_lookups.c, and which call of theirs is meant.
CALLS = {
    "count_hits": ("tare_find", "find_hit"),
    "count_misses": ("tare_find", "find_miss"),
    "count_keys": ("tare_find_key", "find_key"),
    "count_batches": ("tare_find_many", "find_many"),
    "count_open": ("tare_open_bytes", "open"),
}


def parse(text, names):
    """{'find_hit': instructions a name} of a callgrind profile of a workload of so many names."""
    known, counts = {}, {}

    def name_of(field):
        number, name = re.match(r"\((\d+)\)\s*(.*)", field).groups()
        if name:
            known[number] = re.sub(r"\.(isra|constprop|part|cold)\b.*|'.*", "", name)
        return known[number]

    caller = callee = None
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("fn="):
            caller = name_of(line[3:])
        elif line.startswith("cfn="):
            callee = name_of(line[4:])
        elif line.startswith("calls="):
            cost = int(next(lines).split()[-1])
            wanted, pattern = CALLS.get(caller, (None, None))
            if callee == wanted:
                counts[pattern] = counts.get(pattern, 0) + cost
    return {pattern: round(cost / names, 1) for pattern, cost in counts.items()}


def count(build, sets):
    """None without valgrind, else {'valgrind': version, 'S': {pattern: instructions a name}}."""
    if shutil.which("valgrind") is None:
        print("report.py: no valgrind, instructions are not counted", file=sys.stderr)
        return None
    version = subprocess.run(["valgrind", "--version"], capture_output=True, text=True)
    counted = {"valgrind": version.stdout.strip()}
    for name in sets:
        print(f"count_lookups: set {name} ...", file=sys.stderr, flush=True)
        counted[name] = count_set(build, name)
        indexed = count_set(build, name, "indexed")
        counted[name].update((f"indexed_{call}", indexed[call])
                             for call in indexed if call != "open")
    return counted


def count_gguf(build, sets):
    """None without valgrind, else {'gguf_300': instructions a tensor}: sets are {name: tensors}."""
    if shutil.which("valgrind") is None:
        return None
    print("count_lookups: GGUF ...", file=sys.stderr, flush=True)
    return {name: count_set(build, str(count), "gguf")["open"] for name, count in sets.items()}


def count_set(build, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "profile"
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
             str(build / "count_lookups"), *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{done.stderr}report.py: count_lookups failed on set {arguments[0]}")
        return parse(out.read_text(), int(done.stdout))


def count_lines(build, sets):
    """{'S': {'probe_max': ..., 'hit': {'away': share, 'lines': a find, 'comparisons': a find},
    'miss': ...}}: sets are {name: label or file}."""
    done = subprocess.run([str(build / "count_lines"), *map(str, sets.values())],
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{done.stderr}report.py: count_lines failed")
    return dict(zip(sets, map(json.loads, done.stdout.splitlines())))
