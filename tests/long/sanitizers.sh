#!/usr/bin/env bash
# The whole suite with clang under AddressSanitizer and UndefinedBehaviorSanitizer (gcc does that in
# every ./x test), and under MemorySanitizer what needs no library that lacks it: the plain programs
# and the saved inputs of the fuzzers.
#
#     tests/long/sanitizers.sh [asan|msan]...     without arguments both
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
jobs=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
export CC=clang CXX=clang++

# quietly LOG COMMAND...: what it says is shown only where it fails.
quietly() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 || {
        cat "$log"
        return 1
    }
}

run_asan() {
    local folder=build/clang-asan runtime
    mkdir -p "$folder"
    # Linked into a program, clang's run-time would go through the calls that tests wrap, before it
    # is ready for anything.
    runtime=$(dirname "$(clang -print-file-name="libclang_rt.asan-$(uname -m).so")")
    quietly "$folder/log" cmake -S . -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Debug \
        -DTARE_TESTS=ON -DTARE_SANITIZE=address,undefined \
        "-DCMAKE_EXE_LINKER_FLAGS=-shared-libasan -Wl,-rpath,$runtime"
    quietly "$folder/log" cmake --build "$folder" -j "$jobs"
    ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:allocator_may_return_null=1 \
        UBSAN_OPTIONS=print_stacktrace=1 \
        ctest --test-dir "$folder" -j "$jobs" --output-on-failure --no-tests=error
}

# Everything that runs is compiled here, so that every byte of it is followed.
run_msan() {
    local folder=build/clang-msan name programs=() corpus=tests/fuzz/corpus
    local flags=(-std=c11 -O1 -g -fsanitize=memory -fsanitize-memory-track-origins
        -fno-sanitize-recover=all "-DTARE_TEST_DATA=\"$PWD/tests/data\"" -Iinclude -Isrc -Itests)
    mkdir -p "$folder"
    local support=() library=()
    mapfile -t library < <(git ls-files 'src/*.c' | grep -v -e '/cli/' -e '/os_wasm\.c$')
    support=(tests/support/{alloc_probe,builder,corpus_list,file_list,index_probe,load_models}.c
        tests/support/{name_sets,process_probe,reader_probe,set_models,temp_files}.c
        tests/fuzz/fuzz_model.c tests/long/msan_calls.c)
    local objects=() wrap=-Wl,--wrap=stat64,--wrap=fstat64,--wrap=fstatat64,--wrap=nftw
    for name in "${library[@]}" "${support[@]}"; do
        objects+=("$folder/$(basename "$name" .c).o")
        clang "${flags[@]}" -c "$name" -o "${objects[-1]}"
    done
    for name in plain_smoke plain_gguf plain_corpus plain_threads plain_load plain_wide; do
        clang "${flags[@]}" "tests/plain/$name.c" "${objects[@]}" "$wrap" -lpthread -o "$folder/$name"
        programs+=("$folder/$name")
    done
    # The driver is found by its name, as the real one is.
    clang "${flags[@]}" -shared -fPIC -Wl,-soname,libcuda.so.1 tests/support/fake_cuda{,_calls}.c \
        -lpthread -o "$folder/libcuda.so.1"
    for name in plain_device plain_processes; do
        clang "${flags[@]}" "tests/plain/$name.c" "${objects[@]}" "$wrap" "$folder/libcuda.so.1" \
            "-Wl,-rpath,$PWD/$folder" -lpthread -o "$folder/$name"
        programs+=("$folder/$name")
    done
    for name in safetensors gguf json shards index save prebuilt; do
        clang "${flags[@]}" "tests/fuzz/fuzz_$name.c" tests/fuzz/fuzz_replay.c "${objects[@]}" \
            "$wrap" -lpthread -o "$folder/fuzz_$name"
        programs+=("$folder/fuzz_$name $corpus/$name tests/data/corpus")
    done
    # As tests/fuzz/CMakeLists.txt has it: two files of the library are compiled anew.
    mapfile -t objects < <(printf '%s\n' "${objects[@]}" | grep -v -e '/index\.o$' -e '/find\.o$')
    clang "${flags[@]}" -DTAREI_SMALL_COUNT=0 tests/fuzz/fuzz_index.c tests/fuzz/fuzz_replay.c \
        src/index.c src/find.c "${objects[@]}" "$wrap" -lpthread -o "$folder/fuzz_index_large"
    programs+=("$folder/fuzz_index_large $corpus/index_large $corpus/index tests/data/corpus")
    for name in "${programs[@]}"; do
        printf 'msan %s\n' "$(basename "${name%% *}")"
        # shellcheck disable=SC2086 # a program and its arguments
        MSAN_OPTIONS=allocator_may_return_null=1 quietly "$folder/log" $name
    done
}

[[ $# -gt 0 ]] || set -- asan msan
for part in "$@"; do "run_$part"; done
