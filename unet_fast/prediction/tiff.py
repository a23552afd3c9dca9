"""Windows of a TIFF file: only the strips or tiles that a window touches are read and decoded."""

import itertools
import math
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unet_fast.prediction.arrays import FileArray, Readable

# What a window touched is kept for the next one, which shares a border of tiles with it, or all of its strips:
# those of an image 30,000 pixels wide and a tile of 1020 high fit in here.
_CACHE_BYTES = 1 << 27


def open_tiff(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Readable:
    """Return the pixels of a series, shaped and ordered as the series is.

    Uncompressed data that lies in one piece is mapped; of everything else segments are decoded as they are needed.
    """
    keyframe = series.keyframe
    if series.dataoffset is not None and keyframe.is_final and keyframe.bitspersample % 8 == 0:
        dtype = np.dtype(keyframe.dtype).newbyteorder(file.byteorder)
        return FileArray(Path(file.filehandle.path), dtype, series.shape, series.dataoffset)
    if keyframe.imagedepth != 1 or series.dtype is None:
        return np.asarray(series.asarray())  # a volume in each page: rare, and read at once
    return TiffArray(file, series)


class TiffArray:
    """The pages of a series, segment by segment. A file whose pages are one strip each is decoded page by page.

    Args:
        file: stays open as long as this is used.
        series: its shape is that of the stack of pages, then that of a page: YX, YXS or SYX.
    """

    def __init__(self, file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
        self._file, self._series = file, series
        self._keyframe = series.keyframe
        self.shape: tuple[int, ...] = tuple(series.shape)
        self.dtype: np.dtype[Any] = np.dtype(series.dtype)
        page_axes = [axis for axis in self._keyframe.axes if axis in "SYX"]
        letters = series.axes[len(series.axes) - len(page_axes) :]
        self._sample = letters.find("S")  # place of the samples among the axes of a page; -1: none
        self._stack = self.shape[: len(self.shape) - len(letters)]
        self._cache: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
        self._needed: set[tuple[int, int]] = set()  # segments of the window that is being read
        self._cached, self._lock = 0, Lock()

    def __getitem__(self, index: Any) -> NDArray[Any]:
        split = len(self._stack)
        chosen = [
            range(part, part + 1) if isinstance(part, int) else range(*part.indices(length))
            for part, length in zip(index[:split], self._stack, strict=True)
        ]
        pages = [int(np.ravel_multi_index(place, self._stack)) if place else 0 for place in itertools.product(*chosen)]
        window = [range(*part.indices(length)) for part, length in zip(index[split:], self.shape[split:], strict=True)]
        with self._lock:
            self._needed.clear()
            read = np.stack([self._page_window(page, window) for page in pages])
            for key in self._cache.keys() - self._needed:
                self._cached -= self._cache.pop(key).nbytes
        kept = [len(part) for part, asked in zip(chosen, index[:split], strict=True) if isinstance(asked, slice)]
        shaped: NDArray[Any] = read.reshape(*kept, *read.shape[1:])
        return shaped

    def _page_window(self, page: int, window: list[range]) -> NDArray[Any]:
        """Read [h, w], [h, w, S] or [S, h, w] of a page."""
        samples = window.pop(self._sample) if self._sample >= 0 else range(1)
        rows, columns = window
        if self._sample >= 0:
            window.insert(self._sample, samples)
        separate = self._sample == 0  # a plane of segments for each sample
        result: NDArray[Any] = np.zeros((len(samples), len(rows), len(columns)), self.dtype)
        for sample in samples if separate else [0]:
            for segment, y, x in self._touched(page, sample, rows, columns):
                top, left = max(y, rows.start), max(x, columns.start)
                bottom, right = min(y + segment.shape[0], rows.stop), min(x + segment.shape[1], columns.stop)
                part = segment[top - y : bottom - y, left - x : right - x]
                here = np.s_[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start]
                if separate:
                    result[(sample - samples.start, *here)] = part[..., 0]
                else:
                    result[(slice(None), *here)] = part[..., samples.start : samples.stop].transpose(2, 0, 1)
        if self._sample < 0:
            return result.reshape(result.shape[1:])
        return result if separate else result.transpose(1, 2, 0)

    def _touched(self, page: int, sample: int, rows: range, columns: range) -> Iterator[tuple[NDArray[Any], int, int]]:
        """Yield the segments [h, w, S] that a window touches, each with (y, x) of its first pixel."""
        frame = self._keyframe
        strip = min(frame.rowsperstrip, frame.imagelength), frame.imagewidth
        height, width = (frame.tilelength, frame.tilewidth) if frame.is_tiled else strip
        across = math.ceil(frame.imagewidth / width)
        down = math.ceil(frame.imagelength / height)
        for y in range(rows.start // height, (rows.stop - 1) // height + 1):
            for x in range(columns.start // width, (columns.stop - 1) // width + 1):
                segment = self._segment(page, (sample * down + y) * across + x)
                if segment is not None:
                    yield segment, y * height, x * width

    def _segment(self, page: int, index: int) -> NDArray[Any] | None:
        self._needed.add((page, index))
        if (page, index) in self._cache:
            self._cache.move_to_end((page, index))
            return self._cache[page, index]
        frame = self._series[page]
        if frame is None or frame.databytecounts[index] == 0:
            return None  # a hole in the file reads as 0
        handle, size = self._file.filehandle, frame.databytecounts[index]
        handle.seek(frame.dataoffsets[index])
        data = handle.read(size)
        if len(data) != size:
            raise ValueError(f"it ends early: wanted {size} bytes of segment {index}, got {len(data)}")
        tables = {} if frame.jpegtables is None else {"jpegtables": frame.jpegtables}
        decoded = self._keyframe.decode(data, index, **tables)[0]
        if decoded is None:
            return None
        segment: NDArray[Any] = decoded[0]
        self._cache[page, index] = segment
        self._cached += segment.nbytes
        while self._cached > _CACHE_BYTES and len(self._cache) > 1:
            self._cached -= self._cache.popitem(last=False)[1].nbytes
        return segment
