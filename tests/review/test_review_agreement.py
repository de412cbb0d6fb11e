"""Two annotators' projects over the same images: agreement, and the disagreements as a queue."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from napari_vessel.completion.gap import Gap, GapKind
from napari_vessel.errors import InputError
from napari_vessel.images import MaskClass, VesselMask
from napari_vessel.images.inputs import ImageInput
from napari_vessel.jobs import run_job
from napari_vessel.review import Project, Verdict, VerdictRecord
from napari_vessel.review.agreement import (
    COLUMNS,
    check_output,
    compare_projects,
    kappa,
    write_agreement,
)
from napari_vessel.review.fragments import FragmentRecord, FragmentVerdict, find_fragments
from napari_vessel.review.pairs import match_fragments, match_gaps

A, R, U, P, S = Verdict.ACCEPTED, Verdict.REJECTED, Verdict.UNSURE, Verdict.REPAINTED, Verdict.SKIPPED


def record(verdict: Verdict, annotator: str = "ann") -> VerdictRecord:
    return VerdictRecord(verdict, annotator, "t", 1.0, 0.9)


def make_project(folder: Path, images: list[Path], broken: np.ndarray) -> Project:
    fresh = Project.create(folder)
    for path in images:
        mask = VesselMask(broken, (MaskClass(1, 255, "vessel"),), "0/255")
        run_job(fresh.add([ImageInput(path, None)], masks=mask))
    return fresh


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "eyes"
    folder.mkdir()
    paths = [folder / f"eye_{n}.png" for n in range(3)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 255, (50, 80), dtype=np.uint8))
    return paths


@pytest.fixture
def two(tmp_path: Path, files: list[Path], broken: np.ndarray) -> Iterator[tuple[Project, Project]]:
    """Ann has images 0 and 1; Bob has 0 and 1 under other names and in another order, and 2."""
    moved = tmp_path / "moved"
    moved.mkdir()
    for number, path in enumerate(files):
        (moved / f"other_{number}.png").write_bytes(path.read_bytes())
    theirs = [moved / f"other_{n}.png" for n in (2, 1, 0)]
    with (
        make_project(tmp_path / "ann", files[:2], broken) as ann,
        make_project(tmp_path / "bob", theirs, broken) as bob,
    ):
        yield ann, bob


def decide(project: Project, number: int, annotator: str, gaps: list[Gap], verdicts: dict[str, Verdict]) -> None:
    """Give verdicts on the image with `number` in its name."""
    image = next(image for image in project.images() if image.name.endswith(str(number)))
    session = project.open_session(image.id, annotator)
    session.set_gaps(gaps)
    for name, verdict in verdicts.items():
        session.decide(name, verdict, 1.0)


def test_images_are_matched_by_content_and_gaps_by_name(two, gaps: list[Gap]) -> None:
    ann, bob = two
    decide(ann, 0, "ann", gaps, {"a": A, "b": A, "c": R, "d": U})
    decide(bob, 0, "bob", gaps, {"a": A, "b": R, "c": R, "d": A})
    decide(ann, 1, "ann", gaps, {"a": A, "b": R})
    decide(bob, 1, "bob", gaps, {"a": R, "c": R})
    decide(bob, 2, "bob", gaps, {"a": R})

    found = run_job(compare_projects(ann, bob))

    assert [image.name for image in found.images] == ["eye_0", "eye_1"]
    assert found.unshared == (0, 1)
    assert found.annotators == (("ann",), ("bob",))
    first, second = found.images
    assert first.table.tolist() == [[1, 0], [1, 1]]
    assert second.table.tolist() == [[0, 0], [1, 0]]
    assert (second.only_first, second.only_second) == (1, 1)
    figures = found.figures
    assert figures["agreement"].value == pytest.approx(2 / 4)
    assert figures["kappa"].value == pytest.approx(0.2)
    assert figures["agreement"].low == 0.0
    assert figures["agreement"].high == pytest.approx(2 / 3)
    assert found.to_json()["gaps"] == {
        "both_join": 1,
        "both_leave": 1,
        "only_first_joins": 2,
        "only_second_joins": 0,
        "undecided_by_one_or_both": 1,
        "verdict_in_first_only": 1,
        "verdict_in_second_only": 1,
    }


def test_masks_are_compared_as_they_are_now(two, gaps: list[Gap]) -> None:
    ann, bob = two
    same = run_job(compare_projects(ann, bob)).images[0]
    assert (same.dice, same.cldice) == (1.0, 1.0)

    decide(ann, 0, "ann", gaps, {"a": A})
    changed, kept = run_job(compare_projects(ann, bob)).images
    assert changed.dice is not None
    assert 0.9 < changed.dice < 1.0
    assert changed.cldice is not None
    assert changed.cldice < 1.0
    assert kept.dice == 1.0


def test_an_image_without_a_mask_has_no_dice(tmp_path: Path, two, files: list[Path], broken) -> None:
    ann, _ = two
    with Project.create(tmp_path / "bare") as bare:
        run_job(bare.add([ImageInput(files[0], None), ImageInput(files[1], None)]))
        found = run_job(compare_projects(ann, bare))
    assert [image.dice for image in found.images] == [None, None]
    figures = found.figures
    assert {name: estimate.value for name, estimate in figures.items()} == dict.fromkeys(figures)


def test_the_queue_begins_with_contradictions_and_the_most_vessel_at_stake(two, gaps: list[Gap]) -> None:
    ann, bob = two
    small = replace(gaps[0], effect=replace(gaps[0].effect, connected_px=3.0))
    listed = [small, *gaps[1:]]
    decide(ann, 0, "ann", listed, {"a": A, "b": A, "c": U, "d": S})
    decide(bob, 0, "bob", listed, {"a": R, "b": R, "c": R, "d": U})

    queue = run_job(compare_projects(ann, bob)).disagreements

    assert [pair.gap.id for _, pair in queue] == ["b", "a", "c"]
    assert [pair.contradicts for _, pair in queue] == [True, True, False]


def test_gaps_found_at_slightly_other_places_are_one(make_gap) -> None:
    ann = [(make_gap(11, 24, 31, name="a"), record(A)), (make_gap(31, 24, 31, name="c"), record(R))]
    shifted = replace(make_gap(31, 25, 30, name="y"), ends=make_gap(31, 25, 30).ends[::-1])
    bob = [(shifted, record(P, "bob")), (make_gap(12, 23, 31, name="x"), record(A, "bob"))]

    pairs = match_gaps(ann, bob)

    assert [(pair.gap.id, pair.decided) for pair in pairs] == [("a", (True, True)), ("c", (False, True))]
    assert match_gaps(ann, [(make_gap(11, 34, 41, name="far"), record(A))]) == []
    assert len(match_gaps(ann, [(make_gap(11, 34, 41, name="far"), record(A))], tolerance=5.0)) == 1


def test_a_gap_is_matched_once_and_by_name_before_by_place(make_gap) -> None:
    ann = [(make_gap(11, name="a"), record(A)), (make_gap(12, name="near"), record(R))]
    bob = [(make_gap(12, name="a"), record(A))]
    assert [(pair.gap.id, pair.decided) for pair in match_gaps(ann, bob)] == [("a", (True, True))]


def test_a_cut_and_a_bridge_at_one_place_are_two_questions(make_gap) -> None:
    cut = replace(make_gap(11, name="cut"), kind=GapKind.CUT)
    assert match_gaps([(make_gap(11, name="a"), record(A))], [(cut, record(A))]) == []


@pytest.mark.parametrize(
    ("table", "value"),
    [([[20, 5], [10, 15]], 0.4), ([[10, 0], [0, 10]], 1.0), ([[5, 5], [5, 5]], 0.0), ([[0, 5], [5, 0]], -1.0)],
)
def test_kappa(table: list[list[int]], value: float) -> None:
    assert float(kappa(np.asarray(table))) == pytest.approx(value)


def test_kappa_is_not_defined_when_chance_alone_agrees() -> None:
    assert np.isnan(kappa(np.asarray([[0, 0], [0, 7]])))
    assert np.isnan(kappa(np.zeros((2, 2), int)))


def test_one_verdict_only_gives_no_kappa_and_no_warning(two, gaps: list[Gap], recwarn) -> None:
    ann, bob = two
    decide(ann, 0, "ann", gaps, {"a": A})
    decide(bob, 0, "bob", gaps, {"a": A})
    figures = run_job(compare_projects(ann, bob)).figures
    assert figures["kappa"].value is None
    assert figures["agreement"].value == 1.0
    assert figures["agreement"].low is None
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_projects_without_a_common_image_are_refused(tmp_path: Path, files, broken) -> None:
    with (
        make_project(tmp_path / "one", files[:1], broken) as one,
        make_project(tmp_path / "other", files[1:], broken) as other,
        pytest.raises(InputError, match="no image in common"),
    ):
        run_job(compare_projects(one, other))


def test_both_files_hold_the_queue(two, gaps: list[Gap], tmp_path: Path) -> None:
    ann, bob = two
    decide(ann, 0, "ann", gaps, {"a": A, "b": A})
    decide(bob, 0, "bob", gaps, {"a": R, "b": A})
    found = run_job(compare_projects(ann, bob))

    for name in ("out.csv", "out.json"):
        write_agreement(tmp_path / name, found)
        check_output(tmp_path / name)

    with (tmp_path / "out.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert tuple(row) == COLUMNS
    assert (row["image"], row["gap"], row["first"], row["second"]) == ("eye_0", "a", "accepted", "rejected")
    assert (row["first_annotator"], row["second_annotator"], row["y"]) == ("ann", "bob", "11.0")
    data = json.loads((tmp_path / "out.json").read_text())
    assert len(data["disagreements"]) == 1
    assert data["by_image"][0]["contradictions"] == 1


@pytest.mark.parametrize("name", ["mine.csv", "mine.json"])
def test_no_other_file_is_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("my thesis")
    with pytest.raises(InputError, match="no comparison"):
        check_output(tmp_path / name)


def fragments_of(project: Project, number: int):
    """Return a session on the image with `number` in its name, and its fragments by their first pixel."""
    image = next(image for image in project.images() if image.name.endswith(str(number)))
    session = project.open_session(image.id, "ann")
    return session, {one.point: one for one in run_job(find_fragments(session.components.labels))}


def test_fragments_are_compared_and_queued_with_the_gaps(two, gaps: list[Gap]) -> None:
    ann, bob = two
    kept, deleted, unsure = FragmentVerdict.KEPT, FragmentVerdict.DELETED, FragmentVerdict.UNSURE
    points = [(10, 31), (10, 56), (30, 5), (45, 5)]
    for project, verdicts in ((ann, (kept, deleted, deleted, kept)), (bob, (kept, kept, deleted, unsure))):
        session, found = fragments_of(project, 0)
        for point, verdict in zip(points, verdicts, strict=True):
            session.decide_fragment(found[point], verdict)
    decide(ann, 1, "ann", gaps, {"a": A})
    decide(bob, 1, "bob", gaps, {"a": R})

    found = run_job(compare_projects(ann, bob))

    assert found.images[0].fragment_table.tolist() == [[1, 1], [0, 1]]
    assert found.figures["fragment_agreement"].value == pytest.approx(2 / 3)
    assert found.figures["fragment_kappa"].value == pytest.approx(0.4)
    assert found.to_json()["fragments"]["undecided_by_one_or_both"] == 1
    assert [(row["image"], row["kind"], row["first"], row["second"]) for row in found.rows()] == [
        ("eye_1", "gap", "accepted", "rejected"),
        ("eye_0", "fragment", "deleted", "kept"),
        ("eye_0", "fragment", "kept", "unsure"),
    ]


def test_a_fragment_painted_on_since_is_no_longer_the_one_that_was_judged(two) -> None:
    ann, bob = two
    for project, verdict in ((ann, FragmentVerdict.KEPT), (bob, FragmentVerdict.DELETED)):
        session, found = fragments_of(project, 0)
        session.decide_fragment(found[45, 5], verdict)
    assert len(run_job(compare_projects(ann, bob)).disagreements) == 1
    session, _ = fragments_of(ann, 0)
    session.stroke(np.ones((1, 1), np.uint8), (47, 5))
    assert run_job(compare_projects(ann, bob)).disagreements == []


def test_a_fragment_is_matched_once_the_same_before_one_that_overlaps(two) -> None:
    _, found = fragments_of(two[0], 0)
    speck, piece = found[45, 5], found[30, 5]
    said = FragmentRecord(FragmentVerdict.KEPT, "ann", "t", 1.0)
    larger = replace(speck, area_px=6, box=(45, 5, 48, 7))
    pairs = match_fragments([(speck, said), (piece, said)], [(larger, said), (speck, said)])
    assert [pair.fragment for pair in pairs] == [speck]
    assert len(match_fragments([(speck, said)], [(larger, said)])) == 1
    assert match_fragments([(speck, said)], [(replace(larger, box=(45, 5, 50, 8)), said)]) == []
