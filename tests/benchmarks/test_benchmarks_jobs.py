"""The reports of the times of the whole job and of the start, without the work that takes the time."""

import json
from pathlib import Path

import main_job
import pytest
import startup
import window_job
import yaml

import napari_vessel


def test_they_say_which_version_was_measured_and_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "wall", lambda command: 1.0)
    monkeypatch.setattr(startup, "opening", lambda name: 1.0)
    for module in (startup, main_job, window_job):
        out = tmp_path / f"{module.__name__}.json"
        monkeypatch.setattr("sys.argv", [f"benchmarks/{module.__name__}.py", "-o", str(out)])
        module.main()
        report = json.loads(out.read_text())
        assert report["command"].startswith(f"python benchmarks/{module.__name__}.py")
        assert report["protocol"] == module.PROTOCOL
        assert report["versions"]["napari-vessel"]
        assert report["code"]["gui"]
        if module is not startup:
            assert report["model"]["version"]
            assert len(report["model"]["sha256"]) == 64


def test_every_widget_is_opened() -> None:
    manifest = yaml.safe_load((Path(napari_vessel.__file__).parent / "napari.yaml").read_text())
    assert [one["display_name"] for one in manifest["contributions"]["widgets"]] == list(startup.WIDGETS)
