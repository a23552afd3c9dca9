#include "ops/conv_relu_weight_grad.h"

#include <pybind11/stl.h>

#include <optional>

#include "binding/check.h"
#include "binding/conv_arguments.h"
#include "binding/operators.h"
#include "binding/run.h"

namespace py = pybind11;

namespace unet_fast {
namespace {

// `gate` is the operator's result where it had a ReLU.
void conv_relu_weight_grad(const Tensor& grad, const std::optional<Tensor>& gate, const Tensor& x,
                           const std::optional<Tensor>& skip, const std::string& algorithm, const Tensor& grad_weight,
                           const Tensor& grad_bias, const py::function& allocate, uintptr_t stream) {
  const Check check("conv_relu_backward");
  check.channels_last(grad, "grad");
  check.float_dtype(grad, "grad");
  const int64_t out_channels = grad.size[1];
  if (gate) check.images(*gate, "y", {grad.size[0], out_channels, grad.size[2], grad.size[3]}, grad, "grad");
  check.channels_last(x, "x");
  check.images(x, "x", {grad.size[0], x.size[1], grad.size[2] + 2, grad.size[3] + 2}, grad, "grad");
  const SkipWindow window = skip_of(check, skip, x);
  check.shape(grad_weight, "weight", {out_channels, x.size[1] + window.channels, 3, 3});
  check.dtype(grad_weight, "weight", {grad.dtype});
  check.contiguous(grad_weight, "grad_weight");
  check.device(grad_weight, "weight", grad, "grad");
  check.shape(grad_bias, "grad_bias", {out_channels});
  check.dtype(grad_bias, "grad_bias", {grad.dtype});
  check.contiguous(grad_bias, "grad_bias");
  check.device(grad_bias, "grad_bias", grad, "grad");

  const ConvReluWeightGradArgs args = {
      .x = x.data,
      .grad = grad.data,
      .gate = gate ? gate->data : nullptr,
      .dtype = grad.dtype,
      .images = x.size[0],
      .height = x.size[2],
      .width = x.size[3],
      .in_channels = x.size[1],
      .out_channels = out_channels,
      .grad_weight = grad_weight.data,
      .grad_bias = grad_bias.data,
      .workspace = nullptr,
      .algorithm = algorithm_of(check, algorithm, x),
      .skip = window,
  };
  check_algorithm(check, algorithm, args, x, conv_relu_weight_grad_cuda_refuses);
  run(x, stream, args, conv_relu_weight_grad_cpu, conv_relu_weight_grad_cuda,
      {conv_relu_weight_grad_cpu_workspace, conv_relu_weight_grad_cuda_workspace}, allocate);
}

}  // namespace

void bind_conv_relu_weight_grad(py::module_& module) {
  module.def("conv_relu_weight_grad", &conv_relu_weight_grad, py::arg("grad"), py::arg("y").none(true), py::arg("x"),
             py::arg("skip").none(true), py::arg("algorithm"), py::arg("grad_weight"), py::arg("grad_bias"),
             py::arg("allocate"), py::arg("stream"));
}

}  // namespace unet_fast
