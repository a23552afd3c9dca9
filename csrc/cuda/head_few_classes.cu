// head of up to 8 classes, whose time is that of reading x once, and backward of reading x and writing its gradient.
//
//   forward:  a block copies 128 pixels to shared memory in whole vectors; a thread then has one pixel and all classes,
//             so that the softmax needs nothing else.
//   backward: a thread has 16 bytes of channels, their weights, and the sums of their gradients in registers; it goes
//             along a chunk of pixels. The chunks' sums are added by a second kernel.
#include "cuda/head_few_classes.h"

#include "cuda/partial_sums.cuh"
#include "cuda/softmax.cuh"
#include "cuda/vector.cuh"

namespace unet_fast {
namespace {

constexpr int64_t kMaxClasses = 8;

// ---- forward --------------------------------------------------------------------------------------------------------

constexpr int kPixels = 128;             // of a block, one per thread
constexpr int64_t kMaxPixelBytes = 512;  // 66 KB of shared memory

// 16-byte steps from pixel to pixel in shared memory: an odd number, so that neighbouring threads meet different banks.
__host__ __device__ __forceinline__ int pixel_step(int groups) { return groups | 1; }

template <class T, int kClasses>
__global__ void __launch_bounds__(kPixels) head_kernel(HeadArgs args, int64_t pixels) {
  constexpr int kCount = kVector<T>;
  using Vector = Values<T, kCount>;
  const int channels = static_cast<int>(args.channels), classes = static_cast<int>(args.classes);
  const int groups = channels / kCount, thread = static_cast<int>(threadIdx.x);
  float* weights = dynamic_shared<float>();  // [kClasses][C], then the pixels
  auto* rows = reinterpret_cast<Vector*>(weights + kClasses * channels);

  for (int i = thread; i < kClasses * channels; i += kPixels) {
    const int k = i / channels, c = i % channels;
    const T* weight = static_cast<const T*>(args.weight) + k * args.weight_stride_k + c * args.weight_stride_c;
    weights[i] = k < classes ? to_float(*weight) : 0.0f;
  }
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kPixels;
  const int count = static_cast<int>(pixels - first < kPixels ? pixels - first : kPixels);
  const auto* x = reinterpret_cast<const Vector*>(args.x) + first * groups;
#pragma unroll 4
  for (int i = thread; i < count * groups; i += kPixels) rows[i / groups * pixel_step(groups) + i % groups] = x[i];
  __syncthreads();  // weights and pixels are there
  if (thread >= count) return;

  float sum[kClasses];
#pragma unroll
  for (int k = 0; k < kClasses; ++k) {
    sum[k] = args.bias && k < classes ? to_float(static_cast<const T*>(args.bias)[k]) : 0.0f;
  }
#pragma unroll 1
  for (int group = 0; group < groups; ++group) {
    float value[kCount];
    load_values(value, rows[thread * pixel_step(groups) + group].value);
#pragma unroll
    for (int k = 0; k < kClasses; ++k) {
      float weight[kCount];
      load_values(weight, weights + k * channels + group * kCount);
#pragma unroll
      for (int i = 0; i < kCount; ++i) sum[k] += value[i] * weight[i];
    }
  }
  const int64_t at = (first + thread) * classes;
  if (args.softmax) {
    softmax<kClasses>(sum, classes);
    store_some_values(static_cast<float*>(args.y) + at, sum, classes);
  } else {
    store_some_values(static_cast<T*>(args.y) + at, sum, classes);
  }
}

template <class T, int kClasses>
const char* launch_head(const HeadArgs& args, const Stream& stream) {
  const int64_t pixels = args.images * args.height * args.width;
  const int groups = static_cast<int>(args.channels) / kVector<T>;
  const size_t bytes = kClasses * args.channels * sizeof(float) + kPixels * pixel_step(groups) * 16;
  const dim3 grid(static_cast<unsigned>((pixels + kPixels - 1) / kPixels));
  return launch(head_kernel<T, kClasses>, grid, kPixels, bytes, stream, args, pixels);
}

// ---- backward -------------------------------------------------------------------------------------------------------

constexpr int kBlock = 128;

template <class T>
int64_t chunks_of(const HeadBackwardArgs& args) {
  constexpr int64_t kThreadPixels = 8;  // at least
  const int64_t workers = kBlock / (args.channels / kVector<T>);
  return chunks_of_pieces(args.images * args.height * args.width, kThreadPixels * workers);
}

template <class T, int kClasses>
__global__ void __launch_bounds__(kBlock) head_backward_kernel(HeadBackwardArgs args, int64_t pixels, int64_t chunks) {
  constexpr int kCount = kVector<T>, kStep = kClasses > 2 ? 2 : 4;  // pixels that are loaded at a time
  const int channels = static_cast<int>(args.channels), classes = static_cast<int>(args.classes);
  const int groups = channels / kCount, group = static_cast<int>(threadIdx.x) % groups, c = group * kCount;
  const int worker = static_cast<int>(threadIdx.x) / groups, workers = kBlock / groups;

  float weight[kClasses][kCount], sum[kClasses][kCount] = {}, bias[kClasses] = {};
#pragma unroll
  for (int k = 0; k < kClasses; ++k) {
    load_some_values(weight[k], static_cast<const T*>(args.weight) + k * channels + c, k < classes ? kCount : 0);
  }
  const int64_t end = worker < workers ? pixels * (blockIdx.x + 1) / chunks : 0;
  for (int64_t first = pixels * blockIdx.x / chunks + worker; first < end; first += kStep * workers) {
    float value[kStep][kCount], grad[kStep][kClasses];
#pragma unroll
    for (int s = 0; s < kStep; ++s) {
      const int64_t pixel = first + s * workers;
      if (pixel >= end) continue;
      load_values(value[s], static_cast<const T*>(args.x) + pixel * channels + c);
      load_some_values(grad[s], static_cast<const T*>(args.grad) + pixel * classes, classes);
    }
#pragma unroll
    for (int s = 0; s < kStep; ++s) {
      const int64_t pixel = first + s * workers;
      if (pixel >= end) continue;
      float grad_x[kCount] = {};
#pragma unroll
      for (int k = 0; k < kClasses; ++k) {
        bias[k] += grad[s][k];
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
          sum[k][i] += grad[s][k] * value[s][i];
          grad_x[i] += grad[s][k] * weight[k][i];
        }
      }
      if (args.grad_x) store_values(static_cast<T*>(args.grad_x) + pixel * channels + c, grad_x);
    }
  }

  if (!args.grad_weight) return;
  float* partial = args.workspace + static_cast<int64_t>(blockIdx.x) * classes * (channels + 1);
#pragma unroll
  for (int k = 0; k < kClasses; ++k) {
    if (k >= classes) break;
    add_workers<kBlock>(sum[k], groups, workers,
                        [&](int lane, int i, float total) { partial[k * (channels + 1) + lane * kCount + i] = total; });
    const float own[1] = {bias[k]};
    add_workers<kBlock>(own, groups, workers, [&](int lane, int, float total) {
      if (lane == 0) partial[k * (channels + 1) + channels] = total;
    });
  }
}

// Sum i = (k, c), or the bias at c = C, to its place in the gradients.
template <class T>
struct WriteGradient {
  HeadBackwardArgs args;

  __device__ __forceinline__ void operator()(int64_t i, float total) const {
    const int64_t k = i / (args.channels + 1), c = i % (args.channels + 1);
    if (c == args.channels) {
      static_cast<T*>(args.grad_bias)[k] = from_float<T>(total);
    } else {
      static_cast<T*>(args.grad_weight)[k * args.channels + c] = from_float<T>(total);
    }
  }
};

template <class T, int kClasses>
const char* launch_backward(const HeadBackwardArgs& args, const Stream& stream) {
  const int64_t pixels = args.images * args.height * args.width, chunks = chunks_of<T>(args);
  const char* error = launch(head_backward_kernel<T, kClasses>, dim3(static_cast<unsigned>(chunks)), kBlock, 0, stream,
                             args, pixels, chunks);
  if (error || !args.grad_weight) return error;
  return finish_partial_sums(args.workspace, chunks, args.classes * (args.channels + 1), WriteGradient<T>{args},
                             stream);
}

// visit(the number of classes that a kernel is compiled for)
template <class Visit>
void visit_classes(int64_t classes, const Visit& visit) {
  if (classes <= 2) return visit(std::integral_constant<int, 2>{});
  if (classes <= 4) return visit(std::integral_constant<int, 4>{});
  visit(std::integral_constant<int, kMaxClasses>{});
}

bool takes(DType dtype, int64_t channels, int64_t classes, std::initializer_list<const void*> pointers) {
  const int64_t value = size_of(dtype);
  bool takes = classes <= kMaxClasses && channels * value % 16 == 0 && channels * value <= kMaxPixelBytes;
  for (const void* pointer : pointers) takes = takes && reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  return takes;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

bool takes_few_classes(const HeadArgs& args) { return takes(args.dtype, args.channels, args.classes, {args.x}); }

bool takes_few_classes(const HeadBackwardArgs& args) {
  return takes(args.dtype, args.channels, args.classes, {args.x, args.grad_x});
}

const char* head_few_classes(const HeadArgs& args, const Stream& stream) {
  const char* error = nullptr;
  visit_cuda_float_type(args.dtype, [&](auto type) {
    visit_classes(args.classes,
                  [&](auto classes) { error = launch_head<decltype(type), decltype(classes)::value>(args, stream); });
  });
  return error;
}

int64_t head_backward_few_classes_workspace(const HeadBackwardArgs& args) {
  int64_t floats = 0;
  visit_cuda_float_type(
      args.dtype, [&](auto type) { floats = chunks_of<decltype(type)>(args) * args.classes * (args.channels + 1); });
  return floats;
}

const char* head_backward_few_classes(const HeadBackwardArgs& args, const Stream& stream) {
  const char* error = nullptr;
  visit_cuda_float_type(args.dtype, [&](auto type) {
    visit_classes(args.classes, [&](auto classes) {
      error = launch_backward<decltype(type), decltype(classes)::value>(args, stream);
    });
  });
  return error;
}

}  // namespace unet_fast
