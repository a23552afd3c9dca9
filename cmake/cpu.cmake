# The CPU kernels, compiled once per instruction set; csrc/cpu/dispatch.cpp chooses at load.
#
# No contraction of a*b+c: coordinates and distances then have the same bits on every instruction set and on CUDA.
set(UNET_FAST_INSTRUCTION_SETS generic)
set(flags_generic "")
# ThreadSanitizer looks at how the work is shared out, which is the same on each.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64" AND NOT MSVC AND NOT UNET_FAST_SANITIZE STREQUAL "thread")
  list(APPEND UNET_FAST_INSTRUCTION_SETS avx2 avx512 amx)
  set(flags_avx2 -mavx2 -mfma -mf16c)
  set(flags_avx512 ${flags_avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512)
  set(flags_amx ${flags_avx512} -mamx-tile -mamx-bf16)
endif()

# Sanitized kernels are for tests that should build quickly.
set(optimization -O3)
if(UNET_FAST_SANITIZE)
  set(optimization -O1)
endif()

# The convolutions' sums of products and the loss's polynomials are fused multiply-adds, the machine's peak: coordinates
# take no part in them, and their error is bounded, not their bits.
if(NOT MSVC)
  set_source_files_properties(${UNET_FAST_CPU_PRODUCT} csrc/cpu/weighted_cross_entropy.cpp PROPERTIES COMPILE_OPTIONS -ffp-contract=fast)
endif()

add_library(unet_fast_cpu STATIC csrc/cpu/dispatch.cpp)
foreach(isa IN LISTS UNET_FAST_INSTRUCTION_SETS)
  set(kernels ${UNET_FAST_CPU_KERNELS})
  set(vector_isa ${isa})
  if(isa STREQUAL "amx")
    set(kernels ${UNET_FAST_CPU_AMX_KERNELS})
    set(vector_isa avx512)
  endif()
  add_library(unet_fast_cpu_${isa} OBJECT ${kernels})
  target_compile_definitions(unet_fast_cpu_${isa} PRIVATE UNET_FAST_ISA=${isa} UNET_FAST_VECTOR_ISA=${vector_isa})
  if(NOT MSVC)
    # No exceptions: a destructor would otherwise need a weak symbol (tests/test_symbols.py).
    target_compile_options(unet_fast_cpu_${isa} PRIVATE
      ${optimization} -fno-exceptions -fno-math-errno -fno-trapping-math -ffp-contract=off ${flags_${isa}})
  endif()
  target_link_libraries(unet_fast_cpu PRIVATE unet_fast_cpu_${isa})
endforeach()
if("avx2" IN_LIST UNET_FAST_INSTRUCTION_SETS)
  target_compile_definitions(unet_fast_cpu PRIVATE UNET_FAST_X86)
endif()
