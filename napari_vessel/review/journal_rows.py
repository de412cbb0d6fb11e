"""How one image's edits, verdicts and masks are rows of the database: written, and read with every check."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap
from napari_vessel.review.edits import (
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
from napari_vessel.review.schema import Database
from napari_vessel.untrusted import MALFORMED, finite

UNREADABLE = (*MALFORMED, zlib.error)
"""What reading raises for rows that cannot be understood; :class:`Journal` makes a sentence of it."""

_OUTSIDE = "something lies outside the image"


# Reading


def read_edits(database: Database, image: str, start: int, stop: int) -> list[Edit]:
    """Read the edits from the number `start` (inclusive, from 0) to `stop` (exclusive), oldest first."""
    key = (image, start, stop)
    masks: dict[int, list[MaskEdit]] = {}
    for seq, y0, x0, y1, x1, before, after in database.rows(
        "SELECT seq, y0, x0, y1, x1, before, after FROM mask_edits WHERE image = ? AND seq > ? AND seq <= ? "
        "ORDER BY seq, part",
        key,
    ):
        masks.setdefault(seq, []).append(MaskEdit((int(y0), int(x0), int(y1), int(x1)), before, after))
    found: list[Edit] = []
    for seq, kind, text, link, verdicts, fragments in database.rows(
        "SELECT seq, kind, text, link, verdicts, fragments FROM edits WHERE image = ? AND seq > ? AND seq <= ? "
        "ORDER BY seq",
        key,
    ):
        decided = tuple(FragmentChange.from_json(c) for c in json.loads(fragments))
        found.append(Edit(EditKind(kind), text, tuple(masks.get(seq, ())), _changes(verdicts), link, decided))
    if len(found) != stop - start:
        raise ValueError("edits are missing")
    boxes = [mask.box for edit in found for mask in edit.masks]
    _check_boxes(database, image, boxes + [change.fragment.box for edit in found for change in edit.fragments])
    return found


def replay(
    database: Database, image: str, labels: NDArray[np.uint8], shape: tuple[int, int], start: int, stop: int
) -> None:
    """Put into a mask what the edits after the first `start`, up to number `stop`, left behind."""
    for y0, x0, y1, x1, after in database.rows(
        "SELECT y0, x0, y1, x1, after FROM mask_edits WHERE image = ? AND seq > ? AND seq <= ? ORDER BY seq, part",
        (image, start, stop),
    ):
        if not is_inside((y0, x0, y1, x1), shape):
            raise ValueError(_OUTSIDE)
        labels[y0:y1, x0:x1] = unpacked(after, (y1 - y0, x1 - x0))


def read_snapshot(
    database: Database, image: str, position: int, shape: tuple[int, int]
) -> tuple[int, NDArray[np.uint8] | None]:
    """Return the newest snapshot up to a position that can be read: after a damaged one the edits tell the rest."""
    for (seq,) in database.rows(
        "SELECT seq FROM snapshots WHERE image = ? AND seq <= ? ORDER BY seq DESC", (image, position)
    ):
        [(data,)] = database.rows("SELECT labels FROM snapshots WHERE image = ? AND seq = ?", (image, seq))
        try:
            return int(seq), unpacked(data, shape).copy()
        except UNREADABLE:
            continue
    return 0, None


def read_proposals(database: Database, image: str) -> tuple[Gap, ...]:
    """Return the proposals, ranked."""
    found = database.rows("SELECT gaps FROM proposals WHERE image = ?", (image,))
    return tuple(Gap.from_json(gap) for gap in json.loads(found[0][0])) if found else ()


def read_verdicts(database: Database, image: str) -> list[tuple[Gap, VerdictRecord]]:
    """Return the decided gaps and their verdicts, in the order in which they were decided."""
    rows = database.rows(
        "SELECT proposal, verdict, annotator, made, seconds, score FROM verdicts WHERE image = ? ORDER BY made, gap",
        (image,),
    )
    return [
        (
            Gap.from_json(json.loads(row[0])),
            VerdictRecord(Verdict(row[1]), str(row[2]), str(row[3]), finite(row[4]), finite(row[5])),
        )
        for row in rows
    ]


def read_decisions(database: Database, image: str, position: int) -> list[Edit]:
    """Return the first `position` edits with verdicts from the first bulk accept on, without their masks."""
    rows = database.rows(
        "SELECT kind, text, link, verdicts FROM edits WHERE image = ? AND seq <= ? AND verdicts <> '[]' AND seq >= "
        "(SELECT MIN(seq) FROM edits WHERE image = ? AND kind = ?) ORDER BY seq",
        (image, position, image, EditKind.BULK.value),
    )
    return [Edit(EditKind(kind), text, (), _changes(verdicts), link) for kind, text, link, verdicts in rows]


def read_fragments(database: Database, image: str) -> list[tuple[Fragment, FragmentRecord]]:
    """Return the decided fragments and their verdicts."""
    found = []
    for description, text in database.rows(
        "SELECT description, record FROM fragments WHERE image = ? ORDER BY fragment", (image,)
    ):
        record = FragmentRecord.from_json(json.loads(text))
        if record is None:
            raise ValueError("no verdict")
        found.append((Fragment.from_json(json.loads(description)), record))
    _check_boxes(database, image, [fragment.box for fragment, _ in found])
    return found


def _changes(text: str) -> tuple[VerdictChange, ...]:
    return tuple(VerdictChange.from_json(change) for change in json.loads(text))


def _check_boxes(database: Database, image: str, boxes: Sequence[Box]) -> None:
    """Raise ValueError for a box that is not in the image."""
    if boxes:
        [(height, width)] = database.rows("SELECT height, width FROM images WHERE id = ?", (image,))
        if not all(is_inside(box, (height, width)) for box in boxes):
            raise ValueError(_OUTSIDE)


# Writing, inside a transaction


def write_edit(connection: sqlite3.Connection, image: str, seq: int, edit: Edit, annotator: str, made: str) -> None:
    """Write an edit as number `seq`; what stood there and after it is forgotten."""
    for table in ("edits", "snapshots"):
        connection.execute(f"DELETE FROM {table} WHERE image = ? AND seq >= ?", (image, seq))
    changes = json.dumps([change.to_json() for change in edit.verdicts])
    fragments = json.dumps([change.to_json() for change in edit.fragments])
    connection.execute(
        "INSERT INTO edits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (image, seq, edit.kind.value, edit.text, edit.group, changes, annotator, made, fragments),
    )
    connection.executemany(
        "INSERT INTO mask_edits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(image, seq, n, *mask.box, mask.before, mask.after) for n, mask in enumerate(edit.masks)],
    )


def write_snapshot(connection: sqlite3.Connection, image: str, seq: int, labels: NDArray[np.uint8]) -> None:
    """Write the mask as it is after `seq` edits."""
    connection.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)", (image, seq, packed(labels)))


def write_verdicts(connection: sqlite3.Connection, image: str, changes: Sequence[VerdictChange]) -> None:
    """Write verdicts on gaps as they are after some changes."""
    for change in changes:
        if change.after is None:
            connection.execute("DELETE FROM verdicts WHERE image = ? AND gap = ?", (image, change.gap.id))
            continue
        record = change.after
        connection.execute(
            "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                image,
                change.gap.id,
                record.verdict.value,
                record.annotator,
                record.when,
                record.seconds,
                record.score,
                json.dumps(change.gap.to_json()),
            ),
        )


def write_fragments(connection: sqlite3.Connection, image: str, changes: Sequence[FragmentChange]) -> None:
    """Write verdicts on fragments as they are after some changes."""
    for change in changes:
        key = (image, change.fragment.id)
        if change.after is None:
            connection.execute("DELETE FROM fragments WHERE image = ? AND fragment = ?", key)
            continue
        described = (json.dumps(change.fragment.to_json()), json.dumps(change.after.to_json()))
        connection.execute("INSERT OR REPLACE INTO fragments VALUES (?, ?, ?, ?)", (*key, *described))


def write_proposals(connection: sqlite3.Connection, image: str, gaps: Iterable[Gap] | None) -> None:
    """Write the list of proposals; None leaves it as it is."""
    if gaps is not None:
        text = json.dumps([gap.to_json() for gap in gaps])
        connection.execute("INSERT OR REPLACE INTO proposals VALUES (?, ?)", (image, text))
