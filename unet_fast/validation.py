"""Scores of a network on whole held-back images, through the same overlap-tile path as prediction."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_fast.checkpoint import Model
from unet_fast.config import Score
from unet_fast.data import IGNORED_CLASS, LabelledImages
from unet_fast.instances import label_instances
from unet_fast.metrics.confusion import Confusion
from unet_fast.metrics.ctc import seg
from unet_fast.metrics.em import rand_error
from unet_fast.plots import draw_preview
from unet_fast.precision import PrecisionChoice
from unet_fast.predict import predict
from unet_fast.samples import Sampler, packed_labels

# The scores that fit what the labels are; the first decides which network is the best unless told otherwise.
SCORES = {
    "instances": ["seg", "iou", "pixel_error"],
    "mask": ["iou", "rand_error", "pixel_error"],
    "classes": ["iou", "pixel_error"],
}


class Validator:
    """Scores a network on held-back images.

    Args:
        model: the network and how its images are normalised.
        images: held back from training; without any, there are no scores.
        training: the other images; the first is drawn where none is held back.
        sampler: of the run; it makes the weight map of the preview.
        score: the name of what decides which network is the best.
        precision: in which the network computes.

    Attributes:
        names: of the scores, in [0, 1]; none without images.

    Raises:
        ValueError: the score does not fit the labels.
    """

    def __init__(
        self,
        model: Model,
        images: LabelledImages,
        training: LabelledImages,
        sampler: Sampler,
        score: Score = "auto",
        precision: PrecisionChoice = "auto",
    ) -> None:
        self.model, self.images, self.sampler, self.precision = model, images, sampler, precision
        self.shown = images if len(images) else training
        fitting = SCORES[model.labels]
        if score not in ("auto", *fitting):
            raise ValueError(f"score: wanted {', '.join(fitting)} for labels of kind {model.labels}, got {score}")
        self.names = fitting if len(images) else []
        self.decides = fitting[0] if score == "auto" else score

    def value(self, scores: dict[str, float]) -> float:
        """Return the score that decides as a number of which more is better."""
        return -scores[self.decides] if self.decides.endswith("error") else scores[self.decides]

    def score(self, preview: Path) -> dict[str, float]:
        """Score the network as it is; draw its first image to `preview`.

        Returns:
            "iou": intersection over union, mean over the classes other than background; "pixel_error": share of wrong
            pixels; for instances "seg", the Cell Tracking Challenge's score (without a cell in the truth, 1 where none
            is found, else 0); for a mask "rand_error", that of the ISBI challenge, its foreground being the cells.
            Without images, nothing.
        """
        confusion = Confusion(self.model.net.classes)
        truths, found, foregrounds = [], [], []
        for i in range(len(self.images)):
            probabilities, shown = self._segment(self.images, i)
            classes = (shown > 0).astype(np.int64) if "seg" in self.names else shown
            truth = self.images.target(i)
            counts = truth != IGNORED_CLASS
            confusion.add(np.where(counts, truth.astype(np.int16), -1), classes)
            if "seg" in self.names:
                truths.append(np.maximum(self.images.instances[i], 0))
                found.append(shown)
            if "rand_error" in self.names:
                truths.append(np.where(counts, truth, 0))
                foregrounds.append(np.where(counts, probabilities[1].clip(0, 1), 0))
            if i == 0:
                self._draw(shown, probabilities, preview)
        if not len(self.images):
            probabilities, shown = self._segment(self.shown, 0)
            self._draw(shown, probabilities, preview)
            return {}
        scores = {"iou": confusion.foreground_iou(), "pixel_error": confusion.pixel_error()}
        if "seg" in self.names:
            cells = any((truth > 0).any() for truth in truths)
            scores["seg"] = seg(truths, found) if cells else float(not any(labels.any() for labels in found))
        if "rand_error" in self.names:
            scores["rand_error"] = rand_error(truths, foregrounds)
        return {name: scores[name] for name in self.names}

    def _segment(self, images: LabelledImages, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return probabilities [K, H, W] and what they say, [H, W]: ids of objects or classes."""
        model = self.model
        image = images.images[index]
        probabilities = predict(
            model.net, image, probabilities=True, normalization=model.normalization, precision=self.precision
        )
        classes = probabilities.argmax(0)
        shown = label_instances(classes > 0) if SCORES[model.labels][0] == "seg" else classes
        return probabilities, shown

    def _draw(self, prediction: NDArray[Any], probabilities: NDArray[Any], path: Path) -> None:
        images = self.shown
        as_instances = SCORES[self.model.labels][0] == "seg"
        truth = images.instances[0] if as_instances else np.where(images.target(0) == 255, 0, images.target(0))
        _, weights = self.sampler.target(packed_labels(images, 0).to(self.sampler.class_weight.device))
        draw_preview(images.images[0], truth, prediction, 1 - probabilities[0], weights[0].cpu().numpy(), path)
