"""nnU-Net: `imagesTr/CASE_0000.ext` (one file for each channel), `labelsTr/CASE.ext`, `dataset.json`."""

import json
import re
from pathlib import Path
from typing import Any

from unet_fast.data.formats import SUFFIXES
from unet_fast.data.layouts.found import Layout, Sample, counted, image_files, natural_key, several

DESCRIPTION = "nnU-Net: imagesTr/CASE_0000.EXT with labelsTr/CASE.EXT and dataset.json"

_CHANNEL = re.compile(r"(.+)_(\d{4})")


def find(folder: Path, images: str | None, labels: str | None) -> Layout | None:
    """Find the training cases of an nnU-Net data set (see `find_samples`)."""
    images_folder, labels_folder = folder / "imagesTr", folder / (labels or "labelsTr")
    if images is not None or not images_folder.is_dir() or not labels_folder.is_dir():
        return None
    _refuse_volumes(images_folder)
    cases: dict[str, dict[int, Path]] = {}
    for path in image_files(images_folder):
        match = _CHANNEL.fullmatch(path.stem)
        if match is None:
            raise ValueError(f"{path}: wanted a name that ends in the number of the channel, such as CASE_0000")
        cases.setdefault(match[1], {})[int(match[2])] = path
    truth = {path.stem: path for path in image_files(labels_folder)}
    samples = [_sample(case, cases[case], truth[case]) for case in sorted(cases, key=natural_key) if case in truth]
    if not samples:
        raise ValueError(f"{folder}: no case of imagesTr ({several(cases)}) has a label image in {labels_folder.name}")
    unlabelled = [case for case in cases if case not in truth]
    notes = [f"{counted(len(unlabelled), 'case')} without a label image ({several(unlabelled)})"] if unlabelled else []
    path = folder / "dataset.json"
    if not path.is_file():
        return Layout(
            "nnU-Net", folder, tuple(samples), (*notes, "no dataset.json: the classes are told by the values")
        )
    names, ignore, channels = _declared(path)
    return Layout("nnU-Net", folder, tuple(samples), tuple(notes), "classes", names, ignore, channels)


def _sample(case: str, channels: dict[int, Path], labels: Path) -> Sample:
    if sorted(channels) != list(range(len(channels))):
        numbers = ", ".join(f"{number:04d}" for number in sorted(channels))
        raise ValueError(f"{channels[min(channels)].parent}: {case}: wanted channels from 0000 on, got {numbers}")
    return Sample(case, tuple(channels[number] for number in sorted(channels)), labels)


def _declared(path: Path) -> tuple[tuple[str, ...], int | None, int | None]:
    """Return the names of the classes, the code to ignore and the number of channels that dataset.json declares."""
    declared: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    labels = declared.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise ValueError(f"{path}: wanted labels such as {{'background': 0, 'cell': 1}}, got {labels!r}")
    if all(str(key).isdigit() for key in labels):  # version 1 wrote them the other way round
        labels = {str(name): int(code) for code, name in labels.items()}
    regions = [name for name, code in labels.items() if not isinstance(code, int)]
    if regions:
        raise ValueError(f"{path}: wanted one number for each label, got a region for {several(regions)}")
    ignore = labels.pop("ignore", None)
    codes = sorted(labels.values())
    if codes != list(range(len(codes))):
        raise ValueError(f"{path}: wanted labels 0, 1, 2, ..., got {', '.join(map(str, codes))}")
    names = tuple(sorted(labels, key=lambda name: int(labels[name])))
    channels = declared.get("channel_names") or declared.get("modality")
    return names, ignore, len(channels) if channels else None


def _refuse_volumes(folder: Path) -> None:
    volumes = [path.name for path in folder.iterdir() if path.name.endswith((".nii.gz", ".nii", ".nrrd", ".mha"))]
    if volumes:
        raise ValueError(
            f"{folder / volumes[0]}: wanted two-dimensional images ({', '.join(SUFFIXES)}), got a medical volume"
        )
