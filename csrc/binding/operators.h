// One registration function per operator, each in the file of its name.
#pragma once

#include <pybind11/pybind11.h>

namespace unet_fast {

void bind_pool(pybind11::module_& module);
void bind_torch_threads(pybind11::module_& module);
void bind_mirror_tiles(pybind11::module_& module);
void bind_conv_relu(pybind11::module_& module);
void bind_conv_relu_weight_grad(pybind11::module_& module);
void bind_up_conv(pybind11::module_& module);
void bind_max_pool(pybind11::module_& module);
void bind_head(pybind11::module_& module);
void bind_stitch_tiles(pybind11::module_& module);
void bind_elastic_warp(pybind11::module_& module);
void bind_warping_error(pybind11::module_& module);
void bind_target_classes(pybind11::module_& module);
void bind_nearest_two_distances(pybind11::module_& module);
void bind_weight_map(pybind11::module_& module);
void bind_weighted_cross_entropy(pybind11::module_& module);

}  // namespace unet_fast
