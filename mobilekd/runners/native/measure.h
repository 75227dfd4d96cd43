// Timing of one loaded model: warm-up until steady, then raw samples.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model.h"

namespace mobilekd {

struct Steady {
  std::vector<int64_t> warmup_ns;
  std::vector<int64_t> samples_ns;
  std::vector<int64_t>
      offsets_ns;    // start of each sample from the first; filled by sustained() only
  std::string rule;  // how warm-up was found to be over, in words
};

// One inference in nanoseconds.
int64_t timed(Model& model);

// The same loop around nothing: median nanoseconds that the harness adds to a sample.
int64_t overhead_ns();

// Warm up in windows of ten until a window's median lies within 2% of the one before it (at most
// `limit` inferences).
void warm_up(Model& model, size_t limit, Steady& series);

void sample(Model& model, size_t count, Steady& series);

// Samples back to back for `seconds`.
void sustained(Model& model, double seconds, Steady& series);

}  // namespace mobilekd
