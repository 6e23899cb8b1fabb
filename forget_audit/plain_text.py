"""Text of others, read as UTF-8: what is something else is told in words, with the line."""

UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def utf8(data: bytes, line: int = 1) -> str:
    """Return a text, without the mark that some programs write before it.

    Args:
        data: The text, or a part of it.
        line: Number of its first line.

    Raises:
        ValueError: If it is no UTF-8; says where, and what to do.
    """
    if line == 1 and (data.startswith(UTF_16) or b"\0" in data[:2]):
        raise ValueError("it is text in UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        raise ValueError(f"line {line} is not text in UTF-8; save it as UTF-8") from error
