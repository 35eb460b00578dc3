// Argus for C++17: handles that free themselves, and errors as exceptions. Everything else is argus.h.
#ifndef ARGUS_HPP
#define ARGUS_HPP

#include <argus.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace argus {

// What a function refused with: its ARGUS_ code, and JSON with "message" and what else belongs to it.
class Error : public std::runtime_error {
 public:
  Error(int32_t code, std::string json) : std::runtime_error(json), code_(code) {}
  int32_t code() const noexcept { return code_; }
  const char *json() const noexcept { return what(); }

 private:
  int32_t code_;
};

struct Free {
  void operator()(const void *handle) const noexcept { argus_free(handle); }
  void operator()(char *string) const noexcept { argus_string_free(string); }
};

// A handle, such as Handle<argus_plan>.
template <typename T>
using Handle = std::unique_ptr<T, Free>;

// Calls a function whose last argument is `error`.
template <typename Function, typename... Arguments>
void call(Function function, Arguments... arguments) {
  char *error = nullptr;
  const int32_t code = function(arguments..., &error);
  const std::unique_ptr<char, Free> owned(error);
  if (code != ARGUS_OK) throw Error(code, error != nullptr ? error : "{}");
}

// Calls a function whose last arguments are `out`, a handle, and `error`.
template <typename T, typename Function, typename... Arguments>
Handle<T> make(Function function, Arguments... arguments) {
  T *out = nullptr;
  call(function, arguments..., &out);
  return Handle<T>(out);
}

// Calls a function whose last arguments are `out`, JSON, and `error`.
template <typename Function, typename... Arguments>
std::string json(Function function, Arguments... arguments) {
  char *out = nullptr;
  call(function, arguments..., &out);
  const std::unique_ptr<char, Free> owned(out);
  return out;
}

}  // namespace argus

#endif
