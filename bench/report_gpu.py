"""What can be said about loading to a GPU: figures, bars, tables, the section of the page."""

import re
import statistics

import report_charts
import report_tables
from report_figures import Bar, divide, number
from report_load import Loads

LABELS = {
    "tare": "tare", "tare_into": "tare_load_into", "tare_first": "tare, first load",
    "tare_again": "tare, just freed", "tare_direct": "tare, past the page cache",
    "safetensors": "safetensors", "torch_mmap": "torch.load, mmap", "torch_to": "mmap, then .to()",
}
STATES = {"warm": "the file in the page cache", "cold": "nothing of the file in the page cache"}
WHY = "adr/0011-device-loading.md"
SWEPT = re.compile(r"tare_t(\d+)_c(\d+)")


def link(result):
    """The most that was seen between pinned memory and the device, bytes a second."""
    return max(result["limits"]["link"])


def disk(result):
    limits = result["limits"]
    rates = [*limits["disk"].values(), *limits.get("disk_small", {}).values()]
    return max((statistics.median(each) for each in rates), default=None)


def bars_of(result):
    loads, bars = Loads(result), []
    speed = lambda state, engine, name: loads.speed(state, engine, name)
    percent = lambda part, whole: None if divide(part, whole) is None else 100 * divide(part, whole)
    bars.append(Bar("large warm: of the link's limit",
                    percent(speed("warm", "tare", "large"), link(result)), ">=", 85, " %", WHY))
    for name, wanted in (("large", 6), ("small", 20)):
        ratio = divide(speed("warm", "tare", name), speed("warm", "safetensors", name))
        bars.append(Bar(f"{name} warm: as fast as safetensors", ratio, ">=", wanted, "x"))
    for engine, how in (("tare", ""), ("tare_direct", ", past the page cache")):
        bars.append(Bar(f"large cold{how}: of the disk's limit",
                        percent(speed("cold", engine, "large"), disk(result)), ">=", 95, " %", WHY))
    for each in [result, *result.get("others", [])]:
        two = divide(parts_rate(each, "1/2"), parts_rate(each, "1/1"))
        bars.append(Bar("two GPUs in one process: as fast as one", two, ">=", 1.5, "x", WHY))
    return [bar for bar in bars if bar.value is not None]


def parts_rate(result, key):
    """Bytes a second of parts in PROCESSES/DEVICES, or None."""
    run = result.get("parts", {}).get(key)
    return run and run["bytes"] / statistics.median(run["times_ns"]) * 1e9


def parts_rows(result):
    rows = [["processes", "GPUs", "GB/s", "best", "of one and one", "of the links"]]
    links = result["limits"]["links"]
    for key, run in result["parts"].items():
        processes, used = key.split("/")
        rate = parts_rate(result, key)
        rows.append([processes, used, number(rate / 1e9),
                     number(run["bytes"] / min(run["times_ns"])),
                     number(divide(rate, parts_rate(result, "1/1"))) + "x",
                     number(divide(rate, max(links[used]))) if used in links else ""])
    return rows


def rows_of(result, state, name):
    loads = Loads(result)
    rows = [["engine", "GB/s", "best", "of the link", "of tare", "ms"]]
    for engine in loads.engines(state, name):
        if SWEPT.fullmatch(engine):
            continue
        rate = loads.speed(state, engine, name)
        times = divide(loads.speed(state, "tare", name), rate)
        rows.append([engine, number(rate / 1e9), number(loads.speed(state, engine, name, min) / 1e9),
                     number(rate / link(result)), "" if engine == "tare" else number(times) + "x",
                     number(loads.seconds(state, engine, name, True) * 1e3)])
    return rows


def sweep_of(result, name):
    """GB/s by threads and size of a chunk."""
    loads = Loads(result)
    cells = {}
    for engine in loads.engines("warm", name):
        found = SWEPT.fullmatch(engine)
        if found:
            cells[tuple(map(int, found.groups()))] = loads.speed("warm", engine, name) / 1e9
    threads, chunks = (sorted({key[i] for key in cells}) for i in (0, 1))
    rows = [["threads"] + [f"{chunk} MiB" for chunk in chunks]]
    for count in threads:
        rows.append([str(count)] + [number(cells.get((count, chunk))) for chunk in chunks])
    return rows


def limit_lines(result):
    rates = lambda kind: ", ".join(
        f"{number(statistics.median(each) / 1e9)} with {count}"
        for count, each in result["limits"][kind].items())
    peers = result["peers"]
    if isinstance(peers, dict):
        peers = ", ".join(f"{what} {version}" for what, version in peers.items())
    return [("GPU", f"{result['gpu']}, CUDA {result['cuda'] // 1000}.{result['cuda'] % 1000 // 10}"),
            ("machine", f"{result['processor']}, {result['processors']} processors; "
                        f"{result['kernel']}"),
            ("compiler", f"{result['compiler']} `{result['compiler_flags']}`"),
            ("peers", peers),
            ("limit of the link", f"{number(link(result) / 1e9)} GB/s from pinned memory"),
            ("the link while others read from the page cache", f"GB/s: {rates('busy')} threads"),
            ("page cache into memory that is there, read", f"GB/s: {rates('host')} threads"),
            ("the same, copied from a mapping", f"GB/s: {rates('map')} threads"),
            ("disk, past the page cache", f"GB/s: {rates('disk')} reads of 4 MiB in flight, "
                                          f"{rates('disk_small')} of 256 KiB"),
            *([("note", result["note"])] if "note" in result else [])]


def sets_of(result):
    return [name for name in ("large", "small") if any(key.endswith("/" + name)
                                                       for key in result["runs"])]


def print_gpu(result):
    for what, text in limit_lines(result):
        print(f"{what}: {text}")
    for name in sets_of(result):
        for state, words in STATES.items():
            rows = rows_of(result, state, name)
            if len(rows) > 1:
                print(f"\n{name}, {state}: {words}")
                report_tables.print_table(rows)
        print(f"\n{name}, warm, GB/s by threads and chunks")
        report_tables.print_table(sweep_of(result, name))
    if result.get("parts"):
        print("\nlarge, warm, dealt out to processes and GPUs")
        report_tables.print_table(parts_rows(result))
    print()
    report_tables.print_table([["bar", "reached", "wanted", ""]]
                              + [bar.texts() for bar in bars_of(result)])


def charts(result):
    loads, panels, looks = Loads(result), [], {"link": ("c-floor", "the link's limit")}
    for name in sets_of(result):
        values = [(engine, loads.speed("warm", engine, name))
                  for engine in loads.engines("warm", name) if not SWEPT.fullmatch(engine)]
        values.append(("link", link(result)))
        count = int(loads.counter("warm", "tare", name, "tensors"))
        panels.append((f"{count:,} tensors, in the page cache", values))
        for engine, _ in values[:-1]:
            looks[engine] = ("c-tare" if engine.startswith("tare") else "c-absl", LABELS[engine])
    notes = [f"{result['gpu']}, {result['processor']}, {result['processors']} processors, "
             f"{result['date'][:10]}", "more is better; from the path to bytes on the device"]
    return {"load_gpu.svg": report_charts.bars("Loading to a GPU: GB/s", notes, panels, 1e9, looks)}


def parts_text(result):
    many = result["devices"] > 1
    where = f" on a machine of {result['devices']} GPUs" if many else ""
    text = f"\n### large, warm: dealt out to processes and GPUs{where}\n\n"
    if many:
        text += (f"{result['date'][:10]}, commit `{result['commit'][:12]}`; {result['processor']}, "
                 f"{result['processors']} processors. ")
    return text + ("The tensors in turn to as many parts, all loaded at one time; of the most that "
                   f"the links gave at one time.\n\n{report_tables.table(parts_rows(result))}")


def section(result):
    bars = bars_of(result)
    text = ("## Loading to a GPU\n\nFrom the path of a model to the bytes of its tensors on the "
            f"device, real time, medians, engines in turn; {result['date'][:10]}, commit "
            f"`{result['commit'][:12]}`. The first time that an engine loads a model, all bytes are "
            "read back and compared with the file by XXH3-128.\n\n")
    text += "".join(f"- {what}: {words}\n" for what, words in limit_lines(result))
    rows = [["bar", "reached", "wanted", ""]] + [bar.linked(bar.texts()) for bar in bars]
    text += "\n" + report_tables.table(rows)
    text += "\n![GB/s](charts/load_gpu.svg)\n"
    text += ("\n`tare` is `tare_open` and `tare_load` with a `tare_device` that has loaded before; "
             "`tare_first` with one that has not, so that pinned memory is taken meanwhile; "
             "`tare_into` is `tare_load_into` memory that is there. `tare_again` begins just after a "
             "block of that size was closed, while the GPU clears it; before all others 100 ms pass. "
             "`tare_direct` is told to read past the page cache. `safetensors` is `load_file` "
             "with a device; `torch_mmap` is `torch.load` of a mapped file of torch's; `torch_to` "
             "is `load_file` for the host, which maps, and then `.to()`. Python's allocator keeps "
             "the device's memory between loads, tare takes it anew.\n")
    for name in sets_of(result):
        for state, words in STATES.items():
            rows = rows_of(result, state, name)
            if len(rows) > 1:
                rows = [rows[0]] + [[f"`{row[0]}`", *row[1:]] for row in rows[1:]]
                text += f"\n### {name}, {state}: {words}\n\n{report_tables.table(rows)}"
        text += (f"\n### {name}, warm: GB/s by threads and chunks\n\n"
                 + report_tables.table(sweep_of(result, name)))
    for each in [result, *result.get("others", [])]:
        if each.get("parts"):
            text += parts_text(each)
    return text
