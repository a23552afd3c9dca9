#include "ops/head.h"

#include <pybind11/stl.h>

#include <optional>
#include <utility>

#include "binding/check.h"
#include "binding/operators.h"
#include "binding/run.h"

namespace py = pybind11;

namespace unet_fast {
namespace {

// x and the weight of one call.
void check_inputs(const Check& check, const Tensor& x, const Tensor& weight) {
  check.channels_last(x, "x");
  check.float_dtype(x, "x");
  check.that(x.size[1] > 0, "x", "at least one channel", shape_of(x));
  check.that(weight.dims == 4 && weight.size[0] > 0 && weight.size[1] == x.size[1] && weight.size[2] == 1 &&
                 weight.size[3] == 1,
             "weight", "shape [K, " + std::to_string(x.size[1]) + ", 1, 1]", shape_of(weight));
  check.dtype(weight, "weight", {x.dtype});
  check.contiguous(weight, "weight");
  check.device(weight, "weight", x, "x");
}

std::vector<int64_t> size_of_result(const Tensor& x, const Tensor& weight) {
  return {x.size[0], weight.size[0], x.size[2], x.size[3]};
}

void check_bias(const Check& check, const Tensor& bias, const Tensor& x, const Tensor& weight) {
  check.shape(bias, "bias", {weight.size[0]});
  check.dtype(bias, "bias", {x.dtype});
  check.contiguous(bias, "bias");
  check.device(bias, "bias", x, "x");
}

constexpr Workspace<HeadArgs> kWorkspace = {head_cpu_workspace, nullptr};

void head(const Tensor& x, const Tensor& weight, const Tensor& bias, bool softmax, const Tensor& y,
          const py::function& allocate, uintptr_t stream) {
  const Check check("head");
  check_inputs(check, x, weight);
  check_bias(check, bias, x, weight);
  check.shape(y, "y", size_of_result(x, weight));
  check.channels_last(y, "y");
  check.dtype(y, "y", {softmax ? DType::float32 : x.dtype});
  check.device(y, "y", x, "x");
  const HeadArgs args = {
      .x = x.data,
      .dtype = x.dtype,
      .images = x.size[0],
      .height = x.size[2],
      .width = x.size[3],
      .channels = x.size[1],
      .classes = weight.size[0],
      .weight = weight.data,
      .weight_stride_k = x.size[1],
      .weight_stride_c = 1,
      .bias = bias.data,
      .softmax = softmax,
      .y = y.data,
      .workspace = nullptr,
  };
  run(x, stream, args, head_cpu, head_cuda, kWorkspace, allocate);
}

// What is not wanted is None; the gradients of the weight and of the bias are wanted together.
void head_backward(const Tensor& grad, const Tensor& x, const Tensor& weight, const std::optional<Tensor>& grad_x,
                   const std::optional<std::pair<Tensor, Tensor>>& grad_weight_and_bias, const py::function& allocate,
                   uintptr_t stream) {
  const Check check("head_backward");
  check_inputs(check, x, weight);
  check.images(grad, "grad", size_of_result(x, weight), x, "x");
  if (grad_x) check.images(*grad_x, "grad_x", {x.size[0], x.size[1], x.size[2], x.size[3]}, x, "x");
  if (grad_weight_and_bias) {
    const auto& [grad_weight, grad_bias] = *grad_weight_and_bias;
    check_inputs(check, x, grad_weight);
    check.images(grad, "grad", size_of_result(x, grad_weight), x, "x");
    check_bias(check, grad_bias, x, weight);
  }
  const HeadBackwardArgs args = {
      .grad = grad.data,
      .x = x.data,
      .weight = weight.data,
      .dtype = x.dtype,
      .images = x.size[0],
      .height = x.size[2],
      .width = x.size[3],
      .channels = x.size[1],
      .classes = weight.size[0],
      .grad_x = grad_x ? grad_x->data : nullptr,
      .grad_weight = grad_weight_and_bias ? grad_weight_and_bias->first.data : nullptr,
      .grad_bias = grad_weight_and_bias ? grad_weight_and_bias->second.data : nullptr,
      .workspace = nullptr,
  };
  run(x, stream, args, head_backward_cpu, head_backward_cuda,
      {head_backward_cpu_workspace, head_backward_cuda_workspace}, allocate);
}

}  // namespace

void bind_head(py::module_& module) {
  module.def("head", &head, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("softmax"), py::arg("y"),
             py::arg("allocate"), py::arg("stream"));
  module.def("head_backward", &head_backward, py::arg("grad"), py::arg("x"), py::arg("weight"),
             py::arg("grad_x").none(true), py::arg("grad_weight_and_bias").none(true), py::arg("allocate"),
             py::arg("stream"));
}

}  // namespace unet_fast
