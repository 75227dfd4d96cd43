// ExecuTorch's thread pool. The wheel exports these symbols but ships no header for them; the
// declarations follow extension/threadpool/threadpool.h of ExecuTorch 1.5. Only non-virtual members
// are named, so a partial class links.
#pragma once

#include <cstddef>
#include <cstdint>

namespace executorch::extension::threadpool {

class ThreadPool {
 public:
  size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(uint32_t num_threads);
};

ThreadPool* get_threadpool();

}  // namespace executorch::extension::threadpool

namespace mobilekd {

// Set the pool's size and return the size in effect. Call it before a program is loaded: a loaded
// delegate keeps the old pool, and resetting under it crashes. 0 leaves the default. XNNPACK, too,
// needs to know the processor: without it there is no pool, and Failure.
size_t set_threads(uint32_t count);

}  // namespace mobilekd
