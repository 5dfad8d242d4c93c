# install_missing PACKAGE…: installs those Debian packages that are not there yet, and does nothing,
# not even look at the network, when all are. Sourced by quickstart, tests/run and .ci/run.

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "installing packages needs root or sudo; the packages: ${missing[*]}" >&2
        return 1
    fi
}

install_missing() {
    local package
    missing=()
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "no apt-get here; please install what these Debian packages hold: ${missing[*]}" >&2
        return 1
    fi
    echo "installing: ${missing[*]}"
    if [ -z "${apt_updated-}" ]; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
        apt_updated=yes
    fi
    # Its progress is noise here; what goes wrong is told on stderr.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
        </dev/null >/dev/null
}
