// Stackful coroutines for the emulator: one stack per waiting CUDA thread.
#pragma once

#include <cstddef>

namespace unet_fast::emulator {

// Runs its body on a stack of its own. resume() enters it from outside, suspend() leaves it from inside.
class Fiber {
 public:
  using Body = void (*)(Fiber& self, void* context);  // never returns

  Fiber(Body body, void* context);
  ~Fiber();  // also while suspended; what lies on its stack is forgotten, not destroyed
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume();
  void suspend();

 private:
  struct Side {
    void* stack_pointer = nullptr;
    const void* stack = nullptr;  // lowest address, for AddressSanitizer
    size_t stack_bytes = 0;
    void* fake_stack = nullptr;
  };
  static void enter();
  static void jump(Side& from, Side& to);

  Body body_;
  void* context_;
  void* memory_;
  Side inside_, outside_;
};

}  // namespace unet_fast::emulator
