"""The Python package safetensors for bench_load, in a process of its own: obeys lines of stdin.

    time MODE PATH NAMES     load; answers "SECONDS_TO_OPEN SECONDS_TO_LOAD", keeps the tensors
    show                     their bytes to stdout, in the order of the names
    peak                     answers by how many bytes the process grew at most while it loaded,
                             less those of the tensors, or -1

MODE is load (load_file; opening is part of it), pread (load_file with backend="pread"), copy
(load_file, then each array copied) or some (safe_open, then get_tensor of each name). NAMES is a
file of names, one a line.
"""

import sys
import time

import numpy
import safetensors
from safetensors.numpy import load_file


def load(mode, path, names):
    if mode == "some":
        start = time.perf_counter()
        with safetensors.safe_open(path, framework="np") as file:
            opened = time.perf_counter()
            tensors = {name: file.get_tensor(name) for name in names}
            return tensors, opened - start, time.perf_counter() - opened
    start = time.perf_counter()
    tensors = load_file(path, backend="pread") if mode == "pread" else load_file(path)
    if mode == "copy":
        for name in tensors:
            tensors[name] = tensors[name].copy()
    return tensors, 0.0, time.perf_counter() - start


def status_field(field):
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return -1


def forget_peak():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True


def peak(before, tensors):
    if before is None:
        return -1
    return max(0, status_field("VmHWM") - before - sum(t.nbytes for t in tensors.values()))


def read_names(path):
    with open(path) as file:
        return file.read().splitlines()


def main():
    answer = lambda text: (sys.stdout.buffer.write(f"{text}\n".encode()), sys.stdout.flush())
    answer(f"{sys.version.split()[0]}, safetensors {safetensors.__version__}, "
           f"numpy {numpy.__version__}")
    tensors, names, before = {}, [], None
    for line in sys.stdin:
        verb, *arguments = line.rstrip("\n").split("\t")
        if verb == "time":
            mode, path, names_path = arguments
            names = read_names(names_path)
            before = status_field("VmRSS") if forget_peak() else None
            tensors, opened, loaded = load(mode, path, names)
            answer(f"{opened!r} {loaded!r}")
        elif verb == "peak":
            answer(peak(before, tensors))
        elif verb == "show":
            for name in names:
                sys.stdout.buffer.write(memoryview(tensors[name]).cast("B"))
            sys.stdout.flush()


main()
