"""Offsets of kernel struct fields, from the kernel's own BTF (/sys/kernel/btf/vmlinux), by libbpf.

Used by the loader process only. Layout of the types: include/uapi/linux/btf.h.
"""

import ctypes
import ctypes.util
import struct

_KIND_STRUCT = 4
_KIND_TYPEDEF = 8
_KIND_FUNC = 12
_KIND_FUNC_PROTO = 13
_COMPOSITE = (4, 5)  # struct, union
_TYPE = struct.Struct("<III")
_MEMBER = struct.Struct("<III")
_MAX_DEPTH = 8


class BtfError(Exception):
    """BTF is missing, or a type or field is not in it."""


class Btf:
    """The running kernel's types."""

    def __init__(self) -> None:
        """Load them. Raises BtfError."""
        for name in ("libbpf.so.1", "libbpf.so.0"):
            try:
                self._lib = ctypes.CDLL(name)
                break
            except OSError:
                continue
        else:
            raise BtfError("libbpf is not installed")
        lib = self._lib
        lib.btf__load_vmlinux_btf.restype = ctypes.c_void_p
        lib.btf__find_by_name_kind.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]
        lib.btf__type_by_id.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        lib.btf__type_by_id.restype = ctypes.c_void_p
        lib.btf__name_by_offset.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        lib.btf__name_by_offset.restype = ctypes.c_char_p
        self._btf = lib.btf__load_vmlinux_btf()
        # libbpf 0.x reports an error as a pointer in the last page, 1.x as NULL
        if not self._btf or self._btf >= 2**64 - 4095:
            raise BtfError("the kernel has no BTF (/sys/kernel/btf/vmlinux)")

    def offset(self, type_name: str, path: str) -> int:
        """The byte offset of a field such as `thread.fsbase` in a struct. Raises BtfError."""
        type_id = self._lib.btf__find_by_name_kind(self._btf, type_name.encode(), _KIND_STRUCT)
        if type_id < 0:
            raise BtfError(f"the kernel's BTF has no struct {type_name}")
        bits = 0
        for name in path.split("."):
            found = self._member(type_id, name.encode(), 0)
            if found is None:
                raise BtfError(f"the kernel's struct {type_name} has no field {path}")
            bits += found[0]
            type_id = found[1]
        return bits // 8

    def has_function(self, name: str) -> bool:
        """Whether the kernel has a function of this name, such as the one behind a helper."""
        return bool(self._lib.btf__find_by_name_kind(self._btf, name.encode(), _KIND_FUNC) > 0)

    def parameters(self, typedef: str) -> int | None:
        """How many parameters the function has that a typedef names a pointer to; None where there is no such typedef.

        Tracepoints have one each, `btf_trace_NAME`: its first parameter is internal, the others are the arguments.
        """
        type_id = self._lib.btf__find_by_name_kind(self._btf, typedef.encode(), _KIND_TYPEDEF)
        for _ in range(2):  # typedef, pointer
            if type_id <= 0:
                return None
            type_id = _TYPE.unpack(ctypes.string_at(self._lib.btf__type_by_id(self._btf, type_id), _TYPE.size))[2]
        _, info, _ = _TYPE.unpack(ctypes.string_at(self._lib.btf__type_by_id(self._btf, type_id), _TYPE.size))
        return info & 0xFFFF if (info >> 24) & 31 == _KIND_FUNC_PROTO else None

    def _member(self, type_id: int, name: bytes, depth: int) -> tuple[int, int] | None:
        """(bit offset, type id) of a member, anonymous structs and unions looked through."""
        address = self._lib.btf__type_by_id(self._btf, type_id)
        _, info, _ = _TYPE.unpack(ctypes.string_at(address, _TYPE.size))
        if (info >> 24) & 31 not in _COMPOSITE or depth > _MAX_DEPTH:
            return None
        count = info & 0xFFFF
        members = ctypes.string_at(address + _TYPE.size, count * _MEMBER.size)
        for name_offset, member_type, offset in _MEMBER.iter_unpack(members):
            bits = offset & 0xFFFFFF if info >> 31 else offset  # kind_flag: the top byte is a bit-field size
            text = self._lib.btf__name_by_offset(self._btf, name_offset)
            if text == name:
                return bits, member_type
            if not text:
                inner = self._member(member_type, name, depth + 1)
                if inner is not None:
                    return bits + inner[0], inner[1]
        return None
