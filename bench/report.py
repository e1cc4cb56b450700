#!/usr/bin/env python3
"""Runs the benchmarks of build/bench and prints tables, and the bars that must be reached.

    report.py [lookup|open|index|load|gpu|all] [--quick] [--sets S,M,L,XL,lists,sweep] [--names FILE]...
    report.py all --save --report   keep the figures in bench/results/, and write them up
    report.py load --save --sets large --states cold    keep one part; the others stay as they are
    report.py --report              write up what was kept: docs/benchmarks.md and docs/charts/
    report.py --load FILE           print the tables of a kept run again

Every set runs in a process of its own, in which the repetitions of all engines are interleaved at
random. Figures are medians over the repetitions. What is kept is every repetition's time, with the
machine, compiler, flags, kernel and commit it was taken with.
"""

import argparse
import json
import os
import pathlib
import sys

import report_gpu_run
import report_load_run
import report_page
from report_figures import RESULTS, ROOT
from report_print import print_result
from report_run import PROGRAMS, SETS, facts_of_run, run, to_json


def save(result, folder):
    folder.mkdir(parents=True, exist_ok=True)
    if result["what"] == "load":
        result = report_load_run.merge(newest("load", folder), result)
    path = folder / f"{result['date'][:10]}-{result['what']}.json"
    path.write_text(to_json(result))
    print(f"saved as {os.path.relpath(path)}", file=sys.stderr)


def newest(what, folder):
    """The kept result of that kind that was taken last, or None."""
    kept = [json.loads(path.read_text()) for path in sorted(folder.glob(f"*-{what}.json"))]
    return max(kept, key=lambda result: result["date"], default=None)


def beside(what, folder):
    """What is kept beside it, of other machines or hours: DATE-WHAT-SOMETHING.json."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"*-{what}-*.json"))]


def write_report(options):
    lookup, opening, loading = (newest(what, options.results) for what in ("lookup", "open", "load"))
    indexed, gpu = (newest(what, options.results) for what in ("index", "gpu"))
    if lookup is None:
        sys.exit(f"report.py: nothing in {options.results}; run ./x bench all --save first")
    lookup["others"] = beside("lookup", options.results)
    if gpu is not None:
        gpu["others"] = beside("gpu", options.results)
    others = beside("load", options.results)
    pythons = [newest("python", options.results), *beside("python", options.results)]
    for path in report_page.write(options.report_to, lookup, opening, loading, others, pythons, gpu,
                                  indexed):
        print(f"written: {os.path.relpath(path)}", file=sys.stderr)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", nargs="?", choices=["lookup", "open", "index", "load", "gpu", "all"], default="all",
                        help="gpu is not among all")
    parser.add_argument("--quick", action="store_true",
                        help="3 short repetitions, without XL and published lists; small models")
    parser.add_argument("--sets", type=lambda text: text.split(","),
                        help="such as S,L,lists,sweep (lookup), L,million (open), small (load), "
                             "parts (gpu)")
    parser.add_argument("--states", type=lambda text: text.split(","),
                        help="such as warm,cold_subset (load); default all")
    parser.add_argument("--names", action="append", default=[], metavar="FILE",
                        help="also look up the names of a file or index.json (lookup)")
    parser.add_argument("--repetitions", type=int, help="default 10; of loads 3 or 5")
    parser.add_argument("--min-time", type=float,
                        help="seconds a repetition, default 0.02 for lookup and 0.05 for open")
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)),
                        help="processor to run on, -1 for any; default the last")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "bench",
                        help="folder of the programs")
    parser.add_argument("--json-out", type=pathlib.Path, metavar="FILE", help="write the results")
    parser.add_argument("--save", action="store_true", help="keep them in bench/results/")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, metavar="FOLDER",
                        help="default bench/results/")
    parser.add_argument("--report", action="store_true",
                        help="write up the newest results of bench/results/; runs with --save only")
    parser.add_argument("--report-to", type=pathlib.Path, default=ROOT / "docs", metavar="FOLDER",
                        help="default docs/")
    parser.add_argument("--load", type=pathlib.Path, metavar="FILE", help="print saved results")
    options = parser.parse_args()
    known = {name for sets in SETS.values() for name in sets} | {"parts"}
    for name in options.sets or []:
        if name not in known:
            parser.error(f"no set {name}; there are {', '.join(sorted(known))}")
    for name in options.states or []:
        if name not in report_load_run.STATES:
            parser.error(f"no state {name}; there are {', '.join(report_load_run.STATES)}")
    part = options.sets is not None and options.what != "load"
    if (options.quick or part) and options.save and options.results == RESULTS:
        parser.error("bench/results/ keeps whole runs, and parts of load; name another folder with "
                     "--results")
    if options.repetitions is None and options.quick:
        options.repetitions = 3
    return options


def run_gpu(options):
    result = report_gpu_run.run(options, facts_of_run)
    if options.save:
        save(result, options.results)
    if options.json_out:
        options.json_out.write_text(to_json(result))
    return [result]


def run_all(options):
    if options.what == "gpu":
        return run_gpu(options)
    kinds = list(SETS) if options.what == "all" else [options.what]
    if options.sets:
        kinds = [kind for kind in kinds if set(options.sets) & set(SETS[kind])]
    if not kinds:
        sys.exit("report.py: no set to run")
    for kind in kinds:
        program = options.build / f"bench_{PROGRAMS.get(kind, kind)}"
        if not program.exists():
            sys.exit(f"report.py: no {program}; run ./x bench")
    results = []
    for kind in kinds:
        results.append(run(kind, options))
        if options.save:
            save(results[-1], options.results)
    if options.json_out:
        options.json_out.write_text(
            "[" + ",".join(map(to_json, results)) + "]\n" if len(results) > 1
            else to_json(results[0]))
    return results


def main():
    options = parse_arguments()
    results = []
    if options.load:
        loaded = json.loads(options.load.read_text())
        results = loaded if isinstance(loaded, list) else [loaded]
    elif options.save or not options.report:
        results = run_all(options)
    for result in results:
        print_result(result)
    if options.report:
        write_report(options)


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(1)
