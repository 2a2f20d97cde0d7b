"""Rules whose time grows with the square of an invoice's lines, rewritten to grow with the lines.

What is the same for every line is computed once; what searches all lines for a value asks an index (xsl:key). An
expression of another shape stays as it is. By the XSD the names of a path stand nowhere else in an invoice.
"""

import re
from collections.abc import Sequence, Set
from typing import NamedTuple

from lxml import etree

_XSL = "{http://www.w3.org/1999/XSL/Transform}"
_TOKEN = re.compile(
    r"""\s*("[^"]*"|'[^']*'                        # a literal
          | [0-9]+(?:\.[0-9]*)?                     # a number
          | \$[\w.:-]+                              # a variable
          | [^\W\d][\w.-]*(?::[^\W\d][\w.-]*)?      # a name
          | //|::|!=|<=|>=|<<|>>|\.\.|\S)""",
    re.VERBOSE,
)
_ELEMENT = re.compile(r"[^\W\d][\w.-]*:[^\W\d][\w.-]*")
"""A name with a prefix; without one it could be an operator."""
_LITERAL = re.compile(r"[\"'0-9].*", re.DOTALL)
_SLASHES = ("/", "//")
_PLACED = frozenset({"position", "last", "current"})
"""Functions of which an index changes the value."""
_BRACKETS = ("(", ")", "[", "]")
_NONE: frozenset[str] = frozenset()
_PURE = frozenset(
    {
        *("abs", "boolean", "concat", "contains", "count", "distinct-values", "empty", "ends-with", "exists", "key"),
        *("lower-case", "matches", "max", "min", "normalize-space", "not", "number", "round", "starts-with", "string"),
        *("string-length", "substring", "substring-after", "substring-before", "sum", "tokenize", "translate"),
        *("upper-case", "xs:date", "xs:decimal"),
    }
)
"""Functions that read nothing but their arguments, if they have any."""


class Key(NamedTuple):
    """An index (XSLT 2.0, 16.3): the elements of the pattern `match`, by their values `use`."""

    match: str
    use: str


def make_linear(root: etree._Element) -> None:
    """Rewrite the rules of a Schematron stylesheet in place."""
    keys: dict[Key, str] = {}
    constants: dict[str, str] = {}
    declared = {node.get("name") or "" for tag in ("variable", "param") for node in root.findall(_XSL + tag)}
    functions = {node.get("name") or "" for node in root.findall(f"{_XSL}function")}
    for rule in root.findall(f"{_XSL}template"):
        if not (rule.get("mode") or "").startswith("M"):
            continue
        of_root = re.fullmatch(r"/[\w.:-]+", rule.get("match") or "")  # asked once, for less than a constant costs
        local = {node.get("name") or "": node for node in rule.iter(f"{_XSL}variable", f"{_XSL}param")}
        untyped = [name for name, node in local.items() if node.get("as") is None]
        texts = {name for name in untyped if is_text(tokens(local[name].get("select") or ""))}
        for node in rule.iter(f"{_XSL}when", f"{_XSL}if", f"{_XSL}variable"):
            attribute = "test" if "test" in node.attrib else "select"
            published = tokens(node.get(attribute) or "")
            rewritten = by_keys(published, texts, keys)
            if (
                attribute == "test"
                and not of_root
                and is_constant(rewritten, declared - local.keys(), functions, local.keys())
            ):
                name = constants.setdefault(" ".join(rewritten), f"constant-{len(constants) + 1}")
                rewritten = [f"${name}"]
            if rewritten != published:
                node.set(attribute, " ".join(rewritten))
    for key, name in keys.items():
        root.insert(0, etree.Element(f"{_XSL}key", name=name, match=key.match, use=key.use))
    for test, name in constants.items():
        root.append(etree.Element(f"{_XSL}variable", name=name, select=f"boolean({test})"))


def tokens(expression: str) -> list[str]:
    """The tokens of an XPath 2.0 expression; joined by blanks they are the same expression."""
    return _TOKEN.findall(expression)


def is_constant(test: Sequence[str], declared: Set[str], functions: Set[str] = _NONE, local: Set[str] = _NONE) -> bool:
    """Does the test read the document, and nothing of the element that is tested? False where that is not certain.

    declared: global variables. functions: those of the stylesheet. local: variables of the rule.
    """
    known, reads = set(declared), False
    operand = True  # an operand may begin here: no step of a path, no operator
    relative = [False]  # of each open bracket: is what stands in it asked of a step, and not of the tested element?
    for place, word in enumerate(test):
        before, after, second = test[place - 1] if place else "", *[*test[place + 1 : place + 3], "", ""][:2]
        if word == "current" or (word == "(" and after == ":"):  # the tested element; a comment
            return False
        if word.startswith("$"):
            if after == "in" and word[1:] not in local:
                known.add(word[1:])
            elif word[1:] not in known:
                return False
            operand = False
        elif word in ("(", "["):
            of_step = before in _SLASHES or (place > 1 and test[place - 2] in _SLASHES and before not in _BRACKETS)
            relative.append(relative[-1] or word == "[" or of_step)
            operand = True
        elif word in (")", "]"):
            relative.pop()
            operand = False
        elif word in _SLASHES:
            reads, operand = reads or operand, False
        elif before in (*_SLASHES, "@", "::") or word in ("@", "::"):
            if operand and not relative[-1]:
                return False
            operand = False
        elif not operand or word in ("+", "-"):
            operand = True
        elif _is_operand(word, after, second, functions) or relative[-1]:
            operand = False
        else:
            return False
    return reads


def _is_operand(word: str, after: str, second: str, functions: Set[str]) -> bool:
    """Is the word a literal, or does it begin a call or a binding, and nothing that is relative?"""
    if after == "(":
        return word in ("true", "false") or (word in _PURE | functions and second != ")")
    return _LITERAL.fullmatch(word) is not None or (word in ("for", "some", "every") and after.startswith("$"))


def is_text(select: Sequence[str]) -> bool:
    """Is it a path of names or a normalize-space()? Its values are compared as texts then, as those of a key are."""
    return bool(select) and _value(select, 0) == len(select)


def by_keys(test: Sequence[str], texts: Set[str], keys: dict[Key, str]) -> list[str]:
    """The same test, its searches made by keys; new keys go into `keys`, with their names. texts: variables of text."""
    result, place = list(test), 0
    known = texts | {
        word[1:]
        for place, word in enumerate(test)
        if word.startswith("$") and test[place + 1 : place + 2] == ["in"] and _is_bound_to_text(test, place + 2)
    }
    while place < len(result):
        found = _comparison(result, place, known) or _existence(result, place) or _repetition(result, place)
        if found is not None:
            name = keys.setdefault(found.key, f"key-{len(keys) + 1}")
            result[found.begin : found.end] = [f"'{name}'" if word == _KEY_NAME else word for word in found.tokens]
        place += 1
    return result


_KEY_NAME = ""


class _Search(NamedTuple):
    """What stands from `begin` to `end` is said by `tokens`, where the name of the key takes the place of _KEY_NAME."""

    begin: int
    end: int
    key: Key
    tokens: list[str]


def _comparison(test: Sequence[str], place: int, texts: Set[str]) -> _Search | None:
    """`P[A = $value and …]` at its bracket: the elements P with this value, of which … holds."""
    begin = _path_before(test, place) if test[place] == "[" else place
    use = _value(test, place + 1)
    sought = _sought(test, use + 1, texts)
    if begin == place or use == place + 1 or test[use : use + 1] != ["="] or sought == use + 1:
        return None
    end = _closing(test, place)
    rest = list(test[sought + 1 : end])
    if sought != end and (test[sought] != "and" or _has_or(rest) or not _PLACED.isdisjoint(rest)):
        return None
    path, within = list(test[begin:place]), list[str]()
    if path[0] == "..":
        path, within = path[2:], [",", ".."]
    call = ["key", "(", _KEY_NAME, ",", *test[use + 1 : sought], *within, ")"]
    if any(word.startswith("$") for word in rest):
        call += ["[", "boolean", "(", *rest, ")", "]"]
    elif rest:  # the index holds no others: a value that all lines share must not bring all of them each time
        path += ["[", "boolean", "(", " ".join(rest), ")", "]"]
    return _Search(begin, end + 1, Key("".join(path), "".join(test[place + 1 : use])), call)


def _existence(test: Sequence[str], place: int) -> _Search | None:
    """`some $each in P satisfies normalize-space($each) = normalize-space(B)`: is there a P with this value?"""
    if test[place] != "some" or test[place + 2 : place + 3] != ["in"] or test[place + 3] not in _SLASHES:
        return None
    path = _path(test, place + 4)
    condition = ["satisfies", "normalize-space", "(", test[place + 1], ")", "="]
    value = path + len(condition)
    end = _value(test, value)
    if path == place + 4 or test[path:value] != condition or test[value : value + 1] != ["normalize-space"]:
        return None
    if end == value or [*test[end : end + 1], ")"][0] != ")":
        return None
    call = ["exists", "(", "key", "(", _KEY_NAME, ",", *test[value:end], ")", ")"]
    return _Search(place, end, Key("".join(test[place + 3 : path]), "normalize-space(.)"), call)


def _repetition(test: Sequence[str], place: int) -> _Search | None:
    """`N[. = preceding::N]`, of elements N without children: does the first N with this text stand before?"""
    name = test[place - 1] if place else ""
    condition = ["[", ".", "=", "preceding", "::", name, "]"]
    if not _ELEMENT.fullmatch(name) or test[place : place + len(condition)] != condition:
        return None
    call = ["[", "key", "(", _KEY_NAME, ",", "string", "(", ".", ")", ")", "[", "1", "]", "<<", ".", "]"]
    return _Search(place, place + len(condition), Key(name, "string(.)"), call)


def _is_bound_to_text(test: Sequence[str], place: int) -> bool:
    end = _value(test, place)
    return end > place and [*test[end : end + 1], ""][0] in (",", "return", "satisfies")


def _path(test: Sequence[str], place: int) -> int:
    """Where the names joined by slashes end that begin at `place`; `place` when none does."""
    end = place
    while end < len(test) and _ELEMENT.fullmatch(test[end]):
        end += 1
        if test[end : end + 1] != ["/"]:
            return end
        end += 1
    return place


def _value(test: Sequence[str], place: int) -> int:
    """Where a path of names ends, bare or in a normalize-space(); `place` when neither begins there."""
    if test[place : place + 2] == ["normalize-space", "("]:
        begin = place + 2 + 2 * (test[place + 2 : place + 4] == [".", "/"])
        end = _path(test, begin)
        return end + 1 if end > begin and test[end : end + 1] == [")"] else place
    begin = place + 2 * (test[place : place + 2] == [".", "/"])
    end = _path(test, begin)
    return end if end > begin else place


def _sought(test: Sequence[str], place: int, texts: Set[str]) -> int:
    """Where a text ends that no step changes: `$text`, `normalize-space($any/path)`; `place` when none begins there."""
    word = test[place] if place < len(test) else ""
    if word.startswith("$"):
        return place + 1 if word[1:] in texts else place
    if word == "normalize-space" and [each[0] for each in test[place + 2 : place + 4]] == ["$", "/"]:
        end = _path(test, place + 4)
        return end + 1 if end > place + 4 and test[end : end + 1] == [")"] else place
    return place


def _path_before(test: Sequence[str], place: int) -> int:
    """Where the path that ends at `place` begins, absolute or `../name`; `place` when it is another one."""
    begin = place
    while begin > 1 and _ELEMENT.fullmatch(test[begin - 1]) and test[begin - 2] in _SLASHES:
        begin -= 2
    before = test[begin - 1] if begin else ""
    if before == ".." and test[begin : begin + 1] == ["/"] and place == begin + 2:
        return begin - 1 if begin < 2 or test[begin - 2] not in _SLASHES else place
    goes_on = before.startswith("$") or before in (")", "]", ".", "..", "*") or _ELEMENT.fullmatch(before)
    return place if goes_on else begin


def _closing(test: Sequence[str], place: int) -> int:
    """Where the bracket closes that opens at `place`."""
    depth = 0
    for end in range(place, len(test)):
        depth += (test[end] in ("(", "[")) - (test[end] in (")", "]"))
        if depth == 0:
            return end
    raise ValueError("a bracket that does not close")


def _has_or(condition: Sequence[str]) -> bool:
    """Does an `or` stand outside of brackets, which binds less than the `and` before?"""
    depth = 0
    for word in condition:
        depth += (word in ("(", "[")) - (word in (")", "]"))
        if word == "or" and depth == 0:
            return True
    return False
