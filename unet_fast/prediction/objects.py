"""Number the objects of a mask that is larger than memory: exactly as `label_instances` numbers those of an image.

The mask is read in bands of rows. Each band's pieces get numbers of their own; where pieces meet across the edge of two
bands they are one. As bands follow each other from top to bottom, so do numbers: the smallest number of an object is
that of its first pixel. What is kept in memory is a band, and a few numbers for each piece.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from unet_fast.instances import REACH, Instances, fill_gaps, grow
from unet_fast.prediction.arrays import FileArray

SEED = 2  # in a mask, a pixel that is surely of an object; 1 is one that may be
BAND_PIXELS = 1 << 22
_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)
_NONE = np.iinfo(np.int64).max


class Objects:
    """The objects of one plane.

    Args:
        mask: [H, W] whole numbers; what is above 0 is an object, and SEED a seed.
        pieces: [H, W] int32 on disk, is written to.
        gap: see `label_instances`.
        min_size: see `label_instances`.
        fill_holes: see `label_instances`.
        seeded: whether objects grow from seeds.
        band_pixels: about how many pixels are in memory at once.

    Attributes:
        count: of the objects.
    """

    def __init__(
        self,
        mask: FileArray,
        pieces: FileArray,
        gap: int = 1,
        min_size: int = 0,
        fill_holes: bool = False,
        seeded: bool = False,
        band_pixels: int = BAND_PIXELS,
    ) -> None:
        self._mask, self._pieces, self._gap, self._seeded = mask, pieces, gap, seeded
        self._halo = gap + (REACH if seeded else 0)  # pixels around a window that matter
        height, width = pieces.shape
        step = max(1, band_pixels // width)
        self._bands = [slice(y, min(y + step, height)) for y in range(0, height, step)]
        sizes = self._number_pieces()
        if fill_holes:
            self._fill_holes(sizes)
        kept = self._sums(sizes) >= max(min_size, 1)
        kept[0] = False
        self.count = int(kept.sum())
        self._id_of_piece = np.where(kept, np.cumsum(kept), 0).astype(np.int32)[self._object_of_piece]

    def bands(self) -> Iterator[Instances]:
        """Yield the ids of the objects from top to bottom, [h, W] int32."""
        for rows in self._bands:
            yield self.window(rows, slice(0, self._pieces.shape[1]))

    def window(self, rows: slice, columns: slice) -> Instances:
        """Return the ids of the objects in a window, [h, w] int32."""
        height, width = self._pieces.shape
        top, left = max(rows.start - self._halo, 0), max(columns.start - self._halo, 0)
        bottom, right = min(rows.stop + self._halo, height), min(columns.stop + self._halo, width)
        instances: Instances = self._id_of_piece[self._pieces[top:bottom, left:right]]
        if self._seeded:
            grow(instances, self._mask[top:bottom, left:right] > 0)
        if self._gap:
            fill_gaps(instances, self._gap)
        return instances[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]

    def _number_pieces(self) -> NDArray[np.int64]:
        """Number the pieces of each band, and find which are one object; return their sizes in pixels."""
        meetings, sizes, count = [], [np.zeros(1, np.int64)], 0
        above = np.zeros(self._mask.shape[1], np.int32)
        for rows in self._bands:
            numbered, found = ndimage.label(self._mask[rows] >= (SEED if self._seeded else 1))
            pieces = np.asarray(numbered, dtype=np.int32)
            sizes.append(np.bincount(pieces.ravel(), minlength=found + 1)[1:])
            pieces[pieces > 0] += count
            meetings.append(_pairs(above, pieces[0]))
            count += found
            self._pieces[rows] = pieces
            above = pieces[-1]
        self._object_of_piece = _merged(meetings, count + 1)
        return np.concatenate(sizes)

    def _sums(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Add up, for each object, what its pieces have."""
        return np.bincount(self._object_of_piece, weights=values).astype(np.int64)

    def _fill_holes(self, sizes: NDArray[np.int64]) -> None:
        """Give each 8-connected background region that meets a single object, and not the border, to that object."""
        owners = self._owners_of_regions()
        piece_of_object = np.zeros(self._object_of_piece.max() + 1, np.int32)
        places = np.arange(len(self._object_of_piece))
        piece_of_object[self._object_of_piece[::-1]] = places[::-1]
        before = 0
        for rows in self._bands:
            pieces = self._pieces[rows]
            regions, found = ndimage.label(pieces == 0, _EIGHT_CONNECTED)
            owner = np.concatenate([[0], owners[before + 1 : before + found + 1]])
            filled = piece_of_object[owner][regions]
            sizes += np.bincount(filled.ravel(), minlength=len(sizes)) * (np.arange(len(sizes)) > 0)
            self._pieces[rows] = pieces + filled
            before += found

    def _owners_of_regions(self) -> NDArray[np.int64]:
        """Return the object that owns each region of each band, 0 for regions that are no holes."""
        meetings: list[NDArray[Any]] = []
        lowest, highest, at_border, count = [np.full(1, _NONE)], [np.zeros(1, np.int64)], [np.ones(1, bool)], 0
        width = self._pieces.shape[1]
        above, above_region = np.zeros(width, np.int64), np.zeros(width, np.int64)
        for rows in self._bands:
            objects = self._object_of_piece[self._pieces[rows]].astype(np.int64)
            numbered, found = ndimage.label(objects == 0, _EIGHT_CONNECTED)
            regions = np.where(np.asarray(numbered) > 0, np.asarray(numbered, dtype=np.int64) + count, 0)
            count += found
            lowest.append(np.full(found, _NONE))
            highest.append(np.zeros(found, np.int64))
            at_border.append(np.zeros(found, bool))
            limits = [np.concatenate(lowest), np.concatenate(highest)]
            lowest, highest = [limits[0]], [limits[1]]
            for here, there in _neighbours(regions, objects):
                _note(limits, here, there)
            _note(limits, above_region, objects[0])
            _note(limits, regions[0], above)
            meetings += [_pairs(above_region, regions[0])]
            meetings += [_pairs(above_region[:-1], regions[0][1:]), _pairs(above_region[1:], regions[0][:-1])]
            touched = np.concatenate(at_border)
            touched[regions[:, 0]] = touched[regions[:, -1]] = True
            if rows.start == 0:
                touched[regions[0]] = True
            if rows.stop == self._pieces.shape[0]:
                touched[regions[-1]] = True
            at_border = [touched]
            above, above_region = objects[-1], regions[-1]
        return _owners(_merged(meetings, count + 1), lowest[0], highest[0], at_border[0])


def _neighbours(regions: NDArray[Any], objects: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        yield regions[here], objects[there]
        yield regions[there], objects[here]


def _note(limits: list[NDArray[np.int64]], regions: NDArray[Any], objects: NDArray[Any]) -> None:
    """Note the lowest and the highest object that each region meets."""
    meet = (regions > 0) & (objects > 0)
    np.minimum.at(limits[0], regions[meet], objects[meet])
    np.maximum.at(limits[1], regions[meet], objects[meet])


def _owners(
    merged: NDArray[np.int64], lowest: NDArray[np.int64], highest: NDArray[np.int64], at_border: NDArray[np.bool_]
) -> NDArray[np.int64]:
    count = int(merged.max()) + 1
    low, high, border = np.full(count, _NONE), np.zeros(count, np.int64), np.zeros(count, bool)
    np.minimum.at(low, merged, lowest)
    np.maximum.at(high, merged, highest)
    np.logical_or.at(border, merged, at_border)
    return np.where((low == high) & ~border, high, 0)[merged]


def _pairs(above: NDArray[Any], below: NDArray[Any]) -> NDArray[Any]:
    """Return which numbers of two rows meet, [2, M]."""
    meet = (above > 0) & (below > 0)
    return np.unique(np.stack([above[meet], below[meet]]), axis=1)


def _merged(meetings: list[NDArray[Any]], count: int) -> NDArray[np.int64]:
    """Return the object of each of `count` numbers; objects are numbered as their smallest numbers are ordered."""
    first, second = np.concatenate(meetings, axis=1)
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    _, places, inverse = np.unique(component, return_index=True, return_inverse=True)
    rank = np.empty(len(places), np.int64)
    rank[np.argsort(places)] = np.arange(len(places))
    return rank[inverse]
