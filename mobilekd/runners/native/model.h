// One model with one float32 input, whichever runtime runs it, loaded in phases that can be timed
// apart. A program has one runtime: what stands here is defined by model_executorch.cpp, or by
// model_library.cpp for runtimes that come as a library of their own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "aligned.h"

namespace mobilekd {

// What of the command line is about the model.
struct Request {
  std::string path;     // of the model file
  std::string library;  // the runtime's library; empty where the runtime is part of the program
  size_t threads = 0;   // 0: the runtime's own choice
  bool profiled = false;
};

class Model {
 public:
  virtual ~Model() = default;

  virtual void load_file() = 0;    // map or read the file
  virtual void load_method() = 0;  // plan memory and pack weights; then the input's shape is known
  virtual void run() = 0;          // answer what input() holds

  // Output `index` of the last run as float32; Failure where it is not a float tensor.
  virtual std::vector<float> output(size_t index) const = 0;
  virtual size_t outputs() const = 0;

  // Write the runtime's own profile of all runs; Failure where it keeps none.
  virtual void write_profile(const std::string&) {
    throw Failure(Exit::usage, path_ + ": its runtime keeps no profile");
  }

  const std::vector<int32_t>& shape() const { return shape_; }
  size_t numel() const { return input_.size(); }
  float* input() { return input_.data(); }
  std::string backends() const { return backends_; }  // what runs the layers, with commas
  std::string version() const { return version_; }    // of the runtime's library; empty: not told

 protected:
  explicit Model(const Request& request) : path_(request.path) {}

  std::string path_;
  std::vector<int32_t> shape_;
  AlignedFloats input_;
  std::string backends_;
  std::string version_;
};

// Make the runtime ready for so many threads, 0 for its own choice; how many are in effect, 0 where
// it does not tell. Call it once, before a model is opened.
size_t start_runtime(size_t threads);

// Checks that the file is there and of the runtime's kind; loads nothing yet.
std::unique_ptr<Model> open_model(const Request& request);

}  // namespace mobilekd
