"""Score the shipped models on test images they never saw.

    python benchmarks/segmentation.py --chasedb1 DIR --hrf DIR -o benchmarks/results/segmentation.json

Inside the field of view, at each image's own resolution, vessel 8-connected, background 4-connected, each model with
the threshold and minimum size in its configuration. CHASE_DB1 and HRF are laid out as images/, masks/, fov/
(masks_2nd/); DRIVE, which no shipped model was trained on (``--drive DIR``), as its owners give it out: test/images,
test/1st_manual, test/2nd_manual, test/mask.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from napari_vessel.images.image import Modality, VesselImage
from napari_vessel.images.masks import read_mask
from napari_vessel.images.reading import read_image
from napari_vessel.images.writing import write_json
from napari_vessel.jobs import run_job
from napari_vessel.segmentation.registry import model_info
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.topology.metrics import score_mask

TEST = {
    "CHASE_DB1": [f"Image_{n}{eye}" for n in (11, 12, 13, 14) for eye in "LR"],
    "HRF": [f"{n:02d}_{group}" for n in range(6, 16) for group in ("dr", "g", "h")],
    "DRIVE": [f"{n:02d}" for n in range(1, 21)],
}
OWN_LAYOUT = {
    "image": "images/{}.*",
    "fov": "fov/{}.*",
    "first": "masks/{}.*",
    "second": "masks_2nd/{}.*",
}
LAYOUTS = {
    "CHASE_DB1": OWN_LAYOUT,
    "HRF": OWN_LAYOUT,
    "DRIVE": {
        "image": "test/images/{}_test.tif",
        "fov": "test/mask/{}_test_mask.gif",
        "first": "test/1st_manual/{}_manual1.gif",
        "second": "test/2nd_manual/{}_manual2.gif",
    },
}
FIGURES = ("dice", "cl_dice", "sensitivity", "specificity", "auc", "b0_error", "b1_error")


def find_file(data_set: str, folder: Path, kind: str, stem: str) -> Path | None:
    """Return one file of a test image, or None when the set has none of that kind."""
    return next(iter(sorted(folder.glob(LAYOUTS[data_set][kind].format(stem)))), None)


def one_file(data_set: str, folder: Path, kind: str, stem: str) -> Path:
    """Return one file of a test image, or stop."""
    found = find_file(data_set, folder, kind, stem)
    if found is None:
        sys.exit(f"There is no {kind} of '{stem}' in '{folder}' ({LAYOUTS[data_set][kind].format(stem)}).")
    return found


def read_test_image(data_set: str, folder: Path, stem: str) -> tuple[VesselImage, np.ndarray]:
    """Read an image with the field of view that came with it, and the first observer's vessels."""
    fov = one_file(data_set, folder, "fov", stem)
    image = read_image(one_file(data_set, folder, "image", stem), fov=fov, modality=Modality.FUNDUS)
    return image, read_mask(one_file(data_set, folder, "first", stem), image.shape).mask


def reset_peak() -> None:
    """Forget the peak memory so far (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float | None:
    """Return the peak resident memory since the last reset in MiB, by the system's accounting; None elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)


def interval(values: list[float], draws: int = 2000) -> list[float]:
    """Return the 95 % interval of the mean by drawing images with replacement."""
    rng = np.random.default_rng(0)
    means = rng.choice(np.array(values), (draws, len(values))).mean(axis=1)
    return [round(float(v), 4) for v in np.percentile(means, [2.5, 97.5])]


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and interval of every figure over the images."""
    summary: dict[str, Any] = {"images": len(rows)}
    for figure in FIGURES:
        values = [row[figure] for row in rows if row.get(figure) is not None]
        if values:
            summary[figure] = round(float(np.mean(values)), 4)
            summary[f"{figure}_95"] = interval(values)
    for figure in ("seconds", "peak_mib"):
        values = [row[figure] for row in rows if row.get(figure) is not None]
        if values:
            summary[f"median_{figure}"] = round(float(np.median(values)), 2)
    return summary


def score_model(name: str, data_set: str, folder: Path, device: str) -> list[dict[str, Any]]:
    """Predict and score every test image."""
    segmenter = Segmenter(name, device)
    rows = []
    for number, stem in enumerate(TEST[data_set]):
        image, truth = read_test_image(data_set, folder, stem)
        if number == 0:
            # Loading the weights is not part of the time per image.
            run_job(segmenter.predict(image))
        reset_peak()
        start = time.perf_counter()
        result = run_job(segmenter.predict(image))
        seconds, peak = time.perf_counter() - start, peak_mib()
        score = score_mask(result.mask, truth, image.fov, result.probability)
        rows.append({"image": stem, **score.to_json(), "seconds": round(seconds, 3), "peak_mib": peak and round(peak)})
        print(f"{stem} {name}: Dice {score.dice:.3f}, clDice {score.cl_dice:.3f}, {seconds:.1f} s", flush=True)
    return rows


def score_second_observer(data_set: str, folder: Path) -> list[dict[str, Any]]:
    """Score the second observer against the first, where there is one."""
    rows = []
    for stem in TEST[data_set]:
        image, first = read_test_image(data_set, folder, stem)
        # Some of these files paint background nearly black and vessels nearly white, in colour.
        with Image.open(one_file(data_set, folder, "second", stem)) as file:
            second = np.asarray(file.convert("L")) > 127
        rows.append({"image": stem, **score_mask(second, first, image.fov).to_json()})
    return rows


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    lines = [
        "| data set | model | Dice | clDice | sens. | spec. | AUC | b0 err | b1 err | s / image | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for data_set, models in results.items():
        for name, entry in models.items():
            s = entry["summary"]
            low, high = s["dice_95"]
            cells = [f"{s['dice']:.3f} ({low:.3f}-{high:.3f})", f"{s['cl_dice']:.3f}"]
            cells += [f"{s['sensitivity']:.3f}", f"{s['specificity']:.3f}", f"{s['auc']:.3f}" if "auc" in s else ""]
            cells += [f"{s['b0_error']:.1f}", f"{s['b1_error']:.1f}"]
            cells += [f"{s['median_seconds']:.1f}" if "median_seconds" in s else ""]
            cells += [f"{s['median_peak_mib']:.0f}" if "median_peak_mib" in s else ""]
            lines.append(f"| {data_set} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def command(folders: dict[str, Path | None], models: str, device: str) -> str:
    """Return the command without this machine's folders."""
    given = {"CHASE_DB1": "--chasedb1", "HRF": "--hrf", "DRIVE": "--drive"}
    parts = [f"{given[name]} DIR" for name, folder in folders.items() if folder is not None]
    return f"python benchmarks/segmentation.py {' '.join(parts)} --models {models} --device {device} -o FILE"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chasedb1", type=Path)
    parser.add_argument("--hrf", type=Path)
    parser.add_argument("--drive", type=Path)
    parser.add_argument("--models", default="fundus-small,ridge", help="names, separated by commas")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    folders = {"CHASE_DB1": options.chasedb1, "HRF": options.hrf, "DRIVE": options.drive}
    results: dict[str, dict[str, Any]] = {}
    for data_set, folder in folders.items():
        if folder is None:
            continue
        results[data_set] = {}
        for name in options.models.split(","):
            rows = score_model(name, data_set, folder, options.device)
            results[data_set][name] = {"summary": summarise(rows), "images": rows}
        if find_file(data_set, folder, "second", TEST[data_set][0]) is not None:
            rows = score_second_observer(data_set, folder)
            results[data_set]["second observer"] = {"summary": summarise(rows), "images": rows}
    models = {}
    for name in options.models.split(","):
        info = model_info(name)
        models[name] = {"version": info.version, "sha256": info.sha256, "threshold": info.threshold}
        models[name]["min_size_at_working_scale"] = info.min_size
    report = {
        "command": command(folders, options.models, options.device),
        "protocol": "inside the field of view, own resolution, vessel 8-connected, background 4-connected",
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "versions": {name: version(name) for name in ("torch", "numpy", "opencv-python-headless", "scikit-image")},
        "device": options.device,
        "models": models,
        "results": results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, report)
    print(table(results))


if __name__ == "__main__":
    main()
