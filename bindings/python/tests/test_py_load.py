"""Loads: one block, aligned; names, progress, options."""

import io
import sys

import numpy
import pytest
import tare
from conftest import build


@pytest.mark.parametrize("align", [None, 1, 64, 4096, 2 << 20])
@pytest.mark.parametrize("direct", [None, False, True])
def test_arrays_are_aligned_writable_and_equal(path, tensors, align, direct):
    arrays = tare.open(path).load(align=align, direct=direct, threads=2)
    assert list(arrays) == list(tare.open(path))
    for name, array in arrays.items():
        assert array.dtype == tensors[name].dtype and array.shape == tensors[name].shape
        numpy.testing.assert_array_equal(array, tensors[name])
        assert array.flags.writeable and array.ctypes.data % (align or 64) == 0
    assert len({id(array.base) for array in arrays.values()}) == 1
    arrays["t.F32"][:] = 1
    assert (tare.open(path)["t.F32"].numpy() == tensors["t.F32"]).all()


def test_names_choose_and_order(path, tensors):
    model = tare.open(path)
    assert list(model.load(["scalar", "t.I8"])) == ["scalar", "t.I8"]
    assert list(model.load(name for name in ("t.I8",))) == ["t.I8"]
    assert list(model.load(model.prefix("t.F"))) == model.prefix("t.F")
    assert list(model.load([model["t.I8"], "scalar"])) == ["t.I8", "scalar"]
    assert list(model.load(["t.I8", "t.I8"])) == ["t.I8"]
    assert model.load([]) == {}
    with pytest.raises(KeyError, match="did you mean"):
        model.load(["t.I8", "t.I9"])
    for wrong in ("t.I8", 3, [3], [None]):
        with pytest.raises(TypeError):
            model.load(wrong)


def test_options_out_of_range_are_value_errors(path):
    model = tare.open(path)
    for wrong in (
        {"align": 3},
        {"align": 0},
        {"align": 4 << 20},
        {"align": -1},
        {"threads": 0},
        {"threads": 1025},
        {"threads": -1},
        {"framework": "jax"},
    ):
        with pytest.raises(ValueError):
            model.load(**wrong)
    with pytest.raises(TypeError):
        model.load(align="x")


def test_progress_is_called_from_nothing_to_all(path):
    calls = []
    model = tare.open(path)
    model.load(progress=lambda done, total: calls.append((done, total)))
    total = sum(tensor.nbytes for tensor in model.values())
    assert calls[0] == (0, total) and calls[-1] == (total, total)
    assert calls == sorted(calls)


def test_an_error_of_progress_stops_the_load_and_arrives(path):
    with pytest.raises(ZeroDivisionError):
        tare.open(path).load(progress=lambda done, total: 1 / 0)
    with pytest.raises(TypeError):
        tare.open(path).load(progress=3)


def test_progress_true_is_a_bar_of_tqdm(path, monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(sys, "stderr", text)
    assert len(tare.open(path).load(progress=True)) == 15
    assert "100%" in text.getvalue() and "loading" in text.getvalue()


def test_progress_true_without_tqdm_shows_nothing(path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert len(tare.open(path).load(progress=True)) == 15
    assert capfd.readouterr().err == ""


def test_bytes_and_read_models_load_too(path, tensors):
    for model in (tare.open(path.read_bytes()), tare.open(path, mmap=False)):
        numpy.testing.assert_array_equal(model.load()["t.F64"], tensors["t.F64"])


def test_a_file_that_shrinks_is_an_error(tmp_path):
    file = tmp_path / "a.safetensors"
    content = build([("t", "U8", [1 << 20], bytes(1 << 20))])
    file.write_bytes(content)
    model = tare.open(file)
    with open(file, "r+b") as out:
        out.truncate(1000)
    for use in (model.load, model["t"].tobytes, lambda: model["t"][:], lambda: model["t"][5000:]):
        with pytest.raises(tare.FileError) as caught:
            use()
        assert isinstance(caught.value, OSError) and caught.value.status == "TARE_E_CHANGED"
        assert "'t'" in str(caught.value)


PARTS = {
    "t.F32": numpy.s_[1:3, :2],
    "t.I8": (slice(0, 2), 3, slice(None, -1)),
    "t.U64": (..., slice(2, 4)),
    "t.F64": 1,
    "t.I16": slice(1, None),
    "t.BOOL": (None, slice(9)),
    "scalar": (),
    "empty": (slice(0, 0),),
}


@pytest.mark.parametrize("options", [{}, {"direct": True}, {"threads": 2, "align": 4096}])
def test_slices_are_parts_of_tensors_and_the_others_come_whole(path, tensors, options):
    arrays = tare.open(path).load(slices=PARTS, **options)
    assert list(arrays) == list(tare.open(path))
    for name, array in arrays.items():
        wanted = tensors[name][PARTS.get(name, ...)]
        assert array.dtype == wanted.dtype and array.shape == wanted.shape
        numpy.testing.assert_array_equal(array, wanted)
        assert array.flags.writeable and array.ctypes.data % options.get("align", 64) == 0


def test_slices_may_be_pairs_of_start_and_stop(path, tensors):
    model = tare.open(path)
    wanted = tensors["t.F32"][1:3, 0:2, :]
    for key in (((1, 3), (0, 2)), [(1, 3), (0, 2)], [slice(1, 3), (0, 2), (0, 5)],
                ((numpy.int64(1), 3), slice(2))):  # fmt: skip
        (array,) = model.load(["t.F32"], slices={"t.F32": key}).values()
        numpy.testing.assert_array_equal(array, wanted)
    (array,) = model.load([model["t.F32"]], slices={model["t.F32"]: ([(1, 3)])}).values()
    numpy.testing.assert_array_equal(array, tensors["t.F32"][1:3])
    twice = model.load(["t.I8", "t.I8"], slices={"t.I8": 0})
    numpy.testing.assert_array_equal(twice["t.I8"], tensors["t.I8"][0])
    assert len(model.load(slices={})) == len(model)


@pytest.mark.parametrize(
    "key, message",
    [
        (slice(None, None, 2), "a load takes no steps"),
        (slice(None, None, -1), "a load takes no steps"),
        (3, "index 3 is out of bounds for a dimension of 3"),
        ((0, 0, 0, 0), "more indices than the tensor dimensions, of which there are 3"),
        ((..., ...), "more than once"),
        ("x", "'x' is no index"),
        ([[1, 2]], "is no index"),
        (((0, 4),), r"\(0, 4\) is not within a dimension of 3"),
        (((2, 1),), r"\(2, 1\) is not within a dimension of 3"),
        (((-1, 2),), r"\(-1, 2\) is no start and stop of a dimension of 3"),
        (((0, 1 << 70),), "is no start and stop of a dimension of 3"),
        (((0, None),), "is no start and stop of a dimension of 3"),
        (((0, 1, 2),), "is no index"),
    ],
)
def test_slices_that_do_not_fit_are_told_with_the_tensor(path, key, message):
    with pytest.raises(tare.SliceError, match="tensor 't.F32': .*" + message):
        tare.open(path).load(slices={"t.I8": 0, "t.F32": key})


def test_errors_of_slices_have_the_whole_name():
    # Told by its size: where an index file changes, no terminator stands behind it.
    model = tare.open(tare.save({"a\0ü": numpy.zeros(2)}))
    with pytest.raises(tare.SliceError, match="^tensor 'a\0ü': "):
        model.load(slices={"a\0ü": 9})


def test_slices_of_no_tensor_are_refused(path):
    model = tare.open(path)
    with pytest.raises(KeyError, match="did you mean"):
        model.load(slices={"t.F33": 0})
    with pytest.raises(ValueError, match="slices has 't.I8', which is not among names"):
        model.load(["t.F32"], slices={"t.F32": 0, "t.I8": 0})
    for wrong in (3, ["t.F32"], {3: 0}, "t.F32"):
        with pytest.raises(TypeError):
            model.load(slices=wrong)


def test_slices_of_elements_below_a_byte_are_whole_bytes():
    model = tare.open(build([("half", "F4", [4, 6], bytes(range(12)))]))
    (array,) = model.load(slices={"half": [(1, 3), (2, 4)]}).values()
    assert array.tolist() == model["half"][1:3, 2:4].tolist() == [[4], [7]]
    with pytest.raises(tare.TareError, match="half") as caught:
        model.load(slices={"half": [(1, 3), (1, 4)]})
    assert caught.value.status == "TARE_E_SUBBYTE"
