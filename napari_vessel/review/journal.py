"""What the database remembers of one image's review: each step one transaction, in the order in which it was done."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap
from napari_vessel.errors import ProjectError
from napari_vessel.review.edits import UNSEEN, Edit, EditKind, VerdictChange, VerdictRecord
from napari_vessel.review.fragments import Fragment, FragmentChange, FragmentRecord
from napari_vessel.review.history import History
from napari_vessel.review.journal_rows import (
    UNREADABLE,
    read_decisions,
    read_edits,
    read_fragments,
    read_proposals,
    read_snapshot,
    read_verdicts,
    replay,
    write_edit,
    write_fragments,
    write_proposals,
    write_snapshot,
    write_verdicts,
)
from napari_vessel.review.schema import Database
from napari_vessel.review.trail import note_move, note_new
from napari_vessel.untrusted import MALFORMED, shortened

ALL_VESSELS = "all_vessels"
"""Flag of an image: every piece of its mask is a vessel, somebody has said, and gaps are scored by their link alone."""
FLAGS = frozenset({"ungradable", "second_reader", ALL_VESSELS})


def now() -> str:
    """Return the UTC time in ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


SNAPSHOT_EVERY = 200
"""Edits between two snapshots of a mask: what opening replays at most."""


def count_decisions(database: Database, image: str | None = None) -> list[tuple[str, str, str, int]]:
    """Count the verdicts on gaps, those on fragments, and the applied edits of each kind, in every image or in one.

    Parameters
    ----------
    database : Database
        The project's.
    image : str, optional
        Id of the one; the others are not looked at.

    Returns
    -------
    list of (str, str, str, int)
        Id of the image; ``gap``, ``fragment`` or ``edit``; a verdict, or the kind of the edit; and how many.
    """
    one = "" if image is None else "AND image = ?"
    return [
        (str(found), str(what), str(which), int(count))
        for found, what, which, count in database.rows(
            f"SELECT image, 'gap', verdict, COUNT(*) FROM verdicts WHERE 1 {one} GROUP BY image, verdict "
            "UNION ALL SELECT image, 'fragment', json_extract(record, '$.verdict') AS said, COUNT(*) FROM fragments "
            f"WHERE 1 {one} GROUP BY image, said "
            "UNION ALL SELECT e.image, 'edit', e.kind, COUNT(*) FROM edits e JOIN images i ON i.id = e.image "
            f"WHERE e.seq <= i.position {one} GROUP BY e.image, e.kind",
            () if image is None else (image,) * 3,
        )
    ]


class Journal:
    """The rows of one image. Every method is one transaction: done completely, or not at all.

    Parameters
    ----------
    database : Database
        The project's.
    image_id : str
        The image.
    annotator : str
        Recorded with every change; whoever goes on may be another.
    """

    def __init__(self, database: Database, image_id: str, annotator: str = "") -> None:
        self._database = database
        self._image = image_id
        self.annotator = annotator
        self._known: tuple[object, ...] | None = None

    def history(self) -> History:
        """Return the history, of which only what is looked at is read.

        Raises
        ------
        ProjectError
            If edits are missing.
        """
        self._known = self._standing_now()
        position = self.position()
        count, last = self._database.rows(
            "SELECT COUNT(*), COALESCE(MAX(seq), 0) FROM edits WHERE image = ?", (self._image,)
        )[0]
        if count != last:
            seqs = self._database.rows("SELECT seq FROM edits WHERE image = ? ORDER BY seq", (self._image,))
            missing = next(n for n, (seq,) in enumerate(seqs, 1) if seq != n)
            raise self.damaged(ValueError(f"edit {missing} is missing"))
        if not 0 <= position <= count:
            raise self.damaged(ValueError("the last edits are missing"))
        return History(position=position, count=count, load=self.edits)

    def edits(self, start: int, stop: int) -> list[Edit]:
        """Read the edits from the number `start` (inclusive, from 0) to `stop` (exclusive), oldest first.

        Raises
        ------
        ProjectError
            If a row cannot be understood.
        """
        try:
            return read_edits(self._database, self._image, start, stop)
        except MALFORMED as error:
            raise self.damaged(error) from error

    def labels(
        self,
        base: Callable[[], NDArray[np.uint8]],
        shape: tuple[int, int],
        keep: bool,
        position: int | None = None,
    ) -> NDArray[np.uint8]:
        """Return the mask as it is now: the last snapshot, or the first mask, and what the edits after it left behind.

        Parameters
        ----------
        base : callable
            Reads the first mask, when there is no snapshot to start from.
        shape : tuple of int
            Height and width of the mask, px.
        keep : bool
            Make a snapshot when many edits had to be replayed, so that the next time is quick.
        position : int, optional
            The mask after so many edits; those that are applied now when left out.

        Raises
        ------
        ProjectError
            If the first mask or an edit is missing or damaged.
        """
        position = self.position() if position is None else position
        count = int(self._database.rows("SELECT COUNT(*) FROM edits WHERE image = ?", (self._image,))[0][0])
        if not 0 <= position <= count:
            raise self.damaged(ValueError("the last edits are missing"))
        start, labels = read_snapshot(self._database, self._image, position, shape)
        labels = base() if labels is None else labels
        try:
            for first in range(start, position, SNAPSHOT_EVERY):
                replay(self._database, self._image, labels, shape, first, min(first + SNAPSHOT_EVERY, position))
        except UNREADABLE as error:
            raise self.damaged(error) from error
        if keep and position - start > SNAPSHOT_EVERY:
            with self._database.transaction() as connection:
                write_snapshot(connection, self._image, position, labels)
        return labels

    def proposals(self) -> tuple[Gap, ...]:
        """Return the proposals, ranked.

        Raises
        ------
        ProjectError
            If they cannot be understood.
        """
        try:
            return read_proposals(self._database, self._image)
        except MALFORMED as error:
            raise self.damaged(error) from error

    def verdicts(self) -> list[tuple[Gap, VerdictRecord]]:
        """Return the decided gaps and their verdicts, in the order in which they were decided.

        Raises
        ------
        ProjectError
            If they cannot be understood.
        """
        try:
            return read_verdicts(self._database, self._image)
        except MALFORMED as error:
            raise self.damaged(error, "verdicts") from error

    def decisions(self) -> list[Edit]:
        """Return the applied edits with verdicts from the first bulk accept on, oldest first, without their masks.

        Raises
        ------
        ProjectError
            If they cannot be understood.
        """
        try:
            return read_decisions(self._database, self._image, self.position())
        except MALFORMED as error:
            raise self.damaged(error) from error

    def position(self) -> int:
        """Return how many edits are applied."""
        return self.standing()[0]

    def standing(self) -> tuple[int, bool]:
        """Return how many edits are applied, and whether the image is done, at one moment."""
        found = self._database.rows("SELECT position, state = 'done' FROM images WHERE id = ?", (self._image,))
        if not found:
            raise ProjectError(f"The project has no image {self._image}; choose one from its table.")
        try:
            if not isinstance(found[0][0], int):
                raise ValueError("no number of edits")
            return found[0][0], bool(found[0][1])
        except MALFORMED as error:
            raise self.damaged(error) from error

    def is_current(self) -> bool:
        """Whether nobody else has changed the image since the history was read, or written here last."""
        return self._known == self._standing_now()

    def mark(self, position: int) -> tuple[object, ...]:
        """Return what differs as soon as one of the first `position` edits is another one."""
        return self._database.rows(
            "SELECT COUNT(*), MAX(rowid), MAX(made) FROM edits WHERE image = ? AND seq <= ?", (self._image, position)
        )[0]

    def fragments(self) -> list[tuple[Fragment, FragmentRecord]]:
        """Return the decided fragments and their verdicts.

        Raises
        ------
        ProjectError
            If they cannot be understood.
        """
        try:
            return read_fragments(self._database, self._image)
        except MALFORMED as error:
            raise self.damaged(error, "verdicts") from error

    def append(
        self,
        edit: Edit,
        position: int,
        open_gaps: int,
        labels: Callable[[], NDArray[np.uint8]],
        proposals: Iterable[Gap] | None = None,
    ) -> None:
        """Write a new edit after the first `position` ones; later ones are forgotten.

        Parameters
        ----------
        edit : Edit
            What is about to happen.
        position : int
            How many edits are applied before it.
        open_gaps : int
            How many gaps are open after it.
        labels : callable
            Returns the mask after it, uint8, shape (Y, X); asked when a snapshot is due.
        proposals : iterable of Gap, optional
            New list of proposals, when the edit brings one that was not known.
        """
        seq, made = position + 1, now()
        with self._database.transaction() as connection:
            self._move(connection, seq, open_gaps, made)
            write_edit(connection, self._image, seq, edit, self.annotator, made)
            self._write_decisions(connection, edit.verdicts, edit.fragments, proposals)
            if edit.group != UNSEEN:
                note_new(connection)
            if seq % SNAPSHOT_EVERY == 0:
                write_snapshot(connection, self._image, seq, labels())
            # A finished image that is edited again is no longer finished; a new mask alone is not yet a review.
            if edit.kind is EditKind.SEGMENT:
                connection.execute(
                    "UPDATE images SET state = CASE state WHEN 'new' THEN 'segmented' WHEN 'done' THEN 'in_review' "
                    "ELSE state END WHERE id = ?",
                    (self._image,),
                )
            else:
                connection.execute("UPDATE images SET state = 'in_review' WHERE id = ?", (self._image,))
            known = self._standing_now()
        self._known = known

    def move(
        self,
        start: int,
        stop: int,
        verdicts: Sequence[VerdictChange],
        open_gaps: int,
        proposals: Iterable[Gap] | None = None,
        fragments: Sequence[FragmentChange] = (),
    ) -> None:
        """Record an undo or redo: `stop` edits are applied now, instead of `start`, which changed some verdicts."""
        made = now()
        with self._database.transaction() as connection:
            self._move(connection, stop, open_gaps, made)
            note_move(connection, self._image, back=stop < start)
            self._write_decisions(connection, verdicts, fragments, proposals)
            # With all taken back of what came without a mask nothing is there; a new mask alone is not yet a review.
            connection.execute(
                "UPDATE images SET state = CASE WHEN position = 0 AND base IS NULL THEN 'new' WHEN state IN ('new', "
                "'segmented') AND NOT EXISTS (SELECT 1 FROM edits WHERE image = images.id AND seq <= position AND kind "
                "!= ?) THEN 'segmented' ELSE 'in_review' END WHERE id = ?",
                (EditKind.SEGMENT.value, self._image),
            )
            known = self._standing_now()
        self._known = known

    def store_gaps(self, gaps: Iterable[Gap], open_gaps: int) -> None:
        """Write the list of proposals."""
        with self._database.transaction() as connection:
            write_proposals(connection, self._image, gaps)
            connection.execute("UPDATE images SET open_gaps = ? WHERE id = ?", (open_gaps, self._image))

    def flags(self) -> frozenset[str]:
        """Return the image's flags."""
        found = self._database.rows("SELECT flags FROM images WHERE id = ?", (self._image,))
        try:
            return frozenset(json.loads(found[0][0])) & FLAGS if found else frozenset()
        except MALFORMED as error:
            raise self.damaged(error) from error

    def comment(self) -> str:
        """Return the image's comment."""
        found = self._database.rows("SELECT comment FROM images WHERE id = ?", (self._image,))
        return str(found[0][0]) if found else ""

    def set_flags(self, flags: Iterable[str]) -> None:
        """Write the image's flags.

        Raises
        ------
        ProjectError
            If a flag is not one of ``ungradable``, ``second_reader`` and ``all_vessels``.
        """
        wanted = frozenset(flags)
        if wanted - FLAGS:
            raise ProjectError(f"{min(wanted - FLAGS)!r} is not a flag; use one of {', '.join(sorted(FLAGS))}.")
        self._set("flags", json.dumps(sorted(wanted)))

    def set_comment(self, comment: str) -> None:
        """Write the image's comment."""
        self._set("comment", comment)

    def _set(self, column: str, value: str) -> None:
        with self._database.transaction() as connection:
            connection.execute(f"UPDATE images SET {column} = ?, changed = ? WHERE id = ?", (value, now(), self._image))

    def _move(self, connection: sqlite3.Connection, stop: int, open_gaps: int, made: str) -> None:
        if not self.is_current():
            raise ProjectError("The image was changed elsewhere, so nothing was changed here; open it again.")
        connection.execute(
            "UPDATE images SET position = ?, open_gaps = ?, changed = ?, annotator = ? WHERE id = ?",
            (stop, open_gaps, made, self.annotator, self._image),
        )

    def _standing_now(self) -> tuple[object, ...]:
        """Return what differs as soon as somebody else has changed the mask or its history.

        The same number of edits may be others: one was taken back, and another made. Those before the applied one that
        is last, and between it and the last of all, are the same while these two are.
        """
        return tuple(
            self._database.rows(
                "SELECT i.position, i.base, e.rowid, e.seq, e.made, e.annotator, e.text "
                "FROM images i LEFT JOIN edits e "
                "ON e.image = i.id AND e.seq IN (i.position, (SELECT MAX(seq) FROM edits WHERE image = i.id)) "
                "WHERE i.id = ? ORDER BY e.seq",
                (self._image,),
            )
        )

    def _write_decisions(
        self,
        connection: sqlite3.Connection,
        verdicts: Sequence[VerdictChange],
        fragments: Sequence[FragmentChange],
        proposals: Iterable[Gap] | None,
    ) -> None:
        write_verdicts(connection, self._image, verdicts)
        write_fragments(connection, self._image, fragments)
        write_proposals(connection, self._image, proposals)

    def damaged(self, error: Exception, what: str = "history") -> ProjectError:
        """Return the error of rows that cannot be understood."""
        are = "are" if what.endswith("s") else "is"
        return ProjectError(
            f"The {what} of image {self._image} {are} damaged ({shortened(error)}); {self._database.remedy}."
        )
