"""elastic_warp against torch's grid_sample and scipy's map_coordinates, both on an interpolated dense field.

All deform an image and its labels by the same B-spline field of the paper's 3x3 control grid. map_coordinates is what
elasticdeform does, whose wheel does not run on numpy 2.
"""

import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F

from benchmarks.conftest import OURS
from unet_fast import ops, reference
from unet_fast.augment import identity_warp
from unet_fast.reference.elastic_warp import bspline_matrix


def grid_sample(image, labels, displacement, mode):
    height, width = image.shape[2:]
    rows, columns = bspline_matrix(height, displacement.flatten()), bspline_matrix(width, displacement.flatten())
    field = (rows @ displacement @ columns.T)[0]
    x = torch.linspace(-1, 1, width) + field[1] * (2 / (width - 1))
    y = torch.linspace(-1, 1, height)[:, None] + field[0] * (2 / (height - 1))
    grid = torch.stack([x, y], dim=-1)[None]
    options = {"padding_mode": "reflection", "align_corners": True}
    warped = F.grid_sample(image, grid, mode=mode, **options)
    return warped, F.grid_sample(labels[None].float(), grid, mode="nearest", **options)[0].to(labels.dtype)


def map_coordinates(image, labels, displacement, order):
    height, width = image.shape[2:]
    coarse = np.meshgrid(np.linspace(0, 2, height), np.linspace(0, 2, width), indexing="ij")
    field = [scipy.ndimage.map_coordinates(d, coarse, order=3, mode="mirror") for d in displacement[0].numpy()]
    place = np.meshgrid(np.arange(height), np.arange(width), indexing="ij") + np.stack(field)
    warped = scipy.ndimage.map_coordinates(image[0, 0].numpy(), place, order=order, mode="mirror")
    warped_labels = scipy.ndimage.map_coordinates(labels[0].numpy(), place, order=0, mode="mirror")
    return torch.from_numpy(warped)[None, None], torch.from_numpy(warped_labels)[None]


@pytest.mark.parametrize("order", ["bilinear", "cubic"])
@pytest.mark.parametrize(("side", "dtype"), [(512, torch.float32), (512, torch.uint8), (2048, torch.float32)])
def test_elastic_warp(compare, side, dtype, order):
    generator = torch.Generator().manual_seed(0)
    smooth = F.interpolate(torch.rand((1, 1, 20, 20), generator=generator), (side, side), mode="bicubic")
    image = (smooth.clamp(0, 1) * 255).to(dtype)
    labels = (image[:, 0] / 32).int()
    warp = identity_warp(torch.zeros(1, 2, dtype=torch.int64))
    warp = warp._replace(displacement=10 * torch.randn((1, 2, 3, 3), generator=generator))
    cubic = order == "cubic"

    def verify(ours, other):
        assert (ours[0] - other[0]).abs().mean() < 0.3  # of 255; the cubic kernels differ (Keys -0.5, -0.75, spline)
        assert (ours[1] == other[1]).float().mean() > 0.999

    exact = reference.elastic_warp(image, labels, warp, side, order=order)
    ours = ops.elastic_warp(image, labels, warp, side, order=order)
    for a, b in zip(ours, exact, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    rivals = {
        OURS: lambda: ops.elastic_warp(image, labels, warp, side, order=order),
        "grid_sample": lambda: grid_sample(
            image.float(), labels, warp.displacement, "bicubic" if cubic else "bilinear"
        ),
    }
    if side <= 512:
        rivals["scipy"] = lambda: map_coordinates(image.float(), labels, warp.displacement, 3 if cubic else 1)
    compare(rivals, group="elastic_warp", verify=verify, gbyte=side**2 * (image.element_size() + 12) / 1e9, rounds=5)
