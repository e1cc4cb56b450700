"""Loading to a GPU, with the driver that the tests of the library build: its devices are memory of
the host, which fake_cuda_look() shows."""

import ctypes
import gc
import os
import pathlib
import subprocess
import sys

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


def test_slices_are_loaded_by_themselves(path, tensors):
    parts = {"t.F32": ((1, 3), (0, 2)), "t.I8": (slice(None), 3), "empty": (slice(0, 0),)}
    with tare.open(path) as model:
        loaded = model.load(parts, device="cuda:1", slices=parts)
    for name, key in (("t.F32", numpy.s_[1:3, 0:2]), ("t.I8", parts["t.I8"]), ("empty", 0)):
        wanted = tensors[name][key] if name != "empty" else tensors[name][0:0]
        assert content(loaded[name]) == wanted.tobytes()
        assert (loaded[name].shape, loaded[name].nbytes) == (wanted.shape, wanted.nbytes)
    block = max(loaded.values(), key=lambda tensor: tensor.ptr)
    assert driver.fake_cuda_look(block.ptr, 1 << 10) is None, "nothing else is in the block"
    del loaded, block
    assert is_clean()


# In a process of its own, where torch is a stand-in: tensors are capsules of DLPack.
SAFE_SLICES = """
import ctypes, gc, os, sys
sys.path.insert(0, os.environ["TARE_TESTS"])
import numpy, pytest, tare, torch
from conftest import example
from test_py_device import driver, is_clean
from tare.safetensors.torch import load_file, safe_open

tensors = {name: array for name, _, array in example()}

def same(made, wanted):
    assert made.device == (2, 1) and made.shape == wanted.shape
    if wanted.size:
        bytes_there = ctypes.string_at(driver.fake_cuda_look(made.data, wanted.nbytes), wanted.nbytes)
        assert bytes_there == wanted.tobytes()
        assert driver.fake_cuda_look(made.data, wanted.nbytes + 1) is None, "only the box is there"

with safe_open(sys.argv[1], "pt", device="cuda:1") as file:
    part = file.get_slice("t.F32")
    other = file.get_slice("t.I64")
    for key in (numpy.s_[1:3, :2], numpy.s_[2], numpy.s_[..., 1:2], numpy.s_[:, None], numpy.s_[0:0]):
        same(part[key], tensors["t.F32"][key])
    assert part[::2, 1:].moved == "cuda:1", "steps are taken on the host"
    for wrong in (numpy.s_[9], numpy.s_[0, 0, 0, 0]):
        with pytest.raises(tare.SliceError):
            part[wrong]
assert not is_clean(), "parts keep the device open"
same(part[1:], tensors["t.F32"][1:])
kept = other[0]
del part, other
gc.collect()
same(kept, tensors["t.I64"][0])
del kept
assert is_clean()

whole = load_file(sys.argv[1], device="cuda:1")
assert set(whole) == set(tensors) and whole["t.F32"].shape == (3, 4, 5)
del whole
assert is_clean()
with safe_open(sys.argv[1], "pt", device="cuda:7") as file: # no driver has it: torch is asked
    assert file.get_slice("t.F32")[0].moved == "cuda:7"
assert is_clean()
"""

STAND_IN = """
import ctypes, sys, types

class device:
    def __init__(self, name): pass

class Managed(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device", ctypes.c_int32 * 2), ("rank", ctypes.c_int32),
                ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64))]

pointer = ctypes.pythonapi.PyCapsule_GetPointer
pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]

class Tensor:
    moved = None
    def __init__(self, capsule):
        made = Managed.from_address(pointer(capsule, b"dltensor"))
        self.capsule, self.data, self.device = capsule, made.data, tuple(made.device)
        self.shape = tuple(made.shape[i] for i in range(made.rank))
    def view(self, dtype):
        return self
    def to(self, device):
        self.moved = device
        return self

nn = types.SimpleNamespace(Module=object)
_C = types.ModuleType("torch._C")
_C._from_dlpack = Tensor
sys.modules["torch._C"] = _C
def __getattr__(name):
    return name
"""


def test_safe_open_loads_slices_to_the_device(path, tmp_path):
    (tmp_path / "torch.py").write_text(STAND_IN)
    more = {"PYTHONPATH": f"{tmp_path}:{os.environ['PYTHONPATH']}"}
    more["TARE_TESTS"] = str(pathlib.Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", SAFE_SLICES, path], capture_output=True, text=True,
                          env={**os.environ, **more})  # fmt: skip
    assert done.returncode == 0, done.stderr
