"""Windows of files: the same pixels as the whole file holds, whatever its format; and what cannot be read."""

import numpy as np
import pytest
import tifffile

from unet_fast.data import PixelSize, read_stack
from unet_fast.data.images import read_image
from unet_fast.prediction import tiff
from unet_fast.prediction.arrays import FileArray
from unet_fast.prediction.source import open_source
from unet_fast.prediction.tiff import TiffArray

WINDOWS = [(slice(0, 70), slice(0, 83)), (slice(5, 6), slice(7, 8)), (slice(13, 69), slice(30, 83))]


def noise(shape, dtype=np.uint16):
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 250, shape).astype(dtype)


def assert_reads_windows(path, channels=None):
    source, expected = open_source(path, channels), read_stack(path, channels)
    assert (source.planes, source.channels, *source.size) == expected.shape
    assert source.dtype == expected.dtype
    for plane in range(source.planes):
        for rows, columns in WINDOWS:
            found = source.read(plane, rows, columns)
            assert found.dtype == expected.dtype and found.flags.c_contiguous
            np.testing.assert_array_equal(found, expected[plane][:, rows, columns])
        np.testing.assert_array_equal(np.concatenate(list(source.blocks(plane)), axis=1), expected[plane])
    return source


FORMS = {
    "whole": {},
    "strips": {"compression": "zlib", "rowsperstrip": 16},
    "predictor": {"compression": "lzw", "rowsperstrip": 7, "predictor": True},
    "tiles": {"compression": "zstd", "tile": (32, 48)},
    "uncompressed tiles": {"tile": (32, 16)},
    "BigTIFF": {"bigtiff": True, "tile": (16, 16), "compression": "zlib"},
    "big-endian": {"byteorder": ">"},
    "big-endian strips": {"byteorder": ">", "compression": "zlib", "rowsperstrip": 11},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_one_plane(tmp_path, form, dtype):
    tifffile.imwrite(tmp_path / "a.tif", noise((70, 83), dtype), photometric="minisblack", **FORMS[form])
    source = assert_reads_windows(tmp_path / "a.tif")
    assert isinstance(source.pixels, FileArray if form in {"whole", "big-endian"} else TiffArray)


STACKS = {
    "ZYX": ((3, 70, 83), {}),
    "TZYX": ((2, 3, 70, 83), {}),
    "TZCYX": ((2, 2, 3, 70, 83), {}),
    "CYX": ((2, 70, 83), {}),
    "TCYX": ((4, 2, 70, 83), {}),
    "YXS": ((70, 83, 3), {"photometric": "rgb"}),
    "TYXS": ((2, 70, 83, 3), {"photometric": "rgb"}),
}


@pytest.mark.parametrize("axes", STACKS)
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped"])
def test_stacks(tmp_path, axes, compression, kind):
    shape, options = STACKS[axes]
    metadata = {"axes": axes, **({} if kind != "ome" else {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25})}
    kinds = {} if kind == "shaped" else {kind: True}
    options = {"photometric": "minisblack", **options, **kinds}
    rows = None if compression is None else 16
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise(shape, np.uint8),
        compression=compression,
        rowsperstrip=rows,
        metadata=metadata,
        **options,
    )
    source = assert_reads_windows(tmp_path / "a.tif")
    assert source.plane_axes == "".join(axis for axis in axes if axis in "TZ")
    assert source.pixel_size == (PixelSize(0.25, 0.5, "µm") if kind == "ome" else None)


def test_separate_samples_and_alpha(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", noise((3, 70, 83), np.uint8), photometric="rgb", planarconfig="separate", tile=(32, 32)
    )
    assert_reads_windows(tmp_path / "a.tif")
    tifffile.imwrite(
        tmp_path / "b.tif", noise((70, 83, 4)), photometric="rgb", extrasamples=["unassalpha"], compression="zlib"
    )
    assert assert_reads_windows(tmp_path / "b.tif").channels == 3


def test_pages_are_channels_where_they_are_as_many(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise((2, 70, 83)), photometric="minisblack", metadata=None)
    assert assert_reads_windows(tmp_path / "a.tif").planes == 2
    assert assert_reads_windows(tmp_path / "a.tif", channels=2).planes == 1
    assert assert_reads_windows(tmp_path / "a.tif", channels=3).planes == 2


@pytest.mark.parametrize("shape", [(70, 83), (2, 70, 83), (70, 83, 3), (2, 3, 70, 83)])
@pytest.mark.parametrize("dtype", [np.uint16, np.float64, bool, np.int32])
def test_numpy(tmp_path, shape, dtype):
    np.save(tmp_path / "a.npy", noise(shape, dtype))
    assert_reads_windows(tmp_path / "a.npy", channels=2)
    np.save(tmp_path / "b.npy", np.asfortranarray(noise(shape, dtype)))
    assert_reads_windows(tmp_path / "b.npy")


def test_whole_numbers_that_do_not_fit(tmp_path):
    image = noise((70, 83), np.int32)
    image[60, 3] = -1
    np.save(tmp_path / "a.npy", image)
    assert assert_reads_windows(tmp_path / "a.npy").dtype == np.float32


def test_pictures(tmp_path):
    import imagecodecs

    imagecodecs.imwrite(tmp_path / "a.png", noise((70, 83, 3), np.uint8))
    assert_reads_windows(tmp_path / "a.png")


def test_segments_are_kept_only_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "_CACHE_BYTES", 3000)
    tifffile.imwrite(tmp_path / "a.tif", noise((70, 83)), compression="zlib", tile=(16, 16))
    source = assert_reads_windows(tmp_path / "a.tif")
    assert 0 < source.pixels._cached <= 3000
    assert source.pixels._cached == sum(segment.nbytes for segment in source.pixels._cache.values())


@pytest.mark.parametrize(("zarr_format", "version"), [(2, "0.4"), (3, "0.5")])
def test_ome_zarr(tmp_path, zarr_format, version):
    zarr = pytest.importorskip("zarr")
    pixels = noise((2, 1, 3, 70, 83))
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="w", zarr_format=zarr_format)
    array = group.create_array("0", shape=pixels.shape, chunks=(1, 1, 1, 32, 32), dtype=pixels.dtype)
    array[:] = pixels
    kinds = [("t", "time"), ("c", "channel"), ("z", "space"), ("y", "space"), ("x", "space")]
    axes = [{"name": name, "type": kind, "unit": "micrometer"} for name, kind in kinds]
    scale = [{"type": "scale", "scale": [1, 1, 2, 0.25, 0.5]}]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    if version == "0.4":
        group.attrs["multiscales"] = [{"version": version, **image}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [image]}
    source = open_source(tmp_path / "a.ome.zarr")
    assert (source.planes, source.channels, source.size) == (6, 1, (70, 83))
    assert source.plane_axes == "TZ" and source.pixel_size == PixelSize(0.25, 0.5, "µm", 2)
    for plane, expected in enumerate(pixels.reshape(6, 1, 70, 83)):
        for rows, columns in WINDOWS:
            np.testing.assert_array_equal(source.read(plane, rows, columns), expected[:, rows, columns])


def test_no_ome_zarr(tmp_path):
    pytest.importorskip("zarr")
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text("{}")
    with pytest.raises(ValueError, match="cannot be read as an OME-Zarr image"):
        open_source(tmp_path / "a.zarr")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "rowsperstrip": 8}])
def test_truncated(tmp_path, options):
    whole = tmp_path / "whole.tif"
    tifffile.imwrite(whole, noise((70, 83)), **options)
    (tmp_path / "a.tif").write_bytes(whole.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"a\.tif: cannot be read as an image: "):
        for _ in open_source(tmp_path / "a.tif").blocks(0):
            pass


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tif", b"no image", "cannot be read as an image"),
        ("a.npy", b"", "cannot be read as an image"),
        ("a.png", b"", "cannot be read as an image"),
        ("a.doc", b"", "wanted a file of .tif"),
    ],
)
def test_no_image(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        open_source(tmp_path / name)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 5)), "wanted at least one pixel"),
        (np.zeros((5, 5), complex), "wanted an image of real numbers, got complex128"),
        (np.zeros(5), "wanted an array of 2, 3 or 4 axes"),
        (np.full((5, 5), np.nan), "wanted finite values"),
    ],
)
def test_bad_arrays(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=message):
        open_source(tmp_path / "a.npy").read(0, slice(0, 5), slice(0, 5))
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "a.npy")


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="wanted an image file, found none"):
        open_source(tmp_path / "a.tif")
