"""MiniDebugInfo: a small ELF file with the local functions, xz-compressed in the section `.gnu_debugdata`.

Source of the format: GDB manual, "Debugging information in a special section".
"""

import lzma

from symbolizer.elf.file import ElfError, ElfFile

MAX_COMPRESSED = 16 << 20
MAX_UNPACKED = 64 << 20
MAX_DECODER_MEMORY = 80 << 20
"""Bytes the xz decoder may use: `xz -9` needs 65 MiB, whatever a file asks for beyond is refused."""


def read_minidebug(elf: ElfFile) -> ElfFile | None:
    """The embedded file, or None where there is none. Raises ElfError if it is damaged or too large."""
    section = elf.section(".gnu_debugdata")
    if section is None:
        return None
    if section.size > MAX_COMPRESSED:
        raise ElfError("MiniDebugInfo is too large")
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DECODER_MEMORY)
    try:
        unpacked = decoder.decompress(elf.contents(section), MAX_UNPACKED)
    except lzma.LZMAError as error:
        raise ElfError(f"damaged MiniDebugInfo: {error}") from error
    if not decoder.eof:
        raise ElfError("MiniDebugInfo is truncated or too large")
    return ElfFile(unpacked)
