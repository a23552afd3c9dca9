"""One state of the allocator for all rivals: what is freed stays with the process and is warm for the next call.

As it is, glibc's malloc gives every large block back to the system, and the first touch of each of its pages costs a
fault: a quarter of the time of PyTorch's forward pass, where this package keeps blocks of its own.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h


def keep_freed_memory() -> bool:
    """Let malloc neither map blocks of their own nor give memory back; return whether it does: glibc's alone."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # TypeError: on Windows there is no library without a name
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1))
