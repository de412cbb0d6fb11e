"""Projects that somebody else has changed: each fault is refused in a sentence, and nothing outside is touched."""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from contextlib import closing

import numpy as np
import pytest

from napari_vessel.errors import DamagedProjectError, ProjectError, VesselError
from napari_vessel.images import VesselImage
from napari_vessel.jobs import run_job
from napari_vessel.review import Project, Verdict
from napari_vessel.review.edits import packed, unpacked
from napari_vessel.review.fragments import FragmentVerdict, find_fragments
from napari_vessel.review.restoring import newest_backup, restore_project
from napari_vessel.review.samples import training_samples

posix = pytest.mark.skipif(os.name == "nt", reason="links and pipes are made as on POSIX")
DEEP = "[" * 100_000


@pytest.fixture
def folder(project, gaps):
    """A closed project with proposals, verdicts, maps and a stroke."""
    (record,) = project.images()
    session = project.open_session(record.id, "ann")
    session.set_gaps(gaps)
    session.decide("a", Verdict.ACCEPTED, 1.0)
    session.stroke(np.ones((3, 5), np.uint8), (20, 20))
    project.store_probability(record.id, np.zeros(record.shape, np.float32), {"model": "m"})
    project.store_completion(record.id, np.zeros(record.shape, np.float32), {"model": "m"})
    run_job(project.add([VesselImage(np.zeros((50, 80), np.float32), content_hash="f" * 64, name="kept")]))
    run_job(training_samples(project))
    project.close()
    return project.folder


def tamper(folder, *statements):
    with closing(sqlite3.connect(folder / "project.sqlite", isolation_level=None)) as base:
        for statement in statements:
            base.execute(statement) if isinstance(statement, str) else base.execute(*statement)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER UPDATE ON images BEGIN DELETE FROM edits; END",
        "CREATE VIEW v AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n",
        "CREATE INDEX i ON edits(upper(text))",
        "CREATE TABLE more (a)",
        "ALTER TABLE images ADD COLUMN more TEXT AS (upper(name))",
        "DROP TABLE snapshots",
    ],
)
def test_a_database_with_anything_that_the_program_did_not_make_is_refused(folder, statement):
    tamper(folder, statement)
    with pytest.raises(DamagedProjectError, match="damaged"):
        Project.open(folder)


def test_a_table_that_is_a_question_without_an_end_is_not_asked(folder):
    columns = "x AS key, x AS value"
    endless = f"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT {columns} FROM n"
    tamper(folder, "DROP TABLE meta", f"CREATE VIEW meta AS {endless}")
    with pytest.raises(DamagedProjectError):
        Project.open(folder)


def test_a_backup_with_a_trigger_is_not_restored(folder):
    tamper(folder, "CREATE TRIGGER t AFTER UPDATE ON images BEGIN DELETE FROM edits; END")
    (folder / "project.backup.sqlite").write_bytes((folder / "project.sqlite").read_bytes())
    assert newest_backup(folder) is None
    with pytest.raises(ProjectError, match="no good backup"):
        restore_project(folder)


def test_a_missing_index_is_no_damage(folder):
    tamper(folder, "DROP INDEX edits_by_kind")
    with Project.open(folder) as again:
        assert len(again.images()) == 2


@posix
@pytest.mark.parametrize("name", ["project.lock", "project.sqlite"])
@pytest.mark.parametrize("what", ["link", "circle", "pipe", "folder"])
def test_a_link_or_a_pipe_in_the_place_of_a_file_of_its_own_is_refused(folder, tmp_path, name, what):
    outside = tmp_path / "outside.txt"
    outside.write_bytes((folder / "project.sqlite").read_bytes())
    before = outside.read_bytes()
    (folder / name).unlink()
    {
        "link": lambda: (folder / name).symlink_to(outside),
        "circle": lambda: (folder / name).symlink_to(name),
        "pipe": lambda: os.mkfifo(folder / name),
        "folder": (folder / name).mkdir,
    }[what]()
    with pytest.raises(ProjectError, match="no file"):
        Project.open(folder)
    assert outside.read_bytes() == before


@posix
def test_a_link_under_the_name_of_a_temporary_copy_is_not_written_through(folder, tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    for name in ("project.backup.sqlite", "project.restored.sqlite"):
        (folder / f".{name}.{os.getpid()}.tmp").symlink_to(outside)
    with Project.open(folder) as again:
        again.set_comment(again.images()[0].id, "changed")
    restore_project(folder)
    assert outside.read_text() == "mine"


@posix
@pytest.mark.parametrize("name", ["images", "masks", "models"])
def test_nothing_is_written_into_a_folder_that_is_a_link(folder, tmp_path, name, broken):
    outside = tmp_path / "outside"
    outside.mkdir()
    if (folder / name).exists():
        (folder / name).rename(tmp_path / "was")
    (folder / name).symlink_to(outside)
    from napari_vessel.images import VesselMask
    from napari_vessel.segmentation.registry import model_info

    with Project.open(folder) as again:
        new = VesselImage(np.ones((50, 80), np.float32), content_hash="e" * 64, name="more")
        told = {"promote": True, "sentence": "", "figures": {}, "record": {}, "images": []}
        act = {
            "models": lambda: again.versions.add(model_info("fundus-small").folder, parent="fundus-small", **told)
        }.get(name, lambda: run_job(again.add([new], masks=VesselMask(broken))))
        with pytest.raises(ProjectError, match="outside itself"):
            act()
    assert list(outside.iterdir()) == []


@posix
def test_links_in_a_circle_are_refused(folder):
    (file,) = (folder / "probability").iterdir()
    file.unlink()
    file.symlink_to(file.name)
    with Project.open(folder) as again, pytest.raises(ProjectError, match="outside itself"):
        again.probability(again.images()[0].id)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("height", 2**31),
        ("width", -1),
        ("width", float("inf")),
        ("flags", DEEP),
        ("classes", DEEP),
        ("classes", "[[1, Infinity, 0]]"),
        ("transform", '{"a": 1}'),
        ("path", "x" * 200_000),
        ("path", "x" * 1000),
        ("open_gaps", "[0]" * 10_000),
    ],
)
def test_a_row_that_no_image_has_is_refused_in_a_short_sentence(folder, column, value):
    tamper(folder, (f"UPDATE images SET {column} = ? WHERE number = 1", (value,)))
    with Project.open(folder) as again, pytest.raises(ProjectError, match="damaged row") as refused:
        again.images()
    assert len(str(refused.value)) < 800


@pytest.mark.parametrize("text", [DEEP, "5", "[1, 2]", "{", "null"])
def test_what_made_a_map_is_damaged(folder, text):
    tamper(folder, ("UPDATE segmentations SET info = ?", (text,)), ("UPDATE completions SET info = ?", (text,)))
    with Project.open(folder) as again:
        (first, *_) = again.images()
        for ask in (again.segmentation_info, again.completion_info):
            with pytest.raises(ProjectError, match="segment it again"):
                ask(first.id)


@pytest.mark.parametrize(("column", "text"), [("spacing", "[1]"), ("spacing", DEEP), ("notes", "7")])
def test_what_is_kept_of_an_array_is_damaged(folder, column, text):
    tamper(folder, (f"UPDATE images SET {column} = ? WHERE saved", (text,)))
    with Project.open(folder) as again, pytest.raises(ProjectError, match="damaged"):
        again.read_image(again.images()[1].id)


@pytest.mark.parametrize("value", [np.nan, np.inf, 7.0])
def test_pixels_that_no_image_has_are_refused(folder, value):
    import tifffile

    (file,) = (folder / "images").glob("*.tif")
    tifffile.imwrite(file, np.full((50, 80), value, np.float32))
    with Project.open(folder) as again, pytest.raises(ProjectError, match="does not fit"):
        again.read_image(again.images()[1].id)


def test_a_map_of_another_size_without_numbers_or_damaged_is_refused(folder):
    import tifffile

    (file,) = (folder / "probability").iterdir()
    whole = file.read_bytes()
    with Project.open(folder) as again:
        first = again.images()[0].id
        for values in (np.zeros((50, 65_536)), np.full((50, 80), np.nan)):
            tifffile.imwrite(file, values.astype(np.float32), compression="zlib")
            with pytest.raises(ProjectError, match="does not fit"):
                again.probability(first)
        for end in (8, 20, len(whole) // 2):
            file.write_bytes(whole[:end])
            with pytest.raises(ProjectError, match="damaged"):
                again.probability(first)


@pytest.mark.parametrize(("table", "column"), [("edits", "verdicts"), ("edits", "fragments"), ("proposals", "gaps")])
@pytest.mark.parametrize("text", [DEEP, '[{"gap": 1}]', "[[]]", "3"])
def test_a_history_that_is_no_history_is_refused(folder, table, column, text):
    tamper(folder, (f"UPDATE {table} SET {column} = ?", (text,)))
    with Project.open(folder) as again, pytest.raises(VesselError, match="damaged"):
        again.open_session(again.images()[0].id).undo()


@pytest.mark.parametrize("data", ["text", 5, zlib.compress(b"short"), b"nonsense", zlib.compress(bytes(10**6))])
def test_a_mask_that_is_no_mask_is_refused(folder, data):
    tamper(folder, ("UPDATE mask_edits SET before = ?, after = ?", (data, data)))
    with Project.open(folder) as again:
        first = again.images()[0].id
        with pytest.raises(ProjectError, match="damaged"):
            again.read_mask(first)
        with pytest.raises(ProjectError, match="damaged"):
            run_job(again.origins(first))


@pytest.mark.parametrize("box", [(-3, 20, -1, 25), (20, -9, 23, -4), (60, 90, 63, 95), ("a", 0, 1, 1)])
def test_a_stroke_outside_the_image_is_refused(folder, box):
    tamper(folder, ("UPDATE mask_edits SET y0 = ?, x0 = ?, y1 = ?, x1 = ? WHERE seq = 2", box))
    with Project.open(folder) as again:
        first = again.images()[0].id
        for act in (again.read_mask, lambda one: run_job(again.origins(one)), again.open_session):
            with pytest.raises(ProjectError, match="damaged"):
                act(first)


def test_a_fragment_that_no_mask_has_is_refused(folder):
    with Project.open(folder) as again:
        first = again.images()[0].id
        session = again.open_session(first)
        (speck,) = [one for one in run_job(find_fragments(session.components.labels)) if one.area_px == 4]
        session.decide_fragment(speck, FragmentVerdict.KEPT)
        kept = session.fragment_verdicts[speck.id].to_json()
        for wrong in (
            {"point": [60, 90], "box": [59, 88, 62, 92]},
            {"box": [45, 5, 147, 107]},
            {"point": [-3, 5], "box": [-4, 5, -2, 7]},
            {"point": [1, 1]},
            {"area_px": 5},
            {"area_px": 0},
            {"length_px": -1},
            {"distance_px": float("nan")},
            {"box": [45, 5, float("inf"), 7]},
            {"point": "45"},
        ):
            told = {**speck.to_json(), **wrong}
            change = json.dumps([{"fragment": told, "before": None, "after": kept}])
            again._database.rows("UPDATE edits SET fragments = ? WHERE seq = 3", (change,))
            for act in (lambda one: again.open_session(one).undo(), lambda one: run_job(again.origins(one))):
                with pytest.raises(ProjectError, match=r"history .* damaged"):
                    act(first)
        again._database.rows("UPDATE fragments SET description = ?", (json.dumps(told),))
        for act in (again.open_session, again.fragment_verdicts):
            with pytest.raises(ProjectError, match=r"verdicts .* damaged"):
                act(first)


@pytest.mark.parametrize("column", ["seconds", "score"])
def test_a_verdict_without_numbers_is_refused(folder, column):
    with Project.open(folder) as again:
        for value in ("soon", float("inf")):
            again._database.rows(f"UPDATE verdicts SET {column} = ?", (value,))
            for act in (again.open_session, again.verdicts):
                with pytest.raises(ProjectError, match="damaged"):
                    act(again.images()[0].id)


def test_a_proposal_that_leads_out_of_the_image_is_drawn_as_far_as_it_lies_inside(folder, gaps):
    told = gaps[1].to_json()
    with Project.open(folder) as again:
        for number, place in enumerate([(-5.0, 20.0), (11.0, -5.0), (99_999.0, -99_999.0)]):
            path = [place, *told["path"][1:]]
            ends = [{**end, "point": place} for end in told["ends"]]
            gap = {**told, "id": f"out {number}", "path": path, "ends": ends}
            again._database.rows("UPDATE proposals SET gaps = ?", (json.dumps([gap]),))
            again.open_session(again.images()[0].id).decide(gap["id"], Verdict.ACCEPTED)
        assert again.read_mask(again.images()[0].id).labels[11, 49:57].all()


def test_a_proposal_that_ends_nowhere_is_refused(folder, gaps):
    told = gaps[1].to_json()
    with Project.open(folder) as again:
        for place in ([float("nan"), 1.0], [1e308, 1.0], [1.0, float("-inf")]):
            told["ends"][0]["point"] = place
            again._database.rows("UPDATE proposals SET gaps = ?", (json.dumps([told]),))
            with pytest.raises(ProjectError, match="damaged"):
                again.open_session(again.images()[0].id)


def test_no_more_is_unpacked_than_there_should_be():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(unpacked(packed(labels), (3, 4)), labels)
    for shape in ((3, 5), (3, 3), (-3, -4)):
        with pytest.raises(ValueError, match=r"."):
            unpacked(packed(labels), shape)
    import tracemalloc

    bomb = zlib.compress(bytes(50_000_000), 9)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"."):
        unpacked(bomb, (3, 4))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("position", [2**63 - 1, 3, -1])
def test_a_place_in_the_history_that_there_is_not_is_refused(folder, position):
    tamper(folder, ("UPDATE images SET position = ? WHERE number = 1", (position,)))
    with Project.open(folder) as again, pytest.raises(ProjectError, match="damaged"):
        again.read_mask(again.images()[0].id)


def test_a_place_in_the_history_that_is_no_whole_number_is_refused(folder):
    tamper(folder, "UPDATE images SET position = 1e300 WHERE number = 1")
    with Project.open(folder) as again, pytest.raises(ProjectError, match="damaged"):
        again.bulk_accepted(again.images()[0].id)


def test_an_image_is_added_where_another_has_no_number(folder):
    tamper(folder, "UPDATE images SET number = 'x' WHERE saved")
    with Project.open(folder) as again:
        run_job(again.add([VesselImage(np.ones((50, 80), np.float32), content_hash="e" * 64, name="more")]))
        assert "more" in [record.name for record in again.images()]


def test_a_lock_that_says_nonsense_is_no_owner(folder):
    for text in (DEEP, json.dumps({"process": float("inf"), "host": "a"}), "[1]"):
        (folder / "project.lock").write_text(text)
        Project.open(folder).close()
