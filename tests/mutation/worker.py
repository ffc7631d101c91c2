"""Breaks one module with mutmut, in the copy of the project that it is called in; see `tests.mutation`.

Left out is what only people read, and may reword: strings with a space between two words, and calls of the log.
"""

import importlib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import libcst as cst
import pytest
from django.core.management.color import no_style
from django.db import connection
from django.test import utils
from libcst import matchers
from mutmut import __main__ as mutmut
from mutmut.configuration import config
from mutmut.mutation import file_mutation
from mutmut.mutation.file_mutation import MODULE_STATEMENT, Mutation, MutationVisitor
from mutmut.runners.harness import PytestRunner
from mutmut.state import state
from mutmut.utils.file_utils import change_cwd
from mutmut.workers.isolation import ForkServerRunner, MutantRunner

from tests.mutation.modules import MODULES

_TWO_WORDS = re.compile(r"\w[,.:;]? \w")
_OF_THE_LOG = matchers.Call(func=matchers.Attribute(value=matchers.Name("log")))
_NOTICED = Path("noticed.txt").absolute()
_CODECS = ("utf-8", "ascii")  # Python knows them in capitals as well


class Visitor(MutationVisitor):
    """Leaves out what people read, and takes functions with decorators, which mutmut leaves out."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if _is_left_out(node):
            return True
        if isinstance(node, cst.FunctionDef) and node.decorators:
            return False
        return super()._skip_node_and_children(node)

    def _removes_ignored_code(self, node: cst.CSTNode, mutated_node: cst.CSTNode) -> bool:
        remaining = {id(child) for child in mutated_node.children}
        gone = [child for child in node.children if id(child) not in remaining]
        if any(_is_left_out(child.value if isinstance(child, cst.Arg) else child) for child in gone):
            return True
        return super()._removes_ignored_code(node, mutated_node)


def _is_left_out(node: cst.CSTNode) -> bool:
    if isinstance(node, cst.SimpleString):
        return node.raw_value in _CODECS or bool(_TWO_WORDS.search(node.raw_value))
    if isinstance(node, cst.FormattedString):
        return any(" " in part.value.strip() for part in node.parts if isinstance(part, cst.FormattedStringText))
    if isinstance(node, cst.ConcatenatedString):
        return _is_left_out(node.left) or _is_left_out(node.right)
    return matchers.matches(node, _OF_THE_LOG)


_arrange = file_mutation.function_trampoline_arrangement
_Nodes = Sequence[MODULE_STATEMENT]


def _arrange_decorated(
    function: cst.FunctionDef, mutants: Iterable[Mutation], class_name: str | None
) -> tuple[_Nodes, _Nodes, _Nodes, Sequence[str]]:
    """Keep the decorators around the switch between a function's copies, and take them from the copies."""
    declarations, (switch, *copies), assignments, names = _arrange(function, mutants, class_name)
    bare = [
        copy.with_changes(decorators=[each for each in copy.decorators if _makes_method(each)])
        for copy in copies
        if isinstance(copy, cst.FunctionDef)
    ]
    return declarations, [switch, *bare], assignments, names


def _makes_method(decorator: cst.Decorator) -> bool:
    return matchers.matches(decorator.decorator, matchers.Name("staticmethod") | matchers.Name("classmethod"))


class Runner(PytestRunner):
    """What costs seconds is done before the processes fork, of which each tests one mutant."""

    def warm_up(self) -> None:
        """Read the tests, and what the first request of each product would load."""
        super().warm_up()
        for urls in ("dashboard.urls", "gateway.urls"):
            importlib.import_module(urls)

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        """Run those first that noticed other mutants, and else the quick ones, as the first failure ends it."""
        noticed = Counter(_NOTICED.read_text().splitlines() if _NOTICED.exists() else ())
        seconds = state().duration_by_test
        order = sorted(tests, key=lambda test: (-noticed[test], seconds[test]))
        with change_cwd("mutants"):
            return self.execute_pytest(self._pytest_args_regular_run(order), plugins=[self])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember, for the next mutants, which test failed."""
        if report.failed:
            with _NOTICED.open("a") as file:
                file.write(f"{report.nodeid}\n")


def _empty_database(*_: object, **__: object) -> list[Any]:
    """Do what Django does by making a database, which takes longer than most tests: one mutant after the other."""
    tables = set(connection.introspection.django_table_names(only_existing=True))
    made_by_migrations = {"django_content_type", "auth_permission"}
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), sorted(tables - made_by_migrations)))
    return []


def _forking_runner(max_workers: int = 1) -> MutantRunner:
    """Fork each run from a process that has read the tests and run none: nothing that it remembers hides a mutant."""
    return ForkServerRunner(max_workers=max_workers, test_runner_class=Runner, test_runner_args={})


_collect = mutmut.collect_source_file_mutation_data


def _collect_some(most: int, **options: Any) -> tuple[list[Any], dict[str, Any]]:
    """Take at most so many mutants, from all over the module, and the same ones each time."""
    mutants, files = _collect(**options)
    return mutants[:: max(1, -(-len(mutants) // most))], files


def main(name: str, most: int) -> None:
    """Break the module, run its tests on each mutant, and leave the results where mutmut leaves them."""
    mutmut.collect_source_file_mutation_data = partial(_collect_some, most)
    file_mutation.MutationVisitor = Visitor  # type: ignore[misc]
    file_mutation.function_trampoline_arrangement = _arrange_decorated
    mutmut.get_mutant_runner = _forking_runner  # type: ignore[attr-defined]
    utils.setup_databases = _empty_database
    utils.teardown_databases = lambda *_, **__: None
    config().source_paths = MODULES[name].files
    config().pytest_add_cli_args_test_selection = MODULES[name].selection
    mutmut._run([], max_children=1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
