"""Every message that the package can raise, out of its sources, for ``docs/troubleshooting.md``."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).resolve().parents[1] / "airflow_provider_mage"
GAP = "…"
# Functions of the package that make an error out of a sentence.
MAKERS = {"_error", "_unusable"}
# Variables that hold one until it is raised.
VARIABLES = {"message", "advice", "unusable", "sentence", "_NO_ANSWER", "_SPEAKS_HTTPS"}
# A text without so many letters in a row is none of a person's.
SHORTEST = 12


@dataclass(frozen=True)
class Message:
    """A message, with ``…`` for what differs from time to time."""

    where: str
    text: str

    @property
    def core(self) -> str:
        """The longest part of it that is always the same."""
        sentence = self.text.partition("The request was")[0]
        return max(sentence.split(GAP), key=len).strip(" .:;,()`")


def messages() -> list[Message]:
    """Return all messages, in the order of the sources."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            for text in _texts(node):
                line = getattr(node, "lineno", 0)
                message = Message(f"{path.relative_to(PACKAGE)}:{line}", text)
                if len(message.core) >= SHORTEST and " " in message.core:
                    found.append(message)
    return found


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        is_error = name.endswith(("Error", "Failed", "Exception", "Timeout", "UnusableAnswer"))
        if name in MAKERS or (is_error and name != "AttributeError"):
            yield from (text for argument in node.args if (text := _text(argument)))
    elif isinstance(node, ast.Assign) and any(getattr(one, "id", "") in VARIABLES for one in node.targets):
        yield from filter(None, [_text(node.value)])


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or GAP for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) or _text(node.right)
    return ""


if __name__ == "__main__":
    for one in messages():
        print(f"{one.where}\t{one.text}")
