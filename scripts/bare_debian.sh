#!/usr/bin/env bash
# The acceptance check on a bare Debian 12: a root of its own with Python and nothing else, then
# without the libraries of the PDF maker, with them, and with every system font taken away.
#
#   sudo scripts/bare_debian.sh [WHEEL]
#   sudo SITE_PACKAGES=.venv/lib/python3.11/site-packages scripts/bare_debian.sh [WHEEL]
#
# Needs root, mmdebstrap and about 1 GB. Packages come from where this machine's apt gets them. With
# SITE_PACKAGES the Python packages of an environment for Python 3.11 are shown to the new root
# (read-only); without, they are installed anew, which takes minutes. Everything is mounted in a
# mount namespace of its own and nothing is left behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly SUITE=bookworm
readonly LIBRARIES="libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
readonly LINE="apt-get install --no-install-recommends $LIBRARIES"
readonly PYTHON=${PYTHON:-python3.11}

say() { printf -- '-- %s (after %d s)\n' "$*" "$SECONDS"; }

stop() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# Outside: a folder that goes whatever happens, and a namespace in which all mounts vanish.
if [ -z "${BARE_ROOM:-}" ]; then
    [ "$(id -u)" = 0 ] || stop "mounts and chroot need root"
    for program in mmdebstrap unshare chroot; do
        command -v "$program" >/dev/null || stop "$program is missing: apt-get install mmdebstrap"
    done
    BARE_ROOM=$(mktemp -d)
    export BARE_ROOM
    trap 'rm -rf --one-file-system "$BARE_ROOM"' EXIT
    unshare --mount --propagation private "$BASH" "$0" "$@"
    exit
fi

readonly ROOT=$BARE_ROOM/root
readonly PLACE=/srv/audit

# Files that tell where apt gets this suite from; without any, mmdebstrap knows where to ask.
sources() {
    grep -lsw "$SUITE" /etc/apt/sources.list /etc/apt/sources.list.d/*.list \
        /etc/apt/sources.list.d/*.sources || true
}

make_root() {
    local found
    mapfile -t found < <(sources)
    mmdebstrap --quiet --mode=root --variant=minbase --include=python3,ca-certificates \
        "$SUITE" "$ROOT" "${found[@]}" >"$BARE_ROOM/root.log" 2>&1 ||
        { tail -n 5 "$BARE_ROOM/root.log"; stop "no root could be made"; }
    [ ! -e /etc/resolv.conf ] || cp --dereference /etc/resolv.conf "$ROOT/etc/resolv.conf"
    mkdir -p "$ROOT/opt/ours" "$ROOT/opt/packages" "$ROOT$PLACE"
    mount -t proc proc "$ROOT/proc"
}

bring_packages() {
    local wheel=${1:-} packages=${SITE_PACKAGES:-}
    if [ -z "$wheel" ]; then
        .venv/bin/python -m build --outdir "$BARE_ROOM/dist" . >"$BARE_ROOM/build.log" 2>&1 ||
            { tail -n 5 "$BARE_ROOM/build.log"; stop "no wheel could be built"; }
        wheel=$(echo "$BARE_ROOM"/dist/*.whl)
    fi
    if [ -z "$packages" ]; then
        "$PYTHON" -m venv "$BARE_ROOM/venv"
        "$BARE_ROOM/venv/bin/python" -m pip install --quiet "$wheel"
        packages=$(echo "$BARE_ROOM"/venv/lib/python3.11/site-packages)
    fi
    [ -d "$packages" ] || stop "SITE_PACKAGES: there is no folder $packages"
    mount --bind "$packages" "$ROOT/opt/packages"
    mount -o remount,bind,ro "$ROOT/opt/packages"
    "$PYTHON" -m zipfile -e "$wheel" "$ROOT/opt/ours"
}

inside() {
    chroot "$ROOT" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$PLACE" LANG=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive PYTHONPATH=/opt/ours:/opt/packages \
        PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 FORGET_AUDIT_HOME="$PLACE/keys" "$@"
}

forget_audit() { inside python3 -m forget_audit "$@"; }

# Run a command and stop unless its exit code is among those named before `--`.
expect() {
    local codes=" " code=0
    while [ "$1" != -- ]; do
        codes+="$1 "
        shift
    done
    shift
    "$@" || code=$?
    case $codes in
    *" $code "*) ;;
    *) stop "expected exit code$codes, found $code: $*" ;;
    esac
}

# Check what `certify --json` wrote; the words say what must hold.
check_json() {
    "$PYTHON" - "$BARE_ROOM/answer.json" "$1" "$LINE" <<'CHECK'
import json, sys
answer = json.load(open(sys.argv[1], encoding="utf-8"))
names = {path.rpartition("/")[2] for path in answer["files"]}
reason = answer["pdf_missing"] or ""
assert {"evidence.json", "report.html", "audit.dsse.json", "release.dsse.json"} <= names, names
if sys.argv[2] == "without":
    assert sys.argv[3] in reason, f"the reason names no apt line: {reason!r}"
    assert "report.pdf" not in names and "receipt.html" in names, names
else:
    assert not reason, reason
    assert {"report.pdf", "receipt.pdf"} <= names, names
print("  ", answer["verdict"]["outcome"], "-", reason or ", ".join(sorted(names)))
CHECK
}

# Audit, and check the answer, the files and the verification.
audit() {
    expect 0 1 3 -- forget_audit certify "$PLACE/plan.toml" --out "$PLACE/$1" --json \
        >"$BARE_ROOM/answer.json"
    check_json "$2"
    expect 3 -- forget_audit verify "$PLACE/$1" >"$BARE_ROOM/verify.log"
}

# Every font of a PDF is embedded; looked at from outside, where poppler may be installed.
check_fonts() {
    local name file table pages
    if ! command -v pdffonts >/dev/null; then
        echo "   fonts not looked at: pdffonts is missing"
        return
    fi
    for name in report.pdf receipt.pdf; do
        file=$ROOT$PLACE/$1/$name
        table=$(pdffonts "$file" | tail -n +3)
        pages=$(pdfinfo "$file" | awk '/^Pages/ {print $2}')
        [ -n "$table" ] || stop "$1/$name: no fonts"
        if echo "$table" | awk '{print $(NF-4)}' | grep -qv yes; then
            echo "$table"
            stop "$1/$name: a font is not embedded"
        fi
        echo "   $1/$name: pages $pages, fonts $(echo "$table" | wc -l), all embedded"
    done
}

say "making a root of $SUITE"
make_root
bring_packages "$@"
cat >"$ROOT$PLACE/plan.toml" <<'PLAN'
[request]
reference = "BARE-1"
random = 40

[data]
source = "digits"
label_noise = 0.15

[model]
options = { hidden = [16] }

[training]
epochs = 20

[method]
name = "retrain"

[references]
retrained = 5
originals = 2
shadows = 2

[battery]
attacks = ["loss_threshold", "lira"]
PLAN
printf '   %s, %s\n' "$(inside python3 -V)" "$(inside dpkg-query -W -f '.' | wc -c) Debian packages"

say "without the libraries: page and evidence are issued, the reason names the apt line"
expect 1 -- forget_audit doctor --json >"$BARE_ROOM/doctor.json"
"$PYTHON" -m json.tool "$BARE_ROOM/doctor.json" >/dev/null || stop "doctor --json does not parse"
audit without without

say "$LINE"
before=$(inside dpkg-query -W -f '.' | wc -c)
inside apt-get -qq update
# shellcheck disable=SC2086  # the line that people are told to type
inside ${LINE/install/-qq -y install} >"$BARE_ROOM/apt.log" 2>&1 ||
    { tail -n 5 "$BARE_ROOM/apt.log"; stop "apt-get failed"; }
printf '   %d packages more\n' $(($(inside dpkg-query -W -f '.' | wc -c) - before))
expect 0 -- forget_audit doctor >"$BARE_ROOM/doctor.log"

say "with them: report and receipt as PDF"
audit with with
check_fonts with

say "with every system font taken away"
rm -rf "$ROOT/usr/share/fonts" "$ROOT/usr/local/share/fonts" "$ROOT/var/cache/fontconfig"
audit fontless with
check_fonts fontless

say "all as expected"
