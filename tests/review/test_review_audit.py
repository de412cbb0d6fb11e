"""What was accepted in bulk, drawn by chance and looked at again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from napari_vessel.review import Project, ReviewSession, Verdict
from napari_vessel.review.audit import BulkAccepted, audit_sample, bulk_accepted, confirmation, measured_error
from napari_vessel.review.calibration import Judged, judged


def test_an_audit_of_a_real_session(session: ReviewSession) -> None:
    edits = []
    session.edited.connect(lambda edit, box: edits.append(edit))
    session.decide("a", Verdict.ACCEPTED, 2.0)
    session.accept_above(0.7)
    drawn = session.labels.copy()
    done = bulk_accepted(edits, "eye")
    assert {one.gap.id for one in done} == {"b", "c"}
    assert all(one.waiting for one in audit_sample(done))
    assert measured_error(done).text == "nothing audited, 2 to go"

    session.apply(confirmation(done[0].gap, session.verdicts["b"], "ann", 1.0))
    assert np.array_equal(session.labels, drawn)
    assert session.verdicts["b"].verdict is Verdict.ACCEPTED
    assert judged(session.decided) == [Judged(0.95, True), Judged(0.85, True)]
    session.decide("c", Verdict.REJECTED, 1.0)
    assert session.labels[31, 27] == 0
    assert session.labels[11, 52] == 1

    found = measured_error(audit_sample(bulk_accepted(edits, "eye")))
    assert (found.audited, found.wrong, found.waiting) == (2, 1, 0)
    assert found.share == 0.5
    session.undo()
    session.undo()
    assert session.verdicts["b"].seconds == 0.0
    assert np.array_equal(session.labels, drawn)
    session.decide("b", Verdict.REJECTED)
    assert session.labels[11, 52] == 0, "a confirmed drawing can be taken back"


def test_a_confirmed_gap_that_is_refused_after_all_is_taken_back(session: ReviewSession) -> None:
    before = session.labels.copy()
    session.accept_above(0.9)
    session.apply(confirmation(session.gaps[0], session.verdicts["a"], "ann", 1.0))
    session.decide("a", Verdict.REJECTED, 1.0)
    assert np.array_equal(session.labels, before)


def test_what_was_opened_again_is_no_longer_audited(session: ReviewSession) -> None:
    edits = []
    session.edited.connect(lambda edit, box: edits.append(edit))
    session.accept_above(0.8)
    session.reopen("a")
    assert [one.gap.id for one in bulk_accepted(edits)] == ["b"]


def test_the_audit_outlives_a_restart(project: Project, gaps) -> None:
    (image,) = project.images()
    session = project.open_session(image.id, "ann")
    session.set_gaps(gaps)
    assert project.bulk_accepted(image.id) == []
    session.decide("d", Verdict.ACCEPTED, 1.0)
    session.accept_above(0.7)
    session.undo()
    assert project.bulk_accepted(image.id) == []
    session.redo()
    session.apply(confirmation(gaps[0], session.verdicts["a"], "ann", 1.0))
    session.decide("b", Verdict.REJECTED, 1.0)
    folder = project.folder
    project.close()

    with Project.open(folder) as again:
        done = again.bulk_accepted(image.id)
        assert {one.gap.id: one.later for one in done} == {"a": Verdict.ACCEPTED, "b": Verdict.REJECTED, "c": None}
        assert {one.image for one in done} == {image.id}
        assert measured_error(audit_sample(done)).text == "1 of 2 wrong: 50.0 % (1.3 to 98.7), 1 to go"
        assert sorted(one.score for one in judged(again.verdicts(image.id))) == [0.65, 0.85, 0.95]


def many(make_gap, count: int) -> list[BulkAccepted]:
    gap = make_gap(11)
    return [BulkAccepted("eye", replace(gap, id=f"gap-{n}")) for n in range(count)]


def test_a_twentieth_is_drawn_and_never_less_than_ten(make_gap) -> None:
    assert len(audit_sample(many(make_gap, 7))) == 7
    assert len(audit_sample(many(make_gap, 60))) == 10
    large = many(make_gap, 4000)
    assert 150 < len(audit_sample(large)) < 250
    assert len(audit_sample(large, share=1.0)) == 4000


def test_the_drawing_is_the_same_every_time_and_depends_on_the_seed(make_gap) -> None:
    accepted = many(make_gap, 1000)
    first = [one.gap.id for one in audit_sample(accepted)]
    assert [one.gap.id for one in audit_sample(accepted[::-1])] == first
    assert [one.gap.id for one in audit_sample(accepted, seed=1)] != first
    assert set(first) <= {one.gap.id for one in audit_sample([*accepted, *many(make_gap, 2000)[1000:]])}
    numbers = sorted(int(name.partition("-")[2]) for name in first)
    assert numbers[0] < 150
    assert numbers[-1] > 850


def test_the_measured_error_has_an_exact_interval(make_gap) -> None:
    told = [Verdict.REJECTED] * 2 + [Verdict.REPAINTED] + [Verdict.ACCEPTED] * 37 + [Verdict.UNSURE, None]
    sample = [replace(one, later=verdict) for one, verdict in zip(many(make_gap, 42), told, strict=True)]

    found = measured_error(sample)

    assert (found.audited, found.wrong, found.waiting, found.unsure) == (40, 3, 1, 1)
    interval = binomtest(3, 40).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert found.text == "3 of 40 wrong: 7.5 % (1.6 to 20.4), 1 to go"
