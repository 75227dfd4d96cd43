// What a program needs to start under Android's loader and C library (bionic), where no NDK is at
// hand to build it: the entry point, and the few functions of GNU's C library that GCC's own static
// libraries ask for and bionic lacks or calls otherwise.
//
// An Android library needs such a program: another C library's process cannot load it. Whatever
// else the program takes from the system is plain C and Linux, and is called alike in both
// (android.py lists it, and refuses to link more).
#include <elf.h>

#include <cstddef>
#include <cstdint>

extern "C" {

extern const Elf64_Ehdr __ehdr_start;  // the linker's name for the start of this program

int main(int argc, char** argv);
int* __errno();
unsigned long getauxval(unsigned long type);
int pthread_key_create(unsigned* key, void (*destructor)(void*));

// bionic's libc/private/bionic_defs and libc_init_common.h: it calls main and exits. The loader has
// run the constructors; the lists are empty, each from its mark to its end.
using Function = void (*)();
struct Structors {
  const Function* before_constructors;
  const Function* constructors;
  const Function* destructors;
};
[[noreturn]] void __libc_init(void* arguments, void (*at_exit)(), int (*program)(int, char**),
                              const Structors* structors);

__attribute__((used)) [[noreturn]] void start_with(void* arguments) {
  static const Function none[] = {reinterpret_cast<Function>(-1), nullptr};
  static const Structors structors = {none, none, none};
  __libc_init(arguments, nullptr, main, &structors);
}

// The kernel leaves the arguments where the stack begins.
__asm__(
    ".globl _start\n"
    ".type _start, %function\n"
    "_start:\n"
    "  mov x29, #0\n"
    "  mov x30, #0\n"
    "  mov x0, sp\n"
    "  b start_with\n");

// C++'s exceptions. Two pointers for each thread; here one thread throws, so that they need no
// thread-local storage, which loaders before Android 10 do not know.
void* __cxa_get_globals() {
  static void* globals[2];
  return globals;
}
void* __cxa_get_globals_fast() { return __cxa_get_globals(); }

// GCC's unwinder asks where the tables are of the code that an exception passes: it passes only
// this program's own. The layout is that of <dlfcn.h> of GNU C library 2.35.
struct FoundObject {
  unsigned long long flags;
  const void* start;
  const void* end;
  const void* map;
  const void* frames;
  unsigned long long reserved[7];
};
int _dl_find_object(const void*, FoundObject* found) {
  const char* base = reinterpret_cast<const char*>(&__ehdr_start);
  const auto* parts = reinterpret_cast<const Elf64_Phdr*>(base + __ehdr_start.e_phoff);
  for (int i = 0; i < __ehdr_start.e_phnum; i++) {
    if (parts[i].p_type == PT_GNU_EH_FRAME) {
      *found = {};
      found->start = base;
      found->frames = base + parts[i].p_vaddr;
      return 0;
    }
  }
  return -1;
}

char __libc_single_threaded = 0;
int* __errno_location() { return __errno(); }
unsigned long __getauxval(unsigned long type) { return getauxval(type); }
int __pthread_key_create(unsigned* key, void (*destructor)(void*)) {
  return pthread_key_create(key, destructor);
}
char* gettext(const char* text) { return const_cast<char*>(text); }

}  // extern "C"

void* __dso_handle = nullptr;
