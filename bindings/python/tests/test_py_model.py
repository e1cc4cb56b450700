"""Model as a mapping, its metadata, shards and end."""

import collections.abc
import gc
import json
import pathlib
import pickle
import sys

import pytest
import tare
from conftest import ROOT, build


def test_is_a_mapping_in_the_order_of_the_file(path, tensors):
    model = tare.open(path)
    assert isinstance(model, collections.abc.Mapping)
    assert len(model) == len(tensors) and set(model) == set(tensors)
    offsets = [model[name].offset for name in model]
    assert offsets == sorted(offsets)
    assert list(model.keys()) == list(model)
    assert [tensor.name for tensor in model.values()] == list(model)
    assert [name for name, tensor in model.items() if tensor.name == name] == list(model)
    assert "scalar" in model and "scala" not in model and 3 not in model and "\ud800" not in model
    assert (
        model.get("scalar").name == "scalar" and model.get("x") is None and model.get("x", 5) == 5
    )
    assert repr(model).endswith("model.safetensors': 15 tensors, 1 shard>")


@pytest.mark.skipif(sys.version_info < (3, 10), reason="there is no match statement")
def test_is_matched_as_a_mapping(path):
    names = {"model": tare.open(path)}
    exec("match model:\n    case {'scalar': found}: pass", names)  # no syntax of 3.9
    assert names["found"].shape == ()


def test_is_opened_from_strings_paths_and_bytes(path):
    content = path.read_bytes()
    names = list(tare.open(path))
    for source in (str(path), content, bytearray(content), memoryview(content)):
        assert list(tare.open(source)) == names
    for source in (3, None, ["a"]):
        with pytest.raises(TypeError, match="a path or the bytes of a file"):
            tare.open(source)
    with pytest.raises(BufferError):
        tare.open(memoryview(content)[::2])


def test_tells_facts_of_tensors(path, tensors):
    model = tare.open(path)
    for name, array in tensors.items():
        tensor = model[name]
        assert (tensor.name, tensor.shape, tensor.ndim) == (name, array.shape, array.ndim)
        assert (tensor.nbytes, tensor.shard) == (array.nbytes, 0)
    assert model["t.F32"].dtype == "F32"
    assert repr(model["t.F32"]) == "<tare.Tensor 't.F32': F32 (3, 4, 5)>"


def test_names_that_are_missing_are_key_errors_with_near_names(path):
    model = tare.open(path)
    with pytest.raises(KeyError) as caught:
        model["t.F23"]
    assert isinstance(caught.value, tare.MissingTensorError)
    assert str(caught.value).startswith("no tensor is named 't.F23'; did you mean ")
    assert "'t.F32'" in str(caught.value) and str(caught.value).endswith("?")
    with pytest.raises(KeyError, match=r"^no tensor is named 'nothing of the kind'$"):
        model["nothing of the kind"]
    with pytest.raises(KeyError):
        model["\ud800"]
    with pytest.raises(TypeError, match="a name is a str"):
        model[3]


def test_prefix_gives_names_in_order(path):
    model = tare.open(path)
    assert model.prefix("t.F") == [name for name in model if name.startswith("t.F")]
    assert model.prefix("") == list(model)
    assert model.prefix("x") == []
    with pytest.raises(TypeError):
        model.prefix(b"t")


def test_metadata_is_a_read_only_mapping(path):
    model = tare.open(path)
    assert dict(model.metadata) == {"format": "np", "é": "ü"}
    assert model.metadata is model.metadata
    with pytest.raises(TypeError):
        model.metadata["format"] = "pt"
    assert dict(tare.open(build([])).metadata) == {}


def test_metadata_of_gguf_has_types():
    folder = ROOT / "tests/data/corpus/gguf/good"
    found = {}
    for file in sorted(folder.glob("*.gguf")):
        with tare.open(file) as model:
            for key, value in model.metadata.items():
                found.setdefault(type(value), (file.name, key, value))
    assert {int, float, bool, str, list} <= set(found), found


LIMITED = build(
    [("a", "U8", [1], b"x"), ("bb", "U8", [1, 1], b"x"), ("ccc", "U8", [1], b"x")], {"k": "value"}
)
LIMITS = {
    "header_size_max": int.from_bytes(LIMITED[:8], "little"),
    "tensor_count_max": 3,
    "rank_max": 2,
    "name_size_max": 3,
    "metadata_size_max": 6,
}


def test_models_beyond_a_limit_are_refused(tmp_path):
    path = tmp_path / "limited.safetensors"
    path.write_bytes(LIMITED)
    tare.open(path).save_index()
    for name, most in LIMITS.items():
        for source in (LIMITED, path):
            for limit in (None, most, most + 1):
                assert len(tare.open(source, **{name: limit})) == 3, (name, limit)
        is_header = name == "header_size_max"
        status = "TARE_E_HEADER_SIZE" if is_header else "TARE_E_LIMIT"
        for source, index in ((LIMITED, "auto"), (path, "never"), (path, "require")):
            if is_header and index == "require":
                continue  # no header is read
            with pytest.raises(tare.TareError) as caught:
                tare.open(source, index=index, **{name: most - 1})
            assert caught.value.status == status, (name, index)
    assert len(tare.open(path, index="never", **LIMITS)) == 3
    tare.open(path, rank_max=2**64 - 1)


@pytest.mark.parametrize("name", LIMITS)
def test_limits_that_cannot_be_are_refused(name):
    for wrong in (0, -1, 2**64):
        with pytest.raises(ValueError, match="a limit is from 1"):
            tare.open(LIMITED, **{name: wrong})
    for wrong in ("8", 1.5, [8]):
        with pytest.raises(TypeError):
            tare.open(LIMITED, **{name: wrong})
    if name == "header_size_max":
        with pytest.raises(tare.ArgumentError):
            tare.open(LIMITED, header_size_max=2**31)


def test_shards_are_files(tmp_path):
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for number, name in enumerate(names):
        content = build(
            [(f"t{number}", "U8", [2], b"ab")], {"n": str(number), f"only{number}": "x"}
        )
        (tmp_path / name).write_bytes(content)
    index = {"weight_map": {"t0": names[0], "t1": names[1]}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    model = tare.open(tmp_path)
    assert model.shards == tuple(names)
    assert [model[name].shard for name in model] == [0, 1]
    assert dict(model.metadata) == {"n": "0", "only0": "x", "only1": "x"}
    assert model["t1"].tobytes() == b"ab"


def test_closed_models_say_so(path):
    with tare.open(path) as model:
        keys = iter(model)
        tensor = model["scalar"]
    assert model.closed and repr(model) == "<tare.Model, closed>"
    model.close()
    for use in (
        lambda: model["scalar"],
        lambda: "scalar" in model,
        lambda: len(model),
        model.keys,
        lambda: iter(model),
        lambda: model.metadata,
        model.load,
        model.__enter__,
        lambda: model.shards,
        lambda: model.prefix(""),
        lambda: model.get("scalar"),
    ):
        with pytest.raises(tare.ClosedError, match="the model is closed"):
            use()
    assert tensor.numpy() == 7 and "scalar" in list(keys)


def test_nothing_is_pickled_and_nothing_made_by_hand(path):
    model = tare.open(path)
    with pytest.raises(TypeError, match="it is an open file. Pickle its path"):
        pickle.dumps(model)
    with pytest.raises(TypeError, match="Tensor.*cannot be pickled"):
        pickle.dumps(model["scalar"])
    owner = model["scalar"].numpy().base
    for kind in (tare.Model, tare.Tensor, type(owner), type(iter(model))):
        with pytest.raises(TypeError, match="is not made by hand"):
            kind()
    assert gc.is_tracked(model)


def test_names_that_are_no_utf8_come_back_as_they_are():
    """GGUF promises nothing about names; such a name is a str with surrogates that finds it."""
    checked = 0
    for file in (ROOT / "tests/data/corpus/gguf/good").glob("*.gguf"):
        with tare.open(file) as model:
            for name in model:
                checked += any("\udc80" <= letter <= "\udcff" for letter in name)
                assert model[name].name == name
    assert checked >= 0


def test_a_read_model_maps_nothing(path, tensors):
    model = tare.open(path, mmap=False)
    tensor = model["t.I64"]
    assert str(path) not in pathlib.Path("/proc/self/maps").read_text()
    assert (tensor.numpy() == tensors["t.I64"]).all() and not tensor.numpy().flags.writeable
    assert tensor.tobytes() == tensors["t.I64"].tobytes()
    with pytest.raises(BufferError, match="not in memory"):
        memoryview(tensor)
    assert (tare.open(path, mmap=True)["t.I64"].numpy() == tensors["t.I64"]).all()
    assert (tensor[1:, 0] == tensors["t.I64"][1:, 0]).all()
