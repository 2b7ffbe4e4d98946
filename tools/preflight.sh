# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
#
# What the machine itself must have; sourced by tools/setup. Each check says in one sentence what is
# missing and with which command to mend it. As root on Debian or Ubuntu it is mended right away.

DISK_GB=8

fail() {
    echo "setup: $1" >&2
    echo "  mend it with:  $2" >&2
    exit 1
}

on_debian_as_root() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

# Package lists may be missing (containers) or old; an unreachable mirror shows in the install.
update_lists() {
    [ -n "${LISTS_UPDATED:-}" ] || apt-get update -qq >/dev/null 2>&1 || true
    LISTS_UPDATED=yes
}

# install_packages PACKAGE...: by apt-get where that is possible, or return 1.
install_packages() {
    on_debian_as_root || return 1
    update_lists
    echo "setup: installing the system packages $*"
    DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# ensure CHECK SENTENCE PACKAGE...: run the command CHECK; where it fails, install or say so.
ensure() {
    local check=$1 sentence=$2
    shift 2
    $check && return
    if install_packages "$@" && $check; then
        return
    fi
    fail "$sentence" "sudo apt-get install -y --no-install-recommends $*"
}

has_compiler() {
    command -v cc >/dev/null && command -v c++ >/dev/null && command -v make >/dev/null
}

# MuJoCo draws through EGL; without a GPU that takes Mesa's software renderer.
has_software_gl() {
    local libraries vendors
    libraries=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p)
    vendors='libEGL_(mesa|nvidia)\.so'
    echo "$libraries" | grep -q 'libEGL\.so\.1' \
        && echo "$libraries" | grep -qE "$vendors" \
        && echo "$libraries" | grep -qE 'lib(GL|OpenGL)\.so'
}

has_disk() {
    local free_kb
    free_kb=$(df -Pk . | awk 'NR == 2 { print $4 }')
    [ "$free_kb" -ge $((DISK_GB * 1000 * 1000)) ]
}

# usable_python COMMAND VERSIONS: it runs (a pyenv shim may not), has headers, venv and pip.
usable_python() {
    "$1" - "$2" >/dev/null 2>&1 <<'PYTHON'
import ensurepip, os, sys, sysconfig, venv
version = f'{sys.version_info.major}.{sys.version_info.minor}'
header = os.path.join(sysconfig.get_path('include'), 'Python.h')
sys.exit(not (version in sys.argv[1].split() and os.path.exists(header)))
PYTHON
}

# find_python: set PYTHON to the first usable interpreter. ROS 2 wheels exist for two versions; an
# installed ROS 2 decides for itself.
find_python() {
    local candidate versions='3.11 3.12'
    [ "$ROS" = system ] && versions='3.11 3.12 3.13 3.14'
    for candidate in ${PYTHON:-} python3 python3.12 python3.11 python3.14; do
        if usable_python "$candidate" "$versions"; then
            PYTHON=$candidate
            return
        fi
    done
    return 1
}

# ensure_python: find one, or install the one that the distribution has.
ensure_python() {
    local version
    find_python && return
    if on_debian_as_root; then
        update_lists
        for version in 3.12 3.11; do
            apt-cache show "python$version-venv" >/dev/null 2>&1 || continue
            install_packages "python$version" "python$version-venv" "python$version-dev" || continue
            find_python && return
        done
    fi
    fail 'no Python 3.11 or 3.12 with venv and headers was found, and ROS 2 wheels exist for no other.' \
        'uv python install 3.12 && PYTHON="$(uv python find 3.12)" make setup   (or: sudo apt-get install python3.12-venv python3.12-dev)'
}

preflight() {
    has_disk || fail "less than $DISK_GB GB are free in $PWD." \
        'make clean, or move the checkout to a larger disk'
    ensure has_compiler 'a C and C++ compiler and make are missing.' g++ make
    ensure_python
    ensure has_software_gl 'EGL for drawing without a screen is missing (libEGL and a driver).' \
        libegl1 libegl-mesa0 libopengl0 libgl1 libgl1-mesa-dri
}
