// Floats that lie as vector instructions and every runtime want them.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>

#include "error.h"

namespace mobilekd {

class AlignedFloats {
 public:
  static constexpr size_t kAlignment = 64;  // LiteRT's LITERT_HOST_MEMORY_BUFFER_ALIGNMENT

  AlignedFloats() = default;

  // All zero. Kernels may read a few bytes past the end, so some lie there.
  explicit AlignedFloats(size_t count) : count_(count) {
    const size_t bytes = (count * sizeof(float) / kAlignment + 2) * kAlignment;
    void* place = nullptr;
    if (posix_memalign(&place, kAlignment, bytes) != 0)
      throw Failure(Exit::system, "out of memory");
    std::memset(place, 0, bytes);
    data_.reset(static_cast<float*>(place));
  }

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  size_t size() const { return count_; }
  size_t bytes() const { return count_ * sizeof(float); }

 private:
  struct Free {
    void operator()(float* place) const { std::free(place); }
  };
  std::unique_ptr<float, Free> data_;
  size_t count_ = 0;
};

}  // namespace mobilekd
