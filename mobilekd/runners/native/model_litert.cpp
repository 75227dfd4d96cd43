// LiteRT, through its C API, on the processor: what XNNPACK takes runs there.
//
// The declarations follow litert/c of LiteRT 2.1.6 to 2.3.0. Earlier releases load models by a
// function of the same name that takes other arguments; LiteRtCreateModelFromFd came with the
// change, so that a library without it is refused.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "error.h"
#include "library.h"
#include "library_models.h"

namespace mobilekd {
namespace {

// Objects of the runtime, which this program only hands back.
struct Environment;
struct File;
struct Options;
struct OpaqueOptions;
struct CompiledModel;
struct Signature;
struct Tensor;
struct Buffer;

struct TensorType {  // LiteRtRankedTensorType, which is part of the public ABI
  int32_t element_type;
  uint32_t rank : 7;
  uint32_t has_strides : 1;
  int32_t dimensions[8];
  uint32_t strides[8];
};
static_assert(sizeof(TensorType) == 72, "litert_model_types.h asserts this size, too");

constexpr int32_t kFloat = 1;      // kLiteRtElementTypeFloat32
constexpr int32_t kProcessor = 1;  // kLiteRtHwAcceleratorCpu
constexpr size_t kFirst = 0;       // the signature that the file has

struct Api {
  explicit Api(const Library& library) {
    void (*since_2_1_6)() = nullptr;
    library.find("LiteRtCreateModelFromFd", since_2_1_6);
    library.find("LiteRtCreateEnvironment", create_environment);
    library.find("LiteRtCreateModelFromFile", create_model);
    library.find("LiteRtCreateOptions", create_options);
    library.find("LiteRtSetOptionsHardwareAccelerators", set_accelerators);
    library.find("LiteRtCreateOpaqueOptions", create_opaque_options);
    library.find("LiteRtAddOpaqueOptions", add_opaque_options);
    library.find("LiteRtCreateCompiledModel", compile);
    library.find("LiteRtRunCompiledModel", run);
    library.find("LiteRtGetModelSignature", signature);
    library.find("LiteRtGetNumSignatureInputs", input_count);
    library.find("LiteRtGetNumSignatureOutputs", output_count);
    library.find("LiteRtGetSignatureInputTensorByIndex", input_tensor);
    library.find("LiteRtGetSignatureOutputTensorByIndex", output_tensor);
    library.find("LiteRtGetRankedTensorType", tensor_type);
    library.find("LiteRtCreateTensorBufferFromHostMemory", create_buffer);
  }

  int (*create_environment)(int count, const void* options, Environment**);
  int (*create_model)(Environment*, const char* path, File**);
  int (*create_options)(Options**);
  int (*set_accelerators)(Options*, int32_t);
  int (*create_opaque_options)(const char* name, void* payload, void (*free)(void*),
                               OpaqueOptions**);
  int (*add_opaque_options)(Options*, OpaqueOptions*);
  int (*compile)(Environment*, File*, Options*, CompiledModel**);
  int (*run)(CompiledModel*, size_t signature, size_t input_count, Buffer**, size_t output_count,
             Buffer**);
  int (*signature)(File*, size_t index, Signature**);
  int (*input_count)(Signature*, size_t*);
  int (*output_count)(Signature*, size_t*);
  int (*input_tensor)(Signature*, size_t index, Tensor**);
  int (*output_tensor)(Signature*, size_t index, Tensor**);
  int (*tensor_type)(Tensor*, TensorType*);
  int (*create_buffer)(const TensorType*, void* data, size_t bytes, void (*free)(void*), Buffer**);
};

class LiteRtModel : public LibraryModel {
 public:
  explicit LiteRtModel(const Request& request)
      : LibraryModel(request), api_(Library(request.library)) {
    backends_ = "CPU";
  }

  void load_file() override {
    need(api_.create_environment(0, nullptr, &environment_), Exit::system);
    need(api_.create_model(environment_, path_.c_str(), &file_), Exit::model);
  }

  void load_method() override {
    Options* options = nullptr;
    need(api_.create_options(&options), Exit::system);
    need(api_.set_accelerators(options, kProcessor), Exit::system);
    if (threads_ > 0) set_threads(options);
    need(api_.compile(environment_, file_, options, &model_), Exit::model);
    Signature* signature = nullptr;
    size_t inputs = 0, outputs = 0;
    need(api_.signature(file_, kFirst, &signature), Exit::model);
    need(api_.input_count(signature, &inputs), Exit::model);
    need(api_.output_count(signature, &outputs), Exit::model);
    expect(inputs, outputs);
    Tensor* tensor = nullptr;
    need(api_.input_tensor(signature, 0, &tensor), Exit::model);
    const TensorType type = float_type(tensor, "its input");
    shape_.assign(type.dimensions, type.dimensions + type.rank);
    input_buffer_ = buffer(type, input_);
    for (size_t i = 0; i < outputs; i++) {
      need(api_.output_tensor(signature, i, &tensor), Exit::model);
      output_buffers_.push_back(
          buffer(float_type(tensor, "output " + std::to_string(i)), results_[i]));
    }
  }

  void run() override {
    need(api_.run(model_, kFirst, 1, &input_buffer_, output_buffers_.size(),
                  output_buffers_.data()),
         Exit::execution);
  }

 private:
  void need(int status, Exit blame) const {
    if (status == 0) return;
    throw Failure(blame, path_ + ": LiteRT refuses it (status " + std::to_string(status) +
                             "); truncated or damaged?");
  }

  // As LrtGetOpaqueCpuOptionsData writes them: lines of TOML under the name of the delegate.
  void set_threads(Options* options) const {
    const std::string text = "num_threads = " + std::to_string(threads_) + "\n";
    char* payload = static_cast<char*>(std::malloc(text.size() + 1));
    if (payload == nullptr) throw Failure(Exit::system, "out of memory");
    std::memcpy(payload, text.c_str(), text.size() + 1);
    OpaqueOptions* opaque = nullptr;
    need(api_.create_opaque_options("xnnpack", payload, std::free, &opaque), Exit::system);
    need(api_.add_opaque_options(options, opaque), Exit::system);
  }

  // The type of a float32 tensor of fixed size.
  TensorType float_type(Tensor* tensor, const std::string& what) const {
    TensorType type{};
    need(api_.tensor_type(tensor, &type), Exit::model);
    need_fixed(type.element_type == kFloat && type.rank <= 8, type.dimensions, type.rank, what);
    return type;
  }

  // A buffer over `floats`, which get room for the tensor.
  Buffer* buffer(const TensorType& type, AlignedFloats& floats) const {
    floats = room(type.dimensions, type.rank);
    Buffer* made = nullptr;
    need(api_.create_buffer(&type, floats.data(), floats.bytes(), nullptr, &made), Exit::system);
    return made;
  }

  Api api_;
  Environment* environment_ = nullptr;
  File* file_ = nullptr;
  CompiledModel* model_ = nullptr;
  Buffer* input_buffer_ = nullptr;
  std::vector<Buffer*> output_buffers_;
};

}  // namespace

std::unique_ptr<Model> open_litert(const Request& request) {
  return std::make_unique<LiteRtModel>(request);
}

}  // namespace mobilekd
