"""What a program is told that started another one, whatever letters its pipe takes and when it reads no more."""

import json
import os
import subprocess
import sys

TELL = """
from napari_vessel.cli.parent import Parent

Parent().tell({"result": {"model": "\\u773c\\u5e95"}})
"""

WORK = """
import time
from napari_vessel.cli.parent import Parent
from napari_vessel.errors import Cancelled
from napari_vessel.jobs import Progress

def job():
    try:
        while True:
            time.sleep(0.01)
            yield Progress(0, None, "Working")
    finally:
        open("saved", "w").close()

parent = Parent()
try:
    parent.run(job())
except Cancelled:
    raise SystemExit(7 if parent.gone else 8)
"""


def test_names_in_any_letters_are_told():
    # As on Windows, where a pipe takes the letters of the machine's own language.
    letters = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    process = subprocess.Popen([sys.executable, "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=letters)
    told = process.stdout.read()
    process.communicate()
    assert json.loads(told) == {"result": {"model": "\u773c\u5e95"}}


def test_when_nobody_reads_any_more_the_work_is_stopped_and_kept(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WORK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert json.loads(process.stdout.readline())["progress"]["message"] == "Working"
    # The other pipe stays open.
    process.stdout.close()
    words = process.stderr.read()
    process.stdin.close()
    process.stderr.close()
    assert process.wait(60) == 7, words
    assert (tmp_path / "saved").is_file()
