// Just enough JSON to write flat documents of numbers and plain strings.
#pragma once

#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

namespace mobilekd {

class Json {
 public:
  void number(const std::string& key, int64_t value) { field(key) << value; }
  void text(const std::string& key, const std::string& value) { field(key) << quoted(value); }
  void null(const std::string& key) { field(key) << "null"; }
  void raw(const std::string& key, const std::string& json) { field(key) << json; }

  template <typename Integer>
  void numbers(const std::string& key, const std::vector<Integer>& values) {
    std::ostream& out = field(key) << '[';
    for (size_t i = 0; i < values.size(); i++) out << (i ? "," : "") << values[i];
    out << ']';
  }

  std::string str() const { return "{" + out_.str() + "}"; }

 private:
  std::ostream& field(const std::string& key) {
    if (out_.tellp() > 0) out_ << ',';
    return out_ << quoted(key) << ':';
  }

  static std::string quoted(const std::string& text) {
    std::string result = "\"";
    for (unsigned char c : text) {
      if (c == '"' || c == '\\') result += '\\';
      result += c < 0x20 ? ' ' : static_cast<char>(c);
    }
    return result + '"';
  }

  std::ostringstream out_;
};

}  // namespace mobilekd
