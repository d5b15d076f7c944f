"""The registry of acts, walked both ways: every registered act is done somewhere, every act done is registered."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import holdfast
from holdfast.app import packs

SOURCE = Path(holdfast.__file__).parent
#: The calls that put an act on record, and where in them its kind stands.
RECORDING = {"record": 1, "_record": 0, "_audit": 1, "Succession": 0}
FORM = re.compile(r"[a-z]+\.[a-z_]+")


def words_of(module: ast.Module) -> dict[str, str]:
    """The words that a module gives a name to, by that name: `A = "a"` and `A, B = "a", "b"`."""
    found = {}
    for node in module.body:
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        target, value = node.targets[0], node.value
        pairs = (
            zip(target.elts, value.elts, strict=True)
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
            else [(target, value)]
        )
        for name, word in pairs:
            if isinstance(name, ast.Name) and isinstance(word, ast.Constant) and isinstance(word.value, str):
                found[name.id] = word.value
    return found


def given_to(call: ast.Call) -> list[ast.expr]:
    """What a call says is the kind of an act."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    at = RECORDING.get(name)
    return [word.value for word in call.keywords if word.arg == "audit"] + (
        call.args[at : at + 1] if at is not None else []
    )


def done() -> set[str]:
    """The acts that the code puts on record: named in a route, or handed to what records them."""
    modules = {
        path.stem: ast.parse(path.read_text("utf-8")) for path in SOURCE.rglob("*.py") if path.stem != "__init__"
    }
    modules |= {str(path): ast.parse(path.read_text("utf-8")) for path in SOURCE.rglob("*.py")}
    kinds: set[str] = set()
    for module in modules.values():
        for call in (node for node in ast.walk(module) if isinstance(node, ast.Call)):
            for value in given_to(call):
                match value:
                    case ast.Constant():
                        kinds.add(str(value.value))
                    case ast.Name():
                        kinds.add(words_of(module).get(value.id, ""))
                    case ast.Attribute(value=ast.Name(id=owner)) if owner in modules:
                        kinds.add(words_of(modules[owner]).get(value.attr, ""))
    return {kind for kind in kinds if FORM.fullmatch(kind)}


@pytest.mark.guards(
    "Every registered act is done somewhere, and every act that is done is registered.",
    against="A registry of acts that nobody performs, and acts that nobody can look for.",
    breaks=("acts-nobody-does", "acts-nobody-registered"),
)
def test_the_registry_of_acts_and_the_code_name_each_other() -> None:
    registered = {kind.name for pack in packs() for kind in pack.audit}
    assert done() == registered
