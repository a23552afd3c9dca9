"""OME-Zarr images for tests."""


def write_image(path, version, pixels, axes, **scales):
    """Write an OME-Zarr image as another program would; axes such as "TCZYX"."""
    import zarr

    kinds = {"T": "time", "C": "channel"}
    described = [{"name": axis.lower(), "type": kinds.get(axis, "space")} for axis in axes]
    for axis, about in zip(axes, described, strict=True):
        if axis in "ZYX":
            about["unit"] = "micrometer"
    scale = [{"type": "scale", "scale": [scales.get(axis, 1.0) for axis in axes]}]
    image = {"axes": described, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    chunks = (*[1] * (pixels.ndim - 2), 32, 32)
    array = group.create_array("0", shape=pixels.shape, chunks=chunks, dtype=pixels.dtype)
    array[:] = pixels
    if version == "0.4":
        group.attrs["multiscales"] = [{"version": version, **image}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [image]}
