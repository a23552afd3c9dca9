# The CUDA kernels, or csrc/cuda/absent.cpp where there is no nvcc. The runtime is linked statically and no CUDA package
# is searched for, so the module imports on machines without a driver and is independent of torch's CUDA version.
set(UNET_FAST_CUDA_ARCHITECTURES "")
set(UNET_FAST_CUDA_SUMMARY "no CUDA kernels (UNET_FAST_CUDA=OFF)")

if(NOT UNET_FAST_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    # nvcc is often installed but not on PATH. Through the environment, so that check_language still tries it.
    find_program(nvcc nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda /opt/cuda PATH_SUFFIXES bin)
    if(nvcc)
      set(ENV{CUDACXX} ${nvcc})
    endif()
  endif()
  set(targets "")
  if(NOT CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
    # Native code for Ampere to Blackwell, and PTX for what comes later. To make PTX is most of the work, and nvcc 13 makes
    # the same for all architectures before 100, and for all from there on: so it is made twice, and assembled for each.
    # A device also runs the code of a smaller minor version: 8.7 and 8.9 that of 8.6 (nvcc makes the same bytes for 8.9),
    # 10.3 that of 10.0.
    set(targets
      arch=compute_80,code=sm_80
      arch=compute_80,code=sm_86
      arch=compute_80,code=sm_90a
      arch=compute_100,code=sm_100
      arch=compute_100,code=sm_120
      arch=compute_100,code=compute_100
    )
    set(CMAKE_CUDA_ARCHITECTURES OFF)  # CMake's own flags would make PTX for each
  endif()
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
    add_library(unet_fast_cuda STATIC ${UNET_FAST_CUDA_KERNELS})
    target_compile_options(unet_fast_cuda PRIVATE --extended-lambda --expt-relaxed-constexpr -Xfatbin=-compress-all)
    # No contraction of a*b+c where the result must equal the CPU's bit for bit; see core/warp.h.
    set_source_files_properties(csrc/cuda/mirror_tiles.cu csrc/cuda/elastic_warp.cu PROPERTIES
      COMPILE_OPTIONS -fmad=false)
    set(architectures ${CMAKE_CUDA_ARCHITECTURES})
    if(targets)
      string(REPLACE "arch=" "--generate-code=arch=" flags "${targets}")
      target_compile_options(unet_fast_cuda PRIVATE ${flags})
      string(REGEX REPLACE "arch=compute_[0-9]+,code=" "" architectures "${targets}")
    endif()
    if(architectures MATCHES "90a")
      add_library(unet_fast_cuda_sm90a OBJECT ${UNET_FAST_CUDA_SM90A_KERNELS})
      set_property(TARGET unet_fast_cuda_sm90a PROPERTY CUDA_ARCHITECTURES 90a-real)
      target_compile_options(unet_fast_cuda_sm90a PRIVATE --expt-relaxed-constexpr -Xfatbin=-compress-all)
      target_link_libraries(unet_fast_cuda PRIVATE unet_fast_cuda_sm90a)
      target_compile_definitions(unet_fast_cuda PRIVATE UNET_FAST_SM90A)
    endif()
    list(JOIN architectures " " UNET_FAST_CUDA_ARCHITECTURES)
    set(UNET_FAST_CUDA_SUMMARY "CUDA kernels for ${UNET_FAST_CUDA_ARCHITECTURES} (nvcc ${CMAKE_CUDA_COMPILER_VERSION})")
  elseif(UNET_FAST_CUDA STREQUAL "ON")
    message(FATAL_ERROR "UNET_FAST_CUDA=ON, but no working nvcc was found: set CUDACXX to its path")
  else()
    set(UNET_FAST_CUDA_SUMMARY "no CUDA kernels (no nvcc was found)")
  endif()
endif()

if(NOT TARGET unet_fast_cuda)
  add_library(unet_fast_cuda STATIC csrc/cuda/absent.cpp)
endif()
