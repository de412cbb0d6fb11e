"""The package's description of itself is complete and agrees with the files."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module, resources
from itertools import chain
from pathlib import Path

import npe2
import pytest

import napari_vessel

PACKAGE = Path(napari_vessel.__file__).parent
ROOT = PACKAGE.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MANIFEST = PACKAGE / "napari.yaml"


def test_the_manifest_is_valid_and_everything_it_names_exists() -> None:
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()

    assert manifest.name == PROJECT["project"]["name"]
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(import_module(module), name)), command.id


def test_the_manifest_at_the_top_is_the_packaged_one() -> None:
    assert (ROOT / "napari.yaml").read_bytes() == MANIFEST.read_bytes()


def test_napari_finds_the_manifest() -> None:
    found = {result.manifest.name for result in npe2.PluginManifest.discover() if result.manifest}

    assert "napari-vessel" in found


def test_every_package_is_in_the_wheel() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in PACKAGE.rglob("__init__.py")
        if "models" not in path.relative_to(PACKAGE).parts
    }

    assert found | {"napari_vessel.models"} == set(PROJECT["tool"]["setuptools"]["packages"])


def test_shipped_models_are_readable_as_resources() -> None:
    names = {entry.name for entry in resources.files("napari_vessel.models").iterdir() if entry.is_dir()}

    assert "ridge" in names
    for name in names - {"__pycache__"}:
        assert (resources.files("napari_vessel.models") / name / "config.json").is_file()


def test_no_qt_binding_is_required() -> None:
    required = " ".join(PROJECT["project"]["dependencies"]).lower()

    assert not re.search(r"pyqt|pyside|napari\[", required)
    assert "opencv-python-headless" in required
    assert "opencv-python>" not in required


def test_constraints_pin_what_is_required_without_local_builds() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    normal = {re.sub(r"[-_.]+", "-", name).lower() for name in pins}
    wanted = [*PROJECT["project"]["dependencies"], *chain(*PROJECT["project"]["optional-dependencies"].values())]

    assert pins["torch"] == "2.13.0"
    assert not [pin for pin in pins.values() if "+" in pin]
    missing = {re.split(r"[>=\[<~! ]", name)[0].lower() for name in wanted} - normal
    assert not missing


def test_the_hub_finds_what_it_shows() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    images = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", readme) + re.findall(r'<img[^>]+src="([^"]+)"', readme)

    assert "Framework :: napari" in PROJECT["project"]["classifiers"]
    assert images
    assert [image for image in images if not image.startswith("https://")] == []


@pytest.mark.parametrize("name", ["LICENSE", "CHANGELOG.md", "CITATION.cff", "Makefile", "setup.cfg", ".ci/run"])
def test_the_house_is_complete(name: str) -> None:
    assert (ROOT / name).stat().st_size > 0
