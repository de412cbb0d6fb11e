"""finetune on the command line: from a project to a version, without one from a run, stopped and refused."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from napari_vessel.images.image import Modality
from napari_vessel.images.writing import write_mask
from napari_vessel.jobs import run_job
from napari_vessel.review.project import Project
from napari_vessel.review.records import ImageState
from napari_vessel.synthesis.samples import make_sample


@pytest.fixture
def reviewed(run, tmp_path):
    """A project of three small angiograms of three people, two of them done."""
    for seed in range(3):
        drawn = make_sample("octa", seed=seed, shape=(160, 160))
        # A step on crops of 96 px takes a third of one on 160.
        pixels, labels = (part[32:128, 32:128] for part in (drawn.image.pixels, drawn.truth.labels))
        for room in ("images", "masks"):
            (tmp_path / room).mkdir(exist_ok=True)
        Image.fromarray(np.round(pixels * 255).astype(np.uint8)).save(tmp_path / "images" / f"p{seed}_scan.png")
        write_mask(tmp_path / "masks" / f"p{seed}_scan.png", np.ascontiguousarray(labels))
    folder = tmp_path / "project"
    assert run("project", "create", folder, tmp_path / "images", "--masks", tmp_path / "masks").code == 0
    with Project.open(folder) as project:
        for record in project.images()[:2]:
            project.set_state(record.id, ImageState.IN_REVIEW)
            project.set_state(record.id, ImageState.DONE)
    return folder


def few(*words):
    return [*words, "--start", "octa-small", "--steps", "2", "--rehearsal", "1", "--device", "cpu"]


def test_from_a_project_to_a_version_of_its_model(run, reviewed):
    done = run("finetune", *few(reviewed), "--json")
    assert done.code == 0, done.err
    told = done.json
    assert told["decision"]["promote"] in (None, False)
    assert told["version"]["state"] in ("candidate", "refused")
    assert told["version"]["name"].startswith("octa-small-v2-")
    with Project.open(reviewed) as project:
        version = project.versions.version(told["version"]["number"])
        hashes = {record.content_hash for record in project.images()[:2]}
    assert version.sentence == told["decision"]["sentence"]
    assert version.images == hashes
    assert version.figures["base"]["images"] == 6
    assert version.record["record"]["settings"]["steps"] == 2
    # Again, on the same decisions: the same run, and no second version.
    again = run("finetune", *few(reviewed), "--json")
    assert again.json == told


def test_a_run_that_is_prepared_needs_no_project(run, training, reviewed, tmp_path):
    from napari_vessel.review.samples import training_samples
    from napari_vessel.training.finetuning.preparing import prepare_finetune
    from napari_vessel.training.finetuning.settings import FineTune

    out = tmp_path / "run"
    with Project.open(reviewed) as project:
        samples = run_job(training_samples(project))
        run_job(prepare_finetune(samples, FineTune("octa-tuned", "octa-small", 100_000, 1), out))
        # The window holds the project all the while.
        started = training("finetune", "-o", out)
        figures = started.until_step(2)
        last = started.stop()
        blocked = run("finetune", reviewed, "-o", out, "--device", "cpu")
        assert blocked.code == 1
        assert "open" in blocked.err
    assert figures["total"] == 100_000
    assert last["result"]["stopped"]
    assert last["result"]["validation"]["step"] == 0
    assert (out / "octa-tuned" / "config.json").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--start", "nobody"], "There is no model named 'nobody'"),
        (["--start", "ridge"], "No training can begin with the model 'ridge'"),
        (["--base", "nowhere"], "There is no image to train on"),
    ],
)
def test_what_is_wrong_is_one_sentence(run, reviewed, words, sentence):
    done = run("finetune", reviewed, "--start", "octa-small", *words)
    assert done.code == 1
    assert sentence in done.err
    assert done.err.count("\n") == 1


def test_of_images_of_no_known_kind_a_network_must_have_segmented_one(run, tmp_path):
    with Project.create(tmp_path / "project") as project:
        for seed in range(2):
            drawn = make_sample("octa", seed=seed, shape=(128, 128))
            image = replace(drawn.image, modality=Modality.OTHER, name=f"p{seed}")
            (record,) = run_job(project.add([image], masks=drawn.truth))
            project.set_state(record.id, ImageState.IN_REVIEW)
            project.set_state(record.id, ImageState.DONE)
    done = run("finetune", tmp_path / "project")
    assert done.code == 1
    assert "'ridge' cannot learn" in done.err
    assert done.err.count("\n") == 1


def test_without_a_project_there_must_be_a_run(run, tmp_path):
    done = run("finetune", "-o", tmp_path / "out")
    assert done.code == 1
    assert "No project is named" in done.err
    assert not (tmp_path / "out").exists()


def test_a_project_in_which_nothing_was_decided_teaches_nothing(run, photograph, broken_mask, tmp_path):
    run("project", "create", tmp_path / "project", photograph, "--masks", broken_mask)
    done = run("finetune", tmp_path / "project")
    assert done.code == 1
    assert "There is nothing to learn from" in done.err


def test_a_run_of_another_project_is_not_added(run, reviewed, tmp_path):
    from napari_vessel.review.samples import training_samples
    from napari_vessel.training.finetuning.preparing import prepare_finetune
    from napari_vessel.training.finetuning.settings import FineTune

    with Project.open(reviewed) as project:
        samples = run_job(training_samples(project))
        run_job(prepare_finetune(samples, FineTune("octa-tuned", "octa-small", 2, 1), tmp_path / "run"))
    assert run("project", "create", tmp_path / "other", tmp_path / "images", "--masks", tmp_path / "masks").code == 0
    done = run("finetune", tmp_path / "other", "-o", tmp_path / "run", "--device", "cpu")
    assert done.code == 1
    assert "images of another project" in done.err
    assert not (tmp_path / "run" / "octa-tuned").exists()
