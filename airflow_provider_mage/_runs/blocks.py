"""A pipeline's blocks as a DAG file knows them: read from what stands beside it, never from the network."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

# Mage makes no block runs for these (observed).
_NOT_EXECUTED = frozenset({"chart", "markdown", "scratchpad"})

_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_LABEL = 80


@dataclass(frozen=True)
class Block:
    """
    A block, and those whose output it gets.

    :param uuid: Its name in Mage.
    :param upstream: The names of the blocks right before it.
    """

    uuid: str
    upstream: tuple[str, ...] = ()


def read_blocks(given: Any) -> tuple[Block, ...]:
    """
    Read the blocks of a pipeline, the upstream ones first.

    :param given: A path to the pipeline's ``metadata.yaml`` or to a snapshot; what is in these; or a list of
        blocks, each a mapping with ``uuid`` and ``upstream_blocks``, or a name alone.
    :return: The blocks that Mage executes. Their order depends on nothing but what is given.
    :raises ValueError: If that makes no sense, says which blocks and why.
    """
    if isinstance(given, (str, Path)):
        given = _read_file(Path(given))
    if isinstance(given, Mapping):
        if given.get("type") == "streaming":
            raise ValueError("`blocks` is of a streaming pipeline, whose runs have no blocks to wait for.")
        given = given.get("blocks")
    if isinstance(given, (str, bytes, AbstractSet)) or not isinstance(given, Iterable):
        raise ValueError(
            "`blocks` must be a list of blocks, the path of the pipeline's metadata.yaml, or that of a "
            f"snapshot, not {type(given).__name__}."
        )
    blocks = [_read_block(one) for one in given if not _is_left_out(one)]
    if not blocks:
        raise ValueError("`blocks` has no block that Mage executes: there would be nothing to wait for.")
    return _in_order(blocks)


def _read_file(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ValueError(f"`blocks` names a file that cannot be read, {path}: {error}.") from error
    try:
        return json.loads(text) if path.suffix == ".json" else _read_yaml(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise ValueError(f"`blocks` names {path}, which is no {kind}: {error}.") from error


def _read_yaml(text: str) -> Any:
    import yaml  # a DAG file with a snapshot does without

    # The one of these that is written in C is ten times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _is_left_out(given: Any) -> bool:
    kind = given.get("type") if isinstance(given, Mapping) else None
    return isinstance(kind, str) and kind in _NOT_EXECUTED


def _read_block(given: Any) -> Block:
    if isinstance(given, Block):
        return given
    if isinstance(given, str):
        given = {"uuid": given}
    uuid = given.get("uuid") if isinstance(given, Mapping) else None
    if not isinstance(uuid, str) or not uuid.strip():
        raise ValueError(f"`blocks` has one without a name in `uuid`: {given!r:.80}.")
    upstream = given.get("upstream_blocks") or ()
    is_list = isinstance(upstream, (list, tuple))
    if not is_list or not all(isinstance(name, str) for name in upstream):
        raise ValueError(f"`upstream_blocks` of block {uuid!r} must be a list of names.")
    return Block(uuid, tuple(dict.fromkeys(upstream)))


def _in_order(blocks: list[Block]) -> tuple[Block, ...]:
    known = {block.uuid: block for block in blocks}
    if len(known) < len(blocks):
        names = [block.uuid for block in blocks]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"`blocks` has two blocks {twice!r}.")
    missing = [(block.uuid, name) for block in blocks for name in block.upstream if name not in known]
    if missing:
        uuid, name = missing[0]
        raise ValueError(f"`blocks` has no block {name!r}, which is upstream of block {uuid!r}.")
    try:
        order = tuple(TopologicalSorter({block.uuid: block.upstream for block in blocks}).static_order())
    except CycleError as error:
        raise ValueError(f"`blocks` goes in a circle: {', '.join(error.args[1])}.") from error
    return tuple(known[name] for name in order)


def label_of(name: str, reserved: Iterable[str] = ()) -> str:
    """
    Return what the task of a block is called, which depends on nothing but the block's own name.

    :param name: The block's name in Mage, which may have slashes and any letters.
    :param reserved: Labels that are taken by others.
    :return: The name itself, if Airflow allows it; else what is left of it, and a digest that tells it apart.
    """
    readable = _NOT_ALLOWED.sub("_", name).strip("_-")[:_LONGEST_LABEL]
    if readable == name and name not in reserved:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{readable}_{digest}" if readable else f"block_{digest}"


def descendants_of(uuid: str, blocks: Iterable[Block]) -> tuple[str, ...]:
    """Return the names of all blocks after one, which must be among these, the upstream ones first."""
    found: dict[str, None] = {uuid: None}
    for block in blocks:
        if any(name in found for name in block.upstream):
            found[block.uuid] = None
    return tuple(found)[1:]


def ancestors_of(uuid: str, blocks: Iterable[Block]) -> tuple[str, ...]:
    """Return the names of all blocks before one, which must be among these, the upstream ones first."""
    known = {block.uuid: block for block in blocks}
    found: dict[str, None] = {}
    left = list(known[uuid].upstream)
    while left:
        name = left.pop()
        if name not in found:
            found[name] = None
            left.extend(known[name].upstream)
    return tuple(name for name in known if name in found)
