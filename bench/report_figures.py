"""What can be said about results: medians, bars and whether they are met, where tare is slower."""

import pathlib
import statistics

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
SIZES = {"S": 323, "M": 5900, "L": 91985, "XL": 993417, "million": 1700000}
GGUF = {"gguf_300": 300, "gguf_5900": 5900, "gguf_40000": 40000, "gguf_vocabulary": 300}
LISTS = {"mixtral-8x22b": 1739, "qwen3.5-25b-moe": 22213}  # published names
SWEEP = [10**power for power in range(1, 7)]
PATTERNS = {
    "find_hit": "hit", "find_miss": "miss", "find_order": "order", "find_dependent": "dependent",
    "find_offset": "offset", "find_many": "many", "find_many_16": "many 16",
    "find_threads": "threads", "find_cold": "cold", "build": "build", "one_shot": "one shot",
}
BATCHES = ("find_many", "find_many_16")
BASE = "tare"  # the engine that ratios refer to
PAIRS = "tare_pairs"
ABSL = "absl_flat_hash_map"


def own_time(result, pattern, engine, name, of=statistics.median):
    run = result["runs"].get(f"{pattern}/{engine}/{name}")
    return of(run["times_ns"]) if run else None


def time_of(result, pattern, engine, name, of=statistics.median):
    """Nanoseconds an item, or None. An engine without a call for batches goes by its loop."""
    time = own_time(result, pattern, engine, name, of)
    if time is None and pattern in BATCHES and not engine.startswith("floor"):
        time = own_time(result, "find_hit", engine, name, of)
    return time


def least_of(result, pattern, engine, name):
    return time_of(result, pattern, engine, name, min)


def counter(result, pattern, engine, name, key):
    run = result["runs"].get(f"{pattern}/{engine}/{name}", {})
    return run.get("counters", {}).get(key)


def engines_of(result):
    """tare first, floors last."""
    names = {name.split("/")[1] for name in result["runs"]}
    return sorted(names, key=lambda e: (e.startswith("floor"), e != BASE, e != PAIRS, e))


def is_rival(engine):
    return not engine.startswith(("tare", "floor"))


def sets_of(result, sweep=False):
    """The sets of the run in order of size, with those of the sweep or without."""
    names = {name.split("/")[2] for name in result["runs"]}
    sizes = {**SIZES, **LISTS}
    known = [name for name in [*sorted(sizes, key=sizes.get), *GGUF] if name in names]
    other = sorted(name for name in names if name not in known and not name.isdigit())
    return known + other + [str(count) for count in SWEEP if sweep and str(count) in names]


def size_of(name):
    known = {**SIZES, **LISTS, **GGUF}
    return known.get(name) or (int(name) if name.isdigit() else None)


def number(value):
    """Three figures, thousands separated."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if 0 < value < 0.1 else f"{value:.2f}"


def both(time, least, unit=1):
    """A median and its minimum, each divided by `unit`."""
    return "-" if time is None else f"{number(time / unit)} ({number(least / unit)})"


def divide(a, b):
    return a / b if a is not None and b else None


def line_rows(result):
    """A table of what finds look at, or None where the run does not tell."""
    counted = result.get("lines")
    if not counted:
        return None
    rows = [["set", "hits away", "misses away", "lines a hit", "lines a miss", "names a hit",
             "names a miss", "lines at most"]]
    for name, figures in counted.items():
        hit, miss = figures["hit"], figures["miss"]
        rows.append([name, f"{100 * hit['away']:.2f}%", f"{100 * miss['away']:.2f}%",
                     f"{hit['lines']:.3f}", f"{miss['lines']:.3f}", f"{hit['comparisons']:.4f}",
                     f"{miss['comparisons']:.4f}", str(figures["probe_max"])])
    return rows


class Bar:
    """Something that must be reached: `value` is None where the run cannot tell. `why` is the page
    in docs/ that tells why it is not met, if there is one."""

    def __init__(self, what, value, relation, bar, unit, why=None):
        self.what, self.value, self.relation = what, value, relation
        self.bar, self.unit, self.why = bar, unit, why
        self.least = None  # `value` as minima would have it, where repetitions differ

    def holds(self, value):
        compare = {">=": float.__ge__, "<=": float.__le__, "<": float.__lt__}[self.relation]
        return compare(float(value), float(self.bar))

    @property
    def met(self):
        return self.holds(self.value)

    @property
    def met_by_least(self):
        return self.holds(self.value if self.least is None else self.least)

    def texts(self):
        reached = number(self.value) + self.unit
        wanted = f"{self.relation} {self.bar}{self.unit}"
        return [self.what, reached, wanted, "met" if self.met else "NOT MET"]

    def linked(self, texts):
        """The same texts for the page, which leads to why a bar is not met."""
        why = f" ([why]({self.why}))" if self.why and not self.met else ""
        return [*texts[:-1], texts[-1] + why]

    def texts_of_both(self):
        """With `least` behind what is reached: see BARS_HEAD."""
        least = "-" if self.least is None else number(self.least) + self.unit
        texts = self.texts()
        return [*texts[:2], least, *texts[2:]]


BARS_HEAD = ["bar", "medians", "minima", "wanted", ""]
WHY_LOOKUP = "adr/0002-index-layout.md"


def lookup_bars(result, of):
    time = lambda pattern, engine, name: of(result, pattern, engine, name)

    def faster(text, pattern, rival, name, bar, base=BASE):
        value = divide(time(pattern, rival, name), time(pattern, base, name))
        return Bar(f"{name} {text}", value, ">=", bar, "x", WHY_LOOKUP)

    def no_slower(text, pattern, rival, name):
        value = divide(time(pattern, BASE, name), time(pattern, rival, name))
        return Bar(f"{name} {text}", value, "<=", 1, "x", WHY_LOOKUP)

    yield faster("hit: absl / tare", "find_hit", ABSL, "L", 3)
    yield faster("hit: Rust's HashMap / tare", "find_hit", "rust_hashmap", "L", 10)
    yield faster("hit: linear scan / tare", "find_hit", "linear", "L", 1000)
    floor = time("find_hit", "floor_xxh3_and_line", "L")
    yield Bar("L hit: tare / XXH3 and one line", divide(time("find_hit", BASE, "L"), floor),
              "<=", 7, "x")
    yield faster("name to offset, dependent: absl with the offset inline / tare", "find_offset",
                 f"{ABSL}_inline", "L", 2.5)
    for name, bar in (("L", 4), ("XL", 3)):
        for pattern, size in (("find_many", 256), ("find_many_16", 16)):
            yield faster(f"batch of {size}: absl's loop / tare", pattern, ABSL, name, bar)
    for name in ("S", "M"):
        rivals = {e: time("find_hit", e, name) for e in engines_of(result) if is_rival(e)}
        rivals = {e: value for e, value in rivals.items() if value is not None}
        if rivals:
            best = min(rivals, key=rivals.get)
            yield no_slower(f"hit: tare / the fastest rival, {best}", "find_hit", best, name)
        yield faster("hit: Rust's HashMap / tare", "find_hit", "rust_hashmap", name, 3)
    for name in ("S", "M", "L"):
        yield no_slower("miss: tare / absl", "find_miss", ABSL, name)
    yield faster("one shot: absl / tare from pairs", "one_shot", ABSL, "L", 1.5, PAIRS)
    yield Bar("L memory of everything, from a file, a tensor",
              counter(result, "build", BASE, "L", "held_bytes_per_name"), "<=", 60, " B",
              "adr/0005-names-in-full.md")


def open_bars(result, of):
    time = lambda engine, name: of(result, "open", engine, name)
    held = lambda key: counter(result, "open", BASE, "L", key)
    yield Bar("L open: tare / reading and scanning for quotes",
              divide(time(BASE, "L"), time("read_and_scan_quotes", "L")), "<=", 2, "x")
    yield Bar("L memory beside names and shapes, a tensor", held("bytes_per_tensor"), "<=", 64,
              " B")
    yield Bar("1,700,000 tensors: time to open", divide(time(BASE, "million"), 1e9), "<", 1, " s")
    yield Bar("1,700,000 tensors: time a tensor / that of L",
              divide(divide(time(BASE, "million"), SIZES["million"]),
                     divide(time(BASE, "L"), SIZES["L"])), "<=", 2, "x")
    yield Bar("1,700,000 tensors: most memory",
              divide(counter(result, "open", BASE, "million", "memory_peak"), 1e6), "<", 400,
              " MB")
    for name in GGUF:
        yield Bar(f"{name}: the Python package gguf / tare",
                  divide(time("gguf_python", name), time(BASE, name)), ">=", 50, "x")
    each = lambda name: divide(time(BASE, name), GGUF[name])
    yield Bar("GGUF: time a tensor of 40,000 / of 5,900", divide(each("gguf_40000"),
              each("gguf_5900")), "<=", 1.5, "x")


def index_bars(result, of):
    time = lambda engine, name: divide(of(result, "open", engine, name), 1e3)
    yield Bar("L, index file: open and find", time("indexed_first", "L"), "<=", 150, " us")
    yield Bar("L, open and find: headers read / index file",
              divide(time("tare_first", "L"), time("indexed_first", "L")), ">=", 50, "x")
    yield Bar("index file, open and find: 1,700,000 tensors / 1,000",
              divide(time("indexed_first", "million"), time("indexed_first", "1000")), "<=", 2, "x")
    yield Bar("index file, open and find: 139,000 tensors in 74 shards",
              time("indexed_first", "shards_74"), "<=", 300, " us")
    for name in ("L", "shards_74"):
        own = counter(result, "open", "indexed_processes", name, "private_size")
        yield Bar(f"index file, {name}: own memory of each of 8 processes",
                  None if own is None else own / 1024, "<=", 64, " KiB")


def bars_of(result):
    """The bars that the run can tell about, by medians; minima choose their own fastest rival."""
    make = {"lookup": lookup_bars, "open": open_bars, "index": index_bars}[result["what"]]
    bars = list(make(result, time_of))
    for bar, other in zip(bars, make(result, least_of), strict=True):
        bar.least = other.value if other.value != bar.value else None
    return [bar for bar in bars if bar.value is not None]


def base_of(pattern, engine):
    """What an engine is to be compared with: tables built of a list with tare built of a list,
    those that read a file with tare that reads it."""
    if pattern in ("build", "one_shot"):
        return BASE if engine == "rust_safetensors" else PAIRS
    return BASE


def compared(result, pattern, name):
    """[(engine, its time, tare's time)] of all rivals, the fastest first."""
    found = []
    for engine in filter(is_rival, engines_of(result)):
        time = time_of(result, pattern, engine, name)
        base = time_of(result, pattern, base_of(pattern, engine), name)
        if time is not None and base is not None:
            found.append((engine, time, base))
    return sorted(found, key=lambda row: row[1])
