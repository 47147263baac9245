"""Tracebacks that Mage sends as text."""

import time

import pytest

from airflow_provider_mage.api.tracebacks import CodeLine, find_code_line, find_printed_error, find_reason

MAGE = '  File "/srv/lib/python3.12/site-packages/mage_ai/models/block.py", line 21, in execute\n    f()\n'
BLOCK = '  File "<string>", line 7, in load\n'
PROJECT = (
    '  File "/srv/project/rules/prices.py", line 3, in check\n    raise ValueError(price)\n    ^^^^^^^\n'
)
HEADER = "Traceback (most recent call last):\n"


def of(*parts):
    return HEADER + "".join(parts)


@pytest.mark.parametrize(
    ("traceback", "line"),
    [
        (of(MAGE, BLOCK, "ValueError: no rows\n"), CodeLine("<string>", 7, "load")),
        (
            of(MAGE, BLOCK, PROJECT, "ValueError: -1\n"),
            CodeLine("/srv/project/rules/prices.py", 3, "check", "raise ValueError(price)"),
        ),
        # What Mage, a package or Python does with what it was given is no line of the author's.
        (of(MAGE, BLOCK, MAGE, "KeyError: 1\n"), CodeLine("<string>", 7, "load")),
        (
            of(BLOCK, '  File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode\n', "E: x\n"),
            CodeLine("<string>", 7, "load"),
        ),
        (
            of(BLOCK, r'  File "C:\py\Lib\site-packages\pandas\core.py", line 9, in read' + "\n", "E: x\n"),
            CodeLine("<string>", 7, "load"),
        ),
        # The last of a chain counts, if it has such a line.
        (
            of(
                BLOCK,
                "KeyError: 1\n\nDuring handling of the above exception, …\n\n",
                HEADER,
                PROJECT,
                "E: x\n",
            ),
            CodeLine("/srv/project/rules/prices.py", 3, "check", "raise ValueError(price)"),
        ),
        (
            of(BLOCK, "KeyError: 1\n\nDuring handling …\n\n", HEADER, MAGE, "E: x\n"),
            CodeLine("<string>", 7, "load"),
        ),
        # The block's own syntax, and that of a text which it evaluates.
        (
            of(MAGE, '  File "<string>", line 1\n    def broken(:\n', "SyntaxError: x\n"),
            CodeLine("<string>", 1),
        ),
        (
            of(BLOCK, '  File "<string>", line 1\n    1 +\n', "SyntaxError: invalid syntax\n"),
            CodeLine("<string>", 7, "load"),
        ),
        (
            "  + Exception Group " + HEADER + '  |   File "<string>", line 7, in f\n  | E: x\n',
            CodeLine("<string>", 7, "f"),
        ),
        (of(MAGE, "ValueError: no rows\n"), None),
        ("no traceback", None),
        ("", None),
        (None, None),
        (["a", "list"], None),
        ('  File "<string>", line ' + "9" * 5000 + ", in f\n", None),
    ],
)
def test_line_of_the_authors_code(traceback, line):
    assert find_code_line(traceback) == line


@pytest.mark.parametrize(
    ("text", "traceback", "reason"),
    [
        ("no rows", of(MAGE, BLOCK, "ValueError: no rows\n"), "ValueError: no rows"),
        ("", of(MAGE, BLOCK, "RuntimeError\n"), "RuntimeError"),
        ("", of(MAGE, BLOCK, "RuntimeError\na note that helps\n"), "RuntimeError\na note that helps"),
        ("it broke", of(BLOCK, "RuntimeError: it broke\na note\n"), "RuntimeError: it broke"),
        ("invalid syntax (<string>, line 1)", of(BLOCK, "SyntaxError: invalid syntax\n"),
         "SyntaxError: invalid syntax (<string>, line 1)"),
        (
            "several (2 sub-exceptions)",
            "  + Exception Group " + HEADER + '  |   File "<string>", line 7, in f\n'
            "  | ExceptionGroup: several (2 sub-exceptions)\n  +-+---------------- 1 ----------------\n"
            "    | ValueError: one\n    +---------------- 2 ----------------\n    | KeyError: 'two'\n    +--",
            "ExceptionGroup: several (2 sub-exceptions)",
        ),
        ("own text", of(BLOCK, "f.<locals>.Own: own text\n"), "f.<locals>.Own: own text"),
        ("no rows", None, "no rows"),
        (["no rows"], of(MAGE, BLOCK, "ValueError: no rows\n"), "ValueError: no rows"),
        (None, None, None),
        (7, 8, "7"),
    ],
)  # fmt: skip
def test_reason(text, traceback, reason):
    assert find_reason(text, traceback) == reason


def test_exception_of_a_traceback_that_was_printed():
    frame = '  File "<string>", line 12, in t\n'
    printed = f"=====\nFAIL: t\n{HEADER}{frame}AssertionError: not two\n-----\n0/1 passed"

    assert find_printed_error(printed) == "AssertionError: not two"
    assert find_printed_error("0/1 passed") is None


def test_long_texts_take_no_time():
    """No pattern may go wrong on megabytes: a thread of the triggerer looks at them."""
    lines = "\n".join(f'  File "row {number}' for number in range(200_000))
    began = time.perf_counter()
    for text in (
        lines,
        " |" * 2_000_000,
        "Traceback (most recent call last):\n" * 100_000,
        "a.b" * 1_000_000,
    ):
        find_code_line(text)
        find_reason(text, f"{HEADER}{BLOCK}ValueError: {text}")
        find_reason("", text)
        find_printed_error(text)

    # Without limits, these take many minutes.
    assert time.perf_counter() - began < 60
