from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from dllm_edge.scripts.cli.terminal.launch import app_of
from dllm_edge.scripts.cli.terminal.option_groups import expand_groups

calls: list[tuple[object, ...]] = []


@dataclass(frozen=True)
class Colours:
    paper: Annotated[str, typer.Option(help="Of the paper.")] = "white"
    ink: Annotated[int, typer.Option("--ink", min=1)] = 3


def draw(
    *, name: Annotated[str, typer.Argument()], colours: Colours, large: Annotated[bool, typer.Option("--large")] = False
) -> None:
    """Draw a picture."""
    calls.append((name, colours, large))


def test_fields_stand_where_their_group_stood() -> None:
    parameters = signature(expand_groups(draw)).parameters
    assert list(parameters) == ["name", "paper", "ink", "large"]
    assert [parameters[name].default for name in ("paper", "ink")] == ["white", 3]
    assert expand_groups(draw).__doc__ == "Draw a picture."


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (["a"], ("a", Colours(), False)),
        (["a", "--ink", "5", "--large"], ("a", Colours(ink=5), True)),
        (["--paper", "red", "b"], ("b", Colours("red"), False)),
    ],
)
def test_a_command_gets_the_group_that_its_options_make(arguments: list[str], call: tuple[object, ...]) -> None:
    calls.clear()
    assert CliRunner().invoke(app_of(draw), arguments).exit_code == 0
    assert calls == [call]


def test_fields_keep_what_typer_knows_of_them() -> None:
    assert "Of the paper." in CliRunner().invoke(app_of(draw), ["--help"]).output
    assert CliRunner().invoke(app_of(draw), ["a", "--ink", "0"]).exit_code == 2
