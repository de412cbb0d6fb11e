"""The process in which fuzz.py reads spoilt files: little memory, and everything it opens or starts is watched."""

from __future__ import annotations

import logging
import os
import random
import resource
import shutil
import sys
import sysconfig
import time
import traceback
import zlib
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fuzz_parsers import Parser, parsers

from napari_vessel.errors import VesselError
from napari_vessel.segmentation.registry import USER_FOLDER_VARIABLE

MEMORY = 3 * 2**30
"""Address space that a case may take beyond what the process has when it starts, bytes."""
LONGEST_SENTENCE = 1500

_WRITES = {"os.remove": 1, "os.mkdir": 1, "os.rmdir": 1, "os.truncate": 1, "os.chmod": 1, "os.chown": 1, "os.utime": 1}
_WRITES |= {"os.rename": 2, "os.link": 2, "os.symlink": 2, "shutil.rmtree": 1, "sqlite3.connect": 1}
"""Events whose first arguments are paths that change."""
_NEVER = {
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"),
    *("pickle.find_class", "socket.connect", "socket.bind", "socket.getaddrinfo", "urllib.Request", "os.kill"),
    *("sqlite3.enable_load_extension", "sqlite3.load_extension", "ctypes.dlopen", "webbrowser.open", "os.putenv"),
}


class Watch:
    """An audit hook that notes what no file may make the program do.

    Parameters
    ----------
    case : Path
        The only folder that may be written to while it is on.
    """

    def __init__(self, case: Path) -> None:
        self.case, self.on, self.seen = str(case), False, []
        # Modules are still imported now and then; their code is the program's own.
        self._own = (str(Path(__file__).parents[1]), sysconfig.get_paths()["stdlib"], sys.prefix, "<frozen", "<string>")
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        self.on = False
        try:
            told = self._judge(event, arguments)
            if told:
                self.seen.append(f"{event}: {told}"[:300])
        finally:
            self.on = True

    def _judge(self, event: str, arguments: tuple[Any, ...]) -> str:
        if event in _NEVER:
            # Asking whether an owner is alive sends no signal.
            return "" if event == "os.kill" and arguments[1] == 0 else repr(arguments)
        if event == "open":
            path, mode, flags = arguments
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)) or set(str(mode)) & set("wax+")
            return self._outside(path) if writes and not isinstance(path, int) else ""
        if event in _WRITES:
            count = _WRITES[event]
            # Some are told by their place in an open folder, whose number comes last.
            folder = arguments[-1] if isinstance(arguments[-1], int) and event != "os.truncate" else -1
            folder = folder if event not in ("os.mkdir", "os.chmod") or len(arguments) == count + 2 else -1
            return next((told for path in arguments[:count] if (told := self._outside(path, folder))), "")
        if event == "exec":
            name = getattr(arguments[0], "co_filename", "")
            return "" if name.startswith(self._own) else name or repr(arguments[0])
        return ""

    def _outside(self, path: Any, folder_number: int = -1) -> str:
        if isinstance(path, int):
            return ""
        text = os.fsdecode(path).removeprefix("file://").partition("?")[0]
        if folder_number >= 0:
            text = os.path.join(os.readlink(f"/proc/self/fd/{folder_number}"), text)
        # Of what is renamed or removed the link itself counts, not what it leads to; of what is opened, that.
        folder = os.path.realpath(os.path.dirname(os.path.abspath(text)))
        inside = folder == self.case or folder.startswith(self.case + os.sep)
        return "" if inside or text in (os.devnull, ":memory:", "") else text


def tree(folder: Path) -> dict[str, Any]:
    """Return what is in a folder: sizes, times and links, by path."""
    found = {}
    for place, _, files in os.walk(folder):
        for path in [place, *(os.path.join(place, name) for name in files)]:
            known = os.lstat(path)
            found[path] = (known.st_mode, known.st_size, known.st_mtime_ns)
    return found


def make_outside(folder: Path) -> None:
    """Write what lies beside the chosen folder and must stay as it is."""
    (folder / "folder").mkdir(parents=True)
    (folder / "canary.txt").write_text("sings\n")
    (folder / "database.sqlite").write_bytes(b"")


def serve(pipe: Connection, samples: Path, work: Path, seed: int) -> None:
    """Read case after case: a parser's name and a number come in, how it ended goes out."""
    logging.disable()
    outside, case = work / "outside", work / "case"
    make_outside(outside)
    os.environ[USER_FOLDER_VARIABLE] = str(case / "user-models")
    watch = Watch(case)
    for folder in sorted(samples.iterdir()):
        # What is read for the first time is imported for the first time.
        _good(parsers()[folder.name], folder, case)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, resource.RLIM_INFINITY))
    pipe.send(("ready", "", 0.0))
    while (asked := pipe.recv()) is not None:
        name, number = asked
        pipe.send(_try(parsers()[name], number, seed, samples / name, case, outside, watch))


def _good(parser: Parser, samples: Path, case: Path) -> None:
    """Read a case of a parser that is as good as its mutation left it, for the imports alone."""
    for number in range(3):
        _fresh(case)
        parser.spoil(random.Random(number), samples, case, case.parent / "outside")
        try:
            parser.read(case)
        except Exception:  # noqa: BLE001 - it is read again, and judged, when its turn comes
            continue


def _fresh(case: Path) -> None:
    shutil.rmtree(case, ignore_errors=True)
    case.mkdir(parents=True)


def _try(
    parser: Parser, number: int, seed: int, samples: Path, case: Path, outside: Path, watch: Watch
) -> tuple[str, str, float]:
    """Make a case, read it, and say how that ended: accepted, refused, or what went wrong."""
    _fresh(case)
    rng = random.Random(zlib.crc32(f"{seed} {parser.name} {number}".encode()))
    parser.spoil(rng, samples, case, outside)
    before = tree(outside), set(os.listdir(case.parent))
    watch.seen.clear()
    start, outcome, told = time.perf_counter(), "accepted", ""
    watch.on = True
    try:
        parser.read(case)
    except VesselError as error:
        watch.on = False
        told = " ".join(str(error).split())
        wrong = not told or len(told) > LONGEST_SENTENCE or "Traceback" in told
        outcome = "no sentence" if wrong else "refused"
    except RecursionError as error:
        outcome, told = "RecursionError", _where(error)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is a finding
        watch.on = False
        outcome, told = type(error).__name__, _where(error)
    watch.on = False
    seconds = time.perf_counter() - start
    if watch.seen:
        outcome, told = "forbidden", "; ".join(watch.seen[:3])
    elif (tree(outside), set(os.listdir(case.parent))) != before:
        outcome, told = "wrote outside", told
        shutil.rmtree(outside)
        make_outside(outside)
    return outcome, told[:600], seconds


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "napari_vessel" in f.filename] or frames
    last = own[-1] if own else None
    place = f"{Path(last.filename).name}:{last.lineno} {last.name}" if last else ""
    return f"{place}: {error}"
