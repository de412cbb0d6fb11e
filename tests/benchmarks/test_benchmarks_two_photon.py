"""Two-photon slabs: what a slab shows, which are left out, and draws that keep recordings apart."""

import json

import cv2
import fewshot as benchmark
import numpy as np
import pytest
import tifffile
import two_photon
from fewshot import TWO_PHOTON, parted
from two_photon import UNCLEAR, VOLUMES, make, recording_of, slabs

from napari_vessel.errors import InputError


@pytest.fixture
def checkout(tmp_path):
    """The owner's folder with tiny volumes: 12 slices, a vessel one row further down in each."""
    for room in ("denoised", "labels"):
        (tmp_path / "owner" / room).mkdir(parents=True)
    stack = np.full((12, 40, 50), 10, np.uint8)
    for number in range(12):
        stack[number, 2 * number : 2 * number + 2, 5:45] = 100 + number
    for volume in VOLUMES:
        tifffile.imwrite(tmp_path / "owner" / "denoised" / f"{volume}_BM4D_denoised.tif", stack)
        label = (stack >= 100).astype(np.uint16) * 254
        tifffile.imwrite(tmp_path / "owner" / "labels" / f"{volume}_labels_v1.tif", label)
    return tmp_path / "owner"


def relabel(checkout, volume, label):
    tifffile.imwrite(checkout / "labels" / f"{volume}_labels_v1.tif", label)


def test_a_slab_is_the_brightest_of_its_slices_and_all_their_labels(checkout):
    stack, label = two_photon.read_volume(checkout, "burgess2014_tgMouse")
    first, second = slabs("volume", stack, label)
    assert [slab.name for slab in (first, second)] == ["volume_slab00", "volume_slab01"]
    assert (first.slices, second.slices) == ((0, 6), (6, 12))
    for number, row in enumerate(range(0, 12, 2)):
        assert (first.image[row : row + 2, 5:45] == 100 + number).all()
    assert np.array_equal(first.mask, first.image >= 100)
    assert first.mask.mean() == pytest.approx(12 * 40 / 2000)
    # Too few slices for two slabs are one.
    assert [slab.slices for slab in slabs("volume", stack[:9], label[:9])] == [(0, 9)]


def test_labels_that_are_solid_empty_or_unclear_are_left_out(checkout, tmp_path):
    solid, empty = np.zeros((12, 40, 50), np.uint8), np.zeros((12, 40, 50), np.uint8)
    solid[:6, :21] = solid[6:, :20] = 255
    empty[6:, 3:13, 5:45] = 255
    relabel(checkout, "burgess2014_tgMouse", solid)
    relabel(checkout, "poon2015_plaqueVessels", empty)
    made = {row.name: row for row in make(checkout, tmp_path / "plain")}
    out = {name for name, row in made.items() if row.left_out}
    assert out == {"burgess2014_tgMouse_slab00", "poon2015_plaqueVessels_slab00", *UNCLEAR}
    # Half the picture is not more than half.
    assert made["burgess2014_tgMouse_slab01"].cover == 0.5
    listed = json.loads((tmp_path / "plain" / "slabs.json").read_text())
    assert {row["name"] for row in listed} == set(made)
    for room in ("images", "masks"):
        assert {path.stem for path in (tmp_path / "plain" / room).iterdir()} == set(made) - out


def test_the_folder_is_a_plain_one_and_is_made_again_in_place(checkout, tmp_path):
    plain = tmp_path / "plain"
    make(checkout, plain)
    mask = cv2.imread(str(plain / "masks" / "burgess2014_tgMouse_slab00.png"), cv2.IMREAD_UNCHANGED)
    assert mask.dtype == np.uint8
    assert np.unique(mask).tolist() == [0, 255]
    relabel(checkout, "burgess2014_tgMouse", np.full((12, 40, 50), 255, np.uint8))
    make(checkout, plain)
    assert not (plain / "images" / "burgess2014_tgMouse_slab00.png").exists()
    stems = {files.stem for files in benchmark.all_cases(TWO_PHOTON, plain)}
    assert stems == {path.stem for path in (plain / "images").iterdir()}


def test_nothing_else_is_written_over_and_a_missing_volume_is_named(checkout, tmp_path):
    other = tmp_path / "other"
    (other / "images").mkdir(parents=True)
    (other / "images" / "mine.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="something else"):
        make(checkout, other)
    assert (other / "images" / "mine.png").read_bytes() == b"mine"
    (checkout / "labels" / "poon2015_BBB_Leakage_labels_v1.tif").unlink()
    with pytest.raises(InputError, match="poon2015_BBB_Leakage_"):
        make(checkout, tmp_path / "plain")
    assert not (tmp_path / "plain").exists()


def test_volumes_of_one_recording_are_one():
    assert recording_of("poon2015_BBB_Leakage_slab03") == recording_of("poon2015_BBB_noLeakage_slab00")
    assert recording_of("burgess2014_tgMouse_slab00") != recording_of("burgess2014_bbbDisruption_slab00")
    assert recording_of("mine_7") == "mine_7"


def test_five_are_of_five_recordings_and_the_test_is_of_the_others(checkout, tmp_path):
    make(checkout, tmp_path / "plain")
    cases = benchmark.all_cases(TWO_PHOTON, tmp_path / "plain")
    pairs = set()
    for draw in range(12):
        five, rest = parted(cases, TWO_PHOTON, draw, 0)
        learnt, tested = ({recording_of(files.stem) for files in part} for part in (five, rest))
        assert (len(five), len(learnt)) == (5, 5)
        assert not learnt & tested
        assert learnt | tested == set(VOLUMES.values())
        # Every slab of the others is tested on.
        assert {f.stem for f in rest} == {f.stem for f in cases if recording_of(f.stem) in tested}
        pairs.add(tuple(sorted(tested)))
        assert [f.stem for f in parted(cases[::-1], TWO_PHOTON, draw, 0)[0]] == [f.stem for f in five]
    assert len(pairs) > 1


def test_five_recordings_are_too_few(checkout, tmp_path):
    make(checkout, tmp_path / "plain")
    cases = benchmark.all_cases(TWO_PHOTON, tmp_path / "plain")
    few = [files for files in cases if not files.patient.startswith(("poon2015_BBB", "santos"))]
    with pytest.raises(InputError, match="of 5 recordings"):
        parted(few, TWO_PHOTON, 0, 0)
