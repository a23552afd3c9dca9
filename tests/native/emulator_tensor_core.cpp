#include "emulator_block.h"

namespace unet_fast {
namespace emulator {

Block& block() {
  static Block state;
  if (state.serial != emulator::block_serial()) {
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    state = {};
    state.serial = emulator::block_serial();
    state.memory = static_cast<unsigned char*>(emulator::dynamic_shared());
    state.bytes = emulator::dynamic_shared_bytes();
    state.warps.resize((threads + 31) / 32);
    state.exchange.resize((threads + 31) / 32);
    state.threads.resize(threads);
    state.unfenced.assign(state.bytes / 16 + 1, kClean);
  }
  return state;
}

unsigned linear_thread() { return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x; }
Thread& thread() { return block().threads[linear_thread()]; }

unsigned char* at(SharedAddress address, size_t bytes, const char* what) {
  Block& b = block();
  const size_t offset = address - kWindow;
  if (address < kWindow || offset + bytes > b.bytes) {
    fail(std::string(what) + " outside of shared memory");
    return nullptr;
  }
  return b.memory + offset;
}

void rendezvous(NamedBarrier& barrier, int threads, const char* what) {
  struct Passed {
    const NamedBarrier* barrier;
    uint64_t generation;
  } passed{&barrier, barrier.generation};
  if (++barrier.arrived == threads) barrier.arrived = 0, ++barrier.generation;
  emulator::wait_until(
      [](const void* context) {
        const Passed& passed = *static_cast<const Passed*>(context);
        return passed.barrier->generation != passed.generation;
      },
      &passed, what, std::source_location::current());
}

void now_or_later(Operation operation) {
  Thread& t = thread();
  if (emulator::random_below(2)) {
    t.run_all();
    operation();
  } else {
    t.open.push_back(std::move(operation));
  }
}

void commit_group() {
  Thread& t = thread();
  t.groups.push_back(std::exchange(t.open, {}));
}

void wait_for_groups(int allowed) {
  Thread& t = thread();
  while (static_cast<int>(t.groups.size()) > allowed) {
    for (auto& operation : t.groups.front()) operation();
    t.groups.pop_front();
  }
}

}  // namespace emulator

using emulator::block;
using emulator::fail;
using emulator::kWindow;

SharedAddress shared_address(const void* pointer) {
  return kWindow + static_cast<SharedAddress>(static_cast<const unsigned char*>(pointer) - block().memory);
}

void store_shared(SharedAddress address, uint16_t value) { emulator::write(address, value); }
void store_shared(SharedAddress address, uint32_t value) { emulator::write(address, value); }
void store_shared(SharedAddress address, const uint4& value) { emulator::write(address, value); }
uint4 load_shared(SharedAddress address) {
  if (address % 16) fail("a load of 16 bytes that is not aligned");
  return emulator::read<uint4>(address, "a load");
}
uint32_t load_shared_pair(SharedAddress address) {
  if (address % 4) fail("a load of 4 bytes that is not aligned");
  return emulator::read<uint32_t>(address, "a load");
}

void named_barrier(int id, int threads) { emulator::rendezvous(block().named[id], threads, "a named barrier"); }

}  // namespace unet_fast
