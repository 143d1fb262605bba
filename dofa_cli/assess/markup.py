"""Pieces of HTML: every text is escaped, every picture is inside the page."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1d232a; --soft: #5b6672; --line: #d9dee4; --page: #ffffff; --band: #f5f7f9;
  --mark: #0b5cad; --warn: #fff6e0; --edge: #e0b040; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #9aa6b2; --line: #353d46; --page: #14181d;
  --band: #1d232a; --mark: #79b8ff; --warn: #33290f; --edge: #a07a20; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.2rem 4rem; max-width: 62rem; color: var(--ink); background: var(--page);
  font: 16px/1.5 system-ui, "Segoe UI", "Helvetica Neue", sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .4rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); font-size: .92rem; }
.scores { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .8rem; margin: 1rem 0; }
.score { background: var(--band); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem; }
.score b { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.score span { color: var(--soft); font-size: .85rem; display: block; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .7rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); border-bottom-width: 2px; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.best { color: var(--mark); font-weight: 700; }
td small { display: block; color: var(--soft); white-space: nowrap; }
.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .5em; border: 1px solid var(--soft);
  border-radius: .15em; vertical-align: -.05em; }
ul.notes { background: var(--warn); border-left: 4px solid var(--edge); border-radius: .3rem; margin: 1rem 0;
  padding: .6rem 1rem .6rem 2rem; }
img { max-width: 100%; height: auto; background: #fff; border-radius: .3rem; }
.mistakes { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: .85rem; line-height: 1.35; margin-top: .3rem; }
.mistakes img { width: 100%; image-rendering: pixelated; }
pre { background: var(--band); border: 1px solid var(--line); border-radius: .4rem; padding: .7rem .9rem;
  overflow-x: auto; white-space: pre-wrap; font-size: .88rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; margin: .6rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } h2 { break-after: avoid; }
  table, figure, .score, img { break-inside: avoid; } .wide { overflow: visible; } }
"""


def document(title: str, body: Iterable[str]) -> str:
    """Return a whole page."""
    head = (
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
    )
    lines = ("<!DOCTYPE html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", *body, "</body>", "</html>")
    return "\n".join(lines) + "\n"


def tag(name: str, text: str, css: str = "") -> str:
    """Return an element that holds text."""
    return f"<{name}{_class(css)}>{escape(text)}</{name}>"


def image(png: bytes, text: str) -> str:
    """Return a picture that is part of the page; ``text`` says what it shows."""
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{b64encode(png).decode()}">'


def bullets(texts: Sequence[str], css: str = "") -> str:
    """Return a list, nothing for none."""
    items = "".join(tag("li", text) for text in texts)
    return f"<ul{_class(css)}>{items}</ul>" if texts else ""


def pairs(facts: Iterable[tuple[str, str]]) -> str:
    """Return terms with what they are."""
    return "<dl>" + "".join(tag("dt", name) + tag("dd", text) for name, text in facts) + "</dl>"


def cell(text: str, below: str = "", css: str = "") -> str:
    """Return a table cell, with a smaller line ``below`` where there is one."""
    small = tag("small", below) if below else ""
    return f"<td{_class(css)}>{escape(text)}{small}</td>"


def swatch(colour: tuple[int, int, int], text: str) -> str:
    """Return a table cell with a patch of a class' colour before its name."""
    return f'<td><span class="swatch" style="background: rgb{tuple(colour)}"></span>{escape(text)}</td>'


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of column titles and rows of ready cells."""
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in columns)
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _class(css: str) -> str:
    return f' class="{css}"' if css else ""
