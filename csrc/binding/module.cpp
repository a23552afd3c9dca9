// The module unet_fast._C: the operators, and what this build is.
#include <string>
#include <vector>

#include <pybind11/stl.h>

#include "binding/operators.h"
#include "cpu/dispatch.h"

namespace py = pybind11;
using namespace unet_fast;

namespace {

std::vector<std::string> supported_instruction_sets() {
  std::vector<std::string> names;
  for (int i = 0; i < kInstructionSets && supported_cpu_kernels()[i]; ++i) {
    names.push_back(supported_cpu_kernels()[i]->instruction_set);
  }
  return names;
}

void set_instruction_set(const std::string& name) {
  if (use_instruction_set(name.c_str())) return;
  std::string wanted;
  for (const std::string& supported : supported_instruction_sets())
    wanted += (wanted.empty() ? "" : " or ") + supported;
  throw py::value_error("set_instruction_set: name: wanted " + wanted + ", got " + name);
}

}  // namespace

PYBIND11_MODULE(_C, module, py::mod_gil_not_used()) {
  module.attr("version") = UNET_FAST_VERSION;
  module.attr("sources") = UNET_FAST_SOURCES;
  module.attr("cuda_architectures") = UNET_FAST_CUDA_ARCHITECTURES;
  module.def("instruction_set", [] { return std::string(cpu_kernels().instruction_set); });
  module.def("supported_instruction_sets", &supported_instruction_sets);
  module.def("set_instruction_set", &set_instruction_set, py::arg("name"));
  bind_pool(module);
  bind_torch_threads(module);
  bind_mirror_tiles(module);
  bind_conv_relu(module);
  bind_conv_relu_weight_grad(module);
  bind_up_conv(module);
  bind_max_pool(module);
  bind_head(module);
  bind_stitch_tiles(module);
  bind_elastic_warp(module);
  bind_warping_error(module);
  bind_target_classes(module);
  bind_nearest_two_distances(module);
  bind_weight_map(module);
  bind_weighted_cross_entropy(module);
}
