"""An error that nothing has caught: napari's notification says one sentence and names the log file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from napari.utils.notifications import Notification, notification_manager
from qtpy.QtCore import QTimer

from napari_vessel.errors import InputError
from napari_vessel.gui.workspace import Workspace
from napari_vessel.logfile import log_path

pytestmark = pytest.mark.gui


@pytest.fixture
def shown(workspace: Workspace) -> Iterator[list[Notification]]:
    """What napari shows, with its hooks for uncaught errors as in the running program."""
    found: list[Notification] = []

    def show(notification: Notification) -> None:
        found.append(notification)

    notification_manager.notification_ready.connect(show)
    hooks = (sys.excepthook, notification_manager.receive_error)
    sys.excepthook = hooks[1]
    yield found
    sys.excepthook = hooks[0]
    notification_manager.notification_ready.disconnect(show)


def pressed(workspace: Workspace, qtbot: Any, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let a step fail inside a slot of Qt."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(workspace.review, "next_gap", fail)
    QTimer.singleShot(0, workspace.queues.step)
    qtbot.wait(20)


def test_a_bug_in_a_slot_is_told_in_one_sentence_that_names_the_log(workspace, shown, qtbot, monkeypatch) -> None:
    pressed(workspace, qtbot, monkeypatch, KeyError("gap 7"))
    assert len(shown) == 1
    assert "KeyError: 'gap 7'" in shown[0].message
    assert str(log_path()) in shown[0].message
    assert "in step" in log_path().read_text()


def test_an_expected_error_that_nothing_caught_is_its_sentence(workspace, shown, qtbot, monkeypatch) -> None:
    pressed(workspace, qtbot, monkeypatch, InputError("Open an image first."))
    assert [notification.message for notification in shown] == ["Open an image first."]
    assert "Open an image first." in log_path().read_text()


def test_errors_of_others_are_left_alone(workspace, shown) -> None:
    try:
        raise ValueError("not ours")
    except ValueError as error:
        notification_manager.receive_error(type(error), error)
    assert [notification.message for notification in shown] == ["not ours"]
    assert not log_path().exists()


def test_a_failed_job_names_the_log(workspace, shown) -> None:
    workspace.report(OSError(28, "No space left on device"))
    assert str(log_path()) in shown[0].message
    assert "No space left" in log_path().read_text()
