# Debian packages, for scripts/setup.sh to read: installed where that is allowed, otherwise the
# exact line is printed.

# Print those of the given packages that are not installed.
debian_missing() {
    local name
    for name in "$@"; do
        if [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" != installed ]; then
            printf '%s ' "$name"
        fi
    done
}

# Print how to become root without being asked for anything; fail if that is impossible.
debian_as_root() {
    if [ "$(id -u)" = 0 ]; then
        echo env
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        echo sudo -n
    else
        return 1
    fi
}

# Install packages. Fails, with the line to type on standard error, if it cannot.
debian_install() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        echo "this is no Debian; install what corresponds to: $*" >&2
        return 1
    fi
    local missing root log
    missing=$(debian_missing "$@")
    [ -n "$missing" ] || return 0
    if root=$(debian_as_root); then
        log=$(mktemp)
        echo "installing $missing" >&2
        # shellcheck disable=SC2086  # lists of words
        if { $root apt-get update && $root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1 </dev/null; then
            rm -f "$log"
            return 0
        fi
        tail -n 3 "$log" >&2
        rm -f "$log"
    fi
    echo "missing: $missing" >&2
    echo "    sudo apt-get install --no-install-recommends ${missing% }" >&2
    return 1
}
