#!/usr/bin/env python3
"""run_python.py BUILD CACHE COMPILER SANITIZERS XXHASH [--install | --torch] [PYTEST ARGUMENTS]

Builds the binding and runs its tests, in a virtual environment below CACHE that builds share.
With --install it is installed instead as a user does: `pip install` of the folder and of a source
distribution, into an environment of its own, with a header that is fetched.
With --torch the tests that torch has a part in are run by a Python that has torch, and with its
numpy: this one, Debian's, or the one that TARE_TORCH_PYTHON names.
"""

import os
import pathlib
import platform
import shutil
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parent
BINDING = TESTS.parent
sys.path.insert(0, str(BINDING.parents[1] / "tests/checkpoint"))
import peer  # noqa: E402  the other tests with packages of PyPI

PACKAGES = ["scikit-build-core>=1.0", "pytest", "hypothesis>=6.98", "numpy>=1.24", "ml_dtypes>=0.5",
            "safetensors==0.8.0", "tqdm", "mypy>=1.10", "ninja", "pip>=23"]  # fmt: skip


# What the tests need beside torch and what it brings, with nothing that these ask for.
TORCH_PACKAGES = ["pytest", "iniconfig", "packaging", "pluggy", "pygments", "hypothesis>=6.98",
                  "sortedcontainers", "safetensors==0.8.0", "ml_dtypes==0.5.*", "tqdm"]  # fmt: skip
TORCH_TESTS = ["test_py_torch.py", "test_py_safetensors.py", "test_py_tensor.py", "test_py_help.py",
               "test_py_random.py"]  # fmt: skip


def run(*command, **environment):
    print("$", *map(str, command), flush=True)
    return subprocess.run(command, env=dict(os.environ, **environment), check=False).returncode


def environment(cache):
    peer.PACKAGES[:] = PACKAGES
    try:
        with peer.lock(cache):
            return peer.environment(cache)
    except peer.Missing as missing:
        return peer.skip(missing)


def has_headers():
    done = subprocess.run(
        [sys.executable, "-c", "import sysconfig; print(sysconfig.get_path('include'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return pathlib.Path(done.stdout.strip(), "Python.h").is_file()


def build(python, folder, compiler, sanitizers, xxhash):
    """Into FOLDER/site; what was compiled before stays."""
    defines = {"TARE_WERROR": "ON", "TARE_SANITIZE": sanitizers, "TARE_XXHASH_INCLUDE_DIR": xxhash}
    settings = [f"--config-settings=cmake.define.{key}={value}" for key, value in defines.items()]
    return run(
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-build-isolation",
        "--upgrade",
        "--target",
        folder / "site",
        *settings,
        f"--config-settings=build-dir={folder}/objects",
        "--config-settings=cmake.build-type=" + ("Debug" if sanitizers else "Release"),
        BINDING,
        CC=compiler,
    )


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def sanitizer(compiler):
    """Runtimes to load before Python itself, which knows nothing of them; empty where the compiler
    has none to load."""
    names = ["libasan.so", "libubsan.so"]
    if "clang" in output(compiler, "--version"):  # one for both; what it links without being told
        names = [f"libclang_rt.asan-{platform.machine()}.so"]  # is for programs alone
    paths = [output(compiler, f"-print-file-name={name}") for name in names]
    return " ".join(os.path.realpath(path) for path in paths if os.path.isabs(path))


def test(python, folder, preload, tests, arguments, packages=()):
    more = {"PYTHONPATH": os.pathsep.join(map(str, (folder / "site", *packages)))}
    if preload:
        more.update(
            LD_PRELOAD=preload,
            TARE_TEST_SANITIZED="1",
            PYTHONMALLOC="malloc",
            ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=8",
            UBSAN_OPTIONS="print_stacktrace=1",
        )
    return run(
        python,
        "-m",
        "pytest",
        "-c",
        BINDING / "pyproject.toml",
        "--rootdir",
        BINDING,
        *tests,
        *arguments,
        **more,
    )


VERSION = "import sys; print(*sys.version_info[:2])"
VERSIONS = "import sys, torch; print(*sys.version_info[:2], torch.__version__)"


def python_with_torch(own):
    """(Python, its version) of one that takes what the Python `own` was given a binding for."""
    for python in (os.environ.get("TARE_TORCH_PYTHON"), sys.executable, "/usr/bin/python3"):
        found = output(python, "-c", VERSIONS).split() if python and shutil.which(python) else []
        if len(found) != 3:
            continue
        version = tuple(map(int, found[:2]))
        if version == own or min(version, own) >= (3, 11):  # one wheel for all of these
            print(f"torch {found[2]} of {python}", flush=True)
            return python, ".".join(found[:2])
    return peer.skip(
        f"no torch for Python {'.'.join(map(str, own))} is installed; Debian has python3-torch, "
        "and TARE_TORCH_PYTHON names any other Python that has it"
    )


def torch_packages(pip, cache, version):
    folder = pathlib.Path(cache, f"torch-{version}")
    done = folder / "installed"
    stamp = " ".join(TORCH_PACKAGES)
    if not done.is_file() or done.read_text() != stamp:
        shutil.rmtree(folder, ignore_errors=True)
        if not peer.run_pip(pip, "install", "--quiet", "--no-deps", "--only-binary=:all:",
                            "--python-version", version, "--target", folder,
                            *TORCH_PACKAGES):  # fmt: skip
            peer.skip("no package registry is reached, so there are no packages to compare with")
        done.write_text(stamp)
    return folder


USE = """if True:
    import numpy, tare
    model = tare.open(tare.save({"a": numpy.arange(3)}))
    assert model["a"].numpy().tolist() == [0, 1, 2] and "site-packages" in tare.__file__
    print("tare", tare.__version__, tare.__file__)"""


def install(python, folder, compiler):
    """As a user: the folder; an sdist; without the header."""
    subprocess.run([python, "-m", "venv", "--clear", folder / "user"], check=True)
    user = folder / "user/bin/python3"
    pip = (user, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    if run(*pip, "numpy", BINDING, CC=compiler) != 0 or run(user, "-c", USE) != 0:
        return 1
    program = (
        "import os, sys, tare_build; os.chdir(sys.argv[1]);"
        "print(tare_build.build_sdist(sys.argv[2]));"
        "tare_build.fetch_header(sys.argv[2])"
    )
    header = folder / "header"
    subprocess.run(["rm", "-rf", header], check=True)
    header.mkdir()
    if run(python, "-c", program, BINDING, header, PYTHONPATH=str(BINDING)) != 0:
        return 1
    (archive,) = header.glob("tare-*.tar.gz")
    given = f"--config-settings=cmake.define.TARE_XXHASH_INCLUDE_DIR={header}"
    failed = run(*pip, "--force-reinstall", "--no-deps", given, archive, CC=compiler)
    return failed or run(user, "-c", USE)


def main():
    folder, cache, compiler, sanitizers, xxhash, *arguments = sys.argv[1:]
    folder = pathlib.Path(folder)
    if not has_headers():
        peer.skip("Python.h is missing; Debian has python3-dev for it")
    python = environment(cache)
    if arguments == ["--install"]:
        sys.exit(install(python, folder, compiler))
    torch, packages = None, []
    if arguments[:1] == ["--torch"]:
        version = tuple(map(int, output(python, "-c", VERSION).split()))
        torch, version = python_with_torch(version)
        with peer.lock(cache):
            packages.append(torch_packages(python, cache, version))
    preload = sanitizer(compiler) if sanitizers else ""
    if build(python, folder, compiler, sanitizers if preload else "", xxhash) != 0:
        sys.exit(1)
    if torch:
        tests = [TESTS / name for name in TORCH_TESTS]
        sys.exit(test(torch, folder, preload, tests, arguments[1:], packages))
    sys.exit(test(python, folder, preload, [TESTS], arguments))


if __name__ == "__main__":
    main()
