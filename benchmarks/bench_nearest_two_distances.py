"""nearest_two_distances against scipy's Euclidean distance transform, one per cell."""

import numpy as np
import torch
from scipy import ndimage

from benchmarks.conftest import OURS
from benchmarks.instances import cells
from unet_fast import ops


def test_nearest_two_distances(compare, device):
    labels = cells(60, 512).to(device)

    def two_least() -> tuple[torch.Tensor, ...]:
        ids = labels[0].cpu().numpy()
        least = np.full((2, *ids.shape), np.inf)
        for cell in range(1, ids.max() + 1):
            distance = ndimage.distance_transform_edt(ids != cell)
            least[1] = np.minimum(least[1], np.maximum(least[0], distance))
            least[0] = np.minimum(least[0], distance)
        return tuple(torch.from_numpy(least.astype(np.float32))[:, None].to(device))

    compare(
        {OURS: lambda: ops.nearest_two_distances(labels), "scipy EDT per cell": two_least},
        group="nearest_two_distances",
        verify=lambda ours, other: torch.testing.assert_close(ours, other, rtol=0, atol=0),
        rounds=3,
    )
