"""Everything readable inside a PDF: words on pages, strings of objects, attached files.

Read from the bytes alone, not through the file's own index, so that nothing can hide in parts that
no index names. pyHanko reads a report of ten pages through its index in 20 s, this in a tenth.
"""

import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["words", "strings", "file", "other"]
Cmap = Mapping[int, str]

_STREAM = re.compile(rb"(?<!end)stream\r?\n")
_HEADER = re.compile(rb"(\d+)\s+\d+\s+$")
_OBJECT = re.compile(rb"(\d+)\s+\d+\s+obj\b(.*?)endobj", re.S)
_FILTER = re.compile(rb"/Filter\s*(?:\[([^\]]*)\]|(/\w+))")
_FIRST = re.compile(rb"/First\s+(\d+)")
_LITERAL = re.compile(rb"\(((?:\\.|[^\\()]|\((?:\\.|[^\\()])*\))*)\)", re.S)
_HEX = re.compile(rb"(?<!<)<([0-9A-Fa-f\s]+)>")
_NAME = re.compile(rb"/([^\s/<>()\[\]{}%]+)")
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|\r?\n|.)", re.S)
_CONTROLS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_FONT = re.compile(rb"/([^\s/<>()\[\]]+)\s+(\d+)\s+\d+\s+R")
_UNICODE = re.compile(rb"/ToUnicode\s+(\d+)\s+\d+\s+R")
_CHARACTERS = re.compile(rb"beginbfchar(.*?)endbfchar", re.S)
_RANGES = re.compile(rb"beginbfrange(.*?)endbfrange", re.S)
_CODE = re.compile(rb"<([0-9A-Fa-f]+)>")
_SHOWN = re.compile(
    rb"/([^\s/<>()\[\]]+)\s+[-+.\d]+\s+Tf|<([0-9A-Fa-f\s]+)>|\(((?:\\.|[^\\()])*)\)|(T[Jj]|ET)\b",
    re.S,
)
_PICTURES = (b"/DCTDecode", b"/JPXDecode", b"/CCITTFaxDecode", b"/JBIG2Decode")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A readable part of a PDF.

    Args:
        where: For people.
        kind: Words of a page, strings of objects, an attached file, or any other stream.
        data: Text in UTF-8, or the bytes of a file or stream.
    """

    where: str
    kind: Kind
    data: bytes


@dataclass(frozen=True, kw_only=True)
class _Stream:
    number: int
    about: bytes
    data: bytes


def pieces(data: bytes, spend: Callable[[int], int]) -> Iterator[Piece]:
    """Yield all that can be read in a PDF.

    Args:
        data: The file.
        spend: Called with the size of each unpacked stream; returns how much more may be unpacked,
            or raises when that is too much.

    Raises:
        ValueError: If the file is encrypted or packed in a way that is not understood.
    """
    if re.search(rb"/Encrypt\s+\d+\s+\d+\s+R|/Encrypt\s*<<", data):
        raise ValueError("it is encrypted")
    streams = list(_streams(data, spend))
    packed = [item for item in streams if b"/ObjStm" in item.about]
    loose = _without_streams(data)
    objects = {int(number): body for number, body in _OBJECT.findall(loose)}
    for item in packed:
        objects |= _unpacked(item)
    everything = [loose, *(item.data for item in packed)]
    yield Piece(where="strings", kind="strings", data=_strings(everything).encode("utf-8"))
    fonts = _fonts(everything, objects, {item.number: item.data for item in streams})
    for item in streams:
        if item in packed or b"/XRef" in item.about:
            continue
        where = f"object {item.number}"
        if b"/EmbeddedFile" in item.about:
            yield Piece(where=where, kind="file", data=item.data)
            continue
        if b" Tf" in item.data:
            words = _words(item.data, fonts)
            yield Piece(where=where, kind="words", data=words.encode("utf-8", "surrogatepass"))
        kind: Kind = "file" if b"/Metadata" in item.about else "other"
        yield Piece(where=where, kind=kind, data=item.data)


def _streams(data: bytes, spend: Callable[[int], int]) -> Iterator[_Stream]:
    end = 0
    for match in _STREAM.finditer(data):
        if match.start() < end:
            continue
        start, begin = match.end(), data.rfind(b" obj", end, match.start())
        header = _HEADER.search(data[max(begin - 30, 0) : begin + 1])
        if begin < 0 or header is None:
            continue
        number, about = int(header.group(1)), data[begin : match.start()]
        end = data.find(b"endstream", start)
        end = end if end >= 0 else len(data)
        found = _FILTER.search(about)
        filters = b"".join(found.groups(b"")).split() if found else []
        if filters == [b"/FlateDecode"]:
            content = inflated(data[start:end], spend)
        elif not filters or filters[0] in _PICTURES:
            content = data[start:end]
        else:
            raise ValueError(f"object {number} is packed as {b' '.join(filters).decode('latin-1')}")
        yield _Stream(number=number, about=about, data=content)


def inflated(data: bytes, spend: Callable[[int], int], form: int = zlib.MAX_WBITS) -> bytes:
    """Return unpacked `data`, never more than may be spent; what follows its end is ignored.

    Args:
        data: As packed by zlib or gzip.
        spend: As for `pieces`.
        form: Of the packing, as zlib counts it.

    Raises:
        ValueError: If it is damaged or ends too early.
    """
    unpacker = zlib.decompressobj(form)
    try:
        content = unpacker.decompress(data, spend(0) + 1)
    except zlib.error as error:
        raise ValueError("a stream in it is damaged") from error
    spend(len(content))
    if not unpacker.eof:
        raise ValueError("a stream in it ends too early")
    return content


def _without_streams(data: bytes) -> bytes:
    return re.sub(rb"stream\r?\n.*?endstream", b"stream endstream", data, flags=re.S)


def _unpacked(item: _Stream) -> dict[int, bytes]:
    """Return the objects in a stream of objects: numbers with places, then the objects."""
    first = _FIRST.search(item.about)
    if first is None:
        raise ValueError(f"object {item.number} holds objects without saying where")
    start = int(first.group(1))
    numbers = [int(word) for word in item.data[:start].split()]
    places = [start + place for place in numbers[1::2]]
    ends = [*places[1:], len(item.data)]
    bodies = (item.data[place:end] for place, end in zip(places, ends, strict=True))
    return dict(zip(numbers[::2], bodies, strict=True))


def _strings(parts: list[bytes]) -> str:
    """Return every string and name of the objects, one a line."""
    found = []
    for part in parts:
        found += [_text(_unescaped(body)) for body in _LITERAL.findall(part)]
        found += [_text(_from_hex(body)) for body in _HEX.findall(part)]
        written = dict.fromkeys(_NAME.findall(part))
        names = (re.sub(rb"#([0-9A-Fa-f]{2})", _byte, name) for name in written)
        found += [name.decode("utf-8", "replace") for name in dict.fromkeys(names)]
    return "\n".join(found)


def _byte(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match.group(1).decode())


def _unescaped(body: bytes) -> bytes:
    def plain(match: re.Match[bytes]) -> bytes:
        code = match.group(1)
        if code.isdigit():
            return bytes([int(code, 8) & 0xFF])
        return b"" if code.endswith(b"\n") else _CONTROLS.get(code, code)

    return _ESCAPE.sub(plain, body)


def _from_hex(body: bytes) -> bytes:
    digits = b"".join(body.split()).decode()
    return bytes.fromhex(digits + "0" * (len(digits) % 2))


def _text(data: bytes) -> str:
    if data.startswith(b"\xfe\xff"):
        return data[2:].decode("utf-16-be", "replace")
    if data.startswith(b"\xef\xbb\xbf"):
        return data[3:].decode("utf-8", "replace")
    return data.decode("latin-1")


def _fonts(
    parts: list[bytes], objects: Mapping[int, bytes], streams: Mapping[int, bytes]
) -> dict[bytes, Cmap]:
    """Return for every font, by the name that pages give it, which code is which character."""
    maps = {
        number: _cmap(streams.get(int(found.group(1)), b""))
        for number, body in objects.items()
        if (found := _UNICODE.search(body))
    }
    return {
        name: maps[int(number)]
        for part in parts
        for name, number in _FONT.findall(part)
        if int(number) in maps
    }


def _cmap(data: bytes) -> dict[int, str]:
    found: dict[int, str] = {}
    for block in _CHARACTERS.findall(data):
        codes = _CODE.findall(block)
        found |= {
            int(code, 16): _from_hex(text).decode("utf-16-be", "replace")
            for code, text in zip(codes[::2], codes[1::2], strict=False)
        }
    for block in _RANGES.findall(data):
        codes = [int(code, 16) for code in _CODE.findall(block)]
        for low, high, first in zip(codes[::3], codes[1::3], codes[2::3], strict=False):
            found |= {
                code: chr(first + code - low)
                for code in range(low, min(high, low + 0xFFFF) + 1)
                if first + code - low < 0x110000
            }
    return found


def _words(data: bytes, fonts: Mapping[bytes, Cmap]) -> str:
    """Return the text that a stream shows, a line each time it shows some."""
    shown: list[str] = []
    font, known = b"", dict[tuple[bytes, bytes, bytes], str]()
    for name, codes, literal, end in _SHOWN.findall(data):
        if name:
            font = name
        elif end:
            shown.append("\n")
        else:
            piece = (font, codes, literal)  # mostly single letters, the same ones again and again
            if piece not in known:
                raw = _from_hex(codes) if codes else _unescaped(literal)
                known[piece] = _spelled(raw, fonts.get(font, {}))
            shown.append(known[piece])
    return "".join(shown)


def _spelled(raw: bytes, cmap: Cmap) -> str:
    pairs = (int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2))
    return "".join(cmap.get(code, "") for code in pairs) if cmap else _text(raw)
