"""Garbage collection without standstills: what stays for good is not searched again and again."""

from __future__ import annotations

import gc

_done: set[str] = set()


def set_apart(when: str) -> None:
    """Set what is in memory now apart from what is searched for garbage, once in a process for each `when`.

    Python searches everything from time to time, and every module, widget and layer of a napari window takes it a third
    of a second, in which nothing moves. Those stay until the program ends. What is garbage already stays too, which is
    why this is done once after the window stands, and once after the networks were imported, and no more.
    """
    if when not in _done:
        _done.add(when)
        gc.freeze()
