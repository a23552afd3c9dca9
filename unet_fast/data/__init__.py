"""Training data: reading and writing images, finding what belongs together, the synthetic default."""

from unet_fast.data.dataset import LabelledImages, Origin
from unet_fast.data.images import read_image, read_labels, read_stack
from unet_fast.data.label_kinds import IGNORED, IGNORED_CLASS
from unet_fast.data.layouts import LabelKind, Layout, Sample, find_samples, image_files
from unet_fast.data.loading import load_folder
from unet_fast.data.normalization import Normalization
from unet_fast.data.pixel_size import PixelSize, read_pixel_size
from unet_fast.data.synthetic import synthetic_cells
from unet_fast.data.writing import write_labels, write_probabilities

__all__ = [
    "IGNORED",
    "IGNORED_CLASS",
    "LabelKind",
    "LabelledImages",
    "Layout",
    "Normalization",
    "Origin",
    "PixelSize",
    "Sample",
    "find_samples",
    "image_files",
    "load_folder",
    "read_image",
    "read_labels",
    "read_pixel_size",
    "read_stack",
    "synthetic_cells",
    "write_labels",
    "write_probabilities",
]
