"""Views of the evidence for people and programs: HTML, PDF, attestations.

Nothing here may import torch: a report is rendered and verified on machines without it.
"""

if __name__ != "forget_audit.reports":
    raise ImportError("import forget_audit.reports, not reports")
