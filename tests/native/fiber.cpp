// Switching stacks. swapcontext() would do, but asks the kernel for the signal mask each time; on x86-64 a few
// instructions are enough: what a function call must preserve goes on the old stack and comes from the new one.
#include "fiber.h"

#include <cstdint>
#include <cstdlib>

#if defined(__x86_64__) && defined(__linux__)
#define UNET_FAST_OWN_SWITCH
#else
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define UNET_FAST_ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNET_FAST_ADDRESS_SANITIZER
#endif
#endif
#ifdef UNET_FAST_ADDRESS_SANITIZER
#include <sanitizer/common_interface_defs.h>
#endif

namespace unet_fast::emulator {
namespace {

constexpr size_t kStackBytes = 128 * 1024;  // AddressSanitizer makes frames several times larger

Fiber* entering = nullptr;  // the fiber whose body is to start

}  // namespace

#ifdef UNET_FAST_OWN_SWITCH

extern "C" void unet_fast_switch_stack(void** save, void* load);
asm(R"(
.text
.type unet_fast_switch_stack, @function
unet_fast_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size unet_fast_switch_stack, .-unet_fast_switch_stack
)");

#endif

void Fiber::jump(Side& from, Side& to) {
#ifdef UNET_FAST_ADDRESS_SANITIZER
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
#endif
#ifdef UNET_FAST_OWN_SWITCH
  unet_fast_switch_stack(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(static_cast<ucontext_t*>(from.stack_pointer), static_cast<ucontext_t*>(to.stack_pointer));
#endif
#ifdef UNET_FAST_ADDRESS_SANITIZER
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void Fiber::enter() {
  Fiber& self = *entering;
#ifdef UNET_FAST_ADDRESS_SANITIZER
  __sanitizer_finish_switch_fiber(nullptr, &self.outside_.stack, &self.outside_.stack_bytes);
#endif
  self.body_(self, self.context_);
  std::abort();
}

Fiber::Fiber(Body body, void* context) : body_(body), context_(context), memory_(std::malloc(kStackBytes)) {
  if (!memory_) std::abort();
  inside_.stack = memory_;
  inside_.stack_bytes = kStackBytes;
#ifdef UNET_FAST_OWN_SWITCH
  // Six registers, the return address (enter) and a return address for enter, which has none. At enter's first
  // instruction the stack pointer is 8 below a multiple of 16, as after a call.
  const uintptr_t top = (reinterpret_cast<uintptr_t>(memory_) + kStackBytes) & ~uintptr_t{15};
  auto* frame = reinterpret_cast<uintptr_t*>(top) - 8;
  for (int i = 0; i < 8; ++i) frame[i] = 0;
  frame[6] = reinterpret_cast<uintptr_t>(&Fiber::enter);
  inside_.stack_pointer = frame;
#else
  auto* context_inside = new ucontext_t;
  getcontext(context_inside);
  context_inside->uc_stack.ss_sp = memory_;
  context_inside->uc_stack.ss_size = kStackBytes;
  context_inside->uc_link = nullptr;
  makecontext(context_inside, &Fiber::enter, 0);
  inside_.stack_pointer = context_inside;
  outside_.stack_pointer = new ucontext_t;
#endif
}

Fiber::~Fiber() {
#ifndef UNET_FAST_OWN_SWITCH
  delete static_cast<ucontext_t*>(inside_.stack_pointer);
  delete static_cast<ucontext_t*>(outside_.stack_pointer);
#endif
  std::free(memory_);
}

void Fiber::resume() {
  entering = this;
  jump(outside_, inside_);
}

void Fiber::suspend() { jump(inside_, outside_); }

}  // namespace unet_fast::emulator
