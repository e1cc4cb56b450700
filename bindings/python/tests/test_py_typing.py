"""Types: the package under mypy --strict, and the stubs against what they describe."""

import os
import pathlib
import subprocess
import sys

import pytest
import tare

pytest.importorskip("mypy")

PROGRAM = """
import tare
from tare.safetensors import load_file, safe_open

with tare.open("a") as model:
    shape: tuple[int, ...] = model["a"].shape
    names: list[str] = model.prefix("a")
    text: str = next(iter(model))
    view: memoryview = model["a"].raw
    part = model["a"][0, 1:2, ..., None]
    arrays = model.load(names, align=64, progress=True, framework="torch")
    model["a"] = 3  # E
    model.load(framework="jax")  # E
    model[3]  # E
loaded = load_file("a", backend="mmap")
with safe_open("a", "np") as file:
    keys: list[str] = file.keys()
    file.get_tensor(3)  # E
"""


def run(*arguments, folder, **more):
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, **more)


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """Reads sources and loads nothing of ours, so it needs no sanitizers; what it makes of others'
    stubs is kept."""
    cache = str(tmp_path_factory.mktemp("cache"))
    plain = {key: value for key, value in os.environ.items()
             if key not in ("LD_PRELOAD", "PYTHONMALLOC")}  # fmt: skip
    return lambda *arguments, folder: run(
        "mypy", "--strict", "--cache-dir", cache, *arguments, folder=folder, env=plain
    )


def test_programs_are_checked_against_the_stubs(mypy, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = mypy("program.py", folder=tmp_path)
    wrong = [number for number, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith("# E")]
    found = sorted(
        {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    )
    assert found == wrong, done.stdout + done.stderr


def test_the_package_is_typed(mypy, tmp_path):
    folder = pathlib.Path(tare.__file__).parent
    done = mypy(
        "--ignore-missing-imports",
        "--disable-error-code",
        "no-any-return",
        "--disable-error-code",
        "import-untyped",
        "--exclude",
        "torch.py",
        "-p",
        "tare",
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "py.typed").is_file()


def test_stubs_have_what_there_is(tmp_path):
    """Also their arguments and defaults, which the extension tells."""
    allowed = ["tare._tare.Tensor.__buffer__"]  # there from Python 3.12 on
    allowed += ["tare._tare.safe_open"]  # that it is a disjoint base is news to older checkers
    (tmp_path / "allowed").write_text("\n".join(allowed))
    done = run(
        "mypy.stubtest",
        "--ignore-missing-stub",
        "--ignore-unused-allowlist",
        "--allowlist",
        "allowed",
        "tare._tare",
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
