"""Files to test with, made by json and struct: nothing under test is needed to make them."""

import faulthandler
import json
import os
import pathlib
import struct

import numpy
import pytest

# Older ones ask no version of DLPack, and get copies.
NUMPY_LENDS = numpy.lib.NumpyVersion(numpy.__version__) >= "2.1.0"
ROOT = pathlib.Path(__file__).resolve().parents[3]

HANGS_SECONDS = 300  # of a test that takes seconds at most, also with sanitizers on a busy machine


def pytest_configure(config):
    config.hang_report = open(os.dup(2), "w")  # what tests print is captured only later


@pytest.fixture(autouse=True)
def watchdog(pytestconfig):
    """A test that hangs ends the run, with the stack of each thread."""
    faulthandler.dump_traceback_later(HANGS_SECONDS, exit=True, file=pytestconfig.hang_report)
    yield
    faulthandler.cancel_dump_traceback_later()


BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
PLAIN = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "I16": "i2", "U16": "u2", "F16": "f2", "I32": "i4",
    "U32": "u4", "F32": "f4", "C64": "c8", "F64": "f8", "I64": "i8", "U64": "u8",
}  # fmt: skip
ML = {
    "BF16": "bfloat16", "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip


def build(tensors, metadata=None):
    """The bytes of a file of [(name, dtype, shape, bytes)]."""
    header, data = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, dtype, shape, content in tensors:
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def numbers(dtype, *shape):
    return numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape).astype(dtype)


def example():
    """[(name, dtype, array)]"""
    made = [(f"t.{code}", code, numbers(dtype, 3, 4, 5)) for code, dtype in PLAIN.items()]
    return [
        *made,
        ("scalar", "F32", numpy.array(7, "f4")),
        ("empty", "F32", numpy.zeros((0, 3), "f4")),
    ]


@pytest.fixture
def tensors():
    return {name: array for name, _, array in example()}


@pytest.fixture
def path(tmp_path):
    rows = [(name, code, array.shape, array.tobytes()) for name, code, array in example()]
    rows.sort(key=lambda row: (-BITS[row[1]], row[0]))  # so that all are aligned
    file = tmp_path / "model.safetensors"
    file.write_bytes(build(rows, {"format": "np", "é": "ü"}))
    return file
