import shutil
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from symbolizer.demangle import MAX_MANGLED, demangle
from symbolizer.demangle.cxx import MAX_OUTPUT_BOUND, _cxa_demangle, demangle_cxx, output_bound
from symbolizer.demangle.rust_v0 import MAX_OUTPUT

needs_libstdcxx = pytest.mark.skipif(_cxa_demangle() is None, reason="needs libstdc++.so.6")
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@needs_libstdcxx
@pytest.mark.parametrize(
    ("mangled", "shown"),
    [
        ("_ZN2ns5Class6methodEi", "ns::Class::method(int)"),
        ("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<int, std::allocator<int> >::push_back(int const&)"),
        ("_ZN1a1bEi.cold", "a::b(int) [clone .cold]"),
        ("_Z3maxIiET_S0_S0_", "int max<int>(int, int)"),
        ("_ZTv0_n24_N1A1fEv", "virtual thunk to A::f()"),
    ],
)
def test_cxx_names_are_shown_with_parameters(mangled, shown):
    assert demangle(mangled) == shown


@pytest.mark.parametrize(
    ("mangled", "shown"),
    [
        ("_ZN3std2io5stdio6_print17h0123456789abcdefE", "std::io::stdio::_print"),
        ("_ZN4core3ptr18real_drop_in_place17h0123456789abcdefE.llvm.15021024", "core::ptr::real_drop_in_place"),
        ("_ZN3foo3bar17h0123456789abcdefE.cold", "foo::bar.cold"),
        (
            "_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h930b740aa94f1d3aE",
            "<Test + 'static as foo::Bar<Test>>::bar",
        ),
        (
            "_ZN4core3ptr63drop_in_place$LT$$RF$$BP$mut$u20$$LP$u8$C$$SP$u7b$$RP$$u5b$$GT$17h0123456789abcdefE",
            "core::ptr::drop_in_place<&*mut (u8,@u7b$)[>",
        ),
    ],
)
def test_older_rust_names_lose_their_hash_and_escapes(mangled, shown):
    assert demangle(mangled) == shown


@pytest.mark.parametrize(
    "name",
    [
        "_ZN17h0123456789abcdefE",
        "_ZN9short17h0123456789abcdefE",
        "_ZN0017h0123456789abcdefE",
        "_ZN99999999999999999a17h0123456789abcdefE",
    ],
)
def test_damaged_older_rust_name_is_not_shortened(name):
    assert demangle(name) in {name, demangle_cxx(name)}


@pytest.mark.parametrize(
    ("mangled", "shown"),
    [
        ("_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar"),
        ("_RNvMs_NtCsabc_4core3fmtNtB4_9Formatter3pad", "<core::fmt::Formatter>::pad"),
        ("_RINvNtC3std3mem8align_ofdE", "std::mem::align_of::<f64>"),
        ("_RNCNvC7mycrate4main0B3_", "mycrate::main::{closure#0}"),
        ("_RNCNvC7mycrate4mains_0", "mycrate::main::{closure#1}"),
        ("_RNSNvC1a1f6vtable", "a::f::{shim:vtable#0}"),
        ("_RINvCsaP8qXevlYHd_4test3fooRShKj10_E", "test::foo::<&[u8], 16>"),
        ("_RNvXs_C4testNtB4_3FooNtC4core5Clone5clone", "<test::Foo as core::Clone>::clone"),
        ("_RNvYhNtC4core7Default7default", "<u8 as core::Default>::default"),
        ("_RINvC1a1fFUKCRhEuE", 'a::f::<unsafe extern "C" fn(&u8)>'),
        ("_RINvC1a1fTaEThbEAlj3_QxE", "a::f::<(i8,), (u8, bool), [i32; 3], &mut i64>"),
        ("_RINvC1a1fFG_RL0_hERL0_hE", "a::f::<for<'a> fn(&'a u8) -> &'a u8>"),
        ("_RINvC1a1fDNtC4core4SendNtBa_4SyncEL_E", "a::f::<dyn core::Send + core::Sync>"),
        ("_RINvC1a1fDNtC4core4SendEL_PhOuE", "a::f::<dyn core::Send, *const u8, *mut ()>"),
        ("_RINvC1a1fDINtC4core2FnThEEp6OutputbEL_E", "a::f::<dyn core::Fn<(u8,), Output = bool>>"),
        ("_RINvC1a1fKb1_Kc61_Kan5_KpKRe616263_E", "a::f::<true, 'a', -5, _, \"abc\">"),
        ("_RINvC1a1fKVNtC1b1SS1xj1_1yj2_EE", "a::f::<{b::S { x: 1, y: 2 }}>"),
        (
            "_RINvC1a1fKVNtC1b4NoneUKVNtC1b4SomeTj1_EKAj1_j2_EKTj1_EE",
            "a::f::<{b::None}, {b::Some(1)}, {[1, 2]}, {(1,)}>",
        ),
        ("_RNvC1a1f.llvm.123", "a::f"),
        ("_RNvC1a1f.cold", "a::f.cold"),
        ("_RNqCs4fqI2P2rA04_11utf8_identsu30____7hkackfecea1cbdathfdh9hlq6y", "utf8_idents::საჭმელად_გემრიელი_სადილი"),
    ],
)
def test_rust_v0_names_are_shown_as_paths(mangled, shown):
    assert demangle(mangled) == shown


@pytest.mark.parametrize(
    "name",
    [
        "_R",
        "_RN",
        "_RNvC1a",
        "_RNvC9a",
        "_RNvB_1f",
        "_RC1aXYZ!",
        "_RNvC1a1f!",
        "_RINvC1a1fKb2_E",
        "_RINvC1a1fKcffffffff_E",
        "_RINvC1a1fRL0_hE",
        "_RINvC1a1fhhhh",
        "_RINvC1a1fKRe6_E",
        "_RNvC99999999999999999999999a1f",
        "_RINvC1a1fFGzzzzzzz_hEuE",
        "_RINvC1a1fB9_E", "_RNvCzzz_1a1f!", "_RYYYYYY", "_RINvC1a1fWhE",
    ],
)  # fmt: skip
def test_damaged_rust_v0_name_is_shown_as_it_is(name):
    assert demangle(name) == name


def test_rust_v0_name_that_doubles_at_each_level_is_given_up():
    name = (
        "_RINvC1a1fTuuE"
        + "".join(f"TB{_base_62(9 + 8 * level)}B{_base_62(9 + 8 * level)}E" for level in range(30))
        + "E"
    )
    assert demangle(name) == name or len(demangle(name)) <= MAX_OUTPUT


def _base_62(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return "_" if not number else (digits[(number - 1) // 62] if number > 62 else "") + digits[(number - 1) % 62] + "_"


def test_deeply_nested_names_are_given_up_without_exhausting_the_stack():
    for name in (
        "_R" + "Y" * 3000,
        "_RINvC1a1f" + "R" * 3000 + "hE",
        "_RINvC1a1fK" + "A" * 3000,
        "_ZN" + "1a" * 1500 + "E",
    ):
        assert demangle(name) in {name, demangle_cxx(name)}


def test_cxx_name_that_doubles_at_each_level_is_never_given_to_the_library():
    name = "_Z1f1AIiiE" + "".join(f"S_IS{d}_S{d}_E" for d in DIGITS)
    assert output_bound(name) > MAX_OUTPUT_BOUND
    assert demangle(name) == name
    templates = "_Z1fI" + "i" * 3 + "EvT_" + "".join(f"1AIT_S{d}_S{d}_E" for d in DIGITS)
    assert output_bound(templates) > MAX_OUTPUT_BOUND


@needs_libstdcxx
@given(
    st.lists(
        st.sampled_from(
            [*(f"S{d}_" for d in ("", *"0123")), "T_", "T0_", "1AI", "N1B", "1CE", "E", "P", "R", "K", "i", "Ss"]
        )
    )
)
@example(["1AI", "i", "i", "E", "S_", "1AI", "S0_", "S0_", "E"])
def test_output_bound_holds_for_what_the_library_prints(parts):
    name = "_Z1f" + "".join(parts)
    if output_bound(name) <= MAX_OUTPUT_BOUND:
        assert len(demangle_cxx(name)) <= 20 * output_bound(name)


@given(st.text() | st.text("_RZNIECMXYBKTS0123456789abcuv.$").map(lambda text: f"_R{text}"))
@example("_Z" + "\0")
@example("_R\0")
@example("_RC1\ud800")
def test_any_text_is_demangled_or_comes_back(name):
    assert isinstance(demangle(name), str)


def test_long_and_foreign_names_come_back_unchanged():
    for name in ("main", "", "_", "_Z", "_R", "_ZN" + "1a" * MAX_MANGLED, "_ZN2äbE", "runtime.main"):
        assert demangle(name) == name


def test_names_of_the_c_plus_plus_library_agree_with_cxxfilt():
    if not shutil.which("c++filt") or _cxa_demangle() is None:
        pytest.skip("needs c++filt and libstdc++.so.6")
    with open("/proc/self/maps") as file:
        path = next((line.split()[-1] for line in file if "libstdc++" in line), None)
    assert path
    listed = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True, check=True).stdout
    mangled = sorted(
        {name for line in listed.splitlines() if (name := line.split()[-1].split("@")[0]).startswith("_Z")}
    )[::7]
    shown = subprocess.run(
        ["c++filt", "--no-verbose"], input="\n".join(mangled), capture_output=True, text=True, check=True
    ).stdout
    assert len(mangled) > 300
    assert [demangle(name) for name in mangled] == shown.splitlines()
