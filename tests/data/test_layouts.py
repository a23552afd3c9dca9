"""Finding training data: every layout in miniature, and what is said where files do not belong together."""

import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from tests.ome_zarr import write_image
from unet_fast.data import find_samples


def write(folder, *names):
    """Write tiny images; a folder of the name is made where there is none."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.zeros((4, 5), np.uint8)
        if path.suffix == ".zarr":
            pytest.importorskip("zarr")
            write_image(path, "0.5", image, "YX")
        else:
            tifffile.imwrite(path, image) if path.suffix == ".tif" else imagecodecs.imwrite(path, image)


def found(folder, **options):
    """Return the kind of the layout, and for each sample its images and labels relative to the folder."""
    layout = find_samples(folder, **options)
    names = {
        sample.name: (
            [path.relative_to(folder).as_posix() for path in sample.images],
            sample.labels.relative_to(folder).as_posix(),
        )
        for sample in layout.samples
    }
    return layout, names


def test_isbi_stack(tmp_path):
    write(tmp_path, "train-volume.tif", "train-labels.tif", "test-volume.tif")
    layout, samples = found(tmp_path)
    assert layout.kind == "image stacks"
    assert samples == {"train-volume": (["train-volume.tif"], "train-labels.tif")}
    assert layout.notes == ("left out for want of labels: test-volume.tif",)


def test_several_stacks(tmp_path):
    write(tmp_path, "a_raw.tif", "a_labels.tif", "b_raw.tif", "b_labels.tif")
    _, samples = found(tmp_path)
    assert samples == {"a_raw": (["a_raw.tif"], "a_labels.tif"), "b_raw": (["b_raw.tif"], "b_labels.tif")}


def test_stack_with_a_choice_of_labels(tmp_path):
    write(tmp_path, "raw.tif", "labels9.tif", "membranes_isbi_polarity.tif")
    layout, samples = found(tmp_path)
    assert samples == {"raw": (["raw.tif"], "labels9.tif")}
    assert "membranes_isbi_polarity.tif is there too" in layout.notes[0]
    for name in ("membranes_isbi_polarity", "membranes_isbi_polarity.tif"):
        layout, samples = found(tmp_path, labels=name)
        assert samples == {"raw": (["raw.tif"], "membranes_isbi_polarity.tif")}
        assert layout.notes == ()


def test_stacks_of_any_name(tmp_path):
    write(tmp_path, "em.tif", "cells.tif")
    _, samples = found(tmp_path, images="em.tif", labels="cells")
    assert samples == {"em": (["em.tif"], "cells.tif")}


@pytest.mark.parametrize("digits", [3, 4])
def test_cell_tracking_with_sparse_frames(tmp_path, digits):
    write(tmp_path, *(f"01/t{number:0{digits}d}.tif" for number in range(12)))
    write(tmp_path, *(f"01_GT/SEG/man_seg{number:0{digits}d}.tif" for number in (2, 10)))
    write(tmp_path, f"01_GT/TRA/man_track{2:0{digits}d}.tif", "02/t000.tif")
    layout, samples = found(tmp_path)
    assert layout.kind == "Cell Tracking Challenge"
    assert layout.label_kind == "instances"
    assert [sample.name for sample in layout.samples] == [f"01/t{number:0{digits}d}" for number in (2, 10)]
    assert samples[f"01/t{2:0{digits}d}"][1] == f"01_GT/SEG/man_seg{2:0{digits}d}.tif"
    assert [sample.markers is not None for sample in layout.samples] == [True, False]
    assert layout.notes == (
        "01: 10 frames without truth (" + ", ".join(f"t{n:0{digits}d}" for n in (0, 1, 3)) + " and 7 more)",
    )


def test_cell_tracking_sequences(tmp_path):
    for sequence in ("01", "02"):
        write(tmp_path, f"{sequence}/t000.tif", f"{sequence}_GT/SEG/man_seg000.tif")
    assert list(found(tmp_path)[1]) == ["01/t000", "02/t000"]
    assert [sample.name for sample in find_samples(tmp_path / "02").samples] == ["02/t000"]


def test_cell_tracking_gold_and_silver_truth(tmp_path):
    write(tmp_path, "01/t000.tif", "01/t001.tif", "01_ST/SEG/man_seg000.tif", "01_ST/SEG/man_seg001.tif")
    assert found(tmp_path)[1]["01/t001"][1] == "01_ST/SEG/man_seg001.tif"
    write(tmp_path, "01_GT/SEG/man_seg001.tif")
    layout, samples = found(tmp_path)
    assert list(samples) == ["01/t001"]
    assert 'truth is 01_GT; 01_ST is there too (choose with labels="ST")' in layout.notes
    assert len(found(tmp_path, labels="ST")[1]) == 2


def test_cell_tracking_errors(tmp_path):
    write(tmp_path, "01/t000.tif", "01_GT/SEG/man_seg001.tif")
    with pytest.raises(ValueError, match=r"man_seg001\.tif: wanted its frame t001\.tif in .*01, found none"):
        find_samples(tmp_path)
    write(tmp_path, "01_GT/SEG/man_seg_000_013.tif")
    with pytest.raises(ValueError, match=r"man_seg_000_013\.tif: .* 3-D sequences are not supported"):
        find_samples(tmp_path)


def nnunet(folder, **declared):
    write(folder, "imagesTr/b_0000.png", "imagesTr/b_0001.png", "labelsTr/b.png")
    write(folder, "imagesTr/a_01_0000.png", "imagesTr/a_01_0001.png", "labelsTr/a_01.png", "imagesTs/c_0000.png")
    settings = {"channel_names": {"0": "R", "1": "G"}, "labels": {"background": 0, "cell": 1}, "numTraining": 2}
    (folder / "dataset.json").write_text(json.dumps(settings | declared))


def test_nnunet(tmp_path):
    nnunet(tmp_path, labels={"cell": 1, "background": 0, "ignore": 2})
    layout, samples = found(tmp_path)
    assert (layout.kind, layout.label_kind) == ("nnU-Net", "classes")
    assert samples == {
        "a_01": (["imagesTr/a_01_0000.png", "imagesTr/a_01_0001.png"], "labelsTr/a_01.png"),
        "b": (["imagesTr/b_0000.png", "imagesTr/b_0001.png"], "labelsTr/b.png"),
    }
    assert (layout.classes, layout.ignore, layout.channels) == (("background", "cell"), 2, 2)


def test_nnunet_version_1_and_unlabelled_case(tmp_path):
    nnunet(tmp_path, labels={"0": "background", "1": "cell"})
    (tmp_path / "labelsTr" / "b.png").unlink()
    layout, samples = found(tmp_path)
    assert layout.classes == ("background", "cell")
    assert list(samples) == ["a_01"]
    assert layout.notes == ("1 case without a label image (b)",)


def test_nnunet_without_description(tmp_path):
    nnunet(tmp_path)
    (tmp_path / "dataset.json").unlink()
    layout, _ = found(tmp_path)
    assert layout.label_kind is None
    assert layout.notes == ("no dataset.json: the classes are told by the values",)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"background": 0, "cell": 2}, "wanted labels 0, 1, 2, ..., got 0, 2"),
        ({"background": 0, "all": [1, 2]}, "wanted one number for each label, got a region for all"),
        (None, "wanted labels such as .*, got None"),
    ],
)
def test_nnunet_description_errors(tmp_path, labels, message):
    nnunet(tmp_path, labels=labels)
    with pytest.raises(ValueError, match=r"dataset\.json: " + message):
        find_samples(tmp_path)


def test_nnunet_file_errors(tmp_path):
    nnunet(tmp_path)
    (tmp_path / "imagesTr" / "b_0000.png").unlink()
    with pytest.raises(ValueError, match="b: wanted channels from 0000 on, got 0001"):
        find_samples(tmp_path)
    write(tmp_path, "imagesTr/plain.png")
    with pytest.raises(ValueError, match=r"plain\.png: wanted a name that ends in the number of the channel"):
        find_samples(tmp_path)
    (tmp_path / "imagesTr" / "v_0000.nii.gz").touch()
    with pytest.raises(ValueError, match=r"v_0000\.nii\.gz: wanted two-dimensional images .*, got a medical volume"):
        find_samples(tmp_path)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/2.tif", "masks/2.tif"),
        ("imgs/a.jpg", "masks/a.png"),
        ("imgs/a.jpg", "masks/a_mask.png"),
        ("image/a.png", "label/a.png"),
        ("train/image/0.png", "train/label/0.png"),
        ("train/images/a.tif", "train/masks/a.tif"),
        ("Images/a.tif", "Labels/a_cp_masks.tif"),
        ("images/img_07.png", "masks/mask_07.png"),
        ("images/a.v2.png", "masks/a.v2.png"),
        ("images/a.ome.tif", "masks/a.tif"),
        ("images/a.ome.zarr", "masks/a_labels.ome.zarr"),
    ],
)
def test_two_folders(tmp_path, image, label):
    write(tmp_path, image, label)
    layout, samples = found(tmp_path)
    assert layout.kind == "images and labels in two folders"
    assert samples == {Path(image).stem.removesuffix(".ome"): ([image], label)}


def test_two_folders_of_any_name(tmp_path):
    write(tmp_path, "phase/a.tif", "annotated/a.tif", "masks/a.tif")
    assert found(tmp_path, images="phase", labels="annotated")[1] == {"a": (["phase/a.tif"], "annotated/a.tif")}


def test_two_folders_with_a_choice(tmp_path):
    write(tmp_path, "images/a.tif", "labels/a.tif", "masks/a.tif")
    layout, samples = found(tmp_path)
    assert samples == {"a": (["images/a.tif"], "masks/a.tif")}
    assert "labels is there too" in layout.notes[0]
    assert found(tmp_path, labels="labels")[1] == {"a": (["images/a.tif"], "labels/a.tif")}


def test_an_equal_stem_comes_before_a_suffix(tmp_path):
    write(tmp_path, "images/a.tif", "images/a_img.tif", "masks/a.tif", "masks/a_img.tif")
    assert {name: labels for name, (_, labels) in found(tmp_path)[1].items()} == {
        "a": "masks/a.tif",
        "a_img": "masks/a_img.tif",
    }


def test_natural_order_and_files_left_over(tmp_path):
    write(tmp_path, *(f"images/{number}.png" for number in (1, 2, 10, 3)))
    write(tmp_path, *(f"masks/{number}.png" for number in (10, 2, 1, 7)))
    layout, samples = found(tmp_path)
    assert list(samples) == ["1", "2", "10"]
    assert layout.notes == ("1 image without a label image (3.png)", "1 label image without an image (7.png)")


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("a.tif", "a_masks.tif"),
        ("a.png", "a_mask.png"),
        ("000_img.png", "000_masks.png"),
        ("a.tif", "a_cp_masks.png"),
        ("a-1.tif", "a-1-label.tif"),
        ("a.ome.tif", "a_masks.tif"),
        ("a.ome.zarr", "a_labels.ome.zarr"),
    ],
)
def test_one_folder(tmp_path, image, label):
    write(tmp_path, image, label, "other.png")
    layout, samples = found(tmp_path)
    assert layout.kind == "images and labels in one folder"
    assert samples == {Path(image).stem.removesuffix(".ome"): ([image], label)}
    assert layout.notes == ("1 image without a label image (other.png)",)


def test_stems_that_do_not_match(tmp_path):
    write(tmp_path, "images/a.tif", "masks/b.tif")
    with pytest.raises(ValueError, match=r"no label image belongs to an image: .* got images a\.tif and labels b\.tif"):
        find_samples(tmp_path)


def test_ambiguous_stems(tmp_path):
    write(tmp_path, "images/a.tif", "masks/a.tif", "masks/a_mask.tif")
    with pytest.raises(ValueError, match=r"images/a\.tif: wanted one label image, got a\.tif and a_mask\.tif"):
        find_samples(tmp_path)
    write(tmp_path, "images/a.png")
    with pytest.raises(ValueError, match=r"images/a\.tif: wanted one file of this stem, got a\.png too"):
        find_samples(tmp_path)


def test_unknown_folder(tmp_path):
    write(tmp_path, "one.tif", "two/images/a.tif", "two/masks/a.tif", "three/a.tif")
    with pytest.raises(ValueError, match="no labelled images were found") as error:
        find_samples(tmp_path)
    message = str(error.value)
    assert "There is: three/, two/, one.tif." in message
    assert "Labelled images lie in two: name that folder." in message
    for word in ("train-volume.tif", "01_GT/SEG", "imagesTr", "masks", "NAME_masks.tif"):
        assert word in message


def test_names_that_are_not_there(tmp_path):
    write(tmp_path, "images/a.tif", "masks/a.tif")
    with pytest.raises(ValueError, match='no labelled images were found with labels="nuclei"'):
        find_samples(tmp_path, labels="nuclei")


def test_empty_and_missing_folder(tmp_path):
    with pytest.raises(ValueError, match="There is: nothing"):
        find_samples(tmp_path)
    with pytest.raises(NotADirectoryError, match="wanted a folder with training data, found none"):
        find_samples(tmp_path / "none")
