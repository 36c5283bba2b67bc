"""Markdown: headings, paragraphs, lists, pipe tables, code fences, quotes, front matter, HTML in between.

Structural marks (#, |---|, fences, >) and link targets are not part of the text; inline code, formulas and single
stars stay as written.
"""

from __future__ import annotations

import re

from openbook.library.documents.build import Builder, Cell
from openbook.library.documents.model import Document
from openbook.library.documents.readers.plain import decoded_text
from openbook.library.documents.source import Source

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t\u3000]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_RULE = re.compile(r" {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$")
_LIST = re.compile(r"[ \t]*(?:[-*+•]|\d{1,9}[.)、])[ \t]+\S")
_QUOTE = re.compile(r" {0,3}>[ ]?")
_DELIMITER = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_HTML = re.compile(
    r" {0,3}<(?:!--|/?(?:address|article|aside|blockquote|body|center|details|dd|div|dl|dt|figure|figcaption|footer"
    r"|form|h[1-6]|head|header|html|hr|iframe|img|li|link|main|nav|ol|p|picture|pre|script|section|style|summary|svg|table"
    r"|tbody|td|th|thead|tr|ul|video)\b)",
    re.IGNORECASE,
)
_IMAGE_LINE = re.compile(r"\s*!\[([^\]]*)\]\([^)]*\)\s*$")
# Bounded repeats: on hostile text an open-ended one costs time in the square of the line's length.
_IMAGE = re.compile(r"!\[([^\]\n]{0,300})\]\([^)\n]{0,500}\)")
_LINK = re.compile(r"\[([^\]\[\n]{1,300})\]\((?!\s)[^)\s]{1,500}(?:\s{1,4}\"[^\"\n]{0,500}\")?\)")
_STRONG = re.compile(r"\*\*(?=\S)([^*\n]{1,1000})(?<=\S)\*\*")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)?---[ \t]*(?:\n|$)", re.DOTALL)
_CELL_BREAK = re.compile(r"(?<!\\)\|")


def read(source: Source) -> Document:
    builder = Builder("markdown")
    text = decoded_text(source, builder)
    metadata: dict[str, str] = {}
    portion = source.portion
    if portion is not None and portion.number:
        _Markdown(builder, text.split("\n")).run(portion.fence)
        return builder.document(otherwise=source.stem)
    if (front := _FRONT_MATTER.match(text)) is not None:
        metadata = _front_matter(front.group(1) or "")
        text = text[front.end() :]
    add_markdown(builder, text)
    return builder.document(metadata.get("title", ""), metadata, otherwise=source.stem)


def add_markdown(builder: Builder, text: str) -> None:
    _Markdown(builder, text.split("\n")).run()


def inline(text: str) -> str:
    """Text without link targets, picture targets and the stars of bold print."""
    if "](" in text:
        text = _LINK.sub(r"\1", _IMAGE.sub(r"\1", text))
    return _STRONG.sub(r"\1", text) if "**" in text else text


def _front_matter(text: str) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in text.split("\n") if ":" in line and not line.startswith((" ", "-", "#")))
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs if value.strip()}


class _Markdown:
    """A cursor over the lines; each method takes the block that begins at `at` and moves on."""

    def __init__(self, builder: Builder, lines: list[str]) -> None:
        self.builder, self.lines, self.at = builder, lines, 0

    def run(self, fence: str = "") -> None:
        """Takes all lines; `fence` is the mark of the code block that was opened before the first."""
        if fence:
            self._code_lines(fence)
        while self.at < len(self.lines):
            self._block(self.lines[self.at])

    def _block(self, line: str) -> None:
        if not line.strip():
            self.at += 1
        elif (fence := _FENCE.match(line)) is not None:
            self._code(fence.group(1))
        elif (heading := _HEADING.match(line)) is not None:
            self.at += 1
            self.builder.add("heading", inline(heading.group(2) or ""), level=len(heading.group(1)))
        elif _RULE.match(line):
            self.at += 1
        elif "|" in line and self.at + 1 < len(self.lines) and self._is_delimiter(self.lines[self.at + 1]):
            self._table()
        elif _QUOTE.match(line):
            self._quote()
        elif _LIST.match(line):
            self._list()
        elif line.startswith(("    ", "\t")):
            self._indented()
        elif _HTML.match(line):
            self._html()
        elif (image := _IMAGE_LINE.match(line)) is not None:
            self.at += 1
            self.builder.add("figure", image.group(1))
        else:
            self._paragraph()

    def _is_delimiter(self, line: str) -> bool:
        return "-" in line and _DELIMITER.match(line) is not None

    def _code(self, fence: str) -> None:
        self.at += 1
        self._code_lines(fence)

    def _code_lines(self, fence: str) -> None:
        start = self.at
        while self.at < len(self.lines) and not self._closes(self.lines[self.at], fence):
            self.at += 1
        self.builder.add("code", "\n".join(self.lines[start : self.at]))
        self.at += 1

    def _closes(self, line: str, fence: str) -> bool:
        match = _FENCE.match(line)
        return match is not None and match.group(1).startswith(fence) and not match.group(2).strip()

    def _indented(self) -> None:
        start = self.at
        while self.at < len(self.lines) and (
            self.lines[self.at].startswith(("    ", "\t")) or not self.lines[self.at].strip()
        ):
            self.at += 1
        self.builder.add("code", "\n".join(self.lines[start : self.at]))

    def _table(self) -> None:
        rows = [self._cells(self.lines[self.at])]
        self.at += 2
        while self.at < len(self.lines) and "|" in self.lines[self.at]:
            rows.append(self._cells(self.lines[self.at]))
            self.at += 1
        table = [
            [Cell(text, f"R{r}C{c}") for c, text in enumerate(row, start=1)] for r, row in enumerate(rows, start=1)
        ]
        self.builder.table(table, header_rows=1)

    def _cells(self, line: str) -> list[str]:
        line = line.strip().removeprefix("|")
        line = line[:-1] if line.endswith("|") and not line.endswith("\\|") else line
        return [inline(cell.replace("\\|", "|").replace("<br>", " ")) for cell in _CELL_BREAK.split(line)]

    def _quote(self) -> None:
        inner: list[str] = []
        while self.at < len(self.lines) and (match := _QUOTE.match(self.lines[self.at])) is not None:
            inner.append(self.lines[self.at][match.end() :])
            self.at += 1
        _Markdown(self.builder, inner).run()

    def _list(self) -> None:
        start = self.at
        self.at += 1
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line.strip():
                after = self.at + 1
                if after >= len(self.lines) or not (
                    _LIST.match(self.lines[after]) or self.lines[after].startswith(("  ", "\t"))
                ):
                    break
            elif not _LIST.match(line) and not line.startswith(("  ", "\t")) and self._interrupts(line):
                break
            self.at += 1
        lines = [line.rstrip() for line in self.lines[start : self.at] if line.strip()]
        self.builder.add("list", inline("\n".join(lines)))

    def _html(self) -> None:
        from openbook.library.documents.readers.html import add_html

        start = self.at
        depth_tag = re.match(r"\s*<(table|details|div|style|script|pre)\b", self.lines[start], re.IGNORECASE)
        closing = f"</{depth_tag.group(1).lower()}" if depth_tag else None
        comment = self.lines[start].lstrip().startswith("<!--")
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            if comment:
                ends = "-->" in line
            elif closing is not None:
                ends = closing in line.lower()
            else:
                ends = self.at >= len(self.lines) or not self.lines[self.at].strip()
            if ends:
                break
        fragment = _COMMENT.sub("", "\n".join(self.lines[start : self.at]))
        if fragment.strip():
            from openbook.library.documents.readers.html import add_html  # (lexbor only where it is needed)

            add_html(self.builder, fragment)

    def _paragraph(self) -> None:
        start = self.at
        self.at += 1
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not line.strip():
                break
            if (setext := _SETEXT.match(line)) is not None:
                text = " ".join(each.strip() for each in self.lines[start : self.at])
                self.at += 1
                self.builder.add("heading", inline(text), level=1 if setext.group(1)[0] == "=" else 2)
                return
            if self._interrupts(line):
                break
            self.at += 1
        self.builder.add("paragraph", inline("\n".join(self.lines[start : self.at])))

    def _interrupts(self, line: str) -> bool:
        following = self.lines[self.at + 1] if self.at + 1 < len(self.lines) else ""
        return bool(
            _HEADING.match(line)
            or _FENCE.match(line)
            or _QUOTE.match(line)
            or (_LIST.match(line) and not line.startswith("    "))
            or _RULE.match(line)
            or _HTML.match(line)
            or ("|" in line and self._is_delimiter(following))
        )
