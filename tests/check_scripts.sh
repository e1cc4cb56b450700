#!/bin/sh
# check_scripts.sh SOURCE: what names its interpreter in its first line is executable in git too, since
# ./x and ctest run such files as commands.
set -eu
cd "$1"
files=$(git grep -lI '^#!/' 2>/dev/null || true)
if [ -z "$files" ]; then
    echo "check_scripts: no checkout of git; skipped"
    exit 77
fi
wrong=0
for file in $files; do
    case $(head -n 1 "$file") in
    '#!/'*) ;;
    *) continue ;;
    esac
    case $(git ls-files -s -- "$file") in
    100755*) ;;
    *) wrong=1 && echo "$file is not executable in git (git update-index --chmod=+x)" >&2 ;;
    esac
done
exit $wrong
