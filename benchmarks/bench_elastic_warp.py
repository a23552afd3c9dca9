"""elastic_warp against torch's grid_sample, OpenCV's remap and scipy's map_coordinates, on an interpolated dense field.

All deform an image and its labels by the same B-spline field of the paper's 3x3 control grid. map_coordinates is what
elasticdeform does, whose wheel does not run on numpy 2. OpenCV interpolates with weights in steps of 1/32 pixel.
The second row of grid_sample leaves out what each new deformation costs before it, and counts for no ratio.
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

try:
    import cv2
except ImportError:  # a peer, of the extra [bench]
    cv2 = None


def dense_field(displacement, size):
    """As products of matrices, which is faster than the reference."""
    rows, columns = bspline_matrix(size[0], displacement.flatten()), bspline_matrix(size[1], displacement.flatten())
    return (rows @ displacement @ columns.T)[0]


def dense_grid(displacement, size):
    """What grid_sample reads at: [1, H, W, 2] (x, y) in units of half the image."""
    height, width = size
    field = dense_field(displacement, size)
    x = torch.linspace(-1, 1, width) + field[1] * (2 / (width - 1))
    y = torch.linspace(-1, 1, height)[:, None] + field[0] * (2 / (height - 1))
    return torch.stack([x, y], dim=-1)[None]


def grid_sample(image, labels, grid, mode):
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


def remap(image, labels, displacement, mode):
    """`image` and `labels` [H, W] as numpy arrays; OpenCV moves no int32."""
    field = dense_field(displacement, image.shape).numpy()
    x = np.arange(image.shape[1], dtype=np.float32) + field[1]
    y = np.arange(image.shape[0], dtype=np.float32)[:, None] + field[0]
    warped = cv2.remap(image, x, y, mode, borderMode=cv2.BORDER_REFLECT_101)
    warped_labels = cv2.remap(labels, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
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
        assert (ours[0] - other[0]).abs().mean() < 0.6  # of 255: rounding to uint8; cubic kernels, Keys -0.5 and -0.75
        assert (ours[1] == other[1]).float().mean() > 0.99

    exact = reference.elastic_warp(image, labels, warp, side, order=order)
    ours = ops.elastic_warp(image, labels, warp, side, order=order)
    for a, b in zip(ours, exact, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    mode = "bicubic" if cubic else "bilinear"
    existing = dense_grid(warp.displacement, (side, side))
    rivals = {
        OURS: lambda: ops.elastic_warp(image, labels, warp, side, order=order),
        "grid_sample": lambda: grid_sample(image.float(), labels, dense_grid(warp.displacement, (side, side)), mode),
        "grid_sample on a grid that exists": lambda: grid_sample(image.float(), labels, existing, mode),
    }
    if cv2 is not None:
        cv2.setNumThreads(torch.get_num_threads())
        arrays, cv2_mode = (
            (image[0, 0].numpy(), labels[0].short().numpy()),
            cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR,
        )
        rivals["OpenCV"] = lambda: remap(*arrays, warp.displacement, cv2_mode)
    if side <= 512:
        rivals["scipy"] = lambda: map_coordinates(image.float(), labels, warp.displacement, 3 if cubic else 1)
    compare(
        rivals,
        group="elastic_warp",
        verify=verify,
        gbyte=side**2 * (image.element_size() + 12) / 1e9,
        references=("grid_sample on a grid that exists",),
    )
