"""The site: links out of docs/ get a place, nothing is fetched, and what leads nowhere is found."""

import re
from pathlib import Path
from typing import Any

import pytest

from scripts import site_checks
from scripts.blocks import Block, BlockError, blocks, commands, play, refuse_python, shell
from scripts.tables import ROOT

yaml = pytest.importorskip("yaml", reason="PyYAML is missing: pip install pyyaml")
mkdocs = pytest.importorskip("mkdocs", reason="mkdocs is missing: pip install mkdocs-material")
PAGE_OUTSIDE = """\
[d](../../examples/e.py) [f](../../data)

| a |
| --- |
| b |

```sh
[x](../no.md)
```
"""
# A theme that shows the content, and titles and addresses of the navigation in order.
THEME = """\
{{ page.content }}
NAV{% for item in nav.pages -%}
{{ " " }}{{ item.title ~ ":" if item.title and item.parent }}{{ item.url }}
{%- endfor %} END
"""
HEAD = '<link rel="canonical" href="https://example.org/"><link rel="stylesheet" href="a.css">'


def settings() -> dict[str, Any]:
    """What mkdocs.yml says, without what only MkDocs can make of it."""
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    found: dict[str, Any] = yaml.safe_load(re.sub(r"!!python\S+", "", text))
    return found


def test_nothing_is_fetched_and_every_warning_counts() -> None:
    found = settings()
    assert found["theme"]["font"] is False
    assert not {"repo_url", "edit_uri"} & set(found)
    assert not {"analytics", "consent", "social"} & set(found["extra"])
    for name in [*found["extra_css"], *found["extra"]["polyfills"]]:
        assert (ROOT / "docs" / name).is_file()
    kinds = {**found["validation"]["nav"], **found["validation"]["links"]}
    assert set(kinds.values()) == {"warn"}


def names(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [name for part in parts for name in names(part)]


def test_every_page_has_one_place_in_the_navigation() -> None:
    placed = names(settings()["nav"])
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")]
    cards = [name for name in pages if name.startswith(("methods/", "attacks/"))]
    assert sorted(placed) == sorted(set(pages) - set(cards))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    files = {
        "docs/index.md": "[a](../CONTRIBUTING.md#set-up) [b](sub/page.md) [c](https://x.org/y)\n",
        "docs/sub/page.md": PAGE_OUTSIDE,
        "docs/methods.md": "# Methods\n",
        "docs/methods/one.md": "<!-- made -->\n\n# The one\n",
        "docs/attacks.md": "# Attacks\n",
        "docs/attacks/two.md": "# Two\n",
        "CONTRIBUTING.md": "# Set up\n\n[g](docs/sub/page.md) [h](data/t.txt)\n",
        "examples/e.py": "print('~~~')\n",
        "data/t.txt": "text\n",
        "data/u.md": "[i](../docs/index.md)\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def built(repository: Path) -> Path:
    """Build the site of a small repository with the hook, and return its folder."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    hook = ROOT / "scripts" / "outside_pages.py"
    lines = f"site_name: x\nuse_directory_urls: false\nhooks: [{hook}]\ntheme: null_theme\n"
    theme = repository / "theme"
    theme.mkdir()
    (theme / "main.html").write_text(THEME)
    lines = lines.replace("null_theme", f"{{name: null, custom_dir: {theme}}}")
    nav = "nav: [index.md, sub/page.md, A: methods.md, B: [C: attacks.md]]\n"
    (repository / "mkdocs.yml").write_text(lines + nav)
    build(load_config(str(repository / "mkdocs.yml"), strict=True))
    return repository / "site"


def linked(site: Path, page: str) -> list[str]:
    site_checks.read.cache_clear()
    return site_checks.read(site / page).linked


def test_what_pages_link_to_outside_gets_a_place_on_the_site(repository: Path) -> None:
    site = built(repository)
    assert linked(site, "index.html") == [
        "repository/CONTRIBUTING.html#set-up", "sub/page.html", "https://x.org/y"
    ]  # fmt: skip
    page = linked(site, "sub/page.html")
    assert page == ["../repository/examples/e.py.html", "../repository/data/contents.html"]
    assert "[x](../no.md)" in (site / "sub/page.html").read_text("utf-8")
    moved = linked(site, "repository/CONTRIBUTING.html")
    assert moved == ["../sub/page.html", "../files/data/t.txt"]
    assert linked(site, "repository/data/contents.html") == ["../../files/data/t.txt", "u.html"]
    assert linked(site, "repository/data/u.html") == ["../../index.html"]
    assert "print('~~~')" in (site / "repository/examples/e.py.html").read_text("utf-8")
    assert (site / "files/data/t.txt").read_text("utf-8") == "text\n"
    assert list(site_checks.broken(site)) == []
    index = (site / "search/search_index.js").read_text("utf-8")
    assert index.startswith('var __index = {"config"')
    assert '<table tabindex="0">' in (site / "sub/page.html").read_text("utf-8")


def test_cards_join_the_navigation_under_their_titles(repository: Path) -> None:
    text = (built(repository) / "index.html").read_text("utf-8")
    places = re.search(r"NAV (.*) END", text)
    assert places is not None
    assert places[
        1
    ] == "index.html sub/page.html Methods:methods.html The one:methods/one.html " + (
        "Attacks:attacks.html Two:attacks/two.html"
    )


def test_a_link_out_of_the_folder_that_leads_nowhere_ends_the_build(
    repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from mkdocs.exceptions import Abort

    (repository / "docs/index.md").write_text("[a](../gone.md)\n")
    with pytest.raises(Abort):
        built(repository)
    assert "docs/index.md: there is no gone.md" in caplog.text


@pytest.fixture
def site(tmp_path: Path) -> Path:
    files = {
        "index.html": f'{HEAD}<h1 id="top">x</h1><a href="b.html#part">b</a><img src="data:,x">',
        "b.html": '<p id="part"><a href="index.html#top">a</a><a href="https://x.org">out</a>',
        "404.html": '<a href="/index.html">home</a>',
        "a.css": "p { background: url(p.svg) } q { background: url(data:,x) }",
        "p.svg": "<svg/>",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def problems(site: Path) -> list[str]:
    site_checks.read.cache_clear()
    return [*site_checks.remote(site), *site_checks.broken(site), *site_checks.unreachable(site)]


def test_a_good_site_has_no_problems(site: Path) -> None:
    assert problems(site) == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("b.html", '<script src="https://x.org/a.js"></script>', "b.html: https://x.org/a.js"),
        ("b.html", '<script src="//x.org/a.js"></script>', "b.html: //x.org/a.js"),
        ("b.html", '<link rel="preconnect" href="https://x.org">', "b.html: https://x.org"),
        ("b.html", '<img srcset="https://x.org/a.png">', "b.html: https://x.org/a.png"),
        ("b.html", "<style>@import 'https://x.org/a.css'</style>", "b.html: https://x.org/a.css"),
        ("b.html", "<p style=\"background: url('https://x.org/a')\">", "b.html: https://x.org/a"),
        ("b.html", '<iframe src="https://x.org"></iframe>', "b.html: https://x.org"),
        ("a.css", "@font-face { src: url(https://x.org/f.woff2) }", "a.css: https://x.org/f.woff2"),
        ("b.html", '<a href="gone.html">x</a>', "b.html: gone.html"),
        ("b.html", '<a href="index.html#gone">x</a>', "b.html: index.html#gone"),
        ("b.html", '<img src="gone.png">', "b.html: gone.png"),
        ("404.html", '<a href="/gone.html">x</a>', "404.html: /gone.html"),
        ("c.html", "<p>nobody comes here</p>", "c.html"),
    ],
)
def test_what_is_wrong_with_a_site_is_found(site: Path, name: str, text: str, said: str) -> None:
    path = site / name
    path.write_text((path.read_text("utf-8") if path.exists() else "") + text, encoding="utf-8")
    assert said in problems(site)


PAGE = """\
```toml title="a/b.toml"
x = 1
```

```sh
cat a/b.toml
```

<!-- not run: needs a network -->

```sh
false
```

```sh
make everything
```

```python
print(1)
```
"""


def test_blocks_are_read_and_played_in_order(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    found = blocks(page, tmp_path)
    assert [block.title for block in found] == ["a/b.toml", "", "", "", ""]
    assert [bool(block.reason) for block in found] == [False, False, True, False, False]
    assert found[2].reason == "needs a network"
    seen: list[str] = []
    printed = play(found, tmp_path, {"PATH": "/usr/bin:/bin"}, lambda b: seen.append(b.name))
    assert printed == ["x = 1\n"]
    assert seen == ["page.md-4"]
    with pytest.raises(BlockError, match=r"page.md-4: expected commands and files"):
        refuse_python(found[4])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("false\ntrue\n", "1 false"),
        ("exit 3\n", "3 at the end"),
        ("echo 'Traceback (most recent call last)'\n", "a traceback"),
        ("forget-audit certify plan.toml\n", "4 forget-audit certify"),
        ("forget-audit list methods | cat\nforget-audit list x\n", "1 forget-audit list x"),
        ("echo $nothing\n", "127 at the end"),
    ],
)
def test_a_block_that_fails_is_found(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BlockError, match=re.escape(said)):
        run('[ "$1" = certify ] && exit 4\n[ "$2" != x ]\n', text, tmp_path)


def test_an_answer_is_no_failure(tmp_path: Path) -> None:
    always = "exit 3\n"
    assert run(always, "forget-audit certify plan.toml\necho on\n", tmp_path) == "on\n"
    assert run(always, "forget-audit verify audit\n", tmp_path) == ""
    text = "code=0\nforget-audit power x || code=$?\necho $code\n"
    assert run(always, text, tmp_path) == "3\n"


def run(program: str, text: str, folder: Path) -> str:
    """Run a block where `forget-audit` is a script."""
    path = folder / "bin" / "forget-audit"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{program}", encoding="utf-8")
    path.chmod(0o755)
    block = Block(page="p.md", number=0, language="sh", marks="", text=text)
    return shell(block, folder, {"PATH": f"{path.parent}:/usr/bin:/bin"})


def test_commands_are_found_among_other_words() -> None:
    text = (
        'A=1 forget-audit keys new --name "A B" > x\nls\nmake a b # c\nforget-audit list x | cat\n'
    )
    assert commands(text) == [
        ["forget-audit", "keys", "new", "--name", "A_B"],
        ["make", "a", "b"],
        ["forget-audit", "list", "x"],
    ]
    assert commands("forget-audit report a \\\n  --format html && true\n") == [
        ["forget-audit", "report", "a", "--format", "html"]
    ]
