"""A project: a folder the annotator owns, with a database that remembers every decision."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap
from napari_vessel.errors import InputError, ProjectError
from napari_vessel.images.image import Modality, VesselImage, VesselMask
from napari_vessel.jobs import Job
from napari_vessel.review.adding import Fov, Incoming, add_images
from napari_vessel.review.audit import BulkAccepted, bulk_accepted
from napari_vessel.review.backup import BACKUP_NAME, damage
from napari_vessel.review.edits import EditKind, Verdict, VerdictRecord
from napari_vessel.review.fragments import Fragment, FragmentRecord
from napari_vessel.review.guard import Guards
from napari_vessel.review.image_files import ImageFiles
from napari_vessel.review.image_rows import ImageRows
from napari_vessel.review.journal import Journal, count_decisions, now
from napari_vessel.review.lock import FolderLock
from napari_vessel.review.maps import Maps
from napari_vessel.review.opinions import read_opinions
from napari_vessel.review.origins import Origins, read_origins
from napari_vessel.review.records import ImageRecord, ImageState, stored_path, transform_from_json
from napari_vessel.review.schema import DATABASE_NAME, Database, check_header, create_database
from napari_vessel.review.session import ReviewSession
from napari_vessel.review.trail import Place, newest, undone
from napari_vessel.review.versions import Versions

if TYPE_CHECKING:
    from napari_vessel.completion.belief import Opinion
    from napari_vessel.images.inputs import ImageInput


class Project:
    """An open project. Use :meth:`create`, :meth:`open` or :meth:`open_or_create`; any thread may call its methods.

    While it is open nobody else, in this process or another, can open the same folder.

    Attributes
    ----------
    folder : Path
        Where it lives, resolved.
    guards : Guards
        Which images new models are judged by, and which they may learn from.
    versions : Versions
        The models that were trained on its images.
    """

    def __init__(self, folder: Path, database: Database, lock: FolderLock) -> None:
        self.folder = folder
        self._database = database
        self._lock = lock
        self._maps = Maps(database, folder)
        self._rows = ImageRows(database, folder)
        self._files = ImageFiles(self._rows)
        self.guards = Guards(database)
        self.versions = Versions(database, folder)
        if database.backed_up:
            self._maps.sweep()

    @classmethod
    def create(cls, folder: Path | str, name: str = "") -> Self:
        """Make a new project in a folder, which is made when it is not there.

        Raises
        ------
        ProjectError
            If there is a project already, or the folder cannot be written.
        """
        folder = Path(folder).expanduser()
        name = name or folder.resolve().name
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ProjectError(f"{name!r} is a name that is no text; give the project another.") from error
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProjectError(
                f"The project folder {folder} cannot be made ({error.strerror}); choose a folder you can write to."
            ) from error
        folder = folder.resolve()
        database = folder / DATABASE_NAME
        if database.exists():
            raise ProjectError(f"{folder} already has a project; open it, or choose another folder.")
        if (folder / BACKUP_NAME).exists():
            raise damage(f"{folder} has the backup of a project that lost its {DATABASE_NAME}", folder)
        lock = FolderLock(folder)
        try:
            create_database(database, {"id": uuid.uuid4().hex, "name": name, "created": now()})
            return cls(folder, Database(database), lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """Open an existing project.

        Raises
        ------
        ProjectError
            If the folder is no project, is damaged, was made by a newer version, or is open elsewhere; nothing
            was written then.
        """
        folder = Path(folder).expanduser().resolve()
        check_header(folder / DATABASE_NAME)
        lock = FolderLock(folder)
        try:
            project = cls(folder, Database(folder / DATABASE_NAME), lock)
            project.versions.install_missing()
            return project
        except ProjectError:
            lock.release()
            raise

    @classmethod
    def open_or_create(cls, folder: Path | str, name: str = "") -> Self:
        """Open the project in a folder, or make one where there is none."""
        there = (Path(folder).expanduser() / DATABASE_NAME).exists()
        return cls.open(folder) if there else cls.create(folder, name)

    def close(self) -> None:
        """Close the database and let others open the folder. Safe to call twice."""
        # After the database, so that no thread can name one more, and before another may open the folder.
        if self._database.close():
            self._maps.sweep()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Images

    @property
    def name(self) -> str:
        """The project's name, for people."""
        return self._meta("name") or self.folder.name

    @property
    def id(self) -> str:
        """The project's own random id, in its exports too; a project from before there were ids gets one."""
        found = self._meta("id")
        if not found:
            with self._database.transaction() as connection:
                connection.execute("INSERT OR IGNORE INTO meta VALUES ('id', ?)", (uuid.uuid4().hex,))
            found = self._meta("id")
        return found

    @property
    def last_image(self) -> str | None:
        """Id of the image opened last, so that the next start opens where the work was."""
        found = self._meta("last_image")
        exists = self._database.rows("SELECT 1 FROM images WHERE id = ?", (found,))
        return found if exists else None

    def add(
        self,
        inputs: Sequence[ImageInput | VesselImage | Incoming],
        masks: Path | VesselMask | None = None,
        fov: Fov = "auto",
        modality: Modality | None = None,
    ) -> Job[list[ImageRecord]]:
        """Add images: files are referred to, arrays are saved in the project. All of them, or none.

        Parameters
        ----------
        inputs : sequence of ImageInput, VesselImage or Incoming
            From :func:`napari_vessel.images.inputs.find_inputs`, in memory, or from a data set with what it knows.
        masks : Path or VesselMask, optional
            A folder (or file) in which each image's mask is looked up by name, or the mask of the one image.
        fov : "auto", "none" or Path
            Field of view of files: found, everything, or a file or folder.
        modality : Modality, optional
            Guessed when left out.

        Returns
        -------
        list of ImageRecord
            In the order of `inputs`; an image whose content is there already appears with its old record.

        Raises
        ------
        InputError
            If an image or mask cannot be used; nothing was added then.
        """
        ids = yield from add_images(self._database, self.folder, inputs, masks, fov, modality)
        return [self.record(image_id) for image_id in ids]

    def images(self) -> list[ImageRecord]:
        """Return every image, in the order in which they were added."""
        return self._rows.all()

    def record(self, image_id: str) -> ImageRecord:
        """Return one image's record.

        Raises
        ------
        ProjectError
            If there is no such image.
        """
        return self._rows.record(image_id)

    def locate(self, image_id: str) -> ImageRecord:
        """Return an image's record after looking for its file by its content, when that was moved or renamed.

        Raises
        ------
        ProjectError
            If the file is not found; adding the image again tells where it is.
        """
        return self._files.locate(self.record(image_id))

    def read_image(self, image_id: str) -> VesselImage:
        """Read an image's pixels, from where its file is now.

        Raises
        ------
        ProjectError
            If its file is gone or has changed since it was added, and nowhere to be found.
        """
        return self._files.read(self.record(image_id))

    def set_state(self, image_id: str, state: ImageState) -> None:
        """Say how far the work on an image is; a finished one can be reopened."""
        self._rows.change(image_id, "state", ImageState(state).value)

    def set_modality(self, image_id: str, modality: Modality) -> None:
        """Say how an image was taken."""
        self._rows.change(image_id, "modality", Modality(modality).value)

    def set_transform(self, image_id: str, transform: NDArray[np.float64]) -> None:
        """Say where an image lies in the world of the viewer.

        Parameters
        ----------
        image_id : str
            The image.
        transform : ndarray, shape (3, 3)
            Takes (y, x, 1) in pixels to the world; invertible.

        Raises
        ------
        InputError
            If it is no such matrix.
        """
        text = json.dumps(np.asarray(transform, np.float64).tolist())
        try:
            transform_from_json(text)
        except ValueError as error:
            raise InputError("The layer has no size in the world; give it a scale other than 0.") from error
        self._rows.change(image_id, "transform", text)

    def set_fov(self, image_id: str, fov: Fov) -> None:
        """Say where an image's field of view comes from, ``auto``, ``none`` or a file, from the next reading on."""
        self._rows.change(image_id, "fov", fov if isinstance(fov, str) else stored_path(self.folder, fov))

    def set_flags(self, image_id: str, flags: Iterable[str]) -> None:
        """Set an image's flags: any of ``ungradable``, ``second_reader`` and ``all_vessels``."""
        self.record(image_id)
        Journal(self._database, image_id).set_flags(flags)

    def set_comment(self, image_id: str, comment: str) -> None:
        """Set the comment on an image."""
        self._rows.change(image_id, "comment", comment)

    # Review

    def open_session(self, image_id: str, annotator: str = "", remember: bool = True) -> ReviewSession:
        """Open an image for review exactly as it was left: its mask, proposals, verdicts and history.

        Parameters
        ----------
        image_id : str
            The image.
        annotator : str
            Who works on it.
        remember : bool
            Make it the `last_image`; False for work in the background.

        Raises
        ------
        ProjectError
            If the image's mask or history is missing or damaged.
        """
        record = self.record(image_id)
        journal = Journal(self._database, image_id, annotator)
        history = journal.history()
        labels = journal.labels(lambda: self._base(record), record.shape, keep=True)
        if remember:
            with self._database.transaction() as connection:
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('last_image', ?)", (image_id,))
        return ReviewSession(
            labels,
            record.classes,
            history=history,
            gaps=journal.proposals(),
            decided=journal.verdicts(),
            journal=journal,
            image_id=image_id,
            annotator=annotator,
            opinions=self.opinions(annotator, besides=image_id),
        )

    def next_undo(self) -> Place | None:
        """Return where the newest edit of all images is, which an undo of the project takes back; None without one."""
        return newest(self._database)

    def next_redo(self) -> Place | None:
        """Return where the edit is that was taken back last, unless a new one was made since."""
        return undone(self._database)

    def read_mask(self, image_id: str) -> VesselMask:
        """Return an image's mask as it is now, without opening a session."""
        record = self.record(image_id)
        labels = Journal(self._database, image_id).labels(lambda: self._base(record), record.shape, keep=False)
        return VesselMask(labels, record.classes, record.rule)

    def read_first_mask(self, image_id: str) -> VesselMask:
        """Return an image's mask before its review: as it came, or as it was segmented last."""
        record = self.record(image_id)
        begun = self._database.rows(
            "SELECT COALESCE(MAX(e.seq), 0) FROM edits e JOIN images i ON i.id = e.image "
            "WHERE e.image = ? AND e.kind = ? AND e.seq <= i.position",
            (image_id, EditKind.SEGMENT.value),
        )[0][0]
        journal = Journal(self._database, image_id)
        labels = journal.labels(lambda: self._base(record), record.shape, keep=False, position=int(begun))
        return VesselMask(labels, record.classes, record.rule)

    def origins(self, image_id: str) -> Job[Origins]:
        """Find who decided each pixel of an image's mask, from its history.

        Raises
        ------
        ProjectError
            If the image's mask or history is missing or damaged.
        """
        record = self.record(image_id)
        return read_origins(Journal(self._database, image_id), record, lambda: self._base(record))

    def has_mask(self, image_id: str) -> bool:
        """Whether an image came with a mask or was given one; it may have been emptied since."""
        return bool(
            self._database.rows(
                "SELECT 1 FROM images WHERE id = ? AND (base IS NOT NULL OR EXISTS "
                "(SELECT 1 FROM mask_edits WHERE image = images.id AND seq <= images.position))",
                (image_id,),
            )
        )

    def with_masks(self) -> set[str]:
        """Return the ids of the images of which :meth:`has_mask` is true."""
        return {
            str(image)
            for (image,) in self._database.rows(
                "SELECT id FROM images WHERE base IS NOT NULL OR EXISTS "
                "(SELECT 1 FROM mask_edits WHERE image = images.id AND seq <= images.position)"
            )
        }

    def whole_masks(self, image_id: str) -> list[tuple[str, bool]]:
        """Return the applied edits that replaced the whole mask, oldest first.

        Returns
        -------
        list of (str, bool)
            Text of the edit, and whether the stored probability map was there when it was made.
        """
        return [
            (str(text), bool(later))
            for text, later in self._database.rows(
                "SELECT e.text, e.made >= s.made FROM edits e JOIN images i ON i.id = e.image "
                "LEFT JOIN segmentations s ON s.image = e.image "
                "WHERE e.image = ? AND e.kind = ? AND e.seq <= i.position ORDER BY e.seq",
                (image_id, EditKind.SEGMENT.value),
            )
        ]

    def verdicts(self, image_id: str) -> list[tuple[Gap, VerdictRecord]]:
        """Return the decided gaps of an image and their verdicts."""
        return Journal(self._database, image_id).verdicts()

    def opinions(self, annotator: str, besides: str = "") -> list[Opinion]:
        """Return what an annotator's newest verdicts say about what is a vessel; those of image `besides` left out."""
        return read_opinions(self._database, annotator, besides)

    def fragment_verdicts(self, image_id: str) -> list[tuple[Fragment, FragmentRecord]]:
        """Return the decided fragments of an image and their verdicts, also those void by what was painted since."""
        return Journal(self._database, image_id).fragments()

    def bulk_accepted(self, image_id: str) -> list[BulkAccepted]:
        """Return what was accepted in bulk in an image, and what the annotator said when looking at it since."""
        return bulk_accepted(Journal(self._database, image_id).decisions(), image_id)

    def annotators(self, image_id: str) -> list[str]:
        """Return who has worked on an image, sorted."""
        rows = self._database.rows("SELECT DISTINCT annotator FROM edits WHERE image = ?", (image_id,))
        return sorted({str(row[0]) for row in rows if row[0]})

    def store_probability(
        self, image_id: str, probability: NDArray[np.float32], info: Mapping[str, Any] | None = None
    ) -> None:
        """Keep the probability map of a segmentation, and what made it, and forget the completion. Slow; on a worker.

        Parameters
        ----------
        image_id : str
            The image.
        probability : ndarray of float32, shape (Y, X)
            In [0, 1].
        info : mapping
            ``Segmentation.to_json()``; its ``model`` becomes the record's.
        """
        self._maps.store_probability(self.record(image_id), probability, info or {})

    def probability(self, image_id: str) -> NDArray[np.float32] | None:
        """Return the stored probability map, float32, shape (Y, X), or None when the image was never segmented."""
        return self._maps.probability(self.record(image_id))

    def segmentation_info(self, image_id: str) -> dict[str, Any]:
        """Return what made the stored probability map (model, threshold, device...); empty when there is none."""
        return self._maps.segmentation_info(image_id)

    def store_completion(
        self, image_id: str, completion: NDArray[np.float32], info: Mapping[str, Any] | None = None
    ) -> None:
        """Keep what a completion model draws, and what made it, until the image is segmented anew. Slow; on a worker.

        Parameters
        ----------
        image_id : str
            The image; it may have a mask from elsewhere and no probability map.
        completion : ndarray of float32, shape (Y, X)
            Vessel probability with the breaks completed, in [0, 1].
        info : mapping
            ``Completion.to_json()``.
        """
        self._maps.store_completion(self.record(image_id), completion, info or {})

    def completion(self, image_id: str) -> NDArray[np.float32] | None:
        """Return the completion map that gaps are looked for with, float32, shape (Y, X); None without one in use."""
        return self._maps.completion(self.record(image_id))

    def completion_info(self, image_id: str) -> dict[str, Any]:
        """Return what made the stored completion map, and whether it is ``used``; empty when there is none."""
        return self._maps.completion_info(image_id)

    def use_completion(self, image_id: str, used: bool) -> None:
        """Look for gaps with the stored completion map from now on, or without it; it is kept either way."""
        self._maps.use_completion(image_id, used)

    def default_model(self, modality: Modality) -> str:
        """Return the model to segment an image with when none was asked for.

        The version of the project's own that is current, and without one that is on this machine the smallest shipped
        network made for the modality.
        """
        from napari_vessel.segmentation.registry import default_model, list_models

        own = self.versions.current(modality)
        here = own is not None and any(info.name == own.name for info in list_models())
        return own.name if own is not None and here else default_model(modality)

    def decision_counts(self, image_id: str | None = None) -> list[tuple[str, str, str, int]]:
        """Count the decisions in each image, or in one.

        Returns
        -------
        list of (str, str, str, int)
            Id of the image; ``gap``, ``fragment`` or ``edit``; a verdict, or the kind of the edit; and how many.
        """
        return count_decisions(self._database, image_id)

    def status(self) -> dict[str, Any]:
        """Return counts for a summary: images by state, open gaps, verdicts, flags, annotators."""
        records = self.images()
        states = Counter(record.state.value for record in records)
        flags = Counter(flag for record in records for flag in record.flags)
        verdicts = dict(self._database.rows("SELECT verdict, COUNT(*) FROM verdicts GROUP BY verdict"))
        annotators = self._database.rows(
            "SELECT DISTINCT annotator FROM edits WHERE annotator <> '' ORDER BY annotator"
        )
        return {
            "name": self.name,
            "folder": str(self.folder),
            "images": len(records),
            "states": {state.value: states.get(state.value, 0) for state in ImageState},
            "open_gaps": sum(record.open_gaps for record in records),
            "gaps_unknown": sum(not record.gaps_known for record in records),
            "verdicts": {verdict.value: int(verdicts.get(verdict.value, 0)) for verdict in Verdict},
            "flags": dict(sorted(flags.items())),
            "annotators": [str(row[0]) for row in annotators],
        }

    # Inside

    def _base(self, record: ImageRecord) -> NDArray[np.uint8]:
        return self._files.first_mask(record)

    def _meta(self, key: str) -> str:
        rows = self._database.rows("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else ""
