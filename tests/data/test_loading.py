"""Loading a folder: what is in memory afterwards, and what is said of files that do not fit."""

import json

import imagecodecs
import numpy as np
import pytest
import tifffile

from unet_fast.data import IGNORED, IGNORED_CLASS, load_folder


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, array, photometric="rgb" if array.shape[-1] == 3 else "minisblack")
    elif path.suffix == ".npy":
        np.save(path, array)
    else:
        imagecodecs.imwrite(path, array)


def grey(shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, 250, shape).astype(dtype)


def square(side=12, value=255, dtype=np.uint8):
    mask = np.zeros((side, side), dtype)
    mask[2:6, 3:9] = value
    return mask


def pair(folder, name, image, labels):
    write(folder / "images" / f"{name}.tif", image)
    write(folder / "masks" / f"{name}.tif", labels)


def test_isbi_stack(tmp_path):
    volume, labels = grey((3, 12, 14)), np.full((3, 12, 14), 255, np.uint8)
    labels[:, :, 6] = 0
    write(tmp_path / "train-volume.tif", volume)
    write(tmp_path / "train-labels.tif", labels)
    data = load_folder(tmp_path)
    assert list(data.names) == ["train-volume[0]", "train-volume[1]", "train-volume[2]"]
    np.testing.assert_array_equal(np.stack(data.images)[:, 0], volume)
    assert np.unique(data.instances[1]).tolist() == [0, 1, 2]
    assert (data.target(2) == (labels[2] > 0)).all()
    assert data.classes is None
    assert (data.channels, data.class_count, data.ignore_label) == (1, 2, None)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("value", [1, 255])
def test_pairs_of_any_size_and_dtype(tmp_path, dtype, value):
    pair(tmp_path, "a", grey((12, 12), dtype), square(12, value))
    pair(tmp_path, "b", grey((20, 20), dtype), square(20, value))
    data = load_folder(tmp_path)
    assert [image.shape for image in data.images] == [(1, 12, 12), (1, 20, 20)]
    assert {image.dtype for image in data.images} == {np.dtype(dtype)}
    assert data.class_pixels().tolist() == [144 + 400 - 48, 48]


def test_colour_images(tmp_path):
    image = grey((12, 12, 3))
    pair(tmp_path, "a", image, square())
    assert load_folder(tmp_path).channels == 3
    np.testing.assert_array_equal(load_folder(tmp_path).images[0], image.transpose(2, 0, 1))


def test_pages_are_channels_where_there_is_one_label_image(tmp_path):
    pair(tmp_path, "a", grey((5, 12, 12)), square())
    assert load_folder(tmp_path).images[0].shape == (5, 12, 12)


def test_pages_are_images_where_there_are_as_many_label_images(tmp_path):
    pair(tmp_path, "a", grey((3, 12, 12)), np.stack([square()] * 3))
    data = load_folder(tmp_path)
    assert list(data.names) == ["a[0]", "a[1]", "a[2]"]
    tifffile.imwrite(tmp_path / "images" / "a.tif", grey((3, 12, 12)), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(load_folder(tmp_path).images[1], data.images[1])


def test_instances_of_a_sparse_sequence(tmp_path):
    labels = np.zeros((12, 12), np.uint16)
    labels[2:5, 2:5], labels[5:8, 2:5] = 700, 3
    for number in range(4):
        write(tmp_path / "01" / f"t{number:03d}.tif", grey((12, 12), np.uint16, number))
    write(tmp_path / "01_GT" / "SEG" / "man_seg002.tif", labels)
    data = load_folder(tmp_path)
    assert list(data.names) == ["01/t002"]
    np.testing.assert_array_equal(data.instances[0], labels)
    np.testing.assert_array_equal(data.images[0][0], grey((12, 12), np.uint16, 2))
    assert "100 % touch another" in data.report()


def test_markers_without_a_mask_are_ignored(tmp_path):
    labels, markers = np.zeros((12, 12), np.uint16), np.zeros((12, 12), np.uint16)
    labels[2:5, 2:5] = 1
    markers[1:3, 2:3], markers[8:10, 8:10] = 5, 6
    write(tmp_path / "01" / "t000.tif", grey((12, 12)))
    write(tmp_path / "01_GT" / "SEG" / "man_seg000.tif", labels)
    write(tmp_path / "01_GT" / "TRA" / "man_track000.tif", markers)
    data = load_folder(tmp_path)
    assert (data.instances[0] == IGNORED).sum() == 4
    assert (data.instances[0][8:10, 8:10] == IGNORED).all()
    assert data.ignore_label == IGNORED
    assert "1 marker of objects without a mask: ignored" in data.report()
    write(tmp_path / "01_GT" / "TRA" / "man_track000.tif", markers[:6])
    with pytest.raises(ValueError, match=r"man_track000\.tif: wanted the size of .*man_seg000\.tif, 12x12, got 6x12"):
        load_folder(tmp_path)


def test_nnunet(tmp_path):
    for case in "ab":
        for channel in (0, 1):
            write(tmp_path / "imagesTr" / f"{case}_{channel:04d}.png", grey((12, 12), seed=channel))
        write(tmp_path / "labelsTr" / f"{case}.png", square(12, 1) + 2 * square(12, 1).T)
    labels = {"background": 0, "cell": 1, "nucleus": 2, "ignore": 3}
    settings = {"channel_names": {"0": "R", "1": "G"}, "labels": labels}
    (tmp_path / "dataset.json").write_text(json.dumps(settings))
    data = load_folder(tmp_path)
    np.testing.assert_array_equal(data.images[1], np.stack([grey((12, 12), seed=0), grey((12, 12), seed=1)]))
    assert data.class_names == ("background", "cell", "nucleus")
    assert set(np.unique(data.classes[0])) == {0, 1, 2, IGNORED_CLASS}
    assert (data.target(0) == data.classes[0]).all()
    assert data.class_pixels().sum() == 2 * (144 - (data.classes[0] == IGNORED_CLASS).sum())
    assert data.ignore_label == IGNORED

    (tmp_path / "dataset.json").write_text(json.dumps(settings | {"labels": {"background": 0, "cell": 1}}))
    with pytest.raises(ValueError, match=r"labelsTr/a\.png: wanted the classes 0\.\.1, got the value 2"):
        load_folder(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps(settings | {"channel_names": {"0": "R"}}))
    with pytest.raises(ValueError, match=r"a_0000\.png: wanted 1 channel as in dataset\.json, got 2"):
        load_folder(tmp_path)


def test_classes_are_told_by_the_values(tmp_path):
    codes = np.random.default_rng(0).choice(np.array([0, 64, 255], np.uint8), (30, 30))
    pair(tmp_path, "a", grey((30, 30)), codes)
    data = load_folder(tmp_path)
    assert data.class_names == ("code 0", "code 64", "code 255")
    np.testing.assert_array_equal(data.classes[0], np.searchsorted([0, 64, 255], codes))
    assert "classes (0, 64, 255), told by the values" in data.report()
    assert load_folder(tmp_path, label_kind="mask").class_count == 2
    assert load_folder(tmp_path, ignore=64).class_count == 2


def test_freiburg_labels(tmp_path):
    pair(tmp_path, "a", grey((12, 12)), square(12, 2))
    data = load_folder(tmp_path, label_kind="freiburg")
    assert data.ignore_label == IGNORED
    assert data.class_pixels().tolist() == [0, 24]


def test_images_of_two_dtypes_become_one(tmp_path):
    pair(tmp_path, "a", np.full((12, 12), 51, np.uint8), square())
    pair(tmp_path, "b", np.full((12, 12), 51, np.uint16), square())
    data = load_folder(tmp_path)
    assert [image[0, 0, 0] for image in data.images] == [51 * 257, 51]
    assert "images are of uint16, uint8: 0..255 was stretched to 0..65535" in data.report()
    pair(tmp_path, "c", np.full((12, 12), 51, np.float32), square())
    data = load_folder(tmp_path)
    assert [image.dtype for image in data.images] == [np.float32] * 3
    assert data.images[0].max() == np.float32(0.2)
    assert data.images[2].max() == 51


def test_float_and_coloured_labels_are_warned_of(tmp_path):
    pair(tmp_path, "a", grey((12, 12)), square(12, 1, np.float32))
    assert "warning     labels are stored as floating-point numbers" in load_folder(tmp_path).report()
    (tmp_path / "masks" / "a.tif").unlink()
    write(tmp_path / "masks" / "a.png", square()[..., None] * np.array([1, 0, 0], np.uint8))
    data = load_folder(tmp_path)
    assert "warning     labels are stored as colours" in data.report()
    assert data.class_pixels().tolist() == [120, 24]


def test_image_and_labels_of_two_sizes(tmp_path):
    pair(tmp_path, "a", grey((12, 13)), square(12))
    with pytest.raises(
        ValueError, match=r"images/a\.tif: wanted the size of its labels .*masks/a\.tif, 12x12, got 12x13"
    ):
        load_folder(tmp_path)
    write(tmp_path / "train-volume.tif", grey((3, 12, 12)))
    write(tmp_path / "train-labels.tif", np.stack([square()] * 2))
    with pytest.raises(ValueError, match=r"train-labels\.tif, 2 pages of 12x12, got 3 pages of 12x12"):
        load_folder(tmp_path, images="train-volume", labels="train-labels")


def test_images_of_different_channels(tmp_path):
    pair(tmp_path, "a", grey((12, 12)), square())
    pair(tmp_path, "b", grey((12, 12, 3)), square())
    with pytest.raises(ValueError, match=r"b\.tif: wanted 1 channel as in .*a\.tif, got 3"):
        load_folder(tmp_path)


def test_unreadable_file_is_named(tmp_path):
    pair(tmp_path, "a", grey((12, 12)), square())
    (tmp_path / "images" / "a.tif").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"images/a\.tif: cannot be read as an image"):
        load_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "count", "size", "dtype", "kind", "classes"),
    [
        ("isbi2012", {}, 24, (512, 512), np.uint8, "a mask", 2),
        ("vnc_sstem", {}, 14, (1024, 1024), np.uint8, "classes", 9),
        ("vnc_sstem", {"labels": "membranes_isbi_polarity.tif"}, 14, (1024, 1024), np.uint8, "a mask", 2),
        ("usiigaci", {}, 16, (1022, 1024), np.uint16, "ids of objects", 2),
        ("dsb2018_fluo", {}, 60, (520, 696), np.uint8, "ids of objects", 2),
    ],
)
def test_real_images(shared_data, name, options, count, size, dtype, kind, classes):
    data = load_folder(shared_data / name, **options)
    assert len(data) == count
    assert {image.shape for image in data.images} == {(1, *size)}
    assert data.images[0].dtype == dtype
    assert data.class_count == classes
    assert kind in data.origin.labels
    assert data.origin.warnings == ()
    assert "warning" not in data.report()
