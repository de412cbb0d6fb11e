"""The program that started this one: it reads lines of JSON, and may stop the work."""

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any, TypeVar

from napari_vessel.cli.terminal import cancelling
from napari_vessel.jobs import CancelToken, Job, Progress, run_job

T = TypeVar("T")

_INTERVAL = 0.2


class Parent:
    """Reports to the program that started this one, and listens to it.

    It writes ``stop`` and a new line to have the work stopped. Where its end of the pipe is closed, it is gone, and the
    work is stopped too: a window that was killed leaves nothing running.

    Attributes
    ----------
    gone : bool
        Whether nobody is there any more.
    """

    def __init__(self) -> None:
        self.gone = False
        self._asked = False
        self._token: CancelToken | None = None
        self._told = 0.0
        if hasattr(os, "nice"):
            # A window that is drawn late is noticed, a step that is taken late is not.
            os.nice(10)
        # Never through sys.stdin: a thread that waits in it keeps the interpreter from ending.
        threading.Thread(target=self._listen, name="napari-vessel-parent", daemon=True).start()

    def run(self, job: Job[T], listen: bool = True) -> T:
        """Run a job; with `listen`, until it is stopped.

        Raises
        ------
        Cancelled
            If it was stopped.
        """
        with closing(job), cancelling() as token:
            if listen:
                self._token = token
                if self._asked:
                    token.cancel()
            return run_job(job, self._show, token)

    def tell(self, data: Mapping[str, Any]) -> None:
        """Write one line; if nobody reads it any more, stop."""
        if self.gone:
            return
        try:
            # In ASCII: which letters a pipe takes depends on the machine.
            sys.stdout.write(f"{json.dumps(data)}\n")
            sys.stdout.flush()
        except OSError:
            self._stop(gone=True)

    def _show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._told < _INTERVAL:
            return
        self._told = now
        told = {"done": progress.done, "total": progress.total, "message": progress.message}
        self.tell({"progress": {**told, "figures": dict(progress.figures)}})

    def _listen(self) -> None:
        heard = b""
        while True:
            try:
                more = os.read(0, 1024)
            except OSError:
                more = b""
            heard += more
            if not more or b"stop\n" in heard.replace(b"\r", b""):
                self._stop(gone=not more)
                return

    def _stop(self, gone: bool) -> None:
        self.gone = gone
        self._asked = True
        if self._token is not None:
            self._token.cancel()
