"""The demonstration: a sample, segmented, its gaps listed; and the whole job without anybody at the keys.

``python -m napari_vessel.gui.demo DIR`` does the job through the widgets of a real window (under Xvfb where there is no
screen) and writes screenshots and ``report.html``.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import VesselError
from napari_vessel.gui.workspace import Workspace

if TYPE_CHECKING:
    import napari

    from napari_vessel.completion.gap import Gap
    from napari_vessel.images.image import VesselImage
    from napari_vessel.review.session import ReviewSession
    from napari_vessel.synthesis.samples import Sample

SAMPLE_NAME = "octa-sample"
_SAMPLE_NAMES = (SAMPLE_NAME, "fundus-sample")
"""Also of demonstrations before this one: their project is made anew, too."""

MARKER = ".napari-vessel-demo"
PATIENCE_SECONDS = 240.0


class DemoError(VesselError):
    """The demonstration did not get where it should."""


def start(viewer: napari.Viewer) -> None:
    """Add, open and segment the sample, unless the demo's project has it already: then go on where it was left."""
    workspace = Workspace.of(viewer)
    if workspace.project is None or workspace.images():
        return

    def opened() -> None:
        if workspace.session is not None:
            workspace.image_opened.disconnect(opened)
            workspace.segment(complete=_completes())

    workspace.image_opened.connect(opened)
    workspace.add_image(_named(demo_sample().image))


def demo_sample() -> Sample:
    """Return what the demonstration is shown on: an OCT angiogram whose mask comes in pieces, most of them breaks.

    The fundus sample would be the plainer picture, but its segmenter sees through nearly all breaks of it.
    """
    from napari_vessel.synthesis.samples import make_sample

    return make_sample("octa", 1)


def _named(image: VesselImage) -> VesselImage:
    """Return the image under a name for people; there is no file of that name, so the project saves the pixels."""
    return replace(image, source=Path(SAMPLE_NAME))


def _completes() -> bool:
    """Tell whether there is a model that completes what the sample's segmenter leaves out."""
    from napari_vessel.images.image import Modality
    from napari_vessel.segmentation.registry import default_completion_model

    return default_completion_model(Modality.OCTA) is not None


class Demo:
    """Does the job through the widgets, and keeps what the report tells.

    Parameters
    ----------
    viewer : napari.Viewer
        With the widgets docked and the demo's project open.
    out : Path
        Folder for pictures and report.
    sample : Sample
        What the project's image was made from.
    """

    def __init__(self, viewer: napari.Viewer, out: Path, sample: Sample) -> None:
        self.viewer, self.out, self.sample = viewer, out, sample
        self.workspace = Workspace.of(viewer)
        self.steps: list[dict[str, Any]] = []
        self._problems: list[str] = []
        self._clock = time.perf_counter()
        self.workspace.message.connect(self._on_message)

    def run(self) -> None:
        """Do everything, in order."""
        ws = self.workspace
        self._wait(lambda: ws.session is not None, "the sample to open")
        self._wait(lambda: bool(self._session.labels.any()), "the segmentation")
        self._wait(lambda: bool(self._session.open_gaps and ws.review.selected), "the gaps")
        self._record("Segmented, gaps listed, the first one under review", "1-start.png")

        self._press("Accept")
        self._record("Accepted gap 1", "2-accepted.png")
        wrong = self._wrong()
        if wrong is not None:
            ws.review.select(wrong.id)
            self._press("Reject")
            rank = self._session.number_of(wrong.id)
            self._record(f"Rejected gap {rank}, score {wrong.score:.2f}: no vessel was drawn there")
            ws.review.select(self._session.open_gaps[0].id)

        gap = ws.review.gap
        if gap is None:
            raise DemoError("Too few gaps were found: there is none to repaint.")
        self._press("Repaint")
        layer = ws.scene.mask_layer
        points = np.vstack([np.asarray(gap.ends[0].point), gap.path, np.asarray(gap.ends[-1].point)])
        for point in points:
            layer.paint(tuple(float(v) for v in point), layer.selected_label)
        self._settle(0.3)
        self._picture("3-repaint.png")
        ws.end_repaint()
        self._record("Repainted the next with the brush", picture_is="3-repaint.png")

        before = self._session.labels.copy()
        ws.undo()
        self._wait(lambda: not np.array_equal(self._session.labels, before), "the undo")
        self._record("Undid the repaint")
        ws.redo()
        self._wait(lambda: np.array_equal(self._session.labels, before), "the redo")
        self._record("Did it again")

        high = 0.7
        if any(g.score >= high for g in self._session.open_gaps):
            ws.accept_above(high)
            self._record(f"Accepted every gap with a score of {high} or more, as one action", "4-accepted-above.png")

        record = self._session.image_id
        ws.mark_done()
        self._settle(0.5)
        self.viewer.window.add_plugin_dock_widget("napari-vessel", "Export vessels", tabify=True)
        exported: list[Path] = []
        ws.export(self.out / "export", on_done=exported.append)
        self._wait(lambda: bool(exported), "the export")
        if ws.session is None:
            ws.open_image(record)
            self._wait(lambda: ws.session is not None, "the image to open again")
        self._record("Marked the image as done and exported image, mask and manifest", "5-exported.png")

    def _wrong(self) -> Gap | None:
        """Return the best of the proposals that lead where there is no vessel, by the sample's own truth."""
        import cv2

        near = cv2.dilate(self.sample.truth.labels, np.ones((5, 5), np.uint8)) > 0

        def on_vessel(gap: Gap) -> float:
            pixels = np.rint(gap.path).astype(int).clip(0, np.array(near.shape) - 1)
            return float(near[pixels[:, 0], pixels[:, 1]].mean())

        return next((gap for gap in self._session.open_gaps if on_vessel(gap) < 0.7), None)

    @property
    def _session(self) -> ReviewSession:
        if self.workspace.session is None:
            raise DemoError("The sample was closed before the demonstration was over.")
        return self.workspace.session

    # Waiting and looking

    def _on_message(self, text: str, level: str) -> None:
        if level == "error":
            self._problems.append(text)

    def _settle(self, seconds: float) -> None:
        from qtpy.QtWidgets import QApplication

        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            QApplication.processEvents()
            time.sleep(0.005)

    def _wait(self, reached: Callable[[], bool], what: str, patience: float = PATIENCE_SECONDS) -> None:
        end = time.perf_counter() + patience
        while not reached():
            if self._problems:
                raise DemoError(f"While waiting for {what}: {self._problems[0]}")
            if time.perf_counter() > end:
                raise DemoError(f"Waited {patience:.0f} s for {what}, in vain.")
            self._settle(0.02)

    def _press(self, text: str) -> None:
        """Click a button of the gaps widget as a mouse would."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QApplication, QPushButton, QToolButton

        for widget in QApplication.allWidgets():
            if not (isinstance(widget, QPushButton | QToolButton) and widget.isVisible()):
                continue
            # The key and the verb, and nothing more: "Accept 13" decides many at once.
            if widget.text().replace("&", "").split()[1:] == [text]:
                if not widget.isEnabled():
                    raise DemoError(f"The button {text} cannot be pressed now.")
                QTest.mouseClick(widget, Qt.MouseButton.LeftButton)
                self._settle(0.3)
                return
        raise DemoError(f"There is no button {text} in the window.")

    def _picture(self, name: str) -> None:
        from qtpy.QtWidgets import QApplication

        for widget in QApplication.allWidgets():
            if type(widget).__name__ == "NapariQtNotification":
                widget.close()  # napari's own notices would cover the canvas in every picture
        self._settle(0.5)
        self.viewer.screenshot(path=str(self.out / name), canvas_only=False, flash=False)

    def _record(self, text: str, picture: str = "", picture_is: str = "") -> None:
        self._settle(0.3)
        seconds = time.perf_counter() - self._clock
        session, fov = self._session, self.sample.image.fov
        truth = self.sample.truth.mask
        mask = session.labels > 0
        step: dict[str, Any] = {
            "text": text,
            "seconds": seconds,
            "picture": picture or picture_is,
            **session.remaining(),
        }
        step["components"] = session.components.count
        step["dice"], step["cldice"] = dice(mask, truth, fov), cldice(mask, truth, fov)
        self.steps.append(step)
        if picture:
            self._picture(picture)
        self._clock = time.perf_counter()


def dice(mask: NDArray[np.bool_], truth: NDArray[np.bool_], fov: NDArray[np.bool_] | None) -> float:
    """Return the Dice coefficient inside the field of view."""
    if fov is not None:
        mask, truth = mask & fov, truth & fov
    total = int(mask.sum()) + int(truth.sum())
    return 2.0 * int((mask & truth).sum()) / total if total else 1.0


def cldice(mask: NDArray[np.bool_], truth: NDArray[np.bool_], fov: NDArray[np.bool_] | None) -> float:
    """Return clDice (Shit et al. 2021) inside the field of view."""
    from skimage.morphology import skeletonize

    if fov is not None:
        mask, truth = mask & fov, truth & fov
    lines, true_lines = skeletonize(mask), skeletonize(truth)
    if not lines.any() or not true_lines.any():
        return float(not lines.any() and not true_lines.any())
    precision = float((lines & truth).sum() / lines.sum())
    recall = float((true_lines & mask).sum() / true_lines.sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def peak_memory_mib() -> float:
    """Return the most memory this process has held, as the operating system counts it."""
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0 * 1024.0 if sys.platform == "darwin" else 1024.0)


def prepare(out: Path) -> Path:
    """Make the folder of a demonstration's project, and delete what an earlier one made there, and only that.

    Parameters
    ----------
    out : Path
        The demonstration's folder.

    Returns
    -------
    Path
        Folder for the project: there is none in it yet.

    Raises
    ------
    VesselError
        If the folder cannot be written, or has a project or an export that is somebody's own.
    """
    from napari_vessel.export.target import check_target
    from napari_vessel.review.project import Project

    folder, export = out / "project", out / "export"
    try:
        present = {path.name for path in folder.iterdir()} if folder.exists() else set()
        earlier = ""
        if present - {MARKER}:
            if MARKER not in present:
                raise DemoError(f"{folder} was not made by an earlier demo; choose another --out.")
            with Project.open(folder) as project:
                if any(record.name not in _SAMPLE_NAMES for record in project.images()):
                    raise DemoError(f"{folder} has images that no demo put there; choose another --out.")
                earlier = project.id
        check_target(export, earlier)
        if earlier:
            shutil.rmtree(export, ignore_errors=True)
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).touch()
    except OSError as error:
        raise DemoError(f"The demo cannot write to {out} ({error.strerror}); choose another --out.") from error
    return folder


def main(out: Path) -> int:
    """Do the job and write the pictures and the report to `out`; return the process's exit code."""
    from napari_vessel.gui.demo_report import write_report
    from napari_vessel.gui.launch import open_window

    try:
        project = prepare(out)
    except VesselError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    viewer = open_window(project)
    viewer.window.resize(1366, 768)
    demo = Demo(viewer, out, demo_sample())
    try:
        start(viewer)
        demo.run()
        opened = demo.workspace.project
        info = opened.segmentation_info(opened.images()[0].id) if opened is not None else {}
        report = write_report(out / "report.html", demo.steps, info, peak_memory_mib())
    except VesselError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    finally:
        demo.workspace.close()
        viewer.close()
    sys.stderr.write(f"Wrote {report}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")))
