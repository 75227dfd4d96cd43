#include "model.h"

#include <fstream>
#include <utility>

#include "error.h"
#include "threads.h"

namespace mobilekd {

using executorch::aten::ScalarType;
using executorch::extension::Module;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::Tag;

namespace {

std::string code(Error error) {
  return "ExecuTorch error " + std::to_string(static_cast<int>(error));
}

const std::string& readable(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char head[8] = {};
  if (!file.read(head, sizeof(head)))
    throw Failure(Exit::model, path + ": missing, empty or not readable");
  if (std::string(head + 4, 2) != "ET")
    throw Failure(Exit::model, path + ": not an ExecuTorch program");
  return path;
}

}  // namespace

size_t set_threads(uint32_t count) {
  auto* pool = executorch::extension::threadpool::get_threadpool();
  if (pool == nullptr)
    throw Failure(
        Exit::system,
        "the processor is not recognised: /proc/cpuinfo or /sys/devices/system/cpu cannot be read");
  if (count > 0 && !pool->_unsafe_reset_threadpool(count)) {
    throw Failure(Exit::system,
                  "ExecuTorch's thread pool refuses " + std::to_string(count) + " threads");
  }
  return pool->get_thread_count();
}

Model::Model(const std::string& path, std::unique_ptr<executorch::runtime::EventTracer> tracer)
    : path_(path), module_(readable(path), Module::LoadMode::Mmap, std::move(tracer)) {}

void Model::load_file() {
  const Error error = module_.load();
  if (error != Error::Ok)
    throw Failure(Exit::model,
                  path_ + ": cannot be loaded (" + code(error) + "); truncated or damaged?");
}

void Model::load_method() {
  const Error error = module_.load_method("forward");
  if (error != Error::Ok)
    throw Failure(Exit::model, path_ + ": forward cannot be set up (" + code(error) + ")");
  auto meta = module_.method_meta("forward");
  if (!meta.ok())
    throw Failure(Exit::model,
                  path_ + ": has no description of forward (" + code(meta.error()) + ")");
  auto tag = meta->num_inputs() == 1 ? meta->input_tag(0)
                                     : executorch::runtime::Result<Tag>(Error::NotSupported);
  auto info = meta->input_tensor_meta(0);
  if (!tag.ok() || *tag != Tag::Tensor || !info.ok() || info->scalar_type() != ScalarType::Float) {
    throw Failure(Exit::model, path_ + ": forward does not take exactly one float32 tensor");
  }
  shape_.assign(info->sizes().begin(), info->sizes().end());
  size_t numel = 1;
  for (int32_t size : shape_) numel *= static_cast<size_t>(size);
  input_.assign(numel, 0.0F);
  tensor_ = executorch::extension::from_blob(
      input_.data(), std::vector<executorch::aten::SizesType>(shape_.begin(), shape_.end()));
  for (size_t i = 0; i < meta->num_backends(); i++) {
    auto name = meta->get_backend_name(i);
    if (name.ok() && backends_.find(*name) == std::string::npos)
      backends_ += (backends_.empty() ? "" : ",") + std::string(*name);
  }
}

const std::vector<EValue>& Model::run() {
  auto result = module_.forward(tensor_);
  if (!result.ok())
    throw Failure(Exit::execution, path_ + ": forward failed (" + code(result.error()) + ")");
  values_ = std::move(*result);
  return values_;
}

std::vector<float> Model::output(size_t index) const {
  if (index >= values_.size() || !values_[index].isTensor() ||
      values_[index].toTensor().scalar_type() != ScalarType::Float) {
    throw Failure(Exit::model,
                  path_ + ": output " + std::to_string(index) + " is not a float32 tensor");
  }
  const auto& tensor = values_[index].toTensor();
  const float* data = tensor.const_data_ptr<float>();
  return {data, data + tensor.numel()};
}

}  // namespace mobilekd
