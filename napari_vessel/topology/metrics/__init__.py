"""How well a mask agrees with the truth: overlap, centrelines, Betti numbers, gaps.

Vessel is 8-connected and background 4-connected throughout: the other way round, a thin diagonal vessel falls
into pieces. No figure is ever NaN: a share of nothing is 1, because no mistake of that kind was made.
"""

from napari_vessel.topology.metrics.comparison import CONNECTIVITY, TILE_PX, Comparison, Counts, Metric, betti_numbers
from napari_vessel.topology.metrics.gaps import (
    Bridge,
    BridgePrecision,
    BrushActions,
    Decision,
    GapRecall,
    PrecisionAtK,
    QueueActions,
    TrueGap,
    split_by_length,
    strokes,
)
from napari_vessel.topology.metrics.matching import BettiMatchingError, betti_matching_error, matched_features
from napari_vessel.topology.metrics.overlap import (
    Accuracy,
    AreaUnderCurve,
    Dice,
    Jaccard,
    MatthewsCorrelation,
    Precision,
    Sensitivity,
    Specificity,
    area_under_curve,
    dice_coefficient,
)
from napari_vessel.topology.metrics.score import METRICS, Score, mean_interval, score_mask, score_row
from napari_vessel.topology.metrics.topological import (
    BettiError,
    Cal,
    CalArea,
    CalConnectivity,
    CalLength,
    CentrelineDice,
    TiledBettiError,
    cl_dice,
)

__all__ = [
    "CONNECTIVITY",
    "METRICS",
    "TILE_PX",
    "Accuracy",
    "AreaUnderCurve",
    "BettiError",
    "BettiMatchingError",
    "Bridge",
    "BridgePrecision",
    "BrushActions",
    "Cal",
    "CalArea",
    "CalConnectivity",
    "CalLength",
    "CentrelineDice",
    "Comparison",
    "Counts",
    "Decision",
    "Dice",
    "GapRecall",
    "Jaccard",
    "MatthewsCorrelation",
    "Metric",
    "Precision",
    "PrecisionAtK",
    "QueueActions",
    "Score",
    "Sensitivity",
    "Specificity",
    "TiledBettiError",
    "TrueGap",
    "area_under_curve",
    "betti_matching_error",
    "betti_numbers",
    "cl_dice",
    "dice_coefficient",
    "matched_features",
    "mean_interval",
    "score_mask",
    "score_row",
    "split_by_length",
    "strokes",
]
