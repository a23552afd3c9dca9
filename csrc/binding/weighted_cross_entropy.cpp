#include "ops/weighted_cross_entropy.h"

#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "binding/check.h"
#include "binding/operators.h"
#include "binding/run.h"

namespace py = pybind11;

namespace unet_fast {
namespace {

WeightedLogits weighted_logits(const Check& check, const Tensor& logits, const Tensor& classes,
                               const std::optional<Tensor>& weights) {
  check.dims(logits, "logits", 4, "[N, K, H, W]");
  check.dtype(logits, "logits", {DType::bfloat16, DType::float32});
  check.that(logits.size[1] > 0 && logits.size[1] <= kIgnoredClass, "logits", "1 to 255 classes", shape_of(logits));
  check.shape(classes, "classes", {logits.size[0], logits.size[2], logits.size[3]});
  check.dtype(classes, "classes", {DType::uint8, DType::int64});
  check.contiguous(classes, "classes");
  check.device(classes, "classes", logits, "logits");
  if (weights) {
    check.shape(*weights, "weights", {logits.size[0], logits.size[2], logits.size[3]});
    check.dtype(*weights, "weights", {DType::float32});
    check.contiguous(*weights, "weights");
    check.device(*weights, "weights", logits, "logits");
  }
  return {
      .logits = logits.data,
      .logits_dtype = logits.dtype,
      .images = logits.size[0],
      .class_count = logits.size[1],
      .height = logits.size[2],
      .width = logits.size[3],
      .stride_n = logits.stride[0],
      .stride_k = logits.stride[1],
      .stride_y = logits.stride[2],
      .stride_x = logits.stride[3],
      .classes = classes.data,
      .classes_dtype = classes.dtype,
      .weights = weights ? weights->as<const float>() : nullptr,
  };
}

// Bytes of the scratch memory.
int64_t weighted_cross_entropy_workspace(int64_t pixels) {
  return (pixels + kLossChunk - 1) / kLossChunk * static_cast<int64_t>(sizeof(LossPartial));
}

void check_scalar(const Check& check, const Tensor& tensor, const char* argument, DType dtype, const Tensor& logits) {
  check.shape(tensor, argument, {});
  check.dtype(tensor, argument, {dtype});
  check.device(tensor, argument, logits, "logits");
}

void weighted_cross_entropy(const Tensor& logits, const Tensor& classes, const std::optional<Tensor>& weights,
                            const std::string& normalization, const Tensor& loss, const Tensor& scale,
                            const Tensor& workspace, uintptr_t stream) {
  const Check check("weighted_cross_entropy");
  const WeightedLogits input = weighted_logits(check, logits, classes, weights);
  check.that(normalization == "weight" || normalization == "pixels" || normalization == "sum", "normalization",
             "weight, pixels or sum", normalization);
  check_scalar(check, loss, "loss", DType::float32, logits);
  check_scalar(check, scale, "scale", DType::float64, logits);
  const int64_t bytes = weighted_cross_entropy_workspace(input.pixels());
  check.dims(workspace, "workspace", 1, "[bytes]");
  check.dtype(workspace, "workspace", {DType::uint8});
  check.device(workspace, "workspace", logits, "logits");
  check.that(workspace.size[0] >= bytes, "workspace", std::to_string(bytes) + " bytes", shape_of(workspace));

  int64_t bad_class = kIgnoredClass;
  const WeightedCrossEntropyArgs args = {
      .input = input,
      .normalization = normalization == "weight"   ? Normalization::weight
                       : normalization == "pixels" ? Normalization::pixels
                                                   : Normalization::sum,
      .partials = workspace.as<LossPartial>(),
      .loss = loss.as<float>(),
      .scale = scale.as<double>(),
      .bad_class = &bad_class,
  };
  run(logits, stream, args, weighted_cross_entropy_cpu, weighted_cross_entropy_cuda);
  check.that(bad_class == kIgnoredClass, "classes", "0 to " + std::to_string(input.class_count - 1) + " or 255",
             std::to_string(bad_class));
}

void weighted_cross_entropy_backward(const Tensor& grad, const Tensor& scale, const Tensor& logits,
                                     const Tensor& classes, const std::optional<Tensor>& weights,
                                     const Tensor& grad_logits, uintptr_t stream) {
  const Check check("weighted_cross_entropy_backward");
  const WeightedLogits input = weighted_logits(check, logits, classes, weights);
  check_scalar(check, grad, "grad", DType::float32, logits);
  check_scalar(check, scale, "scale", DType::float64, logits);
  check.shape(grad_logits, "grad_logits", {input.images, input.class_count, input.height, input.width});
  check.dtype(grad_logits, "grad_logits", {logits.dtype});
  check.device(grad_logits, "grad_logits", logits, "logits");

  const WeightedCrossEntropyBackwardArgs args = {
      .input = input,
      .scale = scale.as<const double>(),
      .grad = grad.as<const float>(),
      .grad_logits = grad_logits.data,
      .grad_stride_n = grad_logits.stride[0],
      .grad_stride_k = grad_logits.stride[1],
      .grad_stride_y = grad_logits.stride[2],
      .grad_stride_x = grad_logits.stride[3],
  };
  run(logits, stream, args, weighted_cross_entropy_backward_cpu, weighted_cross_entropy_backward_cuda);
}

}  // namespace

void bind_weighted_cross_entropy(py::module_& module) {
  module.def("weighted_cross_entropy_workspace", &weighted_cross_entropy_workspace, py::arg("pixels"));
  module.def("weighted_cross_entropy", &weighted_cross_entropy, py::arg("logits"), py::arg("classes"),
             py::arg("weights").none(true), py::arg("normalization"), py::arg("loss"), py::arg("scale"),
             py::arg("workspace"), py::arg("stream"));
  module.def("weighted_cross_entropy_backward", &weighted_cross_entropy_backward, py::arg("grad"), py::arg("scale"),
             py::arg("logits"), py::arg("classes"), py::arg("weights").none(true), py::arg("grad_logits"),
             py::arg("stream"));
}

}  // namespace unet_fast
