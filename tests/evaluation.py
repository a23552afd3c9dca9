"""Truths and predictions for the tests of the evaluate command, and their files."""

import numpy as np
import tifffile
from scipy import ndimage

from unet_fast.data import synthetic_cells
from unet_fast.evaluate import EvaluateConfig, evaluate


def membranes(count=2, size=(48, 56), seed=0):
    """Masks 0/255 of interior [N, H, W], and probabilities that resemble them."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(count, *size)), (0, 3, 3))
    interior = np.abs(field) > 0.3 * field.std()
    noise = ndimage.gaussian_filter(rng.normal(size=interior.shape), (0, 1, 1))
    chance = np.clip(0.2 + 0.6 * interior + 0.5 * noise, 0, 1)
    return np.where(interior, np.uint8(255), np.uint8(0)), chance.astype(np.float32)


def cells(count=2, seed=1):
    """Label images of cells, and labels that differ: one cell lost, one cut in two, two merged."""
    truths = [instances.astype(np.uint16) for instances in synthetic_cells(count, 120, seed=seed).instances]
    found = []
    for truth in truths:
        labels = truth.copy()
        first, second, third, fourth = np.unique(truth[truth > 0])[:4]
        labels[truth == first] = 0
        rows = np.nonzero((truth == second).any(1))[0]
        labels[rows[len(rows) // 2] :][truth[rows[len(rows) // 2] :] == second] = truth.max() + 1
        labels[truth == fourth] = third
        found.append(labels)
    return truths, found


def write(folder, names, images):
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, images, strict=True):
        tifffile.imwrite(folder / name, image, photometric="minisblack")
    return folder


def scores_of(truth, prediction, **options):
    return evaluate(EvaluateConfig(truth, prediction, **options))
