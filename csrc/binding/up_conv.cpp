#include "ops/up_conv.h"

#include "binding/check.h"
#include "binding/operators.h"
#include "binding/run.h"

namespace py = pybind11;

namespace unet_fast {
namespace {

// x, the weight and y (or their gradients) of one call; whether float32 may be rounded to TF32 on CUDA.
UpConvShape check_tensors(const Check& check, const Tensor& x, const Tensor& weight, const Tensor& y, bool tf32) {
  check.channels_last(x, "x");
  check.float_dtype(x, "x");
  check.that(x.size[1] > 0, "x", "at least one channel", shape_of(x));
  check.that(weight.dims == 4 && weight.size[0] == x.size[1] && weight.size[1] > 0 && weight.size[2] == 2 &&
                 weight.size[3] == 2,
             "weight", "shape [" + std::to_string(x.size[1]) + ", O, 2, 2]", shape_of(weight));
  check.dtype(weight, "weight", {x.dtype});
  check.contiguous(weight, "weight");
  check.device(weight, "weight", x, "x");
  check.images(y, "grad", {x.size[0], weight.size[1], 2 * x.size[2], 2 * x.size[3]}, x, "x");
  return {
      .dtype = x.dtype,
      .images = x.size[0],
      .height = x.size[2],
      .width = x.size[3],
      .in_channels = x.size[1],
      .out_channels = weight.size[1],
      .tf32 = tf32,
  };
}

void check_bias(const Check& check, const Tensor& bias, const Tensor& x, const Tensor& weight) {
  check.shape(bias, "bias", {weight.size[1]});
  check.dtype(bias, "bias", {x.dtype});
  check.contiguous(bias, "bias");
  check.device(bias, "bias", x, "x");
}

void up_conv(const Tensor& x, const Tensor& weight, const Tensor& bias, bool tf32, const Tensor& y,
             const py::function& allocate, uintptr_t stream) {
  const Check check("up_conv");
  const UpConvArgs args = {
      .shape = check_tensors(check, x, weight, y, tf32),
      .x = x.data,
      .weight = weight.data,
      .bias = bias.data,
      .y = y.data,
      .workspace = nullptr,
  };
  check_bias(check, bias, x, weight);
  run(x, stream, args, up_conv_cpu, up_conv_cuda, {up_conv_cpu_workspace, up_conv_cuda_workspace}, allocate);
}

void up_conv_data_grad(const Tensor& grad, const Tensor& weight, bool tf32, const Tensor& grad_x,
                       const py::function& allocate, uintptr_t stream) {
  const UpConvDataGradArgs args = {
      .shape = check_tensors(Check("up_conv_backward"), grad_x, weight, grad, tf32),
      .grad = grad.data,
      .weight = weight.data,
      .grad_x = grad_x.data,
      .workspace = nullptr,
  };
  run(grad, stream, args, up_conv_data_grad_cpu, up_conv_data_grad_cuda,
      {up_conv_data_grad_cpu_workspace, up_conv_data_grad_cuda_workspace}, allocate);
}

void up_conv_weight_grad(const Tensor& grad, const Tensor& x, bool tf32, const Tensor& grad_weight,
                         const Tensor& grad_bias, const py::function& allocate, uintptr_t stream) {
  const Check check("up_conv_backward");
  const UpConvWeightGradArgs args = {
      .shape = check_tensors(check, x, grad_weight, grad, tf32),
      .grad = grad.data,
      .x = x.data,
      .grad_weight = grad_weight.data,
      .grad_bias = grad_bias.data,
      .workspace = nullptr,
  };
  check_bias(check, grad_bias, x, grad_weight);
  run(x, stream, args, up_conv_weight_grad_cpu, up_conv_weight_grad_cuda,
      {up_conv_weight_grad_cpu_workspace, up_conv_weight_grad_cuda_workspace}, allocate);
}

}  // namespace

void bind_up_conv(py::module_& module) {
  module.def("up_conv", &up_conv, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("tf32"), py::arg("y"),
             py::arg("allocate"), py::arg("stream"));
  module.def("up_conv_data_grad", &up_conv_data_grad, py::arg("grad"), py::arg("weight"), py::arg("tf32"),
             py::arg("grad_x"), py::arg("allocate"), py::arg("stream"));
  module.def("up_conv_weight_grad", &up_conv_weight_grad, py::arg("grad"), py::arg("x"), py::arg("tf32"),
             py::arg("grad_weight"), py::arg("grad_bias"), py::arg("allocate"), py::arg("stream"));
}

}  // namespace unet_fast
