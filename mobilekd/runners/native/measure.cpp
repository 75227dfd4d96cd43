#include "measure.h"

#include <algorithm>
#include <cmath>

#include "system.h"

namespace mobilekd {

namespace {

constexpr size_t kWindow = 10;
constexpr double kTolerance = 0.02;

int64_t median(std::vector<int64_t> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

int64_t timed(Model& model) {
  const int64_t start = now_ns();
  model.run();
  return now_ns() - start;
}

int64_t overhead_ns() {
  std::vector<int64_t> samples;
  samples.reserve(1000);
  for (int i = 0; i < 1000; i++) {
    const int64_t start = now_ns();
    samples.push_back(now_ns() - start);
  }
  return median(samples);
}

void warm_up(Model& model, size_t limit, Steady& series) {
  const std::string words =
      "windows of 10; steady when a window's median is within 2% of the one before";
  double before = 0;
  while (series.warmup_ns.size() + kWindow <= limit) {
    for (size_t i = 0; i < kWindow; i++) series.warmup_ns.push_back(timed(model));
    const double now =
        static_cast<double>(median({series.warmup_ns.end() - kWindow, series.warmup_ns.end()}));
    if (before > 0 && std::abs(now - before) <= kTolerance * before) {
      series.rule = words;
      return;
    }
    before = now;
  }
  series.rule = words + "; not reached within " + std::to_string(limit);
}

void sample(Model& model, size_t count, Steady& series) {
  series.samples_ns.reserve(count);
  for (size_t i = 0; i < count; i++) series.samples_ns.push_back(timed(model));
}

void sustained(Model& model, double seconds, Steady& series) {
  const int64_t start = now_ns();
  const auto end = start + static_cast<int64_t>(seconds * 1e9);
  for (int64_t begin = start; begin < end; begin = now_ns()) {
    series.offsets_ns.push_back(begin - start);
    series.samples_ns.push_back(timed(model));
  }
}

}  // namespace mobilekd
