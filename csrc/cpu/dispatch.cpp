// Chooses the best instruction set at load and forwards each operator to it.
#include "cpu/dispatch.h"

#include <atomic>
#include <cstring>

#ifdef UNET_FAST_X86
#include <cpuid.h>
#endif
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "cpu/nearest_two_layout.h"

namespace unet_fast {

namespace generic {
extern const CpuKernels kernels;
}
#ifdef UNET_FAST_X86
namespace avx2 {
extern const CpuKernels kernels;
}
namespace avx512 {
extern const CpuKernels kernels;
}
namespace amx {
extern const CpuKernels kernels;
}
#endif

namespace {

// Whether the machine multiplies bfloat16 tiles and the system lets this process do so: a process has to ask for the
// registers, because they make a context switch longer.
bool may_use_amx() {
#if defined(UNET_FAST_X86) && defined(__linux__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kTile = 1u << 24, kBFloat16 = 1u << 22;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(edx & kTile) || !(edx & kBFloat16)) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

struct Supported {
  const CpuKernels* tables[kInstructionSets] = {};

  Supported() {
    int count = 0;
#ifdef UNET_FAST_X86
    __builtin_cpu_init();
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (has_avx512 && may_use_amx()) tables[count++] = &amx::kernels;
    if (has_avx512) tables[count++] = &avx512::kernels;
    if (has_avx2) tables[count++] = &avx2::kernels;
#endif
    tables[count++] = &generic::kernels;
  }
};

const Supported& supported() {
  static const Supported instance;
  return instance;
}

std::atomic<const CpuKernels*> chosen{nullptr};

}  // namespace

const CpuKernels* const* supported_cpu_kernels() { return supported().tables; }

const CpuKernels& cpu_kernels() {
  const CpuKernels* table = chosen.load(std::memory_order_relaxed);
  return table ? *table : *supported().tables[0];
}

bool use_instruction_set(const char* instruction_set) {
  for (const CpuKernels* table : supported().tables) {
    if (table && std::strcmp(table->instruction_set, instruction_set) == 0) {
      chosen.store(table, std::memory_order_relaxed);
      return true;
    }
  }
  return false;
}

void mirror_tiles_cpu(const MirrorTilesArgs& args, const Threads& threads) {
  cpu_kernels().mirror_tiles(args, threads);
}
void target_classes_cpu(const TargetClassesArgs& args, const Threads& threads) {
  cpu_kernels().target_classes(args, threads);
}
void nearest_two_distances_cpu(const NearestTwoDistancesArgs& args, const Threads& threads) {
  cpu_kernels().nearest_two_distances(args, threads);
}
int64_t nearest_two_workspace_cpu(const InstanceMaps& maps, int slots) { return nearest_two_layout(maps, slots).bytes; }
void weight_map_cpu(const WeightMapArgs& args, const Threads& threads) { cpu_kernels().weight_map(args, threads); }
void weighted_cross_entropy_cpu(const WeightedCrossEntropyArgs& args, const Threads& threads) {
  cpu_kernels().weighted_cross_entropy(args, threads);
}
void weighted_cross_entropy_backward_cpu(const WeightedCrossEntropyBackwardArgs& args, const Threads& threads) {
  cpu_kernels().weighted_cross_entropy_backward(args, threads);
}

void conv_relu_cpu(const ConvReluArgs& args, const Threads& threads) { cpu_kernels().conv_relu(args, threads); }
bool conv_relu_fuses(const ConvReluArgs& args) { return cpu_kernels().conv_relu_fuses(args); }
void conv_relu_pack(const ConvReluArgs& args, const Threads& threads) { cpu_kernels().conv_relu_pack(args, threads); }
int64_t conv_relu_packed(const ConvReluArgs& args) { return cpu_kernels().conv_relu_packed(args); }
int64_t conv_relu_cpu_workspace(const ConvReluArgs& args, const Threads& threads) {
  return cpu_kernels().conv_relu_workspace(args, threads);
}

void conv_relu_weight_grad_cpu(const ConvReluWeightGradArgs& args, const Threads& threads) {
  cpu_kernels().conv_relu_weight_grad(args, threads);
}
int64_t conv_relu_weight_grad_cpu_workspace(const ConvReluWeightGradArgs& args, const Threads& threads) {
  return cpu_kernels().conv_relu_weight_grad_workspace(args, threads);
}

void up_conv_cpu(const UpConvArgs& args, const Threads& threads) { cpu_kernels().up_conv(args, threads); }
int64_t up_conv_cpu_workspace(const UpConvArgs& args, const Threads& threads) {
  return cpu_kernels().up_conv_workspace(args, threads);
}

void up_conv_data_grad_cpu(const UpConvDataGradArgs& args, const Threads& threads) {
  cpu_kernels().up_conv_data_grad(args, threads);
}
int64_t up_conv_data_grad_cpu_workspace(const UpConvDataGradArgs& args, const Threads& threads) {
  return cpu_kernels().up_conv_data_grad_workspace(args, threads);
}

void up_conv_weight_grad_cpu(const UpConvWeightGradArgs& args, const Threads& threads) {
  cpu_kernels().up_conv_weight_grad(args, threads);
}
int64_t up_conv_weight_grad_cpu_workspace(const UpConvWeightGradArgs& args, const Threads& threads) {
  return cpu_kernels().up_conv_weight_grad_workspace(args, threads);
}

void max_pool_cpu(const MaxPoolArgs& args, const Threads& threads) { cpu_kernels().max_pool(args, threads); }

void max_pool_backward_cpu(const MaxPoolBackwardArgs& args, const Threads& threads) {
  cpu_kernels().max_pool_backward(args, threads);
}

void head_cpu(const HeadArgs& args, const Threads& threads) { cpu_kernels().head(args, threads); }
int64_t head_cpu_workspace(const HeadArgs& args, const Threads& threads) {
  return cpu_kernels().head_workspace(args, threads);
}

void head_backward_cpu(const HeadBackwardArgs& args, const Threads& threads) {
  cpu_kernels().head_backward(args, threads);
}
int64_t head_backward_cpu_workspace(const HeadBackwardArgs& args, const Threads& threads) {
  return cpu_kernels().head_backward_workspace(args, threads);
}

void stitch_tiles_cpu(const StitchTilesArgs& args, const Threads& threads) {
  cpu_kernels().stitch_tiles(args, threads);
}

void elastic_warp_cpu(const ElasticWarpArgs& args, const Threads& threads) {
  cpu_kernels().elastic_warp(args, threads);
}

void warping_error_cpu(const WarpingErrorArgs& args, const Threads& threads) {
  cpu_kernels().warping_error(args, threads);
}

}  // namespace unet_fast
