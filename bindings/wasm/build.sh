#!/usr/bin/env bash
# Builds the npm package in build/wasm. Exit status 77: there is no compiler for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
build=${1:-../../build/wasm}
compiler=${TARE_WASM_CC:-clang}
mkdir -p "$build"
if ! printf 'int main(void) { return 0; }\n' |
    "$compiler" --target=wasm32-wasi -x c - -o "$build/probe.wasm" 2>"$build/probe.log"; then
    echo "Skipped: $compiler makes no WebAssembly (packages clang, lld, wasi-libc," \
        "libclang-rt-dev-wasm32); see $build/probe.log"
    exit 77
fi
rm -f "$build/probe.wasm" "$build/probe.log"
if ! {
    cmake -S . -B "$build/cmake" -G Ninja "-DCMAKE_C_COMPILER=$compiler" &&
        cmake --build "$build/cmake"
} >"$build/build.log" 2>&1; then
    cat "$build/build.log"
    exit 1
fi
ls "$build/lib/tare.wasm"
