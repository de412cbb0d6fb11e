"""What every benchmark needs: intervals over images, tables, the machine, the versions, and writing a report."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import napari_vessel
from napari_vessel.images.writing import replacing, write_json
from napari_vessel.topology.metrics import CONNECTIVITY, mean_interval
from napari_vessel.training.cases import CaseFiles

DRAWS = 10_000
"""How often images are drawn for an interval."""

PACKAGE = Path(napari_vessel.__file__).parent
RESULTS = Path(__file__).parent / "results"
PARTS = Path(__file__).parents[1] / "runs" / "benchmarks"
"""Finished parts, so that an interrupted benchmark goes on where it was."""
PREDICTING = ("images", "networks", "segmentation", "topology")
"""The parts of the package that predict and score."""

VERSIONS = ("napari-vessel", "torch", "numpy", "scipy", "opencv-python-headless", "scikit-image")


def finished_run(path: Path, **made_from: Any) -> dict[str, Any] | None:
    """Return what a run wrote; None when it has to be made, or its file names another origin than `made_from`."""
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found if all(found[key] == value for key, value in made_from.items()) else None


def interval(values: Sequence[float] | NDArray[np.float64], seed: int = 0, draws: int = DRAWS) -> tuple[float, float]:
    """Return the 95 % interval of the mean, by drawing images with replacement.

    Parameters
    ----------
    values : sequence of float, shape (N,)
        One figure per image; NaN where the image has none.
    seed : int
        Of the draws; the same values always give the same interval.
    draws : int
        How often N images are drawn.

    Returns
    -------
    tuple of float
        The 2.5th and 97.5th percentile of the drawn means; NaN when there are fewer than two values.
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    found = mean_interval(known.tolist(), seed, draws)[1] if known.size else None
    return (float("nan"), float("nan")) if found is None else found


def paired_interval(
    ours: Sequence[float], theirs: Sequence[float], seed: int = 0, draws: int = DRAWS
) -> tuple[float, float, float]:
    """Return the mean difference ours - theirs over the same images, and its 95 % interval.

    Raises
    ------
    ValueError
        If the two are not figures of the same images.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} and {len(theirs)} images cannot be paired.")
    differences = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    return (float(np.nanmean(differences)), *interval(differences, seed, draws))


def known(value: float) -> float | None:
    """Return a figure as JSON has it: None for NaN."""
    return None if np.isnan(value) else float(value)


def spread(value: float, low: float | None, high: float | None, digits: int = 3) -> str:
    """Return a figure and its interval as one cell: ``.828 (.821-.834)``."""
    if low is None or high is None:
        return decimal(value, digits)
    return f"{decimal(value, digits)} ({decimal(low, digits)} to {decimal(high, digits)})"


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a figure as a cell; empty when it is not known."""
    return "" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; cells with a bar in them are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    if any(len(row) != len(header) for row in rows):
        raise ValueError("A row is not as long as the header.")
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores this process may use, memory, system."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": allowed,
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of what computes the figures."""
    found = {}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def public_command(parser: argparse.ArgumentParser, options: argparse.Namespace, always: Sequence[str] = ()) -> str:
    """Return the command that makes the figures of a report, without this machine's folders.

    Options left at their default are not shown but for those of `always`, whose defaults are the package's own and
    may change; ``--report`` is not shown either, with which nothing is measured. A path is shown as ``DIR`` or, for a
    file, ``FILE``.
    """
    parts = ["python", f"benchmarks/{Path(parser.prog).name}"]
    for action in parser._actions:
        value = getattr(options, action.dest, None)
        as_ever = value == action.default and action.dest not in always
        if not action.option_strings or as_ever or value is None or action.dest == "report":
            continue
        parts.append(action.option_strings[-1])
        if isinstance(value, Path):
            parts.append("FILE" if value.suffix else "DIR")
        elif not isinstance(value, bool):
            parts.append(
                " ".join(Path(text).name for text in value) if isinstance(value, list) else _public(str(value))
            )
    return " ".join(parts)


def _public(value: str) -> str:
    """Return names and folders, separated by commas, without the place of the folders on this machine."""
    return ",".join(Path(name).name if Path(name).is_absolute() else name for name in value.split(","))


def report_header(command: str, protocol: str, files: Sequence[Path] = ()) -> dict[str, Any]:
    """Return the head of a report: the command, what was measured and how, the machine, the versions and the code.

    Parameters
    ----------
    command, protocol : str
        What was called, and what was measured.
    files : sequence of Path
        What was given that the figures depend on, other than images and models.
    """
    return {
        "command": command,
        "protocol": protocol,
        "connectivity": CONNECTIVITY,
        "machine": machine(),
        "versions": versions(),
        **made_with(),
        "files": {path.name: files_hash([path]) for path in files},
    }


@cache
def made_with() -> dict[str, Any]:
    """Return the commit, None where there is none, and a hash of each part of the package and of each fitted file."""
    parts = sorted(path for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py")))
    hashes = {part.name: files_hash([p for p in files_of(part.name) if p.suffix == ".py"])[:12] for part in parts}
    scripts = {"benchmarks": files_hash(sorted(Path(__file__).parent.glob("*.py")))[:12]}
    fitted = {str(path.relative_to(PACKAGE)): files_hash([path])[:12] for path in sorted(PACKAGE.glob("*/*.json"))}
    return {"commit": commit(), "code": hashes | scripts | fitted}


def commit(root: Path = Path(__file__).parents[1]) -> str | None:
    """Return the commit that a folder is a checkout of, and whether its code was changed since; None if it is none."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return None
        # Reports that were written before do not make other code of it.
        changed = git("status", "--porcelain", "--", "napari_vessel", "benchmarks/*.py")
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def gathered(files: Sequence[Path]) -> tuple[list[dict[str, Any]], str]:
    """Return the runs of several reports of one script, in the order of their seeds, and the command that made each.

    Parameters
    ----------
    files : sequence of Path
        Reports as :func:`write_report` wrote them; the results of each are a list of runs with their seed.
    """
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    runs = sorted((run for report in reports for run in report["results"]), key=lambda run: run["seed"])
    commands = dict.fromkeys(re.sub(r" --(seed \d+|out FILE|verbose)", "", report["command"]) for report in reports)
    return runs, " and ".join(f"{command} --seed SEED" for command in commands)


def header_text(report: dict[str, Any]) -> str:
    """Return a report's head as Markdown."""
    here = report["machine"]
    used = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    on = f"{here['processor']}, {here['cores']} cores, {here['memory_gib']} GiB, {here['system']}"
    how = f"{report['protocol']} Connectivity: {report['connectivity']}."
    of = "" if report["commit"] is None else f" Commit {report['commit']}."
    return f"`{report['command']}`\n\n{how}\n\nMeasured on {on}, Python {here['python']}, {used}.{of}"


def write_report(out: Path, title: str, report: dict[str, Any], body: str) -> None:
    """Write a report as JSON at `out` and as Markdown beside it.

    Parameters
    ----------
    out : Path
        The JSON file; the Markdown file has the same stem.
    title : str
        Heading of the Markdown file.
    report : dict
        What :func:`report_header` returned, and the results.
    body : str
        The tables, Markdown.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, report)
    text = f"# {title}\n\n{body}\n\n{header_text(report)}\n"
    with replacing(out.with_suffix(".md")) as temporary:
        temporary.write_text(text, encoding="utf-8")


def peak_mib() -> float:
    """Return the peak resident memory of this process in MiB, by the operating system's accounting."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def cached(
    name: str, key: Any, compute: Callable[[], Any], fresh: bool = False, rooms: tuple[str, ...] = PREDICTING
) -> Any:
    """Return a finished part of a benchmark, or compute it and keep it.

    Parameters
    ----------
    name : str
        Name of the part; its file is ``runs/benchmarks/NAME.json``.
    key : object
        Plain values that say what the part depends on, such as the weights' hash and the images; a part with another
        key is computed again, and so is every part after a change in :func:`source_hash`.
    compute : callable
        Returns plain values.
    fresh : bool
        Compute it in any case.
    rooms : tuple of str
        The parts of the package that it depends on.
    """
    path = PARTS / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}.json"
    wanted = json.loads(json.dumps({"key": key, "source": source_hash(rooms)}))
    if path.is_file() and not fresh:
        part = json.loads(path.read_text(encoding="utf-8"))
        if part["made_from"] == wanted:
            return part["value"]
    value = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"made_from": wanted, "value": value})
    return value


@cache
def source_hash(rooms: tuple[str, ...]) -> str:
    """Return the SHA-256 of some parts of the package, of how images are read and split, and of who takes part."""
    here = Path(__file__).parent
    paths = [path for room in rooms for path in files_of(room)]
    paths += [PACKAGE / "training" / f"{name}.py" for name in ("cases", "datasets")]
    return files_hash([*paths, here / "contenders.py", here / "lwnet_peer.py"])


def files_of(room: str) -> list[Path]:
    """Return the code of a part of the package, and what was fitted for it, such as ``completion/scores.json``."""
    return sorted(path for path in (PACKAGE / room).rglob("*") if path.suffix in (".py", ".json"))


def code_hash(modules: Sequence[str], scripts: Sequence[str]) -> str:
    """Return the SHA-256 of modules of the package, such as ``completion/paths``, and of scripts beside this one."""
    inside = [PACKAGE / f"{name}.py" for name in modules]
    return files_hash([*inside, *(Path(__file__).with_name(f"{name}.py") for name in scripts)])


def files_hash(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of the content of some files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def images_key(files: Sequence[CaseFiles]) -> dict[str, str]:
    """Return what the results on some images depend on: by stem, a hash of image, masks and field of view."""
    return {
        one.stem: files_hash([path for path in (one.image, one.mask, one.fov, one.second) if path is not None])
        for one in files
    }


# At the start: the code may change on the disk while a benchmark goes on with what was loaded.
made_with()
