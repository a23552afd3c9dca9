"""Labelled images in memory: what a trainer samples from."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_fast.data.images import Image
from unet_fast.data.label_kinds import IGNORED, IGNORED_CLASS, Classes, Labels
from unet_fast.data.layouts import LabelKind


@dataclass(frozen=True)
class Origin:
    """Where labelled images come from, for the report.

    Attributes:
        title: such as "isbi2012: image stacks".
        labels: what the label files hold and how it was read, in words.
        notes: what was left out, chosen or converted, a sentence each.
        warnings: what looks like a mistake in the files, a sentence each.
    """

    title: str = "images in memory"
    labels: str = ""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelledImages:
    """Images and their labels; the images may differ in size.

    Attributes:
        images: each [C, H, W], all of one dtype: uint8, uint16 or float32.
        instances: each [H, W] int32: 0 background, ids of objects from 1, `IGNORED`.
        names: one for each image.
        classes: each [H, W] uint8: 0..K-1, `IGNORED_CLASS`; None where the classes are background and object.
        class_names: K names.
        label_kind: what the label files hold; see `label_kinds`.
        origin: where all this comes from.
    """

    images: Sequence[Image]
    instances: Sequence[Labels]
    names: Sequence[str]
    classes: Sequence[Classes] | None = None
    class_names: tuple[str, ...] = ("background", "foreground")
    label_kind: LabelKind = "instances"
    origin: Origin = field(default_factory=Origin)

    def __post_init__(self) -> None:
        maps: list[tuple[str, Sequence[NDArray[Any]]]] = [("int32", self.instances)]
        if self.classes is not None:
            maps.append(("uint8", self.classes))
        lengths = [len(several) for several in (self.images, self.names, *(several for _, several in maps))]
        if len(set(lengths)) > 1:
            raise ValueError(f"LabelledImages: wanted as many images as names and labels, got {lengths}")
        for index, (name, image) in enumerate(zip(self.names, self.images, strict=True)):
            if image.ndim != 3 or image.dtype not in (np.uint8, np.uint16, np.float32):
                got = f"{image.dtype.name} {list(image.shape)}"
                raise ValueError(f"LabelledImages: {name}: wanted uint8, uint16 or float32 [C, H, W], got {got}")
            for dtype, several in maps:
                if several[index].shape != image.shape[1:] or several[index].dtype != dtype:
                    wanted, got = list(image.shape[1:]), f"{several[index].dtype.name} {list(several[index].shape)}"
                    raise ValueError(f"LabelledImages: {name}: wanted {dtype} labels {wanted}, got {got}")
            first = self.images[0]
            if (image.shape[0], image.dtype) != (first.shape[0], first.dtype):
                raise ValueError(
                    f"LabelledImages: {name}: wanted {first.shape[0]} channels of {first.dtype.name} as in "
                    f"{self.names[0]}, got {image.shape[0]} of {image.dtype.name}"
                )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @property
    def channels(self) -> int:
        """The number of channels, 0 without images."""
        return self.images[0].shape[0] if self.images else 0

    @property
    def class_count(self) -> int:
        """The number K of classes, background included."""
        return len(self.class_names)

    @property
    def ignore_label(self) -> int | None:
        """`IGNORED` where some pixel of the instance maps has it, else None: what the operators want to be told."""
        return IGNORED if any((labels == IGNORED).any() for labels in self.instances) else None

    def target(self, index: int) -> Classes:
        """Return the class of every pixel of an image, [H, W] uint8: 0..K-1 and `IGNORED_CLASS`."""
        if self.classes is not None:
            return self.classes[index]
        return np.where(self.instances[index] == IGNORED, IGNORED_CLASS, self.instances[index] > 0).astype(np.uint8)

    def class_pixels(self) -> NDArray[np.int64]:
        """Count the pixels of each class over all images, [K]; ignored pixels count nowhere."""
        counts = np.zeros(IGNORED_CLASS + 1, dtype=np.int64)
        for index in range(len(self)):
            counts += np.bincount(self.target(index).ravel(), minlength=counts.size)
        return counts[: self.class_count]

    def subset(self, indices: Sequence[int]) -> "LabelledImages":
        """Return the images with these indices, in this order."""
        return replace(
            self,
            images=[self.images[index] for index in indices],
            instances=[self.instances[index] for index in indices],
            names=[self.names[index] for index in indices],
            classes=None if self.classes is None else [self.classes[index] for index in indices],
        )

    def split(
        self, validation_fraction: float = 0.2, *, fold: int | None = None, folds: int = 5, seed: int = 0
    ) -> tuple["LabelledImages", "LabelledImages"]:
        """Split into images to train on and images to validate on.

        The images are shuffled by the seed and dealt out: the same seed gives the same split, and the `folds`
        validation sets of one seed hold every image once.

        Args:
            validation_fraction: share of the images to validate on, rounded, at least one image and never all;
                0 leaves none. Without meaning where `fold` is given.
            fold: which of the folds to validate on, from 0; None splits by the fraction.
            folds: number of folds, from 2; 5 by default.
            seed: of the shuffle.

        Returns:
            The training images and the validation images, each in the order of this set; a single image is trained
            on and nothing validated.

        Raises:
            ValueError: a number lies outside its range.
        """
        if not 0 <= validation_fraction < 1:
            raise ValueError(f"split: validation_fraction: wanted 0 to below 1, got {validation_fraction}")
        count = len(self)
        shuffled = np.random.default_rng(seed).permutation(count)
        if fold is None:
            wanted = max(1, round(count * validation_fraction)) if validation_fraction > 0 else 0
            held = shuffled[: min(wanted, max(count - 1, 0))]
        else:
            if not 2 <= folds <= count or not 0 <= fold < folds:
                raise ValueError(
                    f"split: wanted 2 to {count} folds and a fold below their number, got fold {fold} of {folds}"
                )
            held = shuffled[fold::folds]
        validation = set(held.tolist())
        training = [index for index in range(count) if index not in validation]
        return self.subset(training), self.subset(sorted(validation))

    def report(self) -> str:
        """Describe the set in a few lines: counts, sizes, dtypes, values, classes, objects; warnings at the end."""
        from unet_fast.data.report import describe  # noqa: PLC0415  (it knows this class)

        return describe(self)
