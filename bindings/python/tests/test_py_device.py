"""Loading to a GPU, with the driver that the tests of the library build: its devices are memory of
the host, which fake_cuda_look() shows."""

import ctypes
import gc
import os
import pathlib

import numpy
import pytest

import tare

FOLDER = os.environ.get("TARE_FAKE_CUDA", "")
if not pathlib.Path(FOLDER, "libcuda.so.1").exists():
    pytest.skip("the tests' driver is not built", allow_module_level=True)

# What is in the process already is found by its name.
driver = ctypes.CDLL(str(pathlib.Path(FOLDER, "libcuda.so.1")), ctypes.RTLD_GLOBAL)
driver.fake_cuda_look.restype = ctypes.c_void_p
driver.fake_cuda_look.argtypes = [ctypes.c_uint64, ctypes.c_size_t]


def content(tensor):
    if tensor.nbytes == 0:
        return b""
    return ctypes.string_at(driver.fake_cuda_look(tensor.ptr, tensor.nbytes), tensor.nbytes)


def is_clean():
    gc.collect()
    return bool(driver.fake_cuda_clean())


@pytest.mark.parametrize("device", ["cuda:1", "cuda", 1])
def test_all_tensors_are_loaded(path, tensors, device):
    with tare.open(path) as model:
        loaded = model.load(device=device)
        wanted = {name: (model[name].dtype, model[name].shape) for name in model}
    assert set(loaded) == set(tensors)
    for name, tensor in loaded.items():
        assert isinstance(tensor, tare.DeviceTensor)
        assert content(tensor) == tensors[name].tobytes()
        assert (tensor.dtype, tensor.shape) == wanted[name]
        assert tensor.nbytes == tensors[name].nbytes and tensor.ptr % 256 == 0
        assert tensor.device == ("cuda:0" if device == "cuda" else "cuda:1")
        assert tensor.__dlpack_device__() == (2, 0 if device == "cuda" else 1)
        assert tensor.device in repr(tensor)
    del loaded, tensor
    assert is_clean()


def test_a_device_keeps_its_pinned_memory(path):
    with tare.open(path) as model, tare.Device("cuda:0", staging=1 << 20) as device:
        assert (device.label, device.name, device.staging) == ("cuda:0", "Fake 0", 0)
        first = model.load(["t.F32"], device=device)
        staging = device.staging
        second = model.load(["t.F32", "t.I64"], device=device, align=4096)
        assert 0 < staging <= 1 << 20 and device.staging == staging
        assert abs(device.measure() / 50e9 - 1) < 1e-3
    assert second["t.I64"].ptr % 4096 == 0
    assert content(first["t.F32"]) == content(second["t.F32"])
    for use in (lambda: device.label, device.measure, lambda: tare.open(path).load(device=device)):
        with pytest.raises(ValueError, match="closed"):
            use()
    device.close()
    del first, second
    assert is_clean()


def test_dlpack_tells_the_device(path):
    class Managed(ctypes.Structure):
        _fields_ = [("data", ctypes.c_void_p), ("device", ctypes.c_int32 * 2),
                    ("rank", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
                    ("lanes", ctypes.c_uint16)]  # fmt: skip

    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = tare.open(path).load(["t.F32"], device="cuda:1")["t.F32"]
    for stream in (None, 1, 2, -1):
        capsule = tensor.__dlpack__(stream=stream)
        made = Managed.from_address(pointer(capsule, b"dltensor"))
        assert (made.data, tuple(made.device)) == (tensor.ptr, (2, 1))
        assert (made.rank, made.code, made.bits, made.lanes) == (3, 2, 32, 1)
    for more in ({"dl_device": (1, 0)}, {"dl_device": (2, 0)}, {"copy": True}):
        with pytest.raises(BufferError):
            tensor.__dlpack__(**more)
    address = tensor.ptr
    del tensor, made
    gc.collect()
    assert driver.fake_cuda_look(address, 4) is not None, "the capsule keeps the block"
    del capsule
    assert is_clean()


def test_what_is_missing_is_said(path):
    model = tare.open(path)
    with pytest.raises(tare.TareError, match="there is no device 7: the driver has 2"):
        model.load(device="cuda:7")
    with pytest.raises(ValueError, match="no device is called 'tpu'"):
        tare.Device("tpu")
    with pytest.raises(ValueError, match="numpy has no arrays"):
        model.load(device="cuda:0", framework="numpy")
    with pytest.raises(TypeError):
        tare.DeviceTensor()
    host = model.load(device="cpu")
    assert isinstance(host["t.F32"], numpy.ndarray)
    assert is_clean()


def test_a_load_can_be_stopped(path):
    def stop(done, total):
        raise KeyError("enough")

    with tare.open(path) as model, pytest.raises(KeyError, match="enough"):
        model.load(device="cuda:0", progress=stop)
    assert is_clean()
