"""The form in which names are compared, and which names are refused: subjects of tokens, roles, tenants, task types.

Two names that look the same must be the same name. Unicode allows several spellings of one text and characters that
show nothing. So names are put into Normalization Form C (Unicode Standard Annex #15), and names with invisible
characters are refused.
"""

import unicodedata

_SILENT = frozenset(
    (
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, 0xFFFC, 0x16FE4, 0x1D159),
        *range(0x180B, 0x1810),  # variation selectors of Mongolian
        *range(0xFE00, 0xFE10),  # variation selectors
        *range(0xE0100, 0xE01F0),  # variation selectors, supplement
    )
)
"""Letters, marks and symbols that show nothing. Unicode gives them the categories of visible characters."""

_VISIBLE = frozenset("LNPS")
"""Major categories with a shape of their own: letters, numbers, punctuation and symbols. Marks need a letter."""


MAX_LENGTH = 1_000
"""The longest text that is put into NFC, in characters. No name is so long, and ordering marks takes quadratic time."""


def normal(text: str) -> str:
    """Return the text in Normalization Form C, in which all spellings of one text are the same."""
    return unicodedata.normalize("NFC", text) if len(text) <= MAX_LENGTH else text


def is_clear(name: str) -> bool:
    """Return whether every character of a name can be seen.

    `str.isprintable` refuses control and format characters (U+200B, U+200D, U+2060, U+FEFF, the tags block), private
    use, surrogates, unassigned characters, and every white space but the space.
    """
    return (
        name.isprintable()
        and any(unicodedata.category(character)[0] in _VISIBLE for character in name)
        and not any(ord(character) in _SILENT for character in name)
    )
