"""The models there are: those that ship with the package and those in the user's folder.

A model is a folder with ``config.json``, a card (``README.md``) and, for a network, ``model.safetensors``. Nothing
in it is code, and nothing in it is believed: every value is checked, and the weights must have the SHA-256 that
the configuration names.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from napari_vessel.errors import ModelError
from napari_vessel.images.image import Modality
from napari_vessel.networks import COMPLETION_NETWORKS, NETWORKS
from napari_vessel.untrusted import MALFORMED, read_json, shortened

log = logging.getLogger(__name__)

KINDS = ("ridge", "network", "completion")
USER_FOLDER_VARIABLE = "NAPARI_VESSEL_MODELS"
LARGEST_WEIGHTS = 2 * 1024**3
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""What a model and its folder may be called."""
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known about a model without loading it.

    Attributes
    ----------
    name : str
        Name to ask for it by; its folder's name.
    title : str
        One line for a person.
    kind : str
        ``ridge`` (computed, no weights), ``network`` (segments), or ``completion`` (completes what a segmenter found).
    modalities : tuple of Modality
        What it is meant for.
    licence : str
        Licence of the weights, with attribution where that is due.
    working_scale : mapping
        ``{"kind": "field_of_view", "px": N}``: images are resampled until their field of view is N px wide; with
        ``least`` and ``most`` those between are left as they are, others brought to the nearer one, and N is what the
        model was trained around; ``{"kind": "own"}``: the model finds the scale itself.
    threshold : float
        Probability at which the mask is cut by default.
    min_size : int
        Smallest piece kept by default, in pixels of a field of view as wide as the working scale's ``px``;
        :meth:`Segmenter.predict` converts it to pixels of the image.
    parameters : int
        Number of weights.
    card : str
        The model card, Markdown.
    folder : Path
        Where it lies.
    sha256 : str
        Of the weights; empty for a model without.
    version : str
        Version of the model.
    shipped : bool
        Whether it came with the package.
    network : mapping
        ``name`` and settings for :func:`napari_vessel.networks.build_network`; empty for ``ridge``.
    settings : mapping
        Everything else in the configuration that the model's kind reads.
    """

    name: str
    title: str
    kind: str
    modalities: tuple[Modality, ...]
    licence: str
    working_scale: Mapping[str, Any]
    threshold: float
    min_size: int
    parameters: int
    card: str
    folder: Path
    sha256: str
    version: str
    shipped: bool = True
    network: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> Path:
        """The file of weights; a name from the configuration is never followed."""
        return self.folder / _WEIGHTS

    @property
    def segmenter(self) -> str:
        """For a completion model: name of the model whose probability it was trained to complete."""
        return str(self.settings.get("segmenter", ""))


def shipped_folder() -> Path:
    """Return the folder of the models that come with the package."""
    return Path(str(resources.files("napari_vessel.models")))


def user_folder() -> Path:
    """Return the folder for the user's own models; it need not exist."""
    chosen = os.environ.get(USER_FOLDER_VARIABLE)
    if chosen:
        return Path(chosen)
    from platformdirs import user_data_dir

    return Path(user_data_dir("napari-vessel", appauthor=False)) / "models"


def _folders() -> dict[str, tuple[Path, bool]]:
    """Return every model's folder by name, shipped ones first; a shipped name cannot be taken over."""
    found: dict[str, tuple[Path, bool]] = {}
    for root, shipped in ((shipped_folder(), True), (user_folder(), False)):
        try:
            inside = sorted(root.iterdir())
        except OSError:
            continue
        for folder in inside:
            if not (folder / "config.json").is_file():
                continue
            if not NAME.fullmatch(folder.name):
                log.warning(
                    "The model folder '%s' is ignored: use lower-case letters, digits, '.', '_' and '-'.", folder
                )
            elif folder.name in found:
                log.warning("The model folder '%s' is ignored: a model of that name is there already.", folder)
            else:
                found[folder.name] = (folder, shipped)
    return found


def model_names() -> list[str]:
    """Return the names of all models, damaged ones too, shipped ones first."""
    return list(_folders())


def list_models() -> list[ModelInfo]:
    """Return every usable model that segments, shipped ones first; a damaged one is logged and left out."""
    return [info for info in usable_models() if info.kind != "completion"]


def completion_models() -> list[ModelInfo]:
    """Return every usable model that completes what a segmenter found, shipped ones first."""
    return [info for info in usable_models() if info.kind == "completion"]


def usable_models() -> list[ModelInfo]:
    """Return every usable model of any kind, shipped ones first; a damaged one is logged and left out."""
    models = []
    for name, (folder, shipped) in _folders().items():
        try:
            models.append(_read_info(name, folder, shipped))
        except ModelError as error:
            log.warning("%s", error)
    return models


def model_info(name: str) -> ModelInfo:
    """Return what is known about one model.

    Raises
    ------
    ModelError
        If there is no such model, or its configuration is damaged.
    """
    folders = _folders()
    if name not in folders:
        raise ModelError(f"There is no model named '{name}'; choose one of: {', '.join(folders)}.")
    return _read_info(name, *folders[name])


def read_model(folder: Path) -> ModelInfo:
    """Return what is known about a model that lies in any folder, one just trained for instance.

    Raises
    ------
    ModelError
        If its configuration is missing or damaged.
    """
    return _read_info(folder.name, folder, shipped=False)


def install_model(folder: Path) -> ModelInfo:
    """Copy a model into the user's folder, where every list of models finds it.

    Parameters
    ----------
    folder : Path
        The model's folder. A model of the user's own with its name is replaced.

    Raises
    ------
    ModelError
        If it is damaged, has a name that no model can have or one that comes with the package has, or cannot be copied.
    """
    info = read_model(folder)
    if not NAME.fullmatch(info.name):
        raise ModelError(
            f"A model cannot be named '{info.name}': rename its folder, and 'name' in its config.json, with lower-case "
            "letters, digits, '.', '_' and '-' only."
        )
    if info.kind != "ridge":
        read_weights(info)
    if (shipped_folder() / info.name / "config.json").is_file():
        raise ModelError(f"A model named '{info.name}' comes with napari-vessel; give yours another name.")
    target = user_folder() / info.name
    fresh, old = (target.with_name(f".{info.name}.{end}") for end in ("new", "old"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for place in (fresh, old):
            if place.exists():
                shutil.rmtree(place)
        fresh.mkdir()
        for name in ("README.md", _WEIGHTS, "config.json"):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, fresh / name)
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise ModelError(
            f"The model '{info.name}' cannot be copied to '{target}' ({error.strerror or error}); make room or ask for "
            "the right to write there."
        ) from error
    return model_info(info.name)


def default_model(modality: Modality) -> str:
    """Return the model to use when none was asked for.

    The smallest shipped network made for the modality, because it is quick on every machine and the larger ones are
    a choice; ``ridge`` where there is none.
    """
    fitting = [
        info
        for info in list_models()
        if info.shipped and info.kind == "network" and modality in info.modalities and info.weights.is_file()
    ]
    return min(fitting, key=lambda info: info.parameters).name if fitting else "ridge"


def default_completion_model(modality: Modality) -> str | None:
    """Return the smallest shipped completion model for a modality, or None."""
    fitting = [info for info in completion_models() if info.shipped and modality in info.modalities]
    return min(fitting, key=lambda info: info.parameters).name if fitting else None


def completion_model_info(name: str) -> ModelInfo:
    """Return what is known about one completion model.

    Raises
    ------
    ModelError
        If there is no such model, it is damaged, or it is one that segments.
    """
    names = ", ".join(info.name for info in completion_models()) or "none is installed"
    if name not in _folders():
        raise ModelError(f"There is no completion model named '{name}'; choose one of: {names}.")
    info = model_info(name)
    if info.kind != "completion":
        raise ModelError(f"The model '{name}' segments and does not complete; choose one of: {names}.")
    return info


def segmenter_of(info: ModelInfo) -> ModelInfo:
    """Return the model whose probability a completion model completes: the one that lies beside it, or is installed.

    Raises
    ------
    ModelError
        If there is none.
    """
    beside = info.folder.parent / info.segmenter
    if (beside / "config.json").is_file() and not info.shipped:
        return read_model(beside)
    return model_info(info.segmenter)


def read_weights(info: ModelInfo) -> bytes:
    """Read a network's weights and check them against the configuration.

    Raises
    ------
    ModelError
        If the file is missing, unreadable, or not the one the configuration names.
    """
    try:
        if info.weights.stat().st_size > LARGEST_WEIGHTS:
            raise ModelError(f"The weights of model '{info.name}' are larger than 2 GiB; they cannot be its own.")
        content = info.weights.read_bytes() if info.weights.is_file() else None
    except OSError as error:
        raise ModelError(
            f"The weights of model '{info.name}' cannot be read ({info.weights}); copy them again."
        ) from error
    if content is None:
        raise ModelError(f"The weights of model '{info.name}' are not there ({info.weights}); copy them again.")
    if hashlib.sha256(content).hexdigest() != info.sha256:
        raise ModelError(
            f"The weights of model '{info.name}' are damaged or were replaced ({info.weights} does not have the "
            "SHA-256 in its config.json); copy them again or choose another model."
        )
    return content


def _read_info(name: str, folder: Path, shipped: bool) -> ModelInfo:
    path = folder / "config.json"
    try:
        config = read_json(path, 1_000_000)
        if not isinstance(config, dict):
            raise ValueError("it is not a JSON object")
        card = _read_card(folder / "README.md")
        return _check_info(config, name, folder, shipped, card)
    except (OSError, *MALFORMED) as error:
        what = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else shortened(error)
        raise ModelError(
            f"The configuration of model '{name}' cannot be used ({what}); correct or replace {path}."
        ) from error


def _read_card(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(1_000_000).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _check_info(config: dict[str, Any], name: str, folder: Path, shipped: bool, card: str) -> ModelInfo:
    if config.get("format") != 1:
        raise ValueError(f"format {shortened(config.get('format'))} is not known to this version of napari-vessel")
    if config["name"] != name:
        raise ValueError(f"it calls itself {shortened(config['name'])}, unlike its folder")
    kind = config["kind"]
    if kind not in KINDS:
        raise ValueError(f"kind {shortened(kind)} is not one of {', '.join(KINDS)}")
    digest = config.get("sha256", "")
    if kind != "ridge" and not (isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest)):
        raise ValueError("sha256 is not 64 hexadecimal digits")
    modalities = config["modalities"]
    if not isinstance(modalities, list) or not modalities:
        raise ValueError("modalities is not a list of names")
    settings = config.get("settings", {})
    if not isinstance(settings, dict):
        raise ValueError("settings is not a JSON object")
    if kind == "completion" and not (
        isinstance(settings.get("segmenter"), str) and NAME.fullmatch(settings["segmenter"])
    ):
        raise ValueError("settings.segmenter does not name the model whose probability it completes")
    return ModelInfo(
        name=name,
        title=_text(config, "title", 200),
        kind=kind,
        modalities=tuple(Modality(m) for m in modalities),
        licence=_text(config, "licence", 2000),
        working_scale=_check_scale(config["working_scale"]),
        threshold=_number(config, "threshold", 0.0, 1.0),
        min_size=int(_number(config, "min_size", 0, 1_000_000)),
        parameters=int(_number(config, "parameters", 0, 10**10)),
        card=card,
        folder=folder,
        sha256=digest if kind != "ridge" else "",
        version=_text(config, "version", 40),
        shipped=shipped,
        network=_check_network(config["network"], kind) if kind != "ridge" else {},
        settings=settings,
    )


def _text(config: Mapping[str, Any], key: str, longest: int) -> str:
    value = config[key]
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"{key} is not a text of at most {longest} characters")
    return value


def _number(config: Mapping[str, Any], key: str, low: float, high: float) -> float:
    value = config[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{key} is not a number from {low} to {high}")
    return float(value)


def _check_scale(scale: Any) -> dict[str, Any]:
    if not isinstance(scale, dict) or scale.get("kind") not in ("field_of_view", "own"):
        raise ValueError("working_scale names neither field_of_view nor own")
    if scale["kind"] == "own":
        return {"kind": "own"}
    px = _number(scale, "px", 64, 4096)
    if "least" not in scale and "most" not in scale:
        return {"kind": "field_of_view", "px": px}
    least, most = _number(scale, "least", 64, px), _number(scale, "most", px, 4096)
    return {"kind": "field_of_view", "px": px, "least": least, "most": most}


def _check_network(network: Any, kind: str) -> dict[str, Any]:
    """Check that a network is small enough to build, before anything is built."""
    if not isinstance(network, dict) or not isinstance(network.get("name"), str):
        raise ValueError("network has no name")
    if (network["name"] in COMPLETION_NETWORKS) != (kind == "completion"):
        raise ValueError(f"a network named {shortened(network['name'])} cannot be of kind {kind!r}")
    channels = network.get("channels")
    if not (isinstance(channels, list) and 2 <= len(channels) <= 8):
        raise ValueError("network.channels is not a list of 2 to 8 numbers")
    if any(not _is_whole(c, 1, 1024) for c in channels):
        raise ValueError("network.channels holds something other than whole numbers from 1 to 1024")
    if network.get("in_channels") not in (1, 3):
        raise ValueError("network.in_channels is neither 1 nor 3")
    options = NETWORKS[network["name"]].options if network["name"] in NETWORKS else {}
    for name, most in options.items():
        if name in network and not _is_whole(network[name], 1, most):
            raise ValueError(f"network.{name} is not a whole number from 1 to {most}")
    unknown = set(network) - {"name", "channels", "in_channels", *options}
    if unknown:
        raise ValueError(f"network has an unknown setting {shortened(sorted(unknown)[0])}")
    return dict(network)


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
