"""One page of a terminal: its cells, its cursor and its scrolling region. Pure; knows no escape sequences."""

from __future__ import annotations

import unicodedata

#: A cell takes no more marks than this on top of its character: a page is bounded whatever is written to it.
_MARKS = 8


def width(char: str) -> int:
    """How many cells a character takes: marks none, ideographs and emoji two."""
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


class Page:
    """Rows of cells; the right half of a wide character is an empty cell. Positions count from 0."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns = columns
        self.rows = [[" "] * columns for _ in range(rows)]
        self.row = 0
        #: Equal to `columns` after the last cell of a row was written: the next character starts a new row.
        self.column = 0
        self.top = 0
        self.bottom = rows - 1
        self.saved = (0, 0)
        self.wraps = True
        self.inserts = False

    def lines(self) -> list[str]:
        """The text of every row, without the blanks at its end."""
        return ["".join(cells).rstrip() for cells in self.rows]

    # --- the cursor ------------------------------------------------------------------------------------------------

    def move(self, row: int, column: int) -> None:
        """Put the cursor somewhere on the page."""
        self.row = min(max(row, 0), len(self.rows) - 1)
        self.column = min(max(column, 0), self.columns - 1)

    def shift(self, rows: int, columns: int) -> None:
        """Move the cursor by so much; it stays within the region if it is in it."""
        inside = self.top <= self.row <= self.bottom
        row = self.row + rows
        if inside:
            row = min(max(row, self.top), self.bottom)
        self.move(row, min(self.column, self.columns - 1) + columns)

    def tab(self, times: int = 1) -> None:
        """Go on to the next stop, of which there is one in eight columns."""
        self.column = min(self.columns - 1, (self.column // 8 + times) * 8)

    # --- text ------------------------------------------------------------------------------------------------------

    def put(self, text: str) -> None:
        """Write printable text at the cursor, row by row."""
        if not text.isascii():
            self._put_mixed(text)
            return
        while text:
            self._wrap(1)
            room = self.columns - self.column
            self._set(list(text[:room]))
            text = text[room:]

    def _put_mixed(self, text: str) -> None:
        """As `put`, with characters that take two cells, or none."""
        for char in text:
            cells = 1 if char.isascii() else width(char)
            if cells:
                self._wrap(cells)
                self._set([char] if cells == 1 else [char, ""])
                continue
            row, at = self.rows[self.row], self.column - 1
            if at > 0 and not row[at]:
                at -= 1
            if at >= 0 and len(row[at]) <= _MARKS:
                row[at] += char

    def _wrap(self, cells: int) -> None:
        if self.column + cells <= self.columns:
            return
        if self.wraps:
            self.column = 0
            self.feed()
        else:
            self.column = max(0, self.columns - cells)

    def _set(self, cells: list[str]) -> None:
        if self.inserts:
            self.insert_cells(len(cells))
        row, start, end = self.rows[self.row], self.column, self.column + len(cells)
        if start and not row[start]:
            row[start - 1] = " "  # half of a wide character is no character
        if end < self.columns and not row[end]:
            row[end] = " "
        row[start:end] = cells[: self.columns - start]
        self.column = end if self.wraps else min(end, self.columns - 1)

    # --- rows ------------------------------------------------------------------------------------------------------

    def feed(self) -> None:
        """Go to the next row; at the end of the region it scrolls."""
        if self.row == self.bottom:
            self.scroll(self.top, 1)
        elif self.row < len(self.rows) - 1:
            self.row += 1

    def feed_back(self) -> None:
        """Go to the row before; at the start of the region it scrolls back."""
        if self.row == self.top:
            self.scroll(self.top, -1)
        elif self.row > 0:
            self.row -= 1

    def scroll(self, top: int, count: int) -> None:
        """Move the rows from `top` to the end of the region up, or down where the count is negative."""
        for _ in range(min(abs(count), self.bottom - top + 1)):
            gone, new = (top, self.bottom) if count > 0 else (self.bottom, top)
            del self.rows[gone]
            self.rows.insert(new, [" "] * self.columns)

    def erase(self, start: int, end: int, row: int | None = None) -> None:
        """Blank the cells from `start` up to `end` of a row, by default the cursor's."""
        start, end = min(start, self.columns), min(end, self.columns)
        if start < end:
            self.rows[self.row if row is None else row][start:end] = [" "] * (end - start)

    def insert_cells(self, count: int) -> None:
        """Push what is at and after the cursor to the right."""
        row, at = self.rows[self.row], self.column
        row[at:at] = [" "] * min(count, self.columns)
        del row[self.columns :]

    def delete_cells(self, count: int) -> None:
        """Pull what is after the cursor to the left."""
        row, at = self.rows[self.row], min(self.column, self.columns - 1)
        del row[at : at + count]
        row.extend([" "] * (self.columns - len(row)))

    def resize(self, columns: int, rows: int) -> None:
        """Cut or pad; rows leave at the top where the cursor would otherwise leave the page."""
        self.rows = self.rows[max(0, self.row - rows + 1) :][:rows]
        self.row = min(self.row, rows - 1)
        for cells in self.rows:
            del cells[columns:]
            cells.extend([" "] * (columns - len(cells)))
        self.rows.extend([" "] * columns for _ in range(rows - len(self.rows)))
        self.columns, self.top, self.bottom = columns, 0, rows - 1
        self.move(self.row, self.column)
