"""A run of fine-tuning: what it is prepared with, half rehearsal, stopping, killing, going on, what is written down."""

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from napari_vessel.errors import InputError, ModelError, ProjectError
from napari_vessel.images.image import Modality
from napari_vessel.jobs import run_job
from napari_vessel.networks import build_network
from napari_vessel.review.origins import Origin
from napari_vessel.review.training_sample import TrainingSample
from napari_vessel.segmentation.registry import model_info, read_model
from napari_vessel.segmentation.segmenter import Segmenter
from napari_vessel.synthesis.samples import make_sample
from napari_vessel.training.export import write_model
from napari_vessel.training.finetuning import preparing, recipes
from napari_vessel.training.finetuning.folders import RECORD, RESULT, project_runs, read_result, steps_of
from napari_vessel.training.finetuning.preparing import prepare_finetune, read_record, weigh
from napari_vessel.training.finetuning.recipes import make_recipe
from napari_vessel.training.finetuning.running import finetune, judge_by_guards, synthetic_seeds
from napari_vessel.training.finetuning.settings import FineTune
from napari_vessel.training.losses import total_loss
from napari_vessel.training.sources import cut_files, find_training_files, load_crops
from napari_vessel.training.trainer import Trainer

SHAPE = (160, 160)


def sample(seed, guard=False, done=True, **changes):
    """An angiogram that somebody corrected: a stroke, a rejected gap, and a place nobody is sure of."""
    drawn = make_sample("octa", seed=seed, shape=SHAPE)
    origin = np.full(SHAPE, Origin.MODEL if done else Origin.NEVER_REVIEWED, np.uint8)
    origin[60:64, 40:70], origin[90:92, 40:80], origin[10:14, 10:30] = Origin.BRUSH, Origin.REJECTED, Origin.UNSURE
    vessels = drawn.truth.mask.copy()
    vessels[60:64, 40:70], vessels[90:92, 40:80] = True, False
    counts = np.zeros(SHAPE, np.bool_)
    counts[50:100, 30:90] = True
    counts |= done
    found = {
        "image_id": f"id{seed}",
        "name": f"scan {seed}",
        "content_hash": str(seed),
        "patient": f"p{seed}",
        "image": drawn.image,
        "vessels": vessels,
        "origin": origin,
        "counts": counts & (origin != Origin.UNSURE),
        "done": done,
        "guard": guard,
        "model": "tiny",
        "edits": 3,
    }
    return TrainingSample(**{**found, **changes})


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A network of random weights to begin with."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(1)
    network = build_network("unet", in_channels=1, channels=[8, 8, 8])
    config = {
        "format": 1,
        "name": "tiny",
        "title": "Tiny",
        "kind": "network",
        "version": "1.2.0",
        "modalities": ["octa"],
        "licence": "As you like.",
        "network": {"name": "unet", "in_channels": 1, "channels": [8, 8, 8]},
        "working_scale": {"kind": "field_of_view", "px": 160.0},
        "settings": {},
        "threshold": 0.45,
        "min_size": 3,
    }
    write_model(network, folder, config)
    return {"tiny": folder}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder of what the model knows."""
    folder = tmp_path_factory.mktemp("base")
    for seed in range(4):
        drawn = make_sample("octa", seed=50 + seed, shape=SHAPE)
        for room, pixels in (("images", drawn.image.pixels), ("masks", drawn.truth.mask)):
            (folder / room).mkdir(exist_ok=True)
            Image.fromarray(np.round(pixels * 255.0).astype(np.uint8)).save(folder / room / f"known_{seed}.png")
    return folder


SAMPLES = [sample(0), sample(1, done=False), sample(2, guard=True), sample(3)]
PACKED = [one.pack() for one in SAMPLES]


def prepared(out, models, base=None, samples=SAMPLES, **settings):
    told = FineTune(**{"name": "better", "start": "tiny", "steps": 8, "rehearsal": 2, **settings})
    run_job(prepare_finetune([one.pack() for one in samples], told, out, base, models))
    return out


def recipe_of(out):
    record = read_record(out)
    return make_recipe(record, read_model(out / "start" / record["start"]["name"]))


def rows(out):
    with (out / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_folder_holds_all_that_a_run_needs(models, base, tmp_path):
    out = prepared(tmp_path / "run", models, base)
    record = read_record(out)
    assert [(entry["done"], entry["guard"]) for entry in record["images"]] == [
        (True, False),
        (False, False),
        (True, False),
        (True, True),
    ]
    assert record["images"][0]["sha256"] == SAMPLES[0].digest
    assert record["images"][0]["pixels"]["rejected"] == 80
    assert "unsure" not in record["images"][0]["pixels"]
    assert sum(entry["guard"] for entry in record["base"]["images"]) == 1
    stem = record["images"][0]["stem"]
    weights = np.asarray(Image.open(out / "corrected" / "weights" / f"{stem}.png"))
    np.testing.assert_array_equal(weights, weigh(SAMPLES[0]))
    assert {int(weights[61, 50]), int(weights[91, 50]), int(weights[11, 20]), int(weights[150, 150])} == {3, 5, 0, 1}
    assert read_model(out / "start" / "tiny").sha256 == read_model(models["tiny"]).sha256
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    prepared(out, models, base)
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}


def test_nothing_to_learn_from_is_one_sentence(models, tmp_path):
    unseen = sample(5, done=False, counts=np.zeros(SHAPE, np.bool_))
    for samples in ([], [unseen], [sample(2, guard=True)]):
        with pytest.raises(InputError, match="There is nothing to learn from") as raised:
            prepared(tmp_path / "run", models, samples=samples)
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Better"}, "cannot be called 'Better'"),
        ({"name": "start"}, "cannot be called 'start'"),
        ({"steps": 0}, "0 steps"),
        ({"rehearsal": 0}, "0 images cannot be rehearsed"),
        ({"seed": -1}, "-1 cannot be a seed"),
        ({"seed": 10**30}, "cannot be a seed"),
        ({"start": "ridge"}, "No training can begin with the model 'ridge'"),
        ({"samples": [sample(0, name="01_test")]}, "'01_test' is the name of a test image"),
    ],
)
def test_what_cannot_be_is_refused(models, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        prepared(tmp_path / "run", models, **changes)
    assert not (tmp_path / "run").exists()


def test_how_an_image_came_to_teach_what_it_does_makes_no_other_run(models, base, tmp_path):
    out = prepared(tmp_path / "run", models, base, [sample(0)])
    first = read_record(out)
    prepared(out, models, base, [sample(0, edits=5, model="other", image_id="again")])
    assert read_record(out) == first


def test_a_guard_in_the_base_folder_is_not_rehearsed(models, base, tmp_path):
    known = sorted((base / "images").iterdir())
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in known]
    out = prepared(tmp_path / "run", models, base, [sample(0), sample(2, guard=True, content_hash=digests[1])])
    assert [entry["name"] for entry in read_record(out)["base"]["images"]] == ["known_0", "known_2", "known_3"]
    with pytest.raises(InputError, match=r"not two images in .* but those"):
        prepared(tmp_path / "few", models, base, [sample(n, content_hash=one) for n, one in enumerate(digests[1:])])


def test_no_seed_rehearses_what_watches_forgetting():
    for seed in range(120):
        seeds = synthetic_seeds(FineTune("better", "tiny", rehearsal=10_000, seed=seed))
        assert len(set(seeds.values())) == len(seeds) == 10_006
        assert seeds["guard_00"] == 4_000_000


@pytest.mark.parametrize(
    ("place", "value"),
    [(("settings",), None), (("images",), "x"), (("images", 0), {}), (("images", 0), None), (("settings", "seed"), -1)],
)
def test_a_damaged_record_is_one_sentence(models, base, tmp_path, place, value):
    out = prepared(tmp_path / "run", models, base, [sample(0)])
    record = json.loads((out / RECORD).read_text())
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (out / RECORD).write_text(json.dumps(record))
    with pytest.raises(InputError, match="seed" if place[-1] == "seed" else "is damaged"):
        run_job(finetune(out, "cpu"))


def test_a_folder_of_something_else_is_left_alone(models, tmp_path):
    with pytest.raises(InputError, match="no run to go on with"):
        run_job(finetune(tmp_path / "nothing", "cpu"))
    out = prepared(tmp_path / "run", models)
    with pytest.raises(InputError, match="holds a run on other images"):
        prepared(out, models, samples=SAMPLES[:2])
    mine = tmp_path / "mine" / "corrected"
    mine.mkdir(parents=True)
    (mine / "eye.png").write_bytes(b"of somebody")
    with pytest.raises(InputError, match="holds a folder 'corrected' of something else"):
        prepared(tmp_path / "mine", models)
    assert (mine / "eye.png").is_file()
    (out / RECORD).write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        run_job(finetune(out, "cpu"))


def test_a_preparation_that_was_cut_short_is_made_again(models, tmp_path):
    out = tmp_path / "run"
    settings = FineTune("better", "tiny", 8, 2)
    with closing(prepare_finetune(PACKED, settings, out, None, models)) as job:
        for progress in job:
            if progress.message.startswith("Keeping") and progress.done == 2:
                break
    # Cut short while the rooms were moved: one is in its place, and the record is not.
    (out / ".preparing" / "corrected").rename(out / "corrected")
    prepared(out, models)
    assert not (out / ".preparing").exists()
    assert len(list((out / "corrected" / "images").iterdir())) == len(SAMPLES)


def test_one_folder_is_prepared_by_one_process(models, tmp_path):
    settings = FineTune("better", "tiny", 8, 2)
    job = prepare_finetune(PACKED, settings, tmp_path / "run", None, models)
    while not next(job).message.startswith("Keeping"):
        pass
    with pytest.raises(ProjectError, match="already open"):
        prepared(tmp_path / "run", models, samples=SAMPLES[:2])
    run_job(job)
    assert len(read_record(tmp_path / "run")["images"]) == len(SAMPLES)


def test_half_of_every_batch_is_rehearsal(models, base, tmp_path):
    out = prepared(tmp_path / "run", models, base)
    recipe = recipe_of(out)
    source = run_job(load_crops(recipe, find_training_files(recipe, out)))
    names = source._names
    for seed in range(30):
        drawn = [names[n] for n in source._sources(np.random.default_rng(seed))]
        assert drawn.count("own/rehearsal") >= len(drawn) / 2
    # Of the annotator's crops some do not count everywhere, of the base domain's all do.
    targets = torch.cat([source.batch(number)[1] for number in range(4)])
    assert bool((targets[:, 4] > 1).any())


@pytest.mark.parametrize("synthetic", [False, True])
def test_the_cut_is_chosen_beside_as_many_rehearsed_images(models, base, tmp_path, synthetic):
    out = prepared(tmp_path / "run", models, None if synthetic else base, rehearsal=5)
    recipe = recipe_of(out)
    corrected, rehearsed = (set(source.cut) for source in recipe.data)
    learnt = [entry["stem"] for entry in read_record(out)["images"] if entry["done"] and not entry["guard"]]
    assert corrected == set(learnt)
    assert len(rehearsed) == len(corrected)
    assert not any(stem.startswith("guard") for stem in rehearsed)
    if synthetic:
        assert rehearsed == {"00000", "00001"}
    else:
        assert {files.stem for files in cut_files(recipe, find_training_files(recipe, out))} == corrected | rehearsed


def test_rejected_places_are_pushed_down_harder_than_others(models, base, tmp_path):
    out = prepared(tmp_path / "run", models, base, samples=[sample(0)])
    recipe = recipe_of(out)
    recipe = replace(recipe, schedule=replace(recipe.schedule, learning_rate=2e-2))
    source = run_job(load_crops(recipe, find_training_files(recipe, out)))
    images, target = next(batch for n in range(20) if bool((batch := source.batch(n))[1][:, 4].ge(5).any()))
    rejected, plain = (target[:, 4] == 5) & (target[:, 0] == 0), (target[:, 4] == 1) & (target[:, 0] == 0)
    logits = torch.zeros(len(images), 1, *images.shape[2:], requires_grad=True)
    total_loss(logits, target, recipe.loss[:1], 0.5)[0].backward()
    pulls = logits.grad[:, 0]
    assert float(pulls[rejected].min()) == pytest.approx(5 * float(pulls[plain & (target[:, 2] > 0)].mean()), rel=1e-3)
    trainer = Trainer(recipe, out)
    with torch.no_grad():
        trainer.network.head.bias.fill_(1.0)
    for _ in range(4):
        before = trainer.network.eval()(images).sigmoid()[:, 0][rejected].mean()
        trainer.train_step(images, target)
        assert trainer.network.eval()(images).sigmoid()[:, 0][rejected].mean() < before


def test_a_run_ends_in_a_model_a_decision_and_a_card(models, tmp_path):
    out = prepared(tmp_path / "run", models)
    result = run_job(finetune(out, "cpu"))
    assert result == json.loads((out / RESULT).read_text())
    assert result["record"] == read_record(out)
    assert result["steps"] == 8 or result["validation"]["step"] < 8
    # One guard is too few: it may be refused for being worse, and never takes over.
    assert result["decision"]["promote"] in (None, False)
    assert result["decision"]["figures"]["guards"]["images"] == 1
    assert result["decision"]["figures"]["base"]["images"] == 6
    info = read_model(out / "better")
    assert info.licence.startswith("As you like. Fine-tuned")
    assert info.modalities == (Modality.OCTA,)
    words = ["scan 0", "scan 1 (not done)", "Guards, to choose the weights and to judge by: scan 2", "rejected 240"]
    for told in (*words, "| Dice |", result["decision"]["sentence"]):
        assert told in info.card
    assert run_job(Segmenter(info, "cpu").predict(SAMPLES[0].image)).mask.shape == SHAPE
    looks = [row for row in rows(out) if row["watched_dice"]]
    # The first look is at the model it began with: what the curves are drawn against.
    assert looks[0]["step"] == "0"
    assert all(row["validation_dice"] and row["validation_cldice"] for row in looks)
    # Again: the same, at once.
    with closing(finetune(out, "cpu")) as job, pytest.raises(StopIteration) as stop:
        next(job)
    assert stop.value.value == result


def test_stopped_before_anything_is_better_nothing_was_learnt(models, base, tmp_path):
    """The weights are those of the old model; only threshold and smallest piece may be new."""
    out = prepared(tmp_path / "run", models, base, steps=600)
    with closing(finetune(out, "cpu")) as job:
        for progress in job:
            if progress.message.startswith("Training, step 3 "):
                break
    result = run_job(finetune(out, "cpu", further=False))
    assert (result["stopped"], result["learnt"], result["validation"]["step"]) == (True, False, 0)
    assert result["decision"]["promote"] is False
    assert result["decision"]["sentence"].startswith("Nothing was learnt")
    assert "Nothing was learnt" in read_model(out / "better").card


def test_what_a_model_knew_first_is_watched_after_a_change_of_modality(models, base, tmp_path):
    """From photographs to angiograms, and to images of nobody knows what; the next version is asked for photographs."""
    first = tmp_path / "models" / "tiny"
    shutil.copytree(models["tiny"], first)
    config = json.loads((first / "config.json").read_text())
    (first / "config.json").write_text(json.dumps({**config, "modalities": ["fundus"]}))
    other = sample(3, image=replace(sample(3).image, modality=Modality.OTHER))
    out = prepared(tmp_path / "run", {"tiny": first}, base, [sample(0), other], steps=1)
    run_job(finetune(out, "cpu"))
    info = read_model(out / "better")
    assert info.modalities == (Modality.OCTA, Modality.OTHER)
    assert info.settings["knows"] == "fundus"
    again = prepared(tmp_path / "again", {"better": out / "better"}, None, [sample(0)], start="better", name="best")
    record = read_record(again)
    assert (record["modality"], record["base"]["modality"]) == ("octa", "fundus")
    with closing(finetune(again, "cpu")) as job:
        while not (again / "rehearsal" / "images" / "guard_00.png").is_file():
            next(job)
    # What the engine draws for photographs has a round field of view.
    assert not np.asarray(Image.open(again / "rehearsal" / "fov" / "guard_00.png"))[0, 0]


def test_a_change_of_modality_is_judged_by_its_weights_and_not_by_its_scale(models, base, tmp_path):
    """What the old model sees as it is, the new one would enlarge; no weight has changed."""
    first = tmp_path / "models" / "octa-small"
    shutil.copytree(model_info("octa-small").folder, first)
    config = json.loads((first / "config.json").read_text())
    scale = {"kind": "field_of_view", "px": 240.0, "least": 100.0, "most": 400.0}
    (first / "config.json").write_text(json.dumps({**config, "working_scale": scale}))
    start = {"octa-small": first}
    out = prepared(tmp_path / "run", start, base, [sample(0), sample(2, guard=True)], start="octa-small")
    old = read_model(first)
    new = replace(old, working_scale={"kind": "field_of_view", "px": 240.0})
    figures = run_job(judge_by_guards(old, new, recipe_of(out), out, "cpu")).figures
    assert figures["base"]["images"] == 1
    assert figures["base"]["dice"]["old"] == figures["base"]["dice"]["new"] > 0.3
    # What the new one is for it segments as the product will.
    assert figures["guards"]["dice"]["old"] != figures["guards"]["dice"]["new"]


def test_without_guards_the_schedule_decides(models, base, tmp_path):
    out = prepared(tmp_path / "run", models, base, samples=SAMPLES[:1])
    result = run_job(finetune(out, "cpu"))
    assert result["steps"] == 8
    assert result["validation"]["value"] is None
    assert result["decision"]["figures"]["guards"] == {"images": 0}
    assert result["decision"]["promote"] in (None, False)
    assert "Guards, to choose the weights and to judge by: none" in read_model(out / "better").card


def test_unfinished_images_alone_leave_the_threshold(models, base, tmp_path):
    result = run_job(finetune(prepared(tmp_path / "run", models, base, samples=SAMPLES[1:2], steps=2), "cpu"))
    assert (result["threshold"], result["min_size"]) == (0.45, 3)


def test_guards_have_no_say_in_the_threshold_either_way(models, base, tmp_path):
    out = prepared(tmp_path / "run", models, base, samples=[SAMPLES[1], SAMPLES[2]], steps=2)
    recipe = recipe_of(out)
    assert cut_files(recipe, find_training_files(recipe, out)) == []
    result = run_job(finetune(out, "cpu"))
    assert (result["threshold"], result["min_size"]) == (0.45, 3)


def test_one_process_at_a_time_until_the_model_is_judged(models, base, tmp_path):
    out = prepared(tmp_path / "run", models, base, SAMPLES[:1], steps=1)
    with closing(finetune(out, "cpu")) as job:
        for progress in job:
            if progress.message.startswith("Judging"):
                break
        weights = (out / "better" / "model.safetensors").stat().st_mtime_ns
        with pytest.raises(ProjectError, match="already open"):
            run_job(finetune(out, "cpu"))
        assert (out / "better" / "model.safetensors").stat().st_mtime_ns == weights
    result = run_job(finetune(out, "cpu"))
    assert result["steps"] == 1
    for damage in ({"decision": {}}, {"decision": None}, {"record": None}, {"model": 5}, {"stopped": "no"}):
        (out / RESULT).write_text(json.dumps({**result, **damage}))
        again = run_job(finetune(out, "cpu"))
        assert (again["decision"], again["record"]) == (result["decision"], result["record"])


def test_a_later_version_of_the_package_goes_on_with_the_recipe_of_the_run(models, base, tmp_path, monkeypatch):
    out = prepared(tmp_path / "run", models, base, steps=600)
    with closing(finetune(out, "cpu")) as job:
        for progress in job:
            if progress.message.startswith("Training, step 3 "):
                break
    rate = recipes.LEARNING_RATE
    monkeypatch.setattr(recipes, "LEARNING_RATE", rate / 2)
    monkeypatch.setattr(preparing, "__version__", "99.0")
    record = read_record(out)
    prepared(out, models, base, steps=600)
    assert read_record(out) == record
    with closing(finetune(out, "cpu")) as job:
        for progress in job:
            if progress.message.startswith("Training, step 5 "):
                break
    result = run_job(finetune(out, "cpu", further=False))
    assert (result["steps"], result["recipe"]["schedule"]["learning_rate"]) == (5, rate)
    (out / RECORD).write_text(json.dumps({key: value for key, value in record.items() if key != "recipe"}))
    with pytest.raises(ModelError, match="another recipe"):
        run_job(finetune(out, "cpu"))
    (out / RECORD).write_text(json.dumps({**record, "recipe": "steps = "}))
    with pytest.raises(InputError, match="cannot be read"):
        run_job(finetune(out, "cpu"))


def weights_of(out):
    trainer = Trainer(recipe_of(out), out)
    assert trainer.resume()
    return {name: value.clone() for name, value in trainer.average.state_dict().items()}


def test_killed_and_gone_on_with_it_ends_as_if_nothing_had_happened(models, base, tmp_path):
    straight, broken = (prepared(tmp_path / name, models, base, SAMPLES[:2], steps=12) for name in ("one", "two"))
    run_job(finetune(straight, "cpu"))
    code = (
        "import sys, time; from pathlib import Path; from napari_vessel.training import train as t; t.SAVE_EVERY = 0\n"
        "from napari_vessel.training.finetuning.running import finetune\n"
        "for p in finetune(Path(sys.argv[1]), 'cpu'):\n"
        "    if p.message.startswith('Training, step 5 '):\n"
        "        print('there', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(broken)], stdout=subprocess.PIPE, env=os.environ)
    assert process.stdout.readline().strip() == b"there"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (broken / RESULT).exists()
    for path in (broken / "corrected").rglob("*.png"):
        Image.open(path).verify()
    read_record(broken)
    run_job(finetune(broken, "cpu"))
    first, second = weights_of(straight), weights_of(broken)
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-4, atol=1e-6)
    assert [row["step"] for row in rows(straight)] == [row["step"] for row in rows(broken)]


def test_stopping_keeps_the_best_so_far(models, base, tmp_path):
    out = prepared(tmp_path / "run", models, base, steps=60)
    with pytest.raises(ModelError, match="Nothing has been trained"):
        run_job(finetune(out, "cpu", further=False))
    with closing(finetune(out, "cpu")) as job:
        for progress in job:
            if progress.message.startswith("Training, step 12 "):
                break
    result = run_job(finetune(out, "cpu", further=False))
    assert result["stopped"]
    assert result["steps"] == 12
    assert result["validation"]["step"] in (0, 10)
    best = {float(row["validation"]) for row in rows(out) if row["validation"]}
    assert result["validation"]["value"] <= max(best) + 1e-5
    assert (out / "better" / "config.json").is_file()
    shutil.rmtree(out / "better")
    assert not run_job(finetune(out, "cpu"))["stopped"]


def test_a_run_stopped_while_it_is_judged_was_trained_to_its_end(models, base, tmp_path):
    out = prepared(tmp_path / "run", models, base, steps=3)
    with closing(finetune(out, "cpu")) as job:
        for progress in job:
            if progress.message.startswith("Judging"):
                break
    result = run_job(finetune(out, "cpu", further=False))
    assert (result["steps"], result["stopped"]) == (3, False)


def test_short_memory_is_in_the_log_the_progress_and_the_record(models, base, tmp_path, monkeypatch):
    out = prepared(tmp_path / "run", models, base, SAMPLES[:1], steps=3)
    real = Trainer._loss

    def short(self, images, target):
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, images, target)

    monkeypatch.setattr(Trainer, "_loss", short)
    messages = set()
    result = run_job(finetune(out, "cpu"), lambda progress: messages.add(progress.message))
    assert result["memory"] == "in 2 parts for lack of memory"
    assert "Training, step 2 of 3, in 2 parts for lack of memory" in messages
    assert "in 2 parts for lack of memory" in read_model(out / "better").card


def test_preparing_needs_no_torch(models, tmp_path):
    code = (
        "import sys\n"
        "import napari_vessel.training.finetuning.preparing, napari_vessel.training.finetuning.gate\n"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", '{"settings": 1}', '{"model": 5}', "\0"])
def test_records_of_a_run_that_are_none(tmp_path, text):
    run = tmp_path / "finetuning" / "run"
    run.mkdir(parents=True)
    for name in (RECORD, RESULT):
        (run / name).write_text(text)
    assert project_runs(tmp_path) == [run]
    assert read_result(run) is None
    assert steps_of(run) == 0
    with pytest.raises(InputError, match="damaged"):
        read_record(run)


def test_a_result_that_names_what_no_file_is_called(tmp_path):
    told = {"stopped": False, "decision": {"promote": True, "sentence": "", "figures": {}}, "record": {"images": [1]}}
    (tmp_path / RESULT).write_text(json.dumps({**told, "model": "x" * 5000}))
    assert read_result(tmp_path) is None
