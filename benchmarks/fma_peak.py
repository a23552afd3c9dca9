"""The machine's ceiling of arithmetic: float32 multiply-adds in registers, as many as its vector units take.

A few lines of C, compiled for this machine, since no operator of PyTorch does nothing else. Each of as many threads as
torch uses runs chains of vectors that do not wait for one another. A matrix unit (AMX) may well beat it.
"""

import ctypes
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Twelve chains of a vector each hide the four cycles of a multiply-add on two units, in the 16 registers of AVX2 too.
_CHAINS = 12
_SOURCE = f"""
#if defined __AVX512F__
#define BYTES 64
#elif defined __AVX__
#define BYTES 32
#else
#define BYTES 16
#endif
typedef float Vector __attribute__((vector_size(BYTES)));
int lanes(void) {{ return BYTES / 4; }}
float chains(long long rounds) {{
  Vector x[{_CHAINS}], a = {{0}}, b = {{0}}, sum = {{0}};
  a += 0.999f, b += 0.001f;
  for (int i = 0; i < {_CHAINS}; ++i) x[i] = b * (float)i;
  for (long long r = 0; r < rounds; ++r) {{
    _Pragma("GCC unroll {_CHAINS}")
    for (int i = 0; i < {_CHAINS}; ++i) x[i] = x[i] * a + b;
  }}
  for (int i = 0; i < {_CHAINS}; ++i) sum += x[i];
  return sum[0];
}}
"""
_ROUNDS = 2_000_000


def fma_peak(threads: int) -> float | None:
    """Return the rate in 10^9 floating-point operations per second, the best of a few; None without a C compiler.

    Args:
        threads: that compute at the same time.
    """
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "chains.so"
        options = ["-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
        try:
            subprocess.run(["cc", *options], input=_SOURCE, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        code = ctypes.CDLL(str(library))
    code.chains.restype, code.chains.argtypes = ctypes.c_float, (ctypes.c_longlong,)
    work = 2e-9 * _CHAINS * code.lanes() * _ROUNDS * threads
    rates = []
    with ThreadPoolExecutor(threads) as pool:  # ctypes lets go of Python's lock
        for _ in range(10):
            start = time.perf_counter()
            list(pool.map(code.chains, [_ROUNDS] * threads))
            rates.append(work / (time.perf_counter() - start))
    return max(rates)
