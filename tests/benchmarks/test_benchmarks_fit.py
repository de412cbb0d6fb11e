"""Fitting the scores: what is there to learn is learnt, within the signs that make sense."""

import numpy as np
import pytest
from fit_scores import applied, combinations, learn, names_for, questions_of
from gap_fitting import calibration_error, fitted
from gap_image import Sample
from gap_rows import planted_in, rows_of

from napari_vessel.completion.scoring import chance
from napari_vessel.synthesis.samples import make_sample


def rows(count: int = 4000) -> tuple[list[dict[str, float]], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    table = [{"length": float(a), "ridge": float(b)} for a, b in rng.uniform(0, 1, (count, 2))]
    logit = np.asarray([2.0 - 6.0 * r["length"] + 4.0 * r["ridge"] ** 2 for r in table])
    right = rng.uniform(size=count) < 1.0 / (1.0 + np.exp(-logit))
    return table, right, np.ones(count)


def test_an_additive_truth_is_found_and_calibrated():
    table, right, weights = rows()
    model = fitted(table, right, weights, ["length", "ridge"], ["ridge"], ["length"])
    seen = [{"length": 0.1, "ridge": 0.9}, {"length": 0.5, "ridge": 0.5}, {"length": 0.9, "ridge": 0.2}]
    truth = [2.0 - 6.0 * r["length"] + 4.0 * r["ridge"] ** 2 for r in seen]
    assert [model.logit(r) for r in seen] == pytest.approx(truth, abs=0.5)
    chances = np.asarray([chance(model.logit(r)) for r in table])
    assert calibration_error(chances, right) < 0.03
    # Centred: on the average a term adds nothing.
    for name, term in model.terms.items():
        assert np.mean([term(r[name]) for r in table]) == pytest.approx(0.0, abs=1e-6)


def test_a_term_that_may_only_fall_does_not_rise():
    table, right, weights = rows()
    model = fitted(table, ~right, weights, ["length", "ridge"], ["ridge"], ["length"])
    for term in model.terms.values():
        assert abs(term.values).max() < 1e-6
    assert chance(model.intercept) == pytest.approx((~right).mean(), abs=0.02)


def test_what_is_not_known_adds_nothing():
    table, right, weights = rows()
    for row in table[::2]:
        row["ridge"] = float("nan")
    model = fitted(table, right, weights, ["length", "ridge"], ["ridge"], ["length"])
    assert model.logit({"length": 0.5, "ridge": float("nan")}) == model.logit({"length": 0.5})


def test_calibration_error_of_certain_lies_is_one():
    assert calibration_error(np.array([1.0, 0.0]), np.array([False, True])) == 1.0
    assert calibration_error(np.array([0.5, 0.5]), np.array([False, True])) == 0.0


def test_every_combination_has_its_observations():
    assert len(combinations()) == 8
    assert "ridge" not in names_for("probability", ("length", "ridge", "likely", "piece_ridge"))
    assert names_for("", ("length", "ridge", "likely", "completion_least")) == ["length"]


@pytest.fixture(scope="module")
def images() -> list[dict[str, list[dict[str, object]]]]:
    """Rows of two samples that are broken, and of gaps planted in them."""
    found = []
    for seed in range(2):
        made = make_sample("fundus", seed, (256, 256))
        truth = made.truth.mask
        sample = Sample(f"sample {seed}", made.image, truth, truth, truth.astype(np.float32), made.broken)
        natural = rows_of(made.broken, sample, made.image, None, None)
        planted, erased = planted_in(sample, 0, 1)
        again = rows_of(planted, sample, erased, None, None)
        assert natural is not None
        assert again is not None
        common = {"asks": questions_of(0, "network"), "counts": 1.0}
        parts = [{"weight": 1.0, **common, **natural}, {"weight": 0.5, **common, **again}]
        found.append({"set": "samples", "image": parts})
    return found


def test_a_ridge_filter_teaches_links_alone_and_the_first_network_tips_too(images) -> None:
    assert [questions_of(n, kind) for n, kind in enumerate(("network", "network", "ridge"))] == [
        ("link", "fragment", "tip", "score"),
        ("link", "fragment"),
        ("link",),
    ]
    [natural, planted] = images[0]["image"]
    both = {**images[0], "image": [natural, planted, {**natural, "asks": questions_of(2, "ridge")}]}
    model = learn(images, "image")
    held, before = (applied(image, "image", model) for image in (both, images[0]))
    assert len(held["link"]) == 2 * len(before["link"])
    assert [len(held[name]) for name in ("fragment", "tip", "score")] == [
        len(before[name]) for name in ("fragment", "tip", "score")
    ]


def test_rows_have_right_and_wrong_courses_and_are_learnt_from(images) -> None:
    links = [row for image in images for part in image["image"] for row in part["links"]]
    right = [row["first"] for row in links]
    assert any(right)
    assert not all(right)
    held = applied(images[1], "image", learn(images[:1], "image"))
    good, bad = (held["link"][held["link"][:, 1] == answer, 0].mean() for answer in (1, 0))
    assert good > bad + 0.2
    # Only natural rows are judged, each piece once.
    assert len(held["fragment"]) == len(images[1]["image"][0]["pieces"])
