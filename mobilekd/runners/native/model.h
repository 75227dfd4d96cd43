// One ExecuTorch program with one float32 input, loaded in phases that can be timed apart.
#pragma once

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mobilekd {

class Model {
 public:
  // Checks that the file is there; loads nothing yet. `tracer` may be null.
  Model(const std::string& path,
        std::unique_ptr<executorch::runtime::EventTracer> tracer = nullptr);

  void load_file();    // map the file and read the program
  void load_method();  // set up `forward`: plan memory, hand the delegates their parts; then the
                       // input's shape is known

  const std::vector<int32_t>& shape() const { return shape_; }
  size_t numel() const { return input_.size(); }
  float* input() { return input_.data(); }

  // Run `forward` on what input() holds. The returned values live until the next call.
  const std::vector<executorch::runtime::EValue>& run();

  // Output `index` of the last run as float32; Failure where it is not a float tensor.
  std::vector<float> output(size_t index) const;
  size_t outputs() const { return values_.size(); }

  std::string backends() const { return backends_; }  // delegates that `forward` uses, with commas
  executorch::runtime::EventTracer* tracer() { return module_.event_tracer(); }

 private:
  std::string path_;
  executorch::extension::Module module_;
  std::vector<int32_t> shape_;
  std::vector<float> input_;
  executorch::extension::TensorPtr tensor_;
  std::vector<executorch::runtime::EValue> values_;
  std::string backends_;
};

}  // namespace mobilekd
