// A runtime's library, opened by name while the program runs: its functions are found by theirs.
#pragma once

#include <dlfcn.h>

#include <string>

#include "error.h"

namespace mobilekd {

class Library {
 public:
  explicit Library(const std::string& path) : path_(path) {
    if (path.empty()) throw Failure(Exit::usage, "--library FILE: names the runtime's library");
    // stays open to the end of the process: runtimes leave threads behind
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) {
      const char* reason = dlerror();
      throw Failure(Exit::system, path + ": the system does not load this library (" +
                                      (reason != nullptr ? reason : "no reason given") + ")");
    }
  }

  // Set `function` to the function of that name; a Failure where the library has none.
  template <typename Function>
  void find(const char* name, Function*& function) const {
    function = reinterpret_cast<Function*>(dlsym(handle_, name));
    if (function == nullptr)
      throw Failure(Exit::system, path_ + ": has no " + name + "; take a newer release of it");
  }

 private:
  std::string path_;
  void* handle_ = nullptr;
};

}  // namespace mobilekd
