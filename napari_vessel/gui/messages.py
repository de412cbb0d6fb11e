"""Tells the annotator what went wrong: one sentence in the viewer, the traceback in a log file."""

from __future__ import annotations

import logging
from functools import cache
from logging.handlers import RotatingFileHandler
from pathlib import Path

from psygnal import EmitLoopError

from napari_vessel.errors import VesselError

logger = logging.getLogger("napari_vessel")


def log_path() -> Path:
    """Return the file that tracebacks are written to."""
    from platformdirs import user_log_dir

    return Path(user_log_dir("napari-vessel")) / "napari-vessel.log"


@cache
def _handler(path: Path) -> logging.Handler | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(path, maxBytes=1_000_000, backupCount=2, encoding="utf-8", delay=True)
    except OSError:
        return None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return handler


def sentence(error: BaseException) -> str:
    """Return one sentence for the annotator; an unexpected error is logged, and the sentence says where."""
    while isinstance(error, EmitLoopError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, VesselError):
        return str(error)
    path = log_path()
    handler = _handler(path)
    if handler is not None:
        logger.addHandler(handler)
    logger.error("Unexpected error", exc_info=error)
    if handler is not None:
        logger.removeHandler(handler)
        return f"Something unexpected went wrong ({type(error).__name__}: {error}); the details are in {path}."
    return f"Something unexpected went wrong ({type(error).__name__}: {error})."
