"""Memory while training on a processor."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def reusing_memory(device: str) -> Iterator[None]:
    """Let glibc keep the large blocks that are freed meanwhile, and return them to the system afterwards.

    A network on a processor asks for the same tens of megabytes layer after layer. By default glibc maps and clears
    them anew each time, which takes a tenth of a training step. Elsewhere than on Linux, nothing happens.
    """
    library = _glibc() if device == "cpu" else None
    if library is None:
        yield
        return
    largest_mapped, keep_below = -4, -1  # M_MMAP_MAX, M_TRIM_THRESHOLD of malloc.h
    library.mallopt(largest_mapped, 0)
    library.mallopt(keep_below, 2**31 - 1)
    try:
        yield
    finally:
        # The defaults, as mallopt(3) gives them.
        library.mallopt(largest_mapped, 65536)
        library.mallopt(keep_below, 128 * 1024)
        library.malloc_trim(0)


def _glibc() -> Any:
    """Return the C library when it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 (musl has no such name)
    except (OSError, AttributeError):
        return None
    return library
