#!/usr/bin/env bash
# Runs the tests of the window, some dozens in each process: usage: window-tests.sh PYTHON [pytest options].
#
# A program has one window; a process that has opened and closed a hundred of them is no place to test in. A process for
# each file would import for seconds what the one before had there. With Mesa's software OpenGL one in a while ends in a
# segmentation fault, so files that are ended by a signal are run once more, and said so; a failed test is not.
set -uo pipefail
cd "$(dirname "$0")/.."
python=$1
shift
options=("$@")
code=0
most=40

run() {
    local turn result
    for turn in 1 2; do
        "$python" -m pytest -m "not wheel" -p no:cacheprovider "${files[@]}" "${options[@]}"
        result=$?
        # Above 128 a signal ended it.
        if ((result <= 128 || turn == 2)); then break; fi
        printf '\n!!! %s: ended by signal %d and run again\n' "${files[*]}" $((result - 128))
    done
    # 5: none of these tests was asked for.
    if ((result != 0 && result != 5)); then code=1; fi
}

files=()
tests=0
for file in tests/gui/test_*.py; do
    more=$(grep -c '^def test_' "$file")
    if ((tests > 0 && tests + more > most)); then
        run
        files=()
        tests=0
    fi
    files+=("$file")
    tests=$((tests + more))
done
run
exit "$code"
