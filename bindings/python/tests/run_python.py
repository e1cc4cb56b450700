#!/usr/bin/env python3
"""run_python.py BUILD CACHE COMPILER SANITIZERS XXHASH [--install] [PYTEST ARGUMENTS]

Builds the binding and runs its tests, in a virtual environment below CACHE that builds share.
With --install it is installed instead as a user does: `pip install` of the folder and of a source
distribution, into an environment of its own, with a header that is fetched.
"""

import os
import pathlib
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parent
BINDING = TESTS.parent
sys.path.insert(0, str(BINDING.parents[1] / "tests/checkpoint"))
import peer  # noqa: E402  the other tests with packages of PyPI

PACKAGES = ["scikit-build-core>=1.0", "pytest", "hypothesis>=6.98", "numpy>=1.24", "ml_dtypes>=0.5",
            "safetensors==0.8.0", "tqdm", "mypy>=1.10", "ninja", "pip>=23"]  # fmt: skip


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
    """Runtimes to load before Python itself, which knows nothing of them; empty where that is not
    how this compiler has them: clang links its own into a program."""
    if "clang" in output(compiler, "--version"):
        return ""
    paths = [output(compiler, f"-print-file-name={name}") for name in ("libasan.so", "libubsan.so")]
    return " ".join(os.path.realpath(path) for path in paths if os.path.isabs(path))


def test(python, folder, preload, arguments):
    more = {"PYTHONPATH": str(folder / "site")}
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
        TESTS,
        *arguments,
        **more,
    )


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
    preload = sanitizer(compiler) if sanitizers else ""
    if build(python, folder, compiler, sanitizers if preload else "", xxhash) != 0:
        sys.exit(1)
    sys.exit(test(python, folder, preload, arguments))


if __name__ == "__main__":
    main()
