#!/bin/sh
# What the window needs from a Debian or Ubuntu machine, beyond Python packages: a virtual screen for the tests, software
# OpenGL, and the libraries Qt's X11 plugin opens. Installs what is missing when run by root; otherwise prints the one
# line to type and stops. Other systems bring these with their desktop, so there the script does nothing.
set -eu

WANTED="ca-certificates fontconfig fonts-dejavu-core libdbus-1-3 libegl1 libfontconfig1 libgl1 libgl1-mesa-dri libglib2.0-0
libglx-mesa0 libx11-xcb1 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0
libxcb-sync1 libxcb-xfixes0 libxcb-xinerama0 libxcb-xkb1 libxkbcommon-x11-0 libxkbcommon0 xauth xvfb"

command -v dpkg-query >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1 || exit 0

installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

missing=""
for package in $WANTED; do
    # Newer releases append t64 to the names of libraries rebuilt for 64-bit time.
    installed "$package" || installed "${package}t64" || missing="$missing $package"
done

# Python's own venv module is a package apart on Debian. Any supported Python that can make an environment will do.
if ! "$(dirname "$0")/find-python.sh" >/dev/null 2>&1; then
    if command -v python3 >/dev/null 2>&1 && ! python3 -c 'import sys; sys.exit((3, 11) <= sys.version_info[:2] < (3, 14))'; then
        missing="$missing python3-venv"
    elif ! command -v python3 >/dev/null 2>&1; then
        missing="$missing python3 python3-venv"
    else
        missing="$missing python3.11 python3.11-venv"
    fi
fi

[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "Some system packages are missing. Type this once, then the same make command again:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing" >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
for attempt in 1 2 3; do
    # shellcheck disable=SC2086 # the list is meant to be split
    if apt-get -q update && apt-get -q -y --no-install-recommends -o Acquire::Retries=3 install $missing </dev/null; then
        exit 0
    fi
    echo "apt-get failed (attempt $attempt of 3); trying again" >&2
    sleep $((attempt * 5))
done
echo "apt-get could not install:$missing" >&2
exit 1
