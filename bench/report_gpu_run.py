"""Runs bench_gpu and the peers in Python, in turn, and keeps what they measured."""

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

from report_figures import ROOT

GIB = 1 << 30
SIZES = {"large": 4 * GIB, "small": GIB}
QUICK_SIZES = {"large": GIB // 4, "small": GIB // 4}
THREADS = [1, 2, 4, 8, 12, 16]
CHUNKS = [1, 2, 4, 8, 16]  # MiB
REPETITIONS = 10
MANY = 3  # repetitions of what takes long
PROCESSES = (1, 2, 4)
PIECE, DISK_PIECE = 1 << 20, 4 << 20  # bytes of a read, for the limits
DISK_READS = (1, 4, 16, 32)  # in flight
SMALL_READS, SMALL_PIECE = 64, 256 << 10  # the same
NO_GPU = 3  # exit status of bench_gpu


class Child:
    """A process that answers lines with lines."""

    def __init__(self, *command):
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def send(self, *words):
        try:
            self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def answer(self, verb):
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{verb}: exit status {self.process.wait()}")
        return answer.strip()

    def ask(self, *words):
        self.send(*words)
        return self.answer(words[0])

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def tare_engines():
    """name: (how, threads, chunk in bytes)"""
    engines = {"tare": ("block", 0, 0), "tare_into": ("into", 0, 0), "tare_first": ("first", 0, 0),
               "tare_again": ("again", 0, 0)}
    for threads in THREADS:
        if threads <= 2 * (os.cpu_count() or 1):
            for chunk in CHUNKS:
                engines[f"tare_t{threads}_c{chunk}"] = ("block", threads, chunk << 20)
    return engines


COLD = {"tare": ("block", 0, 0), "tare_direct": ("direct", 0, 0)}

PEERS = {"safetensors": "safetensors", "torch_mmap": "mmap", "torch_to": "to"}


class Run:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.tare = Child(options.build / "bench_gpu")
        self.facts = json.loads(self.tare.ask("facts"))
        self.python, self.facts["peers"] = self.start_python()
        self.runs, self.parts, self.checked, self.others = {}, {}, set(), []
        self.limits = {"link": [], "links": {}, "busy": {}, "host": {}, "map": {}, "disk": {},
                       "disk_small": {}}

    def start_python(self):
        python = os.environ.get("TARE_BENCH_PYTHON", sys.executable)
        child = Child(python, ROOT / "bench" / "peers" / "gpu_peer.py")
        try:
            return child, json.loads(child.ask("facts"))
        except RuntimeError as failed:
            print(f"bench_gpu: without Python's loaders: {failed}", file=sys.stderr)
            return None, f"left out: {failed}"

    def load(self, state, engine, model):
        """One load, with its pages as they shall be; checked the first time."""
        name, path, tensors, size = model
        left = int(self.tare.ask(state, path))
        if state == "cold" and left > size // 100:
            raise RuntimeError(f"the page cache keeps {left} bytes of {path}")
        child = self.python if engine in PEERS else self.tare
        (self.tare if child is self.python else self.python or self.tare).ask("drop")
        if engine in PEERS:
            opened, seconds = 0.0, float(child.ask("load", PEERS[engine], path))
        else:
            how, threads, chunk = {**tare_engines(), **COLD}[engine]
            opened, seconds = map(float, child.ask("load", how, path, threads, chunk).split())
        if (engine, name) not in self.checked:
            wrong = int(child.ask("check", path))
            if wrong:
                sys.exit(f"bench_gpu: {engine} loads other bytes than the file's: {wrong} tensors")
            self.checked.add((engine, name))
        run = self.runs.setdefault(f"{state}/{engine}/{name}", {
            "times_ns": [], "opens_s": [], "counters": {"bytes": size, "tensors": tensors}})
        run["times_ns"].append(float(f"{(opened + seconds) * 1e9:.6g}"))
        run["opens_s"].append(float(f"{opened:.4g}"))

    def rounds(self, state, model, repetitions):
        """`repetitions` is {engine: how many}; every round asks all in another order."""
        order = random.Random(1)
        for number in range(max(repetitions.values())):
            engines = [engine for engine, count in repetitions.items() if number < count]
            order.shuffle(engines)
            if state == "warm":
                self.limits["link"].append(float(self.tare.ask("limit")))
            if state == "cold" and model[0] == "large":
                for count in DISK_READS:
                    self.tare.ask("cold", model[1])
                    self.limit("disk", model[1], count, DISK_PIECE)
                self.tare.ask("cold", model[1])
                self.limit("disk_small", model[1], SMALL_READS, SMALL_PIECE)
            for engine in engines:
                self.load(state, engine, model)

    def floors(self, path):
        processors = os.cpu_count() or 1
        half = max(1, processors // 2)
        for kind, threads in (("host", (1, half, processors)), ("map", (1, half, processors)),
                              ("busy", (half, processors))):
            self.tare.ask("warm", path)
            for count in sorted(set(threads)):
                for _ in range(3):
                    self.limit(kind, path, count, PIECE)

    def limit(self, kind, path, count, piece):
        rate = float(self.tare.ask(kind.split("_")[0], path, count, piece))
        self.limits[kind].setdefault(str(count), []).append(rate)

    def load_parts(self, model):
        """The tensors dealt out to processes and devices, all at one time."""
        name, path, tensors, size = model
        devices = self.facts["devices"]
        shapes = [(count, 1) for count in PROCESSES]
        shapes += [(1, devices), (devices, devices)] if devices > 1 else []
        for _ in range(max(processes for processes, _ in shapes) - 1 - len(self.others)):
            self.others.append(Child(self.options.build / "bench_gpu"))
        self.tare.ask("drop")
        for _ in range(self.options.repetitions):
            for processes, used in shapes:
                seconds = self.load_at_once(path, processes, used)
                run = self.parts.setdefault(f"{processes}/{used}", {"times_ns": [], "bytes": size})
                run["times_ns"].append(float(f"{seconds * 1e9:.6g}"))
            for used in sorted({1, devices}):
                self.limits["links"].setdefault(str(used), []).append(
                    float(self.tare.ask("links", used)))

    def load_at_once(self, path, processes, used):
        children = [self.tare, *self.others][:processes]
        count = max(processes, used)
        shares = [[f"{part}:{part % used}" for part in range(count) if part % processes == child]
                  for child in range(processes)]
        for _ in range(2):  # the first one opens devices and takes pinned memory
            for child in children:
                child.ask("drop")
            start = time.monotonic()
            for child, share in zip(children, shares):
                child.send("parts", path, count, *share)
            for child in children:
                child.answer("parts")
        seconds = time.monotonic() - start
        if ("parts", processes, used) not in self.checked:
            wrong = sum(int(child.ask("check_parts", path)) for child in children)
            if wrong:
                sys.exit(f"bench_gpu: {processes} processes load {wrong} tensors wrong")
            self.checked.add(("parts", processes, used))
        for child in children:
            child.ask("drop")
        return seconds

    def run_parts(self, size):
        """Only these, for machines of several GPUs."""
        path, tensors, size = self.tare.ask("make", "large", size, self.folder).split()
        self.tare.ask("warm", path)
        self.limits["link"].append(float(self.tare.ask("limit")))
        self.load_parts(("large", path, int(tensors), int(size)))

    def run_set(self, name, size):
        print(f"bench_gpu: set {name} ...", file=sys.stderr, flush=True)
        path, tensors, size = self.tare.ask("make", name, size, self.folder).split()
        model = (name, path, int(tensors), int(size))
        count, few = self.options.repetitions, min(MANY, self.options.repetitions)
        peers = PEERS if self.python else {}
        if peers:
            self.python.ask("save", path)
        warm = {engine: count if "_c" not in engine else few for engine in tare_engines()}
        warm.update({engine: few if name == "large" else min(2, few) for engine in peers})
        if name == "small" and peers:
            warm["torch_mmap"] = 1  # ten seconds
        self.rounds("warm", model, warm)
        cold = {engine: few for engine in COLD}
        if name == "large":
            self.floors(path)
            self.load_parts(model)
            cold.update({engine: min(2, few) for engine in peers if engine == "safetensors"})
        try:
            self.rounds("cold", model, cold)
        except RuntimeError as failed:
            print(f"bench_gpu: no cold loads: {failed}", file=sys.stderr)
        for left in pathlib.Path(self.folder).iterdir():
            left.unlink()


def run(options, facts_of_run):
    """The result; ends the program, and says why, where there is no GPU."""
    program = options.build / "bench_gpu"
    if subprocess.run([program], stdin=subprocess.DEVNULL).returncode == NO_GPU:
        sys.exit("report.py: nothing to measure")
    parent = os.environ.get("TARE_BENCH_DIR", "/var/tmp")
    sizes = QUICK_SIZES if options.quick else SIZES
    options.repetitions = options.repetitions or REPETITIONS
    with tempfile.TemporaryDirectory(prefix="tare-bench-", dir=parent) as folder:
        if shutil.disk_usage(folder).free < 3 * max(sizes.values()):
            sys.exit(f"report.py: too little room in {folder}; set TARE_BENCH_DIR")
        state = Run(options, folder)
        for name in options.sets or sizes:
            if name == "parts":
                state.run_parts(sizes["large"])
            else:
                state.run_set(name, sizes[name])
        for child in [state.tare, *state.others]:
            child.end()
    context = {"num_cpus": os.cpu_count(), "caches": [], "load_avg": list(os.getloadavg()),
               "compiler": state.facts["compiler"], "tare_linkage": "static",
               "compiler_flags": state.facts["compiler_flags"],
               "tare_version": state.facts["tare_version"]}
    facts = facts_of_run("gpu", context, options)
    facts["pinned_to_cpu"] = None
    facts["cache_state"] = "each figure says whether the file was in the page cache"
    return {**facts, "gpu": state.facts["gpu"], "cuda": state.facts["cuda"],
            "devices": state.facts["devices"], "peers": state.facts["peers"],
            "limits": state.limits, "parts": state.parts, "runs": state.runs}
