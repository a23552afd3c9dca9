#include "ops/conv_relu.h"

#include <pybind11/stl.h>

#include <optional>

#include "binding/check.h"
#include "binding/conv_arguments.h"
#include "binding/operators.h"
#include "binding/run.h"

namespace py = pybind11;

namespace unet_fast {
namespace {

constexpr Workspace<ConvReluArgs> kWorkspace = {conv_relu_cpu_workspace, conv_relu_cuda_workspace};

// Everything but y and the bias. The weight's strides may be any.
ConvReluArgs forward(const Check& check, const Tensor& x, const std::optional<Tensor>& skip, const Tensor& weight,
                     const std::string& algorithm, const char* weight_name = "weight") {
  check.channels_last(x, "x");
  check.float_dtype(x, "x");
  check.that(x.size[1] > 0 && x.size[2] >= 3 && x.size[3] >= 3, "x", "at least one channel and 3 x 3 pixels",
             shape_of(x));
  const SkipWindow window = skip_of(check, skip, x);
  const int64_t in_channels = x.size[1] + window.channels;
  check.that(weight.dims == 4 && weight.size[1] == in_channels && weight.size[2] == 3 && weight.size[3] == 3,
             weight_name, "shape [O, " + std::to_string(in_channels) + ", 3, 3]", shape_of(weight));
  check.that(weight.size[0] > 0, weight_name, "at least one output channel", shape_of(weight));
  check.dtype(weight, weight_name, {x.dtype});
  check.device(weight, weight_name, x, "x");
  return {
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
      .bias = nullptr,
      .relu = true,
      .y = nullptr,
      .workspace = nullptr,
      .algorithm = algorithm_of(check, algorithm, x),
      .skip = window,
  };
}

void take_bias(const Check& check, const Tensor& bias, const char* name, const Tensor& x, ConvReluArgs& args) {
  check.shape(bias, name, {args.out_channels});
  check.dtype(bias, name, {x.dtype});
  check.contiguous(bias, name);
  check.device(bias, name, x, "x");
  args.bias = bias.data;
}

// The result of a layer that is not stored: what the next one takes for its x.
Tensor result_of(const ConvReluArgs& layer, const Tensor& x) {
  Tensor result = x;
  const int64_t channels = layer.out_channels, height = layer.height - 2, width = layer.width - 2;
  result.data = nullptr;
  const int64_t sizes[] = {layer.images, channels, height, width};
  const int64_t strides[] = {height * width * channels, 1, width * channels, channels};
  std::copy(sizes, sizes + 4, result.size);
  std::copy(strides, strides + 4, result.stride);
  return result;
}

// The weight and the bias of the layer before.
using First = std::optional<std::pair<Tensor, Tensor>>;

// `first`, `pooled`, `crop` and a skip only where conv_relu_fuses, on CUDA with a weight whose input channels are
// neighbours and without `first`; `packed` is what conv_relu_pack made of the weight.
void conv_relu(const Tensor& given, const std::optional<Tensor>& skip, const Tensor& weight, const Tensor& bias,
               bool relu, const std::string& algorithm, const std::optional<Tensor>& packed, int64_t crop,
               const Tensor& y, const std::optional<Tensor>& pooled, const First& first, const py::function& allocate,
               uintptr_t stream) {
  const Check check("conv_relu");
  std::optional<ConvReluArgs> before;
  if (first) {
    before = forward(check, given, std::nullopt, first->first, algorithm, "first weight");
    take_bias(check, first->second, "first bias", given, *before);
  }
  const Tensor x = before ? result_of(*before, given) : given;
  ConvReluArgs args = forward(check, x, skip, weight, algorithm);
  args.first = before ? &*before : nullptr;
  take_bias(check, bias, "bias", x, args);
  const int64_t height = x.size[2] - 2, width = x.size[3] - 2;
  check.that(crop >= 0 && 2 * crop < height && 2 * crop < width, "crop",
             "at least 0 and less than half of " + std::to_string(std::min(height, width)), std::to_string(crop));
  check.images(y, "y", {x.size[0], weight.size[0], height - 2 * crop, width - 2 * crop}, x, "x");
  if (pooled) {
    check.that(height % 2 == 0 && width % 2 == 0, "x", "even height and width", shape_of(x));
    check.images(*pooled, "pooled", {x.size[0], weight.size[0], height / 2, width / 2}, x, "x");
  }
  if (packed) {
    check.device(*packed, "packed", x, "x");
    check.shape(*packed, "packed", {conv_relu_packed(args)});
    check.dtype(*packed, "packed", {DType::float32});
  }
  args.relu = relu;
  args.y = y.data;
  args.crop = crop;
  args.pooled = pooled ? pooled->data : nullptr;
  args.packed = packed ? packed->as<const float>() : nullptr;
  check_algorithm(check, algorithm, args, x, conv_relu_cuda_refuses);
  run(x, stream, args, conv_relu_cpu, conv_relu_cuda, kWorkspace, allocate);
}

bool fuses(const Tensor& x, const std::optional<Tensor>& skip, const Tensor& weight, const std::string& algorithm) {
  const ConvReluArgs args = forward(Check("conv_relu"), x, skip, weight, algorithm);
  return x.device < 0 ? conv_relu_fuses(args) : conv_relu_cuda_fuses(args, x.device);
}

// What computes this on CUDA.
std::string cuda_algorithm(const Tensor& x, const std::optional<Tensor>& skip, const Tensor& weight) {
  const Check check("conv_relu_algorithm");
  check.that(x.device >= 0, "x", "a tensor on CUDA", "one on the CPU");
  const ConvReluArgs args = forward(check, x, skip, weight, "auto");
  return name_of(conv_relu_cuda_algorithm(args, x.device));
}

bool makes_first(const Tensor& image, const Tensor& first_weight, const Tensor& weight, const std::string& algorithm) {
  const Check check("conv_relu");
  const ConvReluArgs first = forward(check, image, std::nullopt, first_weight, algorithm, "first weight");
  ConvReluArgs args = forward(check, result_of(first, image), std::nullopt, weight, algorithm);
  args.first = &first;
  return image.device < 0 && conv_relu_fuses(args);
}

// What a weight is packed by: it is the same for images of any size.
ConvReluArgs packing(const Check& check, const Tensor& weight) {
  check.that(weight.dims == 4 && weight.size[0] > 0 && weight.size[1] > 0 && weight.size[2] == 3 && weight.size[3] == 3,
             "weight", "shape [O, C, 3, 3]", shape_of(weight));
  check.dtype(weight, "weight", {DType::float32});
  check.that(weight.device < 0, "weight", "a tensor on the CPU", "one on CUDA");
  ConvReluArgs args = {};
  args.dtype = weight.dtype;
  args.in_channels = weight.size[1];
  args.out_channels = weight.size[0];
  args.weight = weight.data;
  args.weight_stride_o = weight.stride[0];
  args.weight_stride_c = weight.stride[1];
  args.weight_stride_y = weight.stride[2];
  args.weight_stride_x = weight.stride[3];
  args.algorithm = ConvAlgorithm::automatic;
  return args;
}

// 0 floats where the algorithm that is chosen takes the weight as it is.
int64_t packed(const Tensor& weight) { return conv_relu_packed(packing(Check("conv_relu_pack"), weight)); }

void pack(const Tensor& weight, const Tensor& packed) {
  const Check check("conv_relu_pack");
  ConvReluArgs args = packing(check, weight);
  check.shape(packed, "packed", {conv_relu_packed(args)});
  check.dtype(packed, "packed", {DType::float32});
  args.workspace = packed.as<float>();
  run(args, conv_relu_pack);
}

// `gate` is the operator's result where it had a ReLU. With grad_skip, grad_x and it are the gradients of x and skip.
// `x` masks grad_x: it is the result of a ReLU.
void conv_relu_data_grad(const Tensor& grad, const std::optional<Tensor>& gate, const Tensor& weight,
                         const std::string& algorithm, const std::optional<Tensor>& x, const Tensor& grad_x,
                         const std::optional<Tensor>& grad_skip, const py::function& allocate, uintptr_t stream) {
  const Check check("conv_relu_backward");
  check.channels_last(grad, "grad");
  check.float_dtype(grad, "grad");
  const int64_t out_channels = grad.size[1], height = grad.size[2], width = grad.size[3];
  if (gate) check.images(*gate, "y", {grad.size[0], out_channels, height, width}, grad, "grad");
  check.channels_last(grad_x, "x");
  check.images(grad_x, "x", {grad.size[0], grad_x.size[1], height + 2, width + 2}, grad, "grad");
  if (x) check.images(*x, "x", {grad.size[0], grad_x.size[1], height + 2, width + 2}, grad, "grad");
  if (grad_skip) {
    check.images(*grad_skip, "skip", {grad.size[0], grad_skip->size[1], height + 2, width + 2}, grad, "grad");
  }
  const int64_t in_channels = grad_x.size[1] + (grad_skip ? grad_skip->size[1] : 0);
  check.shape(weight, "weight", {out_channels, in_channels, 3, 3});
  check.dtype(weight, "weight", {grad.dtype});
  check.device(weight, "weight", grad, "grad");

  // The kernel rotated by 180 degrees begins at its last tap and runs backwards.
  const int64_t last_tap = 2 * weight.stride[2] + 2 * weight.stride[3];
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
      .weight = weight.as<const char>() + last_tap * size_of(weight.dtype),
      .weight_stride_o = weight.stride[1],
      .weight_stride_c = weight.stride[0],
      .weight_stride_y = -weight.stride[2],
      .weight_stride_x = -weight.stride[3],
      .bias = nullptr,
      .relu = false,
      .y = grad_x.data,
      .workspace = nullptr,
      .algorithm = algorithm_of(check, algorithm, grad),
      .mask = x ? x->data : nullptr,
      .y_rest = grad_skip ? grad_skip->data : nullptr,
      .y_channels = grad_x.size[1],
  };
  check_algorithm(check, algorithm, args, grad, conv_relu_cuda_refuses);
  run(grad, stream, args, conv_relu_cpu, conv_relu_cuda, kWorkspace, allocate);
}

}  // namespace

void bind_conv_relu(py::module_& module) {
  module.def("conv_relu", &conv_relu, py::arg("x"), py::arg("skip").none(true), py::arg("weight"), py::arg("bias"),
             py::arg("relu"), py::arg("algorithm"), py::arg("packed").none(true), py::arg("crop"), py::arg("y"),
             py::arg("pooled").none(true), py::arg("first").none(true), py::arg("allocate"), py::arg("stream"));
  module.def("conv_relu_fuses", &fuses, py::arg("x"), py::arg("skip").none(true), py::arg("weight"),
             py::arg("algorithm"));
  module.def("conv_relu_cuda_algorithm", &cuda_algorithm, py::arg("x"), py::arg("skip").none(true), py::arg("weight"));
  module.def("conv_relu_makes_first", &makes_first, py::arg("image"), py::arg("first_weight"), py::arg("weight"),
             py::arg("algorithm"));
  module.def("conv_relu_packed", &packed, py::arg("weight"));
  module.def("conv_relu_pack", &pack, py::arg("weight"), py::arg("packed"));
  module.def("conv_relu_data_grad", &conv_relu_data_grad, py::arg("grad"), py::arg("y").none(true), py::arg("weight"),
             py::arg("algorithm"), py::arg("x").none(true), py::arg("grad_x"), py::arg("grad_skip").none(true),
             py::arg("allocate"), py::arg("stream"));
}

}  // namespace unet_fast
