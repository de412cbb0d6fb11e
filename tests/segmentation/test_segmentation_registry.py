"""The registry believes nothing it reads."""

import json
import logging
import os
import shutil

import pytest

from napari_vessel.errors import ModelError
from napari_vessel.images import Modality
from napari_vessel.segmentation import (
    completion_models,
    default_completion_model,
    default_model,
    list_models,
    model_info,
    verify_model,
)
from napari_vessel.segmentation.registry import USER_FOLDER_VARIABLE, install_model, read_model

SHIPPED = ["fundus", "fundus-small", "octa-small", "ridge", "twophoton-small", "xray-small"]
COMPLETING = ["fundus-small-vig", "octa-small-vig"]


@pytest.fixture
def user_models(tmp_path, monkeypatch):
    monkeypatch.setenv(USER_FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def own(user_models):
    """A copy of the shipped network under a name of the user's own."""
    folder = user_models / "mine"
    shutil.copytree(model_info("fundus-small").folder, folder)
    change(folder, name="mine")
    return folder


def change(folder, **values):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, **values}))


def test_shipped_models_are_listed_and_sound():
    names = [info.name for info in list_models() if info.shipped]
    assert names == SHIPPED
    for name in names:
        verify_model(name)
        info = model_info(name)
        assert info.title
        assert info.licence
        assert info.card.startswith(f"# {name}")


def test_the_shipped_completion_models_complete_shipped_segmenters():
    found = {info.name: info for info in completion_models() if info.shipped}
    assert list(found) == COMPLETING
    for name, info in found.items():
        verify_model(name)
        first = model_info(info.segmenter)
        assert info.working_scale["px"] == first.working_scale["px"]
        assert info.modalities == first.modalities
        assert default_completion_model(info.modalities[0]) == name
        assert default_model(info.modalities[0]) == info.segmenter
        assert info.card.startswith(f"# {name}")
    assert default_completion_model(Modality.XRAY) is None
    # Room for the models of the other modalities, too.
    assert sum(info.weights.stat().st_size for info in (*found.values(), *list_models()) if info.sha256) < 60e6


def test_every_modality_has_a_default():
    # The quick one of the two.
    assert default_model(Modality.FUNDUS) == "fundus-small"
    assert default_model(Modality.OCTA) == "octa-small"
    assert default_model(Modality.XRAY) == "xray-small"
    assert default_model(Modality.TWOPHOTON) == "twophoton-small"
    assert default_model(Modality.OTHER) == "ridge"


def test_a_model_in_the_users_folder_is_found(own):
    assert "mine" in [info.name for info in list_models()]
    assert not model_info("mine").shipped
    verify_model("mine")
    # What the user adds never changes the default behind their back.
    assert default_model(Modality.FUNDUS) == "fundus-small"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ModelError, match=f"choose one of: {', '.join(sorted([*SHIPPED, *COMPLETING]))}"):
        model_info("resnet")


def test_a_shipped_name_cannot_be_taken_over(user_models, caplog):
    shutil.copytree(model_info("ridge").folder, user_models / "ridge")
    with caplog.at_level(logging.WARNING):
        assert model_info("ridge").shipped
    assert "a model of that name is there already" in caplog.text


@pytest.mark.parametrize("name", ["..evil", "Up", "a b", "x" * 80])
def test_unsafe_folder_names_are_left_out(user_models, name, caplog):
    shutil.copytree(model_info("ridge").folder, user_models / name)
    with caplog.at_level(logging.WARNING):
        assert {info.name for info in list_models()} == set(SHIPPED)
    assert "is ignored" in caplog.text


def test_damaged_weights_are_refused(own):
    path = own / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged or were replaced"):
        verify_model("mine")


def test_truncated_weights_are_refused(own):
    path = own / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match="damaged or were replaced"):
        verify_model("mine")


def test_missing_weights_are_refused(own):
    (own / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        verify_model("mine")


def test_weights_of_another_network_are_refused(own):
    network = model_info("mine").network
    change(own, network={**network, "channels": [8, 8]})
    with pytest.raises(ModelError, match="do not fit its network"):
        verify_model("mine")


@pytest.mark.parametrize(
    "values",
    [
        {"format": 2},
        {"name": "other"},
        {"kind": "script"},
        {"threshold": 2},
        {"threshold": "0.5"},
        {"threshold": True},
        {"min_size": -1},
        {"modalities": "fundus"},
        {"modalities": ["mri"]},
        {"sha256": "abc"},
        {"title": 3},
        {"title": "x" * 1000},
        {"working_scale": {"kind": "field_of_view", "px": 1e9}},
        {"working_scale": {"kind": "magic"}},
        {"working_scale": {"kind": "field_of_view", "px": 640, "least": 700, "most": 800}},
        {"working_scale": {"kind": "field_of_view", "px": 640, "least": 512, "most": 600}},
        {"working_scale": {"kind": "field_of_view", "px": 640, "most": 800}},
        {"working_scale": 5},
        {"network": {"name": "unet", "in_channels": 3, "channels": [10**6, 10**6]}},
        {"network": {"name": "unet", "in_channels": 3, "channels": [8] * 50}},
        {"network": {"name": "unet", "in_channels": 7, "channels": [8, 8]}},
        {"network": {"name": "unet", "in_channels": 3, "channels": [8, 8], "code": "x"}},
        {"network": {"name": "unet", "in_channels": 3, "channels": [8, 8], "blocks": 2}},
        {"network": {}},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(own, values, caplog):
    change(own, **values)
    with pytest.raises(ModelError, match="mine"):
        model_info("mine")
    with caplog.at_level(logging.WARNING):
        assert "mine" not in [info.name for info in list_models()]
    assert "cannot be used" in caplog.text


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "null", "[" * 100_000])
def test_a_file_that_is_no_configuration_is_refused(own, text):
    (own / "config.json").write_text(text)
    with pytest.raises(ModelError, match="cannot be used"):
        model_info("mine")


def test_a_missing_setting_is_named(own):
    path = own / "config.json"
    config = json.loads(path.read_text())
    del config["threshold"]
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match="'threshold' is missing"):
        model_info("mine")


def test_a_model_that_does_not_fit_on_the_disk_leaves_the_older_one_and_nothing_else(own, tmp_path):
    resource = pytest.importorskip("resource")
    newer = tmp_path / "made" / "mine"
    shutil.copytree(own, newer)
    change(newer, title="A newer one")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(ModelError, match="cannot be copied"):
            install_model(newer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "mine"]
    assert model_info("mine").title != "A newer one"
    verify_model("mine")
    assert install_model(newer).title == "A newer one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "mine"]


def test_a_model_that_no_list_could_show_is_not_copied(own, tmp_path):
    folder = tmp_path / "made" / "My Model"
    shutil.copytree(own, folder)
    change(folder, name="My Model")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ModelError, match="A model cannot be named 'My Model': rename its folder"):
        install_model(folder)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(os.name == "nt", reason="pipes with names are POSIX")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md"])
def test_a_pipe_in_a_models_folder_is_not_waited_for(tmp_path, monkeypatch, name):
    monkeypatch.setenv(USER_FOLDER_VARIABLE, str(tmp_path / "user"))
    folder = tmp_path / "fundus-other"
    shutil.copytree(model_info("fundus-small").folder, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "name": folder.name}))
    (folder / name).unlink()
    os.mkfifo(folder / name)
    if name == "README.md":
        assert install_model(folder).card == ""
        return
    with pytest.raises(ModelError, match="not a file" if name == "config.json" else "are not there"):
        install_model(folder)


@pytest.mark.parametrize("key", ["name", "kind", "format", "network"])
def test_a_long_value_in_a_configuration_is_cut_in_the_sentence(tmp_path, key):
    folder = tmp_path / "fundus-other"
    folder.mkdir()
    config = json.loads((model_info("fundus-small").folder / "config.json").read_text(encoding="utf-8"))
    long = {"name": "x" * 100_000} if key == "network" else "x" * 100_000
    (folder / "config.json").write_text(json.dumps({**config, "name": folder.name, key: long}))
    with pytest.raises(ModelError) as refused:
        read_model(folder)
    assert len(str(refused.value)) < 1000
