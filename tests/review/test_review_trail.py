"""The history of a project over its images: where the next undo and redo are, in this run and the next."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_vessel.images import VesselImage, VesselMask
from napari_vessel.jobs import run_job
from napari_vessel.review import Project, ReviewSession, Verdict
from napari_vessel.review.edits import UNSEEN
from napari_vessel.review.trail import NEWEST


@pytest.fixture
def pair(tmp_path: Path, broken, gaps):
    """A project of the images ``a`` and ``b``, and a function that opens one with its gaps."""
    folder = tmp_path / "pair"
    with Project.create(folder) as project:
        for number in (1, 2):
            pixels = np.full(broken.shape, number / 10, np.float32)
            image = VesselImage(pixels, source=Path(f"{'_ab'[number]}.png"), content_hash=str(number) * 64)
            run_job(project.add([image], VesselMask(broken.copy())))
        ids = [record.id for record in project.images()]
        for image_id in ids:
            project.open_session(image_id).set_gaps(gaps)
    return folder, ids


def told(project: Project) -> tuple[tuple[str, str] | None, tuple[str, str] | None]:
    """Return image and text of the next undo and redo."""
    undo, redo = project.next_undo(), project.next_redo()
    return (None if undo is None else (undo.image, undo.text), None if redo is None else (redo.image, redo.text))


def opened(project: Project, image_id: str) -> ReviewSession:
    return project.open_session(image_id, "ann")


def test_edits_of_two_images_are_taken_back_in_the_order_they_were_made_and_after_a_restart(pair):
    folder, (a, b) = pair
    with Project.open(folder) as project:
        assert told(project) == (None, None)
        opened(project, a).decide("a", Verdict.ACCEPTED)
        opened(project, b).decide("b", Verdict.REJECTED)
        opened(project, a).decide("c", Verdict.UNSURE)
    seen = []
    for _ in range(3):
        # Each in a run of its own: nothing is remembered but what the database has.
        with Project.open(folder) as project:
            place = project.next_undo()
            seen.append((place.image, place.text))
            opened(project, place.image).undo()
    assert seen == [(a, "unsure gap 3"), (b, "rejected gap 2"), (a, "accepted gap 1")]
    with Project.open(folder) as project:
        assert told(project) == (None, (a, "accepted gap 1"))
    again = []
    for _ in range(3):
        with Project.open(folder) as project:
            place = project.next_redo()
            again.append((place.image, place.text))
            opened(project, place.image).redo()
    assert again == seen[::-1]
    with Project.open(folder) as project:
        assert told(project) == ((a, "unsure gap 3"), None)
        assert opened(project, b).state_of("b") == Verdict.REJECTED


def test_a_new_edit_in_another_image_ends_what_redo_would_do(pair):
    folder, (a, b) = pair
    with Project.open(folder) as project:
        first = opened(project, a)
        first.decide("a", Verdict.ACCEPTED)
        first.undo()
        assert told(project)[1] == (a, "accepted gap 1")
        opened(project, b).decide("b", Verdict.REJECTED)
        assert told(project) == ((b, "rejected gap 2"), None)
        # In its own image it can still be done again.
        assert first.redo_text == "accepted gap 1"


def test_a_threshold_and_a_new_mask_are_in_the_same_history(pair, broken):
    folder, (a, b) = pair
    with Project.open(folder) as project:
        opened(project, a).set_segmentation(np.zeros(broken.shape, bool), "threshold 0.40")
        opened(project, b).set_segmentation(np.ones(broken.shape, bool), "segmentation by ridge")
        opened(project, a).accept_above(0.9)
    with Project.open(folder) as project:
        assert told(project)[0] == (b, "segmentation by ridge")
        opened(project, b).undo()
        assert np.array_equal(project.read_mask(b).labels, broken)
        assert told(project) == ((a, "threshold 0.40"), (b, "segmentation by ridge"))
        opened(project, a).undo()
        assert np.array_equal(project.read_mask(a).labels, broken)


def test_masks_made_for_images_that_nobody_looked_at_are_passed_over(pair, broken):
    folder, (a, b) = pair
    with Project.open(folder) as project:
        here = opened(project, a)
        here.decide("a", Verdict.ACCEPTED)
        here.undo()
        there = opened(project, b)
        there.set_segmentation(np.ones(broken.shape, bool), "segmentation by ridge", UNSEEN)
        assert told(project) == (None, (a, "accepted gap 1"))
        here.redo()
        assert told(project)[0] == (a, "accepted gap 1")
        assert opened(project, b).undo_text == "segmentation by ridge"


def test_a_repaint_is_one_place_named_after_its_verdict(pair):
    folder, (a, _b) = pair
    with Project.open(folder) as project:
        session = opened(project, a)
        session.stroke(np.ones((3, 3), np.uint8), (10, 26), group="r")
        session.stroke(np.ones((3, 3), np.uint8), (10, 28), group="r")
        session.decide("a", Verdict.REPAINTED, group="r")
        assert told(project)[0] == (a, "repainted gap 1")
        session.undo()
        assert told(project) == (None, (a, "repainted gap 1"))
        opened(project, a).redo()
        assert told(project) == ((a, "repainted gap 1"), None)


def test_an_undo_that_cannot_be_written_leaves_the_list_as_it_was(pair):
    folder, (a, _b) = pair
    with Project.open(folder) as project:
        session = opened(project, a)
        session.decide("a", Verdict.ACCEPTED)
        opened(project, a).decide("b", Verdict.ACCEPTED)
        with pytest.raises(Exception, match="changed elsewhere"):
            session.undo()
        assert told(project) == ((a, "accepted gap 2"), None)


def test_a_damaged_list_forgets_only_where_to_go(pair):
    folder, (a, _b) = pair
    with Project.open(folder) as project:
        session = opened(project, a)
        session.decide("a", Verdict.ACCEPTED)
        session.undo()
        for value in ("{", "7", json.dumps(["nobody"])):
            with project._database.transaction() as connection:
                connection.execute("UPDATE meta SET value = ? WHERE key = 'undone'", (value,))
            assert project.next_redo() is None
        assert session.redo() is not None


def test_the_newest_edit_is_found_without_reading_them_all(pair):
    folder, _ = pair
    with Project.open(folder) as project:
        plan = project._database.rows(f"EXPLAIN QUERY PLAN {NEWEST}", (UNSEEN,))
        words = " ".join(str(row[3]) for row in plan)
        assert "SCAN e" in words
        assert "TEMP B-TREE" not in words
