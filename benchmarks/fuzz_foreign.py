"""Data sets as other programs write them, for fuzz.py: forms that our own exports do not have."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.images.writing import write_json


def write_foreign(folder: Path, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    """Write a folder for each form.

    Parameters
    ----------
    folder : Path
        Where.
    pixels, labels : ndarray of uint8, shape (Y, X)
        An image and its mask, 0 and 1.
    """
    _coco(folder / "coco-others", pixels)
    _decathlon(folder / "decathlon", pixels, labels)
    _zarr_2(folder / "zarr-2", pixels, labels)
    _zarr_3(folder / "zarr-3", pixels, labels)


def _coco(folder: Path, pixels: NDArray[np.uint8]) -> None:
    import cv2

    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    cv2.imwrite(str(folder / "images" / "eye.png"), pixels)
    height, width = pixels.shape
    plain = {"size": [height, width], "counts": [height, 3, 2, 4, height * width - height - 9]}
    outline = [5.5, 6.0, 30.0, 6.0, 30.0, 9.5, 5.5, 9.5]
    annotations = [
        {"id": 1, "image_id": 7, "category_id": 3, "segmentation": [outline], "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 9, "segmentation": [outline[:6], outline], "iscrowd": 0},
        {"id": 3, "image_id": 7, "category_id": 9, "segmentation": plain, "iscrowd": 0},
        {"id": 4, "image_id": 7, "category_id": 3, "segmentation": plain, "iscrowd": 1},
    ]
    write_json(
        folder / "annotations" / "instances_train2017.json",
        {
            "images": [{"id": 7, "file_name": "eye.png", "height": height, "width": width}],
            "categories": [{"id": 3, "name": "artery"}, {"id": 9, "name": "vein"}],
            "annotations": annotations,
        },
    )


def _decathlon(folder: Path, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    import cv2

    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / name).mkdir(parents=True)
    cv2.imwrite(str(folder / "imagesTr" / "eye.png"), pixels)
    cv2.imwrite(str(folder / "labelsTr" / "eye.png"), labels)
    cv2.imwrite(str(folder / "imagesTs" / "other.png"), pixels[::-1])
    write_json(
        folder / "dataset.json",
        {
            "labels": {"0": "background", "1": "vessel"},
            "training": [{"image": "./imagesTr/eye.png", "label": "./labelsTr/eye.png"}],
            "test": ["./imagesTs/other.png"],
        },
    )


def _multiscales(name: str) -> list[dict[str, Any]]:
    axes = [{"name": axis, "type": "space", "unit": "millimeter"} for axis in "yx"]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.01, 0.02]}]}
    return [{"name": name, "axes": axes, "datasets": [level]}]


def _zarr_2(folder: Path, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    """Write Blosc and Zstandard, names of chunks with dots, and rims that reach beyond the image."""
    import imagecodecs

    def array(place: Path, values: NDArray[np.uint8], codec: str) -> None:
        side = 32
        encode = {"blosc": imagecodecs.blosc_encode, "zstd": imagecodecs.zstd_encode}[codec]
        place.mkdir(parents=True)
        write_json(
            place / ".zarray",
            {
                "zarr_format": 2,
                "shape": list(values.shape),
                "chunks": [side, side],
                "dtype": "|u1",
                "compressor": {"id": codec},
                "fill_value": 0,
                "order": "C",
                "filters": None,
            },
        )
        for y in range(0, values.shape[0], side):
            for x in range(0, values.shape[1], side):
                part = values[y : y + side, x : x + side]
                whole = np.pad(part, [(0, side - part.shape[0]), (0, side - part.shape[1])])
                (place / f"{y // side}.{x // side}").write_bytes(encode(whole.tobytes()))

    def group(place: Path, attributes: Mapping[str, Any]) -> None:
        place.mkdir(parents=True, exist_ok=True)
        write_json(place / ".zgroup", {"zarr_format": 2})
        write_json(place / ".zattrs", dict(attributes))

    image = folder / "eye.zarr"
    group(image, {"multiscales": _multiscales("eye")})
    array(image / "0", pixels, "blosc")
    group(image / "labels", {"labels": ["vessels"]})
    group(image / "labels" / "vessels", {"multiscales": _multiscales("vessels")})
    array(image / "labels" / "vessels" / "0", labels, "zstd")


def _zarr_3(folder: Path, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    def array(place: Path, values: NDArray[Any]) -> None:
        (place / "c" / "0").mkdir(parents=True)
        (place / "c" / "0" / "0").write_bytes(gzip.compress(values.astype(">u2").tobytes(), mtime=0))
        write_json(
            place / "zarr.json",
            {
                "zarr_format": 3,
                "node_type": "array",
                "shape": list(values.shape),
                "data_type": "uint16",
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(values.shape)}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "fill_value": 0,
                "codecs": [
                    {"name": "bytes", "configuration": {"endian": "big"}},
                    {"name": "gzip", "configuration": {"level": 5}},
                ],
            },
        )

    def group(place: Path, attributes: Mapping[str, Any]) -> None:
        place.mkdir(parents=True, exist_ok=True)
        told = {"ome": {"version": "0.5", **attributes}}
        write_json(place / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": told})

    image = folder / "eye.zarr"
    group(image, {"multiscales": _multiscales("eye")})
    array(image / "0", pixels.astype(np.uint16) * 257)
    group(image / "labels", {"labels": ["vessels"]})
    group(image / "labels" / "vessels", {"multiscales": _multiscales("vessels")})
    array(image / "labels" / "vessels" / "0", labels)
