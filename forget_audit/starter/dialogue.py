"""Answers from flags, from a person at a terminal, or by default, checked at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import typer

from forget_audit.console import complain
from forget_audit.errors import ForgetAuditError

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """Who answers: flags first, then a person if there is one, then the default.

    Args:
        asking: Whether somebody is there to be asked.
    """

    asking: bool

    def answer(
        self,
        flag: str,
        given: str | None,
        question: str,
        usual: str | None,
        check: Callable[[str], Value],
    ) -> Value:
        """Return what an answer means; a person is asked again until it is good.

        Args:
            flag: Under which the answer could have been given.
            given: What was, if anything.
            question: For a person.
            usual: The answer if there is none; nothing if one is needed.
            check: Returns what an answer means, or raises what is wrong with it.

        Raises:
            Exit: With code 2, if a flag or the default is no good.
        """

        def again(text: str) -> Value:
            try:
                return check(text.strip())
            except ForgetAuditError as error:
                raise typer.BadParameter(str(error)) from error

        if given is None and self.asking:
            meant: Value = typer.prompt(question, default=usual, value_proc=again, err=True)
            return meant
        text = usual if given is None else given
        if text is None:
            complain(f"{flag} is needed: {question}")
            raise typer.Exit(2)
        return self.checked(flag, text, check)

    def checked(self, flag: str, given: str, check: Callable[[str], Value]) -> Value:
        """Return what a flag means; nobody is asked.

        Args:
            flag: For the message.
            given: What was said.
            check: Returns what it means, or raises what is wrong with it.

        Raises:
            Exit: With code 2, if it is no good.
        """
        try:
            return check(given)
        except ForgetAuditError as error:
            complain(f"{flag}: {error}")
            raise typer.Exit(2) from error
