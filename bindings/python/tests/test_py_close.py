"""Closing a file while a call on it is under way: by another thread, and by what the call runs."""

import json
import subprocess
import sys
import threading

import numpy
import pytest
import tare
from conftest import build
from tare.safetensors import SafetensorError, safe_open

COUNT, SIZE = 8, 2 << 20


@pytest.fixture
def large(tmp_path):
    """Tensors that are read without the GIL, each of one number."""
    rows = [(f"t{i}", "U8", [SIZE], bytes([i + 1]) * SIZE) for i in range(COUNT)]
    path = tmp_path / "large.safetensors"
    path.write_bytes(build(rows))
    return path


SAFE = {
    "get_tensor": lambda file, i: file.get_tensor(f"t{i}"),
    "get_tensors": lambda file, i: file.get_tensors()[f"t{i}"],
    "get_slice": lambda file, i: file.get_slice(f"t{i}")[:],
}
MODEL = {
    "numpy": lambda model, i: model[f"t{i}"].numpy(),
    "slice": lambda model, i: model[f"t{i}"][:],
    "tobytes": lambda model, i: numpy.frombuffer(model[f"t{i}"].tobytes(), "u1"),
    "load": lambda model, i: model.load([f"t{i}"])[f"t{i}"],
}
WAYS = [
    *(
        pytest.param(
            lambda path, backend=backend: safe_open(path, "np", backend=backend),
            lambda file: file.__exit__(None, None, None),
            way,
            SafetensorError,
            id=f"safe_open {backend} {name}",
        )
        for backend in ("mmap", "pread")
        for name, way in SAFE.items()
    ),
    *(
        pytest.param(
            lambda path, mmap=mmap: tare.open(path, mmap=mmap),
            lambda model: model.close(),
            way,
            tare.ClosedError,
            id=f"open mmap={mmap} {name}",
        )
        for mmap in (True, False)
        for name, way in MODEL.items()
        if name != "numpy" or not mmap  # which runs nothing else
    ),
]


class Reader:
    """Reads tensors until the file is closed; counts the reads that the end came in."""

    def __init__(self, file, way, ended):
        self.file, self.way, self.ended = file, way, ended
        self.closed, self.reads, self.overlaps, self.wrong = False, 0, 0, []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while True:
            before, i = self.closed, self.reads % COUNT
            try:
                array = self.way(self.file, i)
            except self.ended:
                return
            except BaseException as error:
                self.wrong.append(error)
                return
            self.overlaps += self.closed and not before
            if array.shape != (SIZE,) or array[0] != i + 1 or (array != i + 1).any():
                self.wrong.append((i, array))
            del array
            self.reads += 1


@pytest.mark.parametrize(("open_", "close", "way", "ended"), WAYS)
def test_a_file_may_be_closed_while_another_thread_reads_it(large, open_, close, way, ended):
    overlaps = 0
    for _ in range(1000):  # one or two are enough: a reader holds the GIL for a moment only
        file = open_(large)
        reader = Reader(file, way, ended)
        while reader.reads == 0 and reader.thread.is_alive():
            pass
        close(file)
        reader.closed = True
        others = [open_(large) for _ in range(2)]  # which may get the memory and the descriptors
        reader.thread.join()
        assert reader.wrong == []
        overlaps += reader.overlaps
        del others
        if overlaps >= 3:
            return
    pytest.fail("no read was under way when the file was closed")


IMPORTS = {
    "numpy get_tensor": ("numpy", "safe_open(path, 'np')", "f.get_tensor('f')"),
    "numpy get_tensors": ("numpy", "safe_open(path, 'np')", "f.get_tensors()['f']"),
    "numpy get_slice": ("numpy", "safe_open(path, 'np')", "f.get_slice('f')[:]"),
    "numpy pread": ("numpy", "safe_open(path, 'np', backend='pread')", "f.get_tensor('f')"),
    "numpy of a model": ("numpy", "tare.open(path)", "f['f'].numpy()"),
    "numpy of its slice": ("numpy", "tare.open(path)", "f['f'][:]"),
    "numpy of its load": ("numpy", "tare.open(path)", "f.load()['f']"),
    "ml_dtypes": ("ml_dtypes", "safe_open(path, 'np')", "f.get_tensor('b').astype('f4')"),
    "ml_dtypes of a load": ("ml_dtypes", "tare.open(path)", "f.load()['b'].astype('f4')"),
    "errors": ("tare.safetensors", "safe_open(path, 'np')", "miss(f)"),
}

PROGRAM = """if True:
    import json, sys, threading
    import tare
    from tare._tare import safe_open

    module, path, opened, use = sys.argv[1:]
    f = eval(opened)
    assert module not in sys.modules

    def miss(f):
        try:
            f.get_tensor("g")
        except KeyError as error:
            assert str(error) == "no tensor is named 'g'; did you mean 'f' or 'b'?", error
            from numpy import arange
            return arange(3)

    def end():
        if hasattr(f, "close"):
            f.close()
        else:
            f.__exit__(None, None, None)

    class Finder:
        seen = 0

        def find_spec(self, name, *rest):
            if name == module:
                Finder.seen += 1
                thread = threading.Thread(target=end)
                thread.start()
                thread.join()

    sys.meta_path.insert(0, Finder())
    array = eval(use)
    print(json.dumps([Finder.seen, array.tolist()]))"""


@pytest.mark.parametrize("case", IMPORTS)
def test_a_file_may_be_closed_while_a_call_imports(tmp_path, case):
    """In a process of its own, whose first use of a module it is; the file ends just then."""
    path = tmp_path / "small.safetensors"
    numbers = numpy.arange(3, dtype="f4")
    half = (numbers.view("u4") >> 16).astype("u2")
    path.write_bytes(build([("f", "F32", [3], numbers.tobytes()), ("b", "BF16", [3], half.tobytes())]))
    module, opened, use = IMPORTS[case]
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROGRAM, module, path, opened, use],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [1, [0, 1, 2]]
