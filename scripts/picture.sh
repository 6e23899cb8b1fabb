#!/usr/bin/env bash
# Make the picture of the report that the README shows, from the demonstration's own report.
set -euo pipefail
report=${1:-forget-audit-demo/retrained/report.pdf}
target=$(dirname "$0")/../docs/images/report
pdftoppm -r 90 -f 1 -l 1 -singlefile -png "$report" "$target"
