"""Index files: made, used, told apart, whole and damaged."""

import gc
import itertools
import mmap
import os
import pathlib
import struct
import weakref

import numpy
import pytest
import tare
from conftest import build
from tare.safetensors import safe_open

LAYOUTS, RECORDS = 4, 8  # sections of docs/format_index.md


def file_of(path):
    return path.with_name(path.name + ".tareidx")


@pytest.fixture
def indexed(path):
    tare.open(path).save_index()
    return path


def check(model, tensors):
    assert set(model) == set(tensors)
    for name, array in tensors.items():
        assert numpy.array_equal(numpy.asarray(model[name]), array)
        assert model[name].shape == array.shape
    loaded = model.load()
    assert all(numpy.array_equal(loaded[name], array) for name, array in tensors.items())
    assert dict(model.metadata) == {"format": "np", "é": "ü"}


def test_an_index_file_is_made_and_used(path, tensors):
    first = tare.open(path)
    assert first.index_path == str(file_of(path))
    assert first.index_error.status == "TARE_E_OPEN"
    assert "no index file" in str(first.index_error)
    assert first.save_index() is None and file_of(path).is_file()
    for options in ({}, {"index": "require"}, {"mmap": False}, {"index_check": "header"}):
        model = tare.open(path, **options)
        assert model.index_error is None
        if options != {"mmap": False}:
            check(model, tensors)
    never = tare.open(path, index="never")
    assert never.index_error.status == "TARE_E_OPEN"
    check(never, tensors)
    never.check_index()
    with safe_open(path, "np") as file:
        assert str(file_of(path)) in pathlib.Path("/proc/self/maps").read_text()
        assert numpy.array_equal(file.get_tensor("t.I8"), tensors["t.I8"])


def test_it_may_lie_elsewhere_or_in_memory(path, tmp_path, tensors):
    other = tmp_path / "other.idx"
    tare.open(path).save_index(other)
    assert not file_of(path).exists()
    content = other.read_bytes()
    for file in (other, str(other), content, bytearray(content), memoryview(content)):
        model = tare.open(path, index="require", index_file=file)
        check(model, tensors)
        check(tare.open(path.read_bytes(), index="require", index_file=file), tensors)
    tare.open(path, index="never").check_index(other)
    assert tare.open(path.read_bytes()).index_path is None
    with pytest.raises(TypeError, match="the bytes of an index file"):
        tare.open(path, index_file=3)
    with pytest.raises(ValueError):
        tare.open(path, index_file="a\0b")
    with pytest.raises(FileNotFoundError):
        tare.open(path, index="require", index_file=tmp_path / "none")
    with pytest.raises(tare.ArgumentError):
        tare.open(path.read_bytes()).save_index()


def test_an_index_that_changes_gives_errors_or_other_facts(path, tensors):
    tare.open(path).save_index()
    content = file_of(path).read_bytes()
    index = mmap.mmap(-1, len(content))  # is used where it lies
    index[:] = content
    model = tare.open(path, index="require", index_file=index)
    known = [model[name] for name in tensors]
    records, size = struct.unpack_from("<QQ", content, 64 + 24 * RECORDS)
    original = content[records : records + size]
    for records_now in (original[16:] + original[:16], b"\xff" * size, original):
        index[records : records + size] = records_now
        for tensor in known:
            for look in (numpy.asarray, bytes, memoryview, tare.Tensor.numpy, tare.Tensor.tobytes):
                try:
                    array = look(tensor)
                except (tare.TareError, BufferError, TypeError, ValueError):
                    assert records_now != original
                else:
                    count = len(array) if isinstance(array, bytes) else array.nbytes
                    assert count == tensor.nbytes
        try:
            assert tare.save({str(i): tensor for i, tensor in enumerate(known)})
        except tare.TareError:
            assert records_now != original
    check(model, tensors)


class Changing:
    """A start or an index that writes to an index file when it is looked at."""

    def __init__(self, value, *change):
        self.value, self.change = value, change

    def __index__(self):
        index, at, content = self.change
        index[at : at + len(content)] = content
        return self.value


@pytest.fixture
def changing(tmp_path):
    """A path, its index file where models have it mapped, and [(offset, bytes)] to write there."""
    path = tmp_path / "model.safetensors"
    shapes = [("a", "F32", (8, 9)), ("b", "F32", (8,)), ("c", "U8", (8, 9)), ("d", "U8", (6, 8, 2)),
              ("e", "F4", (8, 9)), ("f", "F4", (4, 1)), ("g", "U16", ()), ("h", "F64", (0, 9)),
              ("i", "F32", (9, 8))]  # fmt: skip
    sizes = {"F32": 32, "U8": 8, "F4": 4, "U16": 16, "F64": 64}
    counts = {name: int(numpy.prod(shape)) * sizes[code] // 8 for name, code, shape in shapes}
    path.write_bytes(build([(*row, bytes(counts[row[0]])) for row in shapes]))
    tare.open(path).save_index()
    with open(file_of(path), "r+b") as file:
        index = mmap.mmap(file.fileno(), 0)
    content = bytes(index)
    changes = []
    for section in (LAYOUTS, RECORDS):
        at, size = struct.unpack_from("<QQ", content, 64 + 24 * section)
        changes += [(at, bytes(size)), (at, b"\xff" * size)]
    layouts = [content[at + 8 + i : at + 12 + i] for i in range(0, 16 * len(shapes), 16)]
    changes += [(at + 8 + 16 * i, layout) for i in range(len(shapes)) for layout in layouts]
    return path, index, changes


#: What is taken of tensors, of a start or index in it.
KEYS_WITHIN = [
    lambda at: (slice(at, None),),
    lambda at: (slice(at, 5), slice(2, 4)),
    lambda at: (slice(at, 1), slice(0, 0)),
    lambda at: (at,),
]
KEYS_WITH_STEPS = [
    lambda at: (slice(at, None, 2), slice(None, None, 2)),
    lambda at: (slice(None, None, -3), slice(at, None, 4)),
    lambda at: (slice(at, None, 2),),
    lambda at: (slice(at, None, 2), slice(0, 0)),
    lambda at: (slice(0, 0), slice(at, None, 2)),
    lambda at: (slice(at, None, 2), 3),
]


#: Each with whether it has steps, of which loads take none.
KEYS = [(key, False) for key in KEYS_WITHIN] + [(key, True) for key in KEYS_WITH_STEPS]
LOOKS = [
    lambda path, name, key: tare.open(path, index="require")[name][key],
    lambda path, name, key: safe_open(path, "np").get_slice(name)[key],
    lambda path, name, key: tare.open(path, index="require").load(slices={name: key})[name],
]


@pytest.mark.parametrize("name, dtype, shape", [("a", "f4", (8, 9)), ("b", "f4", (8,)),
                                                ("d", "u1", (6, 8, 2))])  # fmt: skip
def test_an_index_that_changes_within_a_call_gives_errors_or_answers(changing, name, dtype, shape):
    path, index, changes = changing
    content = bytes(index)
    array = numpy.zeros(shape, dtype)
    failed = answered = 0
    for (key, steps), change in itertools.product(KEYS, changes):
        if len(key(1)) > len(shape):
            continue
        expected = array[key(1)]
        for look in LOOKS[:2] if steps else LOOKS:
            index[:] = content
            try:
                made = look(path, name, key(Changing(1, index, *change)))
            except (tare.TareError, tare.safetensors.SafetensorError):
                assert bytes(index) != content
                failed += 1
            else:  # a load looks for the dtype only now: it may be another
                assert made.size == expected.size
                if look is not LOOKS[2]:
                    assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
                answered += 1
    assert failed > 50 and answered > 50


def test_an_index_that_changes_after_bytes_were_read_gives_an_error(changing):
    """What is cut from a tensor of no elements has no bytes, whatever the dtype says now."""
    path, index, changes = changing
    at, zeros = changes[0]
    model = tare.open(path, index="require")

    def change(done, total):
        if done == total:
            index[at : at + len(zeros)] = zeros

    with pytest.raises(tare.TareError) as caught:
        model.load(["a", "c"], slices={"a": slice(0, 0)}, progress=change)
    assert caught.value.status == "TARE_E_CHANGED"
    assert index[at : at + len(zeros)] == zeros


def test_bytes_of_an_index_are_kept_while_they_are_needed(path, tensors):
    class Source(bytearray):
        pass

    tare.open(path).save_index()
    source = Source(file_of(path).read_bytes())
    alive = weakref.ref(source)
    model = tare.open(path, index="require", index_file=source)
    source.model = model  # a cycle through the bytes
    tensor = model["t.F32"]
    del source, model
    gc.collect()
    assert alive() is not None and tensor.shape == (3, 4, 5)
    del tensor
    gc.collect()
    assert alive() is None


def test_an_index_of_another_model_is_told(indexed, tensors):
    content = indexed.read_bytes()
    indexed.unlink()
    indexed.write_bytes(content)
    os.utime(indexed, (1, 1))
    model = tare.open(indexed)
    check(model, tensors)
    assert model.index_error.status == "TARE_E_STALE" and model.index_error.shard == 0
    assert "model.safetensors" in str(model.index_error)
    with pytest.raises(tare.FileError) as caught:
        tare.open(indexed, index="require")
    assert caught.value.status == "TARE_E_STALE"
    assert tare.open(indexed, index="require", index_check="header").index_error is None
    indexed.write_bytes(build([("a", "U8", [1], b"x")]))
    for how in ("time", "header"):
        assert tare.open(indexed, index_check=how).index_error.status == "TARE_E_STALE"
    with pytest.raises(tare.FileError):
        tare.open(indexed, index="never").check_index()
    tare.open(indexed).save_index()
    assert list(tare.open(indexed, index="require")) == ["a"]


def test_what_is_in_the_way_stays(path, tmp_path):
    model = tare.open(path)
    target = tmp_path / "text"
    target.write_text("kept")
    with pytest.raises(FileExistsError) as caught:
        model.save_index(target)
    assert isinstance(caught.value, tare.TareError) and target.read_text() == "kept"
    model.save_index(target, replace=True)
    assert tare.open(path, index="require", index_file=target).index_error is None
    model.save_index(target)  # an index file may be replaced
    with pytest.raises(FileNotFoundError):
        model.save_index(tmp_path / "none" / "x")
    model.close()
    for use in (model.save_index, model.check_index, lambda: model.index_path,
                lambda: model.index_error):  # fmt: skip
        with pytest.raises(tare.ClosedError):
            use()


def test_arguments_that_cannot_be_are_refused(indexed):
    for wrong in ({"index": "x"}, {"index_check": "x"}, {"index": "a\0b"}):
        with pytest.raises(ValueError):
            tare.open(indexed, **wrong)
    for wrong in ({"index": True}, {"index": None}, {"index_check": 3}):
        with pytest.raises(TypeError):
            tare.open(indexed, **wrong)
    with pytest.raises(TypeError):
        tare.open(indexed, None, "never")
    with pytest.raises(tare.ArgumentError):
        tare.open(indexed).check_index()  # compares with headers, which were not read


SHARDS = [f"model-{i}-of-2.safetensors" for i in (1, 2)]


@pytest.fixture
def sharded(tmp_path):
    for number, name in enumerate(SHARDS):
        (tmp_path / name).write_bytes(build([(f"t{number}", "U8", [2], b"ab")]))
    (tmp_path / "model.safetensors.index.json").write_text(
        '{"weight_map": {"t0": "%s", "t1": "%s"}}' % tuple(SHARDS)
    )
    tare.open(tmp_path).save_index()
    return tmp_path


def test_sharded_models_have_one_in_their_folder(sharded):
    model = tare.open(sharded, index="require")
    assert model.index_path == str(sharded / "tare.idx") and model.shards == tuple(SHARDS)
    assert model["t1"].tobytes() == b"ab"
    os.utime(sharded / SHARDS[1], (1, 1))
    assert tare.open(sharded).index_error.shard == 1


def test_a_shard_that_is_gone_is_an_error_of_the_call(sharded):
    """It is opened when its bytes are first asked for."""
    model = tare.open(sharded, index="require")
    (sharded / SHARDS[1]).unlink()
    assert model["t0"].numpy().tolist() == [97, 98]
    tensor = model["t1"]
    for use in (tensor.numpy, tensor.tobytes, lambda: tensor[:], lambda: tensor.__dlpack__(),
                model.load, lambda: tensor.__array__(copy=True)):  # fmt: skip
        with pytest.raises(FileNotFoundError):
            use()
    for use in (lambda: memoryview(tensor), lambda: tensor.__dlpack__(copy=False)):
        with pytest.raises(BufferError):
            use()
    with pytest.raises(FileNotFoundError, match=SHARDS[1]) as caught:
        tare.open(sharded, index="require")
    assert caught.value.shard == 1


def test_a_damaged_one_gives_errors(indexed):
    file = file_of(indexed)
    content = bytearray(file.read_bytes())
    offset, size = struct.unpack_from("<QQ", content, 64 + 24 * LAYOUTS)
    content[offset : offset + size] = b"\xff" * size
    file.write_bytes(content)
    model = tare.open(indexed)
    for tensor in model.values():
        assert tensor.dtype == "unknown" and tensor.nbytes == 0
        assert "unknown" in repr(tensor)
        with pytest.raises((tare.TareError, BufferError, TypeError)):
            memoryview(tensor)
        with pytest.raises((tare.TareError, TypeError)):
            numpy.asarray(tensor)
    with pytest.raises((tare.TareError, TypeError)):
        model.load()
    with pytest.raises(tare.FormatError, match="layouts"):
        tare.open(indexed, index="never").check_index()


def test_files_of_noise_are_passed_over(path, tensors):
    file = file_of(path)
    tare.open(path).save_index()
    content = file.read_bytes()
    for noise in (b"", b"x", content[:100], content[:-1], content[::-1]):
        file.write_bytes(noise)
        model = tare.open(path)
        assert isinstance(model.index_error, tare.TareError)
        check(model, tensors)
        with pytest.raises(tare.TareError):
            tare.open(path, index="require")
        with pytest.raises(tare.TareError):
            tare.open(path, index="require", index_file=noise)
