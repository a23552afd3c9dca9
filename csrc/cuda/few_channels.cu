// conv_relu of an image of 1 to 4 channels, the first layer, and the gradient of its weight and bias. Both are bound by
// the memory of the result, not by their 9 C products a value.
//
//   forward    a thread sums 8 pixels of a row x 16 bytes of outputs in registers and writes them once. Least: y.
//   gradient   a thread has 16 bytes of outputs of one input channel, and in registers their sums under the 9 taps and
//              of the bias. It goes along strips of rows and reads the gradient (and the gate) once. Least: both.
#include "cuda/conv_relu_paths.h"
#include "cuda/partial_sums.cuh"
#include "cuda/vector.cuh"

namespace unet_fast {
namespace {

constexpr int kTaps = 9, kMaxChannels = 4;
constexpr int kBlockOutputs = 64;  // of a block of threads; blockIdx.y numbers them
constexpr int64_t kMaxPixels = 1 << 27;

// ---- forward --------------------------------------------------------------------------------------------------------

constexpr int kBlock = 256, kPixels = 8;

// Vectors of outputs of block `block`.
template <class T>
__host__ __device__ __forceinline__ int groups_of(int64_t outputs, int64_t block) {
  const int64_t rest = outputs - block * kBlockOutputs, here = rest < kBlockOutputs ? rest : kBlockOutputs;
  return static_cast<int>((here + kVector<T> - 1) / kVector<T>);
}

// Where output o of a block lies in a row of shared memory: 16 bytes per thread side by side, so that threads of
// neighbouring outputs meet different banks.
template <class T>
__device__ __forceinline__ int column_of(int o) {
  constexpr int kHalf = kBlockOutputs / kVector<T> * 4;
  return o % kVector<T> / 4 * kHalf + o / kVector<T> * 4 + o % 4;
}

// The vector of outputs of group `group` in such a row.
template <class T>
__device__ __forceinline__ void read_outputs(float (&to)[kVector<T>], const float* row, int group) {
#pragma unroll
  for (int k = 0; k < kVector<T>; k += 4) {
    const float4 four = *reinterpret_cast<const float4*>(row + column_of<T>(group * kVector<T> + k));
    to[k] = four.x, to[k + 1] = four.y, to[k + 2] = four.z, to[k + 3] = four.w;
  }
}

template <class T, int kChannels>
__global__ void __launch_bounds__(kBlock) few_channels_kernel(ConvReluArgs args, bool vectors) {
  constexpr int kCount = kVector<T>;
  // Rows (tap, c), and the bias.
  __shared__ __align__(16) float weights[kTaps * kChannels + 1][kBlockOutputs];
  const int first_output = static_cast<int>(blockIdx.y) * kBlockOutputs, outputs = static_cast<int>(args.out_channels);
  for (int i = static_cast<int>(threadIdx.x); i < (kTaps * kChannels + 1) * kBlockOutputs; i += kBlock) {
    const int row = i / kBlockOutputs, tap = row / kChannels, o = first_output + i % kBlockOutputs;
    float value = 0;
    if (o < outputs && tap < kTaps) {
      value = to_float(
          static_cast<const T*>(args.weight)[o * args.weight_stride_o + row % kChannels * args.weight_stride_c +
                                             tap / 3 * args.weight_stride_y + tap % 3 * args.weight_stride_x]);
    } else if (o < outputs && args.bias) {
      value = to_float(static_cast<const T*>(args.bias)[o]);
    }
    weights[row][column_of<T>(i % kBlockOutputs)] = value;
  }
  __syncthreads();  // the weights are there

  const unsigned groups = groups_of<T>(args.out_channels, blockIdx.y);
  const unsigned in_height = args.height, in_width = args.width, height = in_height - 2, width = in_width - 2;
  const unsigned parts = (width + kPixels - 1) / kPixels, lines = static_cast<unsigned>(args.images) * height;
  for (unsigned i = blockIdx.x * kBlock + threadIdx.x; i < lines * parts * groups; i += gridDim.x * kBlock) {
    const int group = static_cast<int>(i % groups);
    const unsigned line = i / groups / parts, x = i / groups % parts * kPixels;
    const T* in = static_cast<const T*>(args.x) +
                  static_cast<int64_t>(line / height * in_height + line % height) * in_width * kChannels;
    int at[kPixels + 2];  // beyond the row its last pixel, for results that are not stored
#pragma unroll
    for (int p = 0; p < kPixels + 2; ++p) at[p] = static_cast<int>(min(x + p, in_width - 1)) * kChannels;

    float sum[kPixels][kCount], weight[kCount];
    read_outputs<T>(weight, weights[kTaps * kChannels], group);
#pragma unroll
    for (int p = 0; p < kPixels; ++p) {
#pragma unroll
      for (int k = 0; k < kCount; ++k) sum[p][k] = weight[k];
    }
#pragma unroll 1
    for (int ky = 0; ky < 3; ++ky, in += in_width * kChannels) {
#pragma unroll
      for (int c = 0; c < kChannels; ++c) {
        float value[kPixels + 2];
#pragma unroll
        for (int p = 0; p < kPixels + 2; ++p) value[p] = to_float(in[at[p] + c]);
#pragma unroll
        for (int kx = 0; kx < 3; ++kx) {
          read_outputs<T>(weight, weights[(3 * ky + kx) * kChannels + c], group);
#pragma unroll
          for (int p = 0; p < kPixels; ++p) {
#pragma unroll
            for (int k = 0; k < kCount; ++k) sum[p][k] += value[p + kx] * weight[k];
          }
        }
      }
    }
    const int o = first_output + group * kCount;
    T* y = static_cast<T*>(args.y) + static_cast<int64_t>(line * width + x) * outputs + o;
#pragma unroll
    for (int p = 0; p < kPixels; ++p, y += outputs) {
      if (x + p >= width) break;
#pragma unroll
      for (int k = 0; k < kCount; ++k) sum[p][k] = args.relu && sum[p][k] < 0 ? 0.0f : sum[p][k];
      if (vectors) {
        store_values(y, sum[p]);
      } else {
        store_some_values(y, sum[p], outputs - o);
      }
    }
  }
}

// ---- gradient of the weight -----------------------------------------------------------------------------------------

constexpr int kGradBlock = 128;
constexpr int kStrip = 32;  // pixels

struct Plan {
  int strips;              // of a row
  int64_t pieces, chunks;  // all strips, cut into chunks of one block each
};

template <class T>
Plan make_plan(const ConvReluWeightGradArgs& args) {
  const int64_t strips = (args.width - 2 + kStrip - 1) / kStrip, pieces = args.images * (args.height - 2) * strips;
  const int64_t lanes = groups_of<T>(args.out_channels, 0) * args.in_channels;
  return {static_cast<int>(strips), pieces, chunks_of_pieces(pieces, kGradBlock / lanes)};
}

// The gradient of a pixel's outputs, gated.
template <class T>
__device__ __forceinline__ void load_gradient(const ConvReluWeightGradArgs& args, int64_t at, bool vectors, int count,
                                              float (&grad)[kVector<T>]) {
  const auto load = [&](const void* from, float (&to)[kVector<T>]) {
    if (vectors) {
      load_values(to, static_cast<const T*>(from) + at);
    } else {
      load_some_values(to, static_cast<const T*>(from) + at, count);
    }
  };
  load(args.grad, grad);
  if (!args.gate) return;
  float gate[kVector<T>];
  load(args.gate, gate);
#pragma unroll
  for (int k = 0; k < kVector<T>; ++k) grad[k] = gate[k] <= 0 ? 0.0f : grad[k];
}

template <class T>
__global__ void __launch_bounds__(kGradBlock)
    few_channels_gradient_kernel(ConvReluWeightGradArgs args, Plan plan, bool vectors) {
  constexpr int kCount = kVector<T>, kStep = 16 / kCount;  // kStep pixels are loaded at a time
  const int channels = static_cast<int>(args.in_channels), outputs = static_cast<int>(args.out_channels);
  const int groups = groups_of<T>(args.out_channels, blockIdx.y), lanes = groups * channels;
  const int workers = kGradBlock / lanes, worker = static_cast<int>(threadIdx.x) / lanes;
  const int lane = static_cast<int>(threadIdx.x) % lanes, c = lane / groups;
  const int o = static_cast<int>(blockIdx.y) * kBlockOutputs + lane % groups * kCount;
  const int height = static_cast<int>(args.height) - 2, width = static_cast<int>(args.width) - 2;

  float sum[kTaps + 1][kCount] = {};
  const int64_t end = worker < workers ? plan.pieces * (blockIdx.x + 1) / plan.chunks : 0;
  for (int64_t piece = plan.pieces * blockIdx.x / plan.chunks + worker; piece < end; piece += workers) {
    const int line = static_cast<int>(piece / plan.strips), x = static_cast<int>(piece % plan.strips) * kStrip;
    const int64_t in_line = static_cast<int64_t>(line / height) * args.height + line % height;
    const T* in = static_cast<const T*>(args.x) + (in_line * args.width + x) * channels + c;
    const int64_t at = (static_cast<int64_t>(line) * width + x) * outputs + o;
    const int pixels = min(kStrip, width - x);
    for (int p = 0; p < pixels; p += kStep) {
      float grad[kStep][kCount], value[3][kStep + 2];
#pragma unroll
      for (int s = 0; s < kStep; ++s) {
        if (p + s < pixels) {
          load_gradient<T>(args, at + static_cast<int64_t>(p + s) * outputs, vectors, outputs - o, grad[s]);
        }
      }
#pragma unroll
      for (int ky = 0; ky < 3; ++ky) {
#pragma unroll
        for (int s = 0; s < kStep + 2; ++s) {
          if (p + s < pixels + 2) value[ky][s] = to_float(in[(ky * args.width + p + s) * channels]);
        }
      }
#pragma unroll
      for (int s = 0; s < kStep; ++s) {
        if (p + s >= pixels) break;
#pragma unroll
        for (int k = 0; k < kCount; ++k) {
#pragma unroll
          for (int tap = 0; tap < kTaps; ++tap) sum[tap][k] += value[tap / 3][s + tap % 3] * grad[s][k];
          sum[kTaps][k] += grad[s][k];
        }
      }
    }
  }

  const int rows = kTaps * channels + 1;
#pragma unroll
  for (int tap = 0; tap <= kTaps; ++tap) {
    add_workers<kGradBlock>(sum[tap], lanes, workers, [&](int of_lane, int k, float total) {
      const int of_c = of_lane / groups;
      const int to = static_cast<int>(blockIdx.y) * kBlockOutputs + of_lane % groups * kCount + k;
      if (to >= outputs || (tap == kTaps && of_c > 0)) return;
      const int64_t row = static_cast<int64_t>(blockIdx.x) * rows + tap * channels + of_c;
      args.workspace[row * outputs + to] = total;
    });
  }
}

// Sum i = (row, o) to its place in the gradients.
template <class T>
struct WriteGradient {
  ConvReluWeightGradArgs args;

  __device__ __forceinline__ void operator()(int64_t i, float total) const {
    const int64_t channels = args.in_channels, o = i % args.out_channels, row = i / args.out_channels;
    if (row == kTaps * channels) {
      static_cast<T*>(args.grad_bias)[o] = from_float<T>(total);
    } else {
      static_cast<T*>(args.grad_weight)[(o * channels + row % channels) * kTaps + row / channels] =
          from_float<T>(total);
    }
  }
};

unsigned output_blocks(int64_t outputs) { return static_cast<unsigned>((outputs + kBlockOutputs - 1) / kBlockOutputs); }

template <int kChannels = 1, class Visit>
void visit_channels(int64_t channels, const Visit& visit) {
  if (channels == kChannels) return visit(std::integral_constant<int, kChannels>{});
  if constexpr (kChannels < kMaxChannels) visit_channels<kChannels + 1>(channels, visit);
}

template <class Args>
const char* few_channels_refuse(const Args& args) {
  if (args.in_channels > kMaxChannels) return "is for 1 to 4 channels";
  if (args.images * args.height * args.width >= kMaxPixels) return "is for less than 2^27 pixels";
  return nullptr;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* few_channels_refuses(const ConvReluArgs& args) {
  if (args.padding || args.gate) return "takes neither padding nor a gate";
  if (args.skip.data || args.crop || args.pooled || args.y_rest) return "neither reads a skip, nor crops, nor pools";
  return few_channels_refuse(args);
}

const char* few_channels_refuses(const ConvReluWeightGradArgs& args) {
  return args.skip.data ? "reads no skip" : few_channels_refuse(args);
}

const char* conv_relu_few_channels(const ConvReluArgs& args, const Stream& stream) {
  const char* error = nullptr;
  const int64_t parts = (args.width - 2 + kPixels - 1) / kPixels;
  visit_cuda_float_type(args.dtype, [&](auto type) {
    using T = decltype(type);
    dim3 grid = grid_for(args.images * (args.height - 2) * parts * groups_of<T>(args.out_channels, 0), kBlock);
    grid.y = output_blocks(args.out_channels);
    const bool vectors = are_vectors<T>(args.out_channels, {args.y});
    visit_channels(args.in_channels, [&](auto channels) {
      error = launch(few_channels_kernel<T, decltype(channels)::value>, grid, kBlock, 0, stream, args, vectors);
    });
  });
  return error;
}

int64_t conv_relu_weight_grad_few_channels_workspace(const ConvReluWeightGradArgs& args) {
  int64_t floats = 0;
  visit_cuda_float_type(args.dtype, [&](auto type) {
    floats = make_plan<decltype(type)>(args).chunks * (kTaps * args.in_channels + 1) * args.out_channels;
  });
  return floats;
}

const char* conv_relu_weight_grad_few_channels(const ConvReluWeightGradArgs& args, const Stream& stream) {
  const char* error = nullptr;
  visit_cuda_float_type(args.dtype, [&](auto type) {
    using T = decltype(type);
    const Plan plan = make_plan<T>(args);
    const dim3 grid(static_cast<unsigned>(plan.chunks), output_blocks(args.out_channels));
    error = launch(few_channels_gradient_kernel<T>, grid, kGradBlock, 0, stream, args, plan,
                   are_vectors<T>(args.out_channels, {args.grad, args.gate}));
    if (error) return;
    error = finish_partial_sums(args.workspace, plan.chunks, (kTaps * args.in_channels + 1) * args.out_channels,
                                WriteGradient<T>{args}, stream);
  });
  return error;
}

}  // namespace unet_fast
