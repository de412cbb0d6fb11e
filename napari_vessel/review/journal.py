"""What the database remembers of one image's review, and how an edit becomes rows and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from napari_vessel.completion.gap import Gap
from napari_vessel.errors import ProjectError
from napari_vessel.review.edits import Edit, EditKind, MaskEdit, Verdict, VerdictChange, VerdictRecord
from napari_vessel.review.schema import Database

FLAGS = frozenset({"ungradable", "second_reader"})


def now() -> str:
    """Return the UTC time in ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a journal holds: the edits (oldest first), how many are applied, and the proposals."""

    edits: tuple[Edit, ...]
    position: int
    proposals: tuple[Gap, ...]


class Journal:
    """The rows of one image. Every method is one transaction: done completely, or not at all.

    Parameters
    ----------
    database : Database
        The project's.
    image_id : str
        The image.
    annotator : str
        Recorded with every change.
    """

    def __init__(self, database: Database, image_id: str, annotator: str = "") -> None:
        self._database = database
        self._image = image_id
        self._annotator = annotator

    def load(self, applied_only: bool = False) -> Loaded:
        """Read the history and the proposals.

        Parameters
        ----------
        applied_only : bool
            Leave out what could be redone.

        Raises
        ------
        ProjectError
            If a row cannot be understood.
        """
        position = self.position()
        limit = position if applied_only else (1 << 62)
        key = (self._image, limit)
        try:
            masks: dict[int, list[MaskEdit]] = {}
            for seq, y0, x0, y1, x1, before, after in self._database.rows(
                "SELECT seq, y0, x0, y1, x1, before, after FROM mask_edits WHERE image = ? AND seq <= ? "
                "ORDER BY seq, part",
                key,
            ):
                masks.setdefault(seq, []).append(MaskEdit((y0, x0, y1, x1), before, after))
            edits: list[Edit] = []
            for seq, kind, text, link, verdicts in self._database.rows(
                "SELECT seq, kind, text, link, verdicts FROM edits WHERE image = ? AND seq <= ? ORDER BY seq", key
            ):
                if seq != len(edits) + 1:
                    raise ValueError(f"edit {len(edits) + 1} is missing")
                changes = tuple(_change_from_json(c) for c in json.loads(verdicts))
                edits.append(Edit(EditKind(kind), text, tuple(masks.get(seq, ())), changes, link))
            found = self._database.rows("SELECT gaps FROM proposals WHERE image = ?", (self._image,))
            proposals = tuple(Gap.from_json(g) for g in json.loads(found[0][0])) if found else ()
            if position > len(edits):
                raise ValueError("the last edits are missing")
        except (ValueError, KeyError, TypeError) as error:
            raise ProjectError(
                f"The history of image {self._image} is damaged ({error}); restore project.sqlite from a backup."
            ) from error
        return Loaded(tuple(edits), position, proposals)

    def position(self) -> int:
        """Return how many edits are applied."""
        found = self._database.rows("SELECT position FROM images WHERE id = ?", (self._image,))
        if not found:
            raise ProjectError(f"The project has no image {self._image}; choose one from its table.")
        return int(found[0][0])

    def append(self, edit: Edit, position: int, open_gaps: int, proposals: Iterable[Gap] | None = None) -> None:
        """Write a new edit after the first `position` ones; later ones are forgotten.

        Parameters
        ----------
        edit : Edit
            What is about to happen.
        position : int
            How many edits are applied before it.
        open_gaps : int
            How many gaps are open after it.
        proposals : iterable of Gap, optional
            New list of proposals, when the edit brings one that was not known.
        """
        seq, made = position + 1, now()
        with self._database.transaction() as connection:
            self._move(connection, position, seq, open_gaps, made)
            connection.execute("DELETE FROM edits WHERE image = ? AND seq > ?", (self._image, position))
            changes = json.dumps([_change_to_json(change) for change in edit.verdicts])
            connection.execute(
                "INSERT INTO edits VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (self._image, seq, edit.kind.value, edit.text, edit.group, changes, self._annotator, made),
            )
            connection.executemany(
                "INSERT INTO mask_edits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(self._image, seq, n, *mask.box, mask.before, mask.after) for n, mask in enumerate(edit.masks)],
            )
            self._write_verdicts(connection, edit.verdicts)
            self._write_proposals(connection, proposals)
            # A finished image that is edited again is no longer finished; a new mask alone is not yet a review.
            if edit.kind is EditKind.SEGMENT:
                connection.execute(
                    "UPDATE images SET state = CASE state WHEN 'new' THEN 'segmented' WHEN 'done' THEN 'in_review' "
                    "ELSE state END WHERE id = ?",
                    (self._image,),
                )
            else:
                connection.execute("UPDATE images SET state = 'in_review' WHERE id = ?", (self._image,))

    def move(
        self,
        start: int,
        stop: int,
        verdicts: Sequence[VerdictChange],
        open_gaps: int,
        proposals: Iterable[Gap] | None = None,
    ) -> None:
        """Record an undo or redo: `stop` edits are applied now, instead of `start`, and `verdicts` changed by it."""
        made = now()
        with self._database.transaction() as connection:
            self._move(connection, start, stop, open_gaps, made)
            self._write_verdicts(connection, verdicts)
            self._write_proposals(connection, proposals)
            connection.execute("UPDATE images SET state = 'in_review' WHERE id = ? AND state = 'done'", (self._image,))

    def store_gaps(self, gaps: Iterable[Gap], open_gaps: int) -> None:
        """Write the list of proposals."""
        with self._database.transaction() as connection:
            self._write_proposals(connection, gaps)
            connection.execute("UPDATE images SET open_gaps = ? WHERE id = ?", (open_gaps, self._image))

    def flags(self) -> frozenset[str]:
        """Return the image's flags."""
        found = self._database.rows("SELECT flags FROM images WHERE id = ?", (self._image,))
        return frozenset(json.loads(found[0][0])) & FLAGS if found else frozenset()

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

    def _move(self, connection: sqlite3.Connection, start: int, stop: int, open_gaps: int, made: str) -> None:
        moved = connection.execute(
            "UPDATE images SET position = ?, open_gaps = ?, changed = ?, annotator = ? WHERE id = ? AND position = ?",
            (stop, open_gaps, made, self._annotator, self._image, start),
        )
        if moved.rowcount != 1:
            raise ProjectError("The image was changed elsewhere, so nothing was changed here; open it again.")

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

    def _write_proposals(self, connection: sqlite3.Connection, gaps: Iterable[Gap] | None) -> None:
        if gaps is not None:
            text = json.dumps([gap.to_json() for gap in gaps])
            connection.execute("INSERT OR REPLACE INTO proposals VALUES (?, ?)", (self._image, text))


def _record_to_json(record: VerdictRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        "verdict": record.verdict.value,
        "annotator": record.annotator,
        "when": record.when,
        "seconds": record.seconds,
        "score": record.score,
    }


def _record_from_json(data: dict[str, Any] | None) -> VerdictRecord | None:
    if data is None:
        return None
    return VerdictRecord(
        verdict=Verdict(data["verdict"]),
        annotator=str(data["annotator"]),
        when=str(data["when"]),
        seconds=float(data["seconds"]),
        score=float(data["score"]),
    )


def _change_to_json(change: VerdictChange) -> dict[str, Any]:
    return {
        "gap": change.gap.to_json(),
        "before": _record_to_json(change.before),
        "after": _record_to_json(change.after),
    }


def _change_from_json(data: dict[str, Any]) -> VerdictChange:
    return VerdictChange(
        Gap.from_json(data["gap"]), _record_from_json(data["before"]), _record_from_json(data["after"])
    )
