"""What an image of a project teaches, the digest of it, and what there is to learn from in all."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest

from napari_vessel.errors import ProjectError
from napari_vessel.images.image import MaskClass, Modality, VesselImage, VesselMask
from napari_vessel.images.inputs import ImageInput
from napari_vessel.jobs import run_job
from napari_vessel.review import ImageState, Project, Verdict
from napari_vessel.review.fragments import FragmentVerdict, find_fragments
from napari_vessel.review.origins import Origin, Origins
from napari_vessel.review.samples import counted, is_unreviewed, never_reviewed, training_samples, what_to_learn
from napari_vessel.review.training_sample import TrainingSample
from napari_vessel.training.finetuning.preparing import prepare_finetune
from napari_vessel.training.finetuning.settings import FineTune

SHAPE = (24, 32)


def sample(**changes: object) -> TrainingSample:
    vessels = np.zeros(SHAPE, bool)
    vessels[10:13] = True
    origin = np.full(SHAPE, Origin.MODEL, np.uint8)
    image = VesselImage(np.full(SHAPE, 0.5, np.float32), modality=Modality.FUNDUS, content_hash="a" * 64)
    made = TrainingSample(
        image_id="1",
        name="eye_1",
        content_hash="a" * 64,
        patient="eye_1",
        image=image,
        vessels=vessels,
        origin=origin,
        counts=np.ones(SHAPE, bool),
        done=True,
        guard=False,
        model="fundus-small",
        edits=3,
    )
    return replace(made, **changes)


def changed(array: np.ndarray, at: tuple[int, int], value: int) -> np.ndarray:
    copy = array.copy()
    copy[at] = value
    return copy


def test_the_digest_is_of_what_is_learnt_and_of_nothing_else():
    first = sample()
    assert len(first.digest) == 64
    assert sample(name="other", edits=9, image_id="2", model="").digest == first.digest
    different = [
        sample(vessels=changed(first.vessels, (0, 0), True)),
        sample(origin=changed(first.origin, (0, 0), Origin.BRUSH)),
        sample(counts=changed(first.counts, (0, 0), False)),
        sample(content_hash="b" * 64),
        sample(done=False),
        sample(guard=True),
        sample(image=replace(first.image, fov=np.ones(SHAPE, bool))),
        sample(image=replace(first.image, modality=Modality.OCTA)),
    ]
    assert len({first.digest, *(other.digest for other in different)}) == len(different) + 1


def test_who_decided_what_does_not_count_is_not_in_the_digest():
    counts = np.ones(SHAPE, bool)
    counts[0] = False
    first = sample(counts=counts)
    assert sample(counts=counts, origin=changed(first.origin, (0, 5), Origin.UNSURE)).digest == first.digest


def test_a_sample_does_not_change_and_has_one_shape():
    with pytest.raises(ValueError, match="read-only"):
        sample().vessels[0, 0] = True
    with pytest.raises(ValueError, match="belongs to no image"):
        sample(origin=np.zeros((3, 3), np.uint8))


# Of which pixels


def origins(labels: np.ndarray, pixels: np.ndarray, done: bool = False) -> Origins:
    return Origins(VesselMask(labels.astype(np.uint8)), pixels.astype(np.uint8), done, 1)


def test_of_a_finished_image_everything_counts_but_what_is_unsure_or_outside():
    labels, pixels = np.zeros((2, 60, 80), np.uint8)
    labels[20:24] = 1
    pixels[:] = Origin.MODEL
    pixels[40:50, 10:20] = Origin.UNSURE
    fov = np.ones(labels.shape, bool)
    fov[:, 70:] = False
    assert np.array_equal(counted(origins(labels, pixels, done=True), fov), (pixels != Origin.UNSURE) & fov)
    assert np.array_equal(counted(origins(labels, pixels, done=True), None), pixels != Origin.UNSURE)


@pytest.mark.parametrize("width", [1, 3, 5, 11])
def test_before_that_two_calibres_around_what_was_decided(width):
    labels, pixels = np.zeros((2, 120, 160), np.uint8)
    labels[60 - width // 2 : 61 + width // 2] = 1
    pixels[60 - width // 2 : 61 + width // 2, 78:83] = Origin.ACCEPTED
    counts = counted(origins(labels, pixels), None)
    reach = 2 * max(width, 2)
    along = np.flatnonzero(counts[60])
    assert abs(78 - along[0] - reach) <= 1
    assert abs(along[-1] - 82 - reach) <= 1
    above = np.flatnonzero(counts[:, 80])
    assert abs(60 - width // 2 - above[0] - reach) <= 1
    assert not counts[:, 0].any()


def test_each_decision_reaches_as_far_as_its_own_vessel_is_wide():
    labels, pixels = np.zeros((2, 120, 160), np.uint8)
    labels[20:22] = labels[80:93] = 1
    pixels[20:22, 40:45] = pixels[80:93, 120:125] = Origin.BRUSH
    counts = counted(origins(labels, pixels), None)
    assert 3 <= 40 - np.flatnonzero(counts[20])[0] <= 5
    assert 24 <= 120 - np.flatnonzero(counts[86])[0] <= 28


def test_what_was_erased_reaches_no_farther_than_a_vessel_would():
    labels, pixels = np.zeros((2, 120, 160), np.uint8)
    labels[5:8] = 1
    pixels[40:80, 60:100] = Origin.REJECTED
    counts = counted(origins(labels, pixels), None)
    assert counts[40:80, 60:100].all()
    assert 5 <= 60 - np.flatnonzero(counts[60])[0] <= 7
    # In a mask that is empty by now it is the least reach.
    counts = counted(origins(np.zeros_like(labels), pixels), None)
    assert 3 <= 60 - np.flatnonzero(counts[60])[0] <= 4


def test_what_decides_nothing_teaches_nothing():
    labels, pixels = np.zeros((2, 60, 80), np.uint8)
    labels[20:24] = 1
    assert not counted(origins(labels, pixels), None).any()
    pixels[30:34, 10:14] = Origin.UNSURE
    assert not counted(origins(labels, pixels), None).any()
    pixels[30:34, 14:18] = Origin.BRUSH
    counts = counted(origins(labels, pixels), None)
    assert counts[30:34, 14:18].all()
    assert not counts[30:34, 10:14].any()


# Of a project


def test_an_image_in_review_and_the_same_when_it_is_done(project, gaps):
    record = project.images()[0]
    assert run_job(training_samples(project)) == []
    session = project.open_session(record.id)
    session.set_gaps(gaps)
    session.decide("a", Verdict.UNSURE)
    session.decide("b", Verdict.SKIPPED)
    assert run_job(training_samples(project)) == []
    session.decide("a", Verdict.ACCEPTED)
    session.decide("c", Verdict.REJECTED)
    session.decide("d", Verdict.UNSURE)
    [part] = run_job(training_samples(project))
    assert (part.image_id, part.name, part.content_hash) == (record.id, "eye", record.content_hash)
    assert (part.done, part.guard, part.edits, part.patient) == (False, False, 5, "eye")
    digest, part = part.digest, part.unpack()
    assert part.digest == digest
    assert np.array_equal(part.vessels, session.labels > 0)
    assert np.array_equal(part.image.pixels, project.read_image(record.id).pixels)
    assert part.counts[11, 28]
    assert not part.counts[45, 70]
    assert not part.counts[part.origin == Origin.UNSURE].any()
    project.set_state(record.id, ImageState.DONE)
    [whole] = run_job(training_samples(project))
    whole = whole.unpack()
    assert whole.done
    assert np.array_equal(whole.counts, whole.origin != Origin.UNSURE)
    assert whole.digest != part.digest
    [again] = run_job(training_samples(project))
    assert again.digest == whole.digest


def test_what_is_left_out(project, tmp_path):
    record = project.images()[0]
    project.set_state(record.id, ImageState.DONE)
    bare = VesselImage(np.random.default_rng(1).random((20, 30), np.float32), content_hash="bare", name="bare")
    [without] = run_job(project.add([bare]))
    project.set_state(without.id, ImageState.DONE)
    assert [sample.name for sample in run_job(training_samples(project))] == ["eye"]
    assert what_to_learn(project).done == 1
    # Painted by hand it has a mask.
    project.open_session(without.id).stroke(np.ones((3, 3), np.uint8), (5, 5))
    assert [sample.name for sample in run_job(training_samples(project))] == ["eye", "bare"]
    project.set_flags(record.id, {"ungradable"})
    assert [sample.name for sample in run_job(training_samples(project))] == ["bare"]
    assert (what_to_learn(project).done, what_to_learn(project).in_review) == (0, 1)


def test_classes_are_vessels_but_the_one_that_is_uncertain(tmp_path):
    labels = np.zeros((30, 40), np.uint8)
    labels[5:8], labels[12:15], labels[20:23] = 1, 2, 3
    classes = (
        MaskClass(1, (255, 0, 0), "artery"),
        MaskClass(2, (0, 0, 255), "vein"),
        MaskClass(3, (255, 255, 255), "uncertain"),
    )
    fov = np.ones(labels.shape, bool)
    fov[:, :4] = False
    image = VesselImage(np.random.default_rng(2).random(labels.shape, np.float32), fov, content_hash="c", name="av")
    with Project.create(tmp_path / "classes") as project:
        [record] = run_job(project.add([image], masks=VesselMask(labels, classes)))
        project.set_state(record.id, ImageState.DONE)
        [found] = [one.unpack() for one in run_job(training_samples(project))]
    assert np.array_equal(found.vessels, np.isin(labels, (1, 2)))
    assert np.array_equal(found.counts, fov & (labels != 3))
    assert np.array_equal(found.image.fov, fov)


def test_a_file_that_is_gone_is_a_sentence(project, image_file):
    project.set_state(project.images()[0].id, ImageState.DONE)
    image_file.unlink()
    with pytest.raises(ProjectError, match="has moved and was not found"):
        run_job(training_samples(project))


def test_what_there_is_to_learn(project, gaps, tmp_path):
    record = project.images()[0]
    empty = what_to_learn(project)
    assert (empty.done, empty.in_review, empty.guards, empty.new, empty.strokes) == (0, 0, 0, 0, 0)
    assert set(empty.verdicts.values()) == {0}
    assert not empty.anything
    session = project.open_session(record.id)
    session.set_gaps(gaps)
    session.decide("a", Verdict.SKIPPED)
    assert not what_to_learn(project).anything
    session.decide("a", Verdict.ACCEPTED)
    session.decide("b", Verdict.REJECTED)
    session.decide("c", Verdict.REJECTED)
    session.decide("d", Verdict.UNSURE)
    session.stroke(np.ones((2, 2), np.uint8), (2, 2))
    session.stroke(np.ones((2, 2), np.uint8), (2, 70))
    session.undo()
    session.delete_component(2, 2)
    first, second = run_job(find_fragments(session.components.labels))[:2]
    session.decide_fragment(first, FragmentVerdict.DELETED)
    session.decide_fragment(second, FragmentVerdict.KEPT)
    found = what_to_learn(project)
    assert (found.done, found.in_review, found.guards, found.new) == (0, 1, 0, 0)
    assert found.verdicts == {"accepted": 1, "repainted": 0, "rejected": 2, "unsure": 1, "skipped": 0}
    assert (found.kept, found.deleted, found.strokes) == (1, 1, 2)
    assert found.anything
    project.set_state(record.id, ImageState.DONE)
    other = tmp_path / "pictures" / "other.png"
    other.write_bytes(record.path.read_bytes() + b"\0")
    mask = VesselMask(np.array(session.labels))
    [added] = run_job(project.add([ImageInput(other, None)], masks=mask))
    project.set_state(added.id, ImageState.DONE)
    found = what_to_learn(project)
    assert (found.done, found.in_review, found.guards, found.new) == (2, 0, 1, 1)
    assert sum(sample.guard for sample in run_job(training_samples(project))) == 1


def test_of_many_images_the_database_is_asked_once(project):
    asked: list[str] = []

    def add(count: int) -> None:
        for number in range(len(project.images()), count):
            pixels = np.random.default_rng(number).random((20, 30), np.float32)
            run_job(project.add([VesselImage(pixels, content_hash=f"h{number}", name=f"new{number}")]))

    def statements(act) -> list[str]:
        asked.clear()
        project._database._connection.set_trace_callback(asked.append)
        act()
        project._database._connection.set_trace_callback(None)
        return list(asked)

    add(3)
    acts = (lambda: never_reviewed(project), lambda: what_to_learn(project))
    few = [len(statements(act)) for act in acts]
    add(9)
    assert [len(statements(act)) for act in acts] == few
    one = project.images()[4]
    assert all(one.id in text for text in statements(lambda: is_unreviewed(project, one.id)))


def test_an_image_was_never_reviewed_while_all_it_has_is_from_a_model(project):
    (drawn,) = project.images()
    found = []
    for number in range(3):
        pixels = np.random.default_rng(number).random((20, 30), np.float32)
        [record] = run_job(project.add([VesselImage(pixels, content_hash=f"h{number}", name=f"new{number}")]))
        found.append(record.id)
    bare, segmented, painted = found
    project.open_session(segmented).set_segmentation(np.eye(20, 30, dtype=bool), "by a model")
    project.store_probability(segmented, np.zeros((20, 30), np.float32), {"model": "ridge"})
    project.open_session(painted).stroke(np.ones((3, 3), np.uint8), (5, 5))
    assert [record.id for record in never_reviewed(project)] == [bare, segmented]
    assert [is_unreviewed(project, one) for one in (drawn.id, *found)] == [False, True, True, False]
    assert never_reviewed(project, {Modality.OCTA}) == []


def test_of_many_images_one_is_in_memory_at_a_time(tmp_path, monkeypatch):
    """A project of hundreds of photographs would fill it: samples wait packed, and a run keeps one after the other."""
    shape, held, most = (300, 400), [], 0
    real = Project.read_image

    def read(project, image_id):
        nonlocal most
        image = real(project, image_id)
        held.append(weakref.ref(image.pixels))
        most = max(most, sum(one() is not None for one in held))
        return image

    monkeypatch.setattr(Project, "read_image", read)
    with Project.create(tmp_path / "many") as project:
        for seed in range(8):
            rng = np.random.default_rng(seed)
            image = VesselImage(rng.random(shape, np.float32), content_hash=f"{seed:064d}", name=f"p{seed}")
            mask = np.zeros(shape, np.uint8)
            mask[20 * seed + 5 : 20 * seed + 9] = 1
            [record] = run_job(project.add([image], masks=VesselMask(mask)))
            project.set_state(record.id, ImageState.DONE)
        del image
        samples = run_job(training_samples(project))
        assert len(samples) == 8
        assert sum(len(part) for one in samples for part in one.packed) < 8 * mask.size / 50
        assert sum(one() is not None for one in held) == 0
        settings = FineTune("better", "octa-small", 1, 1)
        run_job(prepare_finetune(samples, settings, tmp_path / "run"))
        assert len(held) == 16
    assert most <= 2
    assert len(list((tmp_path / "run" / "corrected" / "images").iterdir())) == 8
