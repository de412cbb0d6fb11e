"""Errors that nothing has caught: napari shows them, and here they get their sentence and their place in the log."""

from __future__ import annotations

import traceback
from typing import Any

from napari_vessel.logfile import innermost, sentence


def watch_errors() -> None:
    """Let napari's notification of an error of ours say one sentence that names the log file; once is enough."""
    from napari.utils.notifications import notification_manager

    # In front of what shows it. The same function is connected only once.
    notification_manager.notification_ready.connect(_explain, position="first")


def _explain(notification: Any) -> None:
    error = getattr(notification, "exception", None)
    if error is not None and _is_ours(error):
        notification.message = sentence(error)


def _is_ours(error: BaseException) -> bool:
    """Whether an error came through code of this package; those of napari and of other plugins are theirs to tell."""
    frames = traceback.walk_tb(innermost(error).__traceback__)
    return any(str(frame.f_globals.get("__name__", "")).startswith("napari_vessel.") for frame, _ in frames)
