from __future__ import annotations

import sqlite3
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from napari_vessel.completion.gap import GapKind
from napari_vessel.errors import InputError, ProjectError, VesselError
from napari_vessel.images import Modality
from napari_vessel.jobs import run_job
from napari_vessel.review import ImageState, Project, Verdict, open_project
from napari_vessel.review.schema import APPLICATION_ID, DATABASE_NAME, SCHEMA_VERSION


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def execute(folder: Path, sql: str) -> None:
    connection = sqlite3.connect(folder / DATABASE_NAME)
    connection.execute(sql)
    connection.commit()
    connection.close()


def test_a_new_project_is_a_database_of_ours(tmp_path):
    with Project.create(tmp_path / "deep" / "p", "My eyes") as project:
        assert (project.name, project.images(), project.last_image) == ("My eyes", [], None)
        assert project._database.rows("PRAGMA synchronous") == [(2,)]
        assert project._database.rows("PRAGMA journal_mode") == [("wal",)]
    connection = sqlite3.connect(tmp_path / "deep" / "p" / DATABASE_NAME)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()


def test_creating_where_a_project_is_refused(tmp_path):
    Project.create(tmp_path).close()
    before = contents(tmp_path)
    with pytest.raises(ProjectError, match="already has a project"):
        Project.create(tmp_path)
    assert contents(tmp_path) == before


def test_open_or_create_does_either(tmp_path):
    with pytest.raises(ProjectError):
        open_project(tmp_path / "p")
    assert not (tmp_path / "p").exists()
    with open_project(tmp_path / "p", create=True) as project:
        project._database.rows("INSERT INTO meta VALUES ('mark', 'x')")
    with open_project(tmp_path / "p") as project:
        assert project._meta("mark") == "x"


def test_a_file_in_the_way_is_a_sentence(tmp_path):
    (tmp_path / "p").write_text("a file")
    with pytest.raises(ProjectError, match="cannot be made"):
        Project.create(tmp_path / "p")


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        (None, b"", "not a napari-vessel project"),
        (DATABASE_NAME, b"", "damaged"),
        (DATABASE_NAME, b"just some text, long enough to fill a header" * 5, "damaged"),
    ],
)
def test_opening_something_else_writes_nothing(tmp_path, name, data, sentence):
    if name:
        (tmp_path / name).write_bytes(data)
    before = contents(tmp_path)
    with pytest.raises(ProjectError, match=sentence):
        Project.open(tmp_path)
    assert contents(tmp_path) == before


def test_a_folder_that_is_not_there_is_no_project(tmp_path):
    with pytest.raises(ProjectError, match="not a napari-vessel project"):
        Project.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_another_programs_database_is_left_alone(tmp_path):
    execute(tmp_path, "CREATE TABLE t (x)")
    before = contents(tmp_path)
    with pytest.raises(ProjectError, match="another program"):
        Project.open(tmp_path)
    assert contents(tmp_path) == before


def test_a_newer_project_is_refused_with_what_to_do(tmp_path):
    Project.create(tmp_path).close()
    execute(tmp_path, f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    before = contents(tmp_path)
    with pytest.raises(ProjectError, match="update napari-vessel"):
        Project.open(tmp_path)
    assert contents(tmp_path) == before


def test_a_damaged_database_is_refused_and_left_alone(project):
    project.close()
    path = project.folder / DATABASE_NAME
    data = bytearray(path.read_bytes())
    data[4096 : len(data)] = b"\x5a" * (len(data) - 4096)
    path.write_bytes(data)
    before = contents(project.folder)
    before.pop("project.lock")
    with pytest.raises(ProjectError, match="damaged"):
        Project.open(project.folder)
    after = contents(project.folder)
    after.pop("project.lock")
    assert after == before
    with pytest.raises(ProjectError, match="damaged"):  # and the lock was given back
        Project.open(project.folder)


def test_the_same_process_cannot_open_it_twice(project):
    with pytest.raises(ProjectError, match="already open in another window"):
        Project.open(project.folder)
    project.close()
    project.close()
    Project.open(project.folder).close()


def test_a_closed_project_says_so(project):
    project.close()
    with pytest.raises(ProjectError, match="is closed"):
        project.images()


def test_the_record_tells_what_there_is(project, image_file):
    [record] = project.images()
    assert project.record(record.id) == record
    assert (record.name, record.path, record.plane, record.shape) == ("eye", image_file.resolve(), None, (50, 80))
    assert (record.state, record.open_gaps, record.flags, record.comment, record.model) == (
        ImageState.SEGMENTED,
        0,
        frozenset(),
        "",
        "",
    )
    assert len(record.content_hash) == 64
    assert record.rule == "0/255"


def test_an_unknown_image_is_a_sentence(project):
    for call in (project.record, project.read_image, project.open_session, project.read_mask):
        with pytest.raises(ProjectError, match="no image nobody"):
            call("nobody")
    with pytest.raises(ProjectError, match="no image nobody"):
        project.set_state("nobody", ImageState.DONE)


def test_an_image_is_read_as_its_file_is(project, image_file):
    [record] = project.images()
    project.set_modality(record.id, Modality.OCTA)
    image = project.read_image(record.id)
    pixels = cv2.imread(str(image_file), cv2.IMREAD_UNCHANGED)
    assert np.allclose(image.pixels, pixels / np.float32(255))
    assert image.modality is Modality.OCTA
    assert image.content_hash == record.content_hash


def test_a_changed_image_is_refused(project, image_file):
    [record] = project.images()
    cv2.imwrite(str(image_file), np.zeros((50, 80), np.uint8) + np.arange(80, dtype=np.uint8))
    with pytest.raises(ProjectError, match="has changed since it was added"):
        project.read_image(record.id)


def test_states_go_forward_with_the_work(project):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ann")
    assert project.record(image_id).state is ImageState.SEGMENTED
    session.delete_component(45, 5)
    assert project.record(image_id).state is ImageState.IN_REVIEW
    project.set_state(image_id, ImageState.DONE)
    assert project.record(image_id).state is ImageState.DONE
    session.undo()  # what is changed after it was finished is not finished, and it came with a mask
    assert project.record(image_id).state is ImageState.IN_REVIEW
    assert project.record(image_id).annotator == "ann"


def test_a_first_segmentation_makes_a_new_image_segmented(project, tmp_path):
    from napari_vessel.images.inputs import ImageInput

    cv2.imwrite(str(tmp_path / "fresh.png"), np.arange(600, dtype=np.uint16).reshape(20, 30).astype(np.uint8))
    [record] = run_job(project.add([ImageInput(tmp_path / "fresh.png", None)]))
    assert record.state is ImageState.NEW
    session = project.open_session(record.id)
    session.set_segmentation(np.ones((20, 30), bool), "all")
    assert project.record(record.id).state is ImageState.SEGMENTED
    session.undo()
    assert project.record(record.id).state is ImageState.NEW, "there is no mask again"
    session.redo()
    assert project.record(record.id).state is ImageState.SEGMENTED
    session.delete_component(5, 5)
    for _ in range(2):
        session.undo()
    assert project.record(record.id).state is ImageState.NEW
    for state in (ImageState.SEGMENTED, ImageState.IN_REVIEW):
        session.redo()
        assert project.record(record.id).state is state


def test_flags_and_comment_are_there_at_once(project):
    image_id = project.images()[0].id
    session = project.open_session(image_id)
    session.flags = {"ungradable"}
    session.comment = "a lash, lower left"
    assert project.record(image_id).flags == {"ungradable"}
    assert project.record(image_id).comment == "a lash, lower left"
    project.set_flags(image_id, ["second_reader"])
    project.set_comment(image_id, "")
    again = project.open_session(image_id)
    assert (again.flags, again.comment) == ({"second_reader"}, "")
    with pytest.raises(VesselError, match="'nice' is not a flag"):
        session.flags = {"nice"}
    assert session.flags == {"ungradable"}


def test_everything_is_there_after_reopening(project, gaps):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ann")
    session.set_gaps(gaps)
    session.decide("a", Verdict.ACCEPTED, 1.25)
    session.decide("b", Verdict.REJECTED, 0.5)
    session.stroke(np.ones((2, 2), np.uint8), (20, 20))
    session.undo()
    project.close()
    with Project.open(project.folder) as reopened:
        assert reopened.last_image == image_id
        assert reopened.record(image_id).open_gaps == 2
        again = reopened.open_session(image_id, "bob")
        assert np.array_equal(again.labels, session.labels)
        assert dict(again.verdicts) == dict(session.verdicts)
        assert [gap.to_json() for gap in again.gaps] == [gap.to_json() for gap in session.gaps]
        assert (again.undo_text, again.redo_text) == ("rejected gap 2", "brush stroke")
        again.redo()
        assert again.labels[20, 20] == 1
        assert [again.undo() is not None for _ in range(4)] == [True, True, True, False]
        assert np.array_equal(again.labels, project_base(reopened, image_id))
        assert reopened.annotators(image_id) == ["ann"]


def test_what_a_completion_network_drew_is_decided_and_kept_like_a_bridge(project, gaps, broken):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ann")
    session.set_gaps([replace(gap, kind=GapKind.VIG, completion=0.93) for gap in gaps])
    session.decide("c", Verdict.ACCEPTED)
    session.accept_above(0.9)
    assert (session.labels > 0)[31, 24:32].all()
    assert (session.labels > 0)[11, 24:32].all()
    project.close()
    with Project.open(project.folder) as reopened:
        again = reopened.open_session(image_id, "bob")
        assert {(gap.kind, gap.completion) for gap in again.gaps} == {(GapKind.VIG, 0.93)}
        assert {name for name, record in again.verdicts.items() if record.verdict is Verdict.ACCEPTED} == {"a", "c"}
        again.undo()
        again.undo()
        assert np.array_equal(again.labels, broken)


def project_base(project, image_id):
    return cv2.imread(str(project.folder / "masks" / f"{image_id}.png"), cv2.IMREAD_UNCHANGED)


def test_verdicts_can_be_read_without_a_session(project, gaps):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ann")
    session.set_gaps(gaps)
    session.accept_above(0.8)
    session.decide("a", Verdict.UNSURE)
    found = {gap.id: record.verdict for gap, record in project.verdicts(image_id)}
    assert found == {"a": Verdict.UNSURE, "b": Verdict.ACCEPTED}
    assert project.status()["verdicts"] == {
        "accepted": 1,
        "repainted": 0,
        "rejected": 0,
        "unsure": 1,
        "skipped": 0,
    }


def test_status_counts(project, gaps):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ann")
    session.set_gaps(gaps)
    session.decide("d", Verdict.SKIPPED)
    session.flags = {"second_reader"}
    status = project.status()
    assert status["images"] == 1
    assert status["states"] == {"new": 0, "segmented": 0, "in_review": 1, "done": 0}
    assert status["open_gaps"] == 3
    assert status["flags"] == {"second_reader": 1}
    assert status["annotators"] == ["ann"]


def test_a_missing_first_mask_is_named(project):
    image_id = project.images()[0].id
    (project.folder / "masks" / f"{image_id}.png").unlink()
    with pytest.raises(ProjectError, match=rf"{image_id}\.png of eye is missing or damaged"):
        project.open_session(image_id)


def test_a_hole_in_the_history_is_found(project):
    image_id = project.images()[0].id
    session = project.open_session(image_id)
    for x in (10, 20, 30):
        session.stroke(np.ones((2, 2), np.uint8), (20, x))
    project._database.rows("DELETE FROM edits WHERE seq = 2")
    with pytest.raises(ProjectError, match="edit 2 is missing"):
        project.open_session(image_id)


def test_probability_comes_back_exactly(project):
    image_id = project.images()[0].id
    assert project.probability(image_id) is None
    assert project.segmentation_info(image_id) == {}
    probability = np.random.default_rng(0).random((50, 80), np.float32)
    project.store_probability(image_id, probability, {"model": "ridge", "threshold": 0.4})
    found = project.probability(image_id)
    assert found.dtype == np.float32
    assert np.array_equal(found, probability)
    assert project.record(image_id).model == "ridge"
    assert project.segmentation_info(image_id)["threshold"] == 0.4
    with pytest.raises(InputError, match="shape"):
        project.store_probability(image_id, probability[:3])


def test_a_damaged_probability_is_a_sentence(project):
    image_id = project.images()[0].id
    project.store_probability(image_id, np.zeros((50, 80), np.float32))
    (path,) = (project.folder / "probability").iterdir()
    path.write_bytes(b"II*\0garbage")
    with pytest.raises(ProjectError, match=rf"probability/{path.name} (does not fit|is missing or damaged)"):
        project.probability(image_id)


@pytest.mark.parametrize(
    ("sql", "call"),
    [
        ("UPDATE images SET path = '../../../etc/passwd'", "record"),
        ("UPDATE images SET fov = '../fov.png'", "record"),
        ("UPDATE images SET base = '../secret.png'", "open_session"),
        ("UPDATE images SET base = '/etc/passwd'", "open_session"),
        ("UPDATE segmentations SET path = '../p.tif'", "probability"),
    ],
)
def test_names_in_the_database_cannot_lead_out_of_the_project(project, sql, call):
    image_id = project.images()[0].id
    project.store_probability(image_id, np.zeros((50, 80), np.float32))
    project._database.rows(sql)
    with pytest.raises(ProjectError, match="outside itself"):
        getattr(project, call)(image_id)


@pytest.mark.parametrize("name", ["../evil", "a/b", "a\\b", ".hidden", ""])
def test_a_tampered_image_name_is_refused(project, name):
    project._database.rows("UPDATE images SET name = ?", (name,))
    with pytest.raises(ProjectError, match="image name"):
        project.images()


def test_a_thousand_strokes_are_replayed_without_recomputing_anything(project, monkeypatch):
    from napari_vessel.topology import components

    image_id = project.images()[0].id
    session = project.open_session(image_id)
    rng = np.random.default_rng(1)
    for n in range(1000):
        y, x = rng.integers(0, 44), rng.integers(0, 74)
        session.stroke(np.full((6, 6), n % 2, np.uint8), (int(y), int(x)))
    calls = []
    original = components.label_components
    monkeypatch.setattr(components, "label_components", lambda mask: calls.append(1) or original(mask))
    again = project.open_session(image_id)
    assert calls == []
    assert np.array_equal(again.labels, session.labels)
    assert again.history_position == session.history_position > 900


def test_the_images_listed_are_those_of_this_moment(project):
    first = project.images()[0]
    assert project.images()[0] is first, "what has not changed is not read again"
    project.set_comment(first.id, "ours")
    assert project.images()[0].comment == "ours"
    execute(project.folder, "UPDATE images SET comment = 'theirs'")
    assert project.images()[0].comment == "theirs"
    with suppress(RuntimeError), project._database.transaction() as connection:
        connection.execute("UPDATE images SET comment = 'never'")
        assert project.images()[0].comment == "never"
        raise RuntimeError
    assert project.images()[0].comment == "theirs"


def test_threads_may_share_a_project(project):
    from concurrent.futures import ThreadPoolExecutor

    image_id = project.images()[0].id
    session = project.open_session(image_id)
    with ThreadPoolExecutor(4) as pool:
        futures = [
            pool.submit(project.store_probability, image_id, np.full((50, 80), n / 10, np.float32)) for n in range(8)
        ]
        futures += [pool.submit(project.set_comment, image_id, f"comment {n}") for n in range(20)]
        for x in range(30):
            session.stroke(np.ones((2, 2), np.uint8), (20, 2 * x))
        for future in futures:
            future.result()
    assert np.array_equal(project.open_session(image_id).labels, session.labels)
    assert project.probability(image_id) is not None


def test_the_place_in_the_world_is_kept(tmp_path, image_file):
    from napari_vessel.images.inputs import find_inputs

    place = np.array([[0.0, -2.0, 5.0], [0.5, 0.0, -1.0], [0.0, 0.0, 1.0]])
    with Project.create(tmp_path / "p") as project:
        (record,) = run_job(project.add(find_inputs([image_file])))
        assert record.transform is None
        project.set_transform(record.id, place)
        with pytest.raises(InputError, match="scale"):
            project.set_transform(record.id, np.diag([0.0, 1.0, 1.0]))
    with Project.open(tmp_path / "p") as project:
        assert np.array_equal(project.record(record.id).transform, place)
    execute(tmp_path / "p", "UPDATE images SET transform = '[[1, 2], [3, 4]]'")
    with Project.open(tmp_path / "p") as project, pytest.raises(ProjectError, match="damaged row"):
        project.images()


def test_every_project_has_an_id_of_its_own_that_stays(tmp_path):
    with Project.create(tmp_path / "a", "Same") as first, Project.create(tmp_path / "b", "Same") as second:
        assert first.id
        assert first.id != second.id
        before = first.id
    with Project.open(tmp_path / "a") as again:
        assert again.id == before


def test_a_project_from_before_there_were_ids_gets_one(tmp_path):
    Project.create(tmp_path / "old").close()
    execute(tmp_path / "old", "DELETE FROM meta WHERE key = 'id'")
    with Project.open(tmp_path / "old") as project:
        found = project.id
        assert found
    with Project.open(tmp_path / "old") as project:
        assert project.id == found
