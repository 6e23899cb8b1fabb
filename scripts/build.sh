#!/usr/bin/env bash
# Build the sdist, and the wheel from it. The same commit gives the same bytes, whatever the folder,
# the account, the time and the umask.
#
#   scripts/build.sh [OUT]    dist if left out
#
# SOURCE_DATE_EPOCH is the moment that all files bear: that of the last commit if unset.
set -euo pipefail
umask 022
OUT=$(mkdir -p "${1:-dist}" && cd "${1:-dist}" && pwd)
readonly OUT
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly PYTHON=${BUILD_PYTHON:-.venv/bin/python}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
WORK=$(mktemp -d)
readonly WORK
trap 'rm -rf "$WORK"' EXIT

"$PYTHON" -m build --sdist --outdir "$WORK" . >"$WORK/log" 2>&1 || { tail -n 30 "$WORK/log"; exit 1; }
"$PYTHON" -m scripts.repack "$WORK"/*.tar.gz
tar -xzf "$WORK"/*.tar.gz -C "$WORK" --no-same-permissions
"$PYTHON" -m build --wheel --outdir "$WORK" "$WORK"/*/ >"$WORK/log" 2>&1 ||
    { tail -n 30 "$WORK/log"; exit 1; }
cp "$WORK"/*.tar.gz "$WORK"/*.whl "$OUT"
