"""Linker names that a hostile file may hold."""

from symbolizer.demangle import demangle
from symbolizer.demangle.cxx import demangle_cxx
from symbolizer.demangle.rust_legacy import demangle_rust_legacy
from symbolizer.demangle.rust_v0 import demangle_rust_v0

NAME = "demangle"


def seeds() -> list[bytes]:
    return [
        b"_RNvXs_NtC4core3fmtNtB4_9FormatterNtC4core5Clone5clone",
        b"_RINvC1a1fTaEThbEAlj3_QxRL0_hFUKCRhEuDINtC4core2FnThEEp6OutputbEL_KVNtC1b1SS1xj1_EKRe616263_E",
        b"_RNCNvC7mycrate4mains_0",
        b"_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h930b740aa94f1d3aE",
        b"_ZNSt6vectorI1AIiiSaIiEE9push_backERKiS_IS0_S0_ES_IS1_S1_E",
        b"_Z3maxIiEDTplfp_fp0_ET_S0_S0_",
    ]


def run(data: bytes) -> None:
    name = data.decode("utf-8", "replace")
    demangle(name)
    for function, start in ((demangle_rust_v0, "_R"), (demangle_rust_legacy, "_ZN"), (demangle_cxx, "_Z")):
        if len(name) < 4096 and name.isascii():
            function(start + name.removeprefix(start))
