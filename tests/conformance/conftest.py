"""The requests and originals that conformance shares."""

from tests.fixtures.requests import (  # noqa: F401 found by pytest under these names
    attribute_case,
    class_case,
    instance_case,
    labels_case,
    logged,
    subclass_case,
    train,
)
