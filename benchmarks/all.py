"""Run every benchmark and write every table.

    python benchmarks/all.py --drive DIR --chase-db1 DIR --hrf DIR --rossa DIR --octa-500 DIR --lwnet DIR \
        --creatis DIR --pvbm DIR --research-models runs/drive/drive-small,runs/drive/drive

The data sets' folders are taken as their owners lay them out; those not given are left out. Each benchmark writes its
own JSON and Markdown to benchmarks/results/; all of the Markdown together is tables.md there. After an interruption
the same command goes on where it was: a benchmark is run again when its command, or the code or weights behind it,
have changed, or with ``--fresh``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import PREDICTING, RESULTS, cached, files_hash, images_key
from completion import key_of, model_of
from contenders import own_model
from creatis_peer import REPOSITORY, weights_hashes
from gap_completion import completion_model
from lwnet_peer import weights_hash
from segmentation import TESTED, add_folders, given_folders

from napari_vessel.images.image import Modality
from napari_vessel.images.writing import replacing, write_json
from napari_vessel.segmentation.registry import list_models, shipped_folder
from napari_vessel.segmentation.standing import FILE
from napari_vessel.training.cases import find_cases
from napari_vessel.training.datasets import DATA_SETS

PARTS = ("segmentation", "scales", "speed", "completion", "gaps", "gaps_lwnet", "effort", "measurements")
"""``gaps_lwnet`` judges the gaps of the peer's predictions; ``measurements`` stand beside PVBM's, and need it."""

FINDING = ("gaps", "gaps_lwnet", "effort", "measurements")
"""Parts in which the finder of gaps is at work."""

OTHERS = ("completion_published", "ablation", "backbones", "topomask", "betti_matching", "incremental", "finetune")
"""Benchmarks that train, or that need no models: run by themselves, their tables are put with the rest."""

SETS = {
    "segmentation": TESTED,
    "scales": ("chase_db1", "hrf"),
    "speed": ("drive",),
    "completion": TESTED,
    "gaps": ("drive", "chase_db1", "rossa", "octa-500"),
}
GAP_SETS = ("drive", "chase_db1")
FUNDUS = ("fundus-small", "fundus")
SYNTHETIC_ONLY = {"synthetic angiograms": Modality.XRAY, "real two-photon recordings": Modality.TWOPHOTON}
FIGURES = ("dice", "cldice")
SHIPPED = (*FUNDUS, "octa-small", "ridge")


def arguments(part: str, options: argparse.Namespace) -> list[str] | None:
    """Return what a benchmark is started with; None when something it needs was not given."""
    folders = given_folders(options, SETS.get(part, GAP_SETS))
    needed = {"gaps_lwnet": options.lwnet, "measurements": options.pvbm}
    if (not folders and part != "speed") or needed.get(part, part) is None:
        return None
    found = [text for key, folder in folders.items() for text in (f"--{key.replace('_', '-')}", str(folder))]
    # Given to the gap benchmark, the peer's predictions take the place of ours.
    if options.lwnet is not None and part in ("segmentation", "speed", "gaps_lwnet"):
        found += ["--lwnet", str(options.lwnet)]
    if options.creatis is not None and part.startswith("gaps"):
        found += ["--creatis", str(options.creatis)]
    if part == "segmentation":
        found += ["--models", ",".join(models(options)), "--jobs", str(options.jobs)]
    elif part in ("gaps", "effort", "measurements"):
        found += ["--pvbm", str(options.pvbm)] if part == "measurements" else []
        found += ["--model", options.gap_model, *completing(options)]
    elif part == "gaps_lwnet":
        found += completing(options)
    elif part == "completion":
        found += ["--models", options.completion_models]
    else:
        found += ["--models", ",".join(FUNDUS)]
    if options.fresh and part in ("segmentation", "scales", "completion", "effort", "measurements"):
        found.append("--fresh")
    return [*found, "-o", str(RESULTS / f"{part}.json")]


def completing(options: argparse.Namespace) -> list[str]:
    """Return the option that names the completion model; the gap benchmark finds the default one itself."""
    return [] if options.completion_model is None else ["--completion-model", options.completion_model]


def models(options: argparse.Namespace) -> list[str]:
    """Return the names of the shipped models and the folders of the others."""
    return [*SHIPPED, *(name for name in options.research_models.split(",") if name)]


def run_part(part: str, options: argparse.Namespace) -> None:
    """Run one benchmark, unless it is finished or something it needs was not given."""
    given = arguments(part, options)
    if given is None:
        return
    script = Path(__file__).with_name(f"{part.partition('_')[0]}.py")

    def compute() -> str:
        print(f"== {part}", flush=True)
        subprocess.run([sys.executable, str(script), *given], check=True)
        return "finished"

    folders = given_folders(options, SETS.get(part, GAP_SETS))
    made_from: dict[str, Any] = {
        "arguments": given,
        "models": [own_model(name).key() for name in models(options)],
        "images": {key: images_key(find_cases(key, folder, "test")) for key, folder in folders.items()},
        "scripts": files_hash(sorted(set(script.parent.glob("*.py")) - {Path(__file__)})),
    }
    missing = not (RESULTS / f"{part}.json").is_file()
    if part == "completion":
        made_from["models"] = [key_of(model_of(name)) for name in options.completion_models.split(",")]
    elif part in FINDING:
        made_from["gap_model"] = own_model(options.gap_model).key()
        completion = completion_model(options.completion_model)
        made_from["completion_model"] = None if completion is None else completion.key()
    if "--lwnet" in given:
        made_from["lwnet"] = weights_hash(options.lwnet)
    if "--creatis" in given:
        made_from["creatis"] = weights_hashes(options.creatis)
    rooms = (*PREDICTING, "completion") if part in FINDING else PREDICTING
    cached(f"all-{part}", made_from, compute, options.fresh or missing, rooms)


def join_tables(parts: list[str]) -> str:
    """Return the Markdown of the benchmarks as one page, their headings one level down."""
    pages = [(RESULTS / f"{part}.md").read_text(encoding="utf-8") for part in parts]
    lines = [f"#{line}" if line.startswith("#") else line for page in pages for line in page.splitlines()]
    return "# Figures\n\n" + "\n".join(lines) + "\n"


def standing() -> list[dict[str, Any]]:
    """Return the figures of the models that ship, by test set, for the window to show; those of people beside them."""
    found = []
    told = json.loads((RESULTS / "segmentation.json").read_text(encoding="utf-8"))
    tested, contenders = told["results"], {one["name"]: one for one in told["contenders"]}
    alone = json.loads((RESULTS / "synthetic_only.json").read_text(encoding="utf-8"))["results"]
    groups = {DATA_SETS[key].title: (DATA_SETS[key].modality, rows) for key, rows in tested.items()}
    groups |= {title: (SYNTHETIC_ONLY[title], rows) for title, rows in alone.items()}
    for title, (modality, rows) in groups.items():
        shown = []
        for name, row in rows.items():
            info = next((one for one in list_models() if one.shipped and one.name == name), None)
            if info is None and row.get("seen") != "human":
                continue
            figures = {key: [round(row["summary"][key][end], 3) for end in ("mean", "low", "high")] for key in FIGURES}
            seen = row.get("seen", "untrained" if info is not None and info.kind == "ridge" else "synthetic")
            # As it was measured, whatever ships today.
            version = row.get("model", contenders.get(name, {})).get("version", "")
            shown.append({"who": name, "version": version, "seen": seen, **figures})
        images = next(iter(rows.values()))["summary"]["images"]
        found.append({"title": title, "modality": str(modality), "images": images, "rows": shown})
    return found


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folders(parser)
    parser.add_argument("--lwnet", type=Path, metavar="DIR", help="checkout of the peer's repository")
    parser.add_argument("--creatis", type=Path, metavar="DIR", help=f"checkout of {REPOSITORY}")
    parser.add_argument("--pvbm", type=Path, metavar="DIR", help="folder with the package PVBM, for the measurements")
    parser.add_argument(
        "--research-models", default="", metavar="DIRS", help="folders of models that do not ship, separated by commas"
    )
    parser.add_argument("--gap-model", default="fundus-small", help="the model whose predictions have the gaps")
    parser.add_argument(
        "--completion-model",
        metavar="NAME|FOLDER|none",
        help="the model that completes in the gap benchmarks; by default the one for the modality, when there is one",
    )
    parser.add_argument(
        "--completion-models",
        default="fundus-small-vig,octa-small-vig",
        metavar="NAMES",
        help="completion models, names and folders, judged where vessels were taken out of the images",
    )
    parser.add_argument("--parts", default=",".join(PARTS), help="which benchmarks, separated by commas")
    parser.add_argument("--jobs", type=int, default=2, help="processes that share the images when scoring")
    parser.add_argument("--fresh", action="store_true", help="run finished benchmarks again")
    return parser


def main() -> None:
    """Run the benchmarks."""
    options = make_parser().parse_args()
    for part in options.parts.split(","):
        run_part(part, options)
    finished = [part for part in (*PARTS, *OTHERS) if (RESULTS / f"{part}.md").is_file()]
    with replacing(RESULTS / "tables.md") as temporary:
        temporary.write_text(join_tables(finished), encoding="utf-8")
    print(RESULTS / "tables.md")
    write_json(shipped_folder() / FILE, {"sets": standing()})
    print(shipped_folder() / FILE)


if __name__ == "__main__":
    main()
