#include "ops/elastic_warp.h"

#include <pybind11/stl.h>

#include <optional>

#include "binding/check.h"
#include "binding/operators.h"
#include "binding/run.h"

namespace py = pybind11;

namespace unet_fast {
namespace {

// A dense tensor of exactly this shape and dtype on the device of the image.
void check_dense(const Check& check, const Tensor& tensor, const char* argument, const std::vector<int64_t>& shape,
                 DType dtype, const Tensor& image) {
  check.shape(tensor, argument, shape);
  check.dtype(tensor, argument, {dtype});
  check.contiguous(tensor, argument);
  check.device(tensor, argument, image, "image");
}

void check_labels(const Check& check, const Tensor& image, const Tensor& labels, const Tensor& out,
                  const Tensor& out_labels, int64_t margin) {
  check.shape(labels, "labels", {image.size[0], image.size[2], image.size[3]});
  check.dtype(labels, "labels",
              {DType::uint8, DType::uint16, DType::uint32, DType::int32, DType::int64, DType::boolean});
  check.device(labels, "labels", image, "image");
  check_dense(check, out_labels, "out_labels", {out.size[0], out.size[2] - 2 * margin, out.size[3] - 2 * margin},
              labels.dtype, image);
}

// Only on the CPU: on CUDA the look at the values would stall the stream, and the kernel skips such samples.
void check_source(const Check& check, const Tensor& source, int64_t images) {
  if (source.device >= 0) return;
  for (int64_t b = 0; b < source.size[0]; ++b) {
    const int64_t index = source.as<const int64_t>()[b];
    check.that(index >= 0 && index < images, "warp.source", "0 <= index < " + std::to_string(images),
               std::to_string(index));
  }
}

void elastic_warp(const Tensor& image, const std::optional<Tensor>& labels, const Tensor& source, const Tensor& origin,
                  const Tensor& affine, const Tensor& displacement, const Tensor& gain, const Tensor& bias,
                  const std::optional<Tensor>& gamma, const std::optional<Tensor>& noise,
                  const std::optional<Tensor>& noise_key, const std::optional<Tensor>& scale,
                  const std::optional<Tensor>& offset, bool cubic, const Tensor& out,
                  const std::optional<Tensor>& out_labels, int64_t labels_margin, uintptr_t stream) {
  const Check check("elastic_warp");
  check.dims(image, "image", 4, "[N, C, H, W]");
  check.image_dtype(image, "image");
  check.that(image.size[1] > 0 && image.size[2] > 0 && image.size[3] > 0, "image", "at least one channel and pixel",
             shape_of(image));
  check.dims(source, "warp.source", 1, "[B]");
  const int64_t samples = source.size[0], channels = image.size[1];
  check_dense(check, source, "warp.source", {samples}, DType::int64, image);
  check_source(check, source, image.size[0]);
  check_dense(check, origin, "warp.origin", {samples, 2}, DType::int64, image);
  check_dense(check, affine, "warp.affine", {samples, 2, 3}, DType::float32, image);
  check_dense(check, displacement, "warp.displacement", {samples, 2, 3, 3}, DType::float32, image);
  check_dense(check, gain, "warp.gain", {samples, channels}, DType::float32, image);
  check_dense(check, bias, "warp.bias", {samples, channels}, DType::float32, image);
  if (gamma) check_dense(check, *gamma, "warp.gamma", {samples}, DType::float32, image);
  if (noise) check_dense(check, *noise, "warp.noise", {samples}, DType::float32, image);
  if (noise_key) check_dense(check, *noise_key, "warp.noise_key", {samples}, DType::int64, image);
  if (scale) check_dense(check, *scale, "scale", {channels}, DType::float32, image);
  if (offset) check_dense(check, *offset, "offset", {channels}, DType::float32, image);
  check.channels_last(out, "out");
  check.shape(out, "out", {samples, channels, out.size[2], out.size[3]});
  check.dtype(out, "out", {DType::bfloat16, DType::float32});
  check.device(out, "out", image, "image");
  check.that(labels.has_value() == out_labels.has_value(), "out_labels", "a tensor where labels is one",
             out_labels ? "a tensor" : "None");
  if (labels) check_labels(check, image, *labels, out, *out_labels, labels_margin);

  const ElasticWarpArgs args = {
      .image = image.data,
      .image_dtype = image.dtype,
      .images = image.size[0],
      .channels = channels,
      .height = image.size[2],
      .width = image.size[3],
      .image_stride_n = image.stride[0],
      .image_stride_c = image.stride[1],
      .image_stride_y = image.stride[2],
      .image_stride_x = image.stride[3],
      .labels = labels ? labels->data : nullptr,
      .labels_dtype = labels ? labels->dtype : DType::uint8,
      .labels_stride_n = labels ? labels->stride[0] : 0,
      .labels_stride_y = labels ? labels->stride[1] : 0,
      .labels_stride_x = labels ? labels->stride[2] : 0,
      .samples = samples,
      .source = source.as<const int64_t>(),
      .origin = origin.as<const int64_t>(),
      .affine = affine.as<const float>(),
      .displacement = displacement.as<const float>(),
      .gain = gain.as<const float>(),
      .bias = bias.as<const float>(),
      .gamma = gamma ? gamma->as<const float>() : nullptr,
      .noise = noise ? noise->as<const float>() : nullptr,
      .noise_key = noise_key ? noise_key->as<const int64_t>() : nullptr,
      .scale = scale ? scale->as<const float>() : nullptr,
      .offset = offset ? offset->as<const float>() : nullptr,
      .cubic = cubic,
      .out = out.data,
      .out_dtype = out.dtype,
      .out_height = out.size[2],
      .out_width = out.size[3],
      .out_labels = out_labels ? out_labels->data : nullptr,
      .labels_margin = labels_margin,
  };
  run(image, stream, args, elastic_warp_cpu, elastic_warp_cuda);
}

}  // namespace

void bind_elastic_warp(py::module_& module) {
  module.def("elastic_warp", &elastic_warp, py::arg("image"), py::arg("labels").none(true), py::arg("source"),
             py::arg("origin"), py::arg("affine"), py::arg("displacement"), py::arg("gain"), py::arg("bias"),
             py::arg("gamma").none(true), py::arg("noise").none(true), py::arg("noise_key").none(true),
             py::arg("scale").none(true), py::arg("offset").none(true), py::arg("cubic"), py::arg("out"),
             py::arg("out_labels").none(true), py::arg("labels_margin"), py::arg("stream"));
}

}  // namespace unet_fast
