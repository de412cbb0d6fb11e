"""Which images a new model is judged by: drawn once, written down by their content, and never learnt from.

Every done image is given a side, guard or teacher, and keeps it whatever happens to the image afterwards: a model that
has seen an image cannot be judged by it any more. All images of a patient are on one side, because the two eyes of a
person, or two visits, are much more alike than two people. Which patients are guards follows from the images' hashes,
so that neither the names nor the order of the work has a say in it.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from napari_vessel.review.journal import now
from napari_vessel.review.records import ImageRecord
from napari_vessel.review.schema import Database

SHARE = 0.2
"""Of the images, those that are to be guards."""

_EYES = (
    "l|r|le|re|od|os|left|right|"
    # French, German, Dutch, Spanish, Italian. Not la, li, ra: names and articles are spelt so.
    "og|oi|gauche|droite?|links|rechts|izq|izd[ao]|izquierd[ao]|der|dch[ao]|derech[ao]|sx|dx"
)
_VISITS = "v|visit|ses|session|fu|followup|exam"
_EYE = re.compile(_EYES)
_EYE_BEHIND_NUMBER = re.compile(rf"(?<=\d)(?:{_EYES})$")
_VISIT = re.compile(rf"(?:{_VISITS})\d+|baseline|followup")
_APART = re.compile(rf"(?<![^_])({_VISITS})_(\d+)(?![^_])")
_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d([-_.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\d)")
_IDENTIFIER = re.compile(r"[a-z]+\d+|\d+[a-z]+|\d{3,}")


@dataclass(frozen=True, slots=True)
class Side:
    """The side of an image: a guard, by which new models are judged, or a teacher, that they may learn from."""

    patient: str
    guard: bool


def patient_of(name: str, plane: int | None = None) -> str:
    """Return a key that the images of one patient share, as far as their names tell.

    Names are of one patient when they differ only in the mark of the eye (``L`` and ``R``, ``OD`` and ``OS``, ``left``
    and ``right``, those of French, German, Dutch, Spanish and Italian clinics; also right behind a number) or of the
    visit (``v2``, ``visit2``, ``ses-02``, a date beside an identifier). A bare number is no mark: it may be the
    patient's.

    Parameters
    ----------
    name : str
        Of an image, without its ending.
    plane : int or None
        Page of a multi-page file: all its pages are of one patient.

    Returns
    -------
    str
        In lower case; empty where the name is nothing but marks.
    """
    plain = name.casefold()
    if plane is not None:
        plain = plain.removesuffix(f"_p{plane:03d}")
    undated = _DATE.sub("", plain)
    if any(_IDENTIFIER.fullmatch(token) for token in _tokens(undated)):
        plain = undated
    plain = _APART.sub(r"\1\2", "_".join(_tokens(plain)))
    kept = [token for token in plain.split("_") if not _EYE.fullmatch(token) and not _VISIT.fullmatch(token)]
    return "_".join(_EYE_BEHIND_NUMBER.sub("", token) for token in kept)


def _tokens(name: str) -> list[str]:
    return [token for token in re.split(r"[\W_]+", name) if token]


def given_name(record: ImageRecord) -> str:
    """Return the name of an image without the number by which the project tells it from another file's of that name.

    A name without any digit (``fundus``) says of no file whose it is, so the number stays, but in front of the page.
    """
    page = "" if record.plane is None else f"_p{record.plane:03d}"
    found = re.fullmatch(rf"(.+){page}_(\d+)", record.name)
    stem = unicodedata.normalize("NFC", record.path.stem)
    if found is None or record.saved or patient_of(found[1]) != patient_of(stem):
        return record.name
    return f"{found[1]}{page}" if re.search(r"\d", stem) else f"{found[1]}_{found[2]}{page}"


def patient_of_record(record: ImageRecord) -> str:
    """Return the key of :func:`patient_of` for an image of a project."""
    return patient_of(given_name(record), record.plane)


def drawn(known: Mapping[str, Side], done: Mapping[str, str]) -> dict[str, Side]:
    """Draw the sides of images that are done and have none, given those that were drawn before.

    Parameters
    ----------
    known : mapping of str to Side
        By content hash; those that were learnt from before they were done are among them.
    done : mapping of str to str
        The patient of each image that is done, by content hash; of those that are known the side stays.

    Returns
    -------
    dict of str to Side
        The sides of the new ones: as near a fifth of the images that are done, and of the guards that are not any more,
        as possible are guards then, and at least one as soon as there are two patients.
    """
    sides = {side.patient: side.guard for side in known.values()}
    images: dict[str, list[str]] = {}
    for content, patient in done.items():
        if content not in known:
            images.setdefault(patient, []).append(content)
    guards = sum(side.guard for side in known.values())
    guards += sum(len(of_one) for patient, of_one in images.items() if sides.get(patient))
    # What teaches before it is done is no reason for more guards: of few that are done, all would become some.
    wanted = SHARE * len(done.keys() | {content for content, side in known.items() if side.guard})
    waiting = sorted((patient for patient in images if patient not in sides), key=lambda one: _luck(images[one]))
    several = len(sides) + len(waiting) >= 2
    for patient in waiting:
        more = guards + len(images[patient])
        sides[patient] = several and abs(more - wanted) < abs(guards - wanted)
        guards = more if sides[patient] else guards
    if several and waiting and not guards:
        # Of several that are as near, min takes the first.
        sides[min(waiting, key=lambda one: abs(len(images[one]) - wanted))] = True
    return {content: Side(patient, sides[patient]) for patient, of_one in images.items() for content in of_one}


def _luck(contents: Iterable[str]) -> str:
    # Of the smallest hash alone the patient with most images would be drawn most often.
    return hashlib.sha256("".join(sorted(contents)).encode()).hexdigest()


class Guards:
    """The sides of a project's images, as its database has them.

    Parameters
    ----------
    database : Database
        The project's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def sides(self) -> dict[str, Side]:
        """Return the side of every image that has one, by content hash."""
        return _sides(self._database.rows(_QUERY))

    def foreseen(self, done: Iterable[ImageRecord]) -> dict[str, Side]:
        """Return the sides that there would be after :meth:`draw`; nothing is written down."""
        known = self.sides()
        return known | drawn(known, _patients(done))

    def judging(self, records: Iterable[ImageRecord]) -> set[str]:
        """Return the content hashes of those of some images that nobody may learn from: guards, and their patients'."""
        patients, known = _patients(records), self.sides()
        guarded = {side.patient for side in known.values() if side.guard}
        return {
            content
            for content, patient in patients.items()
            if (known[content].guard if content in known else patient in guarded)
        }

    def draw(self, done: Iterable[ImageRecord]) -> dict[str, Side]:
        """Give a side, for good, to those of some done images that have none; return the sides of all."""
        patients = _patients(done)
        with self._database.transaction() as connection:
            known = _sides(connection.execute(_QUERY).fetchall())
            new = drawn(known, patients)
            _write(connection, new)
        return known | new

    def note_taught(self, records: Iterable[ImageRecord]) -> None:
        """Write down that images were learnt from, finished or not: none of them can become a guard.

        One whose patient is a guard already is left out: nobody may have learnt from it.
        """
        patients = _patients(records)
        with self._database.transaction() as connection:
            known = _sides(connection.execute(_QUERY).fetchall())
            guarded = {side.patient for side in known.values() if side.guard}
            new = {
                content: Side(patient, False)
                for content, patient in patients.items()
                if content not in known and patient not in guarded
            }
            _write(connection, new)


_QUERY = "SELECT content_hash, patient, guard FROM guards"


def _sides(rows: Iterable[tuple[object, ...]]) -> dict[str, Side]:
    return {str(content): Side(str(patient), bool(guard)) for content, patient, guard in rows}


def _patients(records: Iterable[ImageRecord]) -> dict[str, str]:
    return {record.content_hash: patient_of_record(record) for record in records}


def _write(connection: sqlite3.Connection, sides: Mapping[str, Side]) -> None:
    made = now()
    connection.executemany(
        "INSERT INTO guards VALUES (?, ?, ?, ?)",
        [(content, side.patient, int(side.guard), made) for content, side in sides.items()],
    )
