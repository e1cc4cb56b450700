"""Random models and slices, against safetensors and numpy."""

import sys
import types

import numpy
import pytest
import safetensors.numpy
import tare
import tare.safetensors.numpy
from conftest import PLAIN
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

shapes = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)
some_array = st.sampled_from(sorted(PLAIN.values())).flatmap(
    lambda dtype: arrays.arrays(
        numpy.dtype(dtype),
        shapes,
        elements=arrays.from_dtype(numpy.dtype(dtype), allow_subnormal=False),
    )
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(
    lambda name: name != "__metadata__"
)
models = st.dictionaries(names, some_array, max_size=8)
metadata = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"])),
    max_size=1,
)


def same(found, wanted):
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    assert found.tobytes() == wanted.tobytes()


@SETTINGS
@given(models, metadata)
def test_what_is_saved_is_what_safetensors_saves_and_both_read_it(tmp_path, tensors, texts):
    theirs = safetensors.numpy.save(tensors, texts or None)
    assert (
        tare.save(tensors, texts) == theirs == tare.safetensors.numpy.save(tensors, texts or None)
    )
    file = tmp_path / "model.safetensors"
    tare.save_file(tensors, file, texts)
    assert file.read_bytes() == theirs
    assert dict(tare.open(file).metadata) == texts
    for read in (
        tare.safetensors.numpy.load_file(file),
        tare.safetensors.numpy.load(theirs),
        tare.open(file).load(),
        {k: t.numpy() for k, t in tare.open(theirs).items()},
    ):
        assert read.keys() == tensors.keys()
        for name, array in tensors.items():
            same(read[name], array)
    with safetensors.safe_open(file, "np") as one, tare.safetensors.safe_open(file, "np") as other:
        assert one.keys() == other.keys() and one.metadata() == other.metadata()
        full = [
            [name for name in file.offset_keys() if tensors[name].size] for file in (one, other)
        ]
        assert full[0] == full[1]  # theirs has empty ones of one offset in any order
        for name in one.keys():
            same(other.get_tensor(name), one.get_tensor(name))
            assert one.get_slice(name).get_shape() == other.get_slice(name).get_shape()
            assert one.get_slice(name).get_dtype() == other.get_slice(name).get_dtype()


@SETTINGS
@given(st.data())
def test_slices_are_those_of_numpy(data):
    array = data.draw(some_array)
    tensor = tare.open(tare.save({"t": array}))["t"]
    key = data.draw(arrays.basic_indices(array.shape, allow_newaxis=True, allow_ellipsis=True))
    same(numpy.asarray(tensor[key]), numpy.asarray(array[key]))


@SETTINGS
@given(st.data())
def test_slices_of_safe_open_are_those_of_safetensors(tmp_path, data):
    """Where theirs is one: it refuses ends beyond the shape, and counts from the end."""
    array = data.draw(some_array)
    key = data.draw(arrays.basic_indices(array.shape, allow_ellipsis=True))
    file = tmp_path / "t.safetensors"
    tare.save_file({"t": array}, file)
    with safetensors.safe_open(file, "np") as one, tare.safetensors.safe_open(file, "np") as other:
        found = other.get_slice("t")[key]
        same(found, numpy.asarray(array[key]))
        if found.size == 0:
            return  # theirs ends in a panic for some
        try:
            wanted = one.get_slice("t")[key]
        except (safetensors.SafetensorError, OverflowError):
            return
        same(found, wanted)


@SETTINGS
@given(st.binary(max_size=60))
def test_random_bytes_are_refused(content):
    with pytest.raises(ValueError):
        tare.open(content)


def test_arrays_that_are_not_contiguous_are_saved_as_they_look():
    array = numpy.arange(24, dtype="<i4").reshape(4, 6)
    for odd in (
        array.T,
        array[::2, 1::3],
        array[::-1],
        array.astype(">i4"),
        numpy.asfortranarray(array),
    ):
        for save in (tare.save, tare.safetensors.numpy.save):
            assert (tare.open(save({"t": odd}))["t"].numpy() == odd).all()


def test_arrays_are_saved_as_they_look_whatever_they_lie_in():
    still = numpy.arange(4, dtype="<f4")
    still.flags.writeable = False
    for odd in (
        still,
        numpy.broadcast_to(numpy.float32(2), (2, 3)),
        numpy.frombuffer(bytes(range(9)), "<f4", 2, 1),
        numpy.ma.masked_array([1, 2], [False, False]),
        numpy.arange(3, dtype=">u2")[::-1],
        numpy.zeros((0, 3))[:, ::-1],
        numpy.array(5, ">i8"),
    ):
        for save in (tare.save, tare.safetensors.numpy.save):
            found = tare.open(save({"t": odd}))["t"].numpy()
            assert found.shape == odd.shape and (found == odd).all()


def test_arrays_that_are_not_of_numbers_are_refused():
    model = tare.open(tare.save({"t": numpy.zeros(1)}))
    for odd, why in (
        (numpy.ma.masked_array([1, 2], [True, False]), "tensor 't' is masked in part"),
        (numpy.array([1, None]), "tensor 't' is a ndarray, and not one of numbers"),
        (None, "tensor 't' is a NoneType"),
        (model, "tensor 't' is a Model"),
        (numpy.zeros(2, [("x", "<f4")]), "no dtype for void32"),
        (numpy.zeros(2, "V4"), "no dtype for void32"),
        (numpy.array(["a"]), "no dtype for str32"),
        (numpy.zeros(2, "M8[s]"), "no dtype for datetime64"),
    ):
        for save in (tare.save, tare.safetensors.numpy.save):
            with pytest.raises(ValueError, match=why):
                save({"t": odd})


def test_tensors_of_models_are_saved_without_an_array():
    first = tare.open(tare.save({"a": numpy.arange(5), "b": numpy.float32([1])}))
    again = tare.open(tare.save({"c": first["a"], "d": numpy.zeros(2), "b": first["b"]}))
    assert again["c"].numpy().tolist() == [0, 1, 2, 3, 4] and list(again["b"].numpy()) == [1]
    aligned = tare.save({"a": first["a"]}, align=4096)
    assert tare.open(aligned)["a"].offset == 4096


def test_alignments_and_names_that_cannot_be_are_refused(tmp_path):
    array = numpy.arange(5)
    for align in (1, 7, 12, 4 << 20, 2**32, 2**33, 2**33 + 8, 2**64, 2**70, -8):
        with pytest.raises(ValueError):
            tare.save({"a": array}, align=align)
    with pytest.raises(TypeError):
        tare.save({"a": array}, align="8")
    for name in ("a.gguf", "a.json", "model.safetensors.index.json", "a-00001-of-00002.gguf"):
        for save in (tare.save_file, tare.safetensors.numpy.save_file):
            with pytest.raises(ValueError, match="ends in"):
                save({"a": array}, tmp_path / name)
    assert not list(tmp_path.iterdir())
    for name in ("a", "a.bin", "a.pt", "a.safetensors", "a-00001-of-00002.safetensors"):
        tare.safetensors.numpy.save_file({"a": array}, tmp_path / name)
        with tare.open(tmp_path / name) as model:
            assert (model["a"].numpy() == array).all()


def test_a_module_that_merely_has_the_name_of_torch_is_in_nobodys_way(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    saved = tare.save({"a": numpy.arange(3)})
    assert tare.open(saved)["a"].numpy().tolist() == [0, 1, 2]


def pairs_for_some(key, shape, pairs):
    """Slices of the key without steps, and as pairs where the list says so."""
    items, axis, made = key if isinstance(key, tuple) else (key,), 0, []
    taken = sum(item is not None and item is not Ellipsis for item in items)
    for number, item in enumerate(items):
        if isinstance(item, slice):
            start, stop, _ = slice(item.start, item.stop).indices(shape[axis])
            as_pair = pairs[number % len(pairs)] # keys can have more items, with None among them
            item = (start, max(start, stop)) if as_pair else slice(item.start, item.stop)
        made.append(item)
        axis += len(shape) - taken if item is Ellipsis else item is not None
    return tuple(made)


@SETTINGS
@given(st.data())
def test_loads_of_slices_are_those_of_numpy(data):
    tensors = data.draw(models)
    parts, wanted = {}, dict(tensors)
    for name, array in tensors.items():
        if data.draw(st.booleans()):
            key = data.draw(
                arrays.basic_indices(array.shape, allow_newaxis=True, allow_ellipsis=True)
            )
            pairs = data.draw(st.lists(st.booleans(), min_size=9, max_size=9))
            parts[name] = pairs_for_some(key, array.shape, pairs)
            whole = pairs_for_some(key, array.shape, [False] * 9)
            wanted[name] = numpy.asarray(array[whole])
    found = tare.open(tare.save(tensors)).load(slices=parts)
    assert found.keys() == tensors.keys()
    for name, array in wanted.items():
        same(found[name], array)
