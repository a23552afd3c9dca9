#include "ops/max_pool.h"

#include <pybind11/stl.h>

#include <optional>

#include "binding/check.h"
#include "binding/operators.h"
#include "binding/run.h"

namespace py = pybind11;

namespace unet_fast {
namespace {

// x and y, or x and the gradient of y.
void check_tensors(const Check& check, const Tensor& x, const Tensor& y) {
  check.channels_last(x, "x");
  check.float_dtype(x, "x");
  check.that(x.size[2] % 2 == 0 && x.size[3] % 2 == 0, "x", "even height and width", shape_of(x));
  check.images(y, "grad", {x.size[0], x.size[1], x.size[2] / 2, x.size[3] / 2}, x, "x");
}

void max_pool(const Tensor& x, const Tensor& y, uintptr_t stream) {
  check_tensors(Check("max_pool"), x, y);
  const MaxPoolArgs args = {
      .x = x.data,
      .dtype = x.dtype,
      .images = x.size[0],
      .height = x.size[2],
      .width = x.size[3],
      .channels = x.size[1],
      .y = y.data,
  };
  run(x, stream, args, max_pool_cpu, max_pool_cuda);
}

void max_pool_backward(const Tensor& grad, const Tensor& x, const std::optional<Tensor>& grad_skip, bool rectified,
                       const Tensor& grad_x, uintptr_t stream) {
  const Check check("max_pool_backward");
  check_tensors(check, x, grad);
  check.images(grad_x, "grad_x", {x.size[0], x.size[1], x.size[2], x.size[3]}, x, "x");
  int64_t crop = 0;
  if (grad_skip) {
    check.channels_last(*grad_skip, "grad_skip");
    crop = (x.size[2] - grad_skip->size[2]) / 2;
    check.that(crop >= 0, "grad_skip", "a size not above that of x", shape_of(*grad_skip));
    check.images(*grad_skip, "grad_skip", {x.size[0], x.size[1], x.size[2] - 2 * crop, x.size[3] - 2 * crop}, x, "x");
  }
  const MaxPoolBackwardArgs args = {
      .grad = grad.data,
      .x = x.data,
      .dtype = x.dtype,
      .images = x.size[0],
      .height = x.size[2],
      .width = x.size[3],
      .channels = x.size[1],
      .grad_x = grad_x.data,
      .skip = grad_skip ? grad_skip->data : nullptr,
      .crop = crop,
      .rectified = rectified,
  };
  run(x, stream, args, max_pool_backward_cpu, max_pool_backward_cuda);
}

}  // namespace

void bind_max_pool(py::module_& module) {
  module.def("max_pool", &max_pool, py::arg("x"), py::arg("y"), py::arg("stream"));
  module.def("max_pool_backward", &max_pool_backward, py::arg("grad"), py::arg("x"), py::arg("grad_skip").none(true),
             py::arg("rectified"), py::arg("grad_x"), py::arg("stream"));
}

}  // namespace unet_fast
