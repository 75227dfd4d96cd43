// The runtimes that come as a library of their own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "model.h"

namespace mobilekd {

// What their models have in common. Input and outputs are the process's own memory, handed to the
// runtime once, so that a run copies nothing that the runtime would not copy. Nothing is released:
// the process ends with the model.
class LibraryModel : public Model {
 public:
  std::vector<float> output(size_t index) const override {
    const AlignedFloats& result = results_.at(index);
    return {result.data(), result.data() + result.size()};
  }
  size_t outputs() const override { return results_.size(); }

 protected:
  explicit LibraryModel(const Request& request) : Model(request), threads_(request.threads) {}

  // A file takes one photograph; what it answers gets a place for each output.
  void expect(size_t inputs, size_t outputs) {
    if (inputs != 1)
      throw Failure(Exit::model, path_ + ": takes " + std::to_string(inputs) + " inputs, not one");
    results_.resize(outputs);
  }

  // A Failure unless a tensor is float32 and each of its `rank` sides is known.
  template <typename Side>
  void need_fixed(bool is_float, const Side* sides, size_t rank, const std::string& what) const {
    bool fixed = is_float;
    for (size_t i = 0; fixed && i < rank; i++) fixed = sides[i] > 0;
    if (!fixed)
      throw Failure(Exit::model, path_ + ": " + what + " is no float32 tensor of a fixed shape");
  }

  // Room for a tensor of these sides.
  template <typename Side>
  static AlignedFloats room(const Side* sides, size_t rank) {
    size_t count = 1;
    for (size_t i = 0; i < rank; i++) count *= static_cast<size_t>(sides[i]);
    return AlignedFloats(count);
  }

  size_t threads_;
  std::vector<AlignedFloats> results_;
};

std::unique_ptr<Model> open_litert(const Request& request);
std::unique_ptr<Model> open_onnx(const Request& request);

}  // namespace mobilekd
