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
  if(NOT CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
    # Native code for Ampere to Blackwell, and PTX for what comes later.
    set(CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90a-real 100-real 120)
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
    list(JOIN CMAKE_CUDA_ARCHITECTURES " " UNET_FAST_CUDA_ARCHITECTURES)
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
