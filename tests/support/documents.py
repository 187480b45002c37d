"""The documents as tests read them: pages, headings, links, and the shell commands that they tell a person to type."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
OPENS = re.compile(r"^(for |while |if |\w+\(\) \{)")
"""The first line of a command of several lines, which goes on until a line that ends it."""
CLOSES = re.compile(r"(?:; |\n)(?:done|fi)$|\}$")


class Command(NamedTuple):
    page: str
    """The page's path from the root."""
    text: str
    """One command without its comment; lines that go on are joined."""


def pages() -> list[Path]:
    """Every Markdown file of the repository."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in names]


def prose(text: str) -> str:
    """A page without its code blocks and code spans."""
    return re.sub(r"`[^`\n]+`", "``", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(text: str) -> set[str]:
    """The anchors of a page: those of its headings as GitHub makes them, and its own."""
    found = set(re.findall(r'<a id="([^"]+)">', text))
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE):
        plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        n = 0
        while (anchor := f"{name}-{n}" if n else name) in found:
            n += 1
        found.add(anchor)
    return found


def links(text: str) -> list[str]:
    """Where a page's links and pictures lead."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(text))


def without_comment(line: str) -> str:
    """A line of shell without the comment at its end."""
    for found in re.finditer(r"(?:^|\s)#", line):
        before = line[: found.start()]
        if before.count("'") % 2 == 0 and before.count('"') % 2 == 0:
            return before.rstrip()
    return line.rstrip()


def statements(block: str) -> Iterator[str]:
    """The commands of a block of shell."""
    kept = ""
    for line in re.sub(r"\\\n\s*", "", block).splitlines():
        bare = without_comment(line).strip()
        if not bare:
            continue
        kept = f"{kept}\n{bare}" if kept else bare
        if not (OPENS.match(kept) and not CLOSES.search(kept)) and not kept.endswith("&&"):
            yield kept
            kept = ""
    assert not kept, f"this command does not end: {kept}"


def commands() -> list[Command]:
    """Every command in a block of shell of every page, once a page."""
    found = [
        Command(path.relative_to(ROOT).as_posix(), " ".join(text.split(" ")))
        for path in pages()
        for block in re.findall(r"^```sh\n(.*?)\n```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        for text in statements(block)
    ]
    return list(dict.fromkeys(found))


def words(text: str) -> list[str]:
    """A command's words, as a shell splits them."""
    return shlex.split(text)
