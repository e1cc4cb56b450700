"""What can be said about loading: figures, bars, tables for the terminal."""

import re
import statistics

import report_tables
from report_figures import Bar, divide, number

SETS = ["large", "small"]
STATES = ["warm", "warm_subset", "cold", "cold_subset"]
BASE = "tare"  # the library's own choices; ratios refer to it
DIRECT = "tare_direct"  # the same, told to read past the page cache
WAYS = {BASE: "left to itself", DIRECT: "past the page cache"}
FLIGHT = 32 << 20  # of tare_flight32
WHY = "adr/0006-load-threads.md"
MANY_PROCESSORS = 16
WHAT = {
    "warm": "all tensors, the file in the page cache",
    "warm_subset": "a random fifth of the tensors, in random order, the file in the page cache",
    "cold": "all tensors, nothing of the file in the page cache",
    "cold_subset": "a random fifth in random order, nothing in the page cache",
}


def load_times(run):
    """Seconds of every repetition from knowing where tensors are to their bytes in memory."""
    return [time / 1e9 - opened for time, opened in zip(run["times_ns"], run["opens_s"])]


def part_of(key):
    """"cold_subset/tare/small" -> "small cold_subset"."""
    state, _, name = key.split("/")
    return f"{name} {state}"


def held_text(result, part):
    return "" if part.get("held") or not result.get("page_reporting") else ", memory not held before"


def parts_text(result):
    """When each part ran; parts of one result may have run at different times."""
    parts = result["parts"]
    names = [f"{name} {state}" for name in SETS for state in STATES]
    texts = [f"{name}: {part['date'].replace('T', ' ')[:16]}, {part['repetitions']} repetitions, "
             f"{part['seconds']} s, load before {part['load_average_before'][0]:.2f}"
             f"{held_text(result, part)}"
             for name, part in ((name, parts[name]) for name in names if name in parts)]
    missing = [name for name in names if name not in parts]
    return "; ".join(texts + ["not run: " + ", ".join(missing)] * bool(missing))


class Loads:
    """One result, asked by state, engine and set. Seconds are those of loading alone, or `whole`:
    from the path on."""

    def __init__(self, result):
        self.result, self.runs = result, result["runs"]

    def run(self, state, engine, name):
        return self.runs.get(f"{state}/{engine}/{name}")

    def seconds(self, state, engine, name, whole=False, of=statistics.median):
        run = self.run(state, engine, name)
        if run is None:
            return None
        return of([time / 1e9 for time in run["times_ns"]] if whole else load_times(run))

    def speed(self, state, engine, name, of=statistics.median):
        """Bytes a second, from the path on."""
        seconds = self.seconds(state, engine, name, True, of)
        return divide(self.counter(state, engine, name, "bytes"), seconds)

    def counter(self, state, engine, name, key):
        return (self.run(state, engine, name) or {}).get("counters", {}).get(key)

    def most_memory(self, engine, name, key):
        """The most that the engine needed in any state in which that was measured."""
        values = [self.counter(state, engine, name, key) for state in STATES]
        return max((value for value in values if value is not None), default=None)

    def engines(self, state, name):
        """Fastest first, floors last."""
        found = [parts[1] for parts in (key.split("/") for key in self.runs)
                 if parts[0] == state and parts[2] == name]
        return sorted(found, key=lambda e: (e.startswith("floor"),
                                            self.seconds(state, e, name, True)))

    def sets(self):
        there = {key.split("/")[2] for key in self.runs}
        return [name for name in SETS if name in there]

    def best(self, state, name, pattern, of):
        """The least seconds of the engines whose name matches, and which it was."""
        found = [(self.seconds(state, engine, name, of=of), engine)
                 for engine in self.engines(state, name) if re.fullmatch(pattern, engine)]
        return min(found, default=(None, None))

    def fastest_floor(self, state, name):
        """Of the plain loops that end with the bytes in fresh memory."""
        return self.best(state, name, "floor_(direct|read|copy)_fresh.*", statistics.median)[1]

    def threads(self):
        return [int(count) for count in self.result["threads"].split(", ")]


def fresh_bars(loads, name):
    """Warm into fresh memory, against the best of the plain loops, which read or copy from a
    mapping, with as many threads and such pages."""
    def against(what, engine, pattern):
        _, floor = loads.best("warm", name, pattern, statistics.median)
        if floor is None or loads.run("warm", engine, name) is None:
            return None
        figures = [divide(loads.seconds("warm", floor, name, of=of),
                          loads.seconds("warm", engine, name, of=of))
                   for of in (statistics.median, min)]
        text = f"{name} warm, {what}: of {label(floor)}"
        return LoadBar(text, figures, ">=", 0.9, "")

    loop = "floor_(read|copy)_fresh"
    for threads in loads.threads():
        for pages in ("4k", "huge"):
            end = f"_t{threads}_{pages}"
            yield against(f"{threads} thread{'s' * (threads > 1)}, {label_pages(pages)}",
                          f"tare_buffered{end}", loop + end)
    yield against("left to itself", BASE, f"{loop}_t{max(loads.threads())}_huge")


def rival_bars(loads):
    large = 4 if loads.result["processors"] >= MANY_PROCESSORS else 1.8
    for name, rivals in (("large", {"python_copy": large, "crate_copy": large}),
                         ("small", {"python": 10, "crate_copy": 2})):
        for rival, bar in rivals.items():
            figures = [divide(loads.seconds("warm", rival, name, True, of),
                              loads.seconds("warm", BASE, name, True, of))
                       for of in (statistics.median, min)]
            yield LoadBar(f"{name} warm, from the path: {label(rival)} / tare", figures, ">=", bar,
                          "x")


def cold_bars(loads, name):
    """Each way against the best plain loop of all, and against those that go the same way: past the
    page cache into fresh memory, or through it."""
    through = "floor_read_(reused|fresh)_t.*"
    for engine, loops in ((DIRECT, f"{through}|floor_direct_t.*"),
                          (DIRECT, "floor_direct_fresh_t.*"),
                          (BASE, f"{through}|floor_direct_t.*"), (BASE, through)):
        _, floor = loads.best("cold", name, loops, statistics.median)
        if floor is None or loads.run("cold", engine, name) is None:
            continue
        figures = [divide(loads.seconds("cold", floor, name, of=of),
                          loads.seconds("cold", engine, name, of=of))
                   for of in (statistics.median, min)]
        yield LoadBar(f"{name} cold, {WAYS[engine]}: of {label(floor)}", figures, ">=", 0.95, "")


def a_byte(loads, state, engine, name, of=statistics.median):
    return divide(loads.seconds(state, engine, name, of=of),
                  loads.counter(state, engine, name, "bytes"))


def subset_bars(loads, name):
    """Time a byte against that of all tensors, and against a plain loop that reads the same fifth."""
    for state, engine in (("warm", BASE), ("cold", BASE), ("cold", DIRECT)):
        some = f"{state}_subset"
        loop, whole = loads.fastest_floor(some, name), loads.fastest_floor(state, name)
        if loop is None or whole is None or loads.run(some, engine, name) is None:
            continue
        floor = divide(a_byte(loads, some, loop, name), a_byte(loads, state, whole, name))
        both = (statistics.median, min)
        text = f"{name} {state}, {WAYS[engine]}, a fifth"
        figures = [divide(*(a_byte(loads, s, engine, name, of) for s in (some, state)))
                   for of in both]
        yield LoadBar(f"{text}: time a byte / that of all (of plain loops {number(floor)}x)",
                      figures, "<=", 1.3, "x")
        figures = [divide(loads.seconds(some, loop, name, of=of),
                          loads.seconds(some, engine, name, of=of)) for of in both]
        yield LoadBar(f"{text}: of {label(loop)}", figures, ">=", 0.9, "")


def memory_bars(loads, name):
    peak, hooks, known = (loads.most_memory("tare_flight32", name, key)
                          for key in ("peak_beyond", "hooks_beyond", "metadata"))
    if peak is not None and known is not None:
        peak = max(peak, hooks or 0)
        yield LoadBar(f"{name}: most memory beyond the block / 32 MiB in flight and "
                      f"{number(known / 1e6)} MB of metadata", [peak / (FLIGHT + known)] * 2,
                      "<=", 1, "x")


class LoadBar(Bar):
    """Medians decide; what minima would say stands beside."""

    def __init__(self, what, figures, relation, bar, unit):
        super().__init__(what, figures[0], relation, bar, unit, WHY)
        self.least = figures[1]

    def texts(self):
        what, reached, wanted, met = super().texts()
        return [what, reached, number(self.least) + self.unit, wanted, met]


BARS_HEAD = ["bar", "medians", "minima", "wanted", ""]


def bars_of(result):
    loads = Loads(result)
    bars = []
    for name in loads.sets():
        bars += fresh_bars(loads, name)
    bars += rival_bars(loads)
    for name in loads.sets():
        bars += [*cold_bars(loads, name), *subset_bars(loads, name), *memory_bars(loads, name)]
    return [bar for bar in bars if bar is not None and bar.value is not None]


LABELS = {
    "tare": "tare", "tare_direct": "tare, direct", "tare_map_touch": "tare, mapped, touched", "tare_flight32": "tare, 32 MiB",
    "crate_copy": "safetensors crate", "python": "Python load_file",
    "python_copy": "Python, and copied", "python_pread": "Python, pread",
    "python_some": "Python get_tensor", "cp": "cp to /dev/shm",
}
KINDS = {
    "tare_buffered": "tare, buffered", "tare_direct": "tare, direct",
    "floor_memcpy": "memcpy", "floor_read_reused": "pread, reused", "floor_direct": "O_DIRECT",
    "floor_read_fresh": "pread, fresh", "floor_copy_fresh": "copied, fresh",
    "floor_direct_fresh": "O_DIRECT, fresh",
}


def label_pages(pages):
    return "huge pages" if pages == "huge" else "4 KiB pages"


def label(engine):
    """"tare_buffered_t2_huge" -> "tare, buffered, 2 huge"."""
    found = re.fullmatch(r"(.*)_t(\d+)(?:_(4k|huge))?", engine)
    if found is None:
        return LABELS.get(engine, engine)
    kind, threads, pages = found.groups()
    return f"{KINDS.get(kind, kind)}, {threads}" + (f" {pages}" if pages else "")


def size_text(size):
    return f"{size / (1 << 30):.3g} GiB" if size >= 1 << 30 else f"{size / (1 << 20):,.0f} MiB"


def set_text(loads, name):
    for state in STATES[::2]:
        for engine in loads.engines(state, name):
            size, tensors = (loads.counter(state, engine, name, key) for key in
                             ("bytes", "tensors"))
            return f"{name}: {int(tensors):,} tensors, {size_text(size)}"
    return name


def rows_of(loads, state, name):
    """Head and rows of one table; also for the page."""
    rows = [["engine", "GB/s", "best", "of tare", "open ms", "beyond MB", "hooks MB", "huge MB"]]
    base = loads.seconds(state, BASE, name, True)
    mega = lambda value: "" if value is None else number(value / 1e6)
    for engine in loads.engines(state, name):
        opened = statistics.median(loads.run(state, engine, name)["opens_s"])
        memory = [mega(loads.counter(state, engine, name, key))
                  for key in ("peak_beyond", "hooks_beyond", "huge")]
        times = divide(base, loads.seconds(state, engine, name, True))
        rows.append([engine, number(loads.speed(state, engine, name) / 1e9),
                     number(loads.speed(state, engine, name, min) / 1e9),
                     "" if engine == BASE or times is None else number(times) + "x",
                     number(opened * 1e3) if opened else "", *memory])
    return rows


def machine_lines(result):
    kept = [("parts", parts_text(result)), ("python", result["engines"]["python"]), ("rust", result["engines"]["rust"]),
            ("cp", result["engines"]["cp"]), ("cold", result["cold"]),
            ("direct", result["direct"]),
            ("files", f"{result['file_system']} on {result['device']}"),
            ("memory", f"{size_text(result['memory'])}, pages of {result['page_size']} bytes, huge "
                       f"pages: {result['huge_pages']}")]
    if result.get("size_text"):
        kept.append(("sizes", result["size_text"]))
    if result.get("page_reporting"):
        kept.append(("note", "this system gives free memory back to its host two seconds after it "
                             "became free, and has to get it anew, which is slow; before each load "
                             "as much as it needs is held until then, except where parts say "
                             "otherwise"))
    return kept


def print_load(result):
    loads = Loads(result)
    for what, text in machine_lines(result):
        print(f"{what}: {text}")
    for name in loads.sets():
        print(f"\n{set_text(loads, name)}")
        for state in STATES:
            rows = rows_of(loads, state, name)
            if len(rows) > 1:
                print(f"\n{state}: {WHAT[state]}")
                report_tables.print_table(rows)
    print("\n  GB/s: from the path to bytes in memory, opening included; best: of the fastest run;")
    print("  beyond: most that the process grew by, the tensors' own memory apart, mapped pages"
          " included;\n  hooks: the same by the allocation hooks; huge: memory in huge pages")


def print_bars(result):
    bars = bars_of(result)
    if bars:
        print()
        report_tables.print_table([BARS_HEAD] + [bar.texts() for bar in bars])
        print("  loading alone, medians decide; what is compared from the path on includes opening")
