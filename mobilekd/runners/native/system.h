// What the runner asks of the operating system: a monotonic clock, core binding, memory in use.
#pragma once

#include <cstdint>
#include <string>

namespace mobilekd {

// Nanoseconds of a clock that never runs backwards.
int64_t now_ns();

// Bind this process (and the threads it will start) to cores such as "4,5,6,7"; Failure where that
// cannot be done.
void bind_cores(const std::string& list);

struct MemoryUse {
  int64_t rss = -1;   // resident now, bytes; -1: the platform does not tell
  int64_t peak = -1;  // highest resident so far
  int64_t pss = -1;   // proportional share: pages shared with other processes count in part
};

MemoryUse memory_use();

}  // namespace mobilekd
