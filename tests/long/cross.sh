#!/usr/bin/env bash
# The plain programs, the corpus, the saved inputs of the fuzzers, and the program with a large file on
# other processors: 32-bit x86, 64-bit ARM and big-endian s390x, built with Debian's cross compilers and
# run by qemu's user mode.
#
#     tests/long/cross.sh [i686|aarch64|s390x]...     without arguments all of them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

declare -A emulator=([i686]="" [aarch64]=qemu-aarch64-static [s390x]=qemu-s390x-static)
sources=(src/*.c)
support=(tests/support/{alloc_probe,builder,corpus_list,file_list,index_probe,load_models}.c
    tests/support/{name_sets,process_probe,reader_probe,set_models,temp_files}.c
    tests/fuzz/fuzz_model.c)

# build OUTPUT SOURCES...     for $arch, linked as $linked says
build() {
    local output=$1
    shift
    "$arch-linux-gnu-gcc" -std=c11 -O2 -g -Wall -Wextra -Werror -Wno-psabi "${linked[@]}" \
        "-DTARE_TEST_DATA=\"$PWD/tests/data\"" -Iinclude -Isrc -Itests \
        -isystem "$folder/include" "$@" -lpthread -o "$output"
}

run() {
    printf '%-8s %s\n' "$arch" "$(basename "$1") ${*:2}"
    # shellcheck disable=SC2086 # no emulator is no word
    ${emulator[$arch]} "$@" >"$folder/log" 2>&1 || {
        cat "$folder/log"
        printf 'failed on %s: %s\n' "$arch" "$*"
        return 1
    }
}

# Static programs need nothing of the other system; but these find a driver by its name.
run_with_driver() {
    local root=/usr/$arch-linux-gnu/lib name
    local linked=(-shared -fPIC "-Wl,-soname,libcuda.so.1")
    build "$folder/libcuda.so.1" tests/support/fake_cuda{,_calls}.c
    linked=(-no-pie "-Wl,--dynamic-linker=$(echo "$root"/ld*.so.[12])"
        "-Wl,-rpath,$root:$PWD/$folder")
    for name in plain_device plain_processes; do
        build "$folder/$name" "tests/plain/$name.c" "${objects[@]}" "$folder/libcuda.so.1"
        run "$folder/$name"
    done
}

# fails MESSAGE COMMAND...     with status 1, and says that
fails() {
    local message=$1 status=0
    shift
    printf '%-8s %s\n' "$arch" "$(basename "$1") ${*:2} (fails)"
    # shellcheck disable=SC2086
    ${emulator[$arch]} "$@" >"$folder/log" 2>&1 || status=$?
    if [[ $status != 1 ]] || ! grep -q "$message" "$folder/log"; then
        cat "$folder/log"
        printf 'status %d on %s: %s\n' "$status" "$arch" "$*"
        return 1
    fi
}

# The program, with a model of more than 2 GiB, most of it a hole, and of a time after 2038.
run_program() {
    local tare=$folder/tare model=$folder/large.safetensors out=$folder/small.safetensors header
    build "$tare" src/cli/*.c "${objects[@]}"
    header='{"a":{"dtype":"U8","shape":[3000000000],"data_offsets":[0,3000000000]},'
    header+='"b":{"dtype":"U8","shape":[6],"data_offsets":[3000000000,3000000006]}}'
    printf "\\x$(printf %x ${#header})\\0\\0\\0\\0\\0\\0\\0%s" "$header" >"$model"
    truncate -s "$((8 + ${#header} + 3000000000))" "$model"
    printf 'tensor' >>"$model"
    touch -d 2040-01-01 "$model"
    run "$tare" ls "$model"
    run "$tare" cat "$model" b
    [[ $(<"$folder/log") = tensor ]]
    fails '1 of its tensors would be lost' "$tare" pack "$model" -o "$model" --force --only=b
    [[ $(stat -c %s "$model") -gt 3000000000 ]]
    run "$tare" pack "$model" -o "$out" --only=b
    fails 'is there already' "$tare" pack "$out" -o "$model"
    run "$tare" pack "$out" -o "$model" --force
    [[ $(stat -c %s "$model") -lt 1000 ]]
}

run_arch() {
    local objects=() small=() name source
    local linked=(-static "-Wl,--no-warnings")
    arch=$1 folder=build/cross/$1
    rm -rf "$folder"
    mkdir -p "$folder/include"
    cp "${TARE_XXHASH_INCLUDE_DIR:-/usr/include}/xxhash.h" "$folder/include/"
    for source in "${sources[@]}" "${support[@]}"; do
        name=$folder/$(basename "$source" .c).o
        [[ $source != src/os_wasm.c ]] || continue
        objects+=("$name")
        [[ $source =~ ^src/(index|find)\.c$ ]] || small+=("$name")
        build "$name" -c "$source"
    done
    for name in plain_smoke plain_gguf plain_corpus plain_threads plain_load plain_wide; do
        build "$folder/$name" "tests/plain/$name.c" "${objects[@]}"
        run "$folder/$name"
    done
    run_program
    run_with_driver
    for name in safetensors gguf json shards index save prebuilt; do
        build "$folder/fuzz_$name" "tests/fuzz/fuzz_$name.c" tests/fuzz/fuzz_replay.c \
            "${objects[@]}"
        run "$folder/fuzz_$name" "tests/fuzz/corpus/$name" tests/data/corpus
    done
    # As tests/fuzz/CMakeLists.txt has it: two files of the library are compiled anew.
    build "$folder/fuzz_index_large" -DTAREI_SMALL_COUNT=0 tests/fuzz/fuzz_{index,replay}.c \
        src/{index,find}.c "${small[@]}"
    run "$folder/fuzz_index_large" tests/fuzz/corpus/index{_large,} tests/data/corpus
}

[[ $# -gt 0 ]] || set -- i686 aarch64 s390x
for arch in "$@"; do run_arch "$arch"; done
