"""docs/python.md: its code runs, in one go, and what stands behind `->` is what comes out."""

import re

import numpy
import pytest
import tare
from conftest import ROOT, build

PAGE = ROOT / "docs/python.md"


def make_model():
    rows = [
        ("model.embed.weight", [8, 16]),
        ("model.layers.0.attn.weight", [4, 4]),
        ("model.layers.0.norm", [4]),
        ("lm_head.weight", [2, 16]),
    ]
    tensors = [
        (name, "F32", shape, numpy.arange(numpy.prod(shape), dtype="f4").tobytes())
        for name, shape in rows
    ]
    return build([*tensors, ("model.norm", "BF16", [2], b"abcd")], {"format": "np"})


def lines_of(block):
    """(code, expected or None), statements in one piece up to the next `->`."""
    code = ""
    for line in block.splitlines(keepends=True):
        found = re.match(r"^(\S.*?) +# -> (.*)$", line)
        if not found:
            code += line
            continue
        yield code, None
        yield found.group(1), found.group(2)
        code = ""
    yield code, None


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(make_model())
    names, checked = {}, 0
    blocks = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    for block in blocks:
        for code, expected in lines_of(block):
            if expected is None:
                exec(compile(code, str(PAGE), "exec"), names)
            else:
                assert repr(eval(code, names)) == expected, code
                checked += 1
    assert len(blocks) >= 6 and checked >= 15
    assert tare.open("rows.safetensors")["rows"].shape == (2, 8)


@pytest.mark.parametrize("page", ["docs/python.md", "bindings/python/README.md"])
def test_names_on_the_page_are_there(page):
    text = (ROOT / page).read_text("utf-8")
    for name in set(re.findall(r"\btare\.([A-Za-z_]+)\b", text)) - {"h", "safetensors"}:
        assert hasattr(tare, name), name
    for name in set(re.findall(r"\b(?:model|tensor)\.([a-z_]+)\(", text)):
        assert hasattr(tare.Model, name) or hasattr(tare.Tensor, name), name
