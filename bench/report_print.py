"""Prints results as tables for the terminal."""

import report_index
from report_figures import (
    BARS_HEAD, BASE, PATTERNS, bars_of, base_of, counter, divide, engines_of, line_rows, number, own_time,
    sets_of, size_of, time_of,
)
from report_gpu import print_gpu
from report_load import print_bars as print_load_bars, print_load
from report_tables import print_table


def title(name):
    size = size_of(name)
    return f"set {name}: {size:,} tensors" if size else f"set {name}"


def by_hit(result, name):
    """Engines that ran on the set: tare, others by their time of a hit, floors."""
    ran = [e for e in engines_of(result)
           if any(own_time(result, p, e, name) is not None for p in PATTERNS)]
    hit = lambda e: time_of(result, "find_hit", e, name) or 0
    return sorted(ran, key=lambda e: (e.startswith("floor"), e != BASE, hit(e)))


def print_lookup_set(result, name, patterns):
    """A table of some of the patterns, which together would be too wide."""
    rows = [["engine"]]
    for pattern in patterns:
        rows[0] += [PATTERNS[pattern], ""]
    memory = "build" in patterns
    if memory:
        rows[0].append("heap B/name")
    for engine in by_hit(result, name):
        row = [engine]
        for pattern in patterns:
            value = time_of(result, pattern, engine, name)
            base = base_of(pattern, engine)
            times = divide(value, time_of(result, pattern, base, name))
            row += [number(value), "" if engine in (BASE, base) or times is None
                    else number(times) + "x"]
        if memory:
            row.append(number(counter(result, "find_hit", engine, name, "heap_bytes_per_name")))
        if any(cell not in ("", "-") for cell in row[1:]):
            rows.append(row)
    print_table(rows)


def print_lookup(result):
    first = ["find_hit", "find_miss", "find_order", "find_dependent", "find_offset"]
    second = ["find_many", "find_many_16", "find_threads", "find_cold", "build", "one_shot"]
    for name in sets_of(result):
        print(f"\n{title(name)}; ns a name, times those of {BASE}")
        print_lookup_set(result, name, first)
        print()
        print_lookup_set(result, name, second)
    print("\n  many: 256 and 16 names a call; what has no such call goes by its loop")
    print_sweep(result)
    print_instructions(result)
    print_lines(result)


def print_sweep(result):
    counts = [name for name in sets_of(result, sweep=True) if name.isdigit()]
    if not counts:
        return
    for pattern in ("find_hit", "find_dependent"):
        print(f"\n{pattern} over the number of tensors, ns a name")
        rows = [["engine"] + [f"{int(count):,}" for count in counts]]
        for engine in engines_of(result):
            values = [own_time(result, pattern, engine, count) for count in counts]
            if any(value is not None for value in values):
                rows.append([engine] + [number(value) for value in values])
        print_table(rows)


def print_instructions(result):
    counted = result.get("instructions")
    if not counted:
        return
    print(f"\ninstructions a name, {counted['valgrind']}")
    sets = [name for name in counted if name != "valgrind"]
    rows = [["call"] + sets]
    for pattern in counted[sets[0]]:
        rows.append([pattern] + [number(counted[name].get(pattern)) for name in sets])
    print_table(rows)


def print_lines(result):
    rows = line_rows(result)
    if rows:
        print("\nwhat finds look at; away: in lines behind the one that the hash names")
        print_table(rows)


def print_open(result):
    for name in sets_of(result):
        header = counter(result, "open", BASE, name, "header_size")
        size = f", header {header / 1e6:.3g} MB" if header else ""
        print(f"\n{title(name)}{size}")
        rows = [["engine", "ms", "", "peak MB", "B/tensor", "names", "shapes"]]
        base = time_of(result, "open", BASE, name)
        for engine in engines_of(result):
            value = time_of(result, "open", engine, name)
            if value is None:
                continue
            get = lambda key: counter(result, "open", engine, name, key)
            times = divide(value, base)
            row = [engine, number(value / 1e6),
                   "" if engine == BASE or times is None else number(times) + "x"]
            if get("memory_peak") is None:
                row += ["", "", "", ""]
            else:
                row += [number(get("memory_peak") / 1e6), number(get("bytes_per_tensor"))]
                row += [number(get(key) / get("tensors"))
                        for key in ("memory_names", "memory_shapes")]
            rows.append(row)
        print_table(rows)
    print("\n  B/tensor: all that the model holds but names and shapes; theirs follow")


def print_index(result):
    print("\nms")
    print_table(report_index.time_rows(result, [name for name in report_index.SETS
                                                if report_index.time(result, "indexed_first", name)]))


def print_bars(result):
    bars = bars_of(result)
    if bars:
        print()
        print_table([BARS_HEAD] + [bar.texts_of_both() for bar in bars])


def print_result(result):
    changed = " with changes" if result["changed_since_commit"] else ""
    print(f"{result['what']}: {result['date']}, commit {result['commit'][:12] or 'none'}{changed}")
    print(f"{result['processor']}, {result['kernel']}, {result['compiler']}"
          f" {result['compiler_flags']}")
    for what, version in result.get("engines", {}).items():
        if result["what"] != "load":
            print(f"{what}: {version}")
    if result["what"] != "load":
        print(f"median of {result['repetitions']} repetitions, load before"
              f" {result['load_average_before'][0]:.2f}, cache {result['cache_state']}")
    if result["what"] == "gpu":
        print_gpu(result)
        return
    {"lookup": print_lookup, "open": print_open, "index": print_index,
     "load": print_load}[result["what"]](result)
    (print_load_bars if result["what"] == "load" else print_bars)(result)
    print()
