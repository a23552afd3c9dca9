"""Prediction of images larger than memory: windows are read, tiles computed, results written, one beside the other.

source, tiff: any file as planes, read window by window. network: the network as prediction uses it. memory: how large a
tile may be. pipeline: read, compute and write at the same time. work: results on disk while they are made, zarr_results
those that are OME-Zarr. objects: numbers the objects of a mask on disk. results: puts the user's files in place. files:
which images there are, and what results are called. segmenter: one file from beginning to end. ranks: many processes,
one run. dask_arrays: the same for arrays of dask, on its schedulers.
"""
