from __future__ import annotations

import gap_times
import incremental
import numpy as np
import pytest

from napari_vessel.topology.labelling import Labelling
from napari_vessel.topology.table import MaskTable


@pytest.fixture(scope="module")
def mask():
    return np.asarray(incremental.make_sample("octa", 1, (160, 200)).truth.mask)


def test_every_edit_is_in_the_mask_that_is_kept_and_an_undo_takes_back_the_one_before(mask):
    hand = incremental.Hand(mask, np.random.default_rng(0))
    masks, kinds = [hand.mask.copy()], []
    for number in range(10):
        kind, (y, x), patch = hand.edit(number)
        assert np.array_equal(hand.mask[y : y + patch.shape[0], x : x + patch.shape[1]], patch)
        masks.append(hand.mask.copy())
        kinds.append(kind)
    assert kinds == ["bridge", "brush", "eraser", "deletion", "undo"] * 2
    assert np.array_equal(masks[5], masks[3])
    assert (masks[1] & ~masks[0]).any()
    assert not (masks[3] & ~masks[2]).any()


def test_figures_are_of_all_edits_and_the_check_notices_a_difference(mask):
    row = incremental.measure("small", mask, 10)
    assert set(row["by_kind_ms"]) == {"bridge", "brush", "eraser", "deletion", "undo"}
    assert 0 < row["table_ms"]["median"] <= row["table_ms"]["p99"] <= row["table_ms"]["max"]
    assert row["mask"] in incremental.tables([row])
    table, components = MaskTable(mask), Labelling(mask)
    incremental.check(table, components, mask)
    table.change((80, 80), ~mask[80:84, 80:84])
    with pytest.raises(RuntimeError, match="not what the whole mask gives"):
        incremental.check(table, components, mask)


def test_the_time_of_a_search_is_told_with_what_it_found():
    rows = gap_times.measure((160, 160), 1)
    assert all(row["ms"] > 0 and row["candidates"] >= row["gaps"] for row in rows)
    assert max(row["candidates"] for row in rows) > 0
    larger = [row | {"shape": [side, side], "ms": (side / 160) ** 2} for row in rows for side in (800, 1600)]
    slopes = gap_times.growth(rows + larger)
    assert slopes == pytest.approx(dict.fromkeys(gap_times.LOOKING_AT, 1.0))
    assert "160 x 160" in gap_times.table(rows, slopes)
