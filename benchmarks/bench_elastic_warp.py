"""elastic_warp against grid_sample, kornia, OpenCV, scikit-image and scipy, on an interpolated dense field.

All deform an image and its labels by the same B-spline field of the paper's 3x3 control grid. map_coordinates is what
elasticdeform does, whose wheel does not run on numpy 2. OpenCV interpolates with weights in steps of 1/32 pixel.
grid_sample on a grid that exists, and OpenCV on maps that exist, leave out what each new deformation costs before it,
and count for no ratio. "interpolate, grid_sample" is how the dense field is mostly made in PyTorch: by F.interpolate,
whose bicubic surface through the grid is another one.
"""

import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F

from benchmarks import peers, rivals
from benchmarks.agreement import EQUAL, Agreement
from benchmarks.conftest import OURS
from unet_fast import ops, reference
from unet_fast.augment import identity_warp
from unet_fast.reference.elastic_warp import bspline_matrix

if peers.installed("kornia"):
    from kornia.geometry.transform import remap as kornia_remap
if peers.installed("OpenCV"):
    import cv2
if peers.installed("scikit-image"):
    from skimage.transform import warp as skimage_warp

EXISTING, EXISTING_MAPS = "grid_sample on a grid that exists", "OpenCV on maps that exist"
INTERPOLATED = "interpolate, grid_sample"
SMALL = 512  # pixels a side, up to which the slow ones are timed


def dense_field(displacement, size):
    """As products of matrices, which is faster than the reference."""
    rows, columns = bspline_matrix(size[0], displacement.flatten()), bspline_matrix(size[1], displacement.flatten())
    return (rows @ displacement @ columns.T)[0]


def grid_of(field):
    """What grid_sample reads at: [1, H, W, 2] (x, y) in units of half the image, of a field (dy, dx) [2, H, W]."""
    height, width = field.shape[1:]
    x = torch.linspace(-1, 1, width) + field[1] * (2 / (width - 1))
    y = torch.linspace(-1, 1, height)[:, None] + field[0] * (2 / (height - 1))
    return torch.stack([x, y], dim=-1)[None]


def grid_sample_at(image, labels, grid, mode):
    options = {"padding_mode": "reflection", "align_corners": True}
    warped = F.grid_sample(image, grid, mode=mode, **options)
    return warped, F.grid_sample(labels[None].float(), grid, mode="nearest", **options)[0].to(labels.dtype)


def grid_sample(image, labels, displacement, mode):
    return grid_sample_at(image, labels, grid_of(dense_field(displacement, image.shape[2:])), mode)


def interpolate_grid_sample(image, labels, displacement, mode):
    field = F.interpolate(displacement, image.shape[2:], mode="bicubic", align_corners=True)[0]
    return grid_sample_at(image, labels, grid_of(field), mode)


def kornia(image, labels, displacement, mode):
    field = dense_field(displacement, image.shape[2:])
    x = (torch.arange(image.shape[3]) + field[1])[None]
    y = (torch.arange(image.shape[2])[:, None] + field[0])[None]
    options = {"padding_mode": "reflection", "align_corners": True}
    warped = kornia_remap(image, x, y, mode=mode, **options)
    return warped, kornia_remap(labels[None].float(), x, y, mode="nearest", **options)[0].to(labels.dtype)


def places(displacement, size):
    """Where each pixel is read, [2, H, W], with the field interpolated by scipy."""
    coarse = np.meshgrid(*(np.linspace(0, 2, side) for side in size), indexing="ij")
    field = [scipy.ndimage.map_coordinates(d, coarse, order=3, mode="mirror") for d in displacement[0].numpy()]
    return np.meshgrid(*map(np.arange, size), indexing="ij") + np.stack(field)


def map_coordinates(image, labels, displacement, order):
    place = places(displacement, image.shape[2:])
    warped = scipy.ndimage.map_coordinates(image[0, 0].numpy(), place, order=order, mode="mirror")
    warped_labels = scipy.ndimage.map_coordinates(labels[0].numpy(), place, order=0, mode="mirror")
    return torch.from_numpy(warped)[None, None], torch.from_numpy(warped_labels)[None]


def scikit_image(image, labels, displacement, order):
    place, options = places(displacement, image.shape[2:]), {"mode": "reflect", "preserve_range": True}
    warped = skimage_warp(image[0, 0].numpy(), place, order=order, **options)
    warped_labels = skimage_warp(labels[0].numpy(), place, order=0, **options)
    return torch.from_numpy(warped)[None, None], torch.from_numpy(warped_labels)[None]


def dense_maps(displacement, size):
    """What OpenCV reads at: y and x of each pixel, [H, W] each."""
    field = dense_field(displacement, size).numpy()
    return np.arange(size[0], dtype=np.float32)[:, None] + field[0], np.arange(size[1], dtype=np.float32) + field[1]


def remap_at(image, labels, maps, mode):
    """`image` and `labels` [H, W] as numpy arrays; OpenCV moves no int32."""
    y, x = maps
    warped = cv2.remap(image, x, y, mode, borderMode=cv2.BORDER_REFLECT_101)
    warped_labels = cv2.remap(labels, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
    return torch.from_numpy(warped)[None, None], torch.from_numpy(warped_labels)[None]


def remap(image, labels, displacement, mode):
    return remap_at(image, labels, dense_maps(displacement, image.shape), mode)


def differences(ours, other):
    """The mean difference of the images, of 255; infinite where more than one label in a hundred differs.

    Images differ by rounding to uint8, and by their cubic kernels (ours Keys, -0.5, PyTorch's -0.75).
    """
    agreed = (ours[1] == other[1]).float().mean()
    return float((ours[0] - other[0]).abs().mean()) if agreed > 0.99 else float("inf")


NEARLY = Agreement("mean grey difference of 255, labels 99 % equal", 0.6, differences)


@pytest.mark.parametrize("order", ["bilinear", "cubic"])
@pytest.mark.parametrize(("side", "dtype"), [(512, torch.float32), (512, torch.uint8), (2048, torch.float32)], ids=str)
def test_elastic_warp(compare, dear, side, dtype, order):
    generator = torch.Generator().manual_seed(0)
    smooth = F.interpolate(torch.rand((1, 1, 20, 20), generator=generator), (side, side), mode="bicubic")
    image = (smooth.clamp(0, 1) * 255).to(dtype)
    labels = (image[:, 0] / 32).int()
    warp = identity_warp(torch.zeros(1, 2, dtype=torch.int64))
    warp = warp._replace(displacement=10 * torch.randn((1, 2, 3, 3), generator=generator))
    cubic = order == "cubic"
    mode, degree, field = "bicubic" if cubic else "bilinear", 3 if cubic else 1, warp.displacement
    ours = ops.elastic_warp(image, labels, warp, side, order=order)
    EQUAL.check("reference", ours, reference.elastic_warp(image, labels, warp, side, order=order))

    existing = grid_of(dense_field(field, (side, side)))
    calls = {
        OURS: lambda: ops.elastic_warp(image, labels, warp, side, order=order),
        "grid_sample": lambda: grid_sample(image.float(), labels, field, mode),
        INTERPOLATED: lambda: interpolate_grid_sample(image.float(), labels, field, mode),
        EXISTING: lambda: grid_sample_at(image.float(), labels, existing, mode),
    }
    if dear.compiled:
        compiled = rivals.compiled(grid_sample)
        calls["grid_sample, torch.compile"] = lambda: compiled(image.float(), labels, field, mode)
    if peers.installed("kornia"):
        calls["kornia"] = lambda: kornia(image.float(), labels, field, mode)
    if peers.installed("OpenCV"):
        cv2.setNumThreads(torch.get_num_threads())
        arrays = image[0, 0].numpy(), labels[0].short().numpy()
        kernel = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
        calls["OpenCV"] = lambda: remap(*arrays, field, kernel)
        maps = dense_maps(field, (side, side))
        calls[EXISTING_MAPS] = lambda: remap_at(*arrays, maps, kernel)
    if side <= SMALL:
        calls["scipy"] = lambda: map_coordinates(image.float(), labels, field, degree)
    if side <= SMALL and peers.installed("scikit-image"):
        calls["scikit-image"] = lambda: scikit_image(image.float(), labels, field, degree)
    compare(
        calls,
        group="elastic_warp",
        agreement=NEARLY,
        exceptions={INTERPOLATED: None},
        references=(EXISTING, EXISTING_MAPS),
        gbyte=side**2 * (image.element_size() + 12) / 1e9,
    )
