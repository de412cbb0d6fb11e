"""The images a new model is judged by: drawn once, by their content, a patient on one side, and never drawn again."""

from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np
import pytest

from napari_vessel.images import VesselMask
from napari_vessel.images.inputs import ImageInput
from napari_vessel.jobs import Progress, run_job
from napari_vessel.review import ImageState, Project
from napari_vessel.review.guard import Side, drawn, patient_of
from napari_vessel.review.samples import training_samples, what_to_learn

SHAPE = (20, 30)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Image_01L", "Image_01R"),
        ("P7_OD", "p7_OS"),
        ("12-left", "12-right"),
        ("left 12", "right 12"),
        ("P7_v1_L", "P7_v2_R"),
        ("sub-03_ses-01", "sub-03_ses-02"),
        ("visit_1_case9", "visit_2_case9"),
        ("P7_2019-03-02", "P7_2020-11-30"),
        ("1234_20190302_OD", "1234_20201130_OS"),
        ("OD", "OS"),
        ("eye_baseline", "eye_v2"),
        ("Dupont OD", "Dupont OG"),
        ("Müller_01 gauche", "Müller_01_droite"),
        ("Schmidt rechts", "Schmidt links"),
        ("Perez_OD", "Perez_OI"),
        ("López-dcha", "López-izda"),
        ("p3_ojo_derecho", "p3_ojo_izquierdo"),
        ("García_izq", "García_der"),
        ("12DX", "12SX"),
    ],
)
def test_the_marks_of_eye_and_visit_make_no_other_patient(first, second):
    assert patient_of(first) == patient_of(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("eye_1", "eye_2"),
        ("eye", "eye_2"),
        ("Image_01L", "Image_02L"),
        ("01_h", "01_g"),
        ("20190302_1", "20190303_1"),
        ("p001_OD", "p002_OD"),
        ("stack_p001", "stack_p002"),
        ("colour", "coloul"),
        ("fundus", "fundu"),
        ("Li_01", "Ra_01"),
        ("Ogden_1", "Linksen_1"),
        ("12345678", "12345679"),
    ],
)
def test_everything_else_does(first, second):
    assert patient_of(first) != patient_of(second)


def test_the_pages_of_a_file_are_of_one_patient():
    assert patient_of("stack_p001", 1) == patient_of("stack_p012", 12) == patient_of("stack")
    assert patient_of("L") == ""


def new(count: int, seed: int = 0, each: int = 1) -> dict[str, str]:
    luck = random.Random(seed)
    return {f"{luck.getrandbits(256):064x}": f"{seed} {n // each}" for n in range(count * each)}


def guards(sides: dict[str, Side]) -> set[str]:
    return {content for content, side in sides.items() if side.guard}


@pytest.mark.parametrize(
    ("count", "wanted"), [(0, 0), (1, 0), (2, 1), (3, 1), (5, 1), (7, 1), (8, 2), (10, 2), (100, 20)]
)
def test_a_fifth_are_guards_and_one_of_two(count, wanted):
    sides = drawn({}, new(count))
    assert len(guards(sides)) == wanted
    assert set(sides) == set(new(count))


@pytest.mark.parametrize("seed", range(5))
def test_one_by_one_it_is_as_near_a_fifth_too(seed):
    known: dict[str, Side] = {}
    done: dict[str, str] = {}
    for number, (content, patient) in enumerate(new(60, seed).items(), start=1):
        done[content] = patient
        known |= drawn(known, done)
        assert abs(len(guards(known)) - number / 5) <= 0.6 or number == 2


def test_neither_names_nor_their_order_decide():
    contents = list(new(12))
    first = drawn({}, {content: f"patient {n}" for n, content in enumerate(contents)})
    second = drawn({}, {content: f"other {n * 7}" for n, content in enumerate(reversed(contents))})
    assert guards(first) == guards(second)


def test_who_is_drawn_is_as_if_by_chance():
    often = sum(guards(drawn({}, new(10, seed))) == set(list(new(10, seed))[:2]) for seed in range(200))
    assert often < 20
    first = sum(next(iter(new(5, seed))) in guards(drawn({}, new(5, seed))) for seed in range(400))
    assert 50 < first < 110, "a fifth of 400"


def test_a_patient_is_never_on_both_sides():
    luck = random.Random(3)
    known: dict[str, Side] = {}
    done: dict[str, str] = {}
    for seed in range(30):
        done |= {f"{luck.getrandbits(256):064x}": f"p{luck.randrange(25)}" for _ in range(luck.randrange(1, 6))}
        before = dict(known)
        known |= drawn(known, done)
        assert {content: known[content] for content in before} == before, seed
        by_patient: dict[str, set[bool]] = {}
        for side in known.values():
            by_patient.setdefault(side.patient, set()).add(side.guard)
        assert all(len(sides) == 1 for sides in by_patient.values())
    assert 0 < len(guards(known)) < len(known) / 2


def test_a_patient_with_most_of_the_images_is_no_guard():
    contents = new(32)
    sides = drawn({}, {content: "many" if n < 30 else "few" for n, content in enumerate(contents)})
    assert len(guards(sides)) == 2
    assert guards(drawn({}, dict.fromkeys(contents, "one"))) == set()


def test_the_first_guard_is_drawn_when_there_is_a_second_patient():
    taught = {"a": Side("one", False), "b": Side("one", False)}
    assert drawn(taught, {"c": "one"}) == {"c": Side("one", False)}
    assert drawn(taught, {"c": "two"}) == {"c": Side("two", True)}
    assert drawn({"a": Side("one", True)}, {"c": "one", "a": "x"}) == {"c": Side("one", True)}


def test_what_was_learnt_from_before_it_was_done_makes_no_more_guards():
    taught = {content: Side(patient, False) for content, patient in new(40, seed=1).items()}
    assert len(guards(drawn(taught, new(5)))) == 1
    assert len(guards(drawn(taught, new(10)))) == 2
    # Done by now, they count.
    assert len(guards(drawn(taught, new(10) | new(40, seed=1)))) == 10


# In a project


def add(project: Project, folder: Path, names: list[str]) -> None:
    """Add images with an empty mask that was painted on, all of them done."""
    folder.mkdir(exist_ok=True)
    for name in names:
        pixels = np.random.default_rng(len(project.images()) + 100).integers(0, 255, SHAPE, dtype=np.uint8)
        cv2.imwrite(str(folder / f"{name}.png"), pixels)
        [record] = run_job(
            project.add([ImageInput(folder / f"{name}.png", None)], masks=VesselMask(np.eye(*SHAPE, dtype=np.uint8)))
        )
        project.set_state(record.id, ImageState.DONE)


def told(project: Project) -> dict[str, bool]:
    return {sample.content_hash: sample.guard for sample in run_job(training_samples(project))}


@pytest.fixture
def ten(tmp_path):
    with Project.create(tmp_path / "project") as project:
        add(project, tmp_path / "pictures", [f"eye{n}" for n in range(10)])
        yield project


def test_what_was_drawn_stays(ten, tmp_path):
    first = told(ten)
    assert sum(first.values()) == 2
    add(ten, tmp_path / "pictures", [f"more{n}" for n in range(6)])
    second = told(ten)
    assert sum(second.values()) == 3
    assert {content: second[content] for content in first} == first
    # Opened again, a file that has another name by now, a guard that is worked on again, and one that is removed.
    ten.close()
    (tmp_path / "pictures" / "eye0.png").rename(tmp_path / "pictures" / "other.png")
    with Project.open(ten.folder) as again:
        assert told(again) == second
        records = {record.content_hash: record for record in again.images()}
        reopened, removed = [content for content, guard in second.items() if guard][:2]
        again.set_state(records[reopened].id, ImageState.IN_REVIEW)
        again._database.rows("DELETE FROM images WHERE content_hash = ?", (removed,))
        third = told(again)
        assert third == {content: guard for content, guard in second.items() if content not in (reopened, removed)}
        again.set_state(records[reopened].id, ImageState.DONE)
        path = records[removed].path
        [back] = run_job(again.add([ImageInput(path, None)], masks=VesselMask(np.eye(*SHAPE, dtype=np.uint8))))
        again.set_state(back.id, ImageState.DONE)
        assert told(again) == second


def test_looking_draws_nothing(ten, tmp_path):
    assert what_to_learn(ten).guards == 2
    assert ten.guards.sides() == {}
    next(training_samples(ten))
    assert sum(side.guard for side in ten.guards.sides().values()) == 2


def test_the_order_of_finishing_decides_nothing(tmp_path):
    found = []
    for number, order in enumerate(([0, 1, 2, 3, 4, 5, 6, 7], [5, 2, 7, 0, 6, 1, 4, 3])):
        with Project.create(tmp_path / f"project{number}") as project:
            add(project, tmp_path / f"pictures{number}", [f"eye{n}" for n in range(8)])
            records = project.images()
            for record in records:
                project.set_state(record.id, ImageState.SEGMENTED)
            for n in order:
                project.set_state(records[n].id, ImageState.DONE)
                # The window looks after every image.
                what_to_learn(project)
            found.append(told(project))
    assert found[0] == found[1]
    assert sum(found[0].values()) == 2


def test_both_eyes_are_on_one_side(tmp_path):
    with Project.create(tmp_path / "project") as project:
        add(project, tmp_path / "pictures", [f"Image_{n:02d}{eye}" for n in range(1, 6) for eye in "LR"])
        samples = run_job(training_samples(project))
        assert sum(sample.guard for sample in samples) == 2
        assert len({sample.patient for sample in samples if sample.guard}) == 1


def test_what_was_learnt_from_before_it_was_done_is_never_a_guard(ten, tmp_path):
    records = ten.images()
    for record in records[1:]:
        ten.set_state(record.id, ImageState.SEGMENTED)
        session = ten.open_session(record.id)
        session.stroke(np.ones((2, 2), np.uint8), (0, 20))
    assert not any(told(ten).values())
    for record in records:
        ten.set_state(record.id, ImageState.DONE)
    assert not any(told(ten).values())
    add(ten, tmp_path / "pictures", ["another"])
    assert sum(told(ten).values()) == 1


def test_the_other_eye_of_a_guard_teaches_nothing_before_it_is_done(tmp_path):
    with Project.create(tmp_path / "project") as project:
        add(project, tmp_path / "pictures", [f"Image_{n:02d}L" for n in range(1, 6)])
        [guard] = [sample.name for sample in run_job(training_samples(project)) if sample.guard]
        add(project, tmp_path / "pictures", [guard[:-1] + "R"])
        other = project.images()[-1]
        session = project.open_session(other.id)
        session.stroke(np.ones((2, 2), np.uint8), (0, 20))
        assert other.content_hash not in told(project)
        assert what_to_learn(project).in_review == 0
        project.set_state(other.id, ImageState.DONE)
        assert told(project)[other.content_hash] is True


def test_an_image_that_the_project_called_anew_is_of_the_patient_that_its_file_names(tmp_path):
    with Project.create(tmp_path / "project") as project:
        add(project, tmp_path / "monday", [f"p{n:02d}_L" for n in range(1, 6)])
        add(project, tmp_path / "tuesday", [f"p{n:02d}_L" for n in range(1, 6)])
        assert {record.name for record in project.images()} > {"p01_L", "p01_L_2"}
        samples = run_job(training_samples(project))
        assert len(samples) == 10
        assert sum(sample.guard for sample in samples) == 2
        assert len({sample.patient for sample in samples if sample.guard}) == 1


@pytest.mark.parametrize("eyes", ["LR", "RL"])
def test_what_is_finished_while_samples_are_read_judges_nothing_that_its_patient_teaches(tmp_path, eyes):
    with Project.create(tmp_path / "project") as project:
        add(project, tmp_path / "pictures", [f"Image_01{eyes[0]}", f"Image_01{eyes[1]}", "Image_02L", "Image_03L"])
        left, right = sorted(project.images()[:2], key=lambda record: record.name)
        for record in (left, right, project.images()[3]):
            project.set_state(record.id, ImageState.IN_REVIEW)
        project.open_session(left.id).stroke(np.ones((2, 2), np.uint8), (0, 20))

        def finish(progress: Progress) -> None:
            if progress.message == f"Reading {right.name}":
                project.set_state(right.id, ImageState.DONE)
            if progress.message == "Reading Image_03L":
                project.set_state(project.images()[3].id, ImageState.DONE)

        samples = {sample.name: sample for sample in run_job(training_samples(project), finish)}
        assert [name for name, sample in samples.items() if sample.guard] == ["Image_03L"]
        assert samples["Image_01L"].patient == samples["Image_01R"].patient
        # As if it had been read as what it is.
        guard = samples["Image_03L"]
        assert guard.digest == guard.unpack().digest
        assert told(project) == {sample.content_hash: sample.guard for sample in samples.values()}


def test_an_image_that_became_a_guard_while_it_was_read_teaches_nothing(tmp_path):
    with Project.create(tmp_path / "project") as project:
        add(project, tmp_path / "pictures", ["one", "two"])
        record = project.images()[1]
        project.set_state(record.id, ImageState.IN_REVIEW)
        project.open_session(record.id).stroke(np.ones((2, 2), np.uint8), (0, 20))
        job = training_samples(project)
        while next(job).message != "Reading two":
            pass
        next(job)
        project.set_state(record.id, ImageState.DONE)
        assert told(project)[record.content_hash]
        assert [sample.name for sample in run_job(job)] == ["one"]
