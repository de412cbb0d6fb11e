"""A mistake of the program's: one line on standard error that names the log file, the traceback in there."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_vessel.logfile import log_path


@pytest.fixture
def _broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("napari_vessel.images.inputs.find_inputs", fail)


@pytest.mark.usefixtures("_broken")
def test_a_mistake_of_the_programs_is_one_line_that_names_the_log(run, photograph: Path, tmp_path: Path) -> None:
    done = run("segment", photograph, "-o", tmp_path / "out")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert str(log_path()) in done.err
    assert "ZeroDivisionError" in log_path().read_text()


@pytest.mark.usefixtures("_broken")
def test_with_debug_the_traceback_is_printed_too(run, photograph: Path, tmp_path: Path) -> None:
    done = run("--debug", "segment", photograph, "-o", tmp_path / "out")
    assert done.code == 3
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith("error: ")


def test_an_expected_error_is_in_the_log_with_what_caused_it(run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    done = run("segment", tmp_path / "a.png", "-o", tmp_path / "out")
    assert done.code == 1
    assert str(log_path()) not in done.err
    assert done.err.removeprefix("error: ").strip() in log_path().read_text()


def test_what_the_system_refuses_names_the_log(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "a.png"))

    monkeypatch.setattr("napari_vessel.images.inputs.find_inputs", fail)
    done = run("segment", tmp_path, "-o", tmp_path / "out")
    assert done.code == 1
    assert f"{tmp_path / 'a.png'}: Permission denied" in done.err
    assert str(log_path()) in done.err
    assert "PermissionError" in log_path().read_text()
