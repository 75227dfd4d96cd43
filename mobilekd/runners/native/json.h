// Just enough JSON to write flat documents of numbers and plain strings.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mobilekd {

class Json {
 public:
  void number(const std::string& key, int64_t value) { raw(key, std::to_string(value)); }
  void text(const std::string& key, const std::string& value) { raw(key, quoted(value)); }
  void null(const std::string& key) { raw(key, "null"); }

  void raw(const std::string& key, const std::string& json) {
    out_ += (out_.empty() ? "" : ",") + quoted(key) + ":" + json;
  }

  template <typename Integer>
  void numbers(const std::string& key, const std::vector<Integer>& values) {
    std::string list;
    for (const Integer value : values) list += (list.empty() ? "" : ",") + std::to_string(value);
    raw(key, "[" + list + "]");
  }

  std::string str() const { return "{" + out_ + "}"; }

 private:
  static std::string quoted(const std::string& text) {
    std::string result = "\"";
    for (unsigned char c : text) {
      if (c == '"' || c == '\\') result += '\\';
      result += c < 0x20 ? ' ' : static_cast<char>(c);
    }
    return result + '"';
  }

  std::string out_;
};

}  // namespace mobilekd
