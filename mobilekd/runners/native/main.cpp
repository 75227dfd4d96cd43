// mobilekd-runner: run one model on this machine and say in one JSON line what came of it.
// mobilekd-runner-library and -android: the same, in a runtime that is a library of its own.
//
//   mobilekd-runner golden  MODEL INPUTS OUTPUTS [--floats]
//       answers every input; writes OUTPUTS.0 [OUTPUTS.1 ...], float32
//   mobilekd-runner measure MODEL [--inputs FILE] [--samples N] [--warmup N] [--seconds S]
//   mobilekd-runner memory  MODEL [--inputs FILE] [--samples N]
//   mobilekd-runner profile MODEL ETDUMP [--inputs FILE] [--samples N]
//   all: [--threads N] [--cores 4,5,6,7] [--library FILE]
//
// INPUTS is raw uint8 (--floats: float32), one picture of the model's own input shape after
// another. The last line on stdout is "mobilekd-runner-end"; what lacks it was cut short. A failure
// is one line on stderr, "mobilekd-runner: ...".

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "file.h"
#include "json.h"
#include "measure.h"
#include "model.h"
#include "system.h"

namespace mobilekd {
namespace {

struct Arguments {
  std::vector<std::string> places;  // command, model, and what the command takes after it
  std::map<std::string, std::string> options;  // without the dashes

  std::string option(const std::string& name, const std::string& fallback) const {
    const auto found = options.find(name);
    return found == options.end() ? fallback : found->second;
  }

  double number(const std::string& name, double fallback) const {
    const auto found = options.find(name);
    if (found == options.end()) return fallback;
    char* end = nullptr;
    const double value = std::strtod(found->second.c_str(), &end);
    if (end == found->second.c_str() || *end != 0 || !(value >= 0 && value <= 1e7)) {
      throw Failure(Exit::usage,
                    "--" + name + " " + found->second + ": not a number that makes sense");
    }
    return value;
  }
};

Arguments parse(int argc, char** argv) {
  static const std::vector<std::string> known = {"inputs",  "samples", "warmup", "seconds",
                                                 "threads", "cores",   "library"};
  Arguments arguments;
  for (int i = 1; i < argc; i++) {
    const std::string word = argv[i];
    if (word.rfind("--", 0) != 0) {
      arguments.places.push_back(word);
    } else if (word == "--floats") {
      arguments.options["floats"] = "1";
    } else {
      bool found = false;
      for (const std::string& name : known) found = found || word == "--" + name;
      if (!found || i + 1 == argc)
        throw Failure(Exit::usage, word + ": unknown option, or its value is missing");
      arguments.options[word.substr(2)] = argv[++i];
    }
  }
  return arguments;
}

// All pictures of a file as floats, checked against the model's input size and for finiteness.
std::vector<float> read_inputs(const std::string& path, bool floats, size_t numel) {
  const std::vector<char> bytes = read_file(path, Exit::inputs);
  const size_t width = floats ? sizeof(float) : 1;
  if (bytes.empty() || bytes.size() % (numel * width) != 0) {
    throw Failure(Exit::inputs, path + ": " + std::to_string(bytes.size()) +
                                    " bytes are not a whole number of the model's inputs of " +
                                    std::to_string(numel * width));
  }
  std::vector<float> values(bytes.size() / width);
  for (size_t i = 0; i < values.size(); i++) {
    if (floats) {
      std::copy_n(bytes.data() + i * width, width, reinterpret_cast<char*>(&values[i]));
    } else {
      values[i] = static_cast<float>(static_cast<unsigned char>(bytes[i]));
    }
    if (!std::isfinite(values[i]))
      throw Failure(Exit::inputs, path + ": value " + std::to_string(i) + " is not finite");
  }
  return values;
}

// The first picture of --inputs, else a fixed pattern over 0..255: time does not hang on the
// values, only on the shape.
void fill_input(Model& model, const Arguments& arguments) {
  const std::string path = arguments.option("inputs", "");
  if (!path.empty()) {
    const std::vector<float> values = read_inputs(path, false, model.numel());
    std::copy_n(values.begin(), model.numel(), model.input());
    return;
  }
  uint32_t state = 1;
  for (size_t i = 0; i < model.numel(); i++) {
    state = state * 1664525U + 1013904223U;
    model.input()[i] = static_cast<float>(state >> 24U);
  }
}

// Opens the model that the command line names; `threads` are in effect.
std::unique_ptr<Model> opened(const Arguments& arguments, size_t threads, bool profiled = false) {
  return open_model({arguments.places[1], arguments.option("library", ""), threads, profiled});
}

void describe(Json& json, const Model& model, size_t threads) {
  json.numbers("input_shape", model.shape());
  json.text("backends", model.backends());
  if (!model.version().empty()) json.text("runtime_version", model.version());
  threads == 0 ? json.null("threads_in_effect")
               : json.number("threads_in_effect", static_cast<int64_t>(threads));
}

std::string golden(const Arguments& arguments, size_t threads) {
  const std::unique_ptr<Model> owned = opened(arguments, threads);
  Model& model = *owned;
  model.load_file();
  model.load_method();
  const std::vector<float> inputs =
      read_inputs(arguments.places[2], !arguments.option("floats", "").empty(), model.numel());
  const size_t count = inputs.size() / model.numel();
  std::vector<OutputFile> files;
  std::vector<int64_t> widths;
  for (size_t i = 0; i < count; i++) {
    std::copy_n(inputs.begin() + static_cast<std::ptrdiff_t>(i * model.numel()), model.numel(),
                model.input());
    model.run();
    for (size_t k = 0; k < model.outputs(); k++) {
      const std::vector<float> answer = model.output(k);
      if (i == 0) {
        files.emplace_back(arguments.places[3] + "." + std::to_string(k));
        widths.push_back(static_cast<int64_t>(answer.size()));
      }
      files[k].write(answer.data(), answer.size() * sizeof(float));
    }
  }
  for (OutputFile& file : files) file.close();
  Json json;
  describe(json, model, threads);
  json.number("count", static_cast<int64_t>(count));
  json.numbers("widths", widths);
  return json.str();
}

std::string measure(const Arguments& arguments, size_t threads) {
  const std::unique_ptr<Model> owned = opened(arguments, threads);
  Model& model = *owned;
  int64_t mark = now_ns();
  model.load_file();
  const int64_t file_load = now_ns() - mark;
  mark = now_ns();
  model.load_method();
  const int64_t method_load = now_ns() - mark;
  fill_input(model, arguments);
  const int64_t first = timed(model);
  Steady series;
  warm_up(model, static_cast<size_t>(arguments.number("warmup", 200)), series);
  const double seconds = arguments.number("seconds", 0);
  if (seconds > 0) {
    std::puts("mobilekd-runner-steady");  // whoever watches temperatures starts his clock here
    std::fflush(stdout);
    sustained(model, seconds, series);
  } else {
    sample(model, static_cast<size_t>(arguments.number("samples", 200)), series);
  }
  Json json;
  describe(json, model, threads);
  json.number("file_load_ns", file_load);
  json.number("method_load_ns", method_load);
  json.number("first_inference_ns", first);
  json.numbers("warmup_ns", series.warmup_ns);
  json.text("steady_rule", series.rule);
  json.numbers("samples_ns", series.samples_ns);
  json.numbers("offsets_ns", series.offsets_ns);
  json.number("overhead_ns", overhead_ns());
  return json.str();
}

std::string memory(const Arguments& arguments, size_t threads) {
  const MemoryUse before = memory_use();
  const std::unique_ptr<Model> owned = opened(arguments, threads);
  Model& model = *owned;
  model.load_file();
  model.load_method();
  fill_input(model, arguments);
  const auto count = static_cast<size_t>(arguments.number("samples", 20));
  for (size_t i = 0; i < count; i++) model.run();
  const MemoryUse after = memory_use();
  Json json;
  describe(json, model, threads);
  const auto put = [&json](const char* key, int64_t bytes) {
    bytes < 0 ? json.null(key) : json.number(key, bytes);
  };
  put("baseline_rss_bytes", before.rss);
  put("peak_rss_bytes", after.peak);
  put("pss_bytes", after.pss);
  return json.str();
}

// The runtime's own profile of some inferences, and the same inferences by this runner's clock.
std::string profile(const Arguments& arguments, size_t threads) {
  const std::unique_ptr<Model> owned = opened(arguments, threads, true);
  Model& model = *owned;
  model.load_file();
  model.load_method();
  fill_input(model, arguments);
  Steady series;
  sample(model, static_cast<size_t>(arguments.number("samples", 50)), series);
  model.write_profile(arguments.places[2]);
  Json json;
  describe(json, model, threads);
  json.numbers("samples_ns", series.samples_ns);
  return json.str();
}

struct Command {
  size_t places;  // with its own name
  std::string (*run)(const Arguments&, size_t threads);
};

int run(int argc, char** argv) {
  static const std::map<std::string, Command> commands = {{"golden", {4, golden}},
                                                          {"measure", {2, measure}},
                                                          {"memory", {2, memory}},
                                                          {"profile", {3, profile}}};
  try {
    const Arguments arguments = parse(argc, argv);
    const auto command =
        arguments.places.empty() ? commands.end() : commands.find(arguments.places[0]);
    if (command == commands.end() || command->second.places != arguments.places.size()) {
      throw Failure(Exit::usage,
                    "usage: golden MODEL INPUTS OUTPUTS | measure MODEL | memory MODEL | profile "
                    "MODEL ETDUMP, then options");
    }
    const std::string cores = arguments.option("cores", "");
    if (!cores.empty()) bind_cores(cores);  // before the pool, whose threads inherit it
    const size_t threads = start_runtime(static_cast<size_t>(arguments.number("threads", 0)));
    std::printf("mobilekd-runner-json %s\nmobilekd-runner-end\n",
                command->second.run(arguments, threads).c_str());
    return 0;
  } catch (const Failure& failure) {
    std::fprintf(stderr, "mobilekd-runner: %s\n", failure.what());
    return failure.code();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mobilekd-runner: %s\n", error.what());
    return static_cast<int>(Exit::execution);
  }
}

}  // namespace
}  // namespace mobilekd

int main(int argc, char** argv) { return mobilekd::run(argc, argv); }
