"""Write the list of all that a release needs: CycloneDX, as JSON.

Usage: SOURCE_DATE_EPOCH=1700000000 python -m scripts.sbom dist/sbom.cdx.json dist/*.whl

Listed is what is installed here of the run-time dependencies and of every extra that users install,
with versions, licences and who needs whom; a package that only an extra needs is optional. The same
packages, files and moment give the same bytes.
"""

import os
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import Distribution
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import NormalizedName, canonicalize_name

import forget_audit
from forget_audit.digests import file_digest
from scripts.closure import closure, direct, extras, project, required
from scripts.licences import judge

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "forget-audit.sbom")


def bill(files: Sequence[Path], moment: int) -> str:
    """Return the list as JSON.

    Args:
        files: Of the release; their SHA-256 stand in it.
        moment: Seconds since 1970.
    """
    always, everything = closure(direct()), closure(direct(extras()))
    ours = _ours(files)
    parts = {name: _part(one, optional=name not in always) for name, one in everything.items()}
    whole = Bom(
        components=parts.values(),
        metadata=BomMetaData(component=ours, timestamp=datetime.fromtimestamp(moment, UTC)),
    )
    whole.register_dependency(
        ours, [parts[canonicalize_name(one.name)] for one in direct(extras())]
    )
    asked = _asked(everything)
    for name, one in everything.items():
        whole.register_dependency(parts[name], _needed(one, asked[name], parts))
    named = [str(part.purl) for part in parts.values()] + [file_digest(file) for file in files]
    whole.serial_number = uuid.uuid5(NAMESPACE, "\n".join([*named, str(moment)]))
    return str(JsonV1Dot6(whole).output_as_string(indent=2)) + "\n"


def _ours(files: Sequence[Path]) -> Component:
    version = forget_audit.__version__
    purl = PackageURL(type="pypi", name="forget-audit", version=version)
    return Component(
        name="forget-audit",
        version=version,
        type=ComponentType.APPLICATION,
        purl=purl,
        bom_ref=str(purl),
        licenses=[LicenseFactory().make_from_string(project()["license"])],
        external_references=[
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(file.name),
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file_digest(file))],
            )
            for file in sorted(files)
        ],
    )


def _part(found: Distribution, *, optional: bool) -> Component:
    finding = judge(found)
    purl = PackageURL(type="pypi", name=finding.name, version=finding.version)
    return Component(
        name=finding.name,
        version=finding.version,
        type=ComponentType.LIBRARY,
        purl=purl,
        bom_ref=str(purl),
        scope=ComponentScope.OPTIONAL if optional else ComponentScope.REQUIRED,
        licenses=[LicenseFactory().make_from_string(finding.licence)],
    )


def _asked(everything: Mapping[NormalizedName, Distribution]) -> dict[NormalizedName, set[str]]:
    """Return which extras of each distribution are asked for, by us or by another of them."""
    asked: dict[NormalizedName, set[str]] = {name: set() for name in everything}
    waiting = [*direct(extras()), *(line for one in everything.values() for line in required(one))]
    while waiting:
        line = waiting.pop()
        name = canonicalize_name(line.name)
        if not line.extras <= asked[name]:
            asked[name] |= line.extras
            waiting += required(everything[name], asked[name])
    return asked


def _needed(
    one: Distribution, options: Iterable[str], parts: Mapping[NormalizedName, Component]
) -> list[Component]:
    names = {canonicalize_name(line.name) for line in required(one, options)}
    return [parts[name] for name in sorted(names & parts.keys())]


def main() -> None:
    """Write the list to the first file named, of the release that the others are."""
    out, *files = (Path(name) for name in sys.argv[1:])
    out.write_text(bill(files, int(os.environ["SOURCE_DATE_EPOCH"])), "utf-8")
    sys.stdout.write(f"{out}\n")


if __name__ == "__main__":
    main()
