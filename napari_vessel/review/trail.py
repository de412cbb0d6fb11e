"""The history of a whole project: which image has the newest edit, and which the one that was taken back last.

Each image keeps its own history; the rows of all edits are numbered in the order in which they were made, and a short
list says in which images edits were taken back since the last new one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from napari_vessel.review.edits import UNSEEN
from napari_vessel.untrusted import MALFORMED

if TYPE_CHECKING:
    from napari_vessel.review.schema import Database

_KEY = "undone"
_LONGEST = 1000
# Edits are numbered as they come: a new rowid is larger than any there is. The join is crossed, so that the search
# begins at the newest edit and ends at the first that is applied.
NEWEST = (
    "SELECT e.image, i.name, e.text FROM edits e CROSS JOIN images i ON i.id = e.image "
    "WHERE e.seq <= i.position AND e.link <> ? ORDER BY e.rowid DESC LIMIT 1"
)


class Place(NamedTuple):
    """Where the next undo or redo of a project is.

    Attributes
    ----------
    image : str
        Id of the image.
    name : str
        Its name, for people.
    text : str
        What would be taken back, or done again.
    """

    image: str
    name: str
    text: str


def newest(database: Database) -> Place | None:
    """Return the newest applied edit of a project; None when there is none.

    Masks that were made while their image was not open do not count: nobody saw them come.
    """
    found = database.rows(NEWEST, (UNSEEN,))
    return Place(*found[0]) if found else None


def undone(database: Database) -> Place | None:
    """Return the edit that was taken back last; None when none was since the newest one was made."""
    for image in reversed(_read(database.rows("SELECT value FROM meta WHERE key = ?", (_KEY,)))):
        # Of a repaint's strokes and verdict the last says what they are.
        found = database.rows(
            "SELECT i.id, i.name, COALESCE((SELECT l.text FROM edits l WHERE l.image = e.image AND e.link <> '' "
            "AND l.link = e.link ORDER BY l.seq DESC LIMIT 1), e.text) "
            "FROM images i JOIN edits e ON e.image = i.id AND e.seq = i.position + 1 WHERE i.id = ?",
            (image,),
        )
        if found:
            return Place(*found[0])
    return None


def note_new(connection: sqlite3.Connection) -> None:
    """Forget what was taken back: a new edit was made."""
    connection.execute("DELETE FROM meta WHERE key = ?", (_KEY,))


def note_move(connection: sqlite3.Connection, image: str, back: bool) -> None:
    """Note that an edit of an image was taken back, or done again."""
    images = _read(connection.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchall())
    if back:
        images.append(image)
    elif image in images:
        del images[len(images) - 1 - images[::-1].index(image)]
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_KEY, json.dumps(images[-_LONGEST:])))


def _read(rows: Sequence[tuple[object, ...]]) -> list[str]:
    try:
        return [str(image) for image in json.loads(str(rows[0][0]))] if rows else []
    except MALFORMED:
        # It only says where to go; each image still has all of its history.
        return []
