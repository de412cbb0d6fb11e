#!/bin/sh
# Print the first Python from 3.11 to 3.13 that can make a virtual environment. PYTHON, when set, is the only candidate.
set -eu

for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1; then
        command -v "$candidate"
        exit 0
    fi
done
echo "No Python from 3.11 to 3.13 with its venv module was found; name one with: make PYTHON=/path/to/python" >&2
exit 1
