"""Names as people write them, from the names that linkers see."""

from functools import lru_cache

from symbolizer.demangle.cxx import demangle_cxx
from symbolizer.demangle.rust_legacy import demangle_rust_legacy
from symbolizer.demangle.rust_v0 import demangle_rust_v0

MAX_MANGLED = 4096
"""Characters; a longer name is shown as it is."""
CACHED_NAMES = 4096


@lru_cache(maxsize=CACHED_NAMES)
def demangle(name: str) -> str:
    """The C++ or Rust source name of a linker name, C++ with its parameters; the name itself if it is neither.

    Names are hostile: whatever cannot be demangled within bounds comes back unchanged, and nothing is raised.
    """
    if not 2 < len(name) <= MAX_MANGLED or not name.isascii():
        return name
    if name.startswith("_R"):
        return demangle_rust_v0(name) or name
    if name.startswith("_Z"):
        return demangle_rust_legacy(name) or demangle_cxx(name) or name
    return name
