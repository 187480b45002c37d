"""The arguments of a program that takes its settings from the environment: ``--help`` and ``--version`` alone."""

import argparse
from collections.abc import Sequence

from pydantic_settings import BaseSettings

from reachy_service.config import variable
from reachy_service.release import software


def check(program: str, what: str, model: type[BaseSettings], arguments: Sequence[str] | None = None) -> None:
    """Answer ``--help`` with the settings and their defaults, and ``--version``; refuse any other argument.

    Args:
        program: The program's name.
        what: What the program does, in a sentence.
        model: The program's settings.
        arguments: The arguments; None for those of the process.

    Raises:
        SystemExit: With status 0 after an answer, 2 after a refusal.
    """
    defaults = {variable(model, (name,)): field.default for name, field in model.model_fields.items()}
    width = max(map(len, defaults))
    rows = (f"  {name:{width}}  {'' if value in (None, '') else value}".rstrip() for name, value in sorted(defaults.items()))
    parser = argparse.ArgumentParser(
        prog=program,
        description=f"{what} The settings are environment variables; .env.example in the repository explains each.",
        epilog="\n".join(("settings and defaults:", *rows)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=software(program))
    parser.parse_args(arguments)
