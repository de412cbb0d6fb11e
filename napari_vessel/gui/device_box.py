"""Where to compute: the choice that every dock with a network offers."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QComboBox

from napari_vessel.gui.parts import while_alive, widen
from napari_vessel.gui.preferences import preferred
from napari_vessel.gui.workers import JobHandle, run_in_thread
from napari_vessel.jobs import Job, Progress

_WORDS = {
    "auto": "auto: the fastest there is",
    "cpu": "cpu",
    "cuda": "cuda: NVIDIA graphics card",
    "mps": "mps: Apple graphics",
}


def _devices_job() -> Job[list[str]]:
    """Find out which devices there are; torch comes in with it, on the worker's thread."""
    yield Progress(0, None, "Looking for devices")
    from napari_vessel.segmentation.devices import available_devices

    return available_devices()


class DeviceBox(QComboBox):
    """A choice of devices, the preferred one at first; which of them are there it finds out when it is first opened.

    Parameters
    ----------
    on_error : callable
        Called with what went wrong while looking.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        super().__init__()
        self._on_error = on_error
        self._looking: JobHandle | None = None
        for name, words in _WORDS.items():
            self.addItem(words, name)
        self.setToolTip("Where to compute. A device chosen by name that is not there is an error, not a detour.")
        self.show_preferred()
        widen(self)

    def show_preferred(self) -> None:
        """Choose what is preferred."""
        self.setCurrentIndex(max(self.findData(preferred("device")), 0))

    def showPopup(self) -> None:
        """Open the list; the first time, start looking."""
        if self._looking is None:
            self._looking = run_in_thread(_devices_job(), None, while_alive(self, self._found), self._on_error)
        super().showPopup()

    def _found(self, names: list[str]) -> None:
        for row, name in enumerate(_WORDS):
            there = name == "auto" or any(found == name or found.startswith(f"{name}:") for found in names)
            self.setItemText(row, _WORDS[name] if there else f"{name} (not on this machine)")
