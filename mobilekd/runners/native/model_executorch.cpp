// ExecuTorch, which is part of the program.
#include <executorch/devtools/etdump/etdump_flatcc.h>
#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/platform/runtime.h>

#include <utility>

#include "error.h"
#include "file.h"
#include "model.h"

// ExecuTorch's thread pool. The wheel exports these symbols but ships no header for them; the
// declarations follow extension/threadpool/threadpool.h of ExecuTorch 1.5. Only non-virtual members
// are named, so a partial class links.
namespace executorch::extension::threadpool {

class ThreadPool {
 public:
  size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(uint32_t num_threads);
};

ThreadPool* get_threadpool();

}  // namespace executorch::extension::threadpool

namespace mobilekd {

using executorch::aten::ScalarType;
using executorch::etdump::ETDumpGen;
using executorch::extension::Module;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::Tag;

namespace {

std::string code(Error error) {
  return "ExecuTorch error " + std::to_string(static_cast<int>(error));
}

const std::string& readable(const std::string& path) {
  if (file_head(path, 8).substr(4, 2) != "ET")
    throw Failure(Exit::model, path + ": not an ExecuTorch program");
  return path;
}

class ExecuTorchModel : public Model {
 public:
  explicit ExecuTorchModel(const Request& request)
      : Model(request),
        module_(readable(path_), Module::LoadMode::Mmap,
                request.profiled ? std::make_unique<ETDumpGen>() : nullptr) {}

  void load_file() override;
  void load_method() override;
  void run() override;
  std::vector<float> output(size_t index) const override;
  size_t outputs() const override { return values_.size(); }
  void write_profile(const std::string& path) override;

 private:
  Module module_;
  executorch::extension::TensorPtr tensor_;
  std::vector<EValue> values_;
};

void ExecuTorchModel::load_file() {
  const Error error = module_.load();
  if (error != Error::Ok)
    throw Failure(Exit::model,
                  path_ + ": cannot be loaded (" + code(error) + "); truncated or damaged?");
}

void ExecuTorchModel::load_method() {
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
  input_ = AlignedFloats(numel);
  tensor_ = executorch::extension::from_blob(
      input_.data(), std::vector<executorch::aten::SizesType>(shape_.begin(), shape_.end()));
  for (size_t i = 0; i < meta->num_backends(); i++) {
    auto name = meta->get_backend_name(i);
    if (name.ok() && backends_.find(*name) == std::string::npos)
      backends_ += (backends_.empty() ? "" : ",") + std::string(*name);
  }
}

void ExecuTorchModel::run() {
  auto result = module_.forward(tensor_);
  if (!result.ok())
    throw Failure(Exit::execution, path_ + ": forward failed (" + code(result.error()) + ")");
  values_ = std::move(*result);
}

std::vector<float> ExecuTorchModel::output(size_t index) const {
  if (index >= values_.size() || !values_[index].isTensor() ||
      values_[index].toTensor().scalar_type() != ScalarType::Float) {
    throw Failure(Exit::model,
                  path_ + ": output " + std::to_string(index) + " is not a float32 tensor");
  }
  const auto& tensor = values_[index].toTensor();
  const float* data = tensor.const_data_ptr<float>();
  return {data, data + tensor.numel()};
}

void ExecuTorchModel::write_profile(const std::string& path) {
  auto* tracer = static_cast<ETDumpGen*>(module_.event_tracer());
  if (tracer == nullptr) throw Failure(Exit::usage, "the model was not opened to be profiled");
  const auto result = tracer->get_etdump_data();
  OutputFile file(path);
  file.write(result.buf, result.size);
  std::free(result.buf);
  file.close();
}

}  // namespace

size_t start_runtime(size_t threads) {
  executorch::runtime::runtime_init();
  auto* pool = executorch::extension::threadpool::get_threadpool();
  if (pool == nullptr)  // XNNPACK, too, needs to know the processor
    throw Failure(
        Exit::system,
        "the processor is not recognised: /proc/cpuinfo or /sys/devices/system/cpu cannot be read");
  // A loaded delegate keeps the old pool, and resetting under it crashes.
  if (threads > 0 && !pool->_unsafe_reset_threadpool(static_cast<uint32_t>(threads))) {
    throw Failure(Exit::system,
                  "ExecuTorch's thread pool refuses " + std::to_string(threads) + " threads");
  }
  return pool->get_thread_count();
}

std::unique_ptr<Model> open_model(const Request& request) {
  return std::make_unique<ExecuTorchModel>(request);
}

}  // namespace mobilekd
