"""What the binding for Python reached beside the package safetensors: tables, bars, and the section
of docs/benchmarks.md."""

import statistics

from report_figures import Bar, divide, number
from report_tables import print_table, table

# Pattern: (set, what is timed, unit, nanoseconds of it)
PATTERNS = {
    "open": ("small", "`safe_open(path)`", "ms", 1e6),
    "keys": ("small", "`keys()`, a name", "ns", 1),
    "get_tensor": ("small", "`get_tensor(name)` of every name into a dict, numpy", "ns", 1),
    "get_slice": ("small", "`get_slice(name)` of every name", "ns", 1),
    "read_slice": ("small", "`get_slice(name)[1:3]` of every name", "ns", 1),
    "load_file": ("small", "`load_file(path)`, numpy, a tensor", "ns", 1),
    "get_tensor_torch": ("small", "`get_tensor(name)` of every name into a dict, torch", "ns", 1),
    "load_file_torch": ("small", "`load_file(path)`, torch, a tensor", "ns", 1),
    "load_aligned": ("large", "all tensors into fresh aligned memory, numpy, GB/s", "GB/s", None),
    "load_aligned_torch": ("large", "the same, torch, GB/s", "GB/s", None),
}
ENGINES = ["tare", "tare_model", "safetensors", "safetensors_copy", "safetensors_pread"]
BARS = [
    ("open", "safetensors", 8),
    ("get_tensor", "safetensors", 4),
    ("load_file", "safetensors", 10),
    ("load_file_torch", "safetensors", 10),
    ("load_aligned", "safetensors_copy", 1.8),
    ("load_aligned_torch", "safetensors_copy", 1.8),
]


def median(result, pattern, engine):
    run = result["runs"].get(f"{pattern}/{engine}/{PATTERNS[pattern][0]}")
    return statistics.median(run["times_ns"]) if run else None


def bars_of(result):
    bars = []
    for pattern, rival, wanted in BARS:
        value = divide(median(result, pattern, rival), median(result, pattern, "tare"))
        if value is not None:
            bars.append(Bar(f"{pattern}: {rival} / tare", value, ">=", wanted, "x"))
    return bars


def text_of(pattern, nanoseconds):
    scale = PATTERNS[pattern][3]
    if nanoseconds is None:
        return ""
    return number(nanoseconds / scale if scale else 1 / nanoseconds)


def rows_of(result):
    """Only engines and patterns that ran."""
    patterns = [pattern for pattern in PATTERNS if median(result, pattern, "tare") is not None]
    engines = [
        engine
        for engine in ENGINES
        if any(median(result, pattern, engine) is not None for pattern in patterns)
    ]
    rows = [["", "unit", *engines, "safetensors / tare"]]
    for pattern in patterns:
        values = [median(result, pattern, engine) for engine in engines]
        ratio = divide(median(result, pattern, "safetensors"), median(result, pattern, "tare"))
        if ratio is None:
            ratio = divide(
                median(result, pattern, "safetensors_copy"), median(result, pattern, "tare")
            )
        rows.append(
            [
                pattern,
                PATTERNS[pattern][2],
                *[text_of(pattern, value) for value in values],
                f"{number(ratio)}x",
            ]
        )
    return rows


def slower_lines(result):
    lines = []
    for pattern in PATTERNS:
        own = median(result, pattern, "tare")
        for engine in ENGINES[2:]:
            other = median(result, pattern, engine)
            if own is not None and other is not None and other < own:
                lines.append(f"`{pattern}`: {engine} takes {number(other / own)} of tare's time")
    return lines


def print_result(result):
    print(
        f"python: {result['date']}, commit {result['commit'][:12] or 'none'}, "
        f"{result['processor']}, "
        + ", ".join(f"{what} {version}" for what, version in result["engines"].items())
    )
    print_table(rows_of(result))
    print()
    print_table([["bar", "reached", "wanted", ""]] + [bar.texts() for bar in bars_of(result)])
    for line in slower_lines(result) or ["nowhere slower in this run"]:
        print(f"  {line}")


def section(result):
    versions = ", ".join(f"{what} {version}" for what, version in result["engines"].items())
    what = "".join(
        f"- `{pattern}`: {words}\n"
        for pattern, (_, words, _, _) in PATTERNS.items()
        if median(result, pattern, "tare") is not None
    )
    missed = [bar for bar in bars_of(result) if not bar.met]
    slower = slower_lines(result)
    where = (
        "Slower than safetensors: " + "; ".join(slower) + "."
        if slower
        else "In no row of this run was a median of safetensors lower."
    )
    return (
        f"## Python on {result['processors']} processors\n\nThe binding beside the "
        "package safetensors in one process, in turn, files in "
        f"the page cache; {result['date'][:10]}, commit `{result['commit'][:12]}`, "
        f"{result['processor']}, {result['processors']} processors; {versions}. Medians of "
        f"{result['repetitions']} repetitions ({result['repetitions_large']} of loads of large "
        "tensors). The small tensors are the names of set L, 256 bytes each; the large ones 40 of "
        f"{result['large_size'] / 40 / 1e6:.0f} MB, F16.\n\n{what}\n`tare` is `tare.safetensors`, "
        "`tare_model` is `model[name].numpy()`. `safetensors_copy` is `load_file` and a copy of "
        "each array, `safetensors_pread` is `load_file` with that backend; the arrays of these are "
        f"aligned as malloc does it.\n\n{table(rows_of(result))}\n"
        + table([["bar", "reached", "wanted", ""]] + [bar.texts() for bar in bars_of(result)])
        + ("\n[Why](adr/0009-python-binding.md) bars are not met.\n" if missed else "")
        + f"\n{where}\n"
    )
