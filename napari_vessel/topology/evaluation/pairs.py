"""Which prediction belongs to which truth, field of view and probability: by name, or by a list."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_vessel.errors import InputError
from napari_vessel.images.decoding import SUFFIXES, count_planes
from napari_vessel.images.inputs import is_image_file, natural_order, same_letters
from napari_vessel.untrusted import read_text, shortened

_LISTED = 8
_NEEDED = ("prediction", "truth")
_OPTIONAL = ("fov", "probability")
# Words that say what a file is for. Any other word after the number may name another image: HRF's 01_dr is not 01_g.
_ROLE = re.compile(
    r"(?:test|train|training|val|validation|image|manual|mask|fov|gt|ground|truth|groundtruth|labels?|vessels?|seg|"
    r"segmentation|annotations?|annotator|observer|expert|reference|ref|pred|predictions?|predicted|prob|probability|"
    r"probabilities|output|out|result|binary)[0-9]*|[0-9]+(?:st|nd|rd|th)"
)


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of one image.

    Attributes
    ----------
    image : str
        Name of the image: the prediction's stem without ``_mask``.
    prediction, truth : Path
        Mask files.
    matched_by : str
        ``files`` (both were given), ``name``, ``number``, ``beginning`` or ``list``.
    fov, probability : Path or None
        Files, when there are any.
    """

    image: str
    prediction: Path
    truth: Path
    matched_by: str
    fov: Path | None = None
    probability: Path | None = None


def find_pairs(prediction: Path, truth: Path) -> tuple[list[Pair], list[Path]]:
    """Match predictions with truths by their names.

    ``STEM_mask`` stands for ``STEM``. Tried in order: a truth named like the image, a truth named like the prediction's
    file, a truth with ``_mask`` at the end of its own name too, the only file on either side with the same leading
    number, unless the words after it name two images, and the only truth that is named like the image with an ending
    (``eye_1stHO`` for ``eye``). Two single files are a pair whatever their names.

    Parameters
    ----------
    prediction, truth : Path
        Files, or folders of files; files that end in ``_probability`` or
        ``_completion`` are no predictions.

    Returns
    -------
    pairs : list of Pair
        In natural order, at least one.
    unused : list of Path
        Truths that no prediction belongs to.

    Raises
    ------
    InputError
        If a prediction has no truth (both sides are listed), or more than one; if a truth has two predictions; if
        there is nothing to match.
    """
    maps = ("_probability", "_completion")
    predictions = [p for p in _files(prediction) if not p.stem.casefold().endswith(maps)]
    if not predictions:
        raise InputError(f"{prediction} holds probabilities only; give the masks, STEM_mask.png.")
    truths = _files(truth)
    if prediction.is_file() and truth.is_file():
        return _checked([Pair(image_name(prediction), prediction, truth, "files")]), []
    pairs: list[Pair] = []
    lost: list[Path] = []
    for file in predictions:
        found, how = _named(file, truths), "name"
        if found is None:
            found, how = _numbered(file, predictions, truths), "number"
        if found is None:
            found, how = _begun(file, predictions, truths), "beginning"
        if found is None:
            lost.append(file)
        else:
            pairs.append(Pair(image_name(file), file, found, how))
    used = {pair.truth for pair in pairs}
    unused = [file for file in truths if file not in used]
    if lost:
        raise InputError(
            f"No truth was found for {_some(lost)} in {prediction}; left in {truth}: {_some(unused)}. "
            "Name them alike, or list them with --pairs."
        )
    return _checked(pairs), unused


def read_pairs(
    table: Path, prediction: Path | None = None, truth: Path | None = None, others: Sequence[Path | None] = (None, None)
) -> list[Pair]:
    """Read a list of pairs.

    Parameters
    ----------
    table : Path
        CSV file with the columns ``prediction,truth`` and perhaps ``fov`` and ``probability``, separated by commas or
        semicolons. Paths are relative to its folder.
    prediction, truth : Path, optional
        Folders to look in for what is not there.
    others : sequence of Path or None
        The same for the field of view and the probability.

    Returns
    -------
    list of Pair
        In the order of the file, at least one.

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing or unknown, a file does not exist, or a prediction or a truth
        is there twice.
    """
    try:
        text = read_text(table)
    except (OSError, ValueError) as error:
        unreadable = isinstance(error, UnicodeDecodeError)
        reason = "it is not UTF-8 text" if unreadable else error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{table} cannot be read: {reason}; give a CSV file of pairs.") from error
    try:
        return _read_rows(table, text, (prediction, truth, *others))
    except csv.Error as error:
        raise InputError(f"{table} is no CSV file of pairs ({error}); correct it.") from error


def _read_rows(table: Path, text: str, also: Sequence[Path | None]) -> list[Pair]:
    lines = text.splitlines()
    head = lines[0] if lines else ""
    rows = csv.DictReader(lines, delimiter=";" if ";" in head and "," not in head else ",")
    columns = [(name or "").strip() for name in rows.fieldnames or ()]
    rows.fieldnames = columns
    if missing := [name for name in _NEEDED if name not in columns]:
        raise InputError(f"{table} has no column {missing[0]}; its first line must be prediction,truth[,fov]…")
    if unknown := [name for name in columns if name not in (*_NEEDED, *_OPTIONAL)]:
        raise InputError(f"{table} has an unknown column '{unknown[0]}'; it may have {', '.join(_NEEDED + _OPTIONAL)}.")
    folders = dict(zip((*_NEEDED, *_OPTIONAL), also, strict=True))
    pairs = []
    for row in rows:
        where = f"Line {rows.line_num} of {table}"
        if None in row:
            raise InputError(f"{where} has more cells than the first line; put paths with commas into quotes.")
        cells = {name: (value or "").strip() for name, value in row.items()}
        if not any(cells.values()):
            continue
        if empty := [name for name in _NEEDED if not cells[name]]:
            raise InputError(f"{where} has no {empty[0]}; name a file there.")
        files = {n: _place(cell, table.parent, folders[n], where) for n, cell in cells.items() if cell}
        name = image_name(files["prediction"])
        pair = Pair(name, files["prediction"], files["truth"], "list", files.get("fov"), files.get("probability"))
        pairs.append((Path(cells["prediction"]), pair))
    if not pairs:
        raise InputError(f"{table} lists no pairs; name a prediction and a truth on every line.")
    names = [pair.image for _, pair in pairs]
    # a/mask.png and b/mask.png are told apart by their folders.
    unique = len(set(names)) == len(names)
    return _checked([pair if unique else replace(pair, image=cell.with_suffix("").as_posix()) for cell, pair in pairs])


def add_fields(pairs: Sequence[Pair], fov: Path | None, probability: Path | None) -> list[Pair]:
    """Find the field of view and the probability of every pair that has none yet.

    Parameters
    ----------
    pairs : sequence of Pair
        Predictions and truths.
    fov : Path, optional
        A folder, searched by the image's name, with ``_fov`` or ``_mask`` or without, and then by the leading number;
        or one file for all images.
    probability : Path, optional
        A folder, searched for the image's name with ``_probability`` or without, and then by the leading number; or
        the file of the only image.

    Raises
    ------
    InputError
        If there is none for an image.
    """
    taken = {file.resolve() for pair in pairs for file in (pair.prediction, pair.truth)}
    done = list(pairs)
    if fov is not None:
        files = _files(fov)
        if fov.is_dir():
            # Where masks and fields of view share a folder, 01_mask is not the field of view of itself.
            files = [file for file in files if file.resolve() not in taken]
        done = [
            p if p.fov else replace(p, fov=_field(p, pairs, fov, files, ("_fov", "_mask", ""), "field of view"))
            for p in done
        ]
    if probability is not None:
        files = _files(probability)
        if probability.is_dir():
            files = [f for f in files if f.resolve() not in taken]
            files = [f for f in files if f.stem.casefold().endswith("_probability")] or files
        elif sum(p.probability is None for p in pairs) > 1:
            raise InputError(f"One probability, {probability}, was given for {len(pairs)} images; give a folder.")
        done = [
            p
            if p.probability
            else replace(p, probability=_field(p, pairs, probability, files, ("_probability", ""), "probability"))
            for p in done
        ]
    return done


def image_name(file: Path) -> str:
    """Return the stem of a mask file without ``_mask``, as ``segment`` adds it."""
    return _base(file.stem) or file.stem


def _base(stem: str) -> str:
    return stem[: -len("_mask")] if stem.casefold().endswith("_mask") else stem


def _files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            if not path.exists():
                raise InputError(f"{path} does not exist; check the name.")
            return [path]
        files = natural_order(p for p in path.iterdir() if is_image_file(p))
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}); check the name and the disk.") from error
    if not files:
        raise InputError(f"No mask files in {path}; give a folder that holds some ({', '.join(SUFFIXES)}).")
    return files


def _named(file: Path, truths: Sequence[Path]) -> Path | None:
    stem, name = same_letters(file.stem), same_letters(image_name(file))
    return (
        _only(file, [t for t in truths if same_letters(t.stem) == name])
        or _only(file, [t for t in truths if same_letters(t.stem) == stem])
        or _only(file, [t for t in truths if same_letters(_base(t.stem)) == name])
    )


def _numbered(file: Path, ours: Sequence[Path], theirs: Sequence[Path]) -> Path | None:
    """Return the only file with the same leading number, when no other on this side has it either."""
    number, words = _number(file)
    if number is None or sum(_number(other)[0] == number for other in ours) > 1:
        return None
    found = [other for other in theirs if _number(other)[0] == number]
    if len(found) != 1:
        return None
    other_words = _number(found[0])[1]
    return None if words and other_words and words != other_words else found[0]


def _begun(file: Path, ours: Sequence[Path], theirs: Sequence[Path]) -> Path | None:
    """Return the only file that is named like an image with an ending, and begins with no longer name on this side."""
    name = same_letters(image_name(file))
    longer = tuple(other for own in ours if len(other := same_letters(image_name(own))) > len(name))
    # A bare number is no ending: it may be another image's.
    ending = re.compile(re.escape(name) + r"[_\-. ](?![0-9]+(?:[_\-. ]|$))")
    found = [t for t in theirs if ending.match(stem := same_letters(t.stem)) and not stem.startswith(longer)]
    return found[0] if len(found) == 1 else None


def _number(file: Path) -> tuple[int | None, tuple[str, ...]]:
    """Return the number a name begins with, and the words after it that are not about what the file is for."""
    found = re.match(r"[0-9]+", file.stem)
    if found is None:
        return None, ()
    words = re.split(r"[_\-. ]+", file.stem[found.end() :].casefold())
    return int(found.group()), tuple(word for word in words if word and not _ROLE.fullmatch(word))


def _field(
    pair: Pair, pairs: Sequence[Pair], place: Path, files: Sequence[Path], endings: Sequence[str], what: str
) -> Path:
    if place.is_file():
        return place
    found = _beside(pair.prediction, [other.prediction for other in pairs], pair.truth, files, endings)
    if found is None:
        held = f"it holds {_some(files)}" if files else "all its files are predictions or truths"
        raise InputError(f"{place} has no {what} for {pair.image}; {held}. Name them alike, or list them with --pairs.")
    return found


def find_beside(masks: Sequence[Path], place: Path, endings: Sequence[str], what: str) -> list[Path]:
    """Find the file that belongs to each mask.

    Parameters
    ----------
    masks : sequence of Path
        Mask files; ``STEM_mask`` stands for ``STEM``.
    place : Path
        A folder, searched by the image's name with each ending, and then by the leading number; or one file for all.
    endings : sequence of str
        What the name may end in, best first.
    what : str
        What is looked for, for a person to read.

    Raises
    ------
    InputError
        If there is none for a mask.
    """
    files = _files(place)
    if not place.is_dir():
        return [place] * len(masks)
    taken = {mask.resolve() for mask in masks}
    files = [file for file in files if file.resolve() not in taken]
    found = []
    for mask in masks:
        file = _beside(mask, masks, mask, files, endings)
        if file is None:
            raise InputError(f"{place} has no {what} for {mask.name}; it holds {_some(files)}. Name them alike.")
        found.append(file)
    return found


def _beside(
    mask: Path, masks: Sequence[Path], other: Path, files: Sequence[Path], endings: Sequence[str]
) -> Path | None:
    names = (image_name(mask), image_name(other))
    stems = {file: same_letters(file.stem) for file in files}
    for base in names:
        for ending in endings:
            wanted = same_letters(f"{base}{ending}")
            if found := _only(mask, [file for file in files if stems[file] == wanted]):
                return found
    # What segment made of a page belongs to the stack.
    for base in (page[1] for name in names if (page := re.fullmatch(r"(.+)_p[0-9]{3,}", name))):
        for ending in endings:
            wanted = same_letters(f"{base}{ending}")
            same = [file for file in files if stems[file] == wanted]
            if found := _only(mask, [file for file in same if count_planes(file) > 1]):
                return found
    return _numbered(mask, masks, files)


def _place(cell: str, folder: Path, also: Path | None, where: str) -> Path:
    path = folder / cell  # an absolute path stays what it is
    try:
        if not path.exists() and also is not None and (also / cell).exists():
            path = also / cell
    except (OSError, ValueError) as error:
        raise InputError(f"{where}: {shortened(cell)} can be no file's name; correct it.") from error
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"{where}: {path} {state}; paths are relative to the folder of the list.")
    return path


def _only(file: Path, found: Sequence[Path]) -> Path | None:
    if len(found) > 1:
        raise InputError(
            f"Both {found[0].name} and {found[1].name} in {found[0].parent} could belong to {file.name}; "
            "keep one of them there, or list the pairs with --pairs."
        )
    return found[0] if found else None


def _checked(pairs: list[Pair]) -> list[Pair]:
    """Return the pairs if no file is in two of them, and none is its own truth."""
    owners: dict[Path, Path] = {}
    seen: set[Path] = set()
    for pair in pairs:
        truth, prediction = pair.truth.resolve(), pair.prediction.resolve()
        if truth == prediction:
            raise InputError(f"{pair.prediction} was given as prediction and as its own truth; give two files.")
        if prediction in seen:
            raise InputError(f"{pair.prediction} is listed twice; every prediction has one truth.")
        if truth in owners:
            raise InputError(
                f"{owners[truth].name} and {pair.prediction.name} both belong to the truth {pair.truth}; keep one of "
                "them, or evaluate them apart."
            )
        seen.add(prediction)
        owners[truth] = pair.prediction
    return pairs


def _some(files: Collection[Path]) -> str:
    names = [file.name for file in files]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) or "nothing") + more
