"""Untrusted text stays text."""

from __future__ import annotations

import json
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from estran.report.markup import data_block, table, tag, text


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: dict[str, str | None] = {}
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= dict(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


readable = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


@given(readable)
def test_text_reads_back_and_makes_no_element(words: str) -> None:
    reader = Reader(tag("p", text(words), title=words))
    assert reader.tags == ["p"]
    assert reader.text == words
    assert reader.attributes == {"title": words}


@given(st.text())
def test_no_text_makes_an_element(words: str) -> None:
    assert Reader(tag("p", text(words), title=words)).tags == ["p"]


def test_terminal_colours_and_control_characters_go() -> None:
    assert text("\x1b[1;31mred\x1b[0m\x00") == "red\ufffd"


@given(st.dictionaries(st.text(), st.text()))
def test_data_cannot_leave_its_script(document: dict[str, str]) -> None:
    block = data_block("data", {"strings": document})
    inside = block[block.index(">") + 1 : block.rindex("<")]
    assert not set("<>&\u2028\u2029") & set(inside)
    clean = {key.encode("utf-8", "ignore").decode(): word.encode("utf-8", "ignore").decode() for key, word in document.items()}
    if clean == document and not any("\x7f" in part for part in (*clean, *clean.values())):
        assert json.loads(inside) == {"strings": document}


def test_a_table_scrolls_and_names_its_columns() -> None:
    markup = table(["name", "n"], [["a", "1"]], numeric=frozenset({1}), caption="Things")
    assert '<th scope="col" class="n">n</th>' in markup
    assert 'tabindex="0"' in markup
    assert "<caption>Things</caption>" in markup
