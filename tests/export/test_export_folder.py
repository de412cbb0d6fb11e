from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from napari_vessel import __version__
from napari_vessel.completion.gap import Effect, Gap, GapEnd, GapKind
from napari_vessel.errors import Cancelled, InputError, ProjectError
from napari_vessel.export import ExportOptions, check_project, export_project
from napari_vessel.export.choice import Obstacle, check_export
from napari_vessel.export.target import building, check_target
from napari_vessel.images import MaskClass, VesselImage, VesselMask
from napari_vessel.images.inputs import ImageInput, find_inputs
from napari_vessel.jobs import CancelToken, run_job
from napari_vessel.review import ImageState, Project, Verdict
from napari_vessel.segmentation.registry import model_info

SHAPE = (30, 40)


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 255, SHAPE, dtype=np.uint8))
    return path


def gap(name: str, row: int) -> Gap:
    path = np.stack([np.full(7, row, np.float32), np.arange(14, 21, dtype=np.float32)], 1)
    ends = (GapEnd(1, (row, 14.0), (0.0, 1.0), 1.0, True), GapEnd(2, (row, 20.0), (0.0, -1.0), 1.0, True))
    return Gap(name, GapKind.BRIDGE, ends, path, np.full(7, 2, np.float32), 0.8, (), Effect(4, 3, 6.0, 9.0, 0))


@pytest.fixture
def project(tmp_path):
    """Image ``a`` is done with an accepted and a rejected gap, ``b`` in review with an open one, ``c`` is new."""
    labels = np.zeros(SHAPE, np.uint8)
    for row, label in ((8, 1), (20, 2)):
        labels[row - 1 : row + 2, 3:15] = label
        labels[row - 1 : row + 2, 20:38] = label
    classes = (MaskClass(1, 10, "artery"), MaskClass(2, 20, "vein"))
    with Project.create(tmp_path / "project", "Study 7") as fresh:
        ids = {}
        for n, name in enumerate("ab"):
            item = ImageInput(picture(tmp_path / "in" / f"{name}.png", n), None)
            [record] = run_job(fresh.add([item], masks=VesselMask(labels.copy(), classes, "as given")))
            ids[name] = record.id
            session = fresh.open_session(record.id, "ann")
            session.set_gaps([gap("up", 8), gap("low", 20)])
            session.decide("up", Verdict.ACCEPTED)
        run_job(fresh.add([ImageInput(picture(tmp_path / "in" / "c.png", 9), None)]))
        fresh.open_session(ids["a"], "bob").decide("low", Verdict.REJECTED)
        fresh.set_flags(ids["a"], ["second_reader"])
        fresh.set_comment(ids["a"], "good focus")
        fresh.set_state(ids["a"], ImageState.DONE)
        fresh.ids = ids
        yield fresh


def export_folder(project, out, **options):
    return export_project(project, out, "folder", ExportOptions(**options))


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_the_folder_has_what_was_curated(project, tmp_path):
    out = run_job(export_folder(project, tmp_path / "out", licence="CC BY 4.0, cite us"))
    assert out == (tmp_path / "out").resolve()
    assert names(out) == ["images/a.png", "manifest.json", "masks/a.png"]
    assert (out / "images" / "a.png").read_bytes() == (tmp_path / "in" / "a.png").read_bytes()
    mask = cv2.imread(str(out / "masks" / "a.png"), cv2.IMREAD_UNCHANGED)
    labels = project.read_mask(project.ids["a"]).labels
    assert np.array_equal(mask, labels * 10)
    assert np.unique(mask).tolist() == [0, 10, 20]
    assert mask[8, 17] == 10  # the accepted gap, an artery
    assert mask[20, 17] == 0


def test_the_manifest_says_where_everything_came_from(project, tmp_path):
    out = run_job(export_folder(project, tmp_path / "out", licence="CC BY 4.0"))
    text = (out / "manifest.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    manifest = json.loads(text)
    assert (manifest["program"], manifest["version"], manifest["project"]) == ("napari-vessel", __version__, "Study 7")
    assert (manifest["licence"], manifest["states"]) == ("CC BY 4.0", ["done"])
    assert datetime.fromisoformat(manifest["date"]).utcoffset() is not None
    assert manifest["counts"]["images"] == 1
    assert manifest["counts"]["verdicts"]["accepted"] == 1
    [entry] = manifest["images"]
    assert entry["image_sha256"] == sha(out / entry["image"]) == entry["source_hash"]
    assert entry["mask_sha256"] == sha(out / entry["mask"])
    assert entry["verdicts"] == {"accepted": 1, "repainted": 0, "rejected": 1, "unsure": 0, "skipped": 0}
    expected = {
        "name": "a",
        "source": "a.png",
        "plane": None,
        "shape": list(SHAPE),
        "state": "done",
        "flags": ["second_reader"],
        "comment": "good focus",
        "model": None,
        "threshold": None,
        "annotators": ["ann", "bob"],
        "open_gaps": 0,
        "b0": 3,
        "classes": [{"label": 1, "name": "artery", "value": 10}, {"label": 2, "name": "vein", "value": 20}],
    }
    assert {key: entry[key] for key in expected} == expected


def test_states_choose_the_images_and_images_without_a_mask_are_left_out(project, tmp_path):
    out = run_job(export_folder(project, tmp_path / "out", states=tuple(ImageState)))
    assert names(out / "masks") == ["a.png", "b.png"]


def test_nothing_to_export_is_a_sentence_and_writes_nothing(project, tmp_path):
    project.set_state(project.ids["a"], ImageState.IN_REVIEW)
    with pytest.raises(ProjectError, match="no image is done"):
        run_job(export_folder(project, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_no_gaps_are_told_of_images_in_which_nobody_has_looked(tmp_path):
    with Project.create(tmp_path / "work") as project:
        images = [VesselImage(np.full(SHAPE, n / 4, np.float32), name=f"eye_{n}") for n in (1, 2)]
        for image in images:
            run_job(project.add([image], VesselMask(np.eye(*SHAPE, dtype=np.uint8))))
        assert check_export(project, tuple(ImageState))[0] == "eye_1 and 1 more: gaps were never looked for."
        project.open_session(project.images()[0].id, "ann").set_gaps([])
        project.set_state(project.images()[0].id, ImageState.DONE)
        assert check_export(project, tuple(ImageState))[0] == "eye_2: gaps were never looked for."
        out = run_job(export_folder(project, tmp_path / "out", states=tuple(ImageState)))
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert [entry["open_gaps"] for entry in manifest["images"]] == [0, None]
    assert (manifest["counts"]["open_gaps"], manifest["counts"]["gaps_unknown"]) == (0, 1)


def test_problems_are_listed_before_anything_is_written(project, tmp_path):
    assert check_export(project) == ["2 of 3 images are left out: in another state."]
    everything = check_export(project, tuple(ImageState))
    assert everything == [
        "b: 1 gap is still open.",
        "c: it has no mask and is left out; segment it first.",
        "b: its review is not done.",
    ]
    project.set_flags(project.ids["a"], ["ungradable"])
    (tmp_path / "in" / "a.png").unlink()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    target, judged, others, file = run_job(check_project(project, tmp_path / "full"))
    assert "not empty" in target
    assert (judged, others[:6]) == ("a: it is flagged as ungradable.", "2 of 3")
    assert file.startswith("a: The image file")
    assert "a.png of a has moved and was not found" in file
    assert [isinstance(one, Obstacle) for one in (target, judged, others, file)] == [True, False, False, True]
    project.set_state(project.ids["a"], ImageState.IN_REVIEW)
    nothing = run_job(check_project(project))[0]
    assert nothing.startswith("There is nothing to export")
    assert isinstance(nothing, Obstacle)


def test_an_image_that_moved_nearby_is_no_problem(project, tmp_path):
    (tmp_path / "in" / "sorted").mkdir()
    (tmp_path / "in" / "a.png").rename(tmp_path / "in" / "sorted" / "eye.png")
    assert run_job(check_project(project)) == ["2 of 3 images are left out: in another state."]
    assert names(run_job(export_folder(project, tmp_path / "out")) / "images") == ["a.png"]


def test_an_empty_mask_is_a_problem(project):
    image_id = project.ids["a"]
    project.open_session(image_id).set_segmentation(np.zeros(SHAPE, bool), "nothing")
    project.set_state(image_id, ImageState.DONE)
    assert "a: its mask is empty." in run_job(check_project(project))


def test_a_damaged_mask_is_a_problem(project):
    (project.folder / "masks" / f"{project.ids['a']}.png").unlink()
    assert sum("missing or damaged" in problem for problem in run_job(check_project(project))) == 1


def test_a_full_folder_is_refused_and_untouched(project, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not empty and not an earlier export"):
        run_job(export_folder(project, out))
    assert names(out) == ["thesis.txt"]


def test_a_foreign_manifest_does_not_make_a_folder_ours(project, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text('{"kind": "something else", "images": []}')
    with pytest.raises(InputError, match="not an earlier export"):
        run_job(export_folder(project, out))


def test_a_file_in_the_way_is_refused(project, tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        run_job(export_folder(project, tmp_path / "out"))


def test_an_empty_folder_is_used(project, tmp_path):
    (tmp_path / "out").mkdir()
    run_job(export_folder(project, tmp_path / "out"))
    assert "manifest.json" in names(tmp_path / "out")


def test_an_earlier_export_is_replaced_completely(project, tmp_path):
    out = tmp_path / "out"
    run_job(export_folder(project, out, states=tuple(ImageState)))
    run_job(export_folder(project, out))
    assert names(out) == ["images/a.png", "manifest.json", "masks/a.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out", "project"]


def test_files_added_to_an_earlier_export_are_not_lost(project, tmp_path):
    out = tmp_path / "out"
    run_job(export_folder(project, out))
    (out / "masks" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"masks/notes\.txt"):
        run_job(export_folder(project, out))
    assert (out / "masks" / "notes.txt").read_text() == "mine"


def test_a_failed_export_leaves_the_earlier_one(project, tmp_path):
    out = tmp_path / "out"
    run_job(export_folder(project, out))
    before = {name: sha(out / name) for name in names(out)}
    (tmp_path / "in" / "b.png").unlink()
    with pytest.raises(ProjectError, match=r"b\.png of b has moved and was not found"):
        run_job(export_folder(project, out, states=tuple(ImageState)))
    assert {name: sha(out / name) for name in names(out)} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out", "project"]


def test_a_cancelled_export_leaves_nothing(project, tmp_path):
    token = CancelToken()
    with pytest.raises(Cancelled):
        run_job(
            export_folder(project, tmp_path / "out", states=tuple(ImageState)),
            lambda progress: token.cancel() if progress.done == 1 else None,
            token,
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "project"]


def test_a_changed_image_is_not_exported(project, tmp_path):
    picture(tmp_path / "in" / "a.png", 77)
    with pytest.raises(ProjectError, match="has changed since it was added"):
        run_job(export_folder(project, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_arrays_and_pages_are_written_as_tiff(project, tmp_path):
    pixels = np.random.default_rng(3).random((*SHAPE, 3), np.float32)
    ones = VesselMask(np.ones(SHAPE, np.uint8))
    [array] = run_job(project.add([VesselImage(pixels, content_hash="cd" * 32)], masks=ones))
    pages = np.random.default_rng(4).integers(0, 255, (2, *SHAPE), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "in" / "stack.tif", pages, photometric="minisblack")
    stack = run_job(project.add(find_inputs([tmp_path / "in" / "stack.tif"])))
    project.open_session(stack[1].id).set_segmentation(np.ones(SHAPE, bool), "all")
    for record in (array, stack[1]):
        project.set_state(record.id, ImageState.DONE)
    out = run_job(export_folder(project, tmp_path / "out"))
    assert np.array_equal(tifffile.imread(out / "images" / f"{array.name}.tif"), pixels)
    page = tifffile.imread(out / "images" / "stack_p001.tif")
    assert page.dtype == np.uint8
    assert np.array_equal(page, pages[1])
    entries = {entry["name"]: entry for entry in json.loads((out / "manifest.json").read_text())["images"]}
    assert entries[array.name]["source"] is None
    assert (entries["stack_p001"]["source"], entries["stack_p001"]["plane"]) == ("stack.tif", 1)
    assert cv2.imread(str(out / "masks" / "stack_p001.png"), cv2.IMREAD_UNCHANGED).min() == 255


def test_a_folder_that_cannot_be_made_is_a_sentence(project, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="Cannot export"):
        run_job(export_folder(project, tmp_path / "file" / "out"))


def ridge(project, threshold=0.35, model="ridge"):
    """Segment image ``a`` as the widgets do: the map first, then the mask as one edit."""
    project.store_probability(project.ids["a"], np.zeros(SHAPE, np.float32), {"model": model, "threshold": threshold})
    session = project.open_session(project.ids["a"], "ann")
    mask = np.zeros(SHAPE, bool)
    mask[10:20, 5:30] = True
    session.set_segmentation(mask, f"segmentation by {model}")
    return session


def exported(project, folder):
    project.set_state(project.ids["a"], ImageState.DONE)
    out = run_job(export_folder(project, folder))
    [entry] = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["images"]
    return entry["model"], entry["threshold"]


def test_the_manifest_names_the_model_that_made_the_mask(project, tmp_path):
    session = ridge(project)
    assert exported(project, tmp_path / "segmented") == ("ridge", 0.35)
    session.set_segmentation(np.eye(*SHAPE, dtype=bool), "threshold 0.60")
    assert exported(project, tmp_path / "threshold") == ("ridge", 0.6)


def test_the_manifest_has_the_models_version_and_the_hash_of_its_weights(project, tmp_path):
    known = model_info("fundus-small")
    info = {"model": known.name, "model_version": known.version, "threshold": 0.5}
    project.store_probability(project.ids["a"], np.zeros(SHAPE, np.float32), info)
    session = project.open_session(project.ids["a"], "ann")
    session.set_segmentation(np.eye(*SHAPE, dtype=bool), f"segmentation by {known.name}")
    project.set_state(project.ids["a"], ImageState.DONE)
    out = run_job(export_folder(project, tmp_path / "out"))
    [entry] = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["images"]
    assert entry["model_version"] == {"version": known.version, "number": None, "sha256": known.sha256}


def test_a_model_whose_mask_was_undone_is_not_named(project, tmp_path):
    session = ridge(project)
    session.undo()
    assert exported(project, tmp_path / "undone") == (None, None)
    session.redo()
    assert exported(project, tmp_path / "redone") == ("ridge", 0.35)


def test_a_mask_brought_after_a_model_ran_is_not_the_models(project, tmp_path):
    ridge(project).set_segmentation(np.eye(*SHAPE, dtype=bool), "mask from my labels")
    assert exported(project, tmp_path / "out") == (None, None)


def test_after_undoing_a_second_model_the_first_is_named(project, tmp_path):
    session = ridge(project)
    project.store_probability(project.ids["a"], np.zeros(SHAPE, np.float32), {"model": "other", "threshold": 0.5})
    session.set_segmentation(np.eye(*SHAPE, dtype=bool), "segmentation by other")
    session.undo()
    assert exported(project, tmp_path / "out") == ("ridge", None)


def test_another_projects_export_is_not_replaced(project, tmp_path):
    out = run_job(export_folder(project, tmp_path / "out"))
    before = {name: sha(out / name) for name in names(out)}
    with Project.create(tmp_path / "second", "Study 7") as second:
        ones = VesselMask(np.ones(SHAPE, np.uint8))
        item = ImageInput(picture(tmp_path / "in" / "a.png", 0), None)
        [record] = run_job(second.add([item], masks=ones))
        second.set_state(record.id, ImageState.DONE)
        with pytest.raises(InputError, match="export of another project"):
            run_job(export_folder(second, out))
    assert {name: sha(out / name) for name in names(out)} == before


@pytest.mark.parametrize("change", ["changed", "removed"])
def test_a_mask_touched_after_its_export_is_not_replaced(project, tmp_path, change):
    out = run_job(export_folder(project, tmp_path / "out"))
    if change == "changed":
        cv2.imwrite(str(out / "masks" / "a.png"), np.ones(SHAPE, np.uint8))
    else:
        (out / "masks" / "a.png").unlink()
    before = {name: sha(out / name) for name in names(out)}
    with pytest.raises(InputError, match=rf"masks/a\.png in .* was {change} after its export"):
        run_job(export_folder(project, out))
    assert {name: sha(out / name) for name in names(out)} == before


def test_a_done_image_that_never_had_a_mask_is_left_out(project, tmp_path):
    [c] = [record for record in project.images() if record.name == "c"]
    project.set_state(c.id, ImageState.DONE)
    assert "c: it has no mask and is left out; segment it first." in check_export(project)
    assert names(run_job(export_folder(project, tmp_path / "out")) / "masks") == ["a.png"]
    project.set_state(project.ids["a"], ImageState.IN_REVIEW)
    assert any("none of the images has a mask" in problem for problem in check_export(project))
    with pytest.raises(ProjectError, match="none of the images has a mask"):
        run_job(export_folder(project, tmp_path / "none"))


def test_an_image_whose_mask_was_emptied_is_exported(project, tmp_path):
    session = project.open_session(project.ids["a"])
    session.set_segmentation(np.zeros(SHAPE, bool), "nothing")
    project.set_state(project.ids["a"], ImageState.DONE)
    out = run_job(export_folder(project, tmp_path / "out"))
    assert not cv2.imread(str(out / "masks" / "a.png"), cv2.IMREAD_UNCHANGED).any()


def killed_over(out, step):
    """Let a process be killed while it builds an export to `out`."""
    child = os.fork()
    if child == 0:
        try:
            with building(out) as folder:
                (folder / "half.png").write_bytes(b"half")
                if step == "between its renames":
                    out.rename(folder.with_name("old"))
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="a process is forked and killed")
@pytest.mark.parametrize("step", ["while it writes", "between its renames"])
def test_what_a_killed_export_leaves_is_cleared_by_the_next(project, tmp_path, step):
    out = run_job(export_folder(project, tmp_path / "out"))
    before = {name: sha(out / name) for name in names(out)}
    killed_over(out, step)
    [left] = tmp_path.glob(".out.*")
    assert (left / "new" / "half.png").exists()
    assert out.exists() == (step == "while it writes")
    picture(tmp_path / "in" / "a.png", 77)
    with pytest.raises(ProjectError, match="has changed"):
        run_job(export_folder(project, out))
    assert {name: sha(out / name) for name in names(out)} == before
    killed_over(out, step)
    picture(tmp_path / "in" / "a.png", 0)
    run_job(export_folder(project, out))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out", "project"]


def test_an_export_that_somebody_is_at_is_told_and_left_alone(project, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with building(out) as theirs:
        (theirs / "half.png").write_bytes(b"half")
        notes = run_job(check_project(project, out))
        assert any(str(theirs.parent) in note and "is not finished" in note for note in notes)
        run_job(export_folder(project, out))
        assert (theirs / "half.png").exists()
    # On a network folder nobody knows whether a process of another computer lives.
    far = tmp_path / ".out.0123abcd.tmp"
    (far / "new").mkdir(parents=True)
    (far / "export.lock").write_text('{"process": 1, "host": "elsewhere.example"}')
    monkeypatch.setattr("napari_vessel.review.lock.is_local", lambda folder: False)
    assert any(str(far) in note for note in run_job(check_project(project, out)))
    run_job(export_folder(project, out))
    assert far.exists()
    monkeypatch.undo()
    run_job(export_folder(project, out))
    assert not far.exists()


def test_folders_made_for_an_export_that_failed_are_gone(project, tmp_path):
    (tmp_path / "in" / "a.png").unlink()
    with pytest.raises(ProjectError, match="has moved"):
        run_job(export_folder(project, tmp_path / "one" / "two" / "out"))
    assert not (tmp_path / "one").exists()


def test_what_file_managers_leave_is_nobodys_work_but_a_linked_folder_is(project, tmp_path):
    out = run_job(export_folder(project, tmp_path / "out"))
    for name in (".DS_Store", "images/._a.png", "images/Thumbs.db"):
        (out / name).write_bytes(b"x")
    run_job(export_folder(project, out))
    assert names(out) == ["images/a.png", "manifest.json", "masks/a.png"]
    (out / "masks" / "more").symlink_to(tmp_path / "in", target_is_directory=True)
    with pytest.raises(InputError, match="masks/more"):
        run_job(export_folder(project, out))


def test_a_folder_that_cannot_be_looked_into_is_not_taken_for_empty(project, tmp_path):
    out = tmp_path / "out"
    out.mkdir(mode=0)
    if os.access(out, os.R_OK):
        pytest.skip("nothing is closed to this user")
    for place in (out, out / "within"):
        with pytest.raises(InputError, match="cannot be looked into"):
            run_job(export_folder(project, place))
    out.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        run_job(export_folder(project, out / "within"))
    out.chmod(0o700)


def test_an_export_that_the_project_lives_on_is_not_replaced(project, tmp_path):
    out = run_job(export_folder(project, tmp_path / "out"))
    (tmp_path / "in" / "a.png").unlink()
    run_job(project.add([ImageInput(out / "images" / "a.png", None)]))
    with pytest.raises(InputError, match=r"has the image file a\.png of this project"):
        run_job(export_project(project, out, "monai"))
    run_job(export_project(project, tmp_path / "second", "monai"))


def test_a_disk_or_somebody_elses_home_is_no_folder_for_an_export(project):
    for disk in {Path("/").resolve(), *filter(os.path.ismount, [Path("/dev/shm")])}:
        with pytest.raises(InputError, match="is a whole disk"):
            run_job(export_folder(project, disk))
    with pytest.raises(InputError, match="a user whose folder is not known"):
        run_job(export_folder(project, "~nobody-of-this-name/out"))


@pytest.mark.parametrize("done", [True, False])
def test_work_on_an_image_during_its_export_is_not_lost_in_it(project, tmp_path, done):
    """An unsure gap would be ignored; but nobody knew that there would be any when the numbers were given out."""
    session = project.open_session(project.ids["a"], "ann")
    session.undo()
    project.set_state(project.ids["a"], ImageState.DONE)

    def work(progress):
        if progress.message == "Exporting a":
            session.decide("low", Verdict.UNSURE if done else Verdict.REJECTED)
            if done:
                project.set_state(project.ids["a"], ImageState.DONE)

    with pytest.raises(ProjectError, match="a was changed while it was exported"):
        run_job(export_project(project, tmp_path / "out", "nnunet"), work)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", '{"kind": []}', '{"kind": "napari-vessel folder export"}'])
def test_a_manifest_that_is_none_makes_no_export_of_a_folder(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="not an earlier export"):
        check_target(tmp_path, "id")
