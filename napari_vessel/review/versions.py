"""The versions of a project's models: what was learnt from its decisions, what became of it, and the way back.

A version is a folder under ``models`` in the project, as :mod:`napari_vessel.segmentation.registry` reads one, and a
row of the database. The folder is there first, so that a row never names one that is not. The model that the first
version began with has a row too, the lowest, without a folder: it can be returned to like any other.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from napari_vessel.errors import ModelError, ProjectError
from napari_vessel.images.image import Modality
from napari_vessel.review.journal import now
from napari_vessel.review.records import inside
from napari_vessel.review.schema import Database
from napari_vessel.review.version_records import VERSION_COLUMNS, Version, VersionState, version_from_row
from napari_vessel.untrusted import MALFORMED

log = logging.getLogger(__name__)

FOLDER = "models"
_LONGEST_BASE = 40
_BESIDE = "before {}"
_OWN_NAME = re.compile(r"-v\d+-[0-9a-f]{6}$")


class Versions:
    """The versions of a project. Every change is one transaction; any thread may call.

    Parameters
    ----------
    database : Database
        The project's.
    folder : Path
        The project's.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database, self._folder = database, folder

    def history(self) -> list[Version]:
        """Return every version, the first first."""
        current = {number for (number,) in self._database.rows("SELECT version FROM current_versions")}
        rows = self._database.rows(f"SELECT {VERSION_COLUMNS} FROM versions ORDER BY number")
        return [version_from_row(row, row[0] in current, self._folder) for row in rows]

    def version(self, number: int) -> Version:
        """Return one version; ProjectError if there is none of this number."""
        found = next((one for one in self.history() if one.number == number), None)
        if found is None:
            numbers = ", ".join(str(one.number) for one in self.history()) or "there is none yet"
            raise ProjectError(f"The project has no version {number} of its model; choose one of: {numbers}.")
        return found

    def current(self, modality: Modality | None = None) -> Version | None:
        """Return the project's model for a modality; None before the first was promoted.

        Without a modality it is the one current version there is, or the one made last of several.
        """
        rows = self._database.rows(
            f"SELECT {VERSION_COLUMNS} FROM versions WHERE number IN (SELECT version FROM current_versions "
            "WHERE modality = COALESCE(?, modality)) ORDER BY number DESC LIMIT 1",
            (None if modality is None else modality.value,),
        )
        return version_from_row(rows[0], True, self._folder) if rows else None

    def add(
        self,
        folder: Path,
        *,
        parent: str,
        promote: bool | None,
        sentence: str,
        figures: Mapping[str, Any],
        record: Mapping[str, Any],
        images: Collection[str],
        notes: str = "",
    ) -> Version:
        """Take a model that was trained on the project's images: a copy of it, its record, and the gate's verdict.

        Doing it again, after a process was killed for instance, adds nothing.

        Parameters
        ----------
        folder : Path
            The model's folder, as training wrote it.
        parent : str
            Name of the model it began with.
        promote : bool or None
            The gate's decision: False refuses it, otherwise it is a candidate. It is not yet in use.
        sentence : str
            The gate's verdict, for a person.
        figures, record : mapping
            JSON values: old against new, and all that is needed to make it again.
        images : collection of str
            Content hashes of the images that it was made from and judged by.
        notes : str
            The annotator's.

        Returns
        -------
        Version
            A candidate, or refused; what became of it meanwhile when it was added before.

        Raises
        ------
        ModelError
            If the model is damaged.
        ProjectError
            If it cannot be written into the project.
        """
        from napari_vessel.segmentation.registry import read_model, read_weights

        info = read_model(folder)
        read_weights(info)
        known = {one.name: one.number for one in self.history()}
        for one in self.history():
            # A training that did not get better than its beginning ends in weights that another version has.
            again = (one.sha256, one.sentence, one.figures) == (info.sha256, sentence, figures)
            if again and one.folder is not None and one.parent == known.get(parent):
                return one
        state = VersionState.REFUSED if promote is False else VersionState.CANDIDATE
        modalities = json.dumps([modality.value for modality in info.modalities])
        number = max(known.values(), default=0) + (1 if parent in known else 2)
        stem = _OWN_NAME.sub("", parent)[:_LONGEST_BASE].rstrip(".-_")
        name = f"{stem}-v{number}-{info.sha256[:6]}"
        self._copy(folder, name)
        made, stored = now(), f"{FOLDER}/{name}"
        told = (json.dumps(sorted(images)), json.dumps(dict(figures)), json.dumps(dict(record)))
        with self._database.transaction() as connection:
            if parent not in known:
                base = VersionState.BASE.value
                nothing = ("", "", "", None, "[]", "{}", "{}")
                _insert(connection, (number - 1, parent, None, "", "", modalities, made, base, *nothing))
            begun = known.get(parent, number - 1)
            what = (number, name, begun, stored, info.sha256, modalities, made)
            _insert(connection, (*what, state.value, sentence, notes, "", None, *told))
        return self.version(number)

    def promote(self, number: int, by: str, note: str = "", anyway: bool = False) -> Version:
        """Make a version the project's model, and offer it wherever a model is chosen.

        Parameters
        ----------
        number : int
            Of the version.
        by : str
            Who decided it: an annotator, or ``gate``.
        note : str
            Added to its notes.
        anyway : bool
            Also when the gate has refused it.

        Raises
        ------
        ProjectError
            If there is no such version, or the gate has refused it.
        ModelError
            If its files are damaged, or cannot be copied to where models are.
        """
        version = self.version(number)
        if version.state is VersionState.REFUSED and not anyway:
            raise ProjectError(
                f"Version {number} was refused ({version.sentence.rstrip('.')}); leave it, or promote it anyway."
            )
        self._install(version)
        current = self.current(version.modalities[0])
        before = version.before
        if current is None:
            before = self._root(version)
        elif current.number != number and not self._led_to(current, number):
            before = current.number
        beside = self._beside(number)
        for modality in version.modalities[1:]:
            other = self.current(modality)
            if other is not None and other.number != number and not self._led_to(other, number):
                beside[modality] = other.number
        with self._database.transaction() as connection:
            if version.state is not VersionState.BASE:
                connection.execute(
                    "UPDATE versions SET state = ?, before = ? WHERE number = ?",
                    (VersionState.PROMOTED.value, before, number),
                )
            if beside:
                told = json.dumps({modality.value: one for modality, one in beside.items()})
                connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_BESIDE.format(number), told))
            _note(connection, number, note)
            _make_current(connection, number, version.modalities, by)
        return self.version(number)

    def rollback(self, to: int | None = None, by: str = "", note: str = "") -> Version:
        """Return to an older model of the project: the one before the current one, or any.

        Parameters
        ----------
        to : int, optional
            Number of the version; the one that was current before when left out.
        by, note : str
            Who decided it, and what to add to the notes of the version that is left.

        Raises
        ------
        ProjectError
            If there is nothing to return to, or no such version, or the gate has refused it.
        ModelError
            If its files are damaged, or cannot be copied to where models are.
        """
        target = None if to is None else self.version(to)
        left = self.current() if target is None else self.successor(target)
        if left is None:
            raise ProjectError("No version was promoted in this project yet, so there is nothing to return to.")
        if target is None:
            if left.before is None:
                raise ProjectError(f"{left.name} is the model that the project began with; name the version to go to.")
            target = self.version(left.before)
        if target.number == left.number:
            return left
        if target.state in (VersionState.REFUSED, VersionState.CANDIDATE):
            raise ProjectError(f"Version {target.number} was never in use; promote it instead.")
        self._install(target)
        beside = self._served_else(left, target)
        for one in set(beside.values()):
            self._install(self.version(one))
        with self._database.transaction() as connection:
            if left.state is not VersionState.BASE:
                connection.execute(
                    "UPDATE versions SET state = ? WHERE number = ?", (VersionState.ROLLED_BACK.value, left.number)
                )
            if target.state is not VersionState.BASE:
                connection.execute(
                    "UPDATE versions SET state = ? WHERE number = ?", (VersionState.PROMOTED.value, target.number)
                )
            _note(connection, left.number, note)
            connection.executemany(
                "UPDATE current_versions SET version = ? WHERE version = ? AND modality = ?",
                [(one, left.number, modality.value) for modality, one in beside.items()],
            )
            # Whatever else the version served that is left; what it began with is meant for other images, perhaps.
            served = "UPDATE current_versions SET version = ? WHERE version = ?"
            connection.execute(served, (target.number, left.number))
            own = () if target.state is VersionState.BASE else target.modalities
            _make_current(connection, target.number, [one for one in own if one not in beside], by)
        return self.version(target.number)

    def successor(self, version: Version) -> Version | None:
        """Return the version in use that a return to an older one leaves; None where there is none to leave."""
        if version.state is VersionState.BASE:
            # Models for other images began with it, too: the newest in use goes back to it.
            begun = [one for one in self.history() if one.current and self._root(one) == version.number]
            if begun:
                return begun[-1]
        return self.current(version.modalities[0])

    def decline(self, number: int, by: str) -> Version:
        """Leave a candidate, on an annotator's word; it can be promoted anyway later.

        Raises
        ------
        ProjectError
            If there is no such version, or it is no candidate.
        """
        if self.version(number).state is not VersionState.CANDIDATE:
            raise ProjectError(f"Version {number} is no candidate any more, so there is nothing to decide about it.")
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE versions SET state = ?, decided_by = ? WHERE number = ?",
                (VersionState.REFUSED.value, by, number),
            )
        return self.version(number)

    def set_notes(self, number: int, notes: str) -> None:
        """Write the notes on a version."""
        self.version(number)
        with self._database.transaction() as connection:
            connection.execute("UPDATE versions SET notes = ? WHERE number = ?", (notes, number))

    def install_missing(self) -> None:
        """Offer the project's current models on this machine, where it lacks them; what fails is logged."""
        for (number,) in self._database.rows("SELECT DISTINCT version FROM current_versions"):
            try:
                self._install(self.version(number))
            except (ModelError, ProjectError) as error:
                log.warning("%s", error)

    # Inside

    def _served_else(self, left: Version, target: Version) -> dict[Modality, int]:
        """Return what else serves kinds of images when a version is left for another: what they had, if in use."""
        found = self._beside(left.number)
        if target.number != left.before:
            # The target is gone to for the images it is made for; the others go back, too.
            if left.before is not None:
                found[left.modalities[0]] = left.before
            found = {kind: one for kind, one in found.items() if kind not in target.modalities}
        kept = {VersionState.BASE, VersionState.PROMOTED}
        return {kind: one for kind, one in found.items() if self.version(one).state in kept}

    def _install(self, version: Version) -> None:
        from napari_vessel.segmentation.registry import install_model, model_info, read_model, usable_models

        if version.folder is None:
            model_info(version.name)
            return
        # A project from elsewhere may name any model of this machine: only what it made itself goes among them.
        given = read_model(version.folder)
        own = _OWN_NAME.search(version.name) is not None and version.name.endswith(version.sha256[:6])
        if not own or (given.name, given.sha256) != (version.name, version.sha256):
            raise ProjectError(
                f"Version {version.number} of the project is not the model in '{version.folder}'; it is not installed."
            )
        if all((one.name, one.sha256) != (version.name, version.sha256) for one in usable_models()):
            install_model(version.folder)

    def _copy(self, folder: Path, name: str) -> None:
        """Copy a model into the project under a name; it is there whole, or not at all."""
        from napari_vessel.images.writing import write_json

        home = inside(self._folder, FOLDER)
        fresh = home / f".{name}.{os.getpid()}.new"
        try:
            home.mkdir(exist_ok=True)
            # Of those that no row names, a killed process left them.
            for stale in (*home.glob(".*.new"), home / name):
                shutil.rmtree(stale, ignore_errors=True)
            fresh.mkdir()
            for file in ("README.md", "model.safetensors"):
                if (folder / file).is_file():
                    shutil.copyfile(folder / file, fresh / file)
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            write_json(fresh / "config.json", {**config, "name": name})
            for path in fresh.iterdir():
                with open(path, "rb+") as written:
                    # The row that is about to name it outlives a loss of power, so it must, too.
                    os.fsync(written.fileno())
            fresh.rename(home / name)
        except OSError as error:
            raise ProjectError(
                f"The model cannot be copied to {home / name} ({error.strerror or error}); make room or check the "
                "folder's permissions."
            ) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _root(self, version: Version) -> int | None:
        """Return what was in use before the first promotion: the model that a version goes back to in the end."""
        number = version.parent
        while number is not None and (parent := self.version(number).parent) is not None:
            number = parent
        return number

    def _beside(self, number: int) -> dict[Modality, int]:
        """Return what was current before a version for its modalities but the first, whose is its ``before``."""
        rows = self._database.rows("SELECT value FROM meta WHERE key = ?", (_BESIDE.format(number),))
        try:
            return {Modality(name): int(one) for name, one in json.loads(rows[0][0]).items()} if rows else {}
        except MALFORMED:
            # Its ``before`` serves them as well as it can.
            return {}

    def _led_to(self, current: Version, number: int) -> bool:
        """Whether the way back from the current version comes past another one."""
        seen = {current.number}
        before = current.before
        while before is not None and before not in seen:
            if before == number:
                return True
            seen.add(before)
            before = self.version(before).before
        return False


def _insert(connection: sqlite3.Connection, row: tuple[Any, ...]) -> None:
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO versions ({VERSION_COLUMNS}) VALUES ({marks})", row)


def _note(connection: sqlite3.Connection, number: int, note: str) -> None:
    if note:
        connection.execute(
            "UPDATE versions SET notes = ltrim(notes || char(10) || ?, char(10)) WHERE number = ?", (note, number)
        )


def _make_current(connection: sqlite3.Connection, number: int, modalities: Iterable[Modality], by: str) -> None:
    connection.execute("UPDATE versions SET decided_by = ? WHERE number = ?", (by, number))
    connection.executemany(
        "INSERT OR REPLACE INTO current_versions VALUES (?, ?)", [(modality.value, number) for modality in modalities]
    )
