"""The published Schematron stylesheets, compiled from their own files as they are."""

import re
from collections.abc import Sequence
from typing import Any

from saxonche import PySaxonApiError, PySaxonProcessor

from relay.facturx import schematron
from relay.facturx.invoice import rules_folder
from relay.inspection import Finding

_SAXON = PySaxonProcessor(license=False)


_COMPILED: dict[str, Any] = {}


def findings(path: str, xml: str) -> list[Finding] | None:
    """Every finding in order, with the values of the invoice in its text; None when the stylesheet itself fails.

    It may fail only because of the documents before, from which Saxon learns: then a new one is asked.
    """
    node = _SAXON.parse_xml(xml_text=xml)
    for anew in (False, True):
        if anew or path not in _COMPILED:
            compiler = _SAXON.new_xslt30_processor()
            _COMPILED[path] = compiler.compile_stylesheet(stylesheet_file=str(rules_folder() / path))
        try:
            return list(schematron.read_svrl(_COMPILED[path].transform_to_string(xdm_node=node), "rules"))
        except PySaxonApiError:
            continue
    return None


def agree(found: Sequence[Finding], published: Sequence[Finding]) -> bool:
    """Are they the same in the same order, once repetitions are left out and … stands for what the invoice says?"""
    patterns = {each: r"\s*.*?\s*".join(re.escape(part.strip()) for part in each.text.split("…")) for each in found}
    first_seen: dict[Finding, None] = {}
    for said in published:
        same = [each for each in found if (each.rule, each.severity) == (said.rule, said.severity)]
        fitting = [each for each in same if re.fullmatch(patterns[each], said.text, re.DOTALL)]
        if not fitting:
            return False
        first_seen.setdefault(fitting[0])
    return list(first_seen) == list(found)
