#include "ops/conv_relu.h"

#include <pybind11/stl.h>

#include <optional>

#include "binding/check.h"
#include "binding/conv_algorithm.h"
#include "binding/operators.h"
#include "binding/run.h"

namespace py = pybind11;

namespace unet_fast {
namespace {

constexpr Workspace<ConvReluArgs> kWorkspace = {conv_relu_cpu_workspace, nullptr};

// The weight's strides may be any.
void conv_relu(const Tensor& x, const Tensor& weight, const Tensor& bias, bool relu, const std::string& algorithm,
               const Tensor& y, const py::function& allocate, uintptr_t stream) {
  const Check check("conv_relu");
  check.channels_last(x, "x");
  check.dtype(x, "x", {DType::bfloat16, DType::float32});
  check.that(x.size[1] > 0 && x.size[2] >= 3 && x.size[3] >= 3, "x", "at least one channel and 3 x 3 pixels",
             shape_of(x));
  check.that(weight.dims == 4 && weight.size[1] == x.size[1] && weight.size[2] == 3 && weight.size[3] == 3, "weight",
             "shape [O, " + std::to_string(x.size[1]) + ", 3, 3]", shape_of(weight));
  check.that(weight.size[0] > 0, "weight", "at least one output channel", shape_of(weight));
  check.dtype(weight, "weight", {x.dtype});
  check.device(weight, "weight", x, "x");
  check.shape(bias, "bias", {weight.size[0]});
  check.dtype(bias, "bias", {x.dtype});
  check.contiguous(bias, "bias");
  check.device(bias, "bias", x, "x");
  check.shape(y, "y", {x.size[0], weight.size[0], x.size[2] - 2, x.size[3] - 2});
  check.channels_last(y, "y");
  check.dtype(y, "y", {x.dtype});
  check.device(y, "y", x, "x");

  const ConvReluArgs args = {
      .x = x.data,
      .gate = nullptr,
      .dtype = x.dtype,
      .images = x.size[0],
      .height = x.size[2],
      .width = x.size[3],
      .in_channels = x.size[1],
      .out_channels = weight.size[0],
      .padding = 0,
      .weight = weight.data,
      .weight_stride_o = weight.stride[0],
      .weight_stride_c = weight.stride[1],
      .weight_stride_y = weight.stride[2],
      .weight_stride_x = weight.stride[3],
      .bias = bias.data,
      .relu = relu,
      .y = y.data,
      .workspace = nullptr,
      .algorithm = algorithm_of(check, algorithm, x),
  };
  run(x, stream, args, conv_relu_cpu, conv_relu_cuda, kWorkspace, allocate);
}

// `gate` is the operator's result where it had a ReLU.
void conv_relu_data_grad(const Tensor& grad, const std::optional<Tensor>& gate, const Tensor& weight,
                         const std::string& algorithm, const Tensor& grad_x, const py::function& allocate,
                         uintptr_t stream) {
  const Check check("conv_relu_backward");
  check.channels_last(grad, "grad");
  check.dtype(grad, "grad", {DType::bfloat16, DType::float32});
  const int64_t out_channels = grad.size[1], height = grad.size[2], width = grad.size[3];
  if (gate) {
    check.shape(*gate, "y", {grad.size[0], out_channels, height, width});
    check.channels_last(*gate, "y");
    check.dtype(*gate, "y", {grad.dtype});
    check.device(*gate, "y", grad, "grad");
  }
  check.channels_last(grad_x, "x");
  const int64_t in_channels = grad_x.size[1];
  check.shape(grad_x, "x", {grad.size[0], in_channels, height + 2, width + 2});
  check.dtype(grad_x, "x", {grad.dtype});
  check.device(grad_x, "x", grad, "grad");
  check.shape(weight, "weight", {out_channels, in_channels, 3, 3});
  check.dtype(weight, "weight", {grad.dtype});
  check.device(weight, "weight", grad, "grad");

  // The kernel rotated by 180 degrees begins at its last tap and runs backwards.
  const int64_t last_tap = 2 * weight.stride[2] + 2 * weight.stride[3];
  const int64_t element = weight.dtype == DType::float32 ? sizeof(float) : sizeof(BFloat16);
  const ConvReluArgs args = {
      .x = grad.data,
      .gate = gate ? gate->data : nullptr,
      .dtype = grad.dtype,
      .images = grad.size[0],
      .height = height,
      .width = width,
      .in_channels = out_channels,
      .out_channels = in_channels,
      .padding = 2,
      .weight = weight.as<const char>() + last_tap * element,
      .weight_stride_o = weight.stride[1],
      .weight_stride_c = weight.stride[0],
      .weight_stride_y = -weight.stride[2],
      .weight_stride_x = -weight.stride[3],
      .bias = nullptr,
      .relu = false,
      .y = grad_x.data,
      .workspace = nullptr,
      .algorithm = algorithm_of(check, algorithm, grad),
  };
  run(grad, stream, args, conv_relu_cpu, conv_relu_cuda, kWorkspace, allocate);
}

}  // namespace

void bind_conv_relu(py::module_& module) {
  module.def("conv_relu", &conv_relu, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("relu"),
             py::arg("algorithm"), py::arg("y"), py::arg("allocate"), py::arg("stream"));
  module.def("conv_relu_data_grad", &conv_relu_data_grad, py::arg("grad"), py::arg("y").none(true), py::arg("weight"),
             py::arg("algorithm"), py::arg("grad_x"), py::arg("allocate"), py::arg("stream"));
}

}  // namespace unet_fast
