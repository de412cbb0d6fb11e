"""The report: one HTML file that needs nothing else, in which everything from the project is text."""

from __future__ import annotations

import base64
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from napari_vessel.completion.gap import Effect, Gap, GapEnd, GapKind, Reason
from napari_vessel.errors import Cancelled, InputError, ProjectError
from napari_vessel.export.html import element, page, table, text
from napari_vessel.export.overlays import ADDED, CLOSE_SIDE, KEPT, REMOVED, SIDE, draw
from napari_vessel.export.report import write_report
from napari_vessel.export.report_data import find_references
from napari_vessel.images.image import VesselImage, VesselMask
from napari_vessel.images.inputs import ImageInput, find_inputs
from napari_vessel.jobs import CancelToken, Progress, run_job
from napari_vessel.review import ImageState, Project, Verdict
from napari_vessel.review.fragments import FragmentVerdict, find_fragments
from napari_vessel.review.measuring import measuring_image

EVIL = '<script>alert("x")</script><img src=http://a.example/x onerror=y>'


class Reader(HTMLParser):
    """Reads a page: its tags with their attributes, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.words += " "

    def handle_endtag(self, tag: str) -> None:
        self.words += " "

    def handle_data(self, data: str) -> None:
        self.words += data

    @property
    def plain(self) -> str:
        """The text with single spaces."""
        return " ".join(self.words.split())

    def pictures(self) -> list[np.ndarray]:
        """Every picture in the page, decoded."""
        sources = [attributes["src"] for tag, attributes in self.tags if tag == "img"]
        data = [base64.b64decode(source.removeprefix("data:image/jpeg;base64,")) for source in sources]
        return [cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) for one in data]


def broken() -> np.ndarray:
    """A vessel, rows 30-32, broken at x = 40-49, and a speck."""
    labels = np.zeros((64, 96), np.uint8)
    labels[30:33, 5:90] = 1
    labels[30:33, 40:50] = 0
    labels[50:53, 10:13] = 1
    return labels


def gap() -> Gap:
    xs = np.arange(39, 51, dtype=np.float32)
    path = np.stack([np.full(12, 31, np.float32), xs], 1)
    ends = tuple(GapEnd(n + 1, (31.0, x), (0.0, 1.0), 1.5, True) for n, x in enumerate((39.0, 50.0)))
    reasons = (Reason("runs straight on", 0.5),)
    return Gap("a", GapKind.BRIDGE, ends, path, np.full(12, 3, np.float32), 0.9, reasons, Effect(3, 2, 11.0, 30.0, 0))


def make(folder: Path, who: str, name: str = "eye.png", comment: str = "") -> Project:
    """A project with one image, whose gap was accepted and whose speck was deleted, and one without a mask."""
    folder.mkdir()
    pixels = np.random.default_rng(3).integers(60, 200, (64, 96), dtype=np.uint8)
    cv2.imwrite(str(folder / name), pixels)
    cv2.imwrite(str(folder / "later.png"), pixels.T)
    project = Project.create(folder / "project", f"Clinic {EVIL}")
    (record,) = run_job(project.add([ImageInput(folder / name)], masks=VesselMask(broken())))
    run_job(project.add([ImageInput(folder / "later.png")]))
    session = project.open_session(record.id, who)
    session.set_gaps([gap()])
    session.decide("a", Verdict.ACCEPTED, 1.0)
    (speck, *_) = run_job(find_fragments(session.components_copy()))
    session.decide_fragment(speck, FragmentVerdict.DELETED, 1.0)
    project.set_comment(record.id, comment)
    project.set_state(record.id, ImageState.DONE)
    return project


@pytest.fixture
def project(tmp_path):
    with make(tmp_path / "a", f"Ann {EVIL}", comment=EVIL) as opened:
        yield opened


def test_the_page_tells_what_was_changed_by_whom_and_what_is_left_out(project, tmp_path):
    out = run_job(write_report(project, tmp_path / "r.html"))
    told = Reader(out).plain
    for words in (
        "1 of 1 images with a finished review",
        "3 → 1 separate pieces of vessel",
        "2 proposals decided by a person",
        "Gaps accepted: joined as proposed 1 1",
        "Fragments deleted: no vessel 1 1",
        "Not in this report: later (it has no mask yet)",
        "Before the review: 3 pieces",
        "After: 1 piece; +30 px, −9 px",
        "a mask from elsewhere, or not known",
        project.images()[0].content_hash,
        "Mean over images before after change",
        "components 3 1 −2",
        "Measured before after",
    ):
        assert words in told, words
    assert "never looked for" not in told
    assert "Against the reference" not in told
    assert "Agreement" not in told


def test_names_and_comments_are_text_and_nothing_is_loaded_or_run(project, tmp_path):
    out = run_job(write_report(project, tmp_path / "r.html"))
    read = Reader(out)
    assert read.words.count(EVIL) >= 4
    tags = {tag for tag, _ in read.tags}
    assert not tags & {"script", "iframe", "object", "link", "form", "base", "svg"}
    for _, attributes in read.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert all(
            (attributes.get(name) or "#").startswith(("#", "data:image/jpeg;base64,")) for name in ("src", "href")
        )
    (policy,) = [a["content"] for t, a in read.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "script" not in policy
    assert "@import" not in out.read_text()
    assert "url(" not in out.read_text()


def test_measurements_are_in_units_that_a_person_reads(tmp_path):
    pixels = np.random.default_rng(3).random((64, 96)).astype(np.float32)
    with Project.create(tmp_path / "p") as project:
        image = VesselImage(pixels, spacing=(8.0, 10.0), name="scan")
        (record,) = run_job(project.add([image], masks=VesselMask(broken())))
        run_job(project.add([VesselImage(1 - pixels, name="later")], masks=VesselMask(broken())))
        session = project.open_session(record.id, "Ann")
        session.set_gaps([gap()])
        session.decide("a", Verdict.UNSURE)
        project.store_completion(record.id, pixels, {"model": "completer <b>", "model_version": "1.2"})
        told = Reader(run_job(write_report(project, tmp_path / "r.html"))).plain
        figures = run_job(measuring_image(project, record.id)).after.figures
    for words in (
        "96 x 64 px, in review, 10 x 8 µm a pixel",
        "Measured before after with 1 unsure open or closed",
        "components 3 3 2 to 3",
        f"centreline length of the longest component, mm {figures['longest_component_length'] / 1e3:.3f}",
        f"free ends per length, /mm {1e3 * figures['ends_per_length']:.3f}",
        f"calibre, mean, µm {figures['calibre_mean']:.1f}",
        "Model version threshold gaps found with images",
        "completer <b> 1.2 1",
        "Gaps were never looked for in 1 image.",
    ):
        assert words in told, words


def test_a_grey_image_that_fills_little_of_its_range_is_seen():
    pixels = np.linspace(0.01, 0.03, 96 * 64, dtype=np.float32).reshape(64, 96)
    nothing = np.zeros((64, 96), bool)
    drawn = draw(VesselImage(pixels), nothing, nothing)
    picture = cv2.imdecode(np.frombuffer(drawn.image, np.uint8), cv2.IMREAD_COLOR)
    assert picture.max() - picture.min() > 200


def test_pictures_are_in_the_file_and_show_the_changes(project, tmp_path):
    pictures = Reader(run_job(write_report(project, tmp_path / "r.html"))).pictures()
    assert [picture.shape[:2] for picture in pictures[:3]] == [(64, 96)] * 3
    # Two changes close up, each as three squares side by side.
    assert [picture.shape[:2] for picture in pictures[3:]] == [(CLOSE_SIDE, 3 * CLOSE_SIDE + 12)] * 2

    def colour(picture, y, x):
        return np.array([int(v) for v in picture[y, x, ::-1]])

    def named(name):
        return np.array([int(name[k : k + 2], 16) for k in (1, 3, 5)])

    before, after = pictures[1], pictures[2]
    for picture, y, x, name in ((after, 31, 45, ADDED), (after, 51, 11, REMOVED)):
        assert np.abs(colour(picture, y, x) - named(name)).max() < 40
    for picture, y, x in ((before, 31, 20), (before, 51, 11), (after, 31, 20)):
        assert np.abs(colour(picture, y, x) - named(KEPT)).max() < 90
    assert np.abs(colour(before, 31, 45) - named(ADDED)).max() > 90


def test_a_large_image_is_reduced_and_its_small_changes_stay_visible():
    pixels = np.full((1200, 3000), 0.5, np.float32)
    before = np.zeros((1200, 3000), bool)
    after = before.copy()
    after[600:602, 1500:1502] = True
    drawn = draw(VesselImage(pixels), before, after)
    picture = cv2.imdecode(np.frombuffer(drawn.after, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (round(1200 * SIDE / 3000), SIDE, 3)
    yellow = (picture[..., 2].astype(int) - picture[..., 0]) > 80
    assert 2 <= np.count_nonzero(yellow) < 60
    assert (drawn.added, drawn.removed, len(drawn.close)) == (4, 0, 1)


def test_an_image_without_contrast_and_an_empty_mask_are_drawn():
    nothing = np.zeros((40, 50), bool)
    drawn = draw(VesselImage(np.zeros((40, 50, 3), np.float32), fov=nothing), nothing, nothing)
    assert drawn.close == ()
    assert drawn.image.startswith(b"\xff\xd8")


def test_reference_masks_add_metrics_before_and_after(project, tmp_path):
    truth = tmp_path / "truth"
    truth.mkdir()
    whole = np.zeros((64, 96), np.uint8)
    whole[30:33, 5:90] = 255
    cv2.imwrite(str(truth / "eye_mask.png"), whole)
    told = Reader(run_job(write_report(project, tmp_path / "r.html", truth=truth))).plain
    dice = 2 * 75 * 3 / (75 * 3 + 9 + 85 * 3)
    assert f"Dice {dice:.3f} 1.000 +{1 - dice:.3f}" in told
    assert "(b0 error) 2.0 0.0 −2.0" in told
    assert "Against eye_mask.png" in told
    (truth / "eye_mask.png").rename(truth / "other.png")
    with pytest.raises(InputError, match="has the name of an image"):
        run_job(write_report(project, tmp_path / "r.html", truth=truth))
    cv2.imwrite(str(truth / "eye.png"), whole[:-1])
    with pytest.raises(InputError, match="63 x 96"):
        run_job(write_report(project, tmp_path / "r.html", truth=truth))
    with pytest.raises(InputError, match="not a folder"):
        run_job(write_report(project, tmp_path / "r.html", truth=tmp_path / "none"))


def test_a_reference_mask_belongs_to_one_image(project, tmp_path):
    rng = np.random.default_rng(0)
    for place, names in (("in", ("img 01", "eye_2", "12_OD", "12_OS")), ("truth", ("img 01", "eye_2"))):
        (tmp_path / place).mkdir()
        for name in names:
            cv2.imwrite(str(tmp_path / place / f"{name}.png"), rng.integers(0, 255, (64, 96), np.uint8))
    run_job(project.add(find_inputs([tmp_path / "in"])))
    records = {record.id: record.name for record in project.images()}
    assert sorted(records.values()) == ["12_OD", "12_OS", "eye", "eye_2", "img_01", "later"]

    found = run_job(find_references(project.images(), tmp_path / "truth"))
    assert {records[one]: file.name for one, file in found.items()} == {"img_01": "img 01.png", "eye_2": "eye_2.png"}

    cv2.imwrite(str(tmp_path / "truth" / "12_manual1.png"), np.eye(96, dtype=np.uint8))
    with pytest.raises(InputError, match="could be the reference mask of 12_OD and of 12_OS"):
        run_job(find_references(project.images(), tmp_path / "truth"))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(("short", "long"), [("look (1)", "look (1)_b"), ("\u00e9", "\u00e9_2")])
def test_a_reference_mask_has_the_name_of_the_file_however_that_is_written(project, tmp_path, form, short, long):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for name in (short, long):
        cv2.imwrite(str(tmp_path / "in" / f"{name}.png"), rng.integers(0, 255, (64, 96), np.uint8))
    run_job(project.add(find_inputs([tmp_path / "in"])))
    truth = tmp_path / "truth" / f"{unicodedata.normalize(form, long)}_mask.png"
    truth.parent.mkdir()
    cv2.imwrite(str(truth), np.eye(96, dtype=np.uint8))
    owner = next(record.id for record in project.images() if record.path.stem == long)
    job = find_references(project.images(), truth.parent)
    # The window and Ctrl+C are heard between images.
    assert isinstance(next(job), Progress)
    assert run_job(job) == {owner: truth}


def test_a_second_project_adds_the_agreement(project, tmp_path):
    with make(tmp_path / "b", "Bob") as other:
        told = Reader(run_job(write_report(project, tmp_path / "r.html", other=other))).plain
    assert "Agreement with a second reader" in told
    assert "(Bob): 2 images in both, 0 contradictions." in told
    assert "Gaps 1.000 not defined" in told
    assert "Dice 1.000, clDice 1.000" in told


def test_an_earlier_report_is_replaced_and_nothing_else(project, tmp_path):
    out = tmp_path / "r.html"
    run_job(write_report(project, out))
    first = out.read_text()
    project.set_comment(project.images()[0].id, "another comment")
    run_job(write_report(project, out))
    assert "another comment" in out.read_text()
    assert first != out.read_text()
    (tmp_path / "page.html").write_text("<html>mine</html>")
    for name, words in (("page.html", "is no report"), ("r.txt", "end in .html"), ("no/r.html", "does not exist")):
        with pytest.raises(InputError, match=re.escape(words)):
            run_job(write_report(project, tmp_path / name))
    assert (tmp_path / "page.html").read_text() == "<html>mine</html>"


def test_a_cancelled_or_failed_report_leaves_nothing(project, tmp_path):
    token = CancelToken()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Cancelled):
        run_job(write_report(project, tmp_path / "r.html"), lambda _: token.cancel(), token)
    (tmp_path / "a" / "eye.png").unlink()
    with pytest.raises(ProjectError, match="has moved"):
        run_job(write_report(project, tmp_path / "r.html"))
    assert sorted(tmp_path.iterdir()) == before


def test_a_project_without_masks_has_no_report(tmp_path):
    with Project.create(tmp_path / "p") as empty, pytest.raises(ProjectError, match="nothing to report"):
        run_job(write_report(empty, tmp_path / "r.html"))


def test_parts_of_a_page_escape_what_they_are_given(tmp_path):
    assert text('<a b="c">&') == "&lt;a b=&quot;c&quot;&gt;&amp;"
    assert element("p", "<b>", class_='"x').html == '<p class="&quot;x">&lt;b&gt;</p>'
    (tmp_path / "x.html").write_text(page(EVIL, [table([EVIL], [[EVIL], [None]])], EVIL))
    assert {tag for tag, _ in Reader(tmp_path / "x.html").tags} <= {
        *("html", "head", "meta", "title", "style", "body", "table", "thead", "tbody", "tr", "th", "td"),
    }
