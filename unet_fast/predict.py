"""Segment images of any size with a trained network: `python -m unet_fast.predict -i IN -o OUT -m RUN`.

The overlap-tile strategy of section 3.1: the image is mirrored beyond its border, cut into tiles that overlap by what
the valid convolutions consume, and the predictions are laid side by side. Nothing is blended, for nothing differs: the
result is that of one pass over the whole image.
"""

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jsonargparse import ArgumentParser
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from unet_fast.checkpoint import Model, load_model
from unet_fast.data import Normalization, image_files, read_pixel_size, read_stack, write_labels, write_probabilities
from unet_fast.geometry import TilePlan, legal_side, nearest_legal_sides
from unet_fast.instances import label_instances
from unet_fast.model import UNet
from unet_fast.ops import mirror_tiles, stitch_tiles

# Larger tiles cost fewer operations per pixel of the result (2.0 MFLOP at 572, 1.7 at 1020), and more memory.
LARGEST_TILE = 1020


def predict(
    model: UNet,
    image: NDArray[Any] | Tensor,
    tile: int | tuple[int, int] | None = None,
    probabilities: bool = False,
    *,
    normalization: Normalization | None = None,
    progress: bool = False,
) -> NDArray[Any]:
    """Segment one image of any size.

    Args:
        model: the network; used in evaluation mode, on the device where it is.
        image: [H, W] or [C, H, W]; uint8, uint16 or float32.
        tile: largest input side of a tile in pixels, a legal one (16k + 60); default the smallest that holds the image,
            at most 1020. The result does not depend on it.
        probabilities: return the probability of each class instead of the most probable class.
        normalization: what the image goes through first; default none.
        progress: show a bar over the tiles.

    Returns:
        uint8 class numbers [H, W] (uint16 beyond 256 classes), or float32 probabilities [K, H, W].

    Raises:
        ValueError: the image has not the network's channels, or the tile is illegal.
    """
    pixels = torch.as_tensor(image)
    pixels = pixels[None] if pixels.dim() == 2 else pixels
    if pixels.dim() != 3 or pixels.shape[0] != model.channels:
        wanted = f"[{model.channels}, H, W]" + (" or [H, W]" if model.channels == 1 else "")
        raise ValueError(f"image: wanted shape {wanted}, got {list(np.shape(image))}")
    device = next(model.parameters()).device
    size = (pixels.shape[1], pixels.shape[2])
    if tile is None:
        tile = min(legal_side(max(size), model.depth), nearest_legal_sides(LARGEST_TILE, model.depth)[0])
    plan = TilePlan(size, tile, model.depth)
    factors = (normalization or Normalization("none")).scale_and_offset(pixels.cpu().numpy())
    scale, offset = (torch.as_tensor(factor, device=device) for factor in factors)
    pixels, input_origins = pixels.to(device), plan.input_origins.to(device)
    result_type = torch.float32 if probabilities else torch.uint8 if model.classes <= 256 else torch.int32

    was_training = model.training
    model.eval()
    results = []
    try:
        many = model.packed_weights() if len(input_origins) > 1 else nullcontext()
        with torch.inference_mode(), many:
            for origin in tqdm(input_origins, unit="tile", disable=not progress, leave=False):
                tiles = mirror_tiles(pixels, origin[None], plan.input_side, scale=scale, offset=offset)
                scores = model(tiles).float()
                result = scores.softmax(1) if probabilities else scores.argmax(1).to(result_type)
                results.append(result)
            stitched = stitch_tiles(torch.cat(results), plan.output_origins.to(device), size)
    finally:
        model.train(was_training)
    found: NDArray[Any] = stitched.cpu().numpy()
    return found.astype(np.uint16) if found.dtype == np.int32 else found


@dataclass
class PredictConfig:
    """Segment an image, or every image of a folder, with a trained network.

    Args:
        input: image file or folder of images (TIFF, PNG, JPEG, NumPy); planes of a stack are segmented one by one.
        output: folder for the results, made where missing; NAME_labels.tif for each image.
        model: run folder of `python -m unet_fast.train`, or a model.safetensors file.
        result: "instances" numbers the objects, "classes" writes class numbers; "auto" is what the network was
            trained for.
        probabilities: also write NAME_probabilities.tif, float32, one plane per class.
        min_size: objects smaller than this many pixels are dropped.
        tile: largest input side of a tile in pixels (16k + 60); default what holds the image, up to 1020.
        device: "cpu", "cuda" or "auto".
        threads: CPU threads; default torch's.
    """

    input: Path
    output: Path
    model: Path
    result: Literal["auto", "instances", "classes"] = "auto"
    probabilities: bool = False
    min_size: int = 0
    tile: int | None = None
    device: str = "auto"
    threads: int | None = None


def choose_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is CUDA where it is usable."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def find_images(path: Path) -> list[Path]:
    """Return the image files of a folder in order of their names, or the file itself.

    Raises:
        FileNotFoundError: there is none.
    """
    if path.is_file():
        return [path]
    files = image_files(path) if path.is_dir() else []
    if not files:
        raise FileNotFoundError(f"input: wanted an image or a folder of images, got {path}")
    return files


def segment(model: Model, image: NDArray[Any], config: PredictConfig) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return labels [H, W] (instance ids or class numbers) and probabilities [K, H, W] of one image [C, H, W]."""
    found = predict(
        model.net,
        image,
        config.tile,
        probabilities=True,
        normalization=model.normalization,
        progress=sys.stderr.isatty(),
    )
    classes = found.argmax(0).astype(np.uint16)
    as_instances = config.result == "instances" or (config.result == "auto" and model.labels == "instances")
    labels = label_instances(classes > 0, min_size=config.min_size) if as_instances else classes
    return labels, found


def run(config: PredictConfig) -> None:
    """Segment what the configuration names, and say what was written."""
    if config.threads:
        torch.set_num_threads(config.threads)
    device = choose_device(config.device)
    model = load_model(config.model)
    model.net.to(device)
    files = find_images(config.input)
    config.output.mkdir(parents=True, exist_ok=True)
    print(f"segmenting {len(files)} file(s) with {config.model} on {device}, {torch.get_num_threads()} threads")
    for file in tqdm(files, unit="image", disable=not sys.stderr.isatty()):
        stack = read_stack(file, model.net.channels)
        pixel_size = read_pixel_size(file)
        planes = [segment(model, plane, config) for plane in stack]
        labels, found = ([plane[i] for plane in planes] for i in (0, 1))
        target = config.output / f"{file.stem}_labels.tif"
        write_labels(target, labels[0] if len(labels) == 1 else np.stack(labels), pixel_size)
        message = f"{file.name}: {target}"
        if labels[0].dtype == np.int32:
            message += f", {sum(int(plane.max(initial=0)) for plane in labels)} objects"
        if config.probabilities:
            target = config.output / f"{file.stem}_probabilities.tif"
            write_probabilities(target, found[0] if len(found) == 1 else np.stack(found), pixel_size)
            message += f" and {target.name}"
        tqdm.write(message)
    print(f"done: the results are in {config.output}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = ArgumentParser(prog="python -m unet_fast.predict", description="Segment images with a trained U-Net.")
    parser.add_class_arguments(PredictConfig, skip={"input", "output", "model", "probabilities"})
    parser.add_argument("--probabilities", action="store_true", help="also write NAME_probabilities.tif")
    parser.add_argument("-i", "--input", type=Path, required=True, help="image file or folder of images")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("-m", "--model", type=Path, required=True, help="run folder, or a model.safetensors file")
    config = PredictConfig(**vars(parser.parse_args(arguments)))
    try:
        run(config)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
