"""Prediction of images larger than memory: windows are read, tiles computed, results written, one beside the other.

    source, tiff, zarr_images     any file as planes, read window by window
    network                       the network as prediction uses it: averaged over mirrors, smaller tiles when short of memory
    pipeline                      read | compute | write, in three threads
    work                          results on disk while they are made, and which tiles are done
    objects                       numbers the objects of a mask on disk, band by band
    results                       the files that the user gets
"""
