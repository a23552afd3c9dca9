// DLPack's structures (version 1), and its C functions that torch.Tensor carries since torch 2.10: one gives the view
// of a tensor, another makes a tensor of memory that is ours. No torch header, so one build serves every torch version.
#pragma once

#include <cstdint>

namespace unet_fast::dlpack {

struct Type {
  uint8_t code, bits;
  uint16_t lanes;
};

// Codes of types.
constexpr uint8_t kInt = 0, kUInt = 1, kFloat = 2, kBFloat = 4, kBool = 6;

struct View {
  void* data;
  int32_t device_type, device;
  int32_t dims;
  Type type;
  int64_t* size;
  int64_t* stride;  // elements
  uint64_t byte_offset;
};

// Device types; page-locked memory of the CPU has one of its own.
constexpr int32_t kCpu = 1, kCuda = 2, kCudaHost = 3;

struct Version {
  uint32_t major, minor;
};

constexpr Version kVersion = {1, 0};

// A view with who owns its memory.
struct ManagedTensor {
  Version version;
  void* owner;
  void (*deleter)(ManagedTensor*);
  uint64_t flags;
  View view;
};

// Functions return 0, or -1 with a Python error set.
struct Exchange {
  Version version;
  const Exchange* older;
  int (*allocate)(View* prototype, ManagedTensor** out, void* context, void (*fail)(void*, const char*, const char*));
  int (*managed_of)(void* tensor, ManagedTensor** out);
  int (*tensor_of)(ManagedTensor* taken, void** out);
  int (*view_of)(void* tensor, View* out);  // borrowed
  int (*current_stream)(int32_t device_type, int32_t device, void** out);
};

// torch's; throws where this torch has none.
const Exchange& exchange();

}  // namespace unet_fast::dlpack
