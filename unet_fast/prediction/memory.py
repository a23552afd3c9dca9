"""How large a tile may be: the largest legal one whose network fits into the memory that is free."""

import re
from pathlib import Path

import torch

from unet_fast.geometry import legal_side, nearest_legal_sides
from unet_fast.networks import Network
from unet_fast.ops import build_info

# Larger tiles cost fewer operations per pixel of the result: at base 64 2.0 MFLOP at 572, 1.7 at 1020, 1.5 at 2044,
# 1.4 without end. Beyond this little is gained, and an interrupted run would lose more.
LARGEST_TILE = 2044

# What is alive at once, measured (tests/prediction/test_memory.py): float32 maps of the size of the tile beside those
# of the network (`maps_per_channel`). The packed weights are counted.
_MAPS = 10
_SHARE = 0.5  # of what is free
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_memory(text: str) -> int:
    """Read an amount of memory such as "800M" or "6G" (1024-based), in bytes.

    Raises:
        ValueError: the text is no amount.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if match is None or float(match[1]) == 0:
        raise ValueError(f"memory: wanted an amount such as 800M or 6G, got {text}")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def free_memory(device: torch.device) -> int:
    """Return how many bytes are free on a device; where the machine does not tell, 4 GB."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    amounts = [_available(Path("/proc/meminfo")), _left_in_group(Path("/sys/fs/cgroup"))]
    return min((amount for amount in amounts if amount is not None), default=4 << 30)


def _available(meminfo: Path) -> int | None:
    if not meminfo.is_file():
        return None
    match = re.search(r"^MemAvailable:\s*(\d+) kB", meminfo.read_text(), re.MULTILINE)
    return None if match is None else int(match[1]) * 1024


def _left_in_group(group: Path) -> int | None:
    """Return what a container may still take."""
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return None
    return int(limit) - int(used) if limit.isdigit() else None


def is_memory_short(error: BaseException) -> bool:
    """Whether an error says that memory is short; torch has a type for that on CUDA alone."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)


def tile_bytes(net: Network, tile: tuple[int, int], dtype: torch.dtype = torch.float32, count: int = 1) -> int:
    """Return how many bytes the network needs at most beside its parameters.

    Args:
        net: the network.
        tile: (height, width) of its input.
        dtype: that it computes with.
        count: of the tiles that it computes at once.
    """
    maps = net.maps_per_channel * net.base * dtype.itemsize + 4 * (_MAPS + net.channels + 3 * net.classes)
    return int(maps * tile[0] * tile[1]) * count + _packed_bytes(net)


def _packed_bytes(net: Network) -> int:
    """Return what the packed weights take at most; see `unet_fast.ops.pack_conv_relu`."""
    copies = 6 if build_info().instruction_set == "amx" else 4
    weights = [weight for weight in net.parameters() if weight.shape[2:] == (3, 3)]
    return copies * 4 * sum(weight.numel() for weight in weights)


def choose_tile(
    net: Network,
    size: tuple[int, int],
    memory: int | None,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> tuple[int, int]:
    """Return the largest input sides (height, width) of a tile of an image.

    Args:
        net: the network.
        size: (H, W) of the image in pixels.
        memory: bytes that a tile may need; None: half of what is free.
        device: where the network runs.
        dtype: that it computes with.

    Raises:
        ValueError: not even the smallest tile fits.
    """
    budget, dtype = _budget(memory, device), _computed(dtype, device)
    whole = [legal_side(side, net.sides) for side in size]
    grid = net.sides.grid
    largest, smallest = nearest_legal_sides(LARGEST_TILE, net.sides)[0], legal_side(grid, net.sides)
    for side in range(largest, smallest - 1, -grid):
        tile = min(side, whole[0]), min(side, whole[1])
        if tile_bytes(net, tile, dtype) <= budget:
            return tile
    least = min(smallest, whole[0]), min(smallest, whole[1])
    wanted = tile_bytes(net, least, dtype) / (1 << 20)
    raise ValueError(
        f"memory: wanted at least {wanted:.0f} MB for a tile of {least[0]}x{least[1]} pixels (its output is "
        f"{net.sides.border} smaller), got {budget / (1 << 20):.0f} MB"
    )


def choose_batch(
    net: Network,
    tile: tuple[int, int],
    memory: int | None,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> int:
    """Return how many tiles are computed at once: on CUDA those that fit and keep it busy, on the CPU one.

    Args:
        net: the network.
        tile: input sides (height, width).
        memory: bytes that they may need; None: half of what is free.
        device: where the network runs.
        dtype: that it computes with.
    """
    if device.type != "cuda":
        return 1
    budget = _budget(memory, device)
    count = max(1, LARGEST_TILE**2 // (tile[0] * tile[1]))
    while count > 1 and tile_bytes(net, tile, dtype, count) > budget:
        count -= 1
    return count


def _budget(memory: int | None, device: torch.device) -> int:
    return int(_SHARE * free_memory(device)) if memory is None else memory


def _computed(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Return the dtype that maps have: half the precision is no half of the memory on the CPU."""
    return dtype if device.type == "cuda" else torch.float32
