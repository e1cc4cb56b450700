"""The corpus of good and hostile files, through Python: nothing crashes the interpreter, and what
the manifest says is what comes out."""

import binascii
import collections

import pytest
import tare
from conftest import ROOT, build
from tare.safetensors import SafetensorError, deserialize, load, safe_open

CORPUS = ROOT / "tests/data/corpus"
ROWS = [line.split("\t") for line in (CORPUS / "manifest.tsv").read_text().splitlines()]
EXPECT = collections.defaultdict(list)
for line in (CORPUS / "expect.tsv").read_text().splitlines():
    name, kind, *fields = line.split("\t")
    if kind == "tensor":
        EXPECT[name].append(fields)


def name_of(text):
    return binascii.unhexlify(text.strip("-")).decode("utf-8", "surrogateescape")


def touch(model):
    """Every way to the bytes of every tensor."""
    for name in model:
        tensor = model[name]
        assert tensor.name == name and len(tensor.tobytes()) == tensor.nbytes
        for use in (
            tensor.numpy,
            lambda: tensor[...],
            lambda: memoryview(tensor).nbytes,
            lambda: tensor.__dlpack__(),
            lambda: bytes(tensor.raw),
            lambda: tensor[0],
        ):
            try:
                use()
            except (ValueError, IndexError, BufferError, MemoryError):
                pass  # shapes that numpy cannot have
    try:
        model.load()
    except (ValueError, MemoryError):
        pass
    dict(model.metadata), repr(model), model.shards


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_verdict_is_that_of_the_manifest(row):
    path = CORPUS / row[0]
    if row[2] == "accept":
        with tare.open(path) as model:
            found = [(tensor.name, tensor.dtype, list(tensor.shape), tensor.shard, tensor.offset,
                      tensor.nbytes) for tensor in model.values()]  # fmt: skip
            wanted = [
                (
                    name_of(f[0]),
                    f[1],
                    [int(n) for n in f[2].strip("-").split(",") if n],
                    *map(int, f[3:6]),
                )
                for f in EXPECT[row[0]]
            ]
            assert sorted(found) == sorted(wanted)
            touch(model)
    else:
        with pytest.raises(tare.TareError) as caught:
            tare.open(path)
        error = caught.value
        assert error.status.startswith("TARE_E_") and isinstance(error, (ValueError, OSError))
        with pytest.raises((SafetensorError, OSError)):
            safe_open(path, "np")
    if path.is_file() and path.suffix != ".json":
        content = path.read_bytes()
        for use in (
            lambda: touch(tare.open(content)),
            lambda: load(content),
            lambda: deserialize(content),
        ):
            try:
                use()
            except (tare.TareError, ValueError, MemoryError):
                pass


def test_errors_tell_where(path):
    content = path.read_bytes()
    with pytest.raises(tare.FormatError) as caught:
        tare.open(content[:100])
    assert (caught.value.status, caught.value.shard) == ("TARE_E_TRUNCATED", 0)
    with pytest.raises(tare.FormatError) as caught:
        tare.open(build([("t", "U8", [3], b"ab")]))
    assert caught.value.status == "TARE_E_SIZE" and caught.value.offset > 8
    assert "'t'" in str(caught.value) and isinstance(caught.value, ValueError)


def test_system_errors_are_os_errors(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        tare.open(tmp_path / "nothing.safetensors")
    assert isinstance(caught.value, tare.FileError) and caught.value.errno == 2
    assert "nothing.safetensors" in str(caught.value)
    with pytest.raises(tare.FormatError) as caught:
        tare.open(tmp_path)
    assert caught.value.status == "TARE_E_NO_MODEL"
    with pytest.raises(OSError):
        tare.open("/dev/zero")
    with pytest.raises(ValueError):
        tare.open("a\0b")


def test_files_cut_short_or_changed_anywhere_never_crash(path):
    content = path.read_bytes()
    size = 8 + int.from_bytes(content[:8], "little")
    for end in range(0, size, 3):
        with pytest.raises(tare.TareError):
            tare.open(content[:end])
    for at in range(size):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        try:
            touch(tare.open(changed))
        except tare.TareError:
            pass
