"""A terminal without a window: keeps what a screen would show, and answers what programs ask of a terminal. Pure.

It keeps characters and the cursor, and drops colours. Unknown sequences are passed over whole, never shown.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

from holdfast.fleet.runtimes.holder.page import Page

#: A sequence longer than this is none.
_LONGEST_CSI = 256
_DIGITS = 4
_LARGEST = 9999
#: Introduces a string that ends with ST; `]` may end with BEL as well.
_STRINGS = "]P^_X"
_LINES = dict(zip(range(ord("`"), 127), "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·", strict=True))
_ALTERNATE = {47, 1047, 1049}


class Terminal:
    """Feed it what the program writes; `feed` gives what goes back to the program."""

    def __init__(self, columns: int, rows: int) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._main = Page(columns, rows)
        self.page = self._main
        #: Whether the program asked to be told where a paste starts and ends.
        self.pastes_in_brackets = False
        self.origin = False
        self._drawing = False
        self._held = ""
        self._in_string = False
        self._last = " "
        self.answers = bytearray()

    @property
    def alternate(self) -> bool:
        """Whether the program shows its own page, as editors do, beside the one that scrolls."""
        return self.page is not self._main

    def feed(self, data: bytes) -> bytes:
        """Take what the program wrote, torn wherever; what is returned is the terminal's answer to it."""
        text, at = self._held + self._decode(data), 0
        if self._in_string:
            at = self._after_string(text, 0)
        while at < len(text):
            escape = text.find("\x1b", at)
            if escape != at:
                self._plain(text[at : escape if escape >= 0 else len(text)])
                if escape < 0:
                    at = len(text)
                    break
            end = self._escape(text, escape)
            at = escape if end < 0 else end
            if end < 0:
                break
        self._held = text[at:]
        answers, self.answers = bytes(self.answers), bytearray()
        return answers

    def resize(self, columns: int, rows: int) -> None:
        """Take another size."""
        self._main.resize(columns, rows)
        if self.alternate:
            self.page.resize(columns, rows)

    def show_alternate(self, shown: bool, *, keeps: bool) -> None:  # noqa: FBT001 - one of two pages
        """Change to a blank page of the program's own, or back; `keeps` puts the cursor back as well."""
        if shown == self.alternate:
            return
        main = self._main
        if shown:
            self.page = Page(main.columns, len(main.rows))
            self.page.move(main.row, main.column)
        else:
            row, column = self.page.row, self.page.column
            self.page = main
            if not keeps:
                main.move(row, column)

    def reset(self) -> None:
        """Start anew, blank."""
        self.page = self._main = Page(self._main.columns, len(self._main.rows))
        self.pastes_in_brackets = self.origin = self._drawing = False

    def repeat(self, count: int) -> None:
        """Write the last character again."""
        self.page.put(self._last * min(count, self.page.columns))

    # --- reading -----------------------------------------------------------------------------------------------------

    def _plain(self, text: str) -> None:
        for number, piece in enumerate(text.split("\n")):
            if number:
                self.page.feed()
            body = piece.removesuffix("\r")
            if body.isprintable():
                self._put(body)
            else:
                self._mixed(body)
            if len(body) < len(piece):
                self.page.column = 0

    def _mixed(self, text: str) -> None:
        page, start = self.page, 0
        for at, char in enumerate(text):
            if " " <= char < "\x7f" or char >= "\xa0":
                continue
            self._put(text[start:at])
            start = at + 1
            match char:
                case "\r":
                    page.column = 0
                case "\b":
                    page.column = max(0, min(page.column, page.columns - 1) - 1)
                case "\t":
                    page.tab()
                case "\v" | "\f":
                    page.feed()
                case "\x0e" | "\x0f":
                    self._drawing = char == "\x0e"
        self._put(text[start:])

    def _put(self, text: str) -> None:
        if text:
            if self._drawing:
                text = text.translate(_LINES)
            self._last = text[-1]
            self.page.put(text)

    def _escape(self, text: str, at: int) -> int:
        """Obey the sequence that starts here; the position after it, or -1 while the rest of it is to come."""
        kind = text[at + 1 : at + 2]
        if not kind:
            return -1
        if kind == "[":
            return self._control(text, at + 2)
        if kind in _STRINGS:
            return self._after_string(text, at + 2)
        if " " <= kind <= "/":
            end = at + 2
            while " " <= text[end : end + 1] <= "/":
                end += 1
            if end >= len(text):
                return -1 if end - at < _LONGEST_CSI else end
            if kind == "(":
                self._drawing = text[end] == "0"
            return end + 1
        if (act := _ESCAPES.get(kind)) is not None:
            act(self)
        return at + 1 if kind < " " else at + 2

    def _after_string(self, text: str, at: int) -> int:
        ends = [end for end in (text.find("\x07", at), text.find("\x1b", at)) if end >= 0]
        end = min(ends, default=-1)
        self._in_string = False
        if end >= 0 and text[end] == "\x07":
            return end + 1
        if end >= 0 and end + 1 < len(text):
            return end + 2 if text[end + 1] == "\\" else end
        # The rest is to come: what has come of it is passed over, but for an escape whose second half is missing.
        self._in_string = True
        return len(text) if end < 0 else end

    def _control(self, text: str, start: int) -> int:
        end = start
        while end < len(text) and " " <= text[end] < "@":
            end += 1
        if end >= len(text) and end - start < _LONGEST_CSI:
            return -1
        if end >= len(text) or not "@" <= text[end] <= "~" or end - start >= _LONGEST_CSI:
            return end  # torn by something that cannot be in it: what was read is dropped
        body, final = text[start:end], text[end]
        digits = body.strip("<=>? !\"#$%&'()*+,-./")
        prefix, _, marks = body.partition(digits) if digits else (body[:1] if body[:1] in "<=>?" else "", "", body)
        if not digits:
            marks = body[len(prefix) :]
        if (act := _CONTROLS.get(prefix + marks + final)) is not None:
            act(self, [_number(part) for part in digits.split(";")])
        return end + 1


def _number(text: str) -> int:
    text = text.partition(":")[0].lstrip("0")
    if not (text.isascii() and text.isdigit()):
        return 0
    return int(text) if len(text) <= _DIGITS else _LARGEST


# --- what sequences do -----------------------------------------------------------------------------------------------


def _count(numbers: list[int]) -> int:
    return numbers[0] or 1


def _place(terminal: Terminal, numbers: list[int]) -> None:
    page = terminal.page
    column = numbers[1] if len(numbers) > 1 else 0
    page.move((numbers[0] or 1) - 1 + (page.top if terminal.origin else 0), (column or 1) - 1)


def _erase_page(terminal: Terminal, numbers: list[int]) -> None:
    page, how = terminal.page, numbers[0]
    if how > 2:  # noqa: PLR2004 - 3 is the history, of which there is none
        return
    _erase_row(terminal, numbers)
    before, after = range(page.row), range(page.row + 1, len(page.rows))
    for row in after if how == 0 else before if how == 1 else (*before, *after):
        page.erase(0, page.columns, row)


def _erase_row(terminal: Terminal, numbers: list[int]) -> None:
    page, how = terminal.page, numbers[0]
    at = min(page.column, page.columns - 1)
    page.erase(0 if how else at, at + 1 if how == 1 else page.columns)


def _erase_some(terminal: Terminal, numbers: list[int]) -> None:
    page = terminal.page
    at = min(page.column, page.columns - 1)
    page.erase(at, at + _count(numbers))


def _rows(direction: int) -> Callable[[Terminal, list[int]], None]:
    def act(terminal: Terminal, numbers: list[int]) -> None:
        page = terminal.page
        if page.top <= page.row <= page.bottom:
            page.scroll(page.row, direction * _count(numbers))

    return act


def _region(terminal: Terminal, numbers: list[int]) -> None:
    page = terminal.page
    top = (numbers[0] or 1) - 1
    bottom = ((numbers[1] if len(numbers) > 1 else 0) or len(page.rows)) - 1
    if 0 <= top < bottom < len(page.rows):
        page.top, page.bottom = top, bottom
        page.move(top if terminal.origin else 0, 0)


def _save(terminal: Terminal) -> None:
    terminal.page.saved = (terminal.page.row, terminal.page.column)


def _restore(terminal: Terminal) -> None:
    terminal.page.move(*terminal.page.saved)


def _mode(set_: bool) -> Callable[[Terminal, list[int]], None]:  # noqa: FBT001 - set or reset
    def act(terminal: Terminal, numbers: list[int]) -> None:
        for number in numbers:
            if number in _ALTERNATE:
                terminal.show_alternate(set_, keeps=number == 1049)  # noqa: PLR2004 - the mode's number
            elif number == 2004:  # noqa: PLR2004
                terminal.pastes_in_brackets = set_
            elif number == 1048:  # noqa: PLR2004
                (_save if set_ else _restore)(terminal)
            elif number == 7:  # noqa: PLR2004
                terminal.page.wraps = set_
            elif number == 6:  # noqa: PLR2004
                terminal.origin = set_
                terminal.page.move(terminal.page.top if set_ else 0, 0)

    return act


def _insertion(set_: bool) -> Callable[[Terminal, list[int]], None]:  # noqa: FBT001 - set or reset
    def act(terminal: Terminal, numbers: list[int]) -> None:
        if 4 in numbers:  # noqa: PLR2004 - the mode's number
            terminal.page.inserts = set_

    return act


def _report(terminal: Terminal, numbers: list[int]) -> None:
    """Where the cursor is, or that all is well: programs wait for this answer before they start."""
    page = terminal.page
    if numbers[0] == 6:  # noqa: PLR2004 - the question's number
        row = page.row - (page.top if terminal.origin else 0)
        terminal.answers += b"\x1b[%d;%dR" % (row + 1, min(page.column, page.columns - 1) + 1)
    elif numbers[0] == 5:  # noqa: PLR2004
        terminal.answers += b"\x1b[0n"


def _about_mode(terminal: Terminal, numbers: list[int]) -> None:
    known = {2004: terminal.pastes_in_brackets, 1049: terminal.alternate, 7: terminal.page.wraps, 6: terminal.origin}
    state = {True: 1, False: 2, None: 0}[known.get(numbers[0])]
    terminal.answers += b"\x1b[?%d;%d$y" % (numbers[0], state)


def _about_size(terminal: Terminal, numbers: list[int]) -> None:
    if numbers[0] == 18:  # noqa: PLR2004 - the question's number
        terminal.answers += b"\x1b[8;%d;%dt" % (len(terminal.page.rows), terminal.page.columns)


def _answer(answer: bytes) -> Callable[[Terminal, list[int]], None]:
    def act(terminal: Terminal, numbers: list[int]) -> None:
        if numbers[0] == 0:
            terminal.answers += answer

    return act


def _next_row(terminal: Terminal) -> None:
    terminal.page.column = 0
    terminal.page.feed()


_ESCAPES: dict[str, Callable[[Terminal], None]] = {
    "7": _save,
    "8": _restore,
    "D": lambda terminal: terminal.page.feed(),
    "E": _next_row,
    "M": lambda terminal: terminal.page.feed_back(),
    "c": Terminal.reset,
}
_CONTROLS: dict[str, Callable[[Terminal, list[int]], None]] = {
    "A": lambda terminal, numbers: terminal.page.shift(-_count(numbers), 0),
    "B": lambda terminal, numbers: terminal.page.shift(_count(numbers), 0),
    "e": lambda terminal, numbers: terminal.page.shift(_count(numbers), 0),
    "C": lambda terminal, numbers: terminal.page.shift(0, _count(numbers)),
    "a": lambda terminal, numbers: terminal.page.shift(0, _count(numbers)),
    "D": lambda terminal, numbers: terminal.page.shift(0, -_count(numbers)),
    "E": lambda terminal, numbers: terminal.page.shift(_count(numbers), -terminal.page.columns),
    "F": lambda terminal, numbers: terminal.page.shift(-_count(numbers), -terminal.page.columns),
    "G": lambda terminal, numbers: terminal.page.move(terminal.page.row, _count(numbers) - 1),
    "`": lambda terminal, numbers: terminal.page.move(terminal.page.row, _count(numbers) - 1),
    "d": lambda terminal, numbers: terminal.page.move(_count(numbers) - 1, terminal.page.column),
    "H": _place,
    "f": _place,
    "I": lambda terminal, numbers: terminal.page.tab(_count(numbers)),
    "J": _erase_page,
    "K": _erase_row,
    "X": _erase_some,
    "@": lambda terminal, numbers: terminal.page.insert_cells(_count(numbers)),
    "P": lambda terminal, numbers: terminal.page.delete_cells(_count(numbers)),
    "L": _rows(-1),
    "M": _rows(1),
    "S": lambda terminal, numbers: terminal.page.scroll(terminal.page.top, _count(numbers)),
    "T": lambda terminal, numbers: terminal.page.scroll(terminal.page.top, -_count(numbers)),
    "b": lambda terminal, numbers: terminal.repeat(_count(numbers)),
    "r": _region,
    "s": lambda terminal, _: _save(terminal),
    "u": lambda terminal, _: _restore(terminal),
    "h": _insertion(True),
    "l": _insertion(False),
    "?h": _mode(True),
    "?l": _mode(False),
    "n": _report,
    "c": _answer(b"\x1b[?1;2c"),
    ">c": _answer(b"\x1b[>0;0;0c"),
    "?$p": _about_mode,
    "t": _about_size,
}
