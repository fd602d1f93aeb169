"""Runtime environments: what Weft does in its own way, which the oracle does not."""

from __future__ import annotations

import pytest
from conftest import ORACLE

if ORACLE:
    pytest.skip("Weft's own", allow_module_level=True)


@pytest.mark.parametrize(("field", "says"), [("conda", "py_executable"), ("image_uri", "weft start"), ("wombat", "there are env_vars")])
def test_what_is_not_there_says_what_to_use(ray, field, says):
    with pytest.raises(NotImplementedError, match=says):
        ray.remote(lambda: None).options(runtime_env={field: "x"}).remote()
