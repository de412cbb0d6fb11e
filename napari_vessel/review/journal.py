"""What the database remembers of one image's review, and how an edit becomes rows and back."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap
from napari_vessel.errors import ProjectError
from napari_vessel.review.edits import (
    UNSEEN,
    Edit,
    EditKind,
    MaskEdit,
    Verdict,
    VerdictChange,
    VerdictRecord,
    packed,
    unpacked,
)
from napari_vessel.review.fragments import Box, Fragment, FragmentChange, FragmentRecord, is_inside
from napari_vessel.review.history import History
from napari_vessel.review.schema import Database
from napari_vessel.review.trail import note_move, note_new
from napari_vessel.untrusted import MALFORMED, finite, shortened

FLAGS = frozenset({"ungradable", "second_reader"})


def now() -> str:
    """Return the UTC time in ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


_OUTSIDE = "something lies outside the image"

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
        key = (self._image, start, stop)
        try:
            masks: dict[int, list[MaskEdit]] = {}
            for seq, y0, x0, y1, x1, before, after in self._database.rows(
                "SELECT seq, y0, x0, y1, x1, before, after FROM mask_edits WHERE image = ? AND seq > ? AND seq <= ? "
                "ORDER BY seq, part",
                key,
            ):
                masks.setdefault(seq, []).append(MaskEdit((int(y0), int(x0), int(y1), int(x1)), before, after))
            found: list[Edit] = []
            for seq, kind, text, link, verdicts, fragments in self._database.rows(
                "SELECT seq, kind, text, link, verdicts, fragments FROM edits "
                "WHERE image = ? AND seq > ? AND seq <= ? ORDER BY seq",
                key,
            ):
                changes = tuple(VerdictChange.from_json(c) for c in json.loads(verdicts))
                decided = tuple(FragmentChange.from_json(c) for c in json.loads(fragments))
                found.append(Edit(EditKind(kind), text, tuple(masks.get(seq, ())), changes, link, decided))
            if len(found) != stop - start:
                raise ValueError("edits are missing")
            boxes = [mask.box for edit in found for mask in edit.masks]
            self._check_boxes(boxes + [change.fragment.box for edit in found for change in edit.fragments])
        except MALFORMED as error:
            raise self.damaged(error) from error
        return found

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
        start, labels = self._snapshot(position, shape)
        labels = base() if labels is None else labels
        for first in range(start, position, SNAPSHOT_EVERY):
            for y0, x0, y1, x1, after in self._database.rows(
                "SELECT y0, x0, y1, x1, after FROM mask_edits WHERE image = ? AND seq > ? AND seq <= ? "
                "ORDER BY seq, part",
                (self._image, first, min(first + SNAPSHOT_EVERY, position)),
            ):
                try:
                    if not is_inside((y0, x0, y1, x1), shape):
                        raise ValueError(_OUTSIDE)
                    labels[y0:y1, x0:x1] = unpacked(after, (y1 - y0, x1 - x0))
                except (*MALFORMED, zlib.error) as error:
                    raise self.damaged(error) from error
        if keep and position - start > SNAPSHOT_EVERY:
            with self._database.transaction() as connection:
                self._write_snapshot(connection, position, labels)
        return labels

    def proposals(self) -> tuple[Gap, ...]:
        """Return the proposals, ranked.

        Raises
        ------
        ProjectError
            If they cannot be understood.
        """
        found = self._database.rows("SELECT gaps FROM proposals WHERE image = ?", (self._image,))
        try:
            return tuple(Gap.from_json(gap) for gap in json.loads(found[0][0])) if found else ()
        except MALFORMED as error:
            raise self.damaged(error) from error

    def verdicts(self) -> list[tuple[Gap, VerdictRecord]]:
        """Return the decided gaps and their verdicts, in the order in which they were decided.

        Raises
        ------
        ProjectError
            If they cannot be understood.
        """
        rows = self._database.rows(
            "SELECT proposal, verdict, annotator, made, seconds, score FROM verdicts WHERE image = ? "
            "ORDER BY made, gap",
            (self._image,),
        )
        try:
            return [
                (
                    Gap.from_json(json.loads(row[0])),
                    VerdictRecord(Verdict(row[1]), str(row[2]), str(row[3]), finite(row[4]), finite(row[5])),
                )
                for row in rows
            ]
        except MALFORMED as error:
            raise ProjectError(
                f"The verdicts of image {self._image} are damaged ({shortened(error)}); {self._database.remedy}."
            ) from error

    def decisions(self) -> list[Edit]:
        """Return the applied edits with verdicts from the first bulk accept on, oldest first, without their masks.

        Raises
        ------
        ProjectError
            If they cannot be understood.
        """
        rows = self._database.rows(
            "SELECT kind, text, link, verdicts FROM edits WHERE image = ? AND seq <= ? AND verdicts <> '[]' AND seq >= "
            "(SELECT MIN(seq) FROM edits WHERE image = ? AND kind = ?) ORDER BY seq",
            (self._image, self.position(), self._image, EditKind.BULK.value),
        )
        try:
            return [
                Edit(EditKind(kind), text, (), tuple(VerdictChange.from_json(c) for c in json.loads(verdicts)), link)
                for kind, text, link, verdicts in rows
            ]
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
        rows = self._database.rows(
            "SELECT description, record FROM fragments WHERE image = ? ORDER BY fragment", (self._image,)
        )
        found = []
        try:
            for description, text in rows:
                record = FragmentRecord.from_json(json.loads(text))
                if record is None:
                    raise ValueError("no verdict")
                found.append((Fragment.from_json(json.loads(description)), record))
            self._check_boxes([fragment.box for fragment, _ in found])
        except MALFORMED as error:
            raise ProjectError(
                f"The verdicts of image {self._image} are damaged ({shortened(error)}); {self._database.remedy}."
            ) from error
        return found

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
            connection.execute("DELETE FROM edits WHERE image = ? AND seq > ?", (self._image, position))
            connection.execute("DELETE FROM snapshots WHERE image = ? AND seq > ?", (self._image, position))
            changes = json.dumps([change.to_json() for change in edit.verdicts])
            fragments = json.dumps([change.to_json() for change in edit.fragments])
            connection.execute(
                "INSERT INTO edits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (self._image, seq, edit.kind.value, edit.text, edit.group, changes, self.annotator, made, fragments),
            )
            connection.executemany(
                "INSERT INTO mask_edits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(self._image, seq, n, *mask.box, mask.before, mask.after) for n, mask in enumerate(edit.masks)],
            )
            self._write_verdicts(connection, edit.verdicts)
            self._write_fragments(connection, edit.fragments)
            self._write_proposals(connection, proposals)
            if edit.group != UNSEEN:
                note_new(connection)
            if seq % SNAPSHOT_EVERY == 0:
                self._write_snapshot(connection, seq, labels())
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
            self._write_verdicts(connection, verdicts)
            self._write_fragments(connection, fragments)
            self._write_proposals(connection, proposals)
            connection.execute("UPDATE images SET state = 'in_review' WHERE id = ? AND state = 'done'", (self._image,))
            known = self._standing_now()
        self._known = known

    def store_gaps(self, gaps: Iterable[Gap], open_gaps: int) -> None:
        """Write the list of proposals."""
        with self._database.transaction() as connection:
            self._write_proposals(connection, gaps)
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
            If a flag is not one of ``ungradable`` and ``second_reader``.
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

    def _check_boxes(self, boxes: Sequence[Box]) -> None:
        """Raise ValueError for a box that is not in the image."""
        if boxes:
            [(height, width)] = self._database.rows("SELECT height, width FROM images WHERE id = ?", (self._image,))
            if not all(is_inside(box, (height, width)) for box in boxes):
                raise ValueError(_OUTSIDE)

    def _snapshot(self, position: int, shape: tuple[int, int]) -> tuple[int, NDArray[np.uint8] | None]:
        """Return the newest snapshot up to a position that can be read: after a damaged one the edits tell the rest."""
        for (seq,) in self._database.rows(
            "SELECT seq FROM snapshots WHERE image = ? AND seq <= ? ORDER BY seq DESC", (self._image, position)
        ):
            key = (self._image, seq)
            [(data,)] = self._database.rows("SELECT labels FROM snapshots WHERE image = ? AND seq = ?", key)
            try:
                return int(seq), unpacked(data, shape).copy()
            except (*MALFORMED, zlib.error):
                continue
        return 0, None

    def _write_snapshot(self, connection: sqlite3.Connection, seq: int, labels: NDArray[np.uint8]) -> None:
        connection.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)", (self._image, seq, packed(labels)))

    def damaged(self, error: Exception) -> ProjectError:
        """Return the error of a history that cannot be understood."""
        return ProjectError(
            f"The history of image {self._image} is damaged ({shortened(error)}); {self._database.remedy}."
        )

    def _write_verdicts(self, connection: sqlite3.Connection, changes: Sequence[VerdictChange]) -> None:
        for change in changes:
            if change.after is None:
                connection.execute("DELETE FROM verdicts WHERE image = ? AND gap = ?", (self._image, change.gap.id))
                continue
            record = change.after
            connection.execute(
                "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self._image,
                    change.gap.id,
                    record.verdict.value,
                    record.annotator,
                    record.when,
                    record.seconds,
                    record.score,
                    json.dumps(change.gap.to_json()),
                ),
            )

    def _write_fragments(self, connection: sqlite3.Connection, changes: Sequence[FragmentChange]) -> None:
        for change in changes:
            key = (self._image, change.fragment.id)
            if change.after is None:
                connection.execute("DELETE FROM fragments WHERE image = ? AND fragment = ?", key)
                continue
            described = (json.dumps(change.fragment.to_json()), json.dumps(change.after.to_json()))
            connection.execute("INSERT OR REPLACE INTO fragments VALUES (?, ?, ?, ?)", (*key, *described))

    def _write_proposals(self, connection: sqlite3.Connection, gaps: Iterable[Gap] | None) -> None:
        if gaps is not None:
            text = json.dumps([gap.to_json() for gap in gaps])
            connection.execute("INSERT OR REPLACE INTO proposals VALUES (?, ?)", (self._image, text))
