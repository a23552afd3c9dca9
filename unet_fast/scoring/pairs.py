"""Which prediction belongs to which truth: two files, folders matched by stem, Cell Tracking Challenge sequences."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from unet_fast.data.formats import image_stem, is_file_or_zarr
from unet_fast.data.layouts import Layout, find_samples, image_files
from unet_fast.data.layouts.found import LabelKind, folders, several

_ENDS = "cp_masks?|masks?|labels?|seg(?:mentation)?|gt|truth|instances?|pred(?:iction)?s?|volumes?|images?|img|raw"
_PROBABILITY = re.compile(r"(.*?)[-_. ]?prob\w*", re.IGNORECASE)
_SUFFIX = re.compile(rf"(.+)[-_. ](?:{_ENDS})", re.IGNORECASE)
_PREFIX = re.compile(rf"(?:{_ENDS})[-_. ](.+)", re.IGNORECASE)
_FRAME_TRUTH = re.compile(r"man_seg_?(\d{3,4})(?:_(\d{3,4}))?\.tiff?")
_SEQUENCE_TRUTH = re.compile(r"(\d\d)_(?:GT|ST)")


@dataclass(frozen=True)
class Pair:
    """Truth and prediction of one image or stack; one of `labels` and `probabilities` is there.

    Attributes:
        name: of the image, for people to read.
        truth: file of labels.
        labels: file of predicted labels, or of a mask or probability without telling name.
        probabilities: file of predicted probabilities, told by its name.
        plane: which plane of the prediction the truth shows; None: all.
    """

    name: str
    truth: Path
    labels: Path | None
    probabilities: Path | None
    plane: int | None = None

    @property
    def prediction(self) -> Path:
        """The file of labels, or else that of probabilities."""
        path = self.labels or self.probabilities
        if path is None:
            raise ValueError(f"{self.truth}: has no prediction")
        return path


@dataclass(frozen=True)
class Pairs:
    """What is to be compared.

    Attributes:
        pairs: at least one, in natural order.
        label_kind: of the truth, where its place tells it.
        ignore: code in the truth of pixels that belong to no class; None if there is none.
        notes: what was left out, a sentence each.
    """

    pairs: tuple[Pair, ...]
    label_kind: LabelKind | None = None
    ignore: int | None = None
    notes: tuple[str, ...] = ()


def find_pairs(truth: Path, prediction: Path) -> Pairs:
    """Match the files of a truth and a prediction.

    Args:
        truth: a file or OME-Zarr image, a folder of label images or of labelled images as for training, or a Cell
            Tracking Challenge data set or sequence (`01_GT`, `01_GT/SEG`).
        prediction: a file or OME-Zarr image; or a folder whose files bear the stems of the truth's, without suffixes
            such as _labels, _masks or _probabilities; for sequences `01_RES`, or any folder whose file names hold the
            frame numbers.

    Raises:
        FileNotFoundError: nothing is there, or a truth has no prediction.
        ValueError: the two do not go together.
    """
    for path, name in ((truth, "truth"), (prediction, "prediction")):
        if not path.exists():
            raise FileNotFoundError(f"{name}: wanted a file or folder, found none at {path}")
    if is_file_or_zarr(truth):
        return _pairs_of_file(truth, prediction)
    if is_file_or_zarr(prediction):
        raise ValueError(f"prediction: wanted a folder as the truth {truth} is one, got the file {prediction}")
    sequences = _sequences(truth)
    if sequences:
        found = [_pairs_of_sequence(*sequence, prediction, len(sequences)) for sequence in sequences]
        return Pairs(tuple(pair for pairs in found for pair in pairs), "instances")
    return _pairs_of_folders(truth, prediction)


def _pairs_of_file(truth: Path, prediction: Path) -> Pairs:
    kind: LabelKind | None = "instances" if _FRAME_TRUTH.fullmatch(truth.name) else None
    if is_file_or_zarr(prediction):
        probable = _PROBABILITY.fullmatch(image_stem(prediction)) is not None
        pair = Pair(image_stem(truth), truth, None if probable else prediction, prediction if probable else None)
        return Pairs((pair,), kind)
    files = _Files(prediction)
    pair = files.belonging_to(truth, _keys(image_stem(truth))) or files.only_one(truth)
    return Pairs((pair,), kind)


def _pairs_of_folders(truth: Path, prediction: Path) -> Pairs:
    layout = _training_layout(truth)
    if layout is None:
        candidates = [(path, _keys(image_stem(path))) for path in image_files(truth)]
    else:
        candidates = [
            (one.labels, _keys(image_stem(one.images[0])) + _keys(image_stem(one.labels))) for one in layout.samples
        ]
    if not candidates:
        raise FileNotFoundError(f"truth: wanted a folder of label images, found none in {truth}")
    files = _Files(prediction)
    found = [(path, files.belonging_to(path, keys)) for path, keys in candidates]
    missing = [path.name for path, pair in found if pair is None]
    if missing:
        raise FileNotFoundError(
            f"prediction: wanted a file for each truth in {truth}, found none for {several(missing)} "
            f"in {prediction}, which holds {several(path.name for path in files.paths) or 'no images'}"
        )
    pairs = tuple(pair for _, pair in found if pair is not None)
    used = {path for pair in pairs for path in (pair.labels, pair.probabilities)}
    extra = [path.name for path in files.paths if path not in used]
    notes = (f"{len(extra)} predictions have no truth ({several(extra)})",) if extra else ()
    if layout is None:
        return Pairs(pairs, notes=notes)
    return Pairs(pairs, layout.label_kind, layout.ignore, notes)


def _training_layout(folder: Path) -> Layout | None:
    try:
        return find_samples(folder)
    except ValueError:
        return None


def _sequences(folder: Path) -> list[tuple[str, Path]]:
    """Return names and truth folders of the sequences in, or of, a folder; the gold truth before the silver one."""
    for seg in (folder, folder / "SEG"):
        if seg.is_dir() and any(_FRAME_TRUTH.fullmatch(path.name) for path in seg.iterdir()):
            name = _SEQUENCE_TRUTH.fullmatch((seg.parent if seg.name == "SEG" else seg).name)
            return [(name[1] if name else "", seg)]
    found: dict[str, Path] = {}
    for path in folders(folder):
        match = _SEQUENCE_TRUTH.fullmatch(path.name)
        if match and (path / "SEG").is_dir():
            found.setdefault(match[1], path / "SEG")
    return list(found.items())


def _pairs_of_sequence(name: str, truth: Path, prediction: Path, count: int) -> list[Pair]:
    places = [prediction / f"{name}_RES", prediction / name] if name else []
    folder = next((path for path in places if path.is_dir()), prediction if count == 1 else None)
    if folder is None:
        raise FileNotFoundError(f"prediction: wanted the sequence {name} in {places[0]}, found none")
    frames: dict[int, Pair] = {}
    for path in image_files(folder):
        probable = _PROBABILITY.fullmatch(image_stem(path))
        numbers = re.findall(r"\d+", probable[1] if probable else image_stem(path))
        if not numbers:
            continue
        number = int(numbers[-1])
        one = frames.setdefault(number, Pair("", truth, None, None))
        if (one.probabilities if probable else one.labels) is not None:
            other = one.probabilities if probable else one.labels
            raise ValueError(f"{folder}: wanted one file of frame {number}, got {other and other.name} and {path.name}")
        frames[number] = replace(one, probabilities=path) if probable else replace(one, labels=path)
    pairs = []
    for path in image_files(truth):
        match = _FRAME_TRUTH.fullmatch(path.name)
        if match is None:
            continue
        number, plane = int(match[1]), None if match[2] is None else int(match[2])
        if number not in frames:
            raise FileNotFoundError(f"{path}: wanted its prediction, frame {number}, in {folder}, found none")
        title = f"{name}/{image_stem(path)}" if name else image_stem(path)
        pairs.append(replace(frames[number], name=title, truth=path, plane=plane))
    return pairs


class _Files:
    """The files of a folder of predictions, by the keys that their names give."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = image_files(folder)
        self._labels: dict[str, Path] = {}
        self._probabilities: dict[str, Path] = {}
        for path in self.paths:
            probable = _PROBABILITY.fullmatch(image_stem(path))
            place = self._probabilities if probable else self._labels
            for key in _keys(probable[1] if probable else image_stem(path)):
                place.setdefault(key, path)
        for path in self.paths:  # a whole stem is surer than part of one
            if _PROBABILITY.fullmatch(image_stem(path)) is None:
                self._labels[image_stem(path)] = path

    def belonging_to(self, truth: Path, keys: Iterable[str]) -> Pair | None:
        for key in keys:
            if key in self._labels or key in self._probabilities:
                return Pair(image_stem(truth), truth, self._labels.get(key), self._probabilities.get(key))
        return None

    def only_one(self, truth: Path) -> Pair:
        labels, probabilities = set(self._labels.values()), set(self._probabilities.values())
        if len(labels) > 1 or len(probabilities) > 1 or not self.paths:
            held = several(path.name for path in self.paths) or "no images"
            raise FileNotFoundError(f"prediction: wanted that of {truth} in {self.folder}, found {held}")
        return Pair(image_stem(truth), truth, next(iter(labels), None), next(iter(probabilities), None))


def _keys(stem: str) -> list[str]:
    """Return a stem, then what is left of it as one telling word after the other is taken away."""
    keys = [stem]
    while match := _SUFFIX.fullmatch(keys[-1]) or _PREFIX.fullmatch(keys[-1]):
        keys.append(match[1])
    return keys
