"""Takes the kernel proper, an ELF file, out of the bzImage that distributions ship.

qemu starts the ELF file directly (PVH), which saves emulated machines the seconds of decompressing it themselves.
The header's fields are in the kernel's Documentation/arch/x86/boot.rst.
"""

import gzip
import lzma
import struct
import subprocess
import zlib

from vagrant.booting.errors import MachineError

_SECTOR = 512
_HEADER_END = 0x250
_LZ4_LEGACY = b"\x02\x21\x4c\x18"
_ZSTD = b"\x28\xb5\x2f\xfd"
_XZ = b"\xfd7zXZ\0"
_GZIP = b"\x1f\x8b"


def vmlinux(image: bytes) -> bytes:
    """The ELF file inside. Raises MachineError where it is not to be found or its compression is not known."""
    if len(image) < _HEADER_END or image[0x202:0x206] != b"HdrS":
        raise _wrong("it has no boot header")
    # setup_sects at 0x1f1, where 0 means 4; payload_offset and payload_length at 0x248.
    setup = ((image[0x1F1] or 4) + 1) * _SECTOR
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[setup + offset : setup + offset + length]
    # Behind the stream stands the size of what is inside; gzip has that itself.
    kernel = decompressed(payload if payload.startswith(_GZIP) else payload[:-4])
    if kernel[:4] != b"\x7fELF":
        raise _wrong("no ELF file is inside")
    return kernel


def decompressed(data: bytes) -> bytes:
    """What kernels and modules are compressed from, by the first bytes. Raises MachineError."""
    try:
        if data.startswith(_XZ):
            return lzma.decompress(data)
        if data.startswith(_GZIP):
            return gzip.decompress(data)
    except (lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise _wrong(f"it is damaged ({error})") from error
    for program, magic in (("zstd", _ZSTD), ("lz4", _LZ4_LEGACY)):
        if data.startswith(magic):
            return _filtered(program, data)
    raise _wrong(f"its compression is not known (it begins with {data[:6].hex()})")


def _filtered(program: str, data: bytes) -> bytes:
    """Through a decompressor of the system, for what Python's library has none."""
    try:
        done = subprocess.run([program, "-d", "-c"], input=data, capture_output=True, check=False)
    except OSError as error:
        raise MachineError(
            f"The kernel is compressed with {program}, which is not installed.", f"apt-get install {program}"
        ) from error
    if done.returncode:
        raise _wrong(f"{program} cannot read it")
    return done.stdout


def _wrong(why: str) -> MachineError:
    return MachineError(f"The kernel image cannot be unpacked: {why}.", "Remove it from the cache and fetch it again.")
