// ONNX Runtime, through its C API.
//
// OrtApi is a table of functions that only ever grows at its end (onnxruntime_c_api.h: "All version
// numbers are backward compatible"), so a place in it means the same in every release. Named here
// are the places that are used; onnxruntime_c_api.cc pins some of them, such as 101 and 118.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "error.h"
#include "file.h"
#include "library.h"
#include "library_models.h"

namespace mobilekd {
namespace {

// Objects of the runtime, which this program only hands back.
struct Status;
struct Env;
struct SessionOptions;
struct Session;
struct TypeInfo;
struct TensorInfo;
struct MemoryInfo;
struct Value;
struct Allocator;

struct Api {
  static constexpr uint32_t kVersion = 4;  // the first with all that is used; of ONNX Runtime 1.4

  explicit Api(const Library& library) {
    struct Base {  // OrtApiBase
      void* const* (*get_api)(uint32_t version);
      const char* (*get_version)();
    };
    const Base* (*get_base)() = nullptr;
    library.find("OrtGetApiBase", get_base);
    version = get_base()->get_version();
    void* const* table = get_base()->get_api(kVersion);
    if (table == nullptr)
      throw Failure(Exit::system, "ONNX Runtime " + version + " no longer has the API of 1.4");
    const auto take = [table](size_t place, auto*& function) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(table[place]);
    };
    take(2, message);
    take(3, create_env);
    take(8, create_session);
    take(9, run);
    take(10, create_options);
    take(24, set_threads_within);
    take(25, set_threads_between);
    take(30, input_count);
    take(31, output_count);
    take(33, input_type);
    take(34, output_type);
    take(36, input_name);
    take(37, output_name);
    take(49, create_value);
    take(55, tensor_info);
    take(60, element_type);
    take(61, dimensions_count);
    take(62, dimensions);
    take(69, cpu_memory);
    take(78, default_allocator);
    take(98, release_type_info);
  }

  std::string version;
  const char* (*message)(const Status*);
  Status* (*create_env)(int severity, const char* name, Env**);
  Status* (*create_session)(const Env*, const void* data, size_t bytes, const SessionOptions*,
                            Session**);
  Status* (*run)(Session*, const void* run_options, const char* const* input_names,
                 const Value* const* inputs, size_t input_count, const char* const* output_names,
                 size_t output_count, Value** outputs);
  Status* (*create_options)(SessionOptions**);
  Status* (*set_threads_within)(SessionOptions*, int count);   // of one operator
  Status* (*set_threads_between)(SessionOptions*, int count);  // of operators side by side
  Status* (*input_count)(const Session*, size_t*);
  Status* (*output_count)(const Session*, size_t*);
  Status* (*input_type)(const Session*, size_t index, TypeInfo**);
  Status* (*output_type)(const Session*, size_t index, TypeInfo**);
  Status* (*input_name)(const Session*, size_t index, Allocator*, char**);
  Status* (*output_name)(const Session*, size_t index, Allocator*, char**);
  Status* (*create_value)(const MemoryInfo*, void* data, size_t bytes, const int64_t* shape,
                          size_t rank, int element_type, Value**);
  Status* (*tensor_info)(const TypeInfo*, const TensorInfo**);  // null: it is no tensor
  Status* (*element_type)(const TensorInfo*, int*);
  Status* (*dimensions_count)(const TensorInfo*, size_t*);
  Status* (*dimensions)(const TensorInfo*, int64_t*, size_t rank);
  Status* (*cpu_memory)(int allocator_type, int memory_type, MemoryInfo**);
  Status* (*default_allocator)(Allocator**);
  void (*release_type_info)(TypeInfo*);
};

constexpr int kSilent = 4;        // ORT_LOGGING_LEVEL_FATAL: errors are told by a Failure
constexpr int kFloat = 1;         // ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
constexpr int kArena = 1;         // OrtArenaAllocator
constexpr int kDefaultMemory = 0;  // OrtMemTypeDefault

// The library, told to report to nobody before it can begin: official builds send events to
// Microsoft and leave an identifier on the disk, unless this is set (its Privacy.md).
Library quiet(const std::string& path) {
  setenv("ORT_DISABLE_TELEMETRY", "1", 1);
  return Library(path);
}

class OnnxModel : public LibraryModel {
 public:
  explicit OnnxModel(const Request& request)
      : LibraryModel(request), api_(quiet(request.library)) {
    version_ = api_.version;
    backends_ = "CPUExecutionProvider";
  }

  void load_file() override { bytes_ = read_file(path_, Exit::model); }

  void load_method() override {
    SessionOptions* options = nullptr;
    need(api_.create_env(kSilent, "mobilekd", &env_), Exit::system);
    need(api_.create_options(&options), Exit::system);
    need(api_.set_threads_within(options, static_cast<int>(threads_)), Exit::system);
    need(api_.set_threads_between(options, 1), Exit::system);
    need(api_.create_session(env_, bytes_.data(), bytes_.size(), options, &session_), Exit::model);
    bytes_ = {};
    need(api_.cpu_memory(kArena, kDefaultMemory, &memory_), Exit::system);
    need(api_.default_allocator(&allocator_), Exit::system);
    size_t inputs = 0, outputs = 0;
    need(api_.input_count(session_, &inputs), Exit::model);
    need(api_.output_count(session_, &outputs), Exit::model);
    expect(inputs, outputs);
    TypeInfo* type = nullptr;
    need(api_.input_type(session_, 0, &type), Exit::model);
    const std::vector<int64_t> shape = float_shape(type, "its input");
    shape_.assign(shape.begin(), shape.end());
    input_value_ = value(shape, input_);
    need(api_.input_name(session_, 0, allocator_, &input_name_), Exit::model);
    for (size_t i = 0; i < outputs; i++) {
      char* name = nullptr;
      need(api_.output_type(session_, i, &type), Exit::model);
      output_values_.push_back(
          value(float_shape(type, "output " + std::to_string(i)), results_[i]));
      need(api_.output_name(session_, i, allocator_, &name), Exit::model);
      output_names_.push_back(name);
    }
  }

  void run() override {
    need(api_.run(session_, nullptr, &input_name_, &input_value_, 1, output_names_.data(),
                  output_names_.size(), output_values_.data()),
         Exit::execution);
  }

 private:
  // A Failure that ends in the runtime's own first line, unless the status is null, which is good.
  void need(Status* status, Exit blame) const {
    if (status == nullptr) return;
    const std::string words = api_.message(status);
    throw Failure(blame, path_ + ": ONNX Runtime " + version_ + " refuses it (" +
                             words.substr(0, words.find('\n')) + "); truncated or damaged?");
  }

  // The shape of a float32 tensor of fixed size; takes `type` over.
  std::vector<int64_t> float_shape(TypeInfo* type, const std::string& what) const {
    const TensorInfo* info = nullptr;
    int element = 0;
    size_t rank = 0;
    need(api_.tensor_info(type, &info), Exit::model);
    if (info != nullptr) {
      need(api_.element_type(info, &element), Exit::model);
      need(api_.dimensions_count(info, &rank), Exit::model);
    }
    std::vector<int64_t> shape(rank);
    if (rank > 0) need(api_.dimensions(info, shape.data(), rank), Exit::model);
    api_.release_type_info(type);
    need_fixed(element == kFloat, shape.data(), rank, what);
    return shape;
  }

  // A tensor over `floats`, which get room for it.
  Value* value(const std::vector<int64_t>& shape, AlignedFloats& floats) const {
    floats = room(shape.data(), shape.size());
    Value* made = nullptr;
    need(api_.create_value(memory_, floats.data(), floats.bytes(), shape.data(), shape.size(),
                           kFloat, &made),
         Exit::system);
    return made;
  }

  Api api_;
  std::vector<char> bytes_;
  Env* env_ = nullptr;
  Session* session_ = nullptr;
  MemoryInfo* memory_ = nullptr;
  Allocator* allocator_ = nullptr;
  char* input_name_ = nullptr;
  Value* input_value_ = nullptr;
  std::vector<const char*> output_names_;
  std::vector<Value*> output_values_;
};

}  // namespace

std::unique_ptr<Model> open_onnx(const Request& request) {
  return std::make_unique<OnnxModel>(request);
}

}  // namespace mobilekd
