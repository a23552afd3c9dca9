"""Reading images and labels: axes, dtypes, formats, and what is said of a file that does not fit."""

import imagecodecs
import numpy as np
import pytest
import tifffile

from tests.ome_zarr import write_image
from unet_fast.data import image_files, read_image, read_labels, read_stack
from unet_fast.data.images import read_label_stack, read_planes


def ramp(shape, dtype=np.uint8):
    return (np.arange(np.prod(shape)) % 250).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("suffix", ["tif", "TIFF", "npy"])
def test_keeps_dtype(tmp_path, dtype, suffix):
    image = ramp((5, 7), dtype)
    path = tmp_path / f"a.{suffix}"
    np.save(path, image) if suffix == "npy" else tifffile.imwrite(path, image)
    read = read_image(path)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, image[None])


@pytest.mark.parametrize(
    ("stored", "kept"),
    [
        (np.array([[False, True]]), np.uint8),
        (np.array([[0, 65535]], dtype=np.int32), np.uint16),
        (np.array([[-1, 3]], dtype=np.int16), np.float32),
        (np.array([[0, 65536]], dtype=np.uint32), np.float32),
        (np.array([[0.5, 3]], dtype=np.float64), np.float32),
        (np.array([[1, 2]], dtype=">u2"), np.uint16),
    ],
)
def test_converts_other_dtypes_without_rescaling(tmp_path, stored, kept):
    np.save(tmp_path / "a.npy", stored)
    read = read_image(tmp_path / "a.npy")
    assert read.dtype == kept
    assert read.dtype.isnative
    np.testing.assert_array_equal(read[0], stored)


@pytest.mark.parametrize(
    ("shape", "axes", "wanted"),
    [
        ((4, 5, 6), "CYX", (1, 4, 5, 6)),
        ((4, 5, 6), "ZYX", (4, 1, 5, 6)),
        ((4, 5, 6), "TYX", (4, 1, 5, 6)),
        ((2, 3, 5, 6), "TCYX", (2, 3, 5, 6)),
        ((2, 3, 5, 6), "ZCYX", (2, 3, 5, 6)),
        ((2, 3, 4, 5, 6), "TZCYX", (6, 4, 5, 6)),
    ],
)
def test_axes_of_imagej(tmp_path, shape, axes, wanted):
    image = ramp(shape, np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", image, imagej=True, metadata={"axes": axes})
    np.testing.assert_array_equal(read_stack(tmp_path / "a.tif"), image.reshape(wanted))


def test_channels_that_come_before_the_planes(tmp_path):
    image = ramp((3, 2, 5, 6))
    tifffile.imwrite(tmp_path / "a.ome.tif", image, ome=True, metadata={"axes": "CZYX"}, photometric="minisblack")
    np.testing.assert_array_equal(read_stack(tmp_path / "a.ome.tif"), image.swapaxes(0, 1))


def test_pages_without_a_name_are_planes_or_the_wanted_channels(tmp_path):
    pages = ramp((3, 5, 6))
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    assert read_planes(tmp_path / "a.tif").unnamed == "planes"
    np.testing.assert_array_equal(read_stack(tmp_path / "a.tif"), pages[:, None])
    np.testing.assert_array_equal(read_stack(tmp_path / "a.tif", channels=2), pages[:, None])
    np.testing.assert_array_equal(read_stack(tmp_path / "a.tif", channels=3), pages[None])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", channels=3), pages)


def test_named_planes_never_become_channels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", ramp((3, 5, 6)), imagej=True, metadata={"axes": "ZYX"})
    assert read_stack(tmp_path / "a.tif", channels=3).shape == (3, 1, 5, 6)


def test_colour(tmp_path):
    image = ramp((5, 6, 3))
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb")
    imagecodecs.imwrite(tmp_path / "a.png", image)
    np.save(tmp_path / "a.npy", image)
    for suffix in ("tif", "png", "npy"):
        np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), image.transpose(2, 0, 1))


def test_drops_alpha(tmp_path):
    image = ramp((5, 6, 4))
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", extrasamples=["unassalpha"])
    imagecodecs.imwrite(tmp_path / "a.png", image)
    tifffile.imwrite(tmp_path / "grey.tif", image[..., :2], extrasamples=["unassalpha"], planarconfig="contig")
    for name, channels in (("a.tif", 3), ("a.png", 3), ("grey.tif", 1)):
        np.testing.assert_array_equal(read_image(tmp_path / name), image.transpose(2, 0, 1)[:channels])


def test_pictures(tmp_path):
    image = ramp((16, 17))
    imagecodecs.imwrite(tmp_path / "a.png", image)
    imagecodecs.imwrite(tmp_path / "deep.png", image.astype(np.uint16) * 200)
    imagecodecs.imwrite(tmp_path / "a.jpg", image, level=100)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], image)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png")[0], image.astype(np.uint16) * 200)
    assert np.abs(read_image(tmp_path / "a.jpg")[0].astype(int) - image).max() < 8


def test_grey_that_a_format_stores_as_colour_is_one_channel(tmp_path):
    image = ramp((8, 9))
    (tmp_path / "a.gif").write_bytes(imagecodecs.gif_encode(image))
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif"), image[None])


def test_compressed_and_tiled_tiff(tmp_path):
    image = ramp((3, 100, 90), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack", compression="lzw", tile=(32, 32))
    np.testing.assert_array_equal(read_stack(tmp_path / "a.tif")[:, 0], image)


def test_thumbnail_is_left_out(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(ramp((20, 30)), photometric="minisblack")
        file.write(ramp((5, 6)), photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0], ramp((20, 30)))


@pytest.mark.parametrize(
    "stored",
    [
        np.array([[0, 1], [1, 0]], dtype=bool),
        np.array([[0, 200], [7, 0]], dtype=np.uint8),
        np.array([[0, 70000], [7, 0]], dtype=np.int32),
        np.array([[0, 2000], [7, -1]], dtype=np.int64),
        np.array([[0, 3], [7, 0]], dtype=np.float32),
    ],
)
def test_labels_are_whole_numbers_as_stored(tmp_path, stored):
    np.save(tmp_path / "a.npy", stored)
    read = read_labels(tmp_path / "a.npy")
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, stored)
    assert read_label_stack(tmp_path / "a.npy").stored == stored.dtype.name


def test_three_pages_of_labels_are_no_colours(tmp_path):
    pages = ramp((3, 5, 6))
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_label_stack(tmp_path / "a.tif").codes, pages)


def test_colours_of_labels_are_numbers(tmp_path):
    picture = np.zeros((4, 5, 3), dtype=np.uint8)
    picture[1, 2] = (1, 2, 3)
    imagecodecs.imwrite(tmp_path / "a.png", picture)
    labels = read_label_stack(tmp_path / "a.png")
    assert labels.stored == "colours"
    assert labels.codes[0, 1, 2] == 0x010203
    assert np.count_nonzero(labels.codes) == 1


def test_grey_labels_stored_as_colour(tmp_path):
    labels = ramp((5, 6))
    imagecodecs.imwrite(tmp_path / "a.png", np.stack([labels] * 3 + [np.full_like(labels, 255)], axis=-1))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), labels)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1 + 2j]]), "a.npy: wanted an image of real numbers, got complex128"),
        (np.array([[1.0, np.nan]]), "a.npy: wanted finite values, got nan or infinity"),
        (np.zeros((0, 4)), r"a.npy: wanted at least one pixel, got shape \(1, 1, 0, 4\)"),
        (np.zeros(4), "a.npy: cannot be read as an image: wanted an array of 2, 3 or 4 axes"),
        (np.zeros((3, 4, 5)), "a.npy: wanted one image, got a stack of 3 planes"),
    ],
)
def test_image_errors(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[0.25, 0.5]]), "wanted whole numbers as labels, got 0.25"),
        (np.array([[0, 2**31]]), "wanted labels up to 2147483647, got 0..2147483648"),
        (np.array([["a"]]), "wanted whole numbers as labels, got str"),
        (np.zeros((2, 4, 4), np.uint8), "wanted one label image, got a stack of 2"),
        (
            np.arange(60, dtype=np.uint16).reshape(5, 4, 3),
            "wanted a label image of one channel, got 3 channels of uint16",
        ),
    ],
)
def test_label_errors(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match="a.npy: " + message):
        read_labels(tmp_path / "a.npy")


def test_unreadable_files(tmp_path):
    for name in ("a.tif", "a.png", "a.npy"):
        (tmp_path / name).write_bytes(b"this is no image")
        with pytest.raises(ValueError, match=f"{name}: cannot be read as an image: "):
            read_image(tmp_path / name)
    with pytest.raises(ValueError, match=r"a\.nd2: wanted a file of \.tif"):
        (tmp_path / "a.nd2").touch()
        read_image(tmp_path / "a.nd2")
    with pytest.raises(FileNotFoundError, match=r"b\.tif: wanted an image file, found none"):
        read_image(tmp_path / "b.tif")


def test_pages_of_different_sizes(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(ramp((20, 30)), photometric="minisblack")
        file.write(ramp((30, 30)), photometric="minisblack")
    with pytest.raises(ValueError, match=r"a\.tif: cannot be read as an image: it holds 2 images of different shapes"):
        read_stack(tmp_path / "a.tif")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path, version):
    pytest.importorskip("zarr")
    pixels = ramp((2, 3, 4, 20, 30), np.uint16)
    write_image(tmp_path / "a.ome.zarr", version, pixels, "TCZYX")
    stack = read_stack(tmp_path / "a.ome.zarr")
    assert stack.dtype == np.uint16
    np.testing.assert_array_equal(stack, pixels.swapaxes(1, 2).reshape(8, 3, 20, 30))
    write_image(tmp_path / "labels.zarr", version, pixels[0, 0, 0].astype(np.uint32), "YX")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.zarr"), pixels[0, 0, 0])


def test_a_zarr_group_without_an_image(tmp_path):
    pytest.importorskip("zarr").create_group(tmp_path / "a.zarr")
    with pytest.raises(ValueError, match=r"^\S*a\.zarr: cannot be read as an OME-Zarr image: 'multiscales'"):
        read_stack(tmp_path / "a.zarr")


def test_image_files_are_listed_in_natural_order(tmp_path):
    for name in ("t10.tif", "t2.TIF", ".t1.tif", "notes.txt", "t1.png"):
        (tmp_path / name).touch()
    for name in ("t3.ome.zarr", "t4"):
        (tmp_path / name).mkdir()
    (tmp_path / "t3.ome.zarr" / "zarr.json").touch()
    assert [path.name for path in image_files(tmp_path)] == ["t1.png", "t2.TIF", "t3.ome.zarr", "t10.tif"]
