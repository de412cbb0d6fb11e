"""The command measure: masks and projects, from files to tables."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_vessel.images.image import VesselImage, VesselMask
from napari_vessel.images.writing import write_mask
from napari_vessel.jobs import run_job
from napari_vessel.review import Project


def read(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Two masks of a horizontal bar, 80 x 3 and 60 x 5 px, and a probability that is none."""
    folder = tmp_path / "masks"
    folder.mkdir()
    for number, (length, width) in enumerate([(80, 3), (60, 5)], start=1):
        mask = np.zeros((60, 100), bool)
        mask[30 : 30 + width, 10 : 10 + length] = True
        write_mask(folder / f"{number:02}_mask.png", mask)
    tifffile.imwrite(folder / "01_probability.tif", np.zeros((60, 100), np.float32))
    return folder


def test_a_folder_of_masks(run, masks: Path, tmp_path: Path) -> None:
    out, segments = tmp_path / "m.csv", tmp_path / "s.csv"
    outcome = run("measure", masks, "-o", out, "--segments", segments, "--regions", "quadrants", "--spacing", "2,4")
    assert outcome.code == 0, outcome.err
    rows = read(out)
    assert [(row["image"], row["region"]) for row in rows if row["region"] == "whole"] == [
        ("01", "whole"),
        ("02", "whole"),
    ]
    assert len(rows) == 2 * 5
    assert rows[0]["unit"] == "um"
    assert float(rows[0]["vessel_area"]) == 80 * 3 * 8
    assert float(rows[0]["calibre_median"]) == pytest.approx(6, abs=0.1)
    assert [row["image"] for row in read(segments)] == ["01", "02"]
    assert "; calibre, median: 6 um; tortuosity" in outcome.out
    assert "; bifurcations: 0; free ends: 2\n" in outcome.out
    assert "2 masks measured" in outcome.out
    assert "none given: the whole image counts; give --image or --fov" in outcome.out


def test_numbers_for_scripts(run, masks: Path, tmp_path: Path) -> None:
    outcome = run("measure", masks / "01_mask.png", "-o", tmp_path / "m.csv", "--disc", "30,50,10", "--json")
    whole, zone_a, *_ = outcome.json["measurements"]
    assert whole["ends"] == 2
    assert whole["fractal_dimension"] is None
    assert zone_a["region"] == "zone A"
    assert outcome.json["output"] == str(tmp_path / "m.csv")
    assert outcome.json["without_field_of_view"] == 1


def test_a_decimal_comma_is_seen_for_the_two_sizes_it_is(run, masks: Path, tmp_path: Path) -> None:
    for spacing in ("12,5", "12.5"):
        told = run("measure", masks / "01_mask.png", "-o", tmp_path / "m.csv", "--spacing", spacing).out
        assert ("size of a pixel: 12 um down (Y), 5 um across (X)" in told) == (spacing == "12,5")


def test_field_of_view_and_pixel_size_are_found_by_name(run, masks: Path, tmp_path: Path) -> None:
    fields, images = tmp_path / "fov", tmp_path / "images"
    fields.mkdir()
    images.mkdir()
    for name in ("01", "02"):
        field = np.zeros((60, 100), bool)
        field[:, :50] = True
        write_mask(fields / f"{name}_fov.png", field)
        tifffile.imwrite(
            images / f"{name}.ome.tif", np.full((60, 100), 90, np.uint8),
            metadata={"axes": "YX", "PhysicalSizeX": 3.0, "PhysicalSizeY": 3.0}, ome=True,
        )  # fmt: skip
        (images / f"{name}.ome.tif").rename(images / f"{name}.tif")
    outcome = run("measure", masks, "-o", tmp_path / "m.csv", "--fov", fields, "--image", images)
    assert outcome.code == 0, outcome.err
    assert "field of view:" not in outcome.out
    first = read(tmp_path / "m.csv")[0]
    assert (first["unit"], float(first["vessel_area"]), float(first["field_area"])) == ("um", 40 * 3 * 9, 3000 * 9)
    outcome = run("measure", masks, "-o", tmp_path / "m.csv", "--image", images)
    assert "none found for 2 of 2: there the whole image counts" in outcome.out


@pytest.mark.parametrize("masks", ["scan.tif", "pages"])
def test_a_page_is_measured_in_its_own_field_of_view(run, tmp_path: Path, masks: str) -> None:
    bar, fields = np.zeros((2, 64, 64), np.uint8), np.full((2, 64, 64), 255, np.uint8)
    bar[:, 30:33, 5:60], fields[1, :, 32:] = 255, 0
    (tmp_path / "pages").mkdir()
    (tmp_path / "fov").mkdir()
    for number in range(2):
        write_mask(tmp_path / "pages" / f"scan_p{number:03d}_mask.png", bar[number] > 0)
    tifffile.imwrite(tmp_path / "scan.tif", bar, photometric="minisblack")
    tifffile.imwrite(tmp_path / "fov" / "scan_fov.tif", fields, photometric="minisblack")

    outcome = run("measure", tmp_path / masks, "-o", tmp_path / "m.csv", "--fov", tmp_path / "fov")

    assert outcome.code == 0, outcome.err
    rows = [(row["image"], float(row["field_area"])) for row in read(tmp_path / "m.csv")]
    assert rows == [("scan_p000", 64 * 64), ("scan_p001", 64 * 32)]


def test_of_several_pages_the_one_to_measure_is_asked_for(run, masks: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", np.full((2, 60, 100), 90, np.uint8), photometric="minisblack")
    for option in ("--image", "--fov"):
        outcome = run("measure", masks / "01_mask.png", "-o", tmp_path / "m.csv", option, tmp_path / "scan.tif")
        assert outcome.code == 1
        assert "2 pages" in outcome.err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_written_so_that_it_can_be_read(run, masks: Path, tmp_path: Path) -> None:
    (masks / "01_mask.png").rename(masks / os.fsdecode(b"caf\xe9.png"))
    outcome = run("measure", masks, "-o", tmp_path / "m.csv")
    assert outcome.code == 0, outcome.err
    assert [row["image"] for row in read(tmp_path / "m.csv")] == ["02", r"caf\udce9"]


def test_a_project_before_and_after(run, tmp_path: Path) -> None:
    mask = np.zeros((60, 100), np.uint8)
    mask[30:33, 10:90] = 1
    mask[30:33, 45:50] = 0
    with Project.create(tmp_path / "work") as project:
        image = VesselImage(np.zeros((60, 100), np.float32), name="scan")
        (record,) = run_job(project.add([image], VesselMask(mask)))
        project.open_session(record.id).stroke(np.ones((3, 5), np.uint8), (30, 45))
    outcome = run("measure", tmp_path / "work", "-o", tmp_path / "m.csv")
    assert outcome.code == 0, outcome.err
    before, after = read(tmp_path / "m.csv")
    assert (before["mask"], before["components"], before["components_low"]) == ("before", "2", "")
    assert (after["mask"], after["components"], after["components_low"]) == ("after", "1", "1")
    assert "1 image measured, before and after" in outcome.out


def test_figures_are_told_in_whole_thousands(run, masks: Path, tmp_path: Path) -> None:
    outcome = run("measure", masks / "01_mask.png", "-o", tmp_path / "m.csv", "--spacing", "200")
    assert "centreline length: 15,649 um;" in outcome.out
    assert "m.csv: 1 mask measured" in outcome.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--spacing", "a"], "--spacing is 'a'; give 1 or 2 numbers"),
        (["--spacing", "0"], "give two above 0"),
        (["--disc", "1,2"], "--disc is '1,2'; give 3 numbers"),
        (["--regions", "nowhere.png"], "nowhere.png"),
        (["--fov", "nowhere"], "nowhere does not exist"),
        (["--segments", "m.csv"], "one name"),
        (["--segments", "m.txt"], "must end in .csv"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(run, masks: Path, tmp_path: Path, monkeypatch, words, said) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("measure", masks, "-o", tmp_path / "m.csv", *words)
    assert outcome.code == 1
    assert said in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not (tmp_path / "m.csv").exists()


def test_an_image_of_another_size_is_refused(run, masks: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "i.tif", np.zeros((30, 40), np.uint8))
    outcome = run("measure", masks / "01_mask.png", "-o", tmp_path / "m.csv", "--image", tmp_path / "i.tif")
    assert "30 x 40 px and its mask 60 x 100 px" in outcome.err
