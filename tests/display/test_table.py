"""Tables as text and as HTML: aligned, shortened, folded when too wide, escaped."""

from __future__ import annotations

from flowdsl.display.table import Cell, Table


def table(
    *rows: tuple[Cell, ...], columns: tuple[str, ...] = ("record", "value"), notes: tuple[str, ...] = ()
) -> Table:
    return Table("a title", columns, rows, notes)


def test_columns_are_aligned_under_their_names() -> None:
    rows = ((Cell("0", "label"), Cell("'a'")), (Cell("10", "label"), Cell("'bcd'")))
    assert table(*rows, notes=("a note",)).text(80).splitlines() == [
        "a title",
        "  record  value",
        "  0       'a'",
        "  10      'bcd'",
        "  a note",
    ]


def test_numbers_stand_on_the_right() -> None:
    rows = ((Cell("a", "label"), Cell("5", "number")), (Cell("b", "label"), Cell("1,000", "number")))
    assert table(*rows, columns=("step", "in")).text(80).splitlines()[1:] == [
        "  step     in",
        "  a         5",
        "  b     1,000",
    ]


def test_table_without_rows_is_its_title() -> None:
    assert table().text(80) == "a title"
    assert "<table" not in table().html()


def test_table_that_is_too_wide_is_shown_in_parts_that_repeat_the_first_column() -> None:
    row = (Cell("0", "label"), *(Cell("x" * 20) for _ in range(4)))
    text = table(row, columns=("record", "a", "b", "c", "d")).text(60)
    assert [line.split() for line in text.splitlines() if "record" in line] == [
        ["record", "a", "b"],
        ["record", "c", "d"],
    ]
    assert max(map(len, text.splitlines())) <= 60


def test_single_column_wider_than_the_terminal_is_still_shown() -> None:
    assert "x" * 30 in table((Cell("0", "label"), Cell("x" * 30))).text(20)


def test_long_value_is_shortened_and_stands_in_one_line() -> None:
    text = table((Cell("0", "label"), Cell("line one\nline two " + "x" * 100))).text(80)
    assert text.splitlines()[2] == "  0       line one line two xxxxxxxxx..."


def test_error_is_marked_in_text_and_in_colour() -> None:
    made = table((Cell("0", "label"), Cell("ValueError: no", "error")))
    assert "! ValueError: no" in made.text(80)
    assert "color" in made.html().split("ValueError")[0].rsplit("<td", 1)[1]


def test_html_is_escaped_everywhere() -> None:
    evil = "<script>alert('x')</script>" + '"' * 60
    html = Table(evil, (evil, "b"), ((Cell(evil, "label"), Cell(evil, "error")),), (evil,)).html()
    assert "<script" not in html
    assert '""' not in html.replace('title=""', "")


def test_whole_text_of_a_shortened_cell_is_shown_under_the_mouse() -> None:
    assert f'title="{"x" * 100}"' in table((Cell("0", "label"), Cell("x" * 100))).html()
    assert "title" not in table((Cell("0", "label"), Cell("x"))).html().replace("a title", "")
