// Files, by C's own calls: C++'s streams ask more of a C library than Android's gives.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "error.h"

namespace mobilekd {

struct CloseFile {
  void operator()(FILE* file) const { std::fclose(file); }
};
using OpenFile = std::unique_ptr<FILE, CloseFile>;

// All bytes of a file; a Failure with `blame` where it cannot be read.
inline std::vector<char> read_file(const std::string& path, Exit blame) {
  const OpenFile file(std::fopen(path.c_str(), "rb"));
  std::vector<char> bytes;
  bool whole = false;
  for (char part[1 << 14]; file && !whole;) {
    const size_t count = std::fread(part, 1, sizeof(part), file.get());
    bytes.insert(bytes.end(), part, part + count);
    whole = count < sizeof(part);
  }
  if (!whole || std::ferror(file.get()) != 0)
    throw Failure(blame, path + ": missing or not readable");
  return bytes;
}

// The first `count` bytes of a model file; a Failure where there are not so many.
inline std::string file_head(const std::string& path, size_t count) {
  const OpenFile file(std::fopen(path.c_str(), "rb"));
  std::string head(count, '\0');
  if (!file || std::fread(head.data(), 1, count, file.get()) != count)
    throw Failure(Exit::model, path + ": missing, empty or not readable");
  return head;
}

// A file that is written from its start; it is whole only after close().
class OutputFile {
 public:
  explicit OutputFile(const std::string& path)
      : path_(path), file_(std::fopen(path.c_str(), "wb")) {}

  void write(const void* data, size_t bytes) {
    failed_ = failed_ || !file_ || std::fwrite(data, 1, bytes, file_.get()) != bytes;
  }

  // A Failure where anything did not get into the file.
  void close() {
    if (!file_ || std::fclose(file_.release()) != 0 || failed_)
      throw Failure(Exit::system, path_ + ": cannot be written; is the storage full?");
  }

 private:
  std::string path_;
  OpenFile file_;
  bool failed_ = false;
};

}  // namespace mobilekd
