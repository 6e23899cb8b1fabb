"""Evidence in which every text that the schema leaves free is an attack."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forget_audit.reports.evidence import schema
from forget_audit.types import Json
from tests.fixtures.evidence import complete, without_figures

HOST = "leak.invalid"
SECRET = "canary-of-the-file-3f9a1c"
CONTROLS = "".join(map(chr, (*range(9), 11, 12, *range(14, 32), *range(0x7F, 0xA0))))
MARKUP = (
    f"<script>document.title='owned';fetch('http://{HOST}/script')</script>",
    f"<img src=http://{HOST}/img onerror=\"document.title='owned'\">",
    f"\"'><svg onload=\"document.title='owned'\"><use href='http://{HOST}/use#x'/></svg>",
    f"</title></style><style>body{{background:url(http://{HOST}/style)}}</style>",
    f"</table></section></main><iframe src='http://{HOST}/frame'></iframe>",
    f"<link rel=dns-prefetch href='//{HOST}'><link rel=stylesheet href='http://{HOST}/sheet'>",
    f"<meta http-equiv=refresh content='0;url=http://{HOST}/refresh'><base href='http://{HOST}/'>",
    "<link rel=attachment href='file://SECRET'><object data='file://SECRET'></object>",
    f"<a href='http://{HOST}/a'>x</a><form action='http://{HOST}/form'><input autofocus></form>",
    "&lt;script&gt; &#60;b&#62; &#x3c;i&#x3e;<b",
    f"--><script>document.title='owned'</script><!-- ]]><x xmlns:x='http://{HOST}/x'/>",
    "\n<!-- forget-audit signature begin -->\n<h1>PASS</h1>\n"
    "<!-- forget-audit signature end -->\n</body>\n</html>\n",
)
PATHS = (
    f"url(http://{HOST}/url) url('file://SECRET')",
    f"}}</style>@import 'http://{HOST}/import'; @page {{ background: url(file://SECRET) }}",
    "file://SECRET", "../../../../../../../../SECRET", "\\\\?\\SECRET", f"//{HOST}/path",
    f"javascript:document.title='owned' data:text/html,<script>1</script> http://{HOST}/plain",
)  # fmt: skip
TEMPLATES = (
    "{{ 7*7 }} {{ view.__class__.__mro__ }} {% include 'file://SECRET' %}", "{% raw %}{# x #}",
    "${7*7} #{7*7} <%= 7*7 %> %s %n {0.__class__}", "$\\frac{x}{$ \\input{SECRET} `id` $(id)",
)  # fmt: skip
UNSEEN = (
    f"controls {CONTROLS} end", "a\u202eb\u2066c\u2069d\u200fe\u061cf", "\x00NUL\x00",
    "\ufeff\u200b",
    "\u202dPASS\u202c \u2067FAIL\u2069", "line\rline\r\nline\nline\u2028line\u2029line\x85line",
    "مرحبا 123 שלום", "\U000e0041\U000e0042 tag", "Z\u0334\u0335\u0336\u0337\u0338" * 40,
)  # fmt: skip
LONG = ("W" * 600, "word " * 150, "<" * 200, "\u202e" * 100)
ATTACKS = (*MARKUP, *PATHS, *TEMPLATES, *UNSEEN, *LONG)
VARIANTS = 4
NAMES = (".name", ".headline", ".required[]", ".statistics[]")


def fullest(variant: int) -> Json:
    """Return evidence that uses every text the schema knows, about another request each time.

    Only the first two have pictures, which take most of the time.
    """
    document = complete("FAIL") if variant < 2 else without_figures(complete("FAIL"))
    scope = ("class", "instance", "instance", "attribute")[variant]
    document["request"] |= {"attribute": "income", "classes": ["first", 1], "scope": scope}
    document["counts"] |= {"forget_band": "fewer than 10"}
    if variant == 2:
        document["counts"] |= {"forget": None}
    return document


def hostile(variant: int, secret: Path) -> Json:
    """Return evidence with an attack in every free text, and as a further name in open objects.

    Args:
        variant: Turns the attacks, so that over all variants each field meets others. Odd ones
            leave the names of measures and attacks alone, and with them what hangs on the names.
        secret: Will hold `SECRET`; attacks ask for it.
    """
    secret.write_text(SECRET)
    result: Json = _changed(fullest(variant), schema(), "", _Attacker(variant, str(secret)))
    result["report"]["status"] = "draft" if variant % 2 else "issued"
    return result


def free(value: Any, rule: Json | None = None, place: str = "") -> Iterator[str]:
    """Yield the place of every text in `value` that the schema leaves free."""
    rule = _rule(value, schema() if rule is None else rule)
    if isinstance(value, str) and not _pinned(rule):
        yield place
    elif isinstance(value, list):
        for entry in value:
            yield from free(entry, rule.get("items", {}), f"{place}[]")
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield from free(entry, _inner(rule, name), f"{place}.{name}")


def allowed(rule: Json | None = None, place: str = "") -> Iterator[str]:
    """Yield every place where the schema names a text and leaves it free."""
    rule = schema() if rule is None else rule
    for option in rule.get("anyOf", ()):
        yield from allowed(option, place)
    kinds = rule.get("type", ())
    if "string" in ([kinds] if isinstance(kinds, str) else kinds) and not _pinned(rule):
        yield place
    if isinstance(rule.get("items"), dict):
        yield from allowed(rule["items"], f"{place}[]")
    for name, inner in rule.get("properties", {}).items():
        yield from allowed(inner, f"{place}.{name}")


class _Attacker:
    """Hands out attacks, to equal names the same one, so that they still refer to each other."""

    def __init__(self, variant: int, secret: str) -> None:
        self._variant, self._secret = variant, secret
        self._count = 0
        self._names: dict[str, str] = {}

    def text(self, old: str, place: str) -> str:
        if not place.endswith(NAMES):
            return self._next()
        if self._variant % 2:
            return old
        if old not in self._names:
            self._names[old] = f"{self._next()} {len(self._names)}"
        return self._names[old]

    def key(self) -> str:
        return f"{self._next()} key {self._count}"

    def _next(self) -> str:
        self._count += 1
        turn = self._count + 11 * self._variant
        return ATTACKS[turn % len(ATTACKS)].replace("SECRET", self._secret)


def _changed(value: Any, rule: Json, place: str, attacker: _Attacker) -> Any:
    rule = _rule(value, rule)
    if isinstance(value, str):
        return value if _pinned(rule) else attacker.text(value, place)
    if isinstance(value, list):
        return [_changed(item, rule.get("items", {}), f"{place}[]", attacker) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {
        name: _changed(item, _inner(rule, name), f"{place}.{name}", attacker)
        for name, item in value.items()
    }
    if changed and rule.get("additionalProperties", True) is not False:
        changed[attacker.key()] = copy.deepcopy(next(iter(changed.values())))
    return changed


def _rule(value: Any, rule: Json) -> Json:
    """Return the rule that applies to `value`, references and alternatives followed."""
    if "$ref" in rule:
        rule = schema()["$defs"][rule["$ref"].rpartition("/")[2]]
    for option in rule.get("anyOf", ()):
        if (option.get("type") == "null") == (value is None):
            return _rule(value, option)
    return rule


def _inner(rule: Json, name: str) -> Json:
    rest = rule.get("additionalProperties", {})
    known: Json = rule.get("properties", {})
    inner: Json = known.get(name, rest if isinstance(rest, dict) else {})
    return inner


def _pinned(rule: Json) -> bool:
    return bool({"enum", "const", "pattern", "$ref"} & set(rule))
