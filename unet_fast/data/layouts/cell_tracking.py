"""Cell Tracking Challenge: sequences `01` with frames `t000.tif`, truth `01_GT/SEG/man_seg000.tif` of some frames.

`01_ST/SEG` is the silver truth, computed from other people's results; `01_GT/TRA` marks every cell, but not its
outline: where a cell has a marker and no mask, its marker is not background.
"""

import re
from pathlib import Path

from unet_fast.data.layouts.found import Layout, Sample, counted, folders, several

DESCRIPTION = "Cell Tracking Challenge: 01/t000.tif with 01_GT/SEG/man_seg000.tif (or 01_ST/SEG)"

_SEQUENCE = re.compile(r"\d\d")
_FRAME = re.compile(r"t(\d{3,4})\.tiff?")
_TRUTH = re.compile(r"man_seg(\d{3,4})\.tiff?")
_SLICE = re.compile(r"man_seg_(\d{3,4})_(\d{3,4})\.tiff?")


def find(folder: Path, images: str | None, labels: str | None) -> Layout | None:
    """Find the sequences of a data set, or one sequence (see `find_samples`)."""
    if images is not None or labels not in {None, "GT", "ST"}:
        return None
    if _SEQUENCE.fullmatch(folder.name):
        sequences = [folder]
    else:
        sequences = [path for path in folders(folder) if _SEQUENCE.fullmatch(path.name)]
    samples: list[Sample] = []
    notes: list[str] = []
    for sequence in sequences:
        truth, note = _truth(sequence, labels)
        if truth is None:
            continue
        notes += note
        found, note = _frames(sequence, truth)
        samples += found
        notes += note
    if not samples:
        return None
    return Layout("Cell Tracking Challenge", folder, tuple(samples), tuple(notes), label_kind="instances")


def _truth(sequence: Path, labels: str | None) -> tuple[Path | None, list[str]]:
    there = {kind: sequence.with_name(f"{sequence.name}_{kind}") / "SEG" for kind in ("GT", "ST")}
    there = {kind: path for kind, path in there.items() if path.is_dir() and any(path.iterdir())}
    chosen = labels or ("GT" if "GT" in there else "ST")
    notes = []
    if "GT" in there and "ST" in there:
        other = "ST" if chosen == "GT" else "GT"
        notes = [
            f'truth is {sequence.name}_{chosen}; {sequence.name}_{other} is there too (choose with labels="{other}")'
        ]
    return there.get(chosen), notes


def _frames(sequence: Path, truth: Path) -> tuple[list[Sample], list[str]]:
    frames = {int(match[1]): path for path in sequence.iterdir() if (match := _FRAME.fullmatch(path.name))}
    files = sorted(truth.iterdir())
    slices = [path for path in files if _SLICE.fullmatch(path.name)]
    if slices:
        raise ValueError(
            f"{slices[0]}: wanted truth of whole frames (man_seg000.tif), got the truth of one slice of a 3-D frame: "
            "3-D sequences are not supported; save the slices as images and masks in two folders"
        )
    samples = []
    for path in files:
        match = _TRUTH.fullmatch(path.name)
        if match is None:
            continue
        number = int(match[1])
        if number not in frames:
            raise ValueError(f"{path}: wanted its frame t{match[1]}.tif in {sequence}, found none")
        frame = frames[number]
        marker = truth.with_name("TRA") / path.name.replace("man_seg", "man_track")
        name = f"{sequence.name}/{frame.stem}"
        samples.append(Sample(name, (frame,), path, marker if marker.is_file() else None))
    labelled = {int(sample.images[0].stem[1:]) for sample in samples}
    bare = [frames[number].stem for number in sorted(frames) if number not in labelled]
    return samples, [f"{sequence.name}: {counted(len(bare), 'frame')} without truth ({several(bare)})"] if bare else []
