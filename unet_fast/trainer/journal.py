"""What a run says about itself while it goes: metrics.csv, progress.png, a line per epoch, TensorBoard."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from unet_fast.atomic_write import atomic_write
from unet_fast.plots import draw_progress

_SCORES = {"seg", "iou", "rand_error", "pixel_error", "loss"}


class Stopwatch:
    """Seconds that training took, and how many of them went by waiting for data."""

    def __init__(self) -> None:
        self.tiles, self.seconds, self.waiting = 0, 0.0, 0.0

    @contextmanager
    def training(self, tiles: int) -> Iterator[None]:
        """Count the time of this block, a step of so many tiles."""
        started = time.monotonic()
        yield
        self.tiles, self.seconds = self.tiles + tiles, self.seconds + time.monotonic() - started

    @contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """Count the time of this block, within a step, as waiting."""
        started = time.monotonic()
        yield
        self.waiting += time.monotonic() - started

    def read(self) -> dict[str, float]:
        """Return the speed since the last reading, and the share of the time that was waiting; {} without a step."""
        tiles, seconds, waiting = self.tiles, self.seconds, self.waiting
        self.tiles, self.seconds, self.waiting = 0, 0.0, 0.0
        return {"tiles_per_second": tiles / seconds, "waiting_for_data": waiting / seconds} if tiles else {}


class Journal:
    """The record of a run, in its folder.

    Args:
        out: folder of the run.
        scores: names of the scores.
        tensorboard: also write TensorBoard events.

    Raises:
        ValueError: TensorBoard is wanted and not installed.
    """

    def __init__(self, out: Path, scores: Sequence[str], *, tensorboard: bool) -> None:
        self.out, self.scores = out, scores
        self.writer = _tensorboard_writer(out) if tensorboard else None

    def write(self, rows: Sequence[dict[str, float]], remaining: float | None) -> None:
        """Write down the epochs so far, and print a line about the last.

        Args:
            rows: one for each validation; "epoch", "step", "hours", and what was measured.
            remaining: seconds until the end of the run, None where unknown.
        """
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines = [",".join(names)] + [",".join(f"{row[n]:.6g}" if n in row else "" for n in names) for row in rows]
        with atomic_write(self.out / "metrics.csv") as temporary:
            temporary.write_text("\n".join(lines) + "\n")
        draw_progress(rows, self.scores, self.out / "progress.png")
        row = rows[-1]
        if self.writer is not None:
            for name, value in row.items():
                self.writer.add_scalar(name, value, int(row["step"]))
            self.writer.flush()
        tqdm.write(_line(row, remaining))


def _line(row: dict[str, float], remaining: float | None) -> str:
    parts = [f"epoch {row['epoch']:3.4g}"] + [f"{name} {row[name]:.4f}" for name in row if name in _SCORES]
    if "tiles_per_second" in row:
        waiting = 100 * row["waiting_for_data"]
        parts.append(f"{row['tiles_per_second']:.3g} tiles/s, {waiting:.0f} % waiting for data")
    clock = f"{_duration(3600 * row['hours'])} done"
    return "  ".join([*parts, clock if remaining is None else f"{clock}, {_duration(remaining)} to go"])


def _duration(seconds: float) -> str:
    """Write seconds as people do: 42 s, 7 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _tensorboard_writer(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise ValueError('tensorboard: not installed: pip install "unet_fast[tensorboard]"') from error
    return SummaryWriter(out)
