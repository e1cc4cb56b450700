#!/bin/sh
# check_rust.sh STEP TARGET [PREFIX]: one step of the tests of the crates; ctest runs them all. TARGET
# is where cargo builds, PREFIX where libtare is installed (step `system`). Ends with 77, and a word
# why, where a step cannot be done on this machine.
set -eu

step=$1 prefix=${3:-}
CARGO_TARGET_DIR=$2
# A failure names its file and line without them.
CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0
export CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG CARGO_INCREMENTAL
case ${CARGO_HOME:-/} in
/*) ;;
*) export CARGO_HOME="$PWD/$CARGO_HOME" ;; # cargo reads it from where it is run
esac
cd "$(dirname "$0")"

skip() {
    echo "skipped: $*"
    exit 77
}

fail() {
    echo "check_rust.sh: $*" >&2
    exit 1
}

cargo=${TARE_CARGO:-cargo}
if ! command -v "$cargo" >/dev/null; then skip "cargo was not found"; fi
PATH=$(dirname "$(command -v "$cargo")"):$PATH # rustc, rustdoc and the others lie beside it
least=$(sed -n 's/^rust-version = "1\.\([0-9]*\)"$/\1/p' Cargo.toml)
version=$("$cargo" --version | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p')
if [ "${version:-0}" -lt "$least" ]; then
    skip "$("$cargo" --version) is older than 1.$least (Debian 12 has a newer one as cargo-web)"
fi

# Crates that others have written: out of cargo's cache, else from crates.io.
fetch() {
    said=$("$cargo" fetch --locked --target "$host" "$@" 2>&1) && return
    case $said in *"lock file"*) fail "$said" ;; esac
    return 1
}

host=$(rustc -vV | sed -n 's/^host: //p')
if ! fetch --offline && ! fetch; then skip "crates.io is out of reach: $said"; fi

run() {
    "$cargo" "$@" --locked --offline --quiet
}

has() {
    "$cargo" "$1" --version >/dev/null 2>&1 || skip "cargo $1 is not installed"
}

# A home in which nothing has been unpacked: for a package of the same version in the same place,
# cargo takes what it unpacked into its home before, whatever it holds now.
fresh_home() {
    home=${CARGO_HOME:-$HOME/.cargo}
    CARGO_HOME=$CARGO_TARGET_DIR/home
    export CARGO_HOME
    rm -rf "$CARGO_HOME"
    mkdir -p "$CARGO_HOME/registry"
    for name in registry/index registry/cache config.toml config; do
        if [ -e "$home/$name" ]; then ln -s "$home/$name" "$CARGO_HOME/$name"; fi
    done
}

# What is published holds all of the C library and no more, and builds without this tree; `tare`
# against the package of tare-sys, which older cargo looks for on crates.io.
step_package() {
    listed=$(run package --list --allow-dirty --package tare-sys | LC_ALL=C sort)
    wanted=$({
        cd ../.. && ls src/*.c src/*.h include/tare.h
    } | sed 's,^,c/,' | LC_ALL=C sort)
    found=$(echo "$listed" | grep '^c/')
    [ "$found" = "$wanted" ] || fail "tare-sys packs: $found"
    listed=$(run package --list --allow-dirty --package tare)
    for file in src/model.rs README.md LICENSE; do
        echo "$listed" | grep -qx "$file" || fail "tare packs no $file"
    done
    stamp=$CARGO_TARGET_DIR/package.stamp
    if [ -e "$stamp" ] && [ -z "$(find -L tare tare-sys Cargo.* -newer "$stamp" -type f)" ]; then
        echo "not built again: nothing has changed"
        return
    fi
    rm -f "$stamp"
    fresh_home
    if [ "$version" -ge 90 ]; then set -- --package tare; else set --; fi
    run package --allow-dirty --package tare-sys "$@"
    touch "$stamp"
}

# The feature `system`: an installed library, and no C compiled.
step_system() {
    command -v pkg-config >/dev/null || skip "pkg-config was not found"
    pc=$(find "$prefix" -name tare.pc)
    export PKG_CONFIG_PATH="${pc%/*}"
    LD_LIBRARY_PATH=$(dirname "$PKG_CONFIG_PATH")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
    CC=false run test --package tare --features system \
        --test contract --test open_ways --test index_ways --test file_ways
}

case $step in
test) run test ;;
system) step_system ;;
clippy)
    has clippy
    "$cargo" clippy --locked --offline --quiet --workspace --all-targets -- -D warnings
    ;;
fmt)
    has fmt
    "$cargo" fmt --all --check
    ;;
doc) RUSTDOCFLAGS="-D warnings" run doc --no-deps ;;
package) step_package ;;
*) fail "no such step: $step" ;;
esac
