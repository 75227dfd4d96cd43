#include "system.h"

#include <chrono>
#include <fstream>
#include <sstream>

#ifdef __linux__
#include <sched.h>
#else
#include <sys/resource.h>
#endif

#include "error.h"

namespace mobilekd {

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

#ifdef __linux__

void bind_cores(const std::string& list) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  std::stringstream items(list);
  for (std::string item; std::getline(items, item, ',');) {
    if (item.empty() || item.size() > 4 ||
        item.find_first_not_of("0123456789") != std::string::npos) {
      throw Failure(Exit::usage,
                    "--cores " + list + ": write core numbers with commas, such as 4,5,6,7");
    }
    CPU_SET(std::stoi(item), &cores);
  }
  if (sched_setaffinity(0, sizeof(cores), &cores) != 0) {
    throw Failure(Exit::system, "--cores " + list + ": the system refuses to bind to these cores");
  }
}

namespace {

// The value in kB behind `key` in a file of /proc, in bytes; -1 where it is not told.
int64_t proc_bytes(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) == 0) return std::strtoll(line.c_str() + key.size(), nullptr, 10) * 1024;
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
