// The unit has eight tiles of 16 x 64 bytes. Four hold the sums of 32 items and 32 outputs; two and two hold a part of
// a and of b. Every tile that is loaded meets two others.
#include "cpu/split_product.h"

#include "cpu/row_blocks.h"

namespace unet_fast::UNET_FAST_ISA {

#if defined(__AMX_BF16__)
namespace {

constexpr int64_t kTileRows = 16;
constexpr int64_t kTile = kTileRows * kPanel;  // floats
constexpr int64_t kLine = kPanel * sizeof(float);
constexpr int64_t kProducts = 6;  // of parts
constexpr int kFirstOfB = 6;      // tiles 0 to 3: sums, 4 and 5: a, 6 and 7: b

// 64 bytes: the kind of configuration (1), then from byte 16 on the bytes of a row of each tile, two bytes each, and
// from byte 48 on its rows.
constexpr int kConfigBytes = 64, kRowBytesAt = 16, kRowsAt = 48, kTiles = 8;

// What the loads and the products read is written elsewhere, in functions that are not inlined here, since the compiler
// does not know that they read memory.

template <int kRows>
UNET_FAST_FUNCTION void load_a(const float* part, int64_t second) {
  _tile_loadd(4, part, kLine);
  if constexpr (kRows == 2) _tile_loadd(5, part + second * kPanel, kLine);
}

template <int kColumns>
UNET_FAST_FUNCTION void load_b(const float* part) {
  _tile_loadd(6, part, kLine);
  if constexpr (kColumns == 2) _tile_loadd(7, part + kTile, kLine);
}

template <int kRows, int kColumns>
UNET_FAST_FUNCTION void multiply_parts() {
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (kColumns == 2) _tile_dpbf16ps(1, 4, 7);
  if constexpr (kRows == 2) _tile_dpbf16ps(2, 5, 6);
  if constexpr (kRows == 2 && kColumns == 2) _tile_dpbf16ps(3, 5, 7);
}

struct Operands {
  const float* left;  // from the first item of the blocks on
  int64_t left_part;  // floats between parts
  int64_t second;     // item of the second block, counted from there
  const float* right;
  int64_t panels;
  const float* next;
  int64_t next_lines;  // to ask for after each of the kProducts
  float* sum;
};

// kRows blocks of items and kColumns vectors of outputs.
template <int kRows, int kColumns>
void multiply(const Operands& operands) {
  _tile_zero(0);
  if constexpr (kColumns == 2) _tile_zero(1);
  if constexpr (kRows == 2) _tile_zero(2);
  if constexpr (kRows == 2 && kColumns == 2) _tile_zero(3);
  const int64_t a_part = operands.left_part, b_part = kColumns * kTile, second = operands.second;
  const float *a = operands.left, *b = operands.right, *next = operands.next;
  for (int64_t panel = 0; panel < operands.panels; ++panel) {
    const float *const a_high = a, *const a_middle = a + a_part, *const a_low = a + 2 * a_part;
    const float *const b_high = b, *const b_middle = b + b_part, *const b_low = b + 2 * b_part;
    // Prefetches in between, a few at a time: a crowd of them would leave no buffer for the loads.
    const auto multiply_and_prefetch = [&] {
      multiply_parts<kRows, kColumns>();
      for (int64_t line = 0; line < operands.next_lines; ++line) __builtin_prefetch(next + line * kPanel, 0, 2);
      next += operands.next_lines * kPanel;
    };
    load_a<kRows>(a_middle, second);
    load_b<kColumns>(b_middle);
    multiply_and_prefetch();
    load_a<kRows>(a_high, second);
    multiply_and_prefetch();
    load_b<kColumns>(b_low);
    multiply_and_prefetch();
    load_b<kColumns>(b_high);
    multiply_and_prefetch();
    load_a<kRows>(a_middle, second);
    multiply_and_prefetch();
    load_a<kRows>(a_low, second);
    multiply_and_prefetch();
    a += kSplitParts * a_part;
    b += kSplitParts * b_part;
  }
  constexpr int64_t kItem = kColumns * kPanel;  // floats
  float* const sum = operands.sum;
  _tile_stored(0, sum, kColumns * kLine);
  if constexpr (kColumns == 2) _tile_stored(1, sum + kPanel, kColumns * kLine);
  if constexpr (kRows == 2) _tile_stored(2, sum + second * kItem, kColumns * kLine);
  if constexpr (kRows == 2 && kColumns == 2) _tile_stored(3, sum + second * kItem + kPanel, kColumns * kLine);
}

}  // namespace

SplitProduct::SplitProduct(int64_t items, int64_t panels, float* scratch)
    : items_(items),
      panels_(panels),
      scratch_(scratch),
      blocks_(divide_up(items, kTileRows)),
      rows_(items ? divide_up(items, blocks_) : 0) {
  if (!items) return;
  // Volatile, because GCC believes that only the first bytes are read.
  volatile uint8_t config[kConfigBytes] = {1};
  for (int tile = 0; tile < kTiles; ++tile) {
    config[kRowBytesAt + 2 * tile] = kLine;
    config[kRowsAt + tile] = static_cast<uint8_t>(tile < kFirstOfB ? rows_ : kTileRows);
  }
  _tile_loadconfig(const_cast<const uint8_t*>(config));
}

SplitProduct::~SplitProduct() {
  if (items_) _tile_release();
}

void SplitProduct::run(int vectors, const float* right, const float* next, float* sum) const {
  Operands operands = {.left_part = items_ * kPanel,
                       .right = right,
                       .panels = panels_,
                       .next = next,
                       .next_lines = divide_up(kSplitParts * kTileRows * vectors, kProducts * divide_up(blocks_, 2))};
  const auto first_item = [&](int64_t block) { return smaller(block * rows_, items_ - rows_); };
  for (int64_t block = 0; block < blocks_; block += 2) {
    const bool two = block + 1 < blocks_;
    const int64_t first = first_item(block);
    operands.left = scratch_ + first * kPanel;
    operands.sum = sum + first * vectors * kPanel;
    operands.second = first_item(block + 1) - first;
    const auto run_blocks =
        two ? (vectors == 2 ? multiply<2, 2> : multiply<2, 1>) : (vectors == 2 ? multiply<1, 2> : multiply<1, 1>);
    run_blocks(operands);
    operands.next += panels_ * kProducts * operands.next_lines * kPanel;
  }
}

#else

SplitProduct::SplitProduct(int64_t, int64_t, float* scratch)
    : items_(0), panels_(0), scratch_(scratch), blocks_(0), rows_(0) {}
SplitProduct::~SplitProduct() {}
void SplitProduct::run(int, const float*, const float*, float*) const {}

#endif

void SplitProduct::split_right(const float* right, int64_t panels, int vectors, float* to) {
  const int64_t row = vectors * kPanel, part = kPanel * row;
  for (int64_t panel = 0; panel < panels; ++panel, right += 2 * part, to += kSplitParts * part) {
    for (int64_t c = 0; c < kPanel; ++c) {
      for (int v = 0; v < vectors; ++v) {
        const float* const a = right + c * row + v * kPanel;
        store_parts(to + (v * kPanel + c) * kPanel, part, load(a), load(a + part));
      }
    }
  }
}

void SplitProduct::split_left(const float* left, int64_t channels) const {
  const int64_t panel = items_ * kPanel;  // floats
  for (int64_t c = 0; c < channels; c += 2 * kPanel, left += 2 * panel) {
    float* const lines = scratch_ + c / (2 * kPanel) * kSplitParts * panel;
    const bool pairs = c + kPanel < channels;
    for (int64_t i = 0; i < panel; i += kPanel) {
      store_parts(lines + i, panel, load(left + i), pairs ? load(left + panel + i) : Vector{});
    }
  }
}

}  // namespace unet_fast::UNET_FAST_ISA
