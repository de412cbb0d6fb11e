"""Completion models on the command line: segment --vig, gaps and complete with one, models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import torch
from torch import nn

from napari_vessel.completion import Gap
from napari_vessel.images.masks import read_mask
from napari_vessel.images.writing import write_mask
from napari_vessel.jobs import CancelToken
from napari_vessel.networks import build_network
from napari_vessel.segmentation import registry
from napari_vessel.training.export import write_model

NONE = ("--completion-model", "none")


def write_vig(folder: Path, name: str, **changes: object) -> None:
    torch.manual_seed(0)
    network = build_network("vig", in_channels=3, channels=[8, 8, 16], blocks=1)
    # As trained, it would hand the probability on; as made, it says nothing of its own.
    nn.init.normal_(network.head[-1].weight, std=0.5)
    config = {
        "format": 1,
        "name": name,
        "title": "Tiny completion",
        "kind": "completion",
        "version": "0.3",
        "modalities": ["fundus"],
        "licence": "none",
        "network": {"name": "vig", "in_channels": 3, "channels": [8, 8, 16], "blocks": 1},
        "working_scale": {"kind": "field_of_view", "px": 224},
        "threshold": 0.5,
        "min_size": 0,
        "settings": {"segmenter": "ridge"},
    }
    write_model(network, folder / name, config | changes)


@pytest.fixture
def vig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tiny completion model in the user's folder, and no model in the package but the ridge filter."""
    shipped = tmp_path / "shipped"
    ridge = registry.shipped_folder() / "ridge"
    (shipped / "ridge").mkdir(parents=True)
    for name in ("config.json", "README.md"):
        (shipped / "ridge" / name).write_bytes((ridge / name).read_bytes())
    monkeypatch.setattr(registry, "shipped_folder", lambda: shipped)
    monkeypatch.setenv(registry.USER_FOLDER_VARIABLE, str(tmp_path / "models"))
    write_vig(tmp_path / "models", "tiny-vig")
    return "tiny-vig"


@pytest.fixture
def default_vig(tmp_path: Path, vig: str) -> str:
    """The same model, come with the package."""
    (tmp_path / "models" / vig).rename(tmp_path / "shipped" / vig)
    return vig


def test_segment_with_vig_writes_the_completion_too(run, photograph: Path, tmp_path: Path, default_vig: str) -> None:
    out = tmp_path / "out"

    outcome = run("segment", photograph, "-o", out, "--model", "ridge", "--vig", "--json")

    assert outcome.code == 0, outcome.err
    names = ["eye_7.json", "eye_7_completion.tif", "eye_7_mask.png", "eye_7_probability.tif"]
    assert sorted(p.name for p in out.iterdir()) == names
    completion = tifffile.imread(out / "eye_7_completion.tif")
    probability = tifffile.imread(out / "eye_7_probability.tif")
    assert completion.dtype == np.float32
    assert completion.shape == probability.shape
    assert 0 <= completion.min() < completion.max() <= 1
    assert not np.array_equal(completion, probability)
    record = json.loads((out / "eye_7.json").read_text(encoding="utf-8"))["completion"]
    assert (record["model"], record["model_version"]) == (default_vig, "0.3")
    assert record["sha256"] == hashlib.sha256((out / "eye_7_completion.tif").read_bytes()).hexdigest()
    (result,) = outcome.json["results"]
    assert (result["completion_model"], result["completion"]) == (default_vig, str(out / "eye_7_completion.tif"))


def test_segment_without_vig_writes_none(run, photograph: Path, tmp_path: Path, default_vig: str) -> None:
    plain, asked = tmp_path / "plain", tmp_path / "asked"

    assert run("segment", photograph, "-o", plain, "--model", "ridge").code == 0
    assert run("segment", photograph, "-o", asked, "--model", "ridge", "--vig").code == 0

    assert not (plain / "eye_7_completion.tif").exists()
    assert json.loads((plain / "eye_7.json").read_text(encoding="utf-8"))["completion"] is None
    assert (plain / "eye_7_mask.png").read_bytes() == (asked / "eye_7_mask.png").read_bytes()


def test_the_segmenter_it_was_trained_with_is_asked(run, photograph: Path, tmp_path: Path, vig: str) -> None:
    write_vig(tmp_path / "models", "other-vig", settings={"segmenter": "fundus-small"})

    outcome = run("segment", photograph, "-o", tmp_path, "--model", "ridge", "--vig", "--completion-model", "other-vig")

    # It completes what it was trained on, and that segmenter is not here.
    assert outcome.code == 1
    assert "fundus-small" in outcome.err
    assert outcome.err.count("\n") == 1


def test_segment_refuses_before_it_writes(run, photograph: Path, tmp_path: Path, vig: str) -> None:
    out = tmp_path / "out"
    common = ("segment", photograph, "-o", out, "--model", "ridge")

    for words, sentence in (
        (["--vig"], "no completion model for images of kind 'fundus'"),
        (["--vig", "--completion-model", "tiny-vlg"], "choose one of: tiny-vig."),
        (["--vig", "--completion-model", "ridge"], "segments"),
        (["--completion-model", vig], "give both or neither"),
    ):
        outcome = run(*common, *words)
        assert outcome.code == 1
        assert sentence in outcome.err
        assert outcome.err.count("\n") == 1
        assert not out.exists()


def test_segment_never_overwrites_an_input_with_a_completion(run, photograph: Path, default_vig: str) -> None:
    twin = photograph.with_name("eye_7_completion.tif")
    tifffile.imwrite(twin, np.zeros((220, 220), np.uint8))
    before = twin.read_bytes()
    common = ("segment", photograph, twin, "-o", photograph.parent, "--model", "ridge")

    assert run(*common, "--vig").code == 1
    assert twin.read_bytes() == before
    assert len(list(photograph.parent.iterdir())) == 2


def test_gaps_reads_the_completion_model(
    run, photograph: Path, broken_mask: Path, tmp_path: Path, default_vig: str
) -> None:
    out = {name: tmp_path / f"{name}.json" for name in ("none", "named", "default")}
    common = ("gaps", broken_mask, "--image", photograph, "--json")

    without = run(*common, *NONE, "-o", out["none"])
    named = run(*common, "--completion-model", default_vig, "--device", "cpu", "-o", out["named"])
    default = run(*common, "-o", out["default"])

    assert (without.code, named.code, default.code) == (0, 0, 0), named.err
    assert without.json["completion"] is None
    assert named.json["completion"] == default.json["completion"] == {"model": default_vig, "model_version": "0.3"}
    data = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in out.items()}
    assert data["none"]["completion"] is None
    assert data["named"]["completion"]["model"] == default_vig
    assert data["named"]["gaps"] == data["default"]["gaps"]
    assert all(Gap.from_json(gap).completion is None for gap in data["none"]["gaps"])
    drawn = [Gap.from_json(gap) for gap in data["named"]["gaps"]]
    assert drawn
    assert all(gap.completion is not None for gap in drawn)
    assert any("along the way" in reason.text for gap in drawn for reason in gap.reasons)


def test_a_model_of_ones_own_is_used_only_by_name(
    run, photograph: Path, broken_mask: Path, tmp_path: Path, vig: str
) -> None:
    outcome = run("gaps", broken_mask, "--image", photograph, "-o", tmp_path / "g.json", "--json")

    assert outcome.code == 0, outcome.err
    assert outcome.json["completion"] is None


def test_a_given_probability_is_what_is_completed(
    run, photograph: Path, broken_mask: Path, tmp_path: Path, vig: str
) -> None:
    black = tmp_path / "black.tif"
    tifffile.imwrite(black, np.zeros((220, 220), np.float32))
    common = ("gaps", broken_mask, "--image", photograph, "--completion-model", vig)

    assert run(*common, "-o", tmp_path / "own.json").code == 0
    assert run(*common, "--probability", black, "-o", tmp_path / "black.json").code == 0

    own, given = (json.loads((tmp_path / name).read_text())["gaps"] for name in ("own.json", "black.json"))
    assert [gap["completion"] for gap in own] != [gap["completion"] for gap in given]


def test_complete_with_a_completion_model_names_it(
    run, photograph: Path, broken_mask: Path, tmp_path: Path, vig: str
) -> None:
    out = tmp_path / "done.png"
    common = ("complete", broken_mask, "--image", photograph, "--min-score", "0.5", "-o", out)

    outcome = run(*common, "--completion-model", vig, "--json")

    assert outcome.code == 0, outcome.err
    assert outcome.json["completion"] == {"model": vig, "model_version": "0.3"}
    assert outcome.json["components_after"] < outcome.json["components_before"]
    before, after = read_mask(broken_mask).mask, read_mask(out).mask
    assert (after & before).sum() == before.sum()
    said = run(*common, "--completion-model", vig)
    assert f"completion by {vig} 0.3" in said.out


def test_gaps_proposes_tips_on_demand(run, tmp_path: Path) -> None:
    mask = np.zeros((160, 240), np.uint8)
    mask[38:41, 20:120] = mask[90:99, 5:235] = 255
    probability = np.where(mask > 0, np.float32(0.95), np.float32(0.01))
    probability[38:41, 120:160] = 0.45
    image = np.full((160, 240), 120, np.uint8)
    image[probability > 0.3] = 60
    write_mask(tmp_path / "m.png", mask > 0)
    iio.imwrite(tmp_path / "i.png", image)
    tifffile.imwrite(tmp_path / "p.tif", probability)
    common = ("gaps", tmp_path / "m.png", "--image", tmp_path / "i.png", "--probability", tmp_path / "p.tif", *NONE)

    for options, tips in (((), 0), (("--tips",), 1)):
        outcome = run(*common, *options, "-o", tmp_path / "g.json", "--json")
        assert outcome.code == 0, outcome.err
        assert outcome.json.get("tips", 0) == tips
        found = [Gap.from_json(gap) for gap in json.loads((tmp_path / "g.json").read_text())["gaps"]]
        assert [len(gap.ends) for gap in found] == [1] * tips


@pytest.mark.parametrize("command", ["gaps", "complete"])
def test_a_misspelt_completion_model_lists_the_names(
    run, photograph: Path, broken_mask: Path, tmp_path: Path, vig: str, command: str
) -> None:
    out = tmp_path / ("g.json" if command == "gaps" else "c.png")
    words = ("--min-score", "0.5") if command == "complete" else ()

    outcome = run(
        *(command, broken_mask, "--image", photograph, "-o", out, *words),
        *("--completion-model", "tiny-vlg"),
    )

    assert outcome.code == 1
    assert "'tiny-vlg'; choose one of: tiny-vig." in outcome.err
    assert outcome.err.count("\n") == 1
    assert not out.exists()


def test_a_cancelled_completion_leaves_no_file(
    run, photograph: Path, broken_mask: Path, tmp_path: Path, vig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import napari_vessel.cli.terminal as terminal

    run_job = terminal.run_job
    seen: list[str] = []

    def stopped(job, show, token: CancelToken):
        def watch(progress) -> None:
            seen.append(progress.message)
            if progress.message == "Following centrelines":
                token.cancel()

        return run_job(job, watch, token)

    monkeypatch.setattr(terminal, "run_job", stopped)

    outcome = run(
        *("complete", broken_mask, "--image", photograph, "--min-score", "0.5", "-o", tmp_path / "c.png"),
        *("--completion-model", vig),
    )

    assert outcome.code == 1
    assert "Loading Tiny completion" in seen
    assert not (tmp_path / "c.png").exists()


def test_models_shows_completion_models(run, vig: str) -> None:
    listed = run("models", "list", "--json").json["models"]

    assert {model["name"]: model["kind"] for model in listed} == {"ridge": "ridge", vig: "completion"}
    assert f"{vig}  completion  Tiny completion" in run("models", "list").out
    assert run("models", "info", vig, "--json").json["segmenter"] == "ridge"
    assert run("models", "verify", vig).code == 0
