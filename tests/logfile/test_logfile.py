"""Errors as one sentence, with the traceback in a file that does not grow without end."""

from __future__ import annotations

from pathlib import Path

import pytest
from psygnal import EmitLoopError, Signal

from napari_vessel.errors import Cancelled, InputError
from napari_vessel.logfile import log_path, sentence


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_log_dir", lambda _: str(tmp_path / "logs"))


def caught(error: Exception) -> Exception:
    """Return the error with a traceback."""
    try:
        raise error
    except type(error) as found:
        return found


def test_the_sentence_of_an_unexpected_error_names_the_file_that_has_its_traceback() -> None:
    text = sentence(caught(ZeroDivisionError("by\nzero")))
    assert "ZeroDivisionError: by zero" in text
    assert str(log_path()) in text
    assert "\n" not in text
    assert "Traceback" in log_path().read_text()
    assert "raise error" in log_path().read_text()


def test_an_expected_error_keeps_its_sentence_and_is_in_the_file_too() -> None:
    assert sentence(caught(InputError("a.png is empty; choose another."))) == "a.png is empty; choose another."
    assert "WARNING: a.png is empty" in log_path().read_text()
    assert "raise error" in log_path().read_text()


def test_what_somebody_cancelled_is_no_error() -> None:
    assert sentence(caught(Cancelled("Cancelled."))) == "Cancelled."
    assert not log_path().exists()


def test_an_error_in_a_slot_is_the_slots() -> None:
    class Sender:
        told = Signal()

    def slot() -> None:
        raise InputError("Choose a mask.")

    sender = Sender()
    sender.told.connect(slot)
    with pytest.raises(EmitLoopError) as raised:
        sender.told.emit()
    assert sentence(raised.value) == "Choose a mask."


def test_the_log_is_bounded() -> None:
    for _ in range(45):
        sentence(caught(ValueError("x" * 100_000)))
    sizes = [path.stat().st_size for path in log_path().parent.iterdir()]
    assert len(sizes) == 3
    assert max(sizes) <= 1_000_000


def test_without_a_place_for_the_log_there_still_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    text = sentence(caught(ZeroDivisionError("by zero")))
    assert "by zero" in text
    assert str(log_path()) not in text
