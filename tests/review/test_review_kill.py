"""A process that reviews is killed at random moments; what it acknowledged is there afterwards."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import numpy as np
import pytest

from napari_vessel.review import Project, Verdict

# Each line is printed only after the call returned: an acknowledgement. The work is a function of the step number,
# so that the parent can repeat it.
WORKER = """
import sys
import numpy as np
from napari_vessel.review import Project, Verdict

def step(session, n):
    rng = np.random.default_rng(n)
    kind = rng.integers(0, 8)
    if kind == 0:
        session.undo()
    elif kind == 1:
        session.redo()
    elif kind == 2:
        gap = session.gaps[rng.integers(0, len(session.gaps))]
        session.decide(gap.id, list(Verdict)[rng.integers(0, 5)], 1.0)
    elif kind == 3:
        session.accept_above(float(rng.random()))
    else:
        y, x = rng.integers(0, 40), rng.integers(0, 70)
        session.stroke(np.full((5, 7), rng.integers(0, 2), np.uint8), (int(y), int(x)), group=rng.choice(["", "g"]))

if __name__ == "__main__":
    folder, image_id, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with Project.open(folder) as project:
        session = project.open_session(image_id, "ann")
        sys.stdout.write("ready\\n")
        sys.stdout.flush()
        n = first
        while True:
            step(session, n)
            sys.stdout.write(f"{n}\\n")
            sys.stdout.flush()
            n += 1
"""

OWNER = """
import sys, time
from napari_vessel.review import Project

project = Project.open(sys.argv[1])
sys.stdout.write("open\\n")
sys.stdout.flush()
time.sleep(60)
"""


def state(session):
    verdicts = {gap_id: (r.verdict, r.score) for gap_id, r in session.verdicts.items()}
    return (session.labels.tobytes(), verdicts, session.history_position, session.undo_text, session.redo_text)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_nothing_acknowledged_is_lost(project, gaps, broken, tmp_path):
    from napari_vessel.review import ReviewSession

    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    names = {"__name__": "worker"}
    exec(compile(WORKER, str(script), "exec"), names)
    step = names["step"]

    image_id = project.images()[0].id
    project.open_session(image_id).set_gaps(gaps)
    project.close()
    model = ReviewSession(broken.copy(), annotator="ann")
    model.set_gaps(gaps)

    moments = random.Random(5)
    done = 0
    for _ in range(6):
        worker = subprocess.Popen(
            [sys.executable, str(script), str(project.folder), image_id, str(done)], stdout=subprocess.PIPE, text=True
        )
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        # After a number of steps and not a time, which a slow machine would spend on none.
        lines = [worker.stdout.readline() for _ in range(moments.randint(6, 40))]
        time.sleep(moments.uniform(0, 0.05))
        worker.kill()
        lines += worker.stdout.read().splitlines(keepends=True)
        acknowledged = [int(line) for line in lines if line.endswith("\n")]
        worker.wait()
        assert acknowledged == list(range(done, done + len(acknowledged)))
        for n in acknowledged:
            step(model, n)
        done += len(acknowledged)

        with Project.open(project.folder) as reopened:
            found = state(reopened.open_session(image_id, "ann"))
            if found != state(model):
                # One step may have been committed without its acknowledgement having got out; no more than one.
                step(model, done)
                done += 1
            assert found == state(model)
            assert np.array_equal(reopened.read_mask(image_id).labels, model.labels)
    assert done > 30


def test_a_dead_owner_leaves_no_lock(project):
    project.close()
    worker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            OWNER,
            str(project.folder),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "open\n"
    from napari_vessel.errors import ProjectError

    with pytest.raises(ProjectError, match=rf"already open in another window \(process {worker.pid} on "):
        Project.open(project.folder)
    worker.kill()
    worker.wait()
    worker.stdout.close()
    with Project.open(project.folder) as reopened:
        assert len(reopened.images()) == 1


def test_the_worker_does_all_kinds_of_steps(session):
    # The kill test above is worth nothing if its steps do nothing.
    names = {"__name__": "worker"}
    exec(compile(WORKER, "worker", "exec"), names)
    start = session.labels.copy()
    for n in range(60):
        names["step"](session, n)
    assert session.history_position > 10
    assert session.verdicts
    assert any(record.verdict is not Verdict.ACCEPTED for record in session.verdicts.values())
    assert not np.array_equal(session.labels, start)
