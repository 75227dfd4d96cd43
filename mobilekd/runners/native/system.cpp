#include "system.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>

#ifdef __linux__
#include <sched.h>
#else
#include <sys/resource.h>
#endif

#include "error.h"
#include "file.h"

namespace mobilekd {

int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{1'000'000'000} * now.tv_sec + now.tv_nsec;
}

#ifdef __linux__

void bind_cores(const std::string& list) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  for (size_t start = 0; start < list.size();) {
    const size_t end = std::min(list.find(',', start), list.size());
    const std::string item = list.substr(start, end - start);
    start = end + 1;
    if (item.empty() || item.size() > 4 ||
        item.find_first_not_of("0123456789") != std::string::npos) {
      throw Failure(Exit::usage,
                    "--cores " + list + ": write core numbers with commas, such as 4,5,6,7");
    }
    CPU_SET(std::atoi(item.c_str()), &cores);
  }
  if (sched_setaffinity(0, sizeof(cores), &cores) != 0) {
    throw Failure(Exit::system, "--cores " + list + ": the system refuses to bind to these cores");
  }
}

namespace {

// The value in kB behind `key` in a file of /proc, in bytes; -1 where it is not told.
int64_t proc_bytes(const char* path, const std::string& key) {
  const OpenFile file(std::fopen(path, "r"));
  for (char line[256]; file && std::fgets(line, sizeof(line), file.get()) != nullptr;) {
    if (key.compare(0, key.size(), line, std::min(key.size(), std::strlen(line))) == 0)
      return std::atoll(line + key.size()) * 1024;
  }
  return -1;
}

}  // namespace

MemoryUse memory_use() {
  return {proc_bytes("/proc/self/status", "VmRSS:"), proc_bytes("/proc/self/status", "VmHWM:"),
          proc_bytes("/proc/self/smaps_rollup", "Pss:")};
}

#else

void bind_cores(const std::string& list) {
  throw Failure(Exit::system, "--cores " + list + ": this system cannot bind a process to cores");
}

MemoryUse memory_use() {
  rusage usage{};
  MemoryUse memory;
  if (getrusage(RUSAGE_SELF, &usage) == 0) memory.peak = usage.ru_maxrss;  // bytes on macOS
  return memory;
}

#endif

}  // namespace mobilekd
