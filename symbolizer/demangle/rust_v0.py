"""Rust's v0 mangling (`_R...`), as a recursive descent that prints while it parses.

Depth, steps and output are bounded: back-references can make a short name stand for an endless one. Crate
hashes and the types of constants are left out, as in rustc-demangle's alternate form.

Source of the grammar: Rust RFC 2603 and the rustc book, "v0 Symbol Format".
"""

from collections.abc import Callable

from symbolizer.demangle.rust_consts import integer_text, string_text
from symbolizer.demangle.rust_reader import Reader, RustNameError, kept_suffix

MAX_DEPTH = 100
MAX_STEPS = 4000
MAX_OUTPUT = 16384

_BASIC_TYPES = {
    "a": "i8", "b": "bool", "c": "char", "d": "f64", "e": "str", "f": "f32", "h": "u8", "i": "isize",
    "j": "usize", "l": "i32", "m": "u32", "n": "i128", "o": "u128", "p": "_", "s": "i16", "t": "u16",
    "u": "()", "v": "...", "x": "i64", "y": "u64", "z": "!",
}  # fmt: skip
_PATH_TAGS = frozenset("CMXYNI")
_EXPRESSIONS = frozenset("eRQATV")


def demangle_rust_v0(name: str) -> str:
    """The source form of a name that begins with _R; empty if it is none, or stands for more than the bounds."""
    printer = _Printer(name[2:])
    try:
        printer.path(in_value=True)
        if printer.reader.peek().isupper():  # the crate it was instantiated in, which nobody asks for
            printer.silently(lambda: printer.path(in_value=False))
    except RustNameError:
        return ""
    suffix = printer.reader.rest()
    if suffix and suffix[0] not in ".$":
        return ""
    return printer.text() + kept_suffix(suffix)


def _lifetime_name(depth: int) -> str:
    return f"'{chr(ord('a') + depth)}" if depth < 26 else f"'_{depth}"


class _Printer:
    """Reads one name and gathers the text it stands for. Methods are named after the grammar's rules."""

    def __init__(self, text: str) -> None:
        self.reader = Reader(text)
        self._out: list[str] = []
        self._length = 0
        self._silent = False
        self._depth = 0
        self._steps = 0
        self._lifetimes = 0

    def text(self) -> str:
        return "".join(self._out)

    def _print(self, text: str) -> None:
        if self._silent:
            return
        self._length += len(text)
        if self._length > MAX_OUTPUT:
            raise RustNameError("the name is too long")
        self._out.append(text)

    def silently(self, rule: Callable[[], None]) -> None:
        """Read by a rule without printing."""
        before, self._silent = self._silent, True
        rule()
        self._silent = before

    def _nested(self, rule: Callable[[], None]) -> None:
        """Apply a rule one level deeper."""
        self._depth += 1
        self._steps += 1
        if self._depth > MAX_DEPTH or self._steps > MAX_STEPS:
            raise RustNameError("the name is too deep")
        rule()
        self._depth -= 1

    def _backref(self, rule: Callable[[], None]) -> None:
        """Apply a rule at an earlier place of the name. The tag has been read."""
        here = self.reader.at - 1
        target = self.reader.base_62()
        if target >= here:
            raise RustNameError("a back-reference points ahead")
        if self._silent:
            return
        after, self.reader.at = self.reader.at, target
        self._nested(rule)
        self.reader.at = after

    def _list(self, rule: Callable[[], None], separator: str = ", ") -> int:
        """Apply a rule up to the closing E, and return how often."""
        count = 0
        while not self.reader.eat("E"):
            if count:
                self._print(separator)
            rule()
            count += 1
        return count

    def path(self, *, in_value: bool) -> None:
        """A path; in a value (not a type) generic arguments are introduced by `::`."""
        self._nested(lambda: self._path(in_value))

    def _path(self, in_value: bool) -> None:
        reader = self.reader
        match reader.next():
            case "C":
                self._print(reader.identifier().name)
            case "N":
                self._nested_path(in_value)
            case "M":
                self._impl_path()
                self._self_type(has_trait=False)
            case "X":
                self._impl_path()
                self._self_type(has_trait=True)
            case "Y":
                self._self_type(has_trait=True)
            case "I":
                self.path(in_value=in_value)
                self._print("::<" if in_value else "<")
                self._list(self._generic_argument)
                self._print(">")
            case "B":
                self._backref(lambda: self.path(in_value=in_value))
            case _:
                raise RustNameError("not a path")

    def _nested_path(self, in_value: bool) -> None:
        namespace = self.reader.next()
        self.path(in_value=in_value)
        name, disambiguator = self.reader.identifier()
        if namespace.islower():
            self._print(f"::{name}" if name else "")
        elif namespace.isupper():
            kind = {"C": "closure", "S": "shim"}.get(namespace, namespace)
            self._print(f"::{{{kind}{':' if name else ''}{name}#{disambiguator}}}")
        else:
            raise RustNameError("not a namespace")

    def _impl_path(self) -> None:
        """Where an impl block stands: read, not printed."""
        self.reader.optional_base_62("s")
        self.silently(lambda: self.path(in_value=False))

    def _self_type(self, *, has_trait: bool) -> None:
        self._print("<")
        self.type()
        if has_trait:
            self._print(" as ")
            self.path(in_value=False)
        self._print(">")

    def _generic_argument(self) -> None:
        if self.reader.eat("L"):
            self._lifetime(self.reader.base_62())
        elif self.reader.eat("K"):
            self.const()
        else:
            self.type()

    def _lifetime(self, index: int) -> None:
        """0 is the erased lifetime; others count binders outwards, 1 being the innermost lifetime."""
        depth = self._lifetimes - index
        if not index:
            self._print("'_")
        elif depth >= 0:
            self._print(_lifetime_name(depth))
        else:
            raise RustNameError("a lifetime of no binder")

    def _binder(self, rule: Callable[[], None]) -> None:
        """Apply a rule under an optional `for<'a, ...>`."""
        count = self.reader.optional_base_62("G")
        if count > 26:
            raise RustNameError("too many lifetimes")
        self._lifetimes += count
        if count:
            names = (_lifetime_name(depth) for depth in range(self._lifetimes - count, self._lifetimes))
            self._print(f"for<{', '.join(names)}> ")
        rule()
        self._lifetimes -= count

    def type(self) -> None:
        """A type."""
        self._nested(self._type)

    def _type(self) -> None:
        reader = self.reader
        tag = reader.peek()
        if tag in _PATH_TAGS:
            self.path(in_value=False)
            return
        reader.next()
        if tag in _BASIC_TYPES:
            self._print(_BASIC_TYPES[tag])
            return
        match tag:
            case "R" | "Q":
                self._reference("mut " if tag == "Q" else "")
            case "P" | "O":
                self._print("*const " if tag == "P" else "*mut ")
                self.type()
            case "A" | "S":
                self._print("[")
                self.type()
                if tag == "A":
                    self._print("; ")
                    self.const()
                self._print("]")
            case "T":
                self._print("(")
                self._print(",)" if self._list(self.type) == 1 else ")")
            case "F":
                self._binder(self._function_signature)
            case "D":
                self._trait_object()
            case "B":
                self._backref(self.type)
            case _:
                raise RustNameError("not a type")

    def _reference(self, mutable: str) -> None:
        self._print("&")
        if self.reader.eat("L") and (index := self.reader.base_62()):
            self._lifetime(index)
            self._print(" ")
        self._print(mutable)
        self.type()

    def _function_signature(self) -> None:
        self._print("unsafe " if self.reader.eat("U") else "")
        if self.reader.eat("K"):
            abi = "C" if self.reader.eat("C") else self.reader.plain_identifier().replace("_", "-")
            self._print(f'extern "{abi}" ')
        self._print("fn(")
        self._list(self.type)
        self._print(")")
        if not self.reader.eat("u"):
            self._print(" -> ")
            self.type()

    def _trait_object(self) -> None:
        self._print("dyn ")
        self._binder(self._bounds)
        if not self.reader.eat("L"):
            raise RustNameError("a trait object without a lifetime")
        if index := self.reader.base_62():
            self._print(" + ")
            self._lifetime(index)

    def _bounds(self) -> None:
        self._list(self._bound, " + ")

    def _bound(self) -> None:
        """One trait of a trait object, its associated types among its generic arguments."""
        is_open = self._open_path()
        while self.reader.eat("p"):
            self._print(", " if is_open else "<")
            is_open = True
            self._print(f"{self.reader.plain_identifier()} = ")
            self.type()
        self._print(">" if is_open else "")

    def _open_path(self) -> bool:
        """A path whose generic arguments, if it has any, are left open; says whether they are."""
        if self.reader.eat("B"):
            opened: list[bool] = []
            self._backref(lambda: opened.append(self._open_path()))
            return any(opened)
        if not self.reader.eat("I"):
            self.path(in_value=False)
            return False
        self.path(in_value=False)
        self._print("<")
        self._list(self._generic_argument)
        return True

    def const(self) -> None:
        """A constant of a generic argument; expressions stand in braces there."""
        expression = self.reader.peek() in _EXPRESSIONS and not self.reader.rest().startswith("Re")
        self._print("{" if expression else "")
        self._inner_const()
        self._print("}" if expression else "")

    def _inner_const(self) -> None:
        self._nested(self._const)

    def _const(self) -> None:
        reader = self.reader
        match reader.next():
            case "p":
                self._print("_")
            case "B":
                self._backref(self.const)
            case "e":
                self._print(f"*{string_text(reader.hexadecimal())}")
            case "R" if reader.eat("e"):
                self._print(string_text(reader.hexadecimal()))
            case "R" | "Q" as tag:
                self._print("&" if tag == "R" else "&mut ")
                self._inner_const()
            case "A":
                self._print("[")
                self._list(self._inner_const)
                self._print("]")
            case "T":
                self._print("(")
                self._print(",)" if self._list(self._inner_const) == 1 else ")")
            case "V":
                self._value()
            case tag:
                sign = "-" if tag in "aslxni" and reader.eat("n") else ""
                self._print(sign + integer_text(tag, reader.hexadecimal()))

    def _value(self) -> None:
        """A value of a structure or variant: without fields, with numbered or with named ones."""
        self.path(in_value=True)
        kind = self.reader.next()
        if kind == "T":
            self._print("(")
            self._list(self._inner_const)
            self._print(")")
        elif kind == "S":
            self._print(" { ")
            self._list(self._field)
            self._print(" }")
        elif kind != "U":
            raise RustNameError("not a value")

    def _field(self) -> None:
        self._print(f"{self.reader.identifier().name}: ")
        self._inner_const()
