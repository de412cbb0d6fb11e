"""Where a network runs: a CUDA card, Apple's Metal, or the processor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from napari_vessel.errors import DeviceError

DEVICES = ("cuda", "mps", "cpu")
"""Every device by name, the fastest first."""


def available_devices() -> list[str]:
    """Return the devices of this machine, the fastest first; ``cpu`` is always among them."""
    import torch

    found = []
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def resolve_device(name: str = "auto") -> str:
    """Return the device to use.

    Parameters
    ----------
    name : str
        ``auto`` for the fastest there is, or ``cuda``, ``cuda:N``, ``mps``, ``cpu``.

    Raises
    ------
    DeviceError
        If the device asked for is unknown or not there.
    """
    if name == "cpu":
        return "cpu"
    kind, _, number = name.partition(":")
    if name != "auto" and (kind not in DEVICES or (number and not (kind == "cuda" and number.isdecimal()))):
        raise DeviceError(f"There is no device named '{name}'; use one of: auto, {', '.join(DEVICES)}.")
    available = available_devices()
    if name == "auto":
        return available[0]
    if kind not in available:
        raise DeviceError(f"The device '{name}' is not available here; use auto, or one of: {', '.join(available)}.")
    if number:
        import torch

        count = torch.cuda.device_count()
        if int(number) >= count:
            raise DeviceError(f"The device '{name}' is not available here; the last one is cuda:{count - 1}.")
    return name


def choose_precision(device: str) -> str:
    """Return the number format in which `device` is fastest without visible loss.

    ``bfloat16`` on processors and cards with native support, ``float16`` on older cards, else ``float32``.
    """
    import torch

    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if device == "cpu":
        # Emulated bfloat16 is slower than float32, so only processors with the instruction use it.
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        return "bfloat16" if native is not None and native() else "float32"
    return "float32"


def free_memory(device: str) -> int | None:
    """Return the free memory of `device` in bytes, or None when that cannot be told."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    if device == "cpu":
        try:
            return int(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        except (ValueError, OSError, AttributeError):
            return None
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception from torch means that memory ran out, on any device."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    # Metal, the processor's allocator and the libraries of a CUDA card raise a plain RuntimeError.
    text = str(error).lower()
    words = ("out of memory", "not enough memory", "cudnn_status_alloc_failed", "cublas_status_alloc_failed")
    return isinstance(error, RuntimeError) and any(word in text for word in words)


@contextmanager
def processor_threads() -> Iterator[None]:
    """Let torch use every processor core this process may use, and put its setting back afterwards.

    A limit set by the user (``OMP_NUM_THREADS``) is left alone.
    """
    import torch

    before = torch.get_num_threads()
    if not os.environ.get("OMP_NUM_THREADS"):
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
        torch.set_num_threads(max(1, allowed))
    try:
        yield
    finally:
        torch.set_num_threads(before)
