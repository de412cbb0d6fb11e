"""Jobs on threads: results, errors and cancelling reach the GUI's thread, stale results never do."""

import threading

import pytest
from psygnal import SignalInstance

from napari_vessel.errors import Cancelled, InputError
from napari_vessel.gui.parts import _disconnect
from napari_vessel.gui.tasks import Tasks
from napari_vessel.gui.workers import describe, run_in_thread, running_jobs
from napari_vessel.jobs import Progress

pytestmark = pytest.mark.gui


def counting(total, gate=None, log=None):
    try:
        for n in range(total):
            if gate is not None:
                gate.wait(10)
            yield Progress(n, total, "counting")
        return threading.get_ident()
    finally:
        if log is not None:
            log.append("closed")


def test_job_runs_on_another_thread_and_is_told_on_this_one(qtbot, spin):
    results, told_on, progress = [], [], []
    run_in_thread(
        counting(3),
        progress.append,
        lambda r: (results.append(r), told_on.append(threading.get_ident())),
        results.append,
    )
    spin()
    assert results[0] != threading.get_ident()
    assert told_on == [threading.get_ident()]
    assert progress[0].message == "counting"
    assert running_jobs() == []


def test_error_is_handed_over_whole(qtbot, spin):
    def failing():
        yield Progress()
        raise InputError("The file is empty; choose another.")

    errors = []
    run_in_thread(failing(), on_error=errors.append)
    spin()
    assert [str(e) for e in errors] == ["The file is empty; choose another."]


def test_cancelled_job_is_closed_and_says_so(qtbot, spin):
    gate, log, errors, results = threading.Event(), [], [], []
    handle = run_in_thread(counting(1000, gate, log), on_done=results.append, on_error=errors.append)
    handle.cancel()
    gate.set()
    spin()
    assert log == ["closed"]
    assert results == []
    assert isinstance(errors[0], Cancelled)


def test_newer_job_of_a_lane_replaces_the_older(qtbot, spin):
    gate, results, busy, errors = threading.Event(), [], [], []
    tasks = Tasks(lambda p, text: busy.append((p, text)), errors.append, errors.append)
    tasks.start("open", counting(5, gate), lambda _: results.append("old"), "Old")
    tasks.start("open", counting(5, gate), lambda _: results.append("new"), "New")
    gate.set()
    spin()
    assert results == ["new"]
    assert errors == []
    assert busy[-1] == (None, "")


def test_closing_waits_for_jobs_that_were_dropped_too(qtbot):
    started, gate = threading.Event(), threading.Event()

    def slow():
        started.set()
        gate.wait(10)
        yield Progress()

    tasks = Tasks(lambda *_: None, lambda error: None, lambda text: None)
    dropped = tasks.start("gaps", slow(), lambda result: None)
    assert started.wait(10)
    tasks.drop("gaps")
    threading.Timer(0.2, gate.set).start()
    tasks.close(10)
    assert not dropped.running
    assert running_jobs() == []


def test_cancelling_tells_the_annotator_and_changes_nothing(qtbot, spin):
    gate, results, said, ended = threading.Event(), [], [], []
    tasks = Tasks(lambda *_: None, said.append, said.append)
    tasks.start("segment", counting(50, gate), results.append, "Segmenting", lambda: ended.append(1))
    tasks.cancel()
    gate.set()
    spin()
    assert results == []
    assert said == ["Segmenting: cancelled; nothing was changed."]
    assert ended == [1]


@pytest.mark.parametrize(
    ("progress", "left", "words"),
    [
        (Progress(1, 4, "tiles"), 75.0, "tiles, 25%, 1 min 15 s left"),
        (Progress(1, None, "reading"), None, "reading"),
        (Progress(3, 4), 2.2, "75%, 2 s left"),
    ],
)
def test_describe(progress, left, words):
    assert describe(progress, left) == words


def test_a_signal_that_went_before_its_widget_is_let_be():
    """The garbage collector takes a window's objects apart in any order; this is what it leaves of a signal."""
    gone = SignalInstance.__new__(SignalInstance)
    with pytest.raises(AttributeError):
        gone.disconnect(print, missing_ok=True)
    _disconnect(gone, print)
