"""Scores of a network on whole held-back images, through the same overlap-tile path as prediction."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_fast.checkpoint import Model
from unet_fast.data import LabelledImages
from unet_fast.instances import label_instances
from unet_fast.metrics.confusion import Confusion
from unet_fast.metrics.ctc import seg
from unet_fast.plots import draw_preview
from unet_fast.predict import predict
from unet_fast.samples import Sampler, packed_labels


class Validator:
    """Scores a network on held-back images.

    Args:
        model: the network and how its images are normalised.
        images: held back from training; without any, there are no scores.
        sampler: of the run; it makes the weight map of the preview.

    Attributes:
        names: of the scores, in [0, 1]; the first decides which network is the best.
    """

    def __init__(self, model: Model, images: LabelledImages, sampler: Sampler) -> None:
        self.model, self.images, self.sampler = model, images, sampler
        self.names = ["seg", "iou", "pixel_error"] if model.labels == "instances" else ["iou", "pixel_error"]

    def score(self, preview: Path) -> dict[str, float]:
        """Score the network as it is; draw its first image to `preview`.

        Returns:
            "iou": intersection over union, mean over the classes other than background; "pixel_error": share of wrong
            pixels; for instances also "seg", the Cell Tracking Challenge's score.
        """
        confusion = Confusion(self.model.net.classes)
        truths, found = [], []
        for i, image in enumerate(self.images.images):
            probabilities = predict(self.model.net, image, probabilities=True, normalization=self.model.normalization)
            classes = probabilities.argmax(0)
            truth, shown = self.images.target(i), classes
            if self.model.labels == "instances":
                shown = label_instances(classes > 0)
                classes = (shown > 0).astype(np.int64)
                truths.append(np.maximum(self.images.instances[i], 0))
                found.append(shown)
            confusion.add(truth, classes)
            if i == 0:
                self._draw(shown, 1 - probabilities[0], preview)
        scores = {"iou": confusion.foreground_iou(), "pixel_error": confusion.pixel_error()}
        return {"seg": seg(truths, found), **scores} if truths else scores

    def _draw(self, prediction: NDArray[Any], probability: NDArray[Any], path: Path) -> None:
        truth = self.images.instances[0] if self.model.labels == "instances" else self.images.target(0)
        _, weights = self.sampler.target(packed_labels(self.images, 0).to(self.sampler.class_weight.device))
        draw_preview(self.images.images[0], truth, prediction, probability, weights[0].cpu().numpy(), path)
