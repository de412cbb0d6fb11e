"""Three hundred random actions in the real window: nothing fails, and layer, session and journal agree."""

from pathlib import Path

import numpy as np
import pytest

from napari_vessel.gui.workspace import Workspace

pytestmark = pytest.mark.gui
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def monkey(monkeypatch):
    """The script: the benchmarks are no package."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import monkey

    return monkey


@pytest.fixture
def viewer(make_napari_viewer):
    """A viewer on the screen, its project closed afterwards."""
    found = make_napari_viewer(show=True)
    yield found
    Workspace.of(found).close()


def test_three_hundred_random_actions_break_nothing(monkey, viewer, tmp_path):
    kept = []
    found = monkey.monkey(viewer, tmp_path / "project", actions=300, seed=5, side=200, keep=kept.append)
    assert not found["failure"]
    assert found["actions"] == sum(found["kinds"].values()) == 300
    assert found["edits"] > 40, "a monkey that changes nothing proves nothing"
    assert [run["actions"] for run in kept] == [50, 100, 150, 200, 250, 300]
    assert all("process ended" in run["failure"] for run in kept)


def test_what_a_monkey_would_break_is_seen(monkey, viewer, tmp_path):
    monkey.make_project(tmp_path / "project", 200)
    animal = monkey.Monkey(viewer, tmp_path / "project", seed=0)
    # No action, so that no other image is on its way.
    assert animal.run(0) == 0
    session, layer = animal.workspace.session, animal.workspace.scene.mask_layer
    animal._last.append("1: nothing")
    animal._check(monkey.REPLAY_EVERY)

    # Behind the back of everyone who would have noticed.
    y, x = (int(one[0]) for one in np.nonzero(session.labels))
    label = session.labels[y, x]
    layer.data[y, x] = 0
    with pytest.raises(monkey.MonkeyError, match=r"(?s)another mask than.*seed 0, the last actions:\n1: "):
        animal._compare_layer()
    session._labels[y, x] = 0
    animal._compare_layer()
    with pytest.raises(monkey.MonkeyError, match="the database has another state"):
        animal._compare_with_journal()
    with pytest.raises(monkey.MonkeyError, match="the edits do not make the mask"):
        animal._replay()
    layer.data[y, x] = session._labels[y, x] = label
    animal._replay()

    animal._gaps.buttons["undo"].setEnabled(True)
    with pytest.raises(monkey.MonkeyError, match="the undo and redo buttons"):
        animal._compare_layer()
    animal._gaps.buttons["undo"].setEnabled(False)

    with animal._ears.listening():
        animal.workspace.say("It went wrong.", "error")
    with pytest.raises(monkey.MonkeyError, match="error shown: It went wrong"):
        animal._check(1)
