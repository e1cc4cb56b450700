"""Ways to the bytes of a tensor: numpy, buffers, DLPack, slices."""

import pathlib

import ml_dtypes
import numpy
import pytest
import tare
from conftest import BITS, ML, NUMPY_LENDS, build


def test_numpy_is_zero_copy_and_read_only(path, tensors):
    model = tare.open(path)
    for name, array in tensors.items():
        found = model[name].numpy()
        assert found.dtype == array.dtype and found.shape == array.shape
        numpy.testing.assert_array_equal(found, array)
        assert found.flags.c_contiguous and found.flags.aligned and not found.flags.writeable
        assert not found.flags.owndata and (
            found.size == 0 or numpy.shares_memory(found, model[name].numpy())
        )
    with pytest.raises(ValueError):
        model["t.F32"].numpy()[0] = 1


def test_bytes_that_are_not_aligned_are_said_to_be():
    model = tare.open(build([("a", "U8", [1], b"x"), ("b", "F32", [2], b"\0\0\x80?\0\0\0@")]))
    array = model["b"].numpy()
    assert array.tolist() == [1, 2] and array.sum() == 3
    assert array.flags.aligned == (array.ctypes.data % 4 == 0)


def test_ml_dtypes_have_the_bits_of_the_file():
    content = bytes(range(240))
    rows = [(code, code, [240 * 8 // BITS[code]], content) for code in ML]
    model = tare.open(build(rows))
    for code, name in ML.items():
        array = model[code].numpy()
        assert array.dtype == numpy.dtype(getattr(ml_dtypes, name))
        assert array.tobytes() == content
        assert numpy.asarray(model[code]).dtype == array.dtype  # not silently its bytes
        assert model[code][3:5].tobytes() == array[3:5].tobytes()
        with pytest.raises(BufferError, match="Tensor.raw"):
            memoryview(model[code])
        assert bytes(model[code].raw) == content
        assert model.load([code])[code].dtype == array.dtype


def test_without_ml_dtypes_the_error_says_what_to_install(path):
    """In a process of its own: this one has it already."""
    import subprocess
    import sys

    program = """if True:
        import sys, tare
        sys.modules["ml_dtypes"] = None
        model = tare.open(sys.stdin.buffer.read())
        for use in (model["b"].numpy, model.load, lambda: model["b"][0]):
            try: use()
            except ImportError as error: assert "pip install ml_dtypes" in str(error), error
            else: sys.exit("no error")
        print(model["b"].tobytes())"""
    content = build([("b", "BF16", [2], b"abcd")])
    done = subprocess.run([sys.executable, "-c", program], input=content, capture_output=True)
    assert done.stdout == b"b'abcd'\n", done.stderr.decode()


def test_dtypes_without_whole_bytes_are_bytes_of_rows():
    rows = [
        ("f4", "F4", [3, 4], bytes(range(6))),
        ("f6", "F6_E2M3", [2, 4], bytes(range(6))),
        ("odd", "F4", [2, 3], bytes(range(3))),
    ]
    model = tare.open(build(rows))
    assert model["f4"].numpy().tolist() == [[0, 1], [2, 3], [4, 5]]
    assert model["f6"].numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert model["odd"].numpy().tolist() == [0, 1, 2]
    assert model["f4"][1:, 2:].tolist() == [[3], [5]]
    assert model.load()["f4"].tolist() == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(tare.FormatError, match="dimension 1"):
        model["f4"][:, 1:]
    assert model["f4"][::-2].tolist() == [[4, 5], [0, 1]] and model["f6"][1::4].shape == (1, 3)
    with pytest.raises(IndexError, match="no steps"):
        model["f4"][:, ::2]
    with pytest.raises(tare.FormatError, match="dimension 0"):
        model["odd"][::1, :2]
    with pytest.raises(BufferError, match="no such dtype"):
        model["f4"].__dlpack__()


def test_the_buffer_has_shape_and_format(path, tensors):
    model = tare.open(path)
    for name, array in tensors.items():
        view = memoryview(model[name])
        assert view.shape == array.shape and view.readonly and view.nbytes == array.nbytes
        assert view.itemsize == array.itemsize and view.c_contiguous
        numpy.testing.assert_array_equal(numpy.asarray(view), array)
    assert bytes(model["t.F32"]) == tensors["t.F32"].tobytes()
    assert model["t.F32"].tobytes() == tensors["t.F32"].tobytes()
    assert numpy.asarray(model["t.C64"]).tolist() == tensors["t.C64"].tolist()
    assert model["t.F32"].raw.format == "B" and model["t.F32"].raw.shape == (240,)
    with open("/dev/zero", "rb") as zeros, pytest.raises((BufferError, TypeError)):
        zeros.readinto(model["t.F32"])


def test_array_takes_dtype_and_copy(path, tensors):
    tensor = tare.open(path)["t.I16"]
    assert numpy.asarray(tensor, dtype="f8").dtype == "f8"
    assert tensor.__array__("f4").dtype == "f4" and tensor.__array__().dtype == "i2"
    copied = tensor.__array__(copy=True)
    assert copied.flags.writeable and copied.tolist() == tensors["t.I16"].tolist()
    assert tensor.__array__("<i2", True).flags.writeable
    with pytest.raises(TypeError):
        tensor.__array__("no dtype")


def test_array_refuses_a_copy_where_one_is_needed(path):
    tensor = tare.open(path)["t.I16"]
    for dtype in (None, "<i2", numpy.int16, numpy.dtype("i2")):
        assert numpy.shares_memory(tensor.__array__(dtype, copy=False), tensor.numpy())
    with pytest.raises(ValueError, match="another dtype takes a copy"):
        tensor.__array__("f4", copy=False)
    read = tare.open(path, mmap=False)["t.I16"]
    with pytest.raises(ValueError, match="not in memory take a copy"):
        read.__array__(copy=False)
    if numpy.lib.NumpyVersion(numpy.__version__) >= "2.0.0":
        with pytest.raises(ValueError):
            numpy.asarray(read, copy=False)
        with pytest.raises(ValueError):
            numpy.asarray(tensor, "f4", copy=False)


def test_dlpack_goes_to_numpy(path, tensors):
    model = tare.open(path)
    for name, array in tensors.items():
        if array.dtype == "?" and not NUMPY_LENDS:
            continue  # these know no truth values there
        found = numpy.from_dlpack(model[name])
        assert found.dtype == array.dtype
        numpy.testing.assert_array_equal(found, array)
    assert model["t.F32"].__dlpack_device__() == (1, 0)
    model["t.F32"].__dlpack__()  # and nobody takes it
    model["t.F32"].__dlpack__(max_version=(1, 1), copy=True)
    for wrong in ({"stream": 1}, {"dl_device": (2, 0)}):
        with pytest.raises(BufferError):
            model["t.F32"].__dlpack__(**wrong)
    for name in ("dl_device", "max_version"):
        for wrong in (5, "ab", [1, 0], (1,), (1, 0, 0), ("a", 0), (1.5, 0)):
            with pytest.raises(TypeError):
                model["t.F32"].__dlpack__(**{name: wrong})
    with pytest.raises(OverflowError):
        model["t.F32"].__dlpack__(max_version=(1 << 70, 0))


SOURCES = {
    "a file": lambda path: tare.open(path),
    "bytes": lambda path: tare.open(path.read_bytes()),
    "a bytearray": lambda path: tare.open(bytearray(path.read_bytes())),
}


@pytest.mark.skipif(not NUMPY_LENDS, reason="this numpy takes no capsules with marks")
@pytest.mark.parametrize("source", SOURCES)
def test_dlpack_is_marked_read_only_or_copied(path, tensors, source):
    tensor = SOURCES[source](path)["t.F32"]
    wanted = tensors["t.F32"].tolist()
    found = numpy.from_dlpack(tensor)
    assert not found.flags.writeable and found.tolist() == wanted
    assert "dltensor_versioned" in repr(tensor.__dlpack__(max_version=(1, 0)))
    for asks in ({}, {"max_version": (0, 8)}):  # these know no flag, and get memory of their own
        assert "dltensor_versioned" not in repr(tensor.__dlpack__(**asks))
        taken = numpy.from_dlpack(Capsule(tensor, asks))
        assert not numpy.shares_memory(taken, tensor.numpy()) and taken.tolist() == wanted
        with pytest.raises(BufferError, match="without a copy"):
            tensor.__dlpack__(copy=False, **asks)
    assert numpy.shares_memory(
        numpy.from_dlpack(Capsule(tensor, {"max_version": (1, 1), "copy": False})), tensor.numpy()
    )
    own = numpy.from_dlpack(Capsule(tensor, {"max_version": (1, 0), "copy": True}))
    if own.flags.writeable:  # numpy from 2.1 on
        own[...] = 9
    assert tensor.numpy().tolist() == wanted


class Capsule:
    """Hands a capsule on that was asked for in another way than numpy asks."""

    def __init__(self, tensor, asks):
        self.tensor, self.asks = tensor, asks

    def __dlpack__(self, **unused):
        return self.tensor.__dlpack__(**self.asks)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


KEYS = [
    0, -1, slice(None), slice(1, 2), slice(-2, None), slice(5, 9), slice(2, 1),
    slice(None, None, 2),
    slice(None, None, -1), slice(None, 0, -1), slice(2, None, -2), ..., (), None, (0, 1), (0, 1, 2),
    (..., 0), (0, ...), (slice(1), ..., slice(0, 4, 3)), (None, 0, None),
    (slice(None), None, ..., None),
    (slice(None), slice(1, 3), slice(2, 4)), (-1, slice(None, None, -2), 3), numpy.int64(2),
    (slice(0, 0), 1), (0, slice(None), slice(4, 1, -2)),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_slices_are_those_of_numpy(path, tensors, key):
    model = tare.open(path)
    for name in ("t.F32", "t.U8", "t.C64", "t.BOOL"):
        found, wanted = model[name][key], tensors[name][key]
        assert found.shape == wanted.shape and found.dtype == wanted.dtype
        numpy.testing.assert_array_equal(found, wanted)
        assert found.flags.writeable and found.flags.c_contiguous


class Shaped:
    """As a tensor of torch with one number: an index of its own, that is no integer."""

    ndim = 1

    def __index__(self):
        return 1


@pytest.mark.parametrize(
    "key",
    [
        3,
        -4,
        (0, 0, 5),
        (0,) * 4,
        (..., ...),
        [0, 1],
        True,
        "a",
        1.5,
        (slice(None),) * 4,
        numpy.array([True, False, True]),
        numpy.array([1]),
        (0, numpy.array([[1]])),
        Shaped(),
    ],
    ids=repr,
)
def test_indices_that_do_not_fit_are_index_errors(path, key):
    with pytest.raises(IndexError) as caught:
        tare.open(path)["t.F32"][key]
    assert isinstance(caught.value, tare.TareError)


def test_slices_with_a_step_of_zero_are_value_errors(path):
    with pytest.raises(ValueError, match="zero"):
        tare.open(path)["t.F32"][::0]


@pytest.mark.parametrize("key", [1 << 70, -1 << 70, (0, 1 << 63)], ids=repr)
def test_integers_of_any_size_are_index_errors(path, key):
    with pytest.raises(tare.SliceError, match="out of bounds"):
        tare.open(path)["t.F32"][key]
    assert tare.open(path)["t.F32"][: 1 << 70].shape == (3, 4, 5)


def test_slices_of_scalars_and_of_nothing(path):
    model = tare.open(path)
    assert model["scalar"][()] == 7 and model["scalar"][...] == 7
    assert model["empty"][:].shape == (0, 3) and model["empty"][:, 1].shape == (0,)
    with pytest.raises(IndexError):
        model["scalar"][0]


def test_slices_read_only_those_bytes(tmp_path):
    """Of a file of 1 GiB that is a hole: what is read is told by the kernel."""
    file = tmp_path / "large.safetensors"
    rows, width = 1 << 14, 1 << 16
    with open(file, "wb") as out:
        head = build([("t", "U8", [rows, width], b"")]).replace(
            b"[0, 0]", b"[0, %d]" % (rows * width)
        )
        size = len(head) - 8
        out.write(size.to_bytes(8, "little") + head[8:])
        out.truncate(8 + size + rows * width)

    def read_bytes():
        return int(pathlib.Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])

    tensor = tare.open(file)["t"]
    for key, shape in (
        (slice(100, 110), (10, width)),
        ((slice(None), slice(7, 9)), (rows, 2)),
        (slice(None, None, 1000), (17, width)),
        ((slice(None, None, -1000), slice(None, None, 30_000)), (17, 3)),
    ):
        before = read_bytes()
        assert tensor[key].shape == shape
        size = shape[0] * shape[1]
        assert size <= read_bytes() - before < size + 200_000


#: More than a piece of what has steps is read in, and gaps that are passed over.
STEPPED = [
    ((3000, 40), (slice(None, None, 2),)),
    ((3000, 40), (slice(-2, 5, -7), slice(None, None, -3))),
    ((40, 3000), (slice(None), slice(1, None, 2))),
    ((40, 3000), (slice(None, None, -2), slice(100, 2000))),
    ((200, 3, 500), (slice(None, None, 3), 1, slice(None, None, 2))),
    ((3, 5, 70000), (..., slice(None, None, 4097))),
    ((3, 5, 70000), (slice(None, None, 2), slice(None, None, -1), slice(10, 60000))),
    ((2, 60000, 2), (slice(None), slice(None, None, 50), None, 1)),
    ((100_000,), (slice(None, None, -1),)),
]


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "c8", "f8"])
@pytest.mark.parametrize("shape, key", STEPPED, ids=repr)
def test_large_slices_with_steps_are_those_of_numpy(tmp_path, shape, key, dtype):
    array = numpy.arange(numpy.prod(shape)).astype(dtype).reshape(shape)
    file = tmp_path / "t.safetensors"
    tare.save_file({"t": array}, file)
    for mmap in (True, False):
        found = tare.open(file, mmap=mmap)["t"][key]
        assert found.dtype == array.dtype and found.flags.c_contiguous
        numpy.testing.assert_array_equal(found, array[key])


def test_steps_over_rows_without_whole_bytes():
    rows = [
        ("even", "F4", [4, 2, 3], bytes(range(12))),
        ("odd", "F4", [4, 3], bytes(range(6))),
        ("single", "F4", [4, 1], bytes(range(2))),
    ]
    model = tare.open(build(rows))
    assert model["even"][::2].tolist() == [0, 1, 2, 6, 7, 8]
    assert model["even"][::-3].tolist() == [9, 10, 11, 0, 1, 2]
    for tensor, key in (("odd", 3), ("odd", -3), ("single", 3), ("single", -3)):
        with pytest.raises(tare.FormatError, match="within a byte") as caught:
            model[tensor][::key]
        assert caught.value.status == "TARE_E_SUBBYTE"


def test_slices_with_steps_of_a_file_that_shrank_are_errors(tmp_path):
    file = tmp_path / "t.safetensors"
    tare.save_file({"t": numpy.zeros((1000, 1000))}, file)
    tensor = tare.open(file)["t"]
    file.write_bytes(file.read_bytes()[:4_000_000])
    for key in (slice(None, None, 2), slice(None, None, 100), (slice(None), slice(None, None, -1))):
        with pytest.raises(tare.FileError, match="shrank"):
            tensor[key]
