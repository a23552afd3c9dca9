#!/usr/bin/env bash
# Everything that can only be learned on a GPU, in one command of at most 10 minutes: build, test, memcheck, every path of
# the convolutions on every layer of the network against float64 and against PyTorch, every operator that memory bounds
# against the bytes that it must move, and the operators' benchmarks.
#
#     benchmarks/gpu.sh [folder for the results [a wheel built elsewhere]]
#
# The folder is benchmarks/results/<date>-<gpu> unless given; every step leaves its output there, layers.json,
# operators.json and benchmarks.json hold the raw measurements, layers.md and operators.md tables, summary.txt one line
# per step. The exit status is 0 only if every step passed. Floors in layers.md are for an H200; benchmarks.gpu_layers
# takes another peak.
#
# Two more take minutes each, of which torch.compile is most: training as a whole, and the network beside what
# torch.compile makes of it when it may try many kernels. With the same Python and installation:
#
#     python3 -m benchmarks.gpu_training --out <folder>
#     python3 -m benchmarks.gpu_layers --out <another folder> --batch 1 4 8 --seconds 0 --autotune
#
# Needs: an NVIDIA GPU (sm_80 or later), a python3 with torch for CUDA, pytest, pytest-benchmark, tifffile and scipy; to
# build, also nvcc, a C++20 compiler, scikit-build-core, pybind11, cmake and ninja; or a wheel for that Python, and none
# of these. No network: nothing is downloaded. compute-sanitizer is used where it is found.
# Verified so far: the steps on a machine without a GPU. Needs a first run on one.
set -uo pipefail
cd "$(dirname "$0")/.."

gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1)
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d .)
if [ -z "$gpu" ]; then
  echo "gpu.sh: nvidia-smi shows no GPU" >&2
  exit 1
fi
[ "$capability" = 90 ] && capability=90a # wgmma and TMA are not in plain sm_90
results=${1:-benchmarks/results/$(date +%F)-$(echo "$gpu" | tr -cs 'A-Za-z0-9\n' - | sed 's/-$//')}
wheel=${2:-}
mkdir -p "$results"
results=$(cd "$results" && pwd)
: >"$results/summary.txt"
export OMP_WAIT_POLICY=PASSIVE PYTHONUNBUFFERED=1
for bin in /usr/local/cuda/bin /opt/cuda/bin; do [ -d $bin ] && PATH=$PATH:$bin; done
failed=0

# step NAME SECONDS COMMAND...: runs the command, shows the end of its output, keeps all of it in NAME.txt
step() {
  local name=$1 limit=$2 start=$SECONDS status
  shift 2
  timeout --kill-after=5 "$limit" "$@" >"$results/$name.txt" 2>&1
  status=$?
  [ $status = 0 ] || failed=1
  echo "== $name: status $status$([ $status = 124 ] && echo " (stopped after $limit s)"), $((SECONDS - start)) s" |
    tee -a "$results/summary.txt"
  tail -n 15 "$results/$name.txt"
}

versions() {
  date -u +%FT%TZ
  git rev-parse HEAD 2>/dev/null
  nvidia-smi
  nvidia-smi --query-gpu=name,compute_cap,driver_version,memory.total,clocks.max.sm,power.limit --format=csv
  nvcc --version
  nproc
  grep -m 1 'model name' /proc/cpuinfo
  python3 -c 'import sys, torch; print(sys.version, torch.__version__, torch.version.cuda, torch.backends.cudnn.version())'
  python3 -m pip check
  python3 -c 'import torch; assert torch.cuda.is_available(), "torch sees no GPU"'
}

build() {
  local pip="python3 -m pip install --no-deps --no-index --force-reinstall"
  if [ -n "$wheel" ]; then
    $pip "$wheel"
  else
    $pip --no-build-isolation --verbose . \
      -Ccmake.define.UNET_FAST_CUDA=ON -Ccmake.define.CMAKE_CUDA_ARCHITECTURES="$capability-real"
  fi &&
    python3 -c 'from unet_fast.ops._native import _C; print(_C.__file__, _C.cuda_architectures)'
}

export -f versions build
export wheel capability

step versions 20 bash -c versions
step build 130 bash -c build
# Operators first: if a kernel is wrong, this says which. The rest of the tests is about the CPU.
step tests 90 python3 -m pytest tests/ops tests/test_model.py -q -k cuda
# Then what is built from them: CUDA graphs of training steps and of prediction.
step graphs 40 python3 -m pytest tests/test_graphs.py tests/test_dropout.py tests/trainer/test_step.py \
  tests/prediction/test_pipeline.py -q -k cuda
if command -v compute-sanitizer >/dev/null; then
  # Small shapes, each tool on what it is for: addresses, and barriers of the tensor-core kernels.
  tiny="cuda and (by_eye or (pool_and_crop and 64) or (against_float64 and shape0) or tf32_on)"
  for tool in memcheck racecheck; do
    step $tool 25 compute-sanitizer --tool $tool --error-exitcode 1 \
      python3 -m pytest tests/ops/test_{mirror_tiles,conv_relu_algorithms,up_conv}.py -q -k "$tiny"
  done
fi
step layers 160 python3 -m benchmarks.gpu_layers --batch 1 4 8 --seconds 95 --out "$results"
step operators 50 python3 -m benchmarks.gpu_operators --out "$results"
step benchmarks 60 python3 -m pytest benchmarks -q -k cuda --benchmark-only --benchmark-json="$results/benchmarks.json"
exit $failed
