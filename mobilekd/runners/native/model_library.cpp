// Which runtime a model file is for, by its first bytes.
#include "error.h"
#include "file.h"
#include "library_models.h"

namespace mobilekd {

// A session takes its threads when it is made; neither runtime tells how many it has.
size_t start_runtime(size_t threads) { return threads; }

std::unique_ptr<Model> open_model(const Request& request) {
  const std::string head = file_head(request.path, 8);
  if (head.substr(4, 4) == "TFL3") return open_litert(request);
  // a ModelProto begins with its first field, the version of the format
  if (head[0] == 0x08) return open_onnx(request);
  throw Failure(Exit::model, request.path + ": neither an ONNX nor a LiteRT file");
}

}  // namespace mobilekd
