"""The errors of loops that other orders of equal pixels give."""

import numpy as np
from betti_matching import ORDERS, loops_in_orders, measure, table

from napari_vessel.topology.metrics import betti_matching_error


def frame(*bars: int) -> np.ndarray:
    """Draw a frame with upright bars in it."""
    mask = np.zeros((9, 24), bool)
    mask[[1, 7], 1:23] = True
    mask[1:8, [1, 22, *bars]] = True
    return mask


def test_two_bars_apart_make_pairs_that_depend_on_the_order() -> None:
    mask, truth = frame(8), frame(16)
    # Left and right hole of either; the middle of the union lies in the right one of ours and the left one of theirs.
    errors = loops_in_orders(mask, truth, np.random.default_rng(0))
    assert len(errors) == ORDERS
    assert set(errors) == {0, 2}
    assert betti_matching_error(mask, truth) == (0, 0)


def test_an_order_changes_nothing_where_there_is_no_choice() -> None:
    assert set(loops_in_orders(frame(8), frame(8), np.random.default_rng(0))) == {0}
    assert set(loops_in_orders(frame(8), np.zeros_like(frame()), np.random.default_rng(0))) == {2}


def test_the_table_has_a_row_for_each_pair_of_masks() -> None:
    found = measure(frame(8), frame(16), np.random.default_rng(0))
    assert found["loops_any_order"] == [0, 2]
    assert "| ours | 1 | 0.0 | 0.0 | 0.0 | 0.0 | 0.0 to 2.0 |" in table({"ours": [found]})
