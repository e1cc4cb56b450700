#!/usr/bin/env bash
# What the tests need of npm, as package-lock.json has it, in FOLDER. Exit status 77: there is no npm,
# or no registry.
set -euo pipefail
mkdir -p "$1"
folder=$(cd "$1" && pwd) # before the next line makes a relative one another
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if cmp -s package-lock.json "$folder/node_modules/.tare-lock.json"; then
    exit 0
fi
if ! command -v npm >/dev/null; then
    echo "Skipped: there is no npm"
    exit 77
fi
cp package.json package-lock.json "$folder"
if ! (cd "$folder" && npm ci --no-audit --no-fund --ignore-scripts); then
    echo "Skipped: npm ci failed; is a registry in reach?"
    exit 77
fi
cp package-lock.json "$folder/node_modules/.tare-lock.json"
