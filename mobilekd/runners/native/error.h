// How the runner fails: one line for a person on stderr, and an exit code that says whose fault it
// is.
#pragma once

#include <stdexcept>
#include <string>

namespace mobilekd {

enum class Exit : int {
  usage = 2,      // wrong arguments
  model = 3,      // the model file is missing, truncated or of another kind
  inputs = 4,     // the inputs do not fit the model, or are not finite
  execution = 5,  // the model failed while it ran
  system = 6,     // the platform refused (thread pool, core binding, output file)
};

class Failure : public std::runtime_error {
 public:
  Failure(Exit code, const std::string& message) : std::runtime_error(message), code_(code) {}
  int code() const { return static_cast<int>(code_); }

 private:
  Exit code_;
};

}  // namespace mobilekd
