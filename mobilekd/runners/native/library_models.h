// The runtimes that come as a library of their own.
#pragma once

#include <memory>

#include "model.h"

namespace mobilekd {

std::unique_ptr<Model> open_litert(const Request& request);
std::unique_ptr<Model> open_onnx(const Request& request);

}  // namespace mobilekd
