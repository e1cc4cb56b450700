"""tare.safetensors where it is not about arrays: signatures, exceptions, closed files."""

import errno
import importlib
import inspect
import os
import pathlib

import numpy
import pytest
import safetensors
import safetensors.numpy
import tare
import tare.safetensors
import tare.safetensors.numpy
from tare.safetensors import SafetensorError, safe_open


def parameters(call):
    return [(p.name, p.kind, p.default) for p in inspect.signature(call).parameters.values()]


@pytest.mark.parametrize("name", ["", ".numpy", ".torch"])
def test_names_and_signatures_are_theirs(name):
    if name == ".torch":
        pytest.importorskip("torch", reason="torch is not installed")
    theirs, ours = (importlib.import_module(m + name) for m in ("safetensors", "tare.safetensors"))
    public = {
        key: value
        for key, value in vars(theirs).items()
        if not key.startswith("_")
        and (inspect.isfunction(value) or inspect.isbuiltin(value) or inspect.isclass(value))
        and value.__module__.partition(".")[0] in ("safetensors", "safetensors_rust", "builtins")
    }
    assert {"safe_open", "deserialize", "serialize", "serialize_file", "TensorSpec"} <= set(public)
    for key, value in public.items():
        assert hasattr(ours, key) and key in ours.__all__, key
        if inspect.isfunction(value):
            assert parameters(value) == parameters(getattr(ours, key)), key
    methods = {key for key in dir(safetensors.safe_open) if not key.startswith("__")}
    assert methods <= set(dir(safe_open))


def test_exceptions_are_caught_by_who_catches_theirs(path, tmp_path):
    assert SafetensorError is safetensors.SafetensorError
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(path.read_bytes()[:-1])
    file = safe_open(path, "np")
    part = file.get_slice("t.F32")
    for use in (
        lambda: safe_open(bad, "np"),
        lambda: file.get_tensor("x"),
        lambda: file.get_slice("x"),
        lambda: part[5],
        lambda: part[0, 0, 0, 0],
        lambda: part["x"],
        lambda: part[1 << 70],
        lambda: part[::0],
        lambda: tare.safetensors.load(b"\0"),
        lambda: tare.safetensors.serialize(
            {"a": tare.safetensors.TensorSpec(dtype="int8", shape=[1], data_ptr=0, data_len=1)}
        ),
        lambda: safe_open(path, "none"),
        lambda: safe_open(path, "np", "cuda:0"),
        lambda: tare.safetensors.save({"__metadata__": numpy.zeros(1)}),
        lambda: tare.safetensors.save({"a": numpy.zeros(1, "c16")}),
        lambda: tare.safetensors.TensorSpec(dtype="x", shape=[], data_ptr=0, data_len=0),
        lambda: tare.safetensors.deserialize(b"{"),
        lambda: safe_open(path, "np", backend="x"),
        lambda: tare.safetensors.load_file(path, backend="x"),
        lambda: tare.safetensors.save_file({}, tmp_path),
        lambda: tare.safetensors.save_file({}, tmp_path / "none" / "x"),
        lambda: tare.safetensors.serialize_file({}, tmp_path / "none" / "x"),
    ):
        with pytest.raises(safetensors.SafetensorError):
            use()
    with pytest.raises(KeyError, match=r"no tensor is named 't.F23'; did you mean"):
        file.get_tensor("t.F23")
    with pytest.raises(FileNotFoundError):
        safe_open(tmp_path / "none.safetensors", "np")
    with pytest.raises(FileNotFoundError) as caught:
        tare.safetensors.save_file({}, tmp_path / "none" / "x")
    assert isinstance(caught.value, tare.FileError) and caught.value.errno == errno.ENOENT
    assert caught.value.status == "TARE_E_WRITE" and str(tmp_path) in str(caught.value)
    for wrong in (
        lambda: safe_open(path, "np", backend=3),
        lambda: safe_open(path),
        lambda: safe_open(path, 3),
        lambda: safe_open(path, None),
        lambda: safe_open(3, "np"),
        lambda: file.get_tensor(3),
        lambda: tare.safetensors.save({"a": numpy.zeros(1)}, {"a": 1}),
        lambda: tare.safetensors.save({"a": numpy.zeros(1)}, "ab"),
        lambda: tare.safetensors.save({"a": numpy.zeros(1)}, [("a", "b")]),
        lambda: tare.safetensors.save_file({"a": numpy.zeros(1)}, None),
        lambda: tare.safetensors.serialize_file({}, None),
        lambda: tare.save_file({"a": numpy.zeros(1)}, None),
    ):
        with pytest.raises(TypeError):
            wrong()


def test_what_cannot_be_read_is_caught_as_well(path):
    with safe_open(path, "np", backend="pread") as file:
        part = file.get_slice("t.U8")
        os.truncate(path, 100)
        for read in (lambda: file.get_tensor("t.U8"), file.get_tensors, lambda: part[1:]):
            with pytest.raises(SafetensorError, match="tensor 't.*it shrank") as caught:
                read()
            assert isinstance(caught.value, tare.FileError)
    with pytest.raises(tare.TareError) as caught:
        tare.save_file({}, path.parent / "none" / "x")
    assert not isinstance(caught.value, SafetensorError), "of tare itself they are not theirs"


def test_without_their_package_the_error_is_our_own(path):
    import subprocess
    import sys

    program = """if True:
        import sys
        sys.modules["safetensors"] = None
        from tare.safetensors import SafetensorError, load, safe_open
        assert SafetensorError.__module__ == "tare.safetensors._errors"
        try: load(b"")
        except SafetensorError as error: print(error.status)"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "TARE_E_TRUNCATED\n", done.stderr


def test_files_end_with_the_context(path, tensors):
    with safe_open(path, framework="numpy", device="cpu") as file:
        part = file.get_slice("t.F32")
        array = file.get_tensor("t.F32")
    for use in (
        lambda: file.get_tensor("t.F32"),
        file.keys,
        file.offset_keys,
        file.metadata,
        file.get_tensors,
        lambda: file.get_slice("t.F32"),
    ):
        with pytest.raises(SafetensorError, match="File is closed"):
            use()
    assert (array == tensors["t.F32"]).all() and (part[0] == tensors["t.F32"][0]).all()


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_arrays_are_the_callers_to_write(path, tensors, backend):
    before = path.read_bytes()
    with safe_open(path, "np", backend=backend) as file:
        for name, array in tensors.items():
            found = file.get_tensor(name)
            numpy.testing.assert_array_equal(found, array)
            found[...] = 0
        assert set(file.get_tensors()) == set(tensors)
    loaded = tare.safetensors.load_file(path, backend=backend)
    loaded["t.F32"][...] = 5
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="backend"):
        safe_open(path, "np", backend="disk")


def test_arrays_of_bytes_are_the_callers_to_write(path):
    content = path.read_bytes()
    kept = bytes(bytearray(content))
    tare.safetensors.load(content)["t.F32"][...] = 5
    assert content == kept


def test_a_file_can_be_saved_over_what_was_loaded_from_it(path, tensors):
    loaded = tare.safetensors.load_file(path)
    with safe_open(path, "np") as file:
        mapped = file.get_tensor("t.F64")
        tare.safetensors.save_file(loaded, path, {"a": "b"})
        numpy.testing.assert_array_equal(mapped, tensors["t.F64"])
    assert tare.safetensors.safe_open(path, "np").metadata() == {"a": "b"}
    numpy.testing.assert_array_equal(tare.safetensors.load_file(path)["t.U16"], tensors["t.U16"])
    assert [p.name for p in pathlib.Path(path).parent.iterdir()] == [path.name]


def test_serialize_and_deserialize_are_each_others_reverse(path, tensors):
    array = tensors["t.I32"]
    specs = {
        name: module.TensorSpec(
            dtype="int32", shape=array.shape, data_ptr=array.ctypes.data, data_len=array.nbytes
        )
        for name, module in (("ours", tare.safetensors), ("theirs", safetensors))
    }
    ours = tare.safetensors.serialize({"t": specs["ours"]}, {"k": "v"})
    assert ours == bytes(safetensors.serialize({"t": specs["theirs"]}, {"k": "v"}))
    assert tare.safetensors.deserialize(ours) == safetensors.deserialize(ours)
    tare.safetensors.serialize_file({"t": specs["ours"]}, path)
    assert tare.safetensors.load_file(path)["t"].tolist() == array.tolist()


def test_a_truth_value_is_an_index_as_theirs(path):
    for module in (tare.safetensors, safetensors):
        part = module.safe_open(path, "np").get_slice("t.F32")
        assert (part[True] == part[1]).all() and (part[:, False] == part[:, 0]).all()


def test_specs_look_as_theirs():
    specs = [
        module.TensorSpec(dtype="float4_e2m1fn_x2", shape=[3, 2], data_ptr=8, data_len=6)
        for module in (tare.safetensors, safetensors)
    ]
    assert repr(specs[0]) == repr(specs[1])
    assert all(
        getattr(specs[0], name) == getattr(specs[1], name)
        for name in ("dtype", "shape", "data_ptr", "data_len")
    )


def test_specs_take_what_theirs_take():
    array = numpy.arange(6, dtype="f4").reshape(2, 3)
    good = {"dtype": "float32", "shape": (2, 3), "data_ptr": array.ctypes.data, "data_len": 24}
    for change in (
        {"shape": numpy.array([2, 3])},
        {"shape": [numpy.int32(6)]},
        {"data_ptr": numpy.int64(array.ctypes.data), "data_len": numpy.int64(24)},
        {"shape": (2, 0, 3), "data_ptr": 0, "data_len": 0},
        {"shape": 3},
        {"shape": (-2, -3)},
        {"shape": (1.5,)},
        {"shape": "23"},
        {"data_ptr": -8},
        {"data_ptr": "8"},
        {"data_ptr": 1 << 64},
        {"data_len": -24},
        {"dtype": 3},
        {"dtype": "float33"},
    ):
        found = []
        for module in (safetensors, tare.safetensors):
            try:
                spec = module.TensorSpec(**{**good, **change})
                found.append((repr(spec), bytes(module.serialize({"t": spec}))))
            except Exception as error:
                found.append(error)
        theirs, ours = found
        if isinstance(theirs, Exception):
            assert isinstance(ours, type(theirs)), (change, found)
        else:
            assert ours == theirs, change


def test_metadata_of_a_file_without_any_is_none(path, tmp_path):
    assert safe_open(path, "np").metadata() == {"format": "np", "é": "ü"}
    tare.safetensors.save_file({}, tmp_path / "empty.safetensors")
    assert safe_open(tmp_path / "empty.safetensors", "np").metadata() is None
    assert safe_open(tmp_path / "empty.safetensors", "np").keys() == []
    one = {"a": numpy.zeros(1)}  # without a tensor theirs is no JSON
    safetensors.numpy.save_file(one, tmp_path / "none.safetensors", {})  # docs/python.md tells it
    assert safetensors.safe_open(tmp_path / "none.safetensors", "np").metadata() == {}
    assert safe_open(tmp_path / "none.safetensors", "np").metadata() is None


def test_arrays_of_numpy_are_each_the_callers_own(tmp_path):
    path = tmp_path / "own.safetensors"
    tare.safetensors.numpy.save_file({"a": numpy.arange(6, dtype="f4")}, path)
    for backend in ("mmap", "pread"):
        with safe_open(path, "np", backend=backend) as file:
            first = file.get_tensor("a")
            first *= 0
            assert file.get_tensor("a").sum() == 15
            assert file.get_slice("a")[:].sum() == 15
    data = path.read_bytes()
    with safe_open(path, "np") as file:
        kept = file.get_tensor("a")
    with open(path, "r+b") as file:  # in place, as nobody should
        file.truncate(0)
    assert kept.sum() == 15
    path.write_bytes(data)
