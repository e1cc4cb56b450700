#!/usr/bin/env bash
# Looks at the source without running it: gcc -fanalyzer, clang-tidy (.clang-tidy says which checks),
# cppcheck, shellcheck. Any finding fails. What is no mistake is marked where it stands, with its
# reason, or in tests/long/cppcheck.txt.
#
#     tests/long/analysis.sh [gcc|tidy|cppcheck|shell]...     without arguments all of them

# shellcheck disable=SC2317 # functions are called by names that are put together
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
folder=build/analysis
mkdir -p "$folder"

# Other systems' files are not for this compiler.
mapfile -t sources < <(git ls-files 'src/*.c' | grep -v '/os_wasm\.c$')
mapfile -t bindings < <(git ls-files 'bindings/python/src/*.c' 'bindings/wasm/*.c')
python=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
if [[ ! -e $python/Python.h ]]; then
    printf 'Skipped: bindings/python, whose Python.h is missing\n'
    mapfile -t bindings < <(git ls-files 'bindings/wasm/*.c')
fi
export python
flags=(-std=c11 -Iinclude -Isrc -Isrc/cli)
if [[ -n ${TARE_XXHASH_INCLUDE_DIR:-} ]]; then flags+=(-isystem "$TARE_XXHASH_INCLUDE_DIR"); fi

# What functions of error.c never return; that file itself has them as they are, the program none.
# Bindings see nothing of it.
hints() {
    case $1 in
    src/error.c | src/cli/*) ;;
    bindings/python/*) printf '%s\n' -isystem "$python" ;;
    bindings/wasm/*) printf '%s\n' --target=wasm32-wasi ;;
    *) printf '%s\n' -D_GNU_SOURCE= -include tests/long/analysis.h ;;
    esac
}

# each TOOL: runs check_TOOL on every source, as many at a time as there are processors.
each() {
    local source
    export -f "check_$1" hints
    printf '%s\n' "${sources[@]}" "${bindings[@]}" |
        xargs -P "$(nproc)" -I{} bash -c "check_$1 "'"$@"' _ {} "${flags[@]}"
}

check_gcc() {
    local source=$1 hint
    shift
    [[ $source != bindings/wasm/* ]] || return 0 # gcc makes no WebAssembly
    mapfile -t hint < <(hints "$source")
    gcc "$@" "${hint[@]}" -O2 -fanalyzer -Werror -c "$source" -o /dev/null
}

check_tidy() {
    local source=$1 hint
    shift
    mapfile -t hint < <(hints "$source")
    clang-tidy --quiet "$source" -- "$@" "${hint[@]}" 2>/dev/null
}

run_gcc() { each gcc; }
run_tidy() { each tidy; }

run_cppcheck() {
    local check=(cppcheck --quiet --error-exitcode=1 "--enable=warning,performance,portability"
        --std=c11 --suppressions-list=tests/long/cppcheck.txt -j "$(nproc)")
    "${check[@]}" -Iinclude -Isrc -Isrc/cli src bindings/wasm/*.c docs/examples &&
        "${check[@]}" --library=python -Iinclude bindings/python/src # whose macros it knows
}

run_shell() {
    local scripts
    mapfile -t scripts < <(git ls-files '*.sh' .ci x)
    shellcheck "${scripts[@]}"
}

failed=0
[[ $# -gt 0 ]] || set -- gcc tidy cppcheck shell
for tool in "$@"; do
    if "run_$tool" >"$folder/$tool.log" 2>&1; then
        printf '%-10s clean\n' "$tool"
    else
        cat "$folder/$tool.log"
        printf '%-10s has findings\n' "$tool"
        failed=1
    fi
done
exit "$failed"
