"""Measurements as tables: one row for each image, region and mask, and one for each segment."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_vessel.images.writing import replacing
from napari_vessel.topology.measurement.figures import FIGURES, Figures
from napari_vessel.topology.measurement.measure import Interval, Measurements

WHOLE = "whole"
"""Name of the region that is all of the field of view."""

FIRST_COLUMNS = ("image", "mask", "region", "unit")

SEGMENT_COLUMNS = (
    "image", "mask", "segment", "region", "component", "y_px", "x_px", "unit", "length", "chord", "calibre",
    "tortuosity_distance", "inflections", "tortuosity_inflection", "tortuosity_angles",
)  # fmt: skip
"""Of the table of segments; new ones only at the end."""


@dataclass(frozen=True, eq=False, slots=True)
class Measured:
    """One mask of one image, to be written.

    Attributes
    ----------
    image : str
        Name of the image.
    mask : str
        Which of its masks: ``mask``, or ``before`` and ``after``.
    found : Measurements
        What was measured.
    intervals : mapping of str to dict, or None
        Between what each figure lies, by region (:data:`WHOLE` and the others'), where there is more than one
        measurement.
    """

    image: str
    mask: str
    found: Measurements
    intervals: Mapping[str, Mapping[str, Interval | None]] | None = None

    def by_region(self) -> Iterator[tuple[str, Figures]]:
        """Yield the whole image and each region with their figures."""
        yield WHOLE, self.found.figures
        yield from self.found.regions.items()


def figure_columns(measured: Sequence[Measured]) -> list[str]:
    """Return the columns of the table; with intervals each figure is followed by NAME_low and NAME_high."""
    between = any(one.intervals is not None for one in measured)
    columns = list(FIRST_COLUMNS)
    for figure in FIGURES:
        columns += [figure.name, *((f"{figure.name}_low", f"{figure.name}_high") if between else ())]
    return columns


def figure_rows(measured: Sequence[Measured]) -> list[dict[str, str | float | None]]:
    """Return one row for each image, mask and region; None where a figure is not defined."""
    rows = []
    for one in measured:
        for region, figures in one.by_region():
            row: dict[str, str | float | None] = {
                "image": one.image,
                "mask": one.mask,
                "region": region,
                "unit": one.found.unit,
                **figures,
            }
            for name, interval in (one.intervals or {}).get(region, {}).items():
                low, high = (None, None) if interval is None else interval
                row |= {f"{name}_low": low, f"{name}_high": high}
            rows.append(row)
    return rows


def segment_rows(measured: Sequence[Measured]) -> list[dict[str, str | float | None]]:
    """Return one row for each segment of each mask; None where a figure is not defined."""
    rows: list[dict[str, str | float | None]] = []
    for one in measured:
        regions = one.found.region_of or ("",) * len(one.found.segments)
        for segment, region in zip(one.found.segments, regions, strict=True):
            told = segment.tortuosity
            rows.append(
                {
                    "image": one.image,
                    "mask": one.mask,
                    "segment": segment.number,
                    "region": region,
                    "component": segment.component,
                    "y_px": segment.centre[0],
                    "x_px": segment.centre[1],
                    "unit": one.found.unit,
                    "length": segment.length,
                    "chord": segment.chord,
                    "calibre": segment.calibre,
                    "tortuosity_distance": None if told is None else told.distance,
                    "inflections": None if told is None else told.inflections,
                    "tortuosity_inflection": None if told is None else told.inflection,
                    "tortuosity_angles": None if told is None else told.angles,
                }
            )
    return rows


def write_tables(out: Path, measured: Sequence[Measured], segments: Path | None = None) -> None:
    """Write the table of images, and that of segments where one is wanted: all or none.

    Parameters
    ----------
    out : Path
        A ``.csv`` file. Figures have six significant digits; one that is not defined is an empty cell.
    measured : sequence of Measured
        What to write.
    segments : Path, optional
        A ``.csv`` file for the segments.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    text = _csv(figure_columns(measured), figure_rows(measured))
    with replacing(out) as table:
        table.write_text(text, encoding="utf-8", newline="")
        if segments is not None:
            with replacing(segments) as other:
                other.write_text(_csv(SEGMENT_COLUMNS, segment_rows(measured)), encoding="utf-8", newline="")


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, str | float | None]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return stream.getvalue()


def _cell(value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.6g}"
