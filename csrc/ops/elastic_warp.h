// elastic_warp: crop, flip, rotate, scale, shift and elastically deform images and their labels in one pass, and change
// the grey values (section 3.1 of the paper). The dense displacement field exists nowhere: see core/warp.h.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/grey.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace unet_fast {

struct ElasticWarpArgs {
  const void* image;        // [N, C, H, W], read through the strides below
  DType image_dtype;        // see visit_image_type
  int64_t images;           // N
  int64_t channels;         // C
  int64_t height;           // H, pixels
  int64_t width;            // W, pixels
  int64_t image_stride_n;   // elements
  int64_t image_stride_c;   // elements
  int64_t image_stride_y;   // elements
  int64_t image_stride_x;   // elements
  const void* labels;       // [N, H, W] or null
  DType labels_dtype;       // any, the elements are only moved
  int64_t labels_stride_n;  // elements
  int64_t labels_stride_y;  // elements
  int64_t labels_stride_x;  // elements

  int64_t samples;            // B; what follows is dense
  const int64_t* source;      // [B] index of the image
  const int64_t* origin;      // [B, 2] (y, x) of the crop's corner in image pixels, may lie outside
  const float* affine;        // [B, 2, 3]: pixel (y, x) of the crop reads at A (y, x) + t, in pixels from the corner
  const float* displacement;  // [B, 2, 3, 3] (dy, dx) in pixels at the crop's corners, edge middles and centre
  const float* gain;         // [B, C]; out = gain * power(scale * image + offset, gamma) + bias + noise * normal number
  const float* bias;         // [B, C]
  const float* gamma;        // [B] or null (1); power(g, gamma) = sign(g) |g|^gamma
  const float* noise;        // [B] or null (0): standard deviation
  const int64_t* noise_key;  // [B] or null (0): key of the random numbers
  const float* scale;        // [C] or null (1)
  const float* offset;       // [C] or null (0)
  bool cubic;                // cubic convolution (4x4 pixels) instead of bilinear interpolation (2x2)

  void* out;              // [B, h, w, C] dense
  DType out_dtype;        // bfloat16 or float32
  int64_t out_height;     // h, pixels
  int64_t out_width;      // w, pixels
  void* out_labels;       // [B, h - 2 margin, w - 2 margin] dense: the crop's inner part; null where labels is
  int64_t labels_margin;  // pixels
};

// Of channel c of sample b.
UNET_FAST_FUNCTION GreyChange grey_change(const ElasticWarpArgs& args, int64_t b, int64_t c) {
  return {
      .scale = args.scale ? args.scale[c] : 1.0f,
      .offset = args.offset ? args.offset[c] : 0.0f,
      .gamma = args.gamma ? args.gamma[b] : 1.0f,
      .gain = args.gain[b * args.channels + c],
      .bias = args.bias[b * args.channels + c],
      .noise = args.noise ? args.noise[b] : 0.0f,
      .noise_key = static_cast<uint64_t>(args.noise_key ? args.noise_key[b] : 0),
      .channel = static_cast<uint64_t>(c),
  };
}

void elastic_warp_cpu(const ElasticWarpArgs& args, const Threads& threads);
const char* elastic_warp_cuda(const ElasticWarpArgs& args, const Stream& stream);  // null, or what CUDA said

}  // namespace unet_fast
