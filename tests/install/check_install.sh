#!/bin/sh
# check_install.sh STEP SOURCE BUILD WORK: one step of the install test; ctest runs them all.
# SOURCE is the source tree, BUILD a build of it, WORK a folder of our own.
set -eu

step=$1 source=$2 build=$3 work=$4
here=$source/tests/install
prefix=$work/prefix
warnings="-Wall -Wextra -Wpedantic -Werror"

fail() {
    echo "check_install: $*" >&2
    exit 1
}

# The folder of the installed library, relative to the prefix (lib, lib64, lib/x86_64-linux-gnu).
library_folder() {
    found=$(cd "$prefix" && find . -name libtare.a)
    dirname "${found#./}"
}

# Every compiler of this machine for the language, which is c or c++; at least one.
compilers() {
    found=
    for compiler in $([ "$1" = c ] && echo "gcc clang" || echo "g++ clang++"); do
        if command -v "$compiler" >/dev/null; then found="$found $compiler"; fi
    done
    [ -n "$found" ] || fail "no compiler for $1"
    echo "$found"
}

run() {
    echo "run: $*"
    "$@" "$work/$step.safetensors"
}

# Installs, then moves what was installed: a prefix must not be remembered anywhere.
step_install() {
    rm -rf "$work"
    mkdir -p "$work"
    cmake --install "$build" --prefix "$work/staged" >"$work/install.log"
    mv "$work/staged" "$prefix"
    if grep -rlF "$work" "$prefix"; then fail "these files hold the path of the prefix"; fi
    folder=$(library_folder)
    for file in include/tare.h bin/tare share/man/man1/tare.1 "$folder/libtare.a" \
        "$folder/libtare.so" "$folder/pkgconfig/tare.pc" "$folder/cmake/tare/tareConfig.cmake"; do
        [ -e "$prefix/$file" ] || fail "$file is not installed"
    done
    [ "$(ls -A "$prefix/include")" = tare.h ] || fail "more than tare.h is installed"
    "$prefix/bin/tare" --version
}

step_find_package() {
    for shared in ON OFF; do
        folder=$work/find_package_$shared
        expected=tare::tare_$([ $shared = ON ] && echo shared || echo static)
        cmake -S "$here/find_package" -B "$folder" -DCMAKE_PREFIX_PATH="$prefix" \
            -DBUILD_SHARED_LIBS=$shared -DTARE_EXPECTED="$expected" >"$folder.log"
        cmake --build "$folder" >>"$folder.log"
    done
    for library in tare tare_shared tare_static; do
        run "$work/find_package_ON/use_$library"
    done
    run "$work/find_package_OFF/use_tare"
}

step_pkg_config() {
    folder=$prefix/$(library_folder)
    export PKG_CONFIG_PATH="$folder/pkgconfig"
    [ "$(pkg-config --modversion tare)" = "$("$prefix/bin/tare" --version | sed 's/.* //')" ] ||
        fail "tare.pc and the program disagree about the version"
    # shellcheck disable=SC2046 # flags are words
    "$CC" "$here/stranger.c" $(pkg-config --cflags --libs tare) -o "$work/pkg_shared"
    LD_LIBRARY_PATH=$folder run "$work/pkg_shared"
    # shellcheck disable=SC2046
    "$CC" -static "$here/stranger.c" $(pkg-config --static --cflags --libs tare) \
        -o "$work/pkg_static"
    run "$work/pkg_static"
}

# The library needs no build system: all of it is src/*.c, also in projects that define what some of
# the sources define themselves.
step_plain_sources() {
    found=$(compilers c)
    for compiler in $found; do
        # shellcheck disable=SC2086
        for more in -std=c11 "-std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64"; do
            (cd "$source" && "$compiler" $more $warnings -Iinclude src/*.c \
                tests/install/stranger.c -o "$work/plain_$compiler")
            run "$work/plain_$compiler"
        done
    done
}

step_languages() {
    library=$prefix/$(library_folder)/libtare.a
    for language in c c++; do
        found=$(compilers $language)
        for standard in $([ $language = c ] && echo "c99 c11" || echo "c++98 c++17"); do
            for compiler in $found; do
                program=$work/language_${compiler}_$standard
                # shellcheck disable=SC2086
                "$compiler" -x $language "-std=$standard" $warnings -I"$prefix/include" \
                    "$here/stranger.c" -x none "$library" -o "$program"
                run "$program"
            done
        done
    done
}

step_subdirectory() {
    cmake -S "$here/subdirectory" -B "$work/guest" -DTARE_SOURCE="$source" >"$work/guest.log"
    cmake --build "$work/guest" >>"$work/guest.log"
    run "$work/guest/use_guest"
}

# What tare.h declares, what libtare.so exports and tests/symbols.txt are the same list, libtare.a
# defines no name that could meet a user's own, and what the library promises never to do (print,
# end the program, handle signals, start a process) it does not call.
step_symbols() {
    folder=$prefix/$(library_folder)
    export LC_ALL=C
    "$CC" -E -P "$prefix/include/tare.h" | tr '\n' ' ' | tr ';' '\n' |
        sed -n 's/.*visibility("default").*\(tare_[a-z0-9_]*\) *(.*/\1/p' | sort >"$work/declared"
    nm -D --defined-only "$folder/libtare.so" | awk '{print $3}' | sort >"$work/exported"
    diff "$source/tests/symbols.txt" "$work/declared" || fail "tare.h declares another list"
    diff "$source/tests/symbols.txt" "$work/exported" || fail "libtare.so exports another list"
    foreign=$(nm -g --defined-only "$folder/libtare.a" |
        awk 'NF == 3 && $3 !~ /^tarei?_/ {print $3}')
    [ -z "$foreign" ] || fail "libtare.a defines $foreign"
    never='_*(abort|assert_fail|exit|Exit|quick_exit|atexit|perror|f?printf|v?f?printf_chk|puts|putchar'
    never="$never"'|fputs|fwrite|std(out|err)|signal|sigaction|raise|kill|v?fork|clone|exec.*|system'
    never="$never"'|popen|posix_spawnp?)'
    called=$(nm -D --undefined-only "$folder/libtare.so" | awk '{sub("@.*", "", $2); print $2}' |
        grep -Ex "$never" || true)
    [ -z "$called" ] || fail "libtare.so calls $called"
    needed=$(objdump -p "$folder/libtare.so" |
        awk '$1 == "NEEDED" && $2 !~ /^(libc|ld-linux)[.-]/ {print $2}')
    [ -z "$needed" ] || fail "libtare.so needs $needed"
}

case $step in
install | find_package | pkg_config | plain_sources | languages | subdirectory | symbols)
    "step_$step"
    ;;
*) fail "no such step: $step" ;;
esac
