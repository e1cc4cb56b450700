#!/usr/bin/env python3
"""The binding for Python beside the package safetensors, in one process, in turn.

    bench_python.py [--quick] [--save] [--results FOLDER] [--json-out FILE] [--inside]

`./x bench python` runs it with MODELS, a make_model that has been built. It makes a virtual
environment as the tests do, builds the binding into it, and goes on in its Python. With --inside
it runs in the Python at hand, whose tare and safetensors must be there.
"""

import argparse
import datetime
import gc
import json
import os
import pathlib
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import report_python
from report_figures import RESULTS, ROOT
from report_run import command_output, processor, to_json

LARGE_COUNT = 40


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="3 repetitions, 400 MB of large tensors"
    )
    parser.add_argument("--repetitions", type=int)
    parser.add_argument(
        "--large", type=float, metavar="GIB", help="default 4, less where memory is short"
    )
    parser.add_argument("--save", action="store_true", help="keep the figures in bench/results/")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--json-out", type=pathlib.Path, metavar="FILE")
    parser.add_argument(
        "--names", type=pathlib.Path, metavar="FILE", help="names of small tensors, one a line"
    )
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/bench")
    parser.add_argument("--inside", action="store_true", help="use the Python that runs this")
    options = parser.parse_args()
    if options.repetitions is None:
        options.repetitions = 3 if options.quick else 10
    return options


# Outside: an environment, the binding, and this program again.


def enter(options):
    sys.path.insert(0, str(ROOT / "bindings/python/tests"))
    import run_python

    python = run_python.environment(str(ROOT / "build/python"))
    compiler = os.environ.get("CC", "cc")
    if (
        run_python.build(python, options.build / "python", compiler, "", xxhash_of(options.build))
        != 0
    ):
        sys.exit("bench_python.py: the binding was not built")
    more = {"PYTHONPATH": str(options.build / "python/site"), "PYTHONDONTWRITEBYTECODE": "1"}
    arguments = [str(a) for a in sys.argv[1:]] + ["--inside"]
    if options.names is None:
        names = options.build / "python/names.txt"
        write_names(options.build / "make_model", names)
        arguments += ["--names", str(names)]
    os.execve(python, [python, os.path.abspath(__file__), *arguments], {**os.environ, **more})


def xxhash_of(build):
    for line in (build / "CMakeCache.txt").read_text().splitlines():
        if line.startswith("TARE_XXHASH_INCLUDE_DIR"):
            return line.partition("=")[2]
    return ""


def write_names(make_model, target):
    """Those of set L."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        file = pathlib.Path(folder, "l.safetensors")
        subprocess.run(
            [make_model, file, "--set", "L", "--single"], check=True, stdout=subprocess.DEVNULL
        )
        with open(file, "rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(size))
    header.pop("__metadata__", None)
    target.write_text("\n".join(header), "utf-8")


# Inside: models, and what is timed.


def write_model(path, tensors, chunk):
    """A file of F16 tensors [(name, shape)], filled with `chunk` over and over."""
    header, at = {}, 0
    for name, shape in tensors:
        size = 2 * shape[0] * shape[1]
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        while at > 0:
            at -= out.write(chunk[:at])


def memory_available():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def large_size(options, folder):
    wanted = options.large or (0.4 if options.quick else 4)
    # The file in the page cache, what safetensors loads, and a copy of that.
    room = min(memory_available() / 3.5, shutil.disk_usage(folder).free / 1.5)
    return int(min(wanted * (1 << 30), room)) // LARGE_COUNT // 16384 * 16384 * LARGE_COUNT


class Bench:
    def __init__(self, repetitions):
        self.repetitions = repetitions
        self.runs = {}

    def compare(self, pattern, name, items, engines):
        """Times the engines in turn, first one first and then last one first."""
        print(f"bench_python.py: {pattern}, {name} ...", file=sys.stderr, flush=True)
        order = list(engines.items())
        for repetition in range(self.repetitions + 1):
            for engine, call in order if repetition % 2 else reversed(order):
                gc.collect()
                begin = time.perf_counter_ns()
                made = call()
                taken = (time.perf_counter_ns() - begin) / items
                del made
                if repetition > 0:  # the first one warms caches up
                    run = self.runs.setdefault(f"{pattern}/{engine}/{name}", {"times_ns": []})
                    run["times_ns"].append(float(f"{taken:.5g}"))


def check_equal(one, other):
    assert one.keys() == other.keys()
    for name in list(one)[:: max(1, len(one) // 500)]:
        assert one[name].tobytes() == other[name].tobytes(), name


def bench_small(bench, path, torch):
    import safetensors
    import safetensors.numpy
    import tare
    import tare.safetensors.numpy

    theirs, ours = safetensors.safe_open(path, "np"), tare.safetensors.safe_open(path, "np")
    model = tare.open(path)
    names = list(model)
    count, base = len(names), (("safetensors", theirs), ("tare", ours))
    check_equal(safetensors.numpy.load_file(path), tare.safetensors.numpy.load_file(path))
    bench.compare(
        "open",
        "small",
        1,
        {
            "safetensors": lambda: safetensors.safe_open(path, "np"),
            "tare": lambda: tare.safetensors.safe_open(path, "np"),
        },
    )
    bench.compare("keys", "small", count, {engine: file.keys for engine, file in base})
    bench.compare(
        "get_tensor",
        "small",
        count,
        {
            **{
                engine: lambda get=file.get_tensor: {name: get(name) for name in names}
                for engine, file in base
            },
            "tare_model": lambda: {name: model[name].numpy() for name in names},
        },
    )
    bench.compare(
        "get_slice",
        "small",
        count,
        {engine: lambda get=file.get_slice: [get(name) for name in names] for engine, file in base},
    )
    bench.compare(
        "read_slice",
        "small",
        count,
        {
            engine: lambda get=file.get_slice: [get(name)[1:3] for name in names]
            for engine, file in base
        },
    )
    bench.compare(
        "load_file",
        "small",
        count,
        {
            "safetensors": lambda: safetensors.numpy.load_file(path),
            "tare": lambda: tare.safetensors.numpy.load_file(path),
        },
    )
    if torch:
        import safetensors.torch
        import tare.safetensors.torch

        base = (
            ("safetensors", safetensors.safe_open(path, "pt")),
            ("tare", tare.safetensors.safe_open(path, "pt")),
        )
        bench.compare(
            "get_tensor_torch",
            "small",
            count,
            {
                engine: lambda get=file.get_tensor: {name: get(name) for name in names}
                for engine, file in base
            },
        )
        bench.compare(
            "load_file_torch",
            "small",
            count,
            {
                "safetensors": lambda: safetensors.torch.load_file(path),
                "tare": lambda: tare.safetensors.torch.load_file(path),
            },
        )


def copied(tensors):
    """In place, so that no more than one tensor is there three times."""
    for name in tensors:
        tensors[name] = (
            tensors[name].clone() if hasattr(tensors[name], "clone") else tensors[name].copy()
        )
    return tensors


def bench_large(bench, path, size, torch):
    import safetensors.numpy
    import tare
    import tare.safetensors.numpy

    def load(**options):
        with tare.open(path) as model:
            return model.load(**options)

    check_equal(safetensors.numpy.load_file(path), load())
    bench.compare(
        "load_aligned",
        "large",
        size,
        {
            "safetensors_copy": lambda: copied(safetensors.numpy.load_file(path)),
            "safetensors": lambda: safetensors.numpy.load_file(path),
            "safetensors_pread": lambda: safetensors.numpy.load_file(path, backend="pread"),
            "tare": load,
        },
    )
    if torch:
        import safetensors.torch

        bench.compare(
            "load_aligned_torch",
            "large",
            size,
            {
                "safetensors_copy": lambda: copied(safetensors.torch.load_file(path)),
                "tare": lambda: load(framework="torch"),
            },
        )


def facts(options, size, torch):
    import numpy
    import safetensors
    import tare

    versions = {
        "safetensors": safetensors.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__ if torch else "not there",
    }
    return {
        "what": "python",
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": command_output("git", "rev-parse", "HEAD"),
        "changed_since_commit": bool(
            command_output("git", "status", "--porcelain", "--", "src", "include", "bindings")
        ),
        "processor": processor(),
        "processors": len(os.sched_getaffinity(0)),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "compiler": command_output(os.environ.get("CC", "cc"), "--version").split("\n")[0],
        "compiler_flags": "-O3 -DNDEBUG",
        "tare_version": tare.__version__,
        "engines": versions,
        "load_average_before": list(os.getloadavg()),
        "large_size": size,
        "cache_state": "warm: files in the page cache",
        "repetitions": options.repetitions,
    }


def main():
    options = parse_arguments()
    if not options.inside:
        enter(options)
    try:
        import torch
    except ImportError:
        torch = None
    where = os.environ.get("TARE_BENCH_DIR", "/var/tmp")
    with tempfile.TemporaryDirectory(dir=where, prefix="tare-python-") as folder:
        size = large_size(options, folder)
        result = facts(options, size, torch)
        bench = Bench(options.repetitions)
        chunk = os.urandom(1 << 24)
        small, large = (os.path.join(folder, f"{name}.safetensors") for name in ("small", "large"))
        names = options.names.read_text("utf-8").split("\n")
        write_model(small, [(name, [4, 32]) for name in names], chunk)
        bench_small(bench, small, torch)
        bench.repetitions = max(3, options.repetitions // 2)
        result["repetitions_large"] = bench.repetitions
        each = size // LARGE_COUNT
        write_model(
            large,
            [(f"layers.{i}.weight", [each // 16384, 8192]) for i in range(LARGE_COUNT)],
            chunk,
        )
        bench_large(bench, large, size, torch)
    result["runs"] = bench.runs
    if options.json_out:
        options.json_out.write_text(to_json(result))
    if options.save:
        path = options.results / f"{result['date'][:10]}-python.json"
        options.results.mkdir(parents=True, exist_ok=True)
        path.write_text(to_json(result))
        print(f"saved as {os.path.relpath(path)}", file=sys.stderr)
    report_python.print_result(result)


if __name__ == "__main__":
    main()
