"""Prediction of dask arrays: a graph of tiles that any scheduler of dask computes, on as many machines as it has.

A tile is one task, and one chunk of the result. It depends on the pixels of its window and on the network, which the
scheduler brings to a worker once. Tiles of a worker that is lost are computed again elsewhere, as dask does anyway.
"""

import hashlib
import os
import pickle
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unet_fast.data import Normalization
from unet_fast.data.images import planes_first
from unet_fast.data.zarr_images import open_zarr
from unet_fast.geometry import TilePlan, mirrored_extent
from unet_fast.networks import Network
from unet_fast.ops import mirror_tiles
from unet_fast.precision import DTYPES, Precision, PrecisionChoice, choose_precision
from unet_fast.prediction.memory import choose_tile
from unet_fast.prediction.network import Averaged, TileNetwork, evaluating
from unet_fast.prediction.source import Source
from unet_fast.prediction.work import class_dtype

if TYPE_CHECKING:
    import dask.array as da

Factors = tuple[NDArray[np.float32], NDArray[np.float32]]  # scale and offset of each channel


class TravellingNetwork:
    """A network as it goes to workers: its bytes, of which each process makes one network, ready for tiles.

    Args:
        payload: the pickled network.
        classes: K.
        average: see `TileNetwork`.
        precision: in which the network computes.
        probabilities: whether those are wanted, or the most probable classes.

    Attributes:
        state: the arguments.
        dtype: of what it computes.
    """

    def __init__(
        self, payload: bytes, classes: int, average: Averaged, precision: Precision, probabilities: bool
    ) -> None:
        self.state = payload, classes, average, precision, probabilities
        self._payload, self._classes, self._average, self._precision, self._probabilities = self.state
        self.dtype = np.dtype(np.float32) if probabilities else class_dtype(classes)
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return TravellingNetwork, self.state

    @property
    def key(self) -> str:
        """A name that two of them share only if they compute the same."""
        payload, *rest = self.state
        return f"network-{hashlib.sha256(payload + repr(rest).encode()).hexdigest()}"

    def shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        """Return the shape of what it computes for a window of that size."""
        return (self._classes, *size) if self._probabilities else size

    @cached_property
    def _network(self) -> TileNetwork:
        net: Network = pickle.loads(self._payload)
        net.eval()
        self._packed = net.packed_weights(DTYPES[self._precision])  # kept as long as the network
        self._packed.__enter__()
        return TileNetwork(net, self._average, self._precision)

    def __call__(
        self, pixels: NDArray[Any], origin: list[int], side: tuple[int, int], size: tuple[int, int], factors: Factors
    ) -> NDArray[Any]:
        """Compute a tile.

        Args:
            pixels: [C, h, w], all that the tile reads of the image.
            origin: (y, x) of the tile in them.
            side: (height, width) of the tile.
            size: (height, width) of its part of the result.
            factors: scale and offset of each channel.

        Returns:
            class numbers [h, w], or float32 [K, h, w].
        """
        source = Source(pixels, "CYX", "image")
        window = source.read(0, slice(0, source.size[0]), slice(0, source.size[1]))
        with self._lock, torch.inference_mode():  # one tile at a time: it has all threads, and the memory of one
            network = self._network
            device = next(network.net.parameters()).device
            scale, offset = (torch.from_numpy(factor).to(device) for factor in factors)
            image, origins = torch.from_numpy(window).to(device), torch.tensor([origin], device=device)
            tile = mirror_tiles(image, origins, side, scale=scale, offset=offset)
            with evaluating(network.net, False, self._precision):
                found: Tensor = network(tile)[0, :, : size[0], : size[1]].cpu()
        values: NDArray[Any] = found.numpy() if self._probabilities else found.argmax(0).numpy()
        return np.ascontiguousarray(values, self.dtype)


def is_lazy(image: object) -> bool:
    """Whether it is a dask array or a path, of which `predict` reads and computes nothing before it must."""
    return isinstance(image, str | os.PathLike) or hasattr(image, "__dask_graph__")


def predict_dask(
    model: Network,
    image: "da.Array | str | os.PathLike[str]",
    tile: int | tuple[int, int] | None,
    probabilities: bool,
    normalization: Normalization,
    average: Averaged,
    precision: PrecisionChoice = "auto",
) -> "da.Array":
    """Return the result of `predict` for each plane of an image, to be computed; see there.

    Args:
        model: the network, of which a copy is kept.
        image: [H, W] or [C, H, W], or the path of an OME-Zarr image.
        tile: see `predict`.
        probabilities: see `predict`.
        normalization: taken from each plane at once, which is read for that now.
        average: see `predict`.
        precision: see `predict`; of the device where the network is now.

    Returns:
        [..., H, W] or [..., K, H, W], with the axes of the planes in front; a chunk for each tile.

    Raises:
        ValueError: dask is not installed, the image does not suit the network, or the tile is illegal.
    """
    try:
        import dask.array as da  # noqa: PLC0415
    except ImportError as error:
        raise ValueError("image: to segment it lazily needs dask: pip install 'unet_fast[dask]'") from error
    if isinstance(image, str | os.PathLike):
        opened, axes, _ = open_zarr(Path(image))
        array, name = da.from_zarr(opened), str(image)
    else:
        array, axes, name = image, {2: "YX", 3: "CYX"}.get(image.ndim, ""), "image"
    if not axes:
        raise ValueError(f"image: wanted shape [H, W] or [C, H, W], got {list(array.shape)}")
    source = Source(array, axes, name)
    if source.channels != model.channels:
        raise ValueError(f"{name}: wanted {model.channels} channel(s), as the network has, got {source.channels}")
    stored = np.dtype(array.dtype)
    if stored.kind in "iu" and stored.name not in {"uint8", "uint16"}:
        raise ValueError(
            f"{name}: wanted bool, uint8, uint16 or floating-point numbers, got {stored.name}: use .astype"
        )
    device = next(model.parameters()).device
    chosen = choose_precision(precision, device)
    side = choose_tile(model, source.size, None, device, DTYPES[chosen]) if tile is None else tile
    plan = TilePlan(source.size, side, model.sides)
    network = TravellingNetwork(pickle.dumps(model), model.classes, average, chosen, probabilities)
    planes, found = array.transpose(planes_first(axes)), []
    for number, index in enumerate(np.ndindex(*source.plane_shape)):
        factors = normalization.streamed_scale_and_offset(partial(source.blocks, number), source.channels, source.dtype)
        pixels = planes[index].reshape(source.channels, *source.size)
        found.append(_plane(pixels, factors, plan, network))
    return da.stack(found).reshape(*source.plane_shape, *found[0].shape) if source.plane_shape else found[0]


def _plane(pixels: "da.Array", factors: Factors, plan: TilePlan, network: TravellingNetwork) -> "da.Array":
    """Return the tiles of a plane [C, H, W] beside each other."""
    import dask.array as da  # noqa: PLC0415
    from dask.delayed import delayed  # noqa: PLC0415

    # A task that gives the network: a mere object would be sent to the workers again with every tile.
    compute = delayed(TravellingNetwork)(*network.state, dask_key_name=network.key)
    rows: dict[int, list[da.Array]] = {}
    for origin, (y, x) in zip(plan.input_origins.tolist(), plan.output_origins.tolist(), strict=True):
        extents = [mirrored_extent(*axis) for axis in zip(origin, plan.input_side, plan.size, strict=True)]
        window = pixels[:, slice(*extents[0]), slice(*extents[1])]
        inside = [start - extent[0] for start, extent in zip(origin, extents, strict=True)]
        size = min(plan.step[0], plan.size[0] - y), min(plan.step[1], plan.size[1] - x)
        tile = compute(window, inside, plan.input_side, size, factors)
        rows.setdefault(y, []).append(da.from_delayed(tile, network.shape(size), network.dtype))
    plane: da.Array = da.concatenate([da.concatenate(row, axis=-1) for row in rows.values()], axis=-2)
    return plane
