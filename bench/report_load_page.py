"""The section of docs/benchmarks.md about loading, and its charts."""

import report_charts
from report_load import (
    BARS_HEAD, STATES, WHAT, Loads, bars_of, label, machine_lines, rows_of, set_text,
)
from report_tables import table

COLOURS = [("tare", "c-tare"), ("crate", "c-crate"), ("python", "c-absl"), ("cp", "c-std"),
           ("floor", "c-floor")]
TITLES = {
    "warm": "all, in the page cache", "warm_subset": "a fifth, in the page cache",
    "cold": "all, cold", "cold_subset": "a fifth, cold",
}


def looks_of(engine):
    """Class and label, as report_charts.ENGINES has them."""
    return next(colour for start, colour in COLOURS if engine.startswith(start)), label(engine)


def panels_of(loads, name):
    """Without what only maps, whose bars would dwarf the others."""
    panels = []
    for state in STATES:
        values = [(engine, loads.speed(state, engine, name))
                  for engine in loads.engines(state, name) if engine != "tare_map_touch"]
        if values:
            panels.append((TITLES[state], values))
    return panels


def chart_name(name, other):
    return f"load_{name}_{other}.svg" if other else f"load_{name}.svg"


def charts(result, other=0):
    """`other`: the processors of another machine than that of the rest of the page."""
    loads, drawn = Loads(result), {}
    notes = [f"{result['processor']}, {result['processors']} processors, {result['compiler']}, "
             f"{result['date'][:10]}", "more is better; from the path to bytes in memory; a number "
             "is that of threads, or of reads in flight"]
    for name in loads.sets():
        panels = panels_of(loads, name)
        looks = {engine: looks_of(engine) for _, values in panels for engine, _ in values}
        drawn[chart_name(name, other)] = report_charts.bars(
            f"{set_text(loads, name)}: GB/s", notes, panels, 1e9, looks)
    return drawn


def section(result, other=0):
    loads, bars = Loads(result), bars_of(result)
    missed = sum(not bar.met for bar in bars)
    title = f"Loading on {other} processors" if other else "Loading"
    commits = sorted({part["commit"][:12] for part in result["parts"].values()})
    text = (f"## {title}\n\nFrom the path of a model to the bytes of its tensors in memory, real "
            "time, medians, engines interleaved at random; each part ran in a process of its own, "
            f"of commit {' and '.join(f'`{commit}`' for commit in commits)}; "
            f"{result['processors']} processors, not bound to one.\n\n")
    text += "".join(f"- {what}: {words}\n" for what, words in machine_lines(result))
    text += (f"\n{len(bars) - missed} of {len(bars)} bars are met. Medians decide; what minima "
             "would say stands beside. Loading alone is compared with the plain loops, the whole "
             "way from the path with the other loaders.\n\n")
    text += table([BARS_HEAD] + [bar.linked(bar.texts()) for bar in bars])
    text += ("\nEngines whose name starts with `floor` are plain loops: `read_reused` is pread "
             "into memory that is there already; `read_fresh` pread, and `copy_fresh` memcpy from "
             "a mapping, into memory that the kernel has to make; `direct` reads with O_DIRECT. "
             "`best` is the fastest run. `open` is the part of the time before the engine knew "
             "where its tensors are. `beyond` is what the process grew by at most, the tensors' "
             "own memory apart and mapped pages included; `hooks` the same by the allocation "
             "hooks; `huge` how much lay in huge pages.\n")
    for name in loads.sets():
        text += f"\n### {set_text(loads, name)}\n\n![GB/s](charts/{chart_name(name, other)})\n"
        for state in STATES:
            rows = rows_of(loads, state, name)
            if len(rows) > 1:
                rows = [rows[0]] + [[f"`{row[0]}`", *row[1:]] for row in rows[1:]]
                text += f"\n`{state}`: {WHAT[state]}\n\n{table(rows)}"
    return text
