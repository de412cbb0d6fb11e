"""The loss as a recipe's sum of terms, and what each term sees on its own."""

import pytest
import torch

from napari_vessel.training.losses import TERMS, check_thinning, total_loss
from napari_vessel.training.losses.centreline import soft_skeleton
from napari_vessel.training.terms import DEFAULT_LOSS, FORMER, LOSSES, LossTerm


def bar(width, gap=0):
    image = torch.zeros(1, 1, 64, 128)
    top = 32 - width // 2
    image[..., top : top + width, :] = 1
    if gap:
        image[..., 64 - gap // 2 : 64 - gap // 2 + gap] = 0
    return image


def target_of(width, hidden=False):
    line = torch.zeros(1, 1, 64, 128)
    line[..., 31:34, :] = 1
    parts = [bar(width), line, torch.ones(1, 1, 64, 128)]
    if hidden:
        parts.append(bar(width) - bar(width, 16))
    return torch.cat(parts, dim=1)


def logits_of(image, height=6.0):
    return (image - 0.5) * 2 * height


def value(name, logits, target, **parameters):
    return float(total_loss(logits, target, [LossTerm(name, **parameters)], 1.0)[0])


def overlap_plus(*terms):
    return (LossTerm("dice"), *terms)


def test_every_name_of_a_recipe_is_a_term():
    assert set(TERMS) == set(LOSSES)


def test_the_soft_skeleton_of_a_bar_is_its_centreline():
    skeleton = soft_skeleton(bar(7), 8)[0, 0]
    assert skeleton[32, 20:108].min() == 1
    assert skeleton[28, 20:108].max() == 0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_nothing_outside_the_field_of_view_counts(name):
    torch.manual_seed(0)
    target = torch.zeros(1, 4, 32, 32)
    target[:, 0, 10:14] = 1
    target[:, 1, 11:14] = 1
    target[:, 2, :, :16] = 1
    target[:, 3, 10:14, 8:] = 1
    logits = torch.randn(1, 1, 32, 32)
    other = logits.clone()
    # Thinning reaches a few pixels, so the change stays that far from the border.
    other[..., 24:] = 7
    values = [
        value(name, one, target, **({"iterations": 2} if name == "soft-cldice" else {})) for one in (logits, other)
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-6)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_right_answer_costs_next_to_nothing(name):
    target = target_of(5, hidden=True)
    assert value(name, logits_of(bar(5), 20), target) < 0.02


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"connectivity", FORMER}))
def test_a_blank_answer_costs_more_and_its_gradient_points_to_the_vessel(name):
    target = target_of(5, hidden=True)
    logits = torch.full((1, 1, 64, 128), -3.0, requires_grad=True)
    loss, _ = total_loss(logits, target, [LossTerm(name)], 1.0)
    loss.backward()
    assert loss > 2 * value(name, logits_of(bar(5), 20), target)
    assert logits.grad[..., 32, 56:72].max() < 0


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("height", [0.0, 100.0, 1e4])
def test_extreme_logits_have_finite_losses_and_gradients(name, height):
    torch.manual_seed(0)
    logits = (torch.randn(2, 1, 48, 48) * height).requires_grad_()
    target = (torch.rand(2, 4, 48, 48) > 0.7).float()
    loss, parts = total_loss(logits, target, [LossTerm(name)], 1.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert parts[name] == loss.item()


def test_former_answers_hold_what_is_rehearsed_and_nothing_else():
    torch.manual_seed(0)
    before = torch.randn(2, 1, 32, 32)
    target = torch.ones(2, 6, 32, 32)
    target[0, 5] = 0
    target[1, 2, :, 16:] = 0

    def held(logits):
        logits = logits.clone().requires_grad_()
        loss, _ = total_loss(logits, target, [LossTerm(FORMER)], 0.5, former=before.sigmoid())
        loss.backward()
        return float(loss.detach()), logits.grad

    same, pull = held(before)
    assert same == pytest.approx(0, abs=1e-6)
    assert float(pull.abs().max()) < 1e-7
    loss, pull = held(before + 1)
    assert loss > 0.025
    assert bool((pull[1, ..., :16] > 0).all())
    assert bool((pull[0] == 0).all())
    assert bool((pull[1, ..., 16:] == 0).all())
    # A mean: half of the crop outside the field of view makes it neither larger nor smaller.
    target[1, 2] = 1
    assert held(before + 1)[0] == pytest.approx(loss, rel=0.1)


def test_terms_are_added_by_weight_and_named():
    logits, target = logits_of(bar(5, 16), 2), target_of(5)
    terms = (LossTerm("cross-entropy", weight=2.0), LossTerm("dice", weight=0.5), LossTerm("soft-cldice"))
    loss, parts = total_loss(logits, target, terms, 1.0)
    assert set(parts) == {"cross-entropy", "dice", "soft-cldice"}
    expected = 2 * parts["cross-entropy"] + 0.5 * parts["dice"] + parts["soft-cldice"]
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert min(parts.values()) > 0.01


def test_a_term_sets_in_after_its_time_and_grows():
    term = LossTerm("soft-cldice", weight=4.0, after=0.2, ramp=0.4)
    assert [term.weight_at(f) for f in (0, 0.19, 0.4, 0.6, 1)] == pytest.approx([0, 0, 2, 4, 4])
    assert LossTerm("dice", after=0.2).weight_at(0.2) == 1.0
    logits, target = logits_of(bar(5, 16), 2), target_of(5)
    early, parts = total_loss(logits, target, overlap_plus(term), 0.1)
    assert float(early) == parts["dice"]
    assert set(parts) == {"dice"}
    assert total_loss(logits, target, overlap_plus(term), 0.6)[0] > early


def test_the_log_gets_dice_also_where_it_is_no_term():
    logits, target = logits_of(bar(5, 16), 2), target_of(5)
    parts = total_loss(logits, target, [LossTerm("cross-entropy")], 0.5)[1]
    assert parts["dice"] == pytest.approx(value("dice", logits, target))


def test_the_default_is_cross_entropy_dice_and_soft_cl_dice():
    logits, target = logits_of(bar(5, 16), 2), target_of(5)
    expected = value("cross-entropy", logits, target) + value("dice", logits, target)
    assert float(total_loss(logits, target, DEFAULT_LOSS, 0.1)[0]) == pytest.approx(expected, rel=1e-5)
    expected += 0.5 * value("soft-cldice", logits, target)
    assert float(total_loss(logits, target, DEFAULT_LOSS, 0.3)[0]) == pytest.approx(expected, rel=1e-5)


def test_hidden_dice_looks_at_hidden_vessels_alone():
    target = target_of(5, hidden=True)
    broken, whole = logits_of(bar(5, 16), 20), logits_of(bar(5), 20)
    elsewhere = logits_of(bar(5), 20)
    elsewhere[..., 20:44, :40] *= -1
    assert value("hidden-dice", broken, target) > 0.5
    assert value("hidden-dice", elsewhere, target) == value("hidden-dice", whole, target) < 0.02


def test_where_nothing_is_hidden_hidden_dice_is_nothing():
    logits = torch.randn(1, 1, 64, 128, requires_grad=True)
    for target in (target_of(5), torch.cat([target_of(5), torch.zeros(1, 1, 64, 128)], dim=1)):
        loss, _ = total_loss(logits, target, [LossTerm("hidden-dice")], 1.0)
        loss.backward()
        assert loss == 0
        assert not logits.grad.any()


def test_focal_fades_out_what_is_right_already():
    target = target_of(5)
    right, wrong = logits_of(bar(5), 2), logits_of(bar(5), -2)
    faded = [value("focal", logits, target, gamma=2.0, alpha=0.5) for logits in (right, wrong)]
    plain = [value("focal", logits, target, gamma=0.0, alpha=0.5) for logits in (right, wrong)]
    assert plain[0] == pytest.approx(0.5 * value("cross-entropy", right, target), rel=1e-4)
    assert faded[0] / plain[0] < 0.05 < 0.5 < faded[1] / plain[1]


def test_alpha_is_the_weight_of_vessels():
    missed, invented = logits_of(bar(5, 16)), logits_of(torch.maximum(bar(5), bar(9) - bar(9, 16)))
    for alpha, dearer, cheaper in ((0.9, missed, invented), (0.1, invented, missed)):
        target = target_of(5)
        assert value("focal", dearer, target, alpha=alpha) > value("focal", cheaper, target, alpha=alpha)


def test_balance_is_the_share_of_dice():
    logits, target = logits_of(bar(5, 16), 2), target_of(5)
    dice, focal = value("dice", logits, target), value("focal", logits, target)
    for balance in (0.0, 0.3, 1.0):
        assert value("focal-dice", logits, target, balance=balance) == pytest.approx(
            balance * dice + (1 - balance) * focal, rel=1e-5
        )


def test_a_false_vessel_wider_than_twice_the_iterations_is_invisible_to_soft_cl_dice():
    target = target_of(3)
    wide = bar(3)
    wide[..., 40:61, 20:108] = 1
    cost = [value("soft-cldice", logits_of(wide, 20), target, iterations=i) for i in (3, 11)]
    assert cost[0] < 0.01
    assert cost[1] > 0.1


def test_too_few_thinning_steps_are_said(caplog):
    mask = bar(21)[0, 0].numpy() > 0
    check_thinning([LossTerm("soft-cldice", iterations=10), LossTerm("dice")], [mask])
    check_thinning([LossTerm("soft-cldice", iterations=3, weight=0.0)], [mask])
    check_thinning([LossTerm("dice")], [mask])
    assert not caplog.records
    check_thinning([LossTerm("soft-cldice", iterations=9)], [mask[:0], mask])
    assert "up to 21.0 px wide" in caplog.text
    assert "iterations to 10" in caplog.text
