"""Out of a project and back into another, in every layout: what comes back is what went out."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_vessel.completion.gap import Effect, Gap, GapEnd, GapKind
from napari_vessel.errors import Cancelled, InputError, VesselError
from napari_vessel.export import ExportOptions, Ignore, Split, check_data, check_project, export_project, import_data
from napari_vessel.export.chunks import read_array
from napari_vessel.export.layouts import LAYOUTS
from napari_vessel.images import MaskClass, VesselImage, VesselMask
from napari_vessel.images.image import Modality
from napari_vessel.images.inputs import ImageInput
from napari_vessel.images.masks import read_mask
from napari_vessel.jobs import CancelToken, run_job
from napari_vessel.review import ImageState, Project, Verdict
from napari_vessel.review.fragments import FragmentVerdict, find_fragments
from napari_vessel.review.origins import Origin

SHAPE = (30, 44)
EVERY = list(LAYOUTS)
ALL = tuple(ImageState)
COLOURS = (
    MaskClass(1, (255, 0, 0), "artery"),
    MaskClass(2, (0, 0, 255), "vein"),
    MaskClass(3, (255, 255, 255), "uncertain"),
)
CLASSES = {
    "vessel": (MaskClass(1, 255, "vessel"),),
    "odd": (MaskClass(1, 7, "vessel"), MaskClass(4, 700, "class 700")),
    "large": (MaskClass(1, 70_000, "class 70000"), MaskClass(2, 3, "vein")),
    "colours": (
        MaskClass(1, (255, 0, 0), "artery"),
        MaskClass(2, (0, 0, 255), "vein"),
        MaskClass(3, (255, 255, 255), "uncertain"),
    ),
}


def arrive(out, project, **options):
    return run_job(import_data(project, run_job(check_data(out, **options))))


def there_and_back(project, tmp_path, layout, states=ALL, **options):
    """Export a project, import what it wrote into a new one; return the folder and the new project, open."""
    options = ExportOptions(states=states, **options)
    out = run_job(export_project(project, tmp_path / "out", layout, options))
    back = Project.create(tmp_path / "back")
    arrive(out, back)
    return out, back


def drawn(rng, classes):
    """Random blobs of some classes, which touch and overlap."""
    labels = np.zeros(SHAPE, np.uint8)
    for _ in range(6):
        y, x = rng.integers(0, SHAPE[0] - 3), rng.integers(0, SHAPE[1] - 3)
        h, w = rng.integers(1, 9, 2)
        labels[y : y + h, x : x + w] = rng.choice([0, *(one.label for one in classes)])
    return labels


def pixels_of(rng, kind):
    colour = (*SHAPE, 3) if "colour" in kind else SHAPE
    if "float" in kind:
        return rng.random(colour, np.float32)
    deep = "16" in kind
    return rng.integers(0, 65536 if deep else 256, colour, dtype=np.uint16 if deep else np.uint8)


def same(first, second):
    """Check that two projects know the same of the same images."""
    theirs = {record.name: record for record in second.images()}
    assert sorted(theirs) == sorted(record.name for record in first.images())
    for ours in first.images():
        other = theirs[ours.name]
        for what in ("modality", "state", "flags", "comment", "shape"):
            assert getattr(ours, what) == getattr(other, what), what
        image, again = first.read_image(ours.id), second.read_image(other.id)
        np.testing.assert_array_equal(image.pixels, again.pixels)
        assert image.pixels.dtype == again.pixels.dtype
        assert image.spacing == again.spacing
        assert (image.fov is None) == (again.fov is None)
        if image.fov is not None:
            np.testing.assert_array_equal(image.fov, again.fov)
        mask, read = first.read_mask(ours.id), second.read_mask(other.id)
        np.testing.assert_array_equal(mask.labels, read.labels)
        assert mask.classes == read.classes
        assert first.has_mask(ours.id) == second.has_mask(other.id)


@pytest.mark.parametrize("layout", EVERY)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**31),
    colour=st.booleans(),
    kinds=st.lists(st.sampled_from(["8", "16", "float"]), min_size=1, max_size=2),
    classes=st.sampled_from(sorted(CLASSES)),
    state=st.sampled_from([ImageState.DONE, ImageState.IN_REVIEW, ImageState.SEGMENTED]),
    ignore=st.sampled_from(list(Ignore)),
)
def test_what_went_out_comes_back(tmp_path_factory, layout, seed, colour, kinds, classes, state, ignore):
    tmp_path = tmp_path_factory.mktemp("round")
    rng = np.random.default_rng(seed)
    with Project.create(tmp_path / "project") as project:
        for number, kind in enumerate(kinds):
            field = np.zeros(SHAPE, bool)
            field[3:-4, 5:-6] = True
            image = VesselImage(
                _scaled(pixels_of(rng, kind + (" colour" if colour else ""))),
                fov=field if rng.random() < 0.5 else None,
                modality=Modality(rng.choice(list(Modality))),
                spacing=(float(rng.random()) + 0.01, 7.25) if rng.random() < 0.5 else None,
                name=f"eye.{number} é",
            )
            mask = VesselMask(drawn(rng, CLASSES[classes]), CLASSES[classes])
            [record] = run_job(project.add([image], masks=mask))
            project.set_flags(record.id, ["ungradable"] if rng.random() < 0.5 else [])
            project.set_comment(record.id, 'so "so", \n и')
            project.set_state(record.id, state)
        _, back = there_and_back(project, tmp_path, layout, ignore=ignore)
        with back:
            same(project, back)


def _scaled(values):
    if values.dtype.kind == "f":
        return values
    return np.divide(values, np.float32(np.iinfo(values.dtype).max), dtype=np.float32)


@pytest.mark.parametrize("layout", EVERY)
def test_files_come_back(project, tmp_path, layout):
    """Images that are files: PNG, deep TIFF, a page of a stack, and one whose TIFF says how large a pixel is."""
    rng = np.random.default_rng(3)
    place = tmp_path / "in"
    place.mkdir()
    cv2.imwrite(str(place / "flat.png"), pixels_of(rng, "8"))
    cv2.imwrite(str(place / "deep.png"), pixels_of(rng, "16"))
    twelve = (pixels_of(rng, "16") >> 4).astype(np.uint16)
    twelve[0, 0] = 4095
    tifffile.imwrite(place / "twelve.tif", twelve)
    about = {"PhysicalSizeX": 1 / 3, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.7, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(place / "sized.ome.tif", pixels_of(rng, "16"), ome=True, metadata={"axes": "YX", **about})
    tifffile.imwrite(place / "stack.tif", rng.integers(0, 255, (2, *SHAPE), dtype=np.uint8), photometric="minisblack")
    inputs = [ImageInput(place / name) for name in ("flat.png", "deep.png", "twelve.tif", "sized.ome.tif")]
    inputs.append(ImageInput(place / "stack.tif", 1))
    for item in inputs:
        classes = CLASSES["odd"]
        run_job(project.add([item], masks=VesselMask(drawn(rng, classes), classes), modality=Modality.OCTA))
    _, back = there_and_back(project, tmp_path, layout)
    with back:
        same(project, back)


@pytest.mark.parametrize("layout", EVERY)
def test_accents_that_a_disk_wrote_apart_come_back(project, tmp_path, layout):
    """HFS+ and some archives decompose them."""
    rng = np.random.default_rng(0)
    files = [tmp_path / name for name in ("d\u00e9but.png", "fov.png")]
    for file, pixels in zip(
        files, (pixels_of(rng, "8"), np.uint8(255) * (np.eye(*SHAPE, dtype=np.uint8) == 0)), strict=True
    ):
        cv2.imwrite(str(file), pixels)
    mask = VesselMask(drawn(rng, CLASSES["odd"]), CLASSES["odd"])
    [record] = run_job(project.add([ImageInput(files[0])], masks=mask, fov=files[1]))
    project.set_state(record.id, ImageState.DONE)
    project.set_comment(record.id, "look here")
    out = run_job(export_project(project, tmp_path / "out", layout))
    for path in sorted(out.rglob("*"), reverse=True):
        path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))
    arrived = run_job(check_data(out))
    assert not arrived.notes
    with Project.create(tmp_path / "back") as back:
        run_job(import_data(back, arrived))
        same(project, back)
        assert [one.comment for one in back.images()] == ["look here"]


def gap(name, row, kind=GapKind.BRIDGE):
    path = np.stack([np.full(7, row, np.float32), np.arange(14, 21, dtype=np.float32)], 1)
    ends = (GapEnd(1, (row, 14.0), (0.0, 1.0), 1.0, True), GapEnd(2, (row, 20.0), (0.0, -1.0), 1.0, True))
    return Gap(name, kind, ends, path, np.full(7, 2, np.float32), 0.8, (), Effect(4, 3, 6.0, 9.0, 0))


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "project", "Study 7") as fresh:
        yield fresh


@pytest.fixture
def unsure(project):
    """An image with an unsure gap and an unsure fragment, done by one annotator."""
    return add_unsure(project)


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Give a fresh copy of an export of that image, in any layout."""
    made = {}
    place = tmp_path_factory.mktemp("exports")
    with Project.create(place / "project", "Study 7") as project:
        add_unsure(project)

        def copy(layout, where):
            if layout not in made:
                made[layout] = run_job(export_project(project, place / layout, layout))
            return shutil.copytree(made[layout], where / "out")

        yield copy


def add_unsure(project, fragment=True):
    labels = np.zeros(SHAPE, np.uint8)
    for row in (6, 16):
        labels[row - 1 : row + 2, 3:15] = labels[row - 1 : row + 2, 20:40] = 1
    labels[24:26, 5:9] = 1
    image = VesselImage(np.random.default_rng(0).integers(0, 255, SHAPE) / np.float32(255), name="eye")
    [record] = run_job(project.add([image], masks=VesselMask(labels)))
    session = project.open_session(record.id, "ann")
    session.set_gaps([gap("up", 6), gap("low", 16)])
    session.decide("up", Verdict.UNSURE)
    session.decide("low", Verdict.REJECTED)
    if fragment:
        found = {one.point: one for one in run_job(find_fragments(session.components.labels))}
        session.decide_fragment(found[24, 5], FragmentVerdict.UNSURE)
    project.set_state(record.id, ImageState.DONE)
    return record


@pytest.mark.parametrize("layout", EVERY)
def test_what_was_unsure_is_unsure_again(project, unsure, tmp_path, layout):
    _, back = there_and_back(project, tmp_path, layout)
    with back:
        same(project, back)
        [record] = back.images()
        before, after = (run_job(p.origins(r.id)).pixels for p, r in ((project, unsure), (back, record)))
        np.testing.assert_array_equal(before == Origin.UNSURE, after == Origin.UNSURE)
        assert (after == Origin.UNSURE).sum() > 8
        assert [verdict.annotator for _, verdict in back.verdicts(record.id)] == ["ann"]


def test_a_gap_that_is_unsure_stays_open_where_a_file_can_only_ignore_it(project, tmp_path):
    add_unsure(project, fragment=False)
    _, back = there_and_back(project, tmp_path, "nnunet")
    with back:
        same(project, back)


def test_what_is_unsure_has_no_weight_and_coco_passes_over_it(project, unsure, tmp_path):
    where = run_job(project.origins(unsure.id)).pixels == Origin.UNSURE
    out = run_job(export_project(project, tmp_path / "folder", "folder"))
    weights = cv2.imread(str(out / "weights" / "eye.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(weights, ~where)
    out = run_job(export_project(project, tmp_path / "ome-tiff", "ome-tiff"))
    np.testing.assert_array_equal(tifffile.imread(out / "weights" / "eye.ome.tif"), ~where)
    out = run_job(export_project(project, tmp_path / "ome-zarr", "ome-zarr"))
    np.testing.assert_array_equal(read_array(out / "eye.zarr" / "labels" / "weights" / "0", out), ~where)
    out = run_job(export_project(project, tmp_path / "coco", "coco"))
    about = json.loads((out / "annotations" / "instances.json").read_text())
    [crowd] = [one for one in about["annotations"] if one["iscrowd"]]
    assert crowd["area"] == where.sum()
    out = run_job(export_project(project, tmp_path / "none", "folder", ExportOptions(ignore=Ignore.NONE)))
    assert not (out / "weights").exists()


def test_what_nobody_reviewed_is_ignored_where_that_is_asked_for(project, unsure, tmp_path):
    project.set_state(unsure.id, ImageState.IN_REVIEW)
    origins = run_job(project.origins(unsure.id))
    options = ExportOptions(states=ALL, ignore=Ignore.UNREVIEWED)
    out = run_job(export_project(project, tmp_path / "raw", "nnunet", options))
    labels = cv2.imread(str(out / "labelsTr" / "eye.png"), cv2.IMREAD_UNCHANGED)
    # Far from the two gaps and the fragment nobody said anything.
    assert (labels[:, 38:] == 2).all()
    assert (labels == 2).sum() > 2 * (origins.pixels == Origin.UNSURE).sum()
    assert (labels[14:18, 15:20] == 0).any()


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("layout", EVERY)
def test_an_export_that_is_cancelled_or_fails_leaves_nothing(project, unsure, tmp_path, monkeypatch, layout):
    before = names(tmp_path)
    steps = []
    job = export_project(project, tmp_path / "sure", layout)
    run_job(job, steps.append)
    shutil.rmtree(tmp_path / "sure")
    for stop in range(len(steps)):
        token, seen = CancelToken(), []

        def count(progress, stop=stop, seen=seen, token=token):
            seen.append(progress)
            if len(seen) > stop:
                token.cancel()

        with pytest.raises(Cancelled):
            run_job(export_project(project, tmp_path / "out", layout), count, token)
        assert names(tmp_path) == before
    for number in range(1, 4):
        _fail_at(monkeypatch, number)
        with pytest.raises(InputError, match="No space left on device"):
            run_job(export_project(project, tmp_path / "out", layout))
        monkeypatch.undo()
        assert names(tmp_path) == before
        assert not (tmp_path / "out").exists()


def _fail_at(monkeypatch, number):
    """Let the disk be full when the manifest, or one of the files before it, is written."""
    import builtins
    from pathlib import Path

    written = []
    real_open, real_bytes = builtins.open, Path.write_bytes

    def full(*_):
        written.append(1)
        if len(written) >= number:
            raise OSError(28, "No space left on device")

    def write_bytes(self, data):
        full()
        return real_bytes(self, data)

    def write_text(self, data, **options):
        full()
        with real_open(self, "w", encoding="utf-8") as stream:
            return stream.write(data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    monkeypatch.setattr(Path, "write_text", write_text)
    real_write = tifffile.imwrite

    def imwrite(*arguments, **options):
        full()
        return real_write(*arguments, **options)

    monkeypatch.setattr(tifffile, "imwrite", imwrite)


@pytest.mark.parametrize("layout", EVERY)
def test_the_check_says_what_is_wrong_and_writes_nothing(project, unsure, tmp_path, layout):
    place = tmp_path / "in.png"
    cv2.imwrite(str(place), pixels_of(np.random.default_rng(9), "8"))
    [lost] = run_job(project.add([ImageInput(place)], masks=VesselMask(np.ones(SHAPE, np.uint8))))
    project.set_state(lost.id, ImageState.DONE)
    place.unlink()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    before = names(tmp_path)
    target = tmp_path / "full" if layout != "nnunet" else tmp_path
    notes = run_job(check_project(project, target, layout, ExportOptions(split=Split.parse("0.7,0.15,0.15"))))
    assert any("in.png of in has moved and was not found" in note for note in notes)
    assert any("not empty" in note for note in notes) == (layout != "nnunet")
    assert any("too few patients" in note for note in notes)
    assert names(tmp_path) == before


@pytest.mark.parametrize("layout", EVERY)
def test_a_second_import_adds_nothing(exports, tmp_path, layout):
    out = exports(layout, tmp_path)
    with Project.create(tmp_path / "back") as back:
        arrive(out, back)
        arrive(out, back)
        assert len(back.images()) == 1
        back.set_comment(back.images()[0].id, "mine by now")
        arrive(out, back)
        assert back.images()[0].comment == "mine by now"


def test_a_cancelled_import_leaves_the_project_as_it_was(exports, tmp_path):
    out = exports("ome-zarr", tmp_path)
    with Project.create(tmp_path / "back") as back:
        before = {name for name in names(back.folder) if "sqlite" not in name}
        arrived = run_job(check_data(out))
        for stop in (0, 1):
            token, seen = CancelToken(), []

            def count(progress, stop=stop, seen=seen, token=token):
                seen.append(progress)
                if len(seen) > stop:
                    token.cancel()

            with pytest.raises(Cancelled):
                run_job(import_data(back, arrived), count, token)
            assert back.images() == []
            assert {name for name in names(back.folder) if "sqlite" not in name} == before


def test_a_mask_that_was_edited_elsewhere_is_read_as_it_is_now(exports, tmp_path):
    out = exports("folder", tmp_path)
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:9, 4:9] = 255
    cv2.imwrite(str(out / "masks" / "eye.png"), mask)
    arrived = run_job(check_data(out))
    assert arrived.notes == ("masks/eye.png changed since the export; it is read as it is now.",)
    with Project.create(tmp_path / "back") as back:
        [record] = run_job(import_data(back, arrived))
        np.testing.assert_array_equal(back.read_mask(record.id).labels, mask // 255)


def test_a_compressed_mask_of_a_plain_folder_is_read_as_everywhere(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / "in" / name).mkdir(parents=True)
    labels = np.zeros((64, 64), np.uint8)
    cv2.line(labels, (3, 3), (60, 58), 255, 3)
    file = tmp_path / "in" / "masks" / "a.jpg"
    cv2.imwrite(str(file), labels, [cv2.IMWRITE_JPEG_QUALITY, 98])
    cv2.imwrite(str(tmp_path / "in" / "images" / "a.png"), labels // 2)
    with Project.create(tmp_path / "back") as back:
        [record] = arrive(tmp_path / "in", back)
        read = back.read_mask(record.id)
    np.testing.assert_array_equal(read.labels, read_mask(file).labels)
    assert read.classes == (MaskClass(1, 255, "vessel"),)


@pytest.mark.parametrize("stack", ["images", "labels"])
def test_of_a_stack_no_page_is_taken_for_the_whole(tmp_path, stack):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
        pages = np.zeros((3, *SHAPE) if name == stack else SHAPE, np.uint8)
        axes = {"axes": "ZYX"[-pages.ndim :]}
        tifffile.imwrite(tmp_path / name / "s.ome.tif", pages, photometric="minisblack", metadata=axes)
    with pytest.raises(InputError, match=rf"{stack}.*has 3 pages; save each page"):
        run_job(check_data(tmp_path))


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "C:/secret.png", "..\\secret.png", "link.png", ""])
@pytest.mark.parametrize("layout", ["monai", "coco", "manifest"])
def test_a_path_out_of_the_folder_is_refused(exports, tmp_path, layout, path):
    cv2.imwrite(str(tmp_path / "secret.png"), np.full(SHAPE, 3, np.uint8))
    out = exports("folder" if layout == "manifest" else layout, tmp_path)
    os.symlink(tmp_path / "secret.png", out / "link.png")
    if layout == "manifest":
        file = out / "manifest.json"
        about = json.loads(file.read_text())
        about["images"][0]["image"] = path
    else:
        (out / "manifest.json").unlink()
        file = out / ("datalist.json" if layout == "monai" else "annotations/instances.json")
        about = json.loads(file.read_text())
        if layout == "monai":
            about["training"][0]["image"] = path
        else:
            about["images"][0]["file_name"] = path
    file.write_text(json.dumps(about))
    with pytest.raises(InputError, match="names a file outside its folder"):
        run_job(check_data(out))


def test_a_name_that_is_too_long_for_any_disk_is_one_short_sentence(exports, tmp_path):
    out = exports("coco", tmp_path)
    (out / "manifest.json").unlink()
    _coco(lambda about: about["images"][0].update(file_name="x" * 200_000))(out)
    with pytest.raises(InputError, match="names a file that no disk can hold") as refused:
        run_job(check_data(out))
    assert len(str(refused.value)) < 1000


def test_a_link_out_of_the_folder_is_refused(exports, tmp_path):
    cv2.imwrite(str(tmp_path / "secret.png"), np.full(SHAPE, 3, np.uint8))
    out = exports("folder", tmp_path)
    os.symlink(tmp_path / "secret.png", out / "images" / "b.png")
    with pytest.raises(InputError, match="is a link to a file outside"):
        run_job(check_data(out))


def _manifest(change):
    def damage(out):
        file = out / "manifest.json"
        about = json.loads(file.read_text())
        change(about)
        file.write_text(json.dumps(about))

    return damage


def _written(name, text):
    return lambda out: (out / name).write_text(text)


DAMAGES = {
    "text": _written("manifest.json", "{"),
    "deep": _written("manifest.json", "[" * 100_000),
    "list": _written("manifest.json", "[]"),
    "newer": _manifest(lambda about: about.update(format=99)),
    "no images": _manifest(lambda about: about.pop("images")),
    "modality": _manifest(lambda about: about["images"][0].update(modality="sonar")),
    "spacing": _manifest(lambda about: about["images"][0].update(spacing_um=[0, float("inf")])),
    "classes": _manifest(lambda about: about["images"][0].update(classes=[{"name": "a", "value": -1}])),
    "gaps": _manifest(lambda about: about["images"][0].update(unsure={"gaps": [{}], "fragments": []})),
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_a_damaged_manifest_is_one_sentence(exports, tmp_path, damage):
    out = exports("folder", tmp_path)
    DAMAGES[damage](out)
    with pytest.raises(InputError, match=r"manifest\.json"):
        run_job(check_data(out))


def _zarray(**changes):
    def damage(out):
        file = out / "eye.zarr" / "0" / ".zarray"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return damage


ZARR = {
    "pickle": _zarray(filters=[{"id": "pickle"}]),
    "object": _zarray(dtype="|O"),
    "codec": _zarray(compressor={"id": "unheard-of"}),
    "huge": _zarray(shape=[10**7, 10**7]),
    "many": _zarray(chunks=[1, 1], shape=[4000, 4000]),
    "negative": _zarray(shape=[-3, 4]),
    "escape": _zarray(dimension_separator="/../../"),
    "short": lambda out: (out / "eye.zarr" / "0" / "0" / "0").write_bytes(b"x\x9c"),
    "axes": _written("eye.zarr/.zattrs", '{"multiscales": [{"axes": ["z"], "datasets": [{"path": "0"}]}]}'),
    "path": _written("eye.zarr/.zattrs", '{"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "../.."}]}]}'),
    "none": _written("eye.zarr/.zattrs", "{}"),
}


@pytest.mark.parametrize("damage", sorted(ZARR))
def test_a_hostile_zarr_is_one_sentence(exports, tmp_path, damage):
    out = exports("ome-zarr", tmp_path)
    ZARR[damage](out)
    with pytest.raises(InputError, match=r"eye\.zarr|\.\."):
        run_job(check_data(out))


def _coco(change):
    def damage(out):
        file = out / "annotations" / "instances.json"
        about = json.loads(file.read_text())
        change(about)
        file.write_text(json.dumps(about))

    return damage


COCO = {
    "runs too long": _coco(lambda a: a["annotations"][0]["segmentation"].update(counts=[0, 10**9])),
    "runs too short": _coco(lambda a: a["annotations"][0]["segmentation"].update(counts=[3])),
    "negative": _coco(lambda a: a["annotations"][0]["segmentation"].update(counts=[-5, 5 + SHAPE[0] * SHAPE[1]])),
    "letters": _coco(lambda a: a["annotations"][0]["segmentation"].update(counts="\0é")),
    "size": _coco(lambda a: a["annotations"][0]["segmentation"].update(size=[1, 2])),
    "nothing": _coco(lambda a: a["annotations"][0].pop("segmentation")),
    "category": _coco(lambda a: a["annotations"][0].update(category_id=99)),
    "no categories": _coco(lambda a: a.pop("categories")),
    "polygon": _coco(lambda a: a["annotations"][0].update(segmentation=[[1e300, 2, 3, 4, 5, 6]])),
}


@pytest.mark.parametrize("damage", sorted(COCO))
def test_a_damaged_file_of_coco_is_one_sentence(exports, tmp_path, damage):
    out = exports("coco", tmp_path)
    COCO[damage](out)
    with pytest.raises(InputError, match=r"instances\.json"):
        run_job(check_data(out))


def test_a_folder_that_is_no_data_set_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="none of the layouts"):
        run_job(check_data(tmp_path))
    with pytest.raises(VesselError, match="is no folder"):
        run_job(check_data(tmp_path / "nowhere"))
    (tmp_path / "Dataset001_Eyes").mkdir()
    (tmp_path / "Dataset001_Eyes" / "dataset.json").write_text("{}")
    with pytest.raises(InputError, match="such as Dataset001_Eyes in it"):
        run_job(check_data(tmp_path))


@pytest.mark.parametrize("layout", EVERY)
def test_names_that_some_disk_cannot_tell_apart_or_hold(project, tmp_path, layout):
    rng = np.random.default_rng(8)
    for name in ("café", "cafe\u0301", "CAFÉ", "aux.left", "con", "血" * 83, "p 1", "p_1", "a.ome"):
        cv2.imwrite(str(tmp_path / "eye.png"), pixels_of(rng, "8"))
        file = (tmp_path / f"{len(project.images())}").joinpath(f"{name}.png")
        file.parent.mkdir()
        (tmp_path / "eye.png").rename(file)
        run_job(project.add([ImageInput(file)], masks=VesselMask(drawn(rng, CLASSES["vessel"]))))
    found = [record.name for record in project.images()]
    assert found[:5] == ["café", "café_2", "CAFÉ_3", "image_aux.left", "image_con"]
    assert found[6:] == ["p_1", "p_1_2", "a.ome"]
    _, back = there_and_back(project, tmp_path, layout)
    with back:
        same(project, back)


@pytest.mark.parametrize("layout", EVERY)
def test_classes_with_names_that_a_layout_has_for_itself(project, tmp_path, layout, faults):
    classes = (MaskClass(1, 5, "background"), MaskClass(2, 6, "ignore"), MaskClass(3, 7, "vessel"))
    rng = np.random.default_rng(4)
    image = VesselImage(pixels_of(rng, "8") / np.float32(255), name="eye")
    run_job(project.add([image], masks=VesselMask(drawn(rng, classes), classes)))
    out, back = there_and_back(project, tmp_path, layout)
    with back:
        same(project, back)
    assert layout != "nnunet" or faults(out) == []


def test_two_images_with_the_same_pixels_are_told(project, tmp_path):
    values = pixels_of(np.random.default_rng(0), "8")
    for name in ("a.png", "b.tif"):
        cv2.imwrite(str(tmp_path / name), values)
        run_job(project.add([ImageInput(tmp_path / name)], masks=VesselMask(np.ones(SHAPE, np.uint8))))
    out = run_job(export_project(project, tmp_path / "out", "monai", ExportOptions(states=ALL)))
    assert run_job(check_data(out)).notes == ("b has the same pixels as a: only a comes in.",)


class TestFromOthers:
    """Data sets of the same form that other programs wrote: no manifest."""

    @pytest.fixture(autouse=True)
    def _values(self):
        rng = np.random.default_rng(5)
        self.pixels = rng.integers(0, 255, (*SHAPE, 3), dtype=np.uint8)
        self.labels = drawn(rng, (MaskClass(1, 1, "a"), MaskClass(2, 2, "b")))
        self.labels[2:4, 2:9] = 1
        self.labels[20:24, 20:29] = 2

    def read(self, out, tmp_path):
        with Project.create(tmp_path / "back") as back:
            [record] = arrive(out, back)
            mask = back.read_mask(record.id)
            values = {one.label: one.name for one in mask.classes}
            np.testing.assert_array_equal(back.read_image(record.id).pixels, self.pixels / np.float32(255))
            assert record.state is ImageState.SEGMENTED
            return mask.labels, values

    def test_nnunet(self, tmp_path):
        out = tmp_path / "Dataset001_Eyes"
        (out / "imagesTr").mkdir(parents=True)
        (out / "labelsTr").mkdir()
        cv2.imwrite(str(out / "imagesTr" / "eye_0000.png"), self.pixels[..., ::-1])
        cv2.imwrite(str(out / "labelsTr" / "eye.png"), self.labels)
        labels = {"background": 0, "artery": 1, "ignore": 2}
        about = {"labels": labels, "file_ending": ".png", "channel_names": {"0": "R", "1": "G", "2": "B"}}
        (out / "dataset.json").write_text(json.dumps(about))
        found, values = self.read(out, tmp_path)
        np.testing.assert_array_equal(found, self.labels)
        assert values == {1: "artery", 2: "uncertain"}

    def test_monai(self, tmp_path):
        out = tmp_path / "set"
        (out / "a").mkdir(parents=True)
        cv2.imwrite(str(out / "a" / "eye.png"), self.pixels[..., ::-1])
        cv2.imwrite(str(out / "a" / "eye_label.png"), self.labels)
        items = [{"image": "./a/eye.png", "label": "./a/eye_label.png"}]
        (out / "dataset.json").write_text(json.dumps({"labels": {"0": "x", "1": "one", "2": "two"}, "training": items}))
        found, values = self.read(out, tmp_path)
        np.testing.assert_array_equal(found, self.labels)
        assert values == {1: "one", 2: "two"}

    def test_classes_of_one_name_stay_two(self, tmp_path):
        out = tmp_path / "set"
        out.mkdir()
        cv2.imwrite(str(out / "eye.png"), self.pixels[..., ::-1])
        cv2.imwrite(str(out / "label.png"), self.labels)
        items = [{"image": "eye.png", "label": "label.png"}]
        (out / "dataset.json").write_text(json.dumps({"labels": {"1": "vessel", "2": "vessel"}, "training": items}))
        _, values = self.read(out, tmp_path)
        assert values == {1: "vessel 1", 2: "vessel 2"}

    def test_coco_with_polygons_and_plain_runs(self, tmp_path):
        out = tmp_path / "set"
        (out / "annotations").mkdir(parents=True)
        (out / "images").mkdir()
        cv2.imwrite(str(out / "images" / "eye.png"), self.pixels[..., ::-1])
        size = SHAPE[0] * SHAPE[1]
        runs = {"size": list(SHAPE), "counts": [SHAPE[0], SHAPE[0], size - 2 * SHAPE[0]]}
        about = {
            "images": [{"id": 5, "file_name": "eye.png", "height": SHAPE[0], "width": SHAPE[1]}],
            "categories": [{"id": 3, "name": "artery"}, {"id": 9, "name": "vein"}],
            "annotations": [
                {"id": 1, "image_id": 5, "category_id": 9, "segmentation": runs, "iscrowd": 0},
                {"id": 2, "image_id": 5, "category_id": 3, "segmentation": [[10, 10, 20, 10, 20, 15, 10, 15]]},
                {"id": 3, "image_id": 5, "category_id": 3, "segmentation": runs, "iscrowd": 1},
            ],
        }
        (out / "annotations" / "instances_train2017.json").write_text(json.dumps(about))
        found, values = self.read(out, tmp_path)
        assert values == {1: "artery", 2: "vein"}
        assert (found[:, 1] == 2).all()
        assert (found[10:15, 10:20] == 1).all()
        assert (found == 2).sum() == SHAPE[0]

    def test_ome_tiff(self, tmp_path):
        out = tmp_path / "set"
        for what, values in (("images", self.pixels), ("labels", self.labels)):
            (out / what).mkdir(parents=True)
            axes = "YXS" if values.ndim == 3 else "YX"
            photometric = "rgb" if values.ndim == 3 else "minisblack"
            tifffile.imwrite(
                out / what / "eye.ome.tif", values, ome=True, metadata={"axes": axes}, photometric=photometric
            )
        found, values = self.read(out, tmp_path)
        np.testing.assert_array_equal(found, self.labels)
        assert values == {1: "artery", 2: "vein"}

    def test_plain_folders(self, tmp_path):
        out = tmp_path / "set"
        (out / "images").mkdir(parents=True)
        (out / "masks").mkdir()
        cv2.imwrite(str(out / "images" / "eye.png"), self.pixels[..., ::-1])
        cv2.imwrite(str(out / "masks" / "eye_mask.png"), self.labels)
        found, _ = self.read(out, tmp_path)
        np.testing.assert_array_equal(found, self.labels)


def test_names_that_do_not_say_whose_an_image_is_are_told_with_a_split(project):
    rng = np.random.default_rng(2)
    for name in ("left", "right", "p07_L"):
        image = VesselImage(pixels_of(rng, "8") / np.float32(255), name=name)
        run_job(project.add([image], masks=VesselMask(np.ones(SHAPE, np.uint8))))
    options = ExportOptions(states=ALL, split=Split.parse("0.5,0.5"))
    notes = run_job(check_project(project, options=options))
    assert sum(note.startswith("left and 1 more: the name does not say whose") for note in notes) == 1
    assert not any("whose" in note for note in run_job(check_project(project, options=ExportOptions(states=ALL))))


def test_guards_are_told_and_not_trained_on(project, tmp_path):
    rng = np.random.default_rng(2)
    for number in range(6):
        image = VesselImage(pixels_of(rng, "8") / np.float32(255), name=f"p{number:03d}")
        [record] = run_job(project.add([image], masks=VesselMask(np.ones(SHAPE, np.uint8))))
        project.set_state(record.id, ImageState.DONE)
    sides = project.guards.draw(project.images())
    guards = {record.name for record in project.images() if sides[record.content_hash].guard}
    assert guards
    assert any("judge" in note and "leaves them out" in note for note in run_job(check_project(project)))
    options = ExportOptions(split=Split.parse("0.6,0.2,0.2"))
    assert any("they are for test" in note for note in run_job(check_project(project, options=options)))
    out = run_job(export_project(project, tmp_path / "raw", "nnunet", options))
    assert guards <= {path.name.removesuffix("_0000.png") for path in (out / "imagesTs").iterdir()}
    [fold] = json.loads((out / "splits_final.json").read_text())
    assert not guards & {*fold["train"], *fold["val"]}
    assert fold["val"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert {one["name"] for one in manifest["images"] if one["part"] == "test"} >= guards
