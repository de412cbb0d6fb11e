"""A project with a damaged database in the window: said, offered, restored and opened, and the damaged file kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from napari_vessel.gui.project import ProjectWidget
from napari_vessel.review.backup import BACKUP_NAME
from napari_vessel.review.edits import Verdict
from napari_vessel.review.schema import DATABASE_NAME

pytestmark = pytest.mark.gui


def flip_a_page(path: Path) -> bytes:
    """Turn every bit of a page in the middle, as a failing disk may, and return the damaged bytes."""
    data = bytearray(path.read_bytes())
    data[8192 : 8192 + 4096] = bytes(byte ^ 0xFF for byte in data[8192 : 8192 + 4096])
    path.write_bytes(data)
    return bytes(data)


@pytest.fixture
def widget(review, qtbot):
    """The project's panel; its project has one verdict and was closed."""
    made = ProjectWidget(review.viewer)
    qtbot.addWidget(made)
    review.decide(Verdict.ACCEPTED)
    made.folder = review.project.folder
    made.labels = review.session.labels.copy()
    made.texts = []
    review.message.connect(lambda text, level: made.texts.append((text, level)))
    review.close_project()
    assert made.damage.isHidden()
    return made


def test_damage_is_said_offered_and_undone(widget, review, spin):
    folder = widget.folder
    damaged = flip_a_page(folder / DATABASE_NAME)
    written = (folder / BACKUP_NAME).stat().st_mtime + 3600
    os.utime(folder / DATABASE_NAME, (written, written))
    widget.open_existing(folder)
    assert review.project is None
    text, level = widget.texts[-1]
    assert level == "error"
    assert text.endswith("is damaged; press Restore in Vessel project to go back to its backup.")
    assert not widget.damage.isHidden()
    assert "work of up to 60 min after it is lost" in widget.damage.words.text()
    assert (folder / DATABASE_NAME).read_bytes() == damaged, "nothing is repaired unasked"

    widget.damage.restore_button.click()
    spin()
    assert widget.damage.isHidden()
    assert review.project.folder == folder
    assert np.array_equal(review.session.labels, widget.labels)
    assert review.session.undo_text.startswith("accepted gap")
    kept = next(folder.glob("project.damaged-*.sqlite"))
    assert kept.read_bytes() == damaged
    assert widget.texts[-1][0].startswith(f"Restored from {BACKUP_NAME}; the damaged file is kept as {kept.name}.")


def test_damage_met_while_working_closes_the_project_before_it_is_restored(widget, review, spin):
    widget.open_existing(widget.folder)
    spin()
    review.decide(Verdict.REJECTED)
    path = widget.folder / DATABASE_NAME
    path.write_bytes(path.read_bytes()[:4096] + os.urandom(path.stat().st_size - 4096))
    review.project._database.rows("PRAGMA shrink_memory")
    review.apply_threshold(0.5)
    spin()
    assert not widget.damage.isHidden()
    widget.damage.restore_button.click()
    spin()
    assert review.session is not None
    assert np.array_equal(review.session.labels, widget.labels)
    assert widget.damage.isHidden()


def test_a_project_that_lost_its_database_is_one_and_is_offered(widget, review, spin):
    (widget.folder / DATABASE_NAME).unlink()
    widget.open_existing(widget.folder)
    assert "has lost its" in widget.damage.words.text() or "that lost its" in widget.damage.words.text()
    assert "what was done after that is lost" in widget.damage.words.text()
    widget.damage.restore_button.click()
    spin()
    assert np.array_equal(review.session.labels, widget.labels)


def test_without_a_good_backup_nothing_is_offered(widget, review):
    flip_a_page(widget.folder / DATABASE_NAME)
    flip_a_page(widget.folder / BACKUP_NAME)
    widget.open_existing(widget.folder)
    assert widget.damage.isHidden()
    assert "is damaged" in widget.texts[-1][0]


def test_it_can_be_left(widget, review):
    damaged = flip_a_page(widget.folder / DATABASE_NAME)
    widget.open_existing(widget.folder)
    widget.damage.leave_button.click()
    assert widget.damage.isHidden()
    assert (widget.folder / DATABASE_NAME).read_bytes() == damaged
