"""The public data sets: where their owners put the files, and which images are for testing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from napari_vessel.errors import InputError
from napari_vessel.images.image import Modality

Split = Literal["training", "validation", "test"]
SPLITS: tuple[Split, ...] = ("training", "validation", "test")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the files of a set lie; ``{}`` stands for an image's stem, ``*`` for any suffix.

    Attributes
    ----------
    image, mask : str
        The image, and the first observer's vessels.
    fov, second : str
        Field of view and second observer; empty when the set has none.
    fov_required : bool
        Whether a folder without these fields of view has another layout.
    """

    image: str
    mask: str
    fov: str = ""
    second: str = ""
    fov_required: bool = False


PLAIN = Layout("images/{}.*", "masks/{}.*", "fov/{}.*", "masks_2nd/{}.*")


@dataclass(frozen=True, slots=True)
class DataSet:
    """A public data set.

    Attributes
    ----------
    key, title : str
        Name in recipes and on the command line, and name for people.
    modality : Modality
        How its images were taken.
    split_of : callable
        The split a stem belongs to, None for a name that is not the set's.
    layouts : tuple of Layout
        The owner's layout; the plain one is known for every set.
    patient_of : callable
        Who is on the image: images of one person are never in two splits.
    validation_by_hash : int
        How many training images, those with the lowest SHA-256 of their file, are for validation; 0 when
        `split_of` says which.
    licence, citation : str
        Under which terms it may be used, and the publication.
    shippable : bool
        Whether weights trained on it may be passed on.
    """

    key: str
    title: str
    modality: Modality
    split_of: Callable[[str], Split | None]
    licence: str
    citation: str
    layouts: tuple[Layout, ...] = ()
    patient_of: Callable[[str], str] = str
    validation_by_hash: int = 0
    shippable: bool = True


def _numbered(pattern: str, validation: range, training: range, test: range) -> Callable[[str], Split | None]:
    """Return a rule that reads a number from the stem and looks it up."""

    def split_of(stem: str) -> Split | None:
        found = re.fullmatch(pattern, stem)
        if not found:
            return None
        number = int(found[1])
        for name, numbers in zip(SPLITS, (training, validation, test), strict=True):
            if number in numbers:
                return name
        return None

    return split_of


_CHASE_DB1 = DataSet(
    "chase_db1",
    "CHASE_DB1",
    Modality.FUNDUS,
    _numbered(r"Image_(\d\d)[LR]", validation=range(9, 11), training=range(1, 9), test=range(11, 15)),
    licence="CC BY 4.0 to the best of our knowledge",
    citation="Fraz et al., IEEE TBME 59(9):2538-2548, 2012; Kingston University",
    layouts=(Layout("{}.jpg", "{}_1stHO.png", second="{}_2ndHO.png"),),
    patient_of=lambda stem: stem[:-1],
)
_HRF = DataSet(
    "hrf",
    "HRF",
    Modality.FUNDUS,
    _numbered(r"(\d\d)_(?:dr|g|h)", validation=range(5, 6), training=range(1, 5), test=range(6, 16)),
    licence="CC BY 4.0 to the best of our knowledge",
    citation="Budai et al., Int. J. Biomed. Imaging 2013:154860; FAU Erlangen",
    layouts=(Layout("images/{}.*", "manual1/{}.*", "mask/{}_mask.*", fov_required=True),),
)
_LES_AV = DataSet(
    "les-av",
    "LES-AV",
    Modality.FUNDUS,
    _numbered(r"(\d{1,4})", validation=range(0), training=range(10_000), test=range(0)),
    licence="CC BY 4.0 to the best of our knowledge",
    citation="Orlando et al., MICCAI 2018; figshare 11857698",
    validation_by_hash=3,
)
_DRIVE = DataSet(
    "drive",
    "DRIVE",
    Modality.FUNDUS,
    _numbered(r"(\d\d)_(?:training|test)", validation=range(0), training=range(21, 41), test=range(1, 21)),
    licence="research and education only, no redistribution",
    citation="Staal et al., IEEE TMI 23(4):501-509, 2004",
    layouts=tuple(
        Layout(
            f"{half}/images/{{}}.tif",
            f"{half}/1st_manual/{{number}}_manual1.gif",
            f"{half}/mask/{{}}_mask.gif",
            f"{half}/2nd_manual/{{number}}_manual2.gif",
        )
        for half in ("training", "test")
    ),
    validation_by_hash=4,
    shippable=False,
)
_ROSSA = DataSet(
    "rossa",
    "ROSSA",
    Modality.OCTA,
    _numbered(r"(\d{1,3})", validation=range(101, 201), training=range(1, 101), test=range(201, 301)),
    licence="MIT, Copyright 2023 Haojian Ning",
    citation="Ning et al., ICASSP 2024 (arXiv 2309.09483)",
    layouts=tuple(Layout(f"{part}/image/{{}}.*", f"{part}/label/{{}}.*") for part in ("train_manual", "val", "test")),
)
_OCTA_500 = DataSet(
    "octa-500",
    "OCTA-500, 6 mm",
    Modality.OCTA,
    _numbered(r"(10\d{3})", validation=range(10181, 10201), training=range(10001, 10181), test=range(10201, 10301)),
    licence="research only",
    citation="Li et al., Medical Image Analysis 93:103092, 2024",
    layouts=tuple(Layout(f"{part}/image/{{}}.*", f"{part}/label/{{}}.*") for part in ("train", "val", "test")),
    shippable=False,
)

DATA_SETS: dict[str, DataSet] = {s.key: s for s in (_CHASE_DB1, _HRF, _LES_AV, _DRIVE, _ROSSA, _OCTA_500)}
"""Every known set by its key."""

_PLAIN_TEST_STEMS = re.compile(
    r"\d\d_test|Image_1[1-4][LR]|(?:0[6-9]|1[0-5])_(?:dr|g|h)|102(?!00)\d\d|10300", re.IGNORECASE
)
"""Names that tell a test image of a known set wherever it lies."""


def data_set(key: str) -> DataSet:
    """Return a known data set.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if key not in DATA_SETS:
        raise InputError(f"There is no data set named '{key}'; choose one of {', '.join(DATA_SETS)}.")
    return DATA_SETS[key]


def is_test_name(stem: str) -> bool:
    """Whether a name is that of a known set's test image, wherever it lies."""
    return _PLAIN_TEST_STEMS.fullmatch(stem) is not None
