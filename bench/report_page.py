"""Writes docs/benchmarks.md and docs/charts/*.svg from kept results."""

import report_charts
import report_gpu
import report_index
import report_load_page
import report_python
from report_figures import (
    ABSL, BARS_HEAD, BASE, GGUF, PAIRS, PATTERNS, SWEEP, bars_of, both, compared, counter, divide,
    engines_of, is_rival, least_of, line_rows, number, own_time, sets_of, size_of, time_of,
)
from report_print import by_hit
from report_tables import table

BOOST = "boost_unordered_flat_map_xxh3"
SCALING = [BASE, "linear", "std_unordered_map_view", ABSL, BOOST, "rust_hashmap",
           "rust_hashmap_fx", "rust_safetensors", "floor_xxh3_and_line"]
PANELS = {
    "find_hit": "hits, random order", "find_miss": "look-alike misses",
    "find_order": "hits, in the order of the file", "find_dependent": "next name needs the result",
    "find_offset": "next name needs the data offset", "find_many": "256 names a call, else a loop",
    "find_many_16": "16 names a call, else a loop", "find_threads": "two threads at once, each",
    "find_cold": "cold caches", "one_shot": "build, then every name once",
}
WHAT = {
    "find_hit": "names that are there, in random independent order",
    "find_miss": "look-alike names that are not there",
    "find_order": "names in the order of the file, as a loader asks",
    "find_dependent": "which name is next depends on what was found: latency",
    "find_offset": "which name is next depends on the data offset of what was found",
    "find_many": "256 names a call; engines without such a call go by their loop",
    "find_many_16": "16 names a call; likewise",
    "find_threads": "two threads ask one table at once: what a lookup costs each",
    "find_cold": "one name after the caches were emptied: table, code and page tables are cold",
    "build": "from the list of names (`tare`, `rust_safetensors`: from a file) to the table",
    "one_shot": "build, and every name once in random order",
}


def size_text(size):
    return f"{size // 1048576} MiB" if size >= 1048576 else f"{size // 1024} KiB"


def machine(result):
    caches = []
    for cache in result["caches"]:
        level, kind, size = cache.split()
        if kind != "Instruction":
            caches.append(f"{level} {size_text(int(size))}")
    changed = ", with changes since" if result["changed_since_commit"] else ""
    lines = [
        ("machine", f"{result['processor']}, {result['processors']} processors, "
                    f"{', '.join(caches)}; {result['kernel']}"),
        ("compiler", f"{result['compiler']} `{result['compiler_flags']}`, nothing compiled for a "
                     "particular processor"),
        ("date", result["date"][:10]),
        ("commit", f"`{result['commit'][:12]}`{changed}"),
        ("figures", f"medians of {result['repetitions']} repetitions, engines interleaved at "
                    "random, one process a set; load before the run of lookups "
                    f"{result['load_average_before'][0]:.2f}"),
    ]
    for what, version in result.get("engines", {}).items():
        lines.append((what, version))
    return "".join(f"- {what}: {text}\n" for what, text in lines)


def bars_section(results):
    bars = [bar for result in results for bar in bars_of(result)]
    rows = [BARS_HEAD] + [bar.linked(bar.texts_of_both()) for bar in bars]
    words = (f"{sum(bar.met for bar in bars)} of {len(bars)} are met, by minima "
             f"{sum(bar.met_by_least for bar in bars)}.")
    return (f"## Bars\n\nWhat we set out to reach. {words} Medians decide; minima are those of "
            "moments in which nobody else used the machine's shared cache, which helps those most "
            f"that wait for it. \"-\": it is no time, or the same.\n\n{table(rows)}")


def hours_section(result):
    """The bars of lookup at other hours, when more or less of the shared cache was left."""
    runs = sorted([*result.get("others", []), result], key=lambda run: run["date"])
    if len(runs) < 2:
        return ""
    bars = [{bar.what.split(", ")[0]: bar for bar in bars_of(run)} for run in runs]
    hours = [run["date"][:16].replace("T", " ") for run in runs]
    rows = [["bar, medians", *hours, "wanted"]]
    for what, last in bars[runs.index(result)].items():
        cells = [number(found[what].value) + last.unit if what in found else "-" for found in bars]
        if len(set(cells)) > 1:
            cells = [cell + (" NOT MET" if what in found and not found[what].met else "")
                     for cell, found in zip(cells, bars)]
            rows.append([what, *cells, last.texts()[2]])
    own = [["ns a hit at L, median (minimum)", *hours]]
    for engine in (BASE, BOOST, ABSL, "rust_hashmap_fx", "rust_hashmap", "floor_xxh3_and_line"):
        pairs = [(of(run, "find_hit", engine, "L") for of in (time_of, least_of)) for run in runs]
        own.append([f"`{engine}`", *(both(*pair) for pair in pairs)])
    return (
        "### The same bars at other hours\n\nThe processor's last cache is shared with other guests of "
        "its host. While they are busy, tables of many megabytes wait for memory; while they are not, "
        "such tables stay in that cache. What a hit of tare reads at L is about 1 MB, the size of the "
        "second cache, which is the processor's own: its times hardly change, those of others do. So "
        "what is won at L is up to the neighbours, and less on a machine of one's own. Runs on one "
        "kind of machine, UTC; those beside the last whole one are kept as "
        f"`bench/results/*-lookup-*.json`.\n\n{table(own)}\n{table(rows)}")


def smaller_rows(result):
    """Where tables that hold names and numbers, and no more, take less memory than tare."""
    rows = []
    for name in sets_of(result, sweep=True):
        heap = lambda engine: counter(result, "find_hit", engine, name, "heap_bytes_per_name")
        own = heap(BASE)
        less = [(heap(e), e) for e in engines_of(result) if is_rival(e) and heap(e)]
        texts = [f"{e} {number(value)} ({value / own:.2f}x)" for value, e in sorted(less)
                 if own is not None and value < own]
        if texts:
            rows.append(["heap, bytes a name", name, number(own), "; ".join(texts)])
    return rows


def slower_section(result):
    rows, tally, total = [], {}, 0
    for pattern in PATTERNS:
        for name in sets_of(result, sweep=True):
            found = compared(result, pattern, name)
            faster = [row for row in found if row[1] < row[2]]
            total += len(found)
            for engine, _, _ in faster:
                tally[engine] = tally.get(engine, 0) + 1
            if faster:
                bases = dict.fromkeys(number(base) for _, _, base in faster)
                texts = [f"{engine} {number(time)} ({time / base:.2f}x)"
                         for engine, time, base in faster]
                rows.append([f"`{pattern}`", name, ", ".join(bases), "; ".join(texts)])
    most = sorted(tally, key=tally.get, reverse=True)
    rows += smaller_rows(result)
    lines = ["| pattern | set | tare | faster, or smaller |", "|---|---|---:|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return (
        "## Where tare is slower\n\nEvery case of this run in which a rival's median was lower, "
        f"ns: {sum(tally.values())} of {total} comparisons ("
        + (", ".join(f"{engine} {tally[engine]}" for engine in most) or "none") + "). Differences "
        "of a few percent are noise. Building is compared like with like: tables built of a list "
        "with `tare_pairs`, the safetensors crate with `tare`, from a file. In memory the others "
        "hold names and a number each; tare also dtype, shape and offset.\n\n"
        + "\n".join(lines) + "\n")


def lookup_table(result, name):
    patterns = [p for p in PATTERNS
                if any(own_time(result, p, e, name) is not None for e in engines_of(result))]
    rows = [["engine"] + [PATTERNS[p] for p in patterns] + ["heap B a name"]]
    for engine in by_hit(result, name):
        row = [f"`{engine}`"]
        for pattern in patterns:
            row.append(both(*(of(result, pattern, engine, name) for of in (time_of, least_of))))
        row.append(number(counter(result, "find_hit", engine, name, "heap_bytes_per_name")))
        rows.append(row)
    size = size_of(name)
    heading = f"### {name}" + (f": {size:,} tensors" if size else "")
    return f"{heading}\n\n{table(rows)}"


def spread_line(result):
    """How far medians and minima are apart at L, as a measure of the noise."""
    texts = []
    for engine in (BASE, ABSL):
        time, least = (of(result, "find_hit", engine, "L") for of in (time_of, least_of))
        if time is not None:
            texts.append(f"{engine} {number(time)} median, {number(least)} minimum")
    return "; ".join(texts)


def memory_line(result):
    held = lambda engine, key: number(counter(result, "build", engine, "L", key))
    if counter(result, "build", BASE, "L", "held_bytes_per_name") is None:
        return ""
    return ("At L tare holds, a tensor: " + held(BASE, "held_bytes_per_name") + " bytes, of which "
            "names " + held(BASE, "held_names") + ", index " + held(BASE, "held_index")
            + ", records " + held(BASE, "held_records") + ", distinct (dtype, shape) "
            + held(BASE, "held_shapes") + ". With pairs it holds "
            + held(PAIRS, "held_bytes_per_name") + ".\n")


def sweep_section(result):
    counts = [str(c) for c in SWEEP if own_time(result, "find_hit", BASE, str(c)) is not None]
    if not counts:
        return ""
    text = "### Over the number of tensors\n\n"
    for pattern in ("find_hit", "find_dependent"):
        rows = [[PATTERNS[pattern]] + [f"{int(count):,}" for count in counts]]
        for engine in engines_of(result):
            values = [(own_time(result, pattern, engine, count),
                       own_time(result, pattern, engine, count, min)) for count in counts]
            if any(median for median, _ in values):
                rows.append([f"`{engine}`"] + [both(*pair) for pair in values])
        text += table(rows) + "\n"
    return text.rstrip("\n") + "\n"


def instructions_section(result):
    counted = result.get("instructions")
    if not counted:
        return ""
    sets = [name for name in counted if name != "valgrind"]
    rows = [["call"] + [f"set {name}" for name in sets]]
    for pattern in counted[sets[0]]:
        rows.append([f"`{pattern}`"] + [number(counted[name].get(pattern)) for name in sets])
    return ("## Instructions\n\nA name, counted by callgrind (" + counted["valgrind"] + ") on a "
            "fixed workload with a fixed seed, `bench/count_lookups.c`: a figure that does not "
            "drift with the machine. `find_key` has its hash made before; `open` is parsing and "
            f"indexing; `indexed_` is a model from an index file.\n\n{table(rows)}")


def lines_section(result):
    rows = line_rows(result)
    if not rows:
        return ""
    return ("## What finds look at\n\nCounted by `bench/count_lines.c` over all names of a set and "
            "as many look-alikes, with a fixed seed. `away`: finds that had to read lines of the "
            "table behind the one that the hash names. `names`: stored names that the name was "
            "compared with. `lines at most`: what a find can need, by the builder's count.\n\n"
            + table(rows))


def open_section(result):
    text = ("## Opening\n\nFrom a path to a model that can be asked, files in the page cache, ms: "
            "medians and in brackets minima. `read_and_scan_quotes` reads the header into fresh "
            "memory and goes from quote to quote; cJSON gets the header in memory and parses it, no "
            "more.\n\n"
            "![Time to open](charts/open_time.svg)\n\n")
    names = [name for name in sets_of(result) if name not in GGUF]
    rows = open_rows(result, names)
    for key, label, scale in (("memory_peak", "most memory meanwhile, MB", 1e6),
                              ("memory_held", "memory held, MB", 1e6)):
        values = [counter(result, "open", BASE, name, key) for name in names]
        rows.append([f"`{BASE}`: {label}"] + [number(divide(value, scale)) for value in values])
    return text + table(rows) + gguf_section(result)


def open_rows(result, names):
    rows = [["engine"] + [f"{name} ({size_of(name):,})" for name in names]]
    for engine in engines_of(result):
        values = [time_of(result, "open", engine, name) for name in names]
        if any(values):
            least = [least_of(result, "open", engine, name) for name in names]
            rows.append([f"`{engine}`"] + [both(*pair, unit=1e6) for pair in zip(values, least)])
    return rows


def gguf_section(result):
    names = [name for name in sets_of(result) if name in GGUF]
    if not names:
        return ""
    return ("\n### GGUF\n\nThe same with GGUF files of so many tensors; `gguf_vocabulary` has 300 "
            "and 128,000 tokens in its metadata. `gguf_loop` reads field after field and goes "
            "through all names for each, as ggml does; `gguf_python` is the reader of the Python "
            "package gguf, 3 repetitions.\n\n"
            + table(open_rows(result, names) + gguf_rows(result, names))
            + "\nInstructions, counted by callgrind as above, say that work grows as the number of "
            "tensors does. Times do not quite, for what the kernel does: every opening gets fresh "
            "memory, which is made at the first touch. A few hundred tensors need less than malloc "
            "has; some thousand need pages of 4 KiB, each a fault; from 2 MiB on memory comes in huge "
            "pages too.\n")


def gguf_rows(result, names):
    """Why time a tensor differs, for those sets that are all tensors."""
    names_of_tensors = [name for name in names if name != "gguf_vocabulary"]
    each = lambda value, name: divide(value, GGUF[name]) if name in names_of_tensors else None
    rows = [
        ("ns a tensor", lambda name: each(time_of(result, "open", BASE, name), name)),
        ("instructions a tensor",
         lambda name: (result.get("gguf_instructions") or {}).get(name)),
        ("page faults a tensor",
         lambda name: each(counter(result, "open", BASE, name, "page_faults"), name)),
    ]
    rows = [(label, [value(name) for name in names]) for label, value in rows]
    return [[f"`{BASE}`: {label}"] + [number(value) for value in values]
            for label, values in rows if any(value is not None for value in values)]


def panel(result, pattern, name):
    engines = [PAIRS if pattern == "one_shot" else BASE, ABSL, BOOST, "rust_hashmap_fx",
               "rust_hashmap", "rust_safetensors", "std_unordered_map_view"]
    if pattern == "find_offset":
        engines[1] = f"{ABSL}_inline"
    if pattern == "one_shot":
        engines.insert(1, BASE)
    values = [(engine, time_of(result, pattern, engine, name)) for engine in engines]
    return [(engine, value) for engine, value in values if value is not None]


def charts(result, opening):
    """{file name: drawing} of what the results can tell."""
    drawn = {}
    notes = [f"{result['processor']}, {result['compiler']}, {result['date'][:10]}"]
    for stem, pattern, engines, title in (
            ("lookup_scaling", "find_hit", SCALING, "One lookup, random hits"),
            ("lookup_latency", "find_dependent",
             [e for e in SCALING if e != "linear"],
             "One lookup, the next name depending on the result")):
        counts = [c for c in SWEEP if own_time(result, pattern, BASE, str(c)) is not None]
        series = {e: [own_time(result, pattern, e, str(c)) for c in counts] for e in engines}
        series = {e: values for e, values in series.items() if any(values)}
        if len(counts) > 1:
            drawn[f"{stem}.svg"] = report_charts.log_log(title, notes, series, counts)
    panels = [(title, panel(result, pattern, "L")) for pattern, title in PANELS.items()]
    panels = [(title, values) for title, values in panels if values]
    if panels:
        scan = time_of(result, "find_hit", "linear", "L")
        more = f"; a linear scan takes {number(scan)} ns a hit" if scan is not None else ""
        drawn["lookup_patterns.svg"] = report_charts.bars(
            "91,985 tensors: ns a name", notes + [f"less is better{more}"], panels)
    if opening is not None:
        engines = [BASE, "read_only", "read_and_scan_quotes", "cjson_parse"]
        panels = []
        for name in [name for name in sets_of(opening) if name not in GGUF]:
            values = [(e, time_of(opening, "open", e, name)) for e in engines]
            panels.append((f"{size_of(name):,} tensors",
                           [(e, value) for e, value in values if value is not None]))
        drawn["open_time.svg"] = report_charts.bars(
            "Opening one file, ms", notes + ["less is better; files in the page cache"], panels,
            1e6)
    return drawn


def charts_section(drawn):
    titles = {"lookup_scaling.svg": "Time of a hit over the number of tensors",
              "lookup_latency.svg": "Latency over the number of tensors",
              "lookup_patterns.svg": "Time of each pattern at 91,985 tensors"}
    return "".join(f"![{text}](charts/{name})\n\n" for name, text in titles.items()
                   if name in drawn)


def markdown(result, opening, loading, others, pythons, gpu, indexed, drawn):
    results = [each for each in (result, opening, indexed) if each is not None]
    what = "".join(f"- {PATTERNS[p]} (`{p}`): {text}\n" for p, text in WHAT.items())
    parts = [
        "# Benchmarks\n\n*Written by `./x bench --report` from the newest figures in "
        "[bench/results](../bench/results); [bench/README.md](../bench/README.md) tells what is "
        "measured and how, and `./x bench all --save --report` measures anew.*\n\n"
        + machine(result),
        bars_section(results),
        hours_section(result),
        slower_section(result),
        "## Finding\n\n" + charts_section(drawn)
        + "Nanoseconds a name, medians and in brackets minima:\n\n" + what
        + "\nEngines whose name starts with `floor` find nothing: they are parts of the work, "
        "XXH3 of the name, the same and one load from a random line of an array of 16 bytes a "
        "name, and a walk through such an array in random order. `heap B a name` is what the "
        "process's heap grew by when the table was built, its copy of the names included. The "
        "machine is shared: tables of a few megabytes live in a cache that strangers use too. As a "
        f"measure of that, hits at L: {spread_line(result)}. Compare within one set only.\n\n"
        + memory_line(result),
    ]
    parts += [lookup_table(result, name) for name in sets_of(result)]
    parts += [sweep_section(result), instructions_section(result), lines_section(result)]
    if opening is not None:
        parts.append(open_section(opening))
        if opening["commit"] != result["commit"]:
            parts.append(f"The figures of opening are of commit `{opening['commit'][:12]}`, "
                         f"{opening['date'][:10]}.\n")
    if indexed is not None:
        parts.append(report_index.section(indexed))
    if loading is not None:
        parts.append(report_load_page.section(loading))
    for other in others:
        parts.append(report_load_page.section(other, other["processors"]))
    parts += [report_python.section(python) for python in pythons if python is not None]
    if gpu is not None:
        parts.append(report_gpu.section(gpu))
    return "\n".join(part for part in parts if part)


def write(folder, result, opening, loading, others, pythons, gpu, indexed):
    """Writes the page and its charts below `folder`; returns the paths."""
    drawn = charts(result, opening)
    if loading is not None:
        drawn.update(report_load_page.charts(loading))
    for other in others:
        drawn.update(report_load_page.charts(other, other["processors"]))
    if gpu is not None:
        drawn.update(report_gpu.charts(gpu))
    (folder / "charts").mkdir(parents=True, exist_ok=True)
    paths = []
    for name, drawing in drawn.items():
        paths.append(folder / "charts" / name)
        paths[-1].write_text(drawing)
    paths.append(folder / "benchmarks.md")
    paths[-1].write_text(markdown(result, opening, loading, others, pythons, gpu, indexed, drawn))
    return paths
