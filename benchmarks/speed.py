"""How long a whole prediction takes and how much memory, beside the peer and beside what cannot be undercut.

    python benchmarks/speed.py --drive DIR --lwnet DIR

Without ``--drive`` generated images of DRIVE's size are used. Every contender is a process of its own with the same
number of threads. They take turns, one at work at a time: a round of each over all images, then the next round; the
first round is a warm-up and does not count. Ratios are to the peer with its flips in the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from common import RESULTS, markdown_table, peak_mib, public_command, report_header, write_report
from contenders import Peer, own_model
from lwnet_peer import THRESHOLD, LittleWNet

from napari_vessel.images.writing import write_mask
from napari_vessel.jobs import run_job
from napari_vessel.segmentation.segmenter import Segmenter, prepare
from napari_vessel.training.cases import Case, CaseFiles, find_cases, read_case

SHAPE = (584, 565)
FLIPS = "lwnet, four flips"
BARE = ", bare network"
PROTOCOL = (
    "Seconds for an image of 584 x 565 pixels in memory, from its pixels to its mask; weights loaded before. Every "
    "contender in a process of its own, taking turns; median of the rounds after a warm-up, and least to most. Ratio: "
    "to the peer with its four flips in the same round. Memory: the process's peak by the operating system's "
    "accounting, Python and libraries included."
)


def generate(folder: Path, count: int = 4) -> None:
    """Write images of DRIVE's size and make, with dark lines for vessels, in the plain layout."""
    import cv2

    for room in ("images", "masks", "fov"):
        (folder / room).mkdir()
    rng = np.random.default_rng(0)
    fov = np.zeros(SHAPE, np.uint8)
    cv2.circle(fov, (SHAPE[1] // 2, SHAPE[0] // 2), 268, 1, -1)
    for number in range(1, count + 1):
        vessels = np.zeros(SHAPE, np.uint8)
        for _ in range(40):
            points = np.cumsum(np.vstack([rng.uniform(100, 460, (1, 2)), rng.normal(0, 25, (12, 2))]), axis=0)
            cv2.polylines(vessels, [points.astype(np.int32)], False, 1, int(rng.integers(1, 7)))
        vessels &= fov
        shades = np.array([60, 110, 190]) - 40 * vessels[..., None] + rng.normal(0, 6, (*SHAPE, 3))
        picture = np.where(fov[..., None], np.clip(shades, 0, 255), 0).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{number:02d}_test.png"), picture)
        write_mask(folder / "masks" / f"{number:02d}_test.png", vessels.astype(np.bool_))
        write_mask(folder / "fov" / f"{number:02d}_test.png", fov.astype(np.bool_))


def make_work(name: str, lwnet: Path | None) -> Callable[[CaseFiles, Case], object]:
    """Return what a contender does with one image."""
    if name == "reading the file":
        return lambda files, case: read_case(files, allow_test=True)
    if name == "relabelling the mask":
        import cv2

        return lambda files, case: cv2.connectedComponents(case.vessels.view(np.uint8), connectivity=8)
    if name.startswith("lwnet"):
        if lwnet is None:
            raise SystemExit("give --lwnet DIR")
        network = LittleWNet(lwnet, flips=name == FLIPS)
        return lambda files, case: network.predict(case.image) > THRESHOLD
    info = own_model(name.removesuffix(BARE)).info
    if name.endswith(BARE):
        return bare_network(info)
    segmenter = Segmenter(info, "cpu")
    return lambda files, case: run_job(segmenter.predict(case.image))


def bare_network(info: Any) -> Callable[[CaseFiles, Case], object]:
    """Return the network's forward pass alone: in one piece, at the working scale, in the precision it runs in."""
    import torch

    from napari_vessel.segmentation.devices import choose_precision
    from napari_vessel.segmentation.loading import load_network

    network = load_network(info, "cpu")
    precision = choose_precision("cpu")
    prepared: dict[str, torch.Tensor] = {}

    def forward(files: CaseFiles, case: Case) -> object:
        if files.stem not in prepared:
            pixels = torch.from_numpy(prepare(case.image, info, info.network["in_channels"] == 3)[0])[None]
            # Preparing happens in the warm-up round only.
            prepared[files.stem] = pixels.contiguous(memory_format=torch.channels_last)
        with (
            torch.inference_mode(),
            torch.autocast("cpu", getattr(torch, precision), enabled=precision != "float32"),
        ):
            return network(prepared[files.stem])

    return forward


def work(options: argparse.Namespace) -> None:
    """Be one contender: a round for each line read, answered by the seconds for an image and the peak memory."""
    import cv2

    cv2.setNumThreads(options.threads)
    cases = [(files, read_case(files, allow_test=True)) for files in test_files(options)]
    do = make_work(options.worker, options.lwnet)
    for _ in sys.stdin:
        start = time.perf_counter()
        for files, case in cases:
            do(files, case)
        seconds = (time.perf_counter() - start) / len(cases)
        print(json.dumps({"seconds": seconds, "peak_mib": peak_mib()}), flush=True)


def test_files(options: argparse.Namespace) -> list[CaseFiles]:
    """Return the images to use."""
    files = find_cases("drive", options.drive, "test")
    return files[: options.images]


@contextmanager
def contender(name: str, options: argparse.Namespace) -> Iterator[subprocess.Popen[str]]:
    """Start a contender's process, and end it afterwards."""
    command = [sys.executable, __file__, "--worker", name, "--drive", str(options.drive)]
    command += ["--images", str(options.images), "--threads", str(options.threads)]
    command += [] if options.lwnet is None else ["--lwnet", str(options.lwnet)]
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def one_round(process: subprocess.Popen[str], name: str) -> dict[str, float]:
    """Let a contender do one round."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise SystemExit(f"'{name}' stopped; its message is above.")
    found: dict[str, float] = json.loads(answer)
    return found


def compare(names: list[str], options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Return every contender's rounds, the warm-up left out."""
    with ExitStack() as stack:
        processes = {name: stack.enter_context(contender(name, options)) for name in names}
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for number in range(options.rounds + 1):
            for name, process in processes.items():
                found = one_round(process, name)
                if number:
                    rounds[name].append(found)
    return rounds


def summarise(rounds: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """Return median, least and most of the seconds and of the ratios, and the peak memory."""
    summary = {}
    for name, own in rounds.items():
        seconds = [one["seconds"] for one in own]
        entry: dict[str, Any] = {
            "seconds": span(seconds),
            "peak_mib": round(max(one["peak_mib"] for one in own)),
            "rounds_s": [round(value, 5) for value in seconds],
        }
        if FLIPS in rounds:
            entry["ratio"] = span([s / peer["seconds"] for s, peer in zip(seconds, rounds[FLIPS], strict=True)])
        summary[name] = entry
    return summary


def span(values: list[float]) -> dict[str, float]:
    """Return median, least and most."""
    return {"median": round(median(values), 5), "least": round(min(values), 5), "most": round(max(values), 5)}


def table(summary: dict[str, dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    rows = []
    for name, entry in summary.items():
        s, r = entry["seconds"], entry.get("ratio")
        ratio = "" if r is None else f"{r['median']:.3f} ({r['least']:.3f} to {r['most']:.3f})"
        time_ = f"{s['median']:.4f} ({s['least']:.4f} to {s['most']:.4f})"
        rows.append([name, ratio, time_, entry["peak_mib"]])
    return markdown_table(["who", "ratio to lwnet with flips", "s / image", "peak MiB"], rows)


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drive", type=Path, metavar="DIR")
    parser.add_argument("--lwnet", type=Path, metavar="DIR", help="checkout of the peer's repository")
    parser.add_argument("--models", default="fundus-small,fundus", help="names and folders, separated by commas")
    parser.add_argument("--images", type=int, default=5, help="how many images a round has")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path, default=RESULTS / "speed.json")
    return parser


def main() -> None:
    """Run the benchmark."""
    parser = make_parser()
    options = parser.parse_args()
    if options.worker is not None:
        work(options)
        return
    command = public_command(parser, options)
    models = [own_model(name).name if "/" not in name else name for name in options.models.split(",") if name]
    names = [] if options.lwnet is None else [FLIPS, "lwnet, no flips"]
    names += [row for name in models for row in (name, name + BARE)] + ["reading the file", "relabelling the mask"]
    with tempfile.TemporaryDirectory() as folder:
        given = options.drive is not None
        if not given:
            options.drive = Path(folder)
            generate(options.drive)
        rounds = compare(names, options)
    summary = {Path(name).name: entry for name, entry in summarise(rounds).items()}
    report = report_header(command, PROTOCOL)
    report["contenders"] = [own_model(name).key() for name in models]
    if options.lwnet is not None:
        report["contenders"].append(Peer(options.lwnet).key())
    report |= {"images": "DRIVE test" if given else "generated", "threads": options.threads, "results": summary}
    body = f"Images: {report['images']}, {options.images} a round; threads: {options.threads}.\n\n"
    body += table(summary)
    write_report(options.out, "Speed and memory", report, body)
    print(body)


if __name__ == "__main__":
    main()
