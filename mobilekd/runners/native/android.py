"""The runner as a program of Android's own C library (bionic), for libraries that are built for it:
no other C library's process can load them.

No NDK is needed: the program is C++ that asks the system for little. What it asks is listed here,
and the linker refuses more; each is in bionic since Android 8 at the latest. ``start_android.cpp``
starts it, and GCC's static libraries are inside.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

PROGRAM = "mobilekd-runner-android"
LOADER = "/system/bin/linker64"
#: By the library of the system: functions, and data.
FUNCTIONS = {
    "libc.so": (
        "__cxa_atexit __errno __libc_init abort clock_gettime fclose ferror fflush fgets fopen"
        " fprintf fputc fputs fread free fwrite getauxval malloc memchr memcmp memcpy memmove"
        " memset posix_memalign printf pthread_key_create pthread_getspecific pthread_mutex_lock"
        " pthread_mutex_unlock pthread_once pthread_setspecific puts realloc sched_setaffinity"
        " setenv sprintf strchr strcmp strlen strncmp strtod strtol strtoll syscall"
    ),
    "libdl.so": "dlerror dlopen dlsym",
}
DATA = {"libc.so": "stderr stdout"}
FLAGS = (
    "-std=c++17",
    "-O2",
    "-Wall",
    "-Wextra",
    "-fPIE",
    "-fno-stack-protector",  # bionic keeps its guard elsewhere
    "-ffunction-sections",
    "-fdata-sections",
)
LINK = (
    "-pie",
    "-s",
    "-nostdlib",
    f"-Wl,-dynamic-linker,{LOADER}",
    "-Wl,--gc-sections",
    "-Wl,--hash-style=both",
    "-Wl,-z,max-page-size=16384",
    "-Wl,--build-id=sha1",
)


def build(
    compiler: str,
    sources: Sequence[str],
    output: Path,
    run: Callable[[Sequence[str | Path]], None],
) -> None:
    """Write the program ``output``; ``run`` runs a command and raises where it fails."""
    with tempfile.TemporaryDirectory() as work:
        for name, functions in FUNCTIONS.items():
            lines = [f"void {function}(void) {{}}" for function in functions.split()]
            lines += [f"void* {one};" for one in DATA.get(name, "").split()]
            text = Path(work) / f"{name}.c"
            text.write_text("\n".join([*lines, ""]), encoding="utf-8")
            made = [compiler, "-x", "c", "-w", "-fno-builtin", "-fPIC", "-shared", "-nostdlib"]
            run([*made, f"-Wl,-soname,{name}", text, "-o", Path(work) / name])
        libraries = ["-Wl,-Bstatic", "-lstdc++", "-lgcc_eh", "-lgcc", "-Wl,-Bdynamic"]
        libraries += [f"-l:{name}" for name in FUNCTIONS]
        run([compiler, *FLAGS, *sources, "-o", output, *LINK, *libraries, f"-L{work}"])
