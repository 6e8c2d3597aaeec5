"""The API reference: every public name is in it, and says what its arguments are."""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nncodec

ROOT = Path(__file__).parents[1]
API = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
ROLE = re.compile(r":(?:func|class|meth):`(?:nncodec\.)?([\w.]+)`")


def found(name: str) -> Any:
    """What a dotted name stands for in the package."""
    thing: Any = nncodec
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


def functions() -> Iterator[str]:
    """The dotted names of all public functions and methods, and of classes that are called."""
    for name in nncodec.__all__:
        thing = found(name)
        if inspect.isclass(thing):
            if issubclass(thing, Exception):
                continue
            listed = re.search(rf"autoclass:: {name}\(?\)?\n   :members: ?(.*)", API)
            assert listed, f"{name} has no members in docs/api.rst"
            names = listed[1].split(", ") if listed[1] else vars(thing)
            methods = [other for other in names if not other.startswith("_")]
            yield from (f"{name}.{other}" for other in methods if callable(vars(thing).get(other)))
            if name == "CaeFile":  # is made by `open`, not called
                continue
        yield name


def told(name: str) -> str:
    """The docstring of a name, and those that it refers to."""
    text = inspect.getdoc(found(name)) or ""
    return "\n".join([text, *(inspect.getdoc(found(other)) or "" for other in ROLE.findall(text))])


@pytest.mark.parametrize("name", list(functions()))
def test_every_argument_is_told(name: str) -> None:
    function: Callable[..., Any] = found(name)
    assert inspect.getdoc(function), name
    signature = inspect.signature(function)
    if not inspect.isclass(function):
        assert signature.return_annotation is not signature.empty
    for argument in signature.parameters.values():
        if argument.name != "self":
            assert argument.annotation is not argument.empty, f"{name}: {argument} has no type"
            assert f"``{argument.name}``" in told(name), f"{name} is silent on {argument.name}"


def test_every_public_name_is_in_the_reference() -> None:
    listed = re.findall(r"^\.\. auto(?:function|class|exception):: (\w+)", API, re.MULTILINE)
    assert sorted(listed) == sorted(nncodec.__all__)
