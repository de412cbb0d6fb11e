"""Every format people have, every bad file people have."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import dask.array
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from napari_vessel.errors import InputError
from napari_vessel.images import Modality
from napari_vessel.images.decoding import decode
from napari_vessel.images.reading import count_planes, image_from_array, read_image

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (20, 30), np.uint8)
RGB = RNG.integers(0, 256, (20, 30, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (20, 30), np.uint16)
DEEP_RGB = RNG.integers(0, 65536, (20, 30, 3), np.uint16)


def write(folder: Path, name: str, array: np.ndarray, **options: object) -> Path:
    path = folder / name
    if path.suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, array, **options)
    else:
        Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm", "a.bmp", "a.gif"])
def test_grey_8_bit_keeps_every_value(tmp_path: Path, name: str) -> None:
    image = read_image(write(tmp_path, name, GREY))
    np.testing.assert_allclose(image.pixels, GREY / 255, atol=1e-6)
    assert image.pixels.dtype == np.float32
    assert "8-bit values divided by 255" in image.notes
    assert image.plane is None


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.ppm", "a.bmp"])
def test_colour_8_bit_keeps_every_value_and_order(tmp_path: Path, name: str) -> None:
    image = read_image(write(tmp_path, name, RGB))
    np.testing.assert_allclose(image.pixels, RGB / 255, atol=1e-6)


def test_jpeg_is_read_close_to_what_was_written(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.linspace(20, 220, 64).astype(np.uint8)[:, None], (64, 80)).copy()
    image = read_image(write(tmp_path, "a.jpg", smooth, quality=95))
    assert image.shape == (64, 80)
    assert np.abs(image.pixels - smooth / 255).max() < 0.03


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("array", [DEEP, DEEP_RGB], ids=["grey", "colour"])
def test_16_bit_is_not_reduced_to_8(tmp_path: Path, name: str, array: np.ndarray) -> None:
    path = tmp_path / name
    if name == "a.png":
        import cv2

        cv2.imwrite(str(path), array if array.ndim == 2 else array[..., ::-1])
    else:
        tifffile.imwrite(path, array)
    image = read_image(path)
    np.testing.assert_allclose(image.pixels, array / 65535, atol=1e-6)
    assert "16-bit values divided by 65535" in image.notes


def test_12_bit_data_in_16_bits_is_divided_by_4095(tmp_path: Path) -> None:
    array = np.clip(DEEP // 16, 300, 4095).astype(np.uint16)
    image = read_image(write(tmp_path, "a.tif", array))
    np.testing.assert_allclose(image.pixels, array / 4095, atol=1e-6)
    assert any("4095" in note for note in image.notes)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "packbits", "zstd"])
def test_compressed_tiff(tmp_path: Path, compression: str) -> None:
    image = read_image(write(tmp_path, "a.tif", GREY, compression=compression))
    np.testing.assert_allclose(image.pixels, GREY / 255, atol=1e-6)


def test_floats_in_0_1_are_kept_and_others_stretched(tmp_path: Path) -> None:
    inside = (GREY / 510).astype(np.float32)
    assert np.array_equal(read_image(write(tmp_path, "a.tif", inside)).pixels, inside)
    outside = read_image(write(tmp_path, "b.tif", inside * 40 - 7))
    assert outside.pixels.min() == 0
    assert outside.pixels.max() == 1
    assert any("stretched" in note for note in outside.notes)


def test_rgba_drops_alpha_and_says_so(tmp_path: Path) -> None:
    rgba = np.dstack([RGB, GREY])
    image = read_image(write(tmp_path, "a.png", rgba))
    np.testing.assert_allclose(image.pixels, RGB / 255, atol=1e-6)
    assert "alpha channel ignored" in image.notes


def test_palette_becomes_its_colours(tmp_path: Path) -> None:
    indices = RNG.integers(0, 3, (20, 20), np.uint8)
    palette = np.array([[200, 10, 0], [0, 90, 20], [5, 6, 250]], np.uint8)
    picture = Image.fromarray(indices)
    picture.putpalette(palette.tobytes())
    picture.save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png").pixels, palette[indices] / 255, atol=1e-6)


def test_tiff_palette_and_white_is_zero(tmp_path: Path) -> None:
    colormap = np.zeros((3, 256), np.uint16)
    colormap[0] = np.arange(256) * 257
    path = write(tmp_path, "p.tif", GREY, photometric="palette", colormap=colormap)
    assert np.array_equal(np.rint(read_image(path).pixels[..., 0] * 255), GREY)
    path = write(tmp_path, "p8.tif", GREY, photometric="palette", colormap=colormap // 257)
    assert np.array_equal(np.rint(read_image(path).pixels[..., 0] * 255), GREY)
    path = write(tmp_path, "w.tif", GREY, photometric="miniswhite")
    assert np.array_equal(np.rint(read_image(path).pixels * 255), 255 - GREY)


@pytest.mark.parametrize(("bits", "dtype"), [(4, np.uint8), (8, np.uint8), (12, np.uint16), (16, np.uint16)])
def test_white_is_zero_inverts_within_the_bits_of_the_file(tmp_path: Path, bits: int, dtype: type) -> None:
    most = (1 << bits) - 1
    stored = RNG.integers(0, most, (20, 30), endpoint=True).astype(dtype)
    path = write(tmp_path, "w.tif", stored, photometric="miniswhite", bitspersample=bits)
    assert np.array_equal(decode(path).array, most - stored)


def test_pages_of_a_tiff_are_read_one_by_one(tmp_path: Path) -> None:
    stack = RNG.integers(0, 256, (5, 20, 30), np.uint8)
    path = write(tmp_path, "stack.tif", stack, photometric="minisblack")
    assert count_planes(path) == 5
    hashes = set()
    for plane in range(5):
        image = read_image(path, plane=plane)
        assert np.array_equal(np.rint(image.pixels * 255), stack[plane])
        assert image.stem == f"stack_p{plane:03d}"
        assert image.content_hash.endswith(f"#{plane}")
        hashes.add(image.content_hash)
    assert len(hashes) == 5
    assert read_image(path).plane == 0
    with pytest.raises(InputError, match="no page 6"):
        read_image(path, plane=5)


def test_pages_of_different_sizes(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(GREY)
        tiff.write(RGB[:18, :19])
    assert count_planes(path) == 2
    assert read_image(path, plane=1).pixels.shape == (18, 19, 3)


def test_pages_of_a_gif(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((20, 20), v, np.uint8)) for v in (10, 90, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert count_planes(tmp_path / "a.gif") == 3
    assert np.rint(read_image(tmp_path / "a.gif", plane=2).pixels[0, 0] * 255) == 200


@pytest.mark.parametrize("axes", ["ZYX", "TYX"])
def test_ome_tiff_gives_spacing_and_planes(tmp_path: Path, axes: str) -> None:
    stack = RNG.integers(0, 256, (3, 20, 30), np.uint8)
    sizes = {"axes": axes, "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 800.0}
    sizes["PhysicalSizeYUnit"] = "nm"
    path = write(tmp_path, "a.ome.tif", stack, metadata=sizes)
    image = read_image(path, plane=1)
    assert image.spacing == pytest.approx((0.8, 0.5))
    assert np.array_equal(np.rint(image.pixels * 255), stack[1])


def test_every_image_of_an_ome_tiff_has_its_own_spacing(tmp_path: Path) -> None:
    stack = RNG.integers(0, 256, (2, 24, 18), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(GREY, metadata={"axes": "YX", "PhysicalSizeX": 1, "PhysicalSizeY": 2})
        file.write(stack, metadata={"axes": "ZYX"}, photometric="minisblack")
        file.write(RGB, metadata={"axes": "YXS", "PhysicalSizeX": 3, "PhysicalSizeY": 4}, photometric="rgb")
    found = [read_image(tmp_path / "a.ome.tif", plane=plane).spacing for plane in range(4)]
    assert found == [(2, 1), None, None, (4, 3)]


def test_imagej_tiff_gives_spacing(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tif", GREY, imagej=True, resolution=(2.0, 4.0), metadata={"unit": "um"})
    assert read_image(path).spacing == pytest.approx((0.25, 0.5))
    assert read_image(write(tmp_path, "b.tif", GREY, resolution=(300, 300))).spacing is None


@pytest.mark.parametrize("unit", [r"\u00B5m", r"\u00b5m", "\xb5m", "micron", "micrometer"])
def test_imagej_writes_a_micrometre_in_many_ways(tmp_path: Path, unit: str) -> None:
    about = f"ImageJ=1.54f\nunit={unit}\n".encode("latin1")
    path = write(tmp_path, "a.tif", GREY, description=about, resolution=(2, 4), resolutionunit=1, metadata=None)
    assert read_image(path).spacing == pytest.approx((0.25, 0.5))


@pytest.mark.parametrize("unit", ['"&#181;m"', '"&#xB5;m"', "'um'", '"&#956;m"'])
def test_ome_writes_a_micrometre_in_many_ways(tmp_path: Path, unit: str) -> None:
    about = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="30" SizeY="20" SizeC="1" SizeZ="1" SizeT="1" '
        f"PhysicalSizeX=\"0.5\" PhysicalSizeXUnit={unit} PhysicalSizeY='0.25' PhysicalSizeYUnit={unit}>"
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData/></Pixels></Image></OME>'
    )
    assert read_image(write(tmp_path, "a.ome.tif", GREY, description=about, metadata=None)).spacing == (0.25, 0.5)


def test_channel_first_tiff_is_read_as_colour(tmp_path: Path) -> None:
    first = np.moveaxis(RGB, -1, 0)
    path = write(tmp_path, "a.ome.tif", first, photometric="minisblack", metadata={"axes": "CYX"})
    image = read_image(path)
    np.testing.assert_allclose(image.pixels, RGB / 255, atol=1e-6)
    planar = write(tmp_path, "b.tif", first, photometric="rgb", planarconfig="separate")
    np.testing.assert_allclose(read_image(planar).pixels, RGB / 255, atol=1e-6)


def test_two_channels_and_volumes_are_refused(tmp_path: Path) -> None:
    two = write(tmp_path, "two.ome.tif", RGB[..., :2].transpose(2, 0, 1).copy(), metadata={"axes": "CYX"})
    with pytest.raises(InputError, match=r"two\.ome\.tif has 2 channels"):
        read_image(two)
    five = write(tmp_path, "five.tif", np.zeros((2, 3, 3, 20, 20), np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match=r"five\.tif is a 5-D volume"):
        read_image(five)


def test_exif_orientation_is_not_applied_but_noted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = write(tmp_path, "a.jpg", np.full((20, 40, 3), 90, np.uint8), exif=exif)
    image = read_image(path)
    assert image.shape == (20, 40)
    assert any("orientation 6" in note for note in image.notes)


def test_nans_are_filled_and_left_out_of_the_field(tmp_path: Path) -> None:
    array = (GREY / 255).astype(np.float32)
    array[3, 4] = np.nan
    array[5, 6] = np.inf
    image = read_image(write(tmp_path, "a.tif", array))
    assert np.isfinite(image.pixels).all()
    assert image.fov is not None
    assert {tuple(p) for p in np.argwhere(~image.fov)} == {(3, 4), (5, 6)}
    assert image.pixels[3, 4] == pytest.approx(np.median(array[np.isfinite(array)]))
    assert any(note.startswith("2 pixels") for note in image.notes)


def test_hash_is_of_the_files_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, "a.png", GREY)
    assert read_image(path).content_hash == hashlib.sha256(path.read_bytes()).hexdigest()


def test_constant_picture_is_allowed(tmp_path: Path) -> None:
    image = read_image(write(tmp_path, "a.png", np.full((20, 20), 7, np.uint8)))
    assert np.ptp(image.pixels) == 0
    assert image.modality is Modality.OTHER


def test_field_of_view_from_file_and_folder(tmp_path: Path) -> None:
    field = np.zeros((20, 30), np.uint8)
    field[2:15, 3:20] = 255
    path = write(tmp_path, "01_test.tif", RGB)
    folder = tmp_path / "mask"
    folder.mkdir()
    mask = write(folder, "01_test_mask.gif", field)
    for fov in (mask, folder, str(mask)):
        image = read_image(path, fov=fov)
        assert image.fov is not None
        assert np.array_equal(image.fov, field > 0)
    assert read_image(path, fov="none").fov is None
    wrong = write(tmp_path, "wrong.png", field[:, :20])
    with pytest.raises(InputError, match=r"20 x 20 px but its image is 20 x 30"):
        read_image(path, fov=wrong)
    with pytest.raises(InputError, match="No field of view"):
        read_image(write(tmp_path, "99.png", GREY), fov=folder)


BAD = {
    "empty.png": b"",
    "text.png": b"this is a letter, not a picture",
    "text.tif": b"this is a letter, not a picture",
    "cut.png": b"\x89PNG\r\n\x1a\n",
    "header.tif": b"II*\0\x08\0\0\0",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bytes_are_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(BAD[name])
    with pytest.raises(InputError) as caught:
        read_image(path)
    message = str(caught.value)
    assert name in message
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.tif", "a.ppm", "a.bmp"])
def test_truncated_files_are_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, RNG.integers(0, 256, (80, 90, 3), np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut short|damaged"):
        read_image(path)


def test_truncated_jpeg_is_refused_whatever_pillow_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "a.jpg", RGB)
    path.write_bytes(path.read_bytes()[:-200])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(InputError, match="cut short"):
        read_image(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_too_small_too_large_all_nan_folder_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 16"):
        read_image(write(tmp_path, "one.png", np.zeros((1, 1), np.uint8)))
    with pytest.raises(InputError, match="every value is NaN"):
        read_image(write(tmp_path, "nan.tif", np.full((20, 20), np.nan, np.float32)))
    with pytest.raises(InputError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_image(tmp_path / "none.png")
    bomb = io.BytesIO()
    Image.new("1", (20_001, 20_001)).save(bomb, "PNG")
    (tmp_path / "bomb.png").write_bytes(bomb.getvalue())
    with pytest.raises(InputError, match=r"20,001 x 20,001 pixels, more than"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission_is_a_sentence(tmp_path: Path) -> None:
    path = write(tmp_path, "a.png", GREY)
    path.chmod(0)
    with pytest.raises(InputError, match="permission denied"):
        read_image(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    suffix=st.sampled_from([".png", ".jpg", ".gif", ".tif", ".ppm", ".bmp"]),
    cuts=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6),
    keep=st.floats(0.05, 1.0),
)
def test_garbage_never_crashes(tmp_path: Path, suffix: str, cuts: list[tuple[float, int]], keep: float) -> None:
    """Bytes flipped and cut anywhere: an image of a usable shape, or an InputError; never anything else."""
    path = write(tmp_path, f"a{suffix}", GREY)
    data = bytearray(path.read_bytes())
    for where, value in cuts:
        data[int(where * len(data))] = value
    path.write_bytes(bytes(data[: max(1, int(keep * len(data)))]))
    try:
        image = read_image(path)
    except InputError:
        # The one error allowed.
        image = None
    if image is not None:
        assert min(image.shape) >= 16
        assert np.isfinite(image.pixels).all()


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([np.uint8, np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64, np.bool_]),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_any_array_ends_up_in_0_1(dtype: type, seed: int, colour: bool) -> None:
    rng = np.random.default_rng(seed)
    shape = (17, 19, 3) if colour else (17, 19)
    array = (rng.standard_normal(shape) * 10 ** rng.uniform(-2, 6)).astype(np.float64)
    if np.dtype(dtype).kind == "u":
        array = np.abs(array)
    image = image_from_array(array.astype(dtype))
    assert image.pixels.dtype == np.float32
    assert image.pixels.shape == shape
    assert 0 <= image.pixels.min() <= image.pixels.max() <= 1


def test_arrays_lazy_and_odd() -> None:
    lazy = dask.array.from_array(RGB, chunks=(7, 7, 3))
    image = image_from_array(lazy, spacing=(2.0, 3.0), modality=Modality.OTHER)
    assert np.array_equal(image.pixels, image_from_array(RGB, modality=Modality.OTHER).pixels)
    assert image.content_hash == image_from_array(RGB).content_hash
    assert image.content_hash != image_from_array(RGB.astype(np.uint16)).content_hash
    assert image.spacing == (2.0, 3.0)
    with pytest.raises(InputError, match="move the channels last"):
        image_from_array(np.moveaxis(RGB, -1, 0))
    with pytest.raises(InputError, match="one 2-D plane"):
        image_from_array(np.zeros((2, 3, 20, 20)))
    with pytest.raises(InputError, match="called colour"):
        image_from_array(GREY, rgb=True)
    with pytest.raises(InputError, match="real numbers"):
        image_from_array(GREY.astype(complex), name="layer")
    # A lazy array too large to hold is refused before anything is computed.
    with pytest.raises(InputError, match="cut it into parts"):
        image_from_array(dask.array.zeros((30_000, 30_000), dtype=np.uint8))


@pytest.mark.parametrize("array", [DEEP // 2, DEEP_RGB, DEEP.astype(np.int32), (DEEP / 7).astype(np.float32)])
def test_the_byte_order_of_an_array_changes_nothing(array: np.ndarray) -> None:
    image, swapped = (image_from_array(array.astype(array.dtype.newbyteorder(order))) for order in "<>")
    assert np.array_equal(swapped.pixels, image.pixels)
    assert swapped.notes == image.notes


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("eye 7 (left)", "eye_7_left"),
        ("../../etc/passwd", "etc_passwd"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("mouse-3.b", "mouse-3.b"),
    ],
)
def test_an_array_with_a_name_is_called_by_it(name, stem):
    image = image_from_array(GREY, name=name)
    assert image.name == name
    assert image.stem == stem
    assert image_from_array(GREY, name=name, plane=4).stem == f"{stem}_p004"


@pytest.mark.parametrize("name", ["", "...", "血管"])
def test_an_array_without_a_usable_name_is_called_by_its_hash(name):
    image = image_from_array(GREY, name=name)
    assert image.stem == image.content_hash[:12]


def test_a_file_is_called_by_its_own_name(tmp_path):
    image = image_from_array(GREY, name="layer", source=tmp_path / "01_left.png")
    assert image.stem == "01_left"


@pytest.mark.skipif(os.name == "nt", reason="pipes with names are POSIX")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "endless.tif").symlink_to("/dev/zero")
    for name in ("pipe.png", "endless.tif"):
        for read in (read_image, count_planes):
            with pytest.raises(InputError, match="a pipe or a device"):
                read(tmp_path / name)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("to", ["itself", "the first"])
def test_a_tiff_whose_pages_never_end_is_refused(tmp_path: Path, big: bool, to: str) -> None:
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path, bigtiff=big) as tiff:
        for _ in range(3):
            tiff.write(GREY, contiguous=False)
    with tifffile.TiffFile(path) as tiff:
        places = [page.offset for page in tiff.pages]
    data = bytearray(path.read_bytes())
    count, entry, size = (8, 20, 8) if big else (2, 12, 4)
    entries = int.from_bytes(data[places[-1] : places[-1] + count], "little")
    after = places[-1] + count + entry * entries
    assert data[after : after + size] == bytes(size)
    data[after : after + size] = places[-1 if to == "itself" else 0].to_bytes(size, "little")
    path.write_bytes(data)
    for read in (read_image, count_planes):
        with pytest.raises(InputError, match="never come to an end"):
            read(path)
