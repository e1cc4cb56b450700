"""Models from an index file, whole and damaged."""

import os
import struct
import subprocess

import numpy
import pytest
import tare

LAYOUTS = 4  # section of docs/format_index.md


@pytest.fixture
def indexed(path):
    program = os.environ.get("TARE_CLI")
    if not program:
        pytest.skip("no program tare to make an index file with")
    without = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    subprocess.run([program, "index", str(path)], check=True, env=without, capture_output=True)
    return path


def test_gives_the_same_tensors(indexed, tensors):
    model = tare.open(indexed)
    assert set(model) == set(tensors)
    for name, array in tensors.items():
        assert numpy.array_equal(numpy.asarray(model[name]), array)
        assert model[name].shape == array.shape
    loaded = model.load()
    assert all(numpy.array_equal(loaded[name], array) for name, array in tensors.items())


def test_a_damaged_one_gives_errors(indexed):
    file = indexed.with_name(indexed.name + ".tareidx")
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
