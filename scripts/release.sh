#!/usr/bin/env bash
# Everything a release consists of, from a commit: sdist, wheel, list of what they need, checksums.
#
#   scripts/release.sh [OUT]    dist if left out
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly OUT=${1:-dist}
if [ -n "$(git status --porcelain)" ]; then
    echo "expected everything committed, found changes; a release is made of a commit" >&2
    git status --short >&2
    exit 1
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
rm -f "$OUT"/*.whl "$OUT"/*.tar.gz "$OUT"/sbom.cdx.json "$OUT"/SHA256SUMS
scripts/build.sh "$OUT"
.venv/bin/python -m scripts.wheel_content "$OUT"/*.whl
.venv/bin/python -m scripts.licences
.venv/bin/python -m scripts.sbom "$OUT/sbom.cdx.json" "$OUT"/*.whl "$OUT"/*.tar.gz
(cd "$OUT" && sha256sum ./*.tar.gz ./*.whl sbom.cdx.json | tee SHA256SUMS)
