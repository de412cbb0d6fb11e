"""Predictions against truths: which files belong together, their figures, and the table."""

from napari_vessel.topology.evaluation.pairs import Pair, add_fields, find_pairs, read_pairs
from napari_vessel.topology.evaluation.run import (
    COLUMNS,
    Row,
    check_output,
    evaluate,
    report,
    settings,
    summarise,
    write_evaluation,
)

__all__ = [
    "COLUMNS",
    "Pair",
    "Row",
    "add_fields",
    "check_output",
    "evaluate",
    "find_pairs",
    "read_pairs",
    "report",
    "settings",
    "summarise",
    "write_evaluation",
]
