"""The programs that our exports are for open them. Each test runs where its program is installed.

``pip install -e ".[interchange-test]"`` brings them all; ``pytest -m foreign tests/export`` runs these tests alone.
"""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest

from napari_vessel.export import ExportOptions, Ignore, Split, check_data, export_project, import_data
from napari_vessel.images import MaskClass, VesselImage, VesselMask
from napari_vessel.images.image import UNCERTAIN, Modality
from napari_vessel.jobs import run_job
from napari_vessel.review import ImageState, Project

pytestmark = [
    pytest.mark.foreign,
    pytest.mark.skipif(
        not any(find_spec(name) for name in ("nnunetv2", "monai", "pycocotools", "ome_zarr", "zarr")),
        reason="none of the programs is installed",
    ),
]

SHAPE = (40, 56)
CLASSES = (MaskClass(1, 10, "artery"), MaskClass(2, 20, "vein"), MaskClass(3, 30, UNCERTAIN))


@pytest.fixture
def project(tmp_path):
    """Eight finished colour images of six patients, with three classes, a field of view and a pixel size."""
    rng = np.random.default_rng(1)
    field = np.zeros(SHAPE, bool)
    field[2:-2, 4:-4] = True
    with Project.create(tmp_path / "project", "Eyes") as fresh:
        for name in ("p1_L", "p1_R", "p2_L", "p2_R", "p3", "p4", "p5", "p6"):
            pixels = rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8) / np.float32(255)
            labels = np.zeros(SHAPE, np.uint8)
            for row, label in ((5, 1), (15, 2), (25, 3)):
                labels[row : row + 3, rng.integers(3, 9) : 40] = label
                labels[row + 4, 12:50:7] = label
            image = VesselImage(pixels, fov=field, modality=Modality.FUNDUS, spacing=(3.5, 4.25), name=name)
            [record] = run_job(fresh.add([image], masks=VesselMask(labels, CLASSES)))
            fresh.set_state(record.id, ImageState.DONE)
        yield fresh


def export(project, tmp_path, layout, **options):
    return run_job(export_project(project, tmp_path / "out", layout, ExportOptions(licence="CC0", **options)))


def masks(project):
    return {record.name: project.read_mask(record.id).labels for record in project.images()}


def images(project):
    return {record.name: project.read_image(record.id).pixels for record in project.images()}


@pytest.mark.parametrize("split", [None, Split.parse("0.6,0.2,0.2"), Split.parse("3")])
@pytest.mark.parametrize("ignore", list(Ignore))
def test_nnunets_own_check_is_content(project, tmp_path, split, ignore):
    integrity = pytest.importorskip("nnunetv2.experiment_planning.verify_dataset_integrity")
    out = export(project, tmp_path, "nnunet", split=split, ignore=ignore)
    integrity.verify_dataset_integrity(str(out), num_processes=1)


def test_nnunets_trainer_takes_the_splits(project, tmp_path):
    utils = pytest.importorskip("nnunetv2.utilities.utils")
    out = export(project, tmp_path, "nnunet", split=Split.parse("3"))
    cases = set(utils.get_identifiers_from_splitted_dataset_folder(str(out / "imagesTr"), ".png"))
    folds = json.loads((out / "splits_final.json").read_text())
    assert len(folds) == 3
    for fold in folds:
        assert set(fold["train"]) | set(fold["val"]) == cases
        assert not set(fold["train"]) & set(fold["val"])
    assert sorted(case for fold in folds for case in fold["val"]) == sorted(cases)


def test_monai_reads_its_lists_and_their_files(project, tmp_path):
    data = pytest.importorskip("monai.data")
    transforms = pytest.importorskip("monai.transforms")
    out = export(project, tmp_path, "monai", split=Split.parse("0.5,0.25,0.25"))
    seen = []
    for key in ("training", "validation", "test"):
        items = data.load_decathlon_datalist(str(out / "datalist.json"), True, key)
        for item in items:
            item["weights"] = str(out / item["weights"])
            seen.append(item["label"])
        load = transforms.LoadImaged(keys=["image", "label", "weights"], image_only=True)
        for item in data.Dataset(items, load):
            # MONAI's reader of pictures puts x before y, in all of them alike.
            name = str(item["label"].meta["filename_or_obj"]).rsplit("/", 1)[-1].removesuffix(".png")
            label = np.asarray(item["label"]).T
            np.testing.assert_array_equal(label, masks(project)[name])
            np.testing.assert_array_equal(
                np.asarray(item["image"]).transpose(1, 0, 2), np.rint(images(project)[name] * 255)
            )
            inside = np.zeros(SHAPE, bool)
            inside[2:-2, 4:-4] = True
            np.testing.assert_array_equal(np.asarray(item["weights"]).T, inside & (label != 3))
    assert len(set(seen)) == 8


def test_monais_folds(project, tmp_path):
    utils = pytest.importorskip("monai.auto3dseg.utils")
    out = export(project, tmp_path, "monai", split=Split.parse("3"))
    counts = []
    for fold in range(3):
        train, validation = utils.datafold_read(str(out / "datalist.json"), str(out), fold)
        assert len(train) + len(validation) == 8
        counts.append(len(validation))
    assert sum(counts) == 8


def test_pycocotools_reads_the_components(project, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    label = pytest.importorskip("skimage.measure").label
    out = export(project, tmp_path, "coco")
    read = coco.COCO(str(out / "annotations" / "instances.json"))
    names = {one["id"]: one["name"] for one in read.loadCats(read.getCatIds())}
    assert names == {1: "artery", 2: "vein", 3: UNCERTAIN}
    for about in read.loadImgs(read.getImgIds()):
        truth = masks(project)[about["file_name"].removesuffix(".png")]
        drawn = np.zeros(SHAPE, np.uint8)
        count = 0
        for one in read.loadAnns(read.getAnnIds(about["id"])):
            mask = read.annToMask(one).astype(bool)
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert one["area"] == mask.sum()
            assert one["bbox"] == [columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1]
            if one["iscrowd"] and one["category_id"] != 3:
                np.testing.assert_array_equal(mask, truth == 3)
                continue
            drawn[mask] = one["category_id"]
            count += 1
        np.testing.assert_array_equal(drawn, truth)
        assert count == sum(label(truth == number, connectivity=2).max() for number in (1, 2, 3))
    # COCO's own evaluation finds an export to be its own perfect result.
    found = [
        {**{key: one[key] for key in ("image_id", "category_id", "segmentation")}, "score": 1.0}
        for one in read.loadAnns(read.getAnnIds(iscrowd=False))
    ]
    judged = cocoeval.COCOeval(read, read.loadRes(found), "segm")
    judged.params.maxDets = [100, 100, 100]
    judged.evaluate()
    judged.accumulate()
    # The 6 one-pixel components of a row are all found; nothing of the first two classes is missing.
    assert judged.eval["recall"][:, :2, 0, -1].min() == 1.0


def test_pycocotools_and_our_run_lengths_are_each_others(tmp_path):
    mask_api = pytest.importorskip("pycocotools.mask")
    from napari_vessel.export.rle import mask_runs, pack, runs_mask

    rng = np.random.default_rng(0)
    for _ in range(200):
        shape = tuple(int(side) for side in rng.integers(1, 60, 2))
        mask = rng.random(shape) < rng.choice([0, 0.02, 0.3, 0.9, 1])
        packed = pack(mask_runs(mask))
        theirs = mask_api.encode(np.asfortranarray(mask, np.uint8))["counts"]
        assert packed.encode() == theirs
        np.testing.assert_array_equal(runs_mask(theirs.decode(), shape), mask)


def test_ome_zarrs_reader_opens_image_and_labels(project, tmp_path):
    parse_url = pytest.importorskip("ome_zarr.io").parse_url
    reader = pytest.importorskip("ome_zarr.reader")
    out = export(project, tmp_path, "ome-zarr")
    for name, pixels in images(project).items():
        nodes = list(reader.Reader(parse_url(str(out / f"{name}.zarr")))())
        found = {node.metadata["name"]: node for node in nodes if node.data}
        image = found[name]
        np.testing.assert_array_equal(np.moveaxis(np.asarray(image.data[0]), 0, -1), np.rint(pixels * 255))
        scale = image.metadata["coordinateTransformations"][0][0]["scale"]
        assert scale == [1.0, 3.5, 4.25]
        np.testing.assert_array_equal(np.asarray(found["vessels"].data[0]), masks(project)[name])
        assert found.keys() == {name, "vessels", "weights", "fov"}


def test_ome_zarrs_models_find_the_metadata_valid(project, tmp_path):
    models = pytest.importorskip("ome_zarr_models.v04")
    zarr = pytest.importorskip("zarr", minversion="3")
    out = export(project, tmp_path, "ome-zarr")
    image = models.Image.from_zarr(zarr.open_group(str(out / "p1_L.zarr"), mode="r"))
    assert [axis.name for axis in image.ome_attributes.multiscales[0].axes] == ["c", "y", "x"]
    assert set(image.labels.attributes.labels) == {"vessels", "weights", "fov"}


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("compressor", ["none", "zstd", "blosc", "gzip"])
def test_what_the_zarr_library_writes_is_read(tmp_path, version, compressor):
    zarr = pytest.importorskip("zarr", minversion="3")
    numcodecs = pytest.importorskip("numcodecs")
    rng = np.random.default_rng(2)
    pixels, labels = rng.integers(0, 65536, (3, *SHAPE), dtype=np.uint16), rng.integers(0, 3, SHAPE, dtype=np.uint8)
    codecs = {
        "none": (None, None),
        "zstd": (numcodecs.Zstd(), zarr.codecs.ZstdCodec()),
        "blosc": (numcodecs.Blosc(), zarr.codecs.BloscCodec()),
        "gzip": (numcodecs.GZip(), zarr.codecs.GzipCodec()),
    }
    codec = codecs[compressor][version - 2]
    folder = tmp_path / "eye.zarr"
    group = zarr.open_group(str(folder), mode="w", zarr_format=version)
    inner = group.create_group("labels")
    vessels = inner.create_group("vessels")
    for where, values in ((group, pixels), (vessels, labels)):
        chunks = (*(1,) * (values.ndim - 2), 17, 23)
        array = where.create_array("0", shape=values.shape, chunks=chunks, dtype=values.dtype, compressors=codec)
        array[...] = values
        axes = [{"name": "c", "type": "channel"}][: values.ndim - 2]
        axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
        level = {
            "path": "0",
            "coordinateTransformations": [{"type": "scale", "scale": [*[1] * (values.ndim - 2), 2, 3]}],
        }
        about = {"multiscales": [{"axes": axes, "datasets": [level]}]}
        where.attrs.put(about if version == 2 else {"ome": {"version": "0.5", **about}})
    listed = {"labels": ["vessels"]}
    inner.attrs.put(listed if version == 2 else {"ome": listed})
    with Project.create(tmp_path / "back") as back:
        [record] = run_job(import_data(back, run_job(check_data(folder, modality=Modality.OTHER))))
        image = back.read_image(record.id)
        assert image.spacing == (2.0, 3.0)
        np.testing.assert_array_equal(image.pixels, np.moveaxis(pixels, 0, -1) / np.float32(65535))
        np.testing.assert_array_equal(back.read_mask(record.id).labels, labels)


def test_bioformats_like_readers_of_ome_tiff_find_pixels_and_pixel_size(project, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    out = export(project, tmp_path, "ome-tiff")
    for name, mask in masks(project).items():
        with tifffile.TiffFile(out / "labels" / f"{name}.ome.tif") as file:
            assert file.is_ome
            assert tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]["PhysicalSizeX"] == 4.25
            np.testing.assert_array_equal(file.asarray(), mask)
