"""Errors as one sentence for a person, with their tracebacks in a log file of bounded size."""

import logging
from pathlib import Path

from napari_vessel.errors import Cancelled, VesselError

_BYTES, _OLDER = 1_000_000, 2


def log_path() -> Path:
    """Return the file that tracebacks are written to."""
    from platformdirs import user_log_dir

    return Path(user_log_dir("napari-vessel")) / "napari-vessel.log"


def sentence(error: BaseException) -> str:
    """Write an error to the log file and return one sentence for the person in front of the screen.

    Parameters
    ----------
    error : BaseException
        An expected one says itself what to do next. Of any other the sentence names the log file; when that cannot be
        written, because the disk is full, it does without. What somebody cancelled is not logged.

    Returns
    -------
    str
        One line.
    """
    error = innermost(error)
    if isinstance(error, Cancelled):
        return str(error)
    path = _record(error)
    if isinstance(error, VesselError):
        return str(error)
    where = "no log file could be written" if path is None else f"the details are in {path}"
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return f"Something unexpected went wrong ({what}); please report it: {where}."


def innermost(error: BaseException) -> BaseException:
    """Return what went wrong in a slot of a signal; psygnal hands it on inside an error of its own."""
    from psygnal import EmitLoopError

    while isinstance(error, EmitLoopError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _record(error: BaseException) -> Path | None:
    from logging.handlers import RotatingFileHandler

    from napari_vessel.version import __version__

    class File(RotatingFileHandler):
        def handleError(self, record: logging.LogRecord) -> None:
            raise  # the caller's to judge; logging would print it

    path = log_path()
    known = isinstance(error, VesselError)
    level, words = (logging.WARNING, str(error)) if known else (logging.ERROR, "Unexpected error")
    caught = (type(error), error, error.__traceback__)
    record = logging.LogRecord("napari_vessel", level, __file__, 0, "%s", (words,), caught)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Opened for each error: the window and a command may write to it, and on Windows an open file is not renamed.
        handler = File(path, maxBytes=_BYTES, backupCount=_OLDER, encoding="utf-8", errors="backslashreplace")
    except OSError:
        return None
    handler.setFormatter(logging.Formatter(f"%(asctime)s napari-vessel {__version__} %(levelname)s: %(message)s"))
    try:
        handler.handle(record)
    except OSError:
        return None
    finally:
        handler.close()
    return path
