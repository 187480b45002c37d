"""Text from outside: files as editors leave them, and secrets that a header must carry."""

import unicodedata
from typing import Final

BOM: Final = "\ufeff"
_FOREIGN: Final = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\xff\xfe\x00\x00": "UTF-32", b"\x00\x00\xfe\xff": "UTF-32"}
_QUOTES: Final = "\"'`"


class TextError(ValueError):
    """Text that cannot be used; the message says why and what to do, and quotes nothing of the text."""


def decoded(data: bytes) -> str:
    """The text of a file in UTF-8, without a byte order mark.

    Raises:
        TextError: If the file is in another encoding.
    """
    mark = max((mark for mark in _FOREIGN if data.startswith(mark)), key=len, default=None)
    if mark:
        raise TextError(f"it is {_FOREIGN[mark]}: save it as UTF-8")
    if b"\0" in data:
        raise TextError(f"it holds a zero byte (byte {data.index(0) + 1}), as UTF-16 does: save it as UTF-8")
    try:
        return data.decode("utf-8").removeprefix(BOM)
    except UnicodeDecodeError as error:
        raise TextError(f"it is not UTF-8 (byte {error.start + 1}): save it as UTF-8") from None


def trimmed(text: str) -> str:
    """The text without a byte order mark and white space around it."""
    return text.strip().removeprefix(BOM).strip()


_MISTAKES: Final = {
    "extra_forbidden": "there is no such setting",
    "missing": "is missing",
    "string_type": "must be text",
    **dict.fromkeys(("model_type", "dict_type"), "must be a table"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "decimal_type", "decimal_parsing"), "must be a number"),
}


def mistake(kind: str, words: str) -> str:
    """What is wrong with a setting, for a person who wrote it.

    Args:
        kind: The type of pydantic's error.
        words: Its message.
    """
    own = words.removeprefix("Value error, ")
    return own if own != words else _MISTAKES.get(kind) or words.removeprefix("Input ").replace("should", "must")


def unsendable(secret: str) -> str | None:
    """Why an HTTP header cannot carry this secret, or why no server would accept it; None if nothing is wrong.

    The answer names the kind of the character and its place, and nothing else of the secret.
    """
    for place, char in enumerate(secret, 1):
        if not "!" <= char <= "~":
            return f"character {place} of {len(secret)} is {_kind(char)}; copy it again, alone and in one line"
    if len(secret) > 1 and secret[0] == secret[-1] and secret[0] in _QUOTES:
        return "it stands in quotation marks: take them away"
    return None


_KINDS: Final = {
    "Cc": "a control character",
    "Cs": "half a character",
    "Pi": "a typographic quotation mark",
    "Pf": "a typographic quotation mark",
    **dict.fromkeys(("Cf", "Zs", "Cn", "Co", "Mn"), "an invisible character"),
    **dict.fromkeys("\r\n\u0085\u2028\u2029", "a line's end"),
    **dict.fromkeys("\u201a\u201e\u2032\u2033\u00b4\uff02\uff07", "a typographic quotation mark"),
    " ": "a space",
}
"""Words for a character: by the character itself, or else by its category in Unicode."""


def _kind(char: str) -> str:
    return _KINDS.get(char) or _KINDS.get(unicodedata.category(char), "no ASCII character")
