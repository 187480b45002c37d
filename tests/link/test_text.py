import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_link.text import TextError, decoded, trimmed, unsendable

KEY = "AIza-a-key"


@pytest.mark.parametrize("data", [KEY.encode(), b"\xef\xbb\xbf" + KEY.encode()], ids=["plain", "BOM"])
def test_utf_8_is_read_with_and_without_a_byte_order_mark(data):
    assert decoded(data) == KEY


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_another_encoding_is_named_and_what_to_do(encoding):
    with pytest.raises(TextError, match=r"UTF-(16|32).*save it as UTF-8") as caught:
        decoded(KEY.encode(encoding))
    assert KEY not in str(caught.value)


def test_what_is_no_utf_8_is_told_by_its_place_and_not_shown():
    with pytest.raises(TextError, match=r"not UTF-8 \(byte 11\)") as caught:
        decoded(KEY.encode() + b"\xff")
    assert KEY not in str(caught.value)


@given(st.binary(max_size=40))
def test_any_bytes_are_text_or_named(data):
    try:
        text = decoded(data)
    except TextError as error:
        text = str(error)
        data = text.encode()
    assert text.encode() in (data, data.removeprefix(b"\xef\xbb\xbf"))


@pytest.mark.parametrize("around", ["{}", "\ufeff{}\r\n", " {}\t", "\n\ufeff {} "])
def test_what_stands_around_a_value_is_taken_off(around):
    assert trimmed(around.format("5555")) == "5555"


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        (KEY + "\u200b", "character 11 of 11 is an invisible character"),
        ("\u201c" + KEY + "\u201d", "character 1 of 12 is a typographic quotation mark"),
        ("\u201e" + KEY, "typographic quotation mark"),
        ("AIza a-key", "character 5 of 10 is a space"),
        ("AIza\u00a0key", "an invisible character"),
        ("AIza\nkey", "a line's end"),
        ("AIza\r\nkey", "a line's end"),
        ("AIza\tkey", "a control character"),
        ("AIza\x7f", "a control character"),
        ("AIzä", "no ASCII character"),
        ("АIza", "no ASCII character"),  # noqa: RUF001 - a Cyrillic letter is the example
        ("AIza\ud83d", "half a character"),
        (KEY + "\ufeff", "an invisible character"),
        (f'"{KEY}"', "quotation marks"),
        (f"'{KEY}'", "quotation marks"),
    ],
)
def test_a_secret_that_cannot_be_sent_is_told_by_kind_and_place_and_not_shown(secret, why):
    told = unsendable(secret)
    assert told
    assert why in told
    assert KEY not in told
    assert "AIz" not in told


@given(st.text(st.characters(min_codepoint=0x23, max_codepoint=0x7E, exclude_characters="'`"), min_size=1))
def test_what_a_header_carries_is_not_refused(secret):
    assert unsendable(secret) is None
