"""What can be said about index files: the section of the page."""

from report_figures import SIZES, both, counter, divide, least_of, number, time_of
from report_tables import table

SETS = {"1000": 1000, "L": SIZES["L"], "million": SIZES["million"], "shards_74": 139000}
ENGINES = {
    "tare_first": "headers read, first tensor",
    "indexed": "index file, opening alone",
    "indexed_first": "index file, first tensor",
    "indexed_sharded": "index file of shards, first tensor",
    "indexed_cold": "index file not cached, first tensor",
    "safetensors_crate": "the crate safetensors, first tensor",
    "safetensors_python": "Python's safetensors, first tensor",
}
PROCESSES = {"tare_processes": "headers read", "indexed_processes": "index file"}


def time(result, engine, name):
    return time_of(result, "open", engine, name)


def own_memory(result, engine, name):
    return counter(result, "open", engine, name, "private_size")


def time_rows(result, names):
    rows = [["", *(f"{SETS[name]:,}" + (" in 74 shards" if name == "shards_74" else "")
                   for name in names)]]
    for engine, label in ENGINES.items():
        values = [time(result, engine, name) for name in names]
        if any(values):
            least = [least_of(result, "open", engine, name) for name in names]
            rows.append([f"`{engine}`: {label}"]
                        + [both(*pair, unit=1e6) for pair in zip(values, least)])
    return rows


def section(result):
    names = [name for name in SETS if time(result, "indexed_first", name)]
    memory = [["KiB", *(f"{SETS[name]:,}" for name in names)]]
    for engine, label in PROCESSES.items():
        values = [own_memory(result, engine, name) for name in names]
        memory.append([label] + [number(divide(v, 1024)) for v in values])
    return ("## A prebuilt index\n\nFrom a path to a model that can be asked, with the "
            "[index file](format_index.md) that `tare index` makes, ms: medians and in brackets "
            f"minima of {result['repetitions']}, {result['date'][:10]}, commit "
            f"`{result['commit'][:12]}`. \"First tensor\": one name is found and the address of its "
            "bytes is known. Files are in the page cache, but for those of `indexed_cold`. Of "
            "`safetensors_python` it is 3 repetitions.\n\n"
            + table(time_rows(result, names))
            + "\nWhat opening adds to the memory that is each of eight processes' own (`Private_*` "
            "of smaps_rollup), the most of them, in one run. Each process opens it twice, and the "
            "second time counts: the first also takes what a program's first steps take. \"-\" is "
            "nothing that could be measured, or not asked.\n\n"
            + table(memory))
