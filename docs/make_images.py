"""Make the pictures of the documentation: ``python docs/make_images.py``.

Drives the real window on the fundus sample, through the widgets' own buttons and at the size of a small laptop's
screen, and writes ``docs/images/*.png``. Without a screen it runs itself again under Xvfb. Run it again whenever the
window or the shipped weights change.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from napari_vessel.gui.workspace import Workspace

HERE = Path(__file__).resolve().parent
IMAGES = HERE / "images"
WIDTH, HEIGHT = 1366, 768
MAX_BYTES = 250_000
MAX_COLOURS = 256
RARE, FAR = 24, 16
ZOOM, NEAR = 4.5, 8.0
MANY = 10
# Ends (x, y) of a line that joins two vessels of the first sample, and how far from its middle the cut may be, px.
FALSE_BRIDGE, BRIDGE_REACH = ((283, 127), (271, 141)), 8.0
HALF, SEAM = (500, 420), 8
# More images than the first, so that the table of the project has something to show: kind and seed of each.
COMPANY = (("fundus", 1), ("fundus", 2), ("octa", 0), ("xray", 0))
# What the training in the picture learns from: seeds of more such images.
LABELLED, LOSSES = (21, 22, 23, 24, 25), 2
# The fine-tuning in the picture: steps, images to rehearse, and how often the model was judged by then.
TUNING_STEPS, REHEARSAL, LOOKS = 36, 6, 3
# A training shares the machine with whatever else runs on it.
TRAINING_SECONDS = 1800.0
INSIDE = "NAPARI_VESSEL_IMAGES_INSIDE"


def main() -> int:
    """Parse the command line, go under Xvfb where there is no screen, and make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder for the pictures (default: docs/images)")
    out = parser.parse_args().out.resolve()
    if os.environ.get(INSIDE):
        return make_images(out)
    with tempfile.TemporaryDirectory(prefix="reading-centre-") as home:
        # Settings, recent projects and the reader's name of whoever runs this stay out of the pictures.
        environment = {
            **os.environ,
            INSIDE: home,
            "XDG_CONFIG_HOME": f"{home}/config",
            "XDG_DATA_HOME": f"{home}/data",
            "NAPARI_CONFIG": f"{home}/config/napari.yaml",
            "LOGNAME": "reader 1",
        }
        command = [sys.executable, str(Path(__file__).resolve()), "--out", str(out)]
        if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")) and sys.platform == "linux":
            runner = shutil.which("xvfb-run")
            if runner is None:
                print("error: There is no screen and no xvfb-run; install xvfb.", file=sys.stderr)
                return 1
            command = [runner, "-a", "-s", f"-screen 0 {WIDTH}x{HEIGHT}x24", *command]
        return subprocess.run(command, env=environment, check=False).returncode


def make_images(out: Path) -> int:
    """Open the window, take the pictures and write them to `out`; return the process's exit code."""
    from napari_vessel.errors import VesselError
    from napari_vessel.gui.launch import open_window
    from napari_vessel.gui.workspace import Workspace

    project = make_project(Path(os.environ[INSIDE]) / "study")
    raw = Path(os.environ[INSIDE]) / "pictures"
    raw.mkdir()
    viewer = open_window(project)
    viewer.window.resize(WIDTH, HEIGHT)
    workspace = Workspace.of(viewer)
    try:
        take_pictures(viewer, workspace, raw)
    except VesselError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        workspace.close()
        viewer.close()
    out.mkdir(parents=True, exist_ok=True)
    for picture in sorted(raw.glob("*.png")):
        target = out / picture.name
        shrink(picture, target)
        print(f"{target.name}  {target.stat().st_size // 1000} kB")
    return 0


def make_project(folder: Path) -> Path:
    """Make a project with several samples in it, and return its folder."""
    from napari_vessel.jobs import run_job
    from napari_vessel.review.project import Project
    from napari_vessel.synthesis.samples import make_sample

    with Project.create(folder, "study") as project:
        for number, (kind, seed) in enumerate([("fundus", 0), *COMPANY], start=1):
            image = make_sample(kind, seed=seed).image
            run_job(project.add([replace(image, source=Path(f"{kind}-{number:02d}"))]))
    return folder


def take_pictures(viewer: Any, workspace: Workspace, raw: Path) -> None:
    """Do an annotator's first minutes, with a picture of each step."""
    import cv2
    import numpy as np
    from qtpy.QtCore import Qt

    from napari_vessel.gui.demo import Demo
    from napari_vessel.gui.measurement_tables import SEGMENT_COLUMNS
    from napari_vessel.gui.workers import running_jobs
    from napari_vessel.review.edits import Verdict
    from napari_vessel.review.records import ImageState
    from napari_vessel.synthesis.samples import make_sample

    demo = Demo(viewer, raw, make_sample("fundus"))
    press, picture, wait, settle = demo._press, demo._picture, demo._wait, demo._settle

    def dock(name: str) -> Any:
        container, widget = viewer.window.add_plugin_dock_widget("napari-vessel", name, tabify=True)
        container.show()
        container.raise_()
        settle(0.5)
        return widget

    def open_and_segment(image_id: str, model: str | None) -> None:
        workspace.open_image(image_id)
        wait(lambda: workspace.record is not None and workspace.record.id == image_id, "the image to open")
        workspace.segment(model=model)
        wait(lambda: bool(session().labels.any()), "the segmentation")
        wait(lambda: bool(session().open_gaps and workspace.review.selected), "the gaps")

    def session() -> Any:
        return workspace.session

    first, *others = [record.id for record in workspace.images()]
    open_and_segment(first, None)

    wait(lambda: not running_jobs(), "the cuts")
    segment = dock("Segment vessels")
    workspace.scene.camera.show_all()
    used = segment.threshold.value()
    segment.threshold.setValue(0.6 * used)
    wait(lambda: any(layer.name == "Threshold preview" for layer in viewer.layers), "the preview")
    picture("segment.png")
    segment.reset_button.click()
    settle(0.5)

    gaps = dock("Vessel gaps")
    workspace.select_gap(session().open_gaps[0].id)
    workspace.scene._camera.zoom = ZOOM
    picture("start.png")

    chosen = telling_gap(session().open_gaps)
    workspace.select_gap(chosen.id)
    workspace.scene._camera.zoom = NEAR
    settle(0.5)
    before = viewer.screenshot(canvas_only=True, flash=False)
    press("Accept")
    workspace.select_gap(chosen.id)
    gaps.view.ghost_box.click()
    settle(0.5)
    after = viewer.screenshot(canvas_only=True, flash=False)
    gaps.view.ghost_box.click()
    side_by_side(before, after, raw / "accepted.png")
    workspace.scene._camera.zoom = ZOOM

    workspace.select_gap(session().open_gaps[0].id)
    press("Reject")
    gap = workspace.review.gap
    press("Repaint")
    layer = workspace.scene.mask_layer
    points = np.vstack([np.asarray(gap.ends[0].point), gap.path, np.asarray(gap.ends[-1].point)])
    for point in points:
        layer.paint(tuple(float(v) for v in point), layer.selected_label)
    picture("repaint.png")
    workspace.end_repaint()
    settle(0.5)

    gaps.view.outline.click()
    gaps.view.green.click()
    gaps.view.opacity.setValue(100)
    wait(lambda: workspace.scene.views.shown("green"), "the green channel")
    picture("outline.png")
    gaps.view.green.click()
    gaps.view.outline.click()
    gaps.view.opacity.setValue(60)

    workspace.accept_above(0.6)
    while session().open_gaps:
        workspace.select_gap(session().open_gaps[0].id)
        workspace.decide(Verdict.REJECTED)
    workspace.mark_done()
    wait(lambda: workspace.record is not None and workspace.record.id == others[0], "the next image")
    open_and_segment(others[0], None)
    workspace.segment([others[1]])
    wait(lambda: workspace.project.record(others[1]).state is ImageState.SEGMENTED, "the image after")
    press("Accept")
    press("Unsure")
    workspace.set_flag("second_reader", True)
    workspace.set_comment("is the faint vessel above the disc real?")
    dock("Vessel project")
    workspace.scene.camera.show_all()
    picture("project.png")

    measurements = dock("Measurements")
    measurements.measure_button.click()
    wait(lambda: measurements.order.rowCount() > 0, "the measurements")
    measurements.segments.sortByColumn(SEGMENT_COLUMNS.index("length"), Qt.SortOrder.DescendingOrder)
    measurements.segments.selectRow(2)
    workspace.scene._camera.zoom = ZOOM
    picture("measurements.png")

    export = dock("Export vessels")
    export.states[ImageState.IN_REVIEW].setChecked(True)
    export.licence.setText("CC BY 4.0")
    settle(0.2)
    export.check_button.click()
    wait(lambda: export.problems.count() > 0 or "No problems" in export.problems_title.text(), "the check")
    export.export_button.click()
    wait(export.folder_button.isEnabled, "the export")
    picture("export.png")

    training = dock("Vessel training")
    training.add_files(*labelled(raw.parent / "labelled"))
    wait(lambda: training.table.rowCount() >= len(LABELLED), "the labelled images")
    training.name.setText("our-camera")
    training.synthetic.setValue(8)
    training.steps.setValue(120)
    training.start_button.click()
    wait(lambda: len(training.plot.curve.loss) > LOSSES, "the curve", TRAINING_SECONDS)
    picture("training.png")
    training.stop_button.click()
    wait(lambda: not training.training.running, "the end of the training", TRAINING_SECONDS)

    viewer.window.remove_dock_widget(training)

    # Three finished images, so that there is one to judge by, corrected as far as can be.
    for image_id, (kind, seed) in list(zip([first, *others], [("fundus", 0), *COMPANY], strict=True))[:3]:
        workspace.open_image(image_id)
        wait(lambda image_id=image_id: workspace.record is not None and workspace.record.id == image_id, "the image")
        workspace.set_mask(make_sample(kind, seed=seed).truth.labels, "corrected by hand")
        wait(lambda: not running_jobs(), "the gaps")
        workspace.set_state(ImageState.DONE)
    tuning = dock("Fine-tune")
    tuning.steps.setValue(TUNING_STEPS)
    tuning.rehearsal.setValue(REHEARSAL)
    wait(tuning.start_button.isEnabled, "what there is to learn from")
    tuning.start_button.click()
    # It ends after so many looks without anything better.
    wait(lambda: len(tuning.plot.curves.dice) > LOOKS, "the curves", TRAINING_SECONDS)
    workspace.scene.camera.show_all()
    picture("finetune.png")
    tuning.stop_button.click()
    wait(lambda: not tuning.tuning.running, "the end of the fine-tuning", TRAINING_SECONDS)
    viewer.window.remove_dock_widget(tuning)

    # A mask with many breaks, as they come from elsewhere.
    dock("Vessel gaps")
    workspace.open_image(first)
    wait(lambda: workspace.record is not None and workspace.record.id == first, "the first image")
    workspace.set_mask(make_sample("fundus").broken, "mask from elsewhere")
    wait(lambda: len(session().open_gaps) > MANY and bool(workspace.review.selected), "the gaps")
    wait(lambda: not running_jobs(), "the cuts")
    gaps.bulk_score.setValue(0.8)
    gaps.bulk.button.click()
    picture("bulk.png")
    workspace.queues.leave()
    gaps.tabs.setCurrentIndex(2)
    wait(lambda: workspace.fragments.fragment is not None, "the fragments")
    workspace.scene._camera.zoom = ZOOM
    picture("fragments.png")

    labels = make_sample("fundus").broken
    cv2.line(labels, *FALSE_BRIDGE, 1, 2)
    workspace.set_mask(labels, "mask with a false bridge")
    workspace.queues.show("cuts")
    middle = np.mean(FALSE_BRIDGE, axis=0)[::-1]

    def bridge() -> Any:
        at = [(float(np.hypot(*(middle - np.asarray(gap.centre)))), gap.id) for gap in session().open_cuts]
        return next((gap_id for away, gap_id in sorted(at) if away < BRIDGE_REACH), None)

    wait(lambda: bridge() is not None, "the cuts")
    workspace.select_gap(bridge())
    workspace.scene._camera.zoom = NEAR
    picture("cut.png")


def labelled(folder: Path) -> tuple[list[Path], Path]:
    """Write images with their masks to be learnt from; return the images, and the folder of the masks."""
    import numpy as np
    from PIL import Image

    from napari_vessel.synthesis.samples import make_sample

    for room in ("images", "masks"):
        (folder / room).mkdir(parents=True)
    for number in LABELLED:
        sample = make_sample("fundus", number)
        pixels = np.round(sample.image.pixels * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"eye_{number}.png")
        Image.fromarray(sample.truth.labels * 255).save(folder / "masks" / f"eye_{number}.png")
    return [folder / "images" / f"eye_{number}.png" for number in LABELLED], folder / "masks"


def telling_gap(gaps: Sequence[Any]) -> Any:
    """Return a gap that shows well what accepting does: a long one with a good score that joins two components."""
    joins = [gap for gap in gaps if gap.effect.components_after < gap.effect.components_before]
    good = [gap for gap in joins if gap.score >= 0.8] or joins or list(gaps)
    return max(good, key=lambda gap: gap.length)


def side_by_side(left: Any, right: Any, target: Path) -> None:
    """Write the middles of two canvases beside each other."""
    from PIL import Image

    halves = []
    for canvas in (left, right):
        picture = Image.fromarray(canvas).convert("RGB")
        y, x = (picture.height - HALF[1]) // 2, (picture.width - HALF[0]) // 2
        halves.append(picture.crop((x, y, x + HALF[0], y + HALF[1])))
    both = Image.new("RGB", (2 * HALF[0] + SEAM, HALF[1]), "white")
    both.paste(halves[0], (0, 0))
    both.paste(halves[1], (HALF[0] + SEAM, 0))
    both.save(target)


def shrink(source: Path, target: Path) -> None:
    """Write a picture with as many palette colours as fit into the size allowed."""
    from PIL import Image

    with Image.open(source) as opened:
        picture = opened.convert("RGB")
    if picture.width > WIDTH:  # a screen with several pixels per point
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    colours = MAX_COLOURS
    while True:
        small = picture.quantize(palette=palette_of(picture, colours), dither=Image.Dither.NONE)
        temporary = target.with_name(f".{target.name}.part")
        small.save(temporary, format="PNG", optimize=True)
        if temporary.stat().st_size <= MAX_BYTES or colours <= 64:
            os.replace(temporary, target)
            return
        colours = 3 * colours // 4


def palette_of(picture: Image.Image, colours: int) -> Image.Image:
    """Return a palette of the median cut, and in it the colours that it would lose: those of few pixels, far from all.

    Without them a proposal of ten pixels takes on the colour of the vessels.
    """
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture).reshape(-1, 3)
    cut = picture.quantize(colours - RARE, method=Image.Quantize.MEDIANCUT)
    kept = np.asarray(cut.getpalette(), np.uint8).reshape(-1, 3)[: colours - RARE]
    rare: list[Any] = []
    nearest = np.asarray(kept)[np.asarray(cut).ravel()].astype(int)
    lost = pixels[np.abs(nearest - pixels).max(axis=1) > FAR]
    for _ in range(RARE):
        if not len(lost):
            break
        found, counts = np.unique(lost, axis=0, return_counts=True)
        best = found[counts.argmax()]
        rare.append(best)
        lost = lost[np.abs(lost.astype(int) - best).max(axis=1) > FAR]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.vstack([kept, *rare]).astype(np.uint8).ravel().tolist())
    return palette


if __name__ == "__main__":
    sys.exit(main())
