"""Three kills of the real window, and a comparison that would see what was lost."""

import os

import crash
import numpy as np
import pytest

from napari_vessel.review import Project, Verdict


@pytest.mark.gui
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_nothing_acknowledged_is_lost_in_three_kills(tmp_path, qapp):
    found = crash.crash(3, seed=1, folder=tmp_path, side=200)
    outcomes = found["outcomes"]
    assert found["kills"] == 3
    assert found["changes_acknowledged"] > 0
    assert outcomes["lost"] == outcomes["does not open"] == 0
    assert outcomes["as acknowledged"] + outcomes["one more"] == 3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crash") / "project"
    return folder, crash.make_project(folder)


def work(folder, image_id, steps):
    """Do some steps and return the state before and after each."""
    with Project.open(folder) as project:
        session = project.open_session(image_id, "ann")
        states = [crash.state_of(session)]
        for step in steps:
            step(session)
            states.append(crash.state_of(session))
    return states


def test_what_is_missing_or_two_changes_ahead_is_seen(made):
    folder, expected = made
    image_id = next(iter(expected))
    assert crash.compare(folder, expected)[0] == "as acknowledged"

    def paint(y):
        return lambda session: session.stroke(1 - session.labels[y : y + 4, 20:24], (y, 20), group="repaint")

    def end(session):
        session.decide(session.gaps[0].id, Verdict.REPAINTED, group="repaint")

    steps = [paint(200), paint(210), end, lambda session: session.undo(), lambda session: session.redo()]
    states = work(folder, image_id, [])
    for number, step in enumerate(steps):
        before, after = work(folder, image_id, [step])
        assert before["position"] != after["position"], number
        assert crash.compare(folder, expected | {image_id: before})[0] == "one more", number
        verdict, found, _ = crash.compare(folder, expected | {image_id: after})
        assert (verdict, found[image_id]) == ("as acknowledged", after)
        states.append(after)
    # The first stroke alone: undo takes back the whole repaint, so this is no change before where it is now.
    assert crash.compare(folder, expected | {image_id: states[1]})[0] == "lost"
    missing = states[-1] | {"position": states[-1]["position"] + 1}
    assert crash.compare(folder, expected | {image_id: missing})[0] == "lost"


def test_a_project_that_does_not_open_is_seen(made, tmp_path):
    _, expected = made
    assert crash.compare(tmp_path, expected)[0] == "does not open"
    (tmp_path / "project.sqlite").write_bytes(np.random.default_rng(0).bytes(5000))
    assert crash.compare(tmp_path, expected)[0] == "does not open"
