"""What an annotator does while something is read or made on a thread: none of it is lost, and all of it counts."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from napari_vessel.gui import opening
from napari_vessel.gui.gaps import GapsWidget
from napari_vessel.gui.preferences import prefer
from napari_vessel.gui.workers import running_jobs
from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.jobs import Progress
from napari_vessel.review.edits import Verdict
from napari_vessel.review.records import ImageState

pytestmark = pytest.mark.gui


@pytest.fixture
def two(review, drawn, spin):
    """A workspace with two images of the same vessels, each with its gaps; the first is open."""
    image, mask = drawn
    first = review.record.id
    review.add_image(replace(image, content_hash="6" * 64), mask)
    spin()
    second = review.record.id
    review.open_image(first)
    spin()
    return review, first, second


@pytest.fixture
def unseen(review, drawn, spin):
    """The same with two images that have no mask yet, a large one and a small one, besides the open one."""
    image, _ = drawn
    large = VesselImage(np.tile(image.pixels, (4, 4, 1)), modality=Modality.OTHER, content_hash="8" * 64)
    small = replace(image, content_hash="7" * 64)
    found = [review.record.id]
    for one in (large, small):
        review.add_image(one)
        spin()
        found.append(review.record.id)
    review.open_image(found[0])
    spin()
    return review, *found


@pytest.fixture
def said(review):
    """Every warning and error."""
    heard = []
    review.message.connect(lambda text, level: heard.append(text) if level != "info" else None)
    return heard


def read_through():
    """Wait for the threads; what they have found comes with the next turn of the event loop."""
    for handle in running_jobs():
        assert handle.wait(30)


def test_an_image_closed_while_it_is_read_again_comes_back_with_what_was_done_since(two, said, spin):
    ws, first, _ = two
    ws.open_image(first)
    read_through()
    decided = ws.session.open_gaps[0].id
    ws.decide(Verdict.ACCEPTED)
    labels = ws.session.labels.copy()
    ws.close_image()
    spin()
    assert ws.record.id == first
    assert ws.session.state_of(decided) == Verdict.ACCEPTED
    assert np.array_equal(ws.session.labels, labels)
    ws.decide(Verdict.REJECTED)
    assert not said
    assert len(ws.session.verdicts) == 2


def test_an_image_that_is_opened_while_it_is_segmented_has_the_mask_and_can_be_edited(unseen, said, spin):
    ws, _, large, small = unseen
    ws.segment([large, small], model="ridge")
    ws.open_image(small)
    spin()
    assert ws.record.id == small
    assert ws.session.labels.any()
    assert np.array_equal(ws.session.labels, ws.project.read_mask(small).labels)
    assert ws.session.stroke(np.ones((3, 3), np.uint8), (0, 0)) is not None
    assert not said
    ws.undo()
    ws.undo()
    assert not ws.session.labels.any(), "it is a step that can be taken back"


def test_a_mask_that_comes_when_its_image_was_left_is_kept(unseen, spin):
    ws, first, _, small = unseen
    ws.open_image(small)
    spin()
    ws.segment(model="ridge")
    ws.open_image(first)
    spin()
    assert ws.record.id == first
    assert ws.project.read_mask(small).labels.any()
    assert ws.project.record(small).model == "ridge"


def test_a_mask_is_kept_when_its_image_is_left_while_it_comes_in(unseen, spin):
    ws, first, _, small = unseen
    ws.open_image(small)
    spin()
    ws.segment(model="ridge")
    read_through()
    ws.open_image(first)
    read_through()
    # Now the mask and the next image come in one turn of the event loop.
    spin()
    spin()
    assert ws.record.id == first
    assert ws.project.read_mask(small).labels.any()
    assert ws.project.record(small).state is ImageState.SEGMENTED


def test_an_image_that_gets_its_mask_just_after_it_was_opened_shows_it(unseen, said, spin, monkeypatch):
    ws, _, _, small = unseen
    set_unseen, opened = opening._set_unseen, threading.Event()

    def late(*arguments):
        assert opened.wait(30)
        return set_unseen(*arguments)

    monkeypatch.setattr(opening, "_set_unseen", late)
    ws.segment([small], model="ridge")
    while not ws.project.segmentation_info(small):
        time.sleep(0.005)
    ws.open_image(small)
    ws.image_opened.connect(opened.set)
    spin()
    assert ws.record.id == small
    assert ws.session.labels.any()
    assert np.array_equal(ws.session.labels, ws.project.read_mask(small).labels)
    assert ws.record.state is ImageState.SEGMENTED
    assert ws.session.stroke(np.ones((3, 3), np.uint8), (0, 0)) is not None
    assert not said


def test_what_is_painted_while_an_image_is_segmented_can_be_gone_back_to(unseen, said, spin):
    ws, _, large, small = unseen
    ws.open_image(small)
    spin()
    ws.segment([large, small], model="ridge")
    ws.session.stroke(np.ones((3, 3), np.uint8), (0, 0))
    painted = ws.session.labels.copy()
    spin()
    assert not np.array_equal(ws.session.labels, painted)
    ws.undo()
    assert np.array_equal(ws.session.labels, painted)
    assert not said


def test_another_annotator_goes_on_with_scores_of_their_own(two):
    ws, first, _ = two
    before = {gap.id: gap.score for gap in ws.session.gaps}
    ws.decide(Verdict.REJECTED)
    left = {gap.id: before[gap.id] for gap in ws.session.open_gaps}
    assert {gap.id: gap.score for gap in ws.session.open_gaps} != pytest.approx(left, abs=1e-6)
    prefer("annotator", "Ada")
    if ws.annotator != "Ada":
        pytest.skip("this napari tells nobody of a preference")
    assert {gap.id: gap.score for gap in ws.session.open_gaps} == pytest.approx(left, abs=1e-9)
    ws.decide(Verdict.ACCEPTED)
    assert "Ada" in ws.project.annotators(first)
    assert ws.project.record(first).annotator == "Ada"


def test_an_annotator_who_comes_while_an_image_is_read_is_written_into_it(two, spin):
    ws, _, second = two
    ws.open_image(second)
    prefer("annotator", "Ada")
    if ws.annotator != "Ada":
        pytest.skip("this napari tells nobody of a preference")
    spin()
    assert ws.record.id == second
    ws.decide(Verdict.REJECTED)
    assert [record.annotator for record in ws.session.verdicts.values()] == ["Ada"]
    assert ws.project.annotators(second) == ["Ada"]


def test_a_comment_that_is_being_typed_stays_with_its_image(two, qtbot, spin):
    ws, first, second = two
    widget = GapsWidget(ws.viewer)
    qtbot.addWidget(widget)
    ws.open_image(second)
    qtbot.keyClicks(widget.remarks.comment, "blurred")
    spin()
    assert ws.record.id == second
    assert widget.remarks.comment.text() == ""
    widget.remarks.comment.editingFinished.emit()
    assert {record.id: record.comment for record in ws.images()} == {first: "blurred", second: ""}


def test_a_view_that_is_being_made_is_made_of_the_next_image(two, spin):
    ws, _, second = two
    ws.open_image(second)
    read_through()
    ws.scene.views.show("contrast", True)
    spin()
    assert ws.record.id == second
    assert ws.scene.views.shown("contrast")


def test_a_view_that_is_being_made_is_made_of_new_data(two, spin):
    ws, first, _ = two
    ws.project.store_completion(first, np.full(ws.session.shape, 0.5, np.float32))
    ws.scene.views.show("completion", True)
    ws.completion_changed.emit()
    spin()
    assert ws.scene.views.shown("completion")


def test_done_twice_is_done_once(two, spin):
    ws, first, second = two
    ws.mark_done()
    ws.mark_done()
    spin()
    assert ws.project.record(first).state is ImageState.DONE
    assert ws.record.id == second


def test_next_twice_is_two_further(unseen, spin):
    ws, first, _, third = unseen
    assert ws.record.id == first
    ws.next_image()
    ws.next_image()
    spin()
    assert ws.record.id == third


def test_images_added_while_others_are_added_come_too(workspace, spin, tmp_path, drawn):
    image, _ = drawn
    workspace.open_project(tmp_path / "work")
    for n in range(3):
        workspace.add_image(replace(image, content_hash=str(n) * 64))
    spin()
    assert len(workspace.images()) == 3


def test_layers_and_files_taken_while_there_is_no_project_all_come(workspace, spin, tmp_path):
    ws = workspace
    pixels = np.random.default_rng(0).random((3, 60, 70), np.float32)
    Image.fromarray(np.round(pixels[2] * 255).astype(np.uint8)).save(tmp_path / "c.png")
    layers = [ws.viewer.add_image(pixels[n], name=name) for n, name in enumerate("ab")]
    for layer in layers:
        ws.add_layer(layer)
    ws.add_paths([tmp_path / "c.png"])
    spin()
    assert sorted(record.name for record in ws.images()) == ["a", "b", "c"]
    assert not any(layer.visible for layer in layers)


def test_what_waits_to_be_added_is_cancelled_too(workspace, spin, tmp_path, drawn):
    image, _ = drawn
    workspace.open_project(tmp_path / "work")
    for n in range(3):
        workspace.add_image(replace(image, content_hash=str(n) * 64))
    workspace.cancel()
    spin()
    assert len(workspace.images()) <= 1


@pytest.fixture
def folder(workspace, spin, tmp_path, drawn):
    """A project of three files, nothing segmented; the first is open."""
    pixels = np.round(drawn[0].pixels * 255).astype(np.uint8)
    files = []
    for n in range(3):
        files.append(tmp_path / "pictures" / f"image_{n}.png")
        files[-1].parent.mkdir(exist_ok=True)
        Image.fromarray(np.roll(pixels, n, axis=1)).save(files[-1])
    workspace.open_project(tmp_path / "work")
    workspace.add_paths(files)
    spin()
    return workspace, files


def test_one_file_that_is_gone_stops_none_of_the_others(folder, spin, tmp_path):
    ws, files = folder
    files[1].unlink()
    said = []
    ws.message.connect(lambda text, level: said.append((text, level)))
    ids = [record.id for record in ws.images()]
    ws.segment(ids, "ridge")
    spin()
    states = [record.state for record in ws.images()]
    assert states == [ImageState.SEGMENTED, ImageState.NEW, ImageState.SEGMENTED]
    assert ws.session.labels.any()
    assert ws.project.read_mask(ids[2]).labels.any()
    assert any("Segmented 2 images" in text and "image_1" in text and level == "warning" for text, level in said)


def test_a_cancelled_batch_keeps_what_it_has_and_says_so(folder, spin):
    ws, _ = folder
    said, told = [], []
    ws.message.connect(lambda text, level: said.append(text))
    ws.images_changed.connect(lambda: told.append([record.state for record in ws.images()]))
    ids = [record.id for record in ws.images()]
    ws.mask_changed.connect(ws.cancel)
    ws.segment(ids, "ridge")
    spin()
    assert ws.session.labels.any()
    states = [record.state for record in ws.images()]
    assert states[0] is ImageState.SEGMENTED
    if ImageState.NEW in states:
        assert any("images are segmented, the others are as they were" in text for text in said)
    assert told[-1] == states
    assert not any("nothing was changed" in text for text in said)


@pytest.fixture
def cancelled_search(monkeypatch):
    """Make looking for gaps on a thread last until the workspace in the list has cancelled."""
    workspaces = []

    def cancelled(*_):
        workspaces[0].segmenting._mail.hand_in(workspaces[0].cancel)
        while True:
            yield Progress(0, None, "Looking for gaps")
            time.sleep(0.005)

    monkeypatch.setattr(opening, "gaps_job", cancelled)
    return workspaces


@pytest.mark.parametrize(
    ("count", "words"),
    [(1, "the image is segmented, only the search"), (2, "1 of 2 images are segmented, the others are as they were")],
)
def test_a_mask_counts_when_the_search_after_it_is_cancelled(folder, spin, cancelled_search, count, words):
    ws, _ = folder
    said = []
    ws.message.connect(lambda text, level: said.append(text))
    ids = [record.id for record in ws.images()][1:]
    cancelled_search.append(ws)
    ws.segment(ids[:count], "ridge")
    spin()
    assert ws.project.has_mask(ids[0])
    assert [record.state for record in ws.images()] == [ImageState.NEW, ImageState.SEGMENTED, ImageState.NEW]
    assert any(words in text for text in said)


def test_no_mask_of_a_batch_is_lost_when_the_search_in_one_is_cancelled(folder, spin, cancelled_search):
    ws, _ = folder
    said = []
    ws.message.connect(lambda text, level: said.append(text))
    ids = [record.id for record in ws.images()]
    cancelled_search.append(ws)
    ws.close_image()
    mask = np.zeros(ws.images()[0].shape, bool)
    mask[20:23] = True
    for image_id in ids[1:]:
        # What a batch does with the mask of an image that is left by the time it is there.
        ws.segmenting._take(ws.project, image_id, (mask, "segmentation"), False)
    ws.cancel()
    spin()
    assert [ws.project.has_mask(image_id) for image_id in ids] == [False, True, True]
    assert not any("nothing was changed" in text for text in said)
    assert any("the new mask is kept" in text for text in said)
