"""Bytes stay while anything looks at them; nothing stays when nothing does."""

import gc
import os
import signal
import sys
import threading
import time
import tracemalloc
import weakref

import numpy
import pytest
import tare
from conftest import NUMPY_LENDS, build
from tare.safetensors import safe_open


def mapped(path):
    with open("/proc/self/maps") as maps:
        return str(path) in maps.read()


VIEWS = {
    "numpy": lambda model: model["t.I64"].numpy(),
    "a view of it": lambda model: model["t.I64"].numpy()[1:][..., 0:3].T,
    "memoryview": lambda model: memoryview(model["t.I64"]),
    "raw": lambda model: model["t.I64"].raw,
    "tensor": lambda model: model["t.I64"],
    "asarray": lambda model: numpy.asarray(model["t.I64"]),
    "capsule": lambda model: model["t.I64"].__dlpack__(max_version=(1, 0)),
    "iterator": lambda model: iter(model),
}
if NUMPY_LENDS:
    VIEWS["dlpack"] = lambda model: numpy.from_dlpack(model["t.I64"])


@pytest.mark.parametrize("kind", VIEWS)
def test_a_view_keeps_the_bytes(path, tensors, kind):
    model = tare.open(path)
    view = VIEWS[kind](model)
    model.close()
    del model
    os.unlink(path)
    gc.collect()
    assert mapped(path)
    if kind not in ("capsule", "iterator"):
        found = view.numpy() if kind == "tensor" else numpy.asarray(view)
        wanted = tensors["t.I64"]
        if kind == "a view of it":
            wanted = wanted[1:][..., 0:3].T
        elif kind == "raw":
            wanted = numpy.frombuffer(wanted.tobytes(), "u1")
        numpy.testing.assert_array_equal(found, wanted)
        del found
    del view
    gc.collect()
    assert not mapped(path)


def test_arrays_of_safe_open_keep_the_bytes(path, tensors):
    with safe_open(path, "np") as file:
        array, part = file.get_tensor("t.I64"), file.get_slice("t.I64")
    del file
    numpy.testing.assert_array_equal(array, tensors["t.I64"])
    numpy.testing.assert_array_equal(part[1:], tensors["t.I64"][1:])
    del array
    assert mapped(path)
    del part
    assert not mapped(path)


def test_one_array_keeps_the_block_of_a_load(path, tensors):
    arrays = tare.open(path).load()
    one = arrays.pop("t.F64")
    del arrays
    gc.collect()
    numpy.testing.assert_array_equal(one, tensors["t.F64"])


def test_opened_bytes_are_kept_and_given_back(path):
    class Source(bytearray):
        pass

    source = Source(path.read_bytes())
    alive = weakref.ref(source)
    model = tare.open(source)
    source.model = model  # a cycle through the bytes
    with pytest.raises(BufferError):
        source.append(0)
    array = model["t.F32"].numpy()
    del source, model
    gc.collect()
    assert alive() is not None and array.sum() == sum(range(60))
    del array
    gc.collect()
    assert alive() is None


def test_nothing_leaks(path):
    """Python's memory and descriptors, over every way to use a model and to fail."""
    content = path.read_bytes()
    bad = content[:-1]

    def use():
        with tare.open(path) as model:
            for name in model:
                tensor = model[name]
                tensor.numpy(), tensor[...], tensor.tobytes(), tensor.raw, tensor.__dlpack__()
                tensor.name, tensor.shape, repr(tensor)
            model.load(), dict(model.items()), model.metadata, model.prefix("t"), model.shards
            for fails in (
                lambda: model["t"],
                lambda: model["t.F32"][9],
                lambda: model["t.F32"]["x"],
                lambda: model.load(["x"]),
                lambda: model.load(3),
                lambda: tare.open(bad),
                lambda: tare.open("/nowhere"),
                lambda: tare.open(3),
                lambda: model.load(progress=lambda done, total: 1 / 0),
            ):
                with pytest.raises(Exception):
                    fails()
        with safe_open(path, "np") as file:
            file.get_tensors(), file.keys(), file.metadata(), file.get_slice("t.F32")[1:, 0, ::2]
            with pytest.raises(Exception):
                file.get_tensor("x")
        tare.save({"a": numpy.zeros(3), "b": tare.open(content)["t.F32"]}, {"k": "v"})

    tracemalloc.start()
    for _ in range(20):
        use()
    gc.collect()
    descriptors, size = len(os.listdir("/proc/self/fd")), tracemalloc.get_traced_memory()[0]
    for _ in range(20):
        use()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - size
    tracemalloc.stop()
    rounds = []  # the first ones fill caches; what leaks would be there in each
    while len(rounds) < 20 and min(rounds, default=100) >= 100:
        blocks = sys.getallocatedblocks()
        for _ in range(100):
            use()
        gc.collect()
        rounds.append(sys.getallocatedblocks() - blocks)
    assert min(rounds) < 100, f"blocks by 100 uses, time after time: {rounds}"
    assert grown < 64 << 10
    assert len(os.listdir("/proc/self/fd")) == descriptors


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_no_memory_beside_pythons_leaks():
    """Blocks, slices and copies are not Python's: what the process holds does not grow."""
    size = 4 << 20
    content = build([("t", "U8", [size], bytes(size))])
    model = tare.open(content)

    def use():
        model.load(), model["t"][1:], tare.save({"t": model["t"]}), model["t"].__dlpack__(copy=True)

    use()
    before = resident()
    for _ in range(30):
        use()
    assert resident() - before < 20 * size


def test_threads_share_a_model(path, tensors):
    model = tare.open(path)
    failures = []

    def work(number):
        try:
            for i in range(300):
                name = list(tensors)[(number + i) % len(tensors)]
                numpy.testing.assert_array_equal(model[name].numpy(), tensors[name])
                numpy.testing.assert_array_equal(model[name][...], tensors[name])
                if i % 50 == number:
                    assert len(model.load(threads=2)) == len(tensors)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_closing_under_a_reader_is_an_error_and_no_crash(path):
    for _ in range(30):
        model = tare.open(path)
        seen = []

        def work():
            try:
                while True:
                    seen.append(float(model["t.F32"].numpy().sum()))
                    model.load()
            except tare.ClosedError:
                pass

        thread = threading.Thread(target=work)
        thread.start()
        while not seen:
            pass
        model.close()
        thread.join()
        assert set(seen) == {1770.0}


def test_a_dlpack_tensor_may_die_on_another_thread(path):
    arrays = [numpy.from_dlpack(tare.open(path)["t.F32"])]
    thread = threading.Thread(target=arrays.clear)
    thread.start()
    thread.join()
    gc.collect()
    assert not mapped(path)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_uses_the_model(path, tensors):
    model = tare.open(path)
    array = model["t.F32"].numpy()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            good = (array == tensors["t.F32"]).all() and (
                model["t.I8"].numpy() == tensors["t.I8"]
            ).all()
            good = good and len(model.load()) == len(tensors) and model["scalar"][()] == 7
            model.close()
            status = 0 if good and array.sum() == 1770 else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    numpy.testing.assert_array_equal(model["t.I8"].numpy(), tensors["t.I8"])


def test_multiprocessing_opens_by_path(path):
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(False)
    process = context.Process(target=count_and_send, args=(str(path), send))
    process.start()
    assert receive.recv() == 15
    process.join()


def count_and_send(path, connection):
    connection.send(len(tare.open(path)))


@pytest.fixture
def interrupts():
    """SIGINT raises KeyboardInterrupt, also in a job of a shell that has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def large(tmp_path):
    size = 64 << 20
    file = tmp_path / "large.safetensors"
    file.write_bytes(build([(f"t{i}", "U8", [size], bytes(size)) for i in range(3)]))
    return tare.open(file), size


def test_ctrl_c_from_another_thread_stops_a_load(large, interrupts):
    """Whenever it comes: before, in or between loads."""
    model, size = large
    model.load()
    before = resident()
    with pytest.raises(KeyboardInterrupt):
        threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
        while True:
            model.load(threads=2)
    assert resident() - before < size


def wait_for(true):
    """A thread that was joined is listed by the kernel for a moment more."""
    for _ in range(500):
        if true():
            return True
        time.sleep(0.01)
    return False


def test_ctrl_c_while_loading_leaves_nothing(large, interrupts):
    """The signal is raised by the first report, so that the test needs no time."""
    model, size = large
    seen = []

    def report(done, total):
        seen.append((done, total))
        os.kill(os.getpid(), signal.SIGINT)

    model.load(["t0"])
    before, tasks = resident(), os.listdir("/proc/self/task")
    with pytest.raises(KeyboardInterrupt):
        model.load(progress=report, threads=2)
    assert len(seen) <= 2 and seen[0] == (0, 3 * size)
    assert resident() - before < size
    assert wait_for(lambda: set(os.listdir("/proc/self/task")) <= set(tasks))
    assert len(model.load(["t1"])) == 1
