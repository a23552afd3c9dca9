# Every source file by name. A new operator adds its stem to UNET_FAST_OPERATORS and has one file in each folder.
set(UNET_FAST_OPERATORS
  mirror_tiles
  conv_relu
  conv_relu_weight_grad
  up_conv
  max_pool
  head
  stitch_tiles
  elastic_warp
  target_classes
  nearest_two_distances
  weight_map
  weighted_cross_entropy
)
# Operators without a .cu: algorithms of one step after another, which a GPU could only run on a single thread.
set(UNET_FAST_CPU_OPERATORS
  warping_error
)

# The convolutions' shared engine.
set(UNET_FAST_CPU_PRODUCT
  csrc/cpu/few_channels.cpp
  csrc/cpu/few_channels_weight_grad.cpp
  csrc/cpu/micro_kernel.cpp
  csrc/cpu/row_product.cpp
  csrc/cpu/row_product_gradient.cpp
  csrc/cpu/split_product.cpp
  csrc/cpu/up_conv_panels.cpp
  csrc/cpu/up_conv_panels_weight_grad.cpp
  csrc/cpu/winograd.cpp
  csrc/cpu/winograd_path.cpp
  csrc/cpu/winograd_tiles.cpp
  csrc/cpu/winograd_weights.cpp
  csrc/cpu/winograd_weight_grad.cpp
)
set(UNET_FAST_CPU_KERNELS csrc/cpu/kernels.cpp ${UNET_FAST_CPU_PRODUCT})
# What is compiled for AMX too: it multiplies matrices, which the other operators do not.
set(UNET_FAST_CPU_AMX_KERNELS
  ${UNET_FAST_CPU_KERNELS}
  csrc/cpu/conv_relu.cpp
  csrc/cpu/conv_relu_weight_grad.cpp
  csrc/cpu/up_conv.cpp
)
set(UNET_FAST_CUDA_KERNELS
  csrc/cuda/conv_relu_mma.cu
  csrc/cuda/conv_relu_paths.cu
  csrc/cuda/conv_relu_weight_grad_mma.cu
  csrc/cuda/conv_splits.cu
  csrc/cuda/few_channels.cu
  csrc/cuda/head_few_classes.cu
  csrc/cuda/up_conv_mma.cu
  csrc/cuda/up_conv_weight_grad_mma.cu
)
# Kernels of instructions that only sm_90a has.
set(UNET_FAST_CUDA_SM90A_KERNELS
  csrc/cuda/conv_relu_weight_grad_wgmma.cu
  csrc/cuda/conv_relu_wgmma.cu
)
set(UNET_FAST_BINDING_SOURCES
  csrc/binding/module.cpp
  csrc/binding/dlpack.cpp
  csrc/binding/tensor.cpp
  csrc/binding/check.cpp
  csrc/binding/torch_threads.cpp
  csrc/binding/pool.cpp
)
foreach(operator IN LISTS UNET_FAST_OPERATORS)
  list(APPEND UNET_FAST_CPU_KERNELS csrc/cpu/${operator}.cpp)
  list(APPEND UNET_FAST_CUDA_KERNELS csrc/cuda/${operator}.cu)
  list(APPEND UNET_FAST_BINDING_SOURCES csrc/binding/${operator}.cpp)
endforeach()
foreach(operator IN LISTS UNET_FAST_CPU_OPERATORS)
  list(APPEND UNET_FAST_CPU_KERNELS csrc/cpu/${operator}.cpp)
  list(APPEND UNET_FAST_BINDING_SOURCES csrc/binding/${operator}.cpp)
endforeach()

# A fingerprint of csrc/, compiled into the module. unet_fast/ops/_native.py computes it again, so that a checkout whose
# sources have changed since the last build says so. The globbing is for the fingerprint alone.
file(GLOB_RECURSE fingerprinted RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} CONFIGURE_DEPENDS
  csrc/*.h csrc/*.cpp csrc/*.cuh csrc/*.cu)
list(SORT fingerprinted)
set(hashes "")
foreach(file IN LISTS fingerprinted)
  file(SHA256 ${CMAKE_CURRENT_SOURCE_DIR}/${file} hash)
  string(APPEND hashes "${file} ${hash}\n")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
endforeach()
string(SHA256 UNET_FAST_SOURCES_HASH "${hashes}")
