"""Drawn images of membranes for the tests of the metrics: True is interior, False membrane."""

import numpy as np
from scipy import ndimage


def two_cells(kind=""):
    """16 x 16 pixels, two cells split by a membrane in column 8; or a proposal that differs from that."""
    image = np.ones((16, 16), dtype=bool)
    membrane = {"shift 1": np.s_[:, 9], "shift 2": np.s_[:, 10], "thick": np.s_[:, 7:10]}.get(kind, np.s_[:, 8])
    image[membrane] = False
    if kind == "merge":
        image[5:9, 8] = True
    if kind == "split":
        image[8, :8] = False
    if kind == "hole":
        image[3, 3] = False
    return image


def random_pair(seed, shape=(20, 24)):
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.5, 2)
    height = ndimage.gaussian_filter(rng.normal(size=shape), scale)
    chance = height + ndimage.gaussian_filter(rng.normal(size=shape), scale)
    return height > 0, (chance - chance.min()) / np.ptp(chance)


# Proposal: mismatch, 1 - F, warping (all), warping (splits and merges), Rand N2, N choose 2, classic.


def components(image):
    """Objects (4-connected) and pieces of background (8-connected, the outside is background)."""
    padded = np.pad(image, 1)
    return ndimage.label(padded)[1], ndimage.label(~padded, np.ones((3, 3)))[1]
