"""Files are whole or not there."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_vessel.errors import InputError
from napari_vessel.images import MaskClass
from napari_vessel.images.masks import mask_from_array, read_mask
from napari_vessel.images.writing import replacing, write_json, write_mask, write_probability

LABELS = (np.arange(600).reshape(20, 30) % 3).astype(np.uint8)


def listing(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_replacing_renames_on_success(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert listing(tmp_path) == ["a.txt"]


def test_replacing_leaves_the_old_file_on_error(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise KeyError("interrupted")

    with pytest.raises(KeyError):
        fail()
    assert target.read_text() == "old"
    assert listing(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "ask for the right to write there or choose another folder"),
        (errno.EROFS, "ask for the right to write there or"),
        (errno.ENOSPC, "free the space or"),
        (errno.ENAMETOOLONG, "check the name and the disk or"),
    ],
)
def test_what_to_do_depends_on_what_went_wrong(tmp_path: Path, number: int, words: str) -> None:
    with pytest.raises(InputError, match=f"{os.strerror(number)}; {words}"), replacing(tmp_path / "a.txt"):
        raise OSError(number, os.strerror(number))


def test_places_that_cannot_be_written_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        write_json(tmp_path / "no" / "a.json", {})
    with pytest.raises(InputError, match="is a folder"):
        write_json(tmp_path, {})
    with pytest.raises(InputError, match=r"name it \.png or \.tif"):
        write_mask(tmp_path / "a.jpg", LABELS > 0)
    with pytest.raises(InputError, match=r"name it \.tif"):
        write_probability(tmp_path / "a.png", LABELS / 2)
    assert listing(tmp_path) == []


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_mask_is_0_255(tmp_path: Path, name: str) -> None:
    write_mask(tmp_path / name, LABELS > 0)
    stored = tifffile.imread(tmp_path / name) if name == "a.tif" else np.asarray(Image.open(tmp_path / name))
    assert stored.dtype == np.uint8
    assert np.array_equal(stored, (LABELS > 0) * 255)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("values", [(1, 2), (1000, 60000), ((255, 0, 0), (0, 0, 255))])
def test_classes_survive_write_and_read(tmp_path: Path, name: str, values: tuple[int, int]) -> None:
    classes = tuple(MaskClass(k + 1, v, str(k)) for k, v in enumerate(values))
    write_mask(tmp_path / name, LABELS, classes)
    mask = read_mask(tmp_path / name, (20, 30))
    assert np.array_equal(mask.labels, LABELS)
    assert [c.value for c in mask.classes] == list(values)


def test_values_beyond_16_bits_need_tiff(tmp_path: Path) -> None:
    mask = mask_from_array(LABELS.astype(np.int64) * 100_000)
    with pytest.raises(InputError, match=r"name it \.tif"):
        write_mask(tmp_path / "a.png", mask.labels, mask.classes)
    write_mask(tmp_path / "a.tif", mask.labels, mask.classes)
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), LABELS.astype(np.int64) * 100_000)


def test_probability_is_exact(tmp_path: Path) -> None:
    probability = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    write_probability(tmp_path / "p.tif", probability)
    stored = tifffile.imread(tmp_path / "p.tif")
    assert stored.dtype == np.float32
    assert np.array_equal(stored, probability)


def test_json_is_plain_and_finite(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "Müller", "n": [1, 2.5, None]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "Müller", "n": [1, 2.5, None]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", {"n": float("nan")})
    assert listing(tmp_path) == ["a.json"]
