#!/usr/bin/env bash
# Runs the tests of the window, each file in a process of its own: usage: window-tests.sh PYTHON [pytest options].
#
# A program has one window; a process that has opened and closed a hundred of them is no place to test in. With Mesa's
# software OpenGL one in a while ends in a segmentation fault, so a file that is ended by a signal is run once more,
# and said so; a failed test is not.
set -uo pipefail
cd "$(dirname "$0")/.."
python=$1
shift
code=0
for file in tests/gui/test_*.py; do
    for turn in 1 2; do
        "$python" -m pytest -m "not wheel" -p no:cacheprovider "$file" "$@"
        result=$?
        # Above 128 a signal ended it.
        if ((result <= 128 || turn == 2)); then break; fi
        printf '\n!!! %s was ended by signal %d and is run again\n' "$file" $((result - 128))
    done
    # 5: no test of this file was asked for.
    if ((result != 0 && result != 5)); then code=1; fi
done
exit "$code"
