"""What reads files from outside, good samples for each, and how a case of each is made of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_foreign import write_foreign
from fuzz_mutations import (
    NAMES,
    mutate_bytes,
    mutate_csv,
    mutate_database,
    mutate_json,
    mutate_png,
    mutate_safetensors,
    mutate_tiff,
    mutate_toml,
    set_trap,
)

from napari_vessel.completion.gap import Effect, Gap, GapEnd, GapKind, Reason
from napari_vessel.errors import VesselError
from napari_vessel.export import ExportOptions, export_project
from napari_vessel.export.importing import check_data, import_data
from napari_vessel.export.layouts import LAYOUTS
from napari_vessel.images.fov import read_fov
from napari_vessel.images.image import MaskClass, VesselImage, VesselMask
from napari_vessel.images.inputs import ImageInput, find_inputs
from napari_vessel.images.masks import read_mask
from napari_vessel.images.reading import read_image
from napari_vessel.images.writing import write_json
from napari_vessel.jobs import run_job
from napari_vessel.review import ImageState, Project, Verdict
from napari_vessel.review.agreement import check_output as check_comparison
from napari_vessel.review.backup import BACKUP_NAME
from napari_vessel.review.fragments import FragmentVerdict, find_fragments
from napari_vessel.review.restoring import newest_backup, restore_project
from napari_vessel.review.samples import training_samples, what_to_learn
from napari_vessel.segmentation.loading import load_network
from napari_vessel.segmentation.registry import install_model, usable_models
from napari_vessel.topology.evaluation import check_output as check_evaluation
from napari_vessel.topology.evaluation.pairs import read_pairs
from napari_vessel.training import preparing
from napari_vessel.training.finetuning import folders
from napari_vessel.training.finetuning import preparing as tuning
from napari_vessel.training.finetuning.settings import FineTune
from napari_vessel.training.pretraining.folders import begin_with, read_pretrained, write_pretrained
from napari_vessel.training.recipe_reading import read_recipe, shipped_recipes

SIDE = (50, 80)
MODEL = "tiny-net"
_ENCODED: dict[str, Any] = {"name": "unet", "in_channels": 1, "channels": [4, 8]}
EVERYTHING = ExportOptions(states=tuple(ImageState))


@dataclass(frozen=True, slots=True)
class Parser:
    """One way in.

    Attributes
    ----------
    name : str
        For `--only` and the report.
    share : int
        How often it is drawn, relative to the others.
    make : callable
        Writes good samples into a folder.
    spoil : callable
        Given a generator, the samples, an empty folder and the folder outside it, makes one bad case.
    read : callable
        Reads the case as the program does; raises VesselError when it refuses it.
    """

    name: str
    share: int
    make: Callable[[Path], None]
    spoil: Callable[[random.Random, Path, Path, Path], None]
    read: Callable[[Path], None]


# Images


def _pictures(folder: Path) -> None:
    import cv2
    import tifffile
    from PIL import Image

    grey = np.random.default_rng(0).integers(0, 255, SIDE, dtype=np.uint8)
    colour = np.stack([grey, grey // 2, grey // 3], 2)
    for suffix in ("png", "jpg", "bmp", "tif", "ppm", "pgm", "gif"):
        Image.fromarray(colour if suffix not in ("pgm", "gif") else grey).save(folder / f"one.{suffix}")
    Image.fromarray(grey).quantize(16).save(folder / "palette.png")
    frames = [Image.fromarray(np.roll(grey, n)) for n in range(4)]
    frames[0].save(folder / "many.gif", save_all=True, append_images=frames[1:])
    cv2.imwrite(str(folder / "deep.png"), colour.astype(np.uint16) * 257)
    tifffile.imwrite(folder / "ome.ome.tif", grey, metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5})
    tifffile.imwrite(folder / "imagej.tif", np.stack([grey] * 3), imagej=True, metadata={"axes": "ZYX", "unit": "um"})
    tifffile.imwrite(folder / "zip.tif", colour, compression="zlib", photometric="rgb")
    tifffile.imwrite(folder / "float.tif", grey / np.float32(255), compression="zlib", predictor=True)
    tifffile.imwrite(folder / "big.tif", grey, bigtiff=True)
    tifffile.imwrite(folder / "tiles.tif", np.tile(grey, (2, 2)), tile=(16, 16))
    Image.fromarray(grey).save(folder / "lzw.tif", compression="tiff_lzw")


def _masks(folder: Path) -> None:
    import cv2

    _pictures(folder)
    for name, value in (("binary.png", 255), ("ones.tif", 1), ("classes.png", 2)):
        cv2.imwrite(str(folder / name), broken() * np.uint8(value))


def broken() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Two vessels with two breaks each, and a speck: uint8, shape (50, 80)."""
    labels = np.zeros(SIDE, np.uint8)
    for row in (10, 30):
        labels[row : row + 3, 5:75] = 1
        labels[row : row + 3, 25:31] = labels[row : row + 3, 50:56] = 0
    labels[45:47, 5:7] = 1
    return labels


def _spoil_picture(rng: random.Random, samples: Path, case: Path, outside: Path) -> None:
    source = rng.choice(sorted(samples.iterdir()))
    data = source.read_bytes()
    suffix = source.suffix if rng.random() < 0.95 else rng.choice((".png", ".tif", ".gif", ".jpg", ".pgm"))
    name = f"{rng.choice(NAMES) if rng.random() < 0.1 else 'picture'}{suffix}"
    if rng.random() < 0.03:
        set_trap(rng, case, outside, (name,))
        return
    changed = {".png": mutate_png, ".tif": mutate_tiff}.get(source.suffix, mutate_bytes)
    (case / name).write_bytes((changed if rng.random() < 0.7 else mutate_bytes)(rng, data))


def _only(case: Path) -> Path:
    (path,) = case.iterdir()
    return path


def _read_image(case: Path) -> None:
    path = _only(case)
    with suppress(VesselError):
        find_inputs([case])
    image = read_image(path)
    assert image.pixels.dtype == np.float32, "pixels are not float32"
    assert np.isfinite(image.pixels).all(), "pixels are not finite"
    assert image.pixels.min() >= 0.0, "pixels are below 0"
    assert image.pixels.max() <= 1.0, "pixels are above 1"


def _read_mask(case: Path) -> None:
    mask = read_mask(_only(case))
    assert mask.labels.dtype == np.uint8, "labels are not uint8"
    assert set(np.unique(mask.labels)) <= {0, *(c.label for c in mask.classes)}, "a label without a class"


def _read_fov(case: Path) -> None:
    path = _only(case)
    for shape in (SIDE, (100, 160)):
        with suppress(VesselError):
            assert read_fov(path, shape).shape == shape, "another shape"
    read_fov(path, SIDE)


# Recipes and lists


def _recipes(folder: Path) -> None:
    from importlib import resources

    for name in shipped_recipes():
        text = (resources.files("napari_vessel.training") / "recipes" / f"{name}.toml").read_text("utf-8")
        (folder / f"{name}.toml").write_text(text, "utf-8")


def _one_file(
    name: str, mutate: Callable[[random.Random, bytes, Path], bytes]
) -> Callable[[random.Random, Path, Path, Path], None]:
    def spoil(rng: random.Random, samples: Path, case: Path, outside: Path) -> None:
        if rng.random() < 0.02:
            set_trap(rng, case, outside, (name,))
            return
        (case / name).write_bytes(mutate(rng, rng.choice(sorted(samples.iterdir())).read_bytes(), outside))

    return spoil


def _lists(folder: Path) -> None:
    (folder / "pairs.csv").write_text("prediction,truth,fov\none.png,two.png,three.png\nfour.png,five.png,\n", "utf-8")


def _spoil_list(rng: random.Random, samples: Path, case: Path, outside: Path) -> None:
    for name in ("one", "two", "three", "four", "five"):
        (case / f"{name}.png").write_bytes(b"x")
    _one_file("pairs.csv", mutate_csv)(rng, samples, case, outside)


# Models and runs


def _model(folder: Path) -> None:
    import torch
    from safetensors.torch import save

    from napari_vessel.networks import build_network
    from napari_vessel.segmentation.registry import model_info

    torch.manual_seed(0)
    network = {"name": "unet", "in_channels": 1, "channels": [4, 8]}
    weights = save({k: v.contiguous() for k, v in build_network(**network).state_dict().items()})
    config = json.loads((model_info("fundus-small").folder / "config.json").read_text("utf-8"))
    config |= {"name": MODEL, "network": network, "sha256": hashlib.sha256(weights).hexdigest()}
    write_json(folder / "config.json", config)
    (folder / "README.md").write_text("# A model\n", "utf-8")
    (folder / "model.safetensors").write_bytes(weights)


def _spoil_model(rng: random.Random, samples: Path, case: Path, outside: Path) -> None:
    folder = case / MODEL
    shutil.copytree(samples, folder)
    what = rng.random()
    if what < 0.06:
        set_trap(rng, folder, outside, ("config.json", "model.safetensors", "README.md"))
        return
    if what < 0.5:
        config = folder / "config.json"
        config.write_bytes(mutate_json(rng, config.read_bytes(), outside))
        return
    weights = mutate_safetensors(rng, (folder / "model.safetensors").read_bytes(), outside)
    (folder / "model.safetensors").write_bytes(weights)
    if what < 0.95:
        # Whoever tampers with weights can tell their new hash.
        config = json.loads((folder / "config.json").read_text("utf-8"))
        write_json(folder / "config.json", {**config, "sha256": hashlib.sha256(weights).hexdigest()})


def _read_model(case: Path) -> None:
    load_network(install_model(case / MODEL))
    usable_models()


def _pretrained(folder: Path) -> None:
    """Write pre-trained weights for `_ENCODED`."""
    import torch

    from napari_vessel.networks import build_network

    torch.manual_seed(0)
    config = {"network": _ENCODED, "working_diameter": 320.0, "data_sets": ["own"]}
    write_pretrained(folder, build_network(**_ENCODED).state_dict(), config, "# Weights\n")


def _read_encoder(case: Path) -> None:
    from napari_vessel.networks import build_network

    begin_with(read_pretrained(case / MODEL), build_network(**_ENCODED))


def _runs(folder: Path) -> None:
    few = {"settings": dataclasses.asdict(preparing.FewShot("few", "fundus")), "modality": "fundus", "format": 1}
    write_json(folder / preparing.RECORD, {**few, "images": [{"stem": "00_a"}], "working_width": 320.0})
    entry = {"name": "a", "stem": "00_a", "content_hash": "0", "sha256": "0", "done": True, "guard": False, "pixels": 4}
    tune = {"settings": dataclasses.asdict(FineTune("tuned", "fundus-small")), "modality": "fundus", "format": 1}
    base = {"base": {"modality": "fundus"}, "images": [entry], "start": {"name": "fundus-small"}}
    write_json(folder / folders.RECORD, {**tune, **base})
    decision = {"promote": True, "sentence": "Better.", "figures": {}}
    result = {"stopped": False, "decision": decision, "record": {"images": [entry]}, "model": "tuned"}
    write_json(folder / folders.RESULT, result)
    (folder / "tuned").mkdir()
    write_json(folder / "tuned" / "config.json", {})


def _spoil_run(rng: random.Random, samples: Path, case: Path, outside: Path) -> None:
    run = case / folders.FOLDER / "run"
    shutil.copytree(samples, run)
    files = (preparing.RECORD, folders.RECORD, folders.RESULT)
    for name in files:
        if rng.random() < 0.5:
            (run / name).write_bytes(mutate_json(rng, (run / name).read_bytes(), outside))
    if rng.random() < 0.05:
        set_trap(rng, run, outside, files)


def _read_run(case: Path) -> None:
    folders.project_runs(case)
    run = case / folders.FOLDER / "run"
    folders.read_result(run)
    folders.steps_of(run)
    with suppress(VesselError):
        preparing.read_record(run)
    tuning.read_record(run)


# What the program wrote itself, and may write again


def _exported(folder: Path) -> None:
    _project(folder / "project")
    with Project.open(folder / "project") as project:
        run_job(export_project(project, folder / "out", options=EVERYTHING))
    rows = ",".join(("rank", "image", "gap", "first", "first_annotator")) + "\n"
    for name, kind in (("evaluation", "napari-vessel evaluation"), ("comparison", "napari-vessel comparison")):
        write_json(folder / f"{name}.json", {"kind": kind, "rows": [{"image": "a", "dice": 0.5}]})
        (folder / f"{name}.csv").write_text(rows, "utf-8")


def _spoil_export(rng: random.Random, samples: Path, case: Path, outside: Path) -> None:
    shutil.copytree(samples, case, dirs_exist_ok=True)
    manifest = case / "out" / "manifest.json"
    what = rng.random()
    if what < 0.1:
        set_trap(rng, case / "out", outside, ("manifest.json", "masks", "images", "images/more.png"))
    elif what < 0.8:
        manifest.write_bytes(mutate_json(rng, manifest.read_bytes(), outside))
    else:
        for name in ("evaluation.json", "comparison.json"):
            (case / name).write_bytes(mutate_json(rng, (case / name).read_bytes(), outside))


def _read_export(case: Path) -> None:
    for check, name in ((check_evaluation, "evaluation.csv"), (check_comparison, "comparison.json")):
        with suppress(VesselError):
            check(case / name)
    with Project.open(case / "project") as project:
        run_job(export_project(project, case / "out", options=EVERYTHING))


def _data_sets(folder: Path) -> None:
    _project(folder / ".project")
    with Project.open(folder / ".project") as project:
        for layout in LAYOUTS:
            run_job(export_project(project, folder / layout, layout, EVERYTHING))
    shutil.rmtree(folder / ".project")
    write_foreign(folder, np.random.default_rng(7).integers(0, 255, SIDE, dtype=np.uint8), broken())


def _spoil_data_set(rng: random.Random, samples: Path, case: Path, outside: Path) -> None:
    source = rng.choice(sorted(path for path in samples.iterdir() if not path.name.startswith(".")))
    if source.name == "nnunet":
        (source,) = source.iterdir()
    folder = case / "data"
    shutil.copytree(source, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    described = [path for path in files if path.suffix == ".json" or path.name.startswith(".z")]
    what = rng.random()
    if what < 0.08:
        set_trap(rng, folder, outside, tuple(path.relative_to(folder).as_posix() for path in files))
        return
    for _ in range(rng.choice((1, 1, 2))):
        file = rng.choice(described if rng.random() < 0.75 and described else files)
        data = file.read_bytes()
        if file in described:
            data = mutate_json(rng, data, outside)
        else:
            data = {".png": mutate_png, ".tif": mutate_tiff}.get(file.suffix, mutate_bytes)(rng, data)
        file.write_bytes(data)
    if what < 0.4:
        # Without the manifest nothing says what the files were.
        (folder / "manifest.json").unlink(missing_ok=True)


def _read_data_set(case: Path) -> None:
    arrived = run_job(check_data(case / "data"))
    with Project.create(case / "project") as project:
        run_job(import_data(project, arrived))
        for record in project.images():
            project.read_image(record.id)
            project.open_session(record.id)


# Projects


def _gap(row: int, x0: int, name: str) -> Gap:
    xs = np.arange(x0, x0 + 8, dtype=np.float32)
    path = np.stack([np.full(8, row, np.float32), xs], 1)
    places = ((float(row), float(x0)), (float(row), x0 + 7.0))
    ends = tuple(GapEnd(n + 1, place, (0.0, 1.0 - 2.0 * n), 1.5, True) for n, place in enumerate(places))
    reasons = (Reason("runs straight on", 0.5),)
    effect = Effect(7, 6, 7.0, 20.0, 0)
    return Gap(name, GapKind.BRIDGE, ends, path, np.full(8, 3, np.float32), 0.9, reasons, effect, facts={"ridge": 0.5})


def _project(folder: Path) -> None:
    """Write a project with a file and an array, maps, verdicts of every sort, a fragment, a version and a backup."""
    import cv2

    grey = np.random.default_rng(7).integers(0, 255, SIDE, dtype=np.uint8)
    with Project.create(folder, "fuzz") as project:
        (folder / "pictures").mkdir()
        cv2.imwrite(str(folder / "pictures" / "eye.png"), grey)
        mask = VesselMask(broken(), (MaskClass(1, 255, "vessel"),), "0/255")
        (first,) = run_job(project.add([ImageInput(folder / "pictures" / "eye.png")], masks=mask))
        kept = VesselImage(grey.astype(np.float32) / 255, name="kept", content_hash="f" * 64, spacing=(1.0, 1.0))
        (second,) = run_job(project.add([kept]))
        session = project.open_session(first.id, "ann")
        session.set_gaps([_gap(11, 24, "a"), _gap(11, 49, "b"), _gap(31, 24, "c"), _gap(31, 49, "d")])
        session.decide("a", Verdict.ACCEPTED, 1.0)
        session.decide("b", Verdict.REJECTED, 1.0)
        session.decide("c", Verdict.UNSURE, 1.0)
        session.stroke(np.ones((3, 5), np.uint8), (20, 20))
        fragments = run_job(find_fragments(session.components_copy()))
        session.decide_fragment(fragments[0], FragmentVerdict.KEPT, 1.0)
        session.undo()
        project.store_probability(first.id, grey / np.float32(255), {"model": "fundus-small", "threshold": 0.5})
        project.store_completion(first.id, grey / np.float32(255), {"model": "m"})
        project.set_comment(first.id, "a comment")
        project.set_state(second.id, ImageState.DONE)
        model = folder / "models" / "sample" / MODEL
        model.mkdir(parents=True)
        _model(model)
        told = {"promote": True, "sentence": "Better.", "figures": {"dice": 0.5}, "record": {"seed": 1}}
        version = project.versions.add(model, parent="fundus-small", images=["f" * 64], **told)
        project.versions.promote(version.number, "ann")
        run_job(training_samples(project))


LINKS = (
    *("project.sqlite", "project.sqlite-wal", "project.sqlite-shm", "project.lock", BACKUP_NAME, "probability"),
    *("pictures/eye.png", "models", "images", "masks", "project.restored.sqlite"),
)
"""What of a project is made a link that leads elsewhere."""


def _spoil_project(rng: random.Random, samples: Path, case: Path, outside: Path) -> None:
    folder = case / "project"
    shutil.copytree(samples, folder)
    what = rng.random()
    if what < 0.08:
        # Names of temporary files can be guessed from the number of a process.
        guessed = [f".{name}.{os.getpid()}.tmp" for name in (BACKUP_NAME, "project.restored.sqlite")]
        set_trap(rng, folder, outside, (*LINKS, *guessed))
    elif what < 0.16:
        files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".sqlite")
        file = rng.choice(files)
        changed = mutate_tiff if file.suffix == ".tif" else mutate_bytes
        file.write_bytes(changed(rng, file.read_bytes()))
    elif what < 0.2:
        owner = {"process": os.getpid(), "host": "elsewhere", "user": "a", "since": "now"}
        (folder / "project.lock").write_bytes(mutate_json(rng, json.dumps(owner).encode(), outside))
    else:
        mutate_database(rng, folder / "project.sqlite", outside)


def _read_project(case: Path) -> None:
    """Do with a project what a review does, and take each refusal for what it is: that of one thing."""
    refused: list[VesselError] = []

    def attempt(act: Callable[[], Any]) -> Any:
        try:
            return act()
        except VesselError as error:
            refused.append(error)
            return None

    with Project.open(case / "project") as project:
        for act in (
            *(lambda: project.name, lambda: project.id, lambda: project.last_image, project.status),
            *(project.decision_counts, project.next_undo, project.next_redo, project.versions.history),
            *(project.versions.current, lambda: what_to_learn(project)),
        ):
            attempt(act)
        for record in attempt(project.images) or []:
            attempt(lambda record=record: project.default_model(record.modality))
            attempt(lambda record=record: _visit(project, record.id, attempt))
        attempt(lambda: run_job(training_samples(project)))
        more = VesselImage(np.zeros(SIDE, np.float32), np.ones(SIDE, np.bool_), content_hash="e" * 64, name="more")
        attempt(lambda: run_job(project.add([more], masks=VesselMask(broken()))))
        attempt(lambda: run_job(export_project(project, case / "out", options=EVERYTHING)))
    if refused:
        raise refused[0]


def _visit(project: Project, image: str, attempt: Callable[[Callable[[], Any]], Any]) -> None:
    for read in (
        *(project.read_image, project.read_mask, project.has_mask, project.whole_masks, project.verdicts),
        *(project.fragment_verdicts, project.bulk_accepted, project.annotators, project.probability),
        *(project.segmentation_info, project.completion, project.completion_info),
    ):
        attempt(lambda read=read: read(image))
    attempt(lambda: run_job(project.origins(image)))
    session = project.open_session(image, "eve")
    attempt(session.remaining)
    attempt(lambda: [session.undo() for _ in range(3)])
    attempt(lambda: [session.redo() for _ in range(4)])
    for gap in attempt(lambda: list(session.open_gaps)) or []:
        attempt(lambda gap=gap: session.decide(gap.id, Verdict.ACCEPTED))
    attempt(lambda: session.stroke(np.ones((2, 2), np.uint8), (40, 40)))
    attempt(lambda: session.flags)
    attempt(lambda: project.store_probability(image, np.zeros(session.shape, np.float32)))


def _spoil_backup(rng: random.Random, samples: Path, case: Path, outside: Path) -> None:
    folder = case / "project"
    shutil.copytree(samples, folder)
    (folder / "project.sqlite").write_bytes(mutate_bytes(rng, (folder / "project.sqlite").read_bytes()))
    if rng.random() < 0.2:
        guessed = f".project.restored.sqlite.{os.getpid()}.tmp"
        set_trap(rng, folder, outside, (*LINKS, guessed, "project.v1.sqlite"))
    else:
        mutate_database(rng, folder / BACKUP_NAME, outside)


def _read_backup(case: Path) -> None:
    newest_backup(case / "project")
    restore_project(case / "project")
    with Project.open(case / "project") as project:
        project.status()


@cache
def parsers() -> dict[str, Parser]:
    """Return every way in, by name."""
    found = (
        Parser("image", 24, _pictures, _spoil_picture, _read_image),
        Parser("mask", 12, _masks, _spoil_picture, _read_mask),
        Parser("fov", 6, _masks, _spoil_picture, _read_fov),
        Parser("recipe", 10, _recipes, _one_file("recipe.toml", mutate_toml), lambda c: void(read_recipe(_only(c)))),
        Parser("pairs", 6, _lists, _spoil_list, lambda c: void(read_pairs(c / "pairs.csv"))),
        Parser("model", 10, _model, _spoil_model, _read_model),
        Parser("encoder", 4, _pretrained, _spoil_model, _read_encoder),
        Parser("run", 6, _runs, _spoil_run, _read_run),
        Parser("export", 6, _exported, _spoil_export, _read_export),
        Parser("import", 12, _data_sets, _spoil_data_set, _read_data_set),
        Parser("project", 16, _project, _spoil_project, _read_project),
        Parser("backup", 4, _project, _spoil_backup, _read_backup),
    )
    return {parser.name: parser for parser in found}


def void(_: object) -> None:
    """Take a result and say nothing."""
