"""The gate, on figures alone: refuses what is worse, promotes what is better, asks with few guards, sees forgetting."""

import numpy as np
import pytest

from napari_vessel.training.finetuning.gate import FEWEST_GUARDS, Figures, judge, without_learning

BASE = [Figures(0.8, 0.85, 4.0)] * 6


def guards(count=6, dice=0.0, cl_dice=0.0, b0=0.0, spread=0.0):
    """Figures of images of different difficulty, moved by so much; the spread has a mean of nothing."""
    hard = np.linspace(-0.05, 0.05, count)
    luck = spread * np.resize([1.0, -1.0], count)
    return [
        Figures(0.7 + float(h + dice + luck_), 0.75 + float(h + cl_dice + luck_), max(0.0, 20 + b0 + 50 * float(h)))
        for h, luck_ in zip(hard, luck, strict=True)
    ]


def test_what_is_better_takes_over():
    decision = judge(guards(), guards(dice=0.05, cl_dice=0.04, b0=-6), BASE, BASE)
    assert decision.promote is True
    assert "Dice went from 0.700 to 0.750" in decision.sentence
    assert decision.figures["guards"]["b0_error"] == {"old": 20.0, "new": 14.0}
    # One figure is enough while the others stay.
    assert judge(guards(), guards(b0=-6), BASE, BASE).promote is True


@pytest.mark.parametrize(
    ("change", "words"),
    [({"dice": -0.01, "cl_dice": 0.1}, "Dice went"), ({"cl_dice": -0.01, "dice": 0.1}, "clDice went"),
     ({"b0": 3, "dice": 0.1}, "wrong components went")],
)  # fmt: skip
def test_what_is_worse_in_one_figure_is_refused(change, words):
    decision = judge(guards(), guards(**change), BASE, BASE)
    assert decision.promote is False
    assert decision.sentence.startswith("The old model stays")
    assert words in decision.sentence
    # One image that is better in one figure and worse in another is for the annotator to judge.
    few = judge(guards(1), guards(1, **change), BASE, BASE)
    assert few.promote is None
    assert words in few.sentence


@pytest.mark.parametrize("change", [{"dice": -0.01}, {"cl_dice": -0.01}, {"b0": 3}])
def test_what_is_worse_and_in_nothing_better_is_refused_with_few_guards_too(change):
    decision = judge(guards(1), guards(1, **change), BASE, BASE)
    assert decision.promote is False
    assert decision.sentence.endswith("worse.")


@pytest.mark.parametrize("count", [1, 6])
def test_masks_of_other_images_are_seen_by_how_little_they_fit(count):
    better = guards(count, dice=0.05)
    mixed = judge(guards(count), better, BASE, BASE, learnt=[Figures(0.2, 0.2, 9.0)] * 3)
    assert mixed.promote is False
    assert "a Dice of 0.200 only, with the guards by 0.7" in mixed.sentence
    assert "look whether the masks belong to their images" in mixed.sentence
    fits = judge(guards(count), better, BASE, BASE, learnt=[Figures(0.5, 0.5, 9.0)] * 3)
    assert fits == judge(guards(count), better, BASE, BASE)


@pytest.mark.parametrize("count", [1, 6])
def test_the_pieces_of_a_model_that_found_hardly_anything_are_no_measure(count):
    blind = [Figures(0.001, 0.001, 6.0)] * count
    seeing = [Figures(0.86, 0.88, 16.0)] * count
    assert judge(blind, seeing, BASE, BASE).promote is (None if count == 1 else True)
    # Where it found the network, as many more pieces are worse.
    assert judge([Figures(0.8, 0.8, 6.0)] * 6, [Figures(0.86, 0.88, 16.0)] * 6, BASE, BASE).promote is False


def test_a_loss_within_tolerance_is_no_reason():
    assert judge(guards(), guards(dice=0.05, cl_dice=-0.004, b0=1.5), BASE, BASE).promote is True


@pytest.mark.parametrize("change", [{}, {"dice": 0.001}, {"dice": 0.01, "spread": 0.03}, {"b0": -0.3}])
def test_nothing_better_than_noise_is_refused(change):
    decision = judge(guards(), guards(**change), BASE, BASE)
    assert decision.promote is False
    assert "nothing is better by more than noise" in decision.sentence


@pytest.mark.parametrize("count", range(FEWEST_GUARDS))
def test_few_guards_leave_it_to_the_annotator(count):
    decision = judge(guards(count), guards(count, dice=0.05), BASE, BASE)
    assert decision.promote is None
    assert "promote the new model yourself" in decision.sentence
    assert (f"On {count} guard image" in decision.sentence) == (count > 0)


@pytest.mark.parametrize("count", [0, 3, 6])
def test_forgetting_is_caught(count):
    forgotten = [Figures(0.78, 0.85, 4.0)] * 6
    decision = judge(guards(count), guards(count, dice=0.1), BASE, forgotten)
    assert decision.promote is False
    assert "has forgotten 0.020 of Dice" in decision.sentence
    kept = [Figures(0.795, 0.85, 4.0)] * 6
    assert judge(guards(count), guards(count, dice=0.1), BASE, kept).promote is not False


@pytest.mark.parametrize("count", [0, 3, 6])
def test_where_nothing_was_learnt_there_is_nothing_to_decide(count):
    decision = without_learning(judge(guards(count), guards(count, dice=0.001), BASE, BASE))
    assert decision.promote is False
    assert decision.sentence.startswith("Nothing was learnt")


def test_a_better_cut_alone_is_called_what_it_is():
    decision = without_learning(judge(guards(), guards(dice=0.05), BASE, BASE))
    assert decision.promote is True
    assert decision.sentence.startswith("Only the cut changed, the weights did not. The new model takes over")


def test_a_decision_is_plain_values():
    plain = judge(guards(), guards(dice=0.05), BASE, BASE).to_json()
    assert plain["promote"] is True
    assert set(plain["figures"]["base"]) == {"images", "dice", "cl_dice", "b0_error"}
