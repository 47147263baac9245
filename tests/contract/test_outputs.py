"""What blocks have returned, as the fake and a real Mage show it, and what is made of it."""

from __future__ import annotations

import pytest
from contract.targets import RUN_SECONDS
from contract.test_standstill import write_pipeline
from contract.tested import VERSION

from airflow_provider_mage.api.errors import MageError
from fakes.outputs import Table

BLOCK = """
import pandas as pd

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def returns(*args, **kwargs):
    return {code}
"""

RETURNED = {
    # name: (what the block returns, the same for the fake, what comes back)
    "a_dict": ('{"a": 1, "b": [1, {"c": None}], "d": "x"}', {"a": 1, "b": [1, {"c": None}], "d": "x"}, ...),
    "a_list": ("[1, 2, 3]", [1, 2, 3], ...),
    "a_tuple": ('(1, "x")', (1, "x"), [1, "x"]),
    "dicts": ('[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}], ...),
    "an_int": ("7", 7, ...),
    "a_float": ("-1.5", -1.5, ...),
    "a_truth": ("True", True, ...),
    "a_text": ('"hello"', "hello", ...),
    "nothing": ("None", None, ...),
    "an_empty_list": ("[]", [], None),
    "a_table": (
        'pd.DataFrame({"country": ["DE", "FR"], "amount": [1.5, None]})',
        Table(("country", "amount"), (("DE", 1.5), ("FR", None))),
        [{"country": "DE", "amount": 1.5}, {"country": "FR", "amount": None}],
    ),
    "a_row": (
        'pd.DataFrame({"country": ["DE"]})',
        Table(("country",), (("DE",),)),
        {"country": "DE"},
    ),
    "an_empty_table": ('pd.DataFrame({"country": []})', Table(("country",)), []),
    "tables": (
        '[pd.DataFrame({"n": [1, 2]}), pd.DataFrame({"n": [3, 4]})]',
        [Table(("n",), ((1,), (2,))), Table(("n",), ((3,), (4,)))],
        [[{"n": 1}, {"n": 2}], [{"n": 3}, {"n": 4}]],
    ),
}
TOO_LARGE = ('pd.DataFrame({"n": range(1001)})', Table(("n",), tuple((number,) for number in range(1001))))


@pytest.fixture(scope="module")
def run_ids():
    """The runs of the pipeline, by the server that they are on."""
    return {}


@pytest.fixture
def client(mage, connect):
    return connect(mage, oauth_token=mage.owner.headers["OAUTH-TOKEN"])


@pytest.fixture
def run_id(mage, wire, run_ids):
    """The one run of a pipeline whose blocks return each kind of thing."""
    if mage.is_fake in run_ids:
        return run_ids[mage.is_fake]
    codes = {name: (code, of_fake) for name, (code, of_fake, _) in RETURNED.items()} | {
        "too_large": TOO_LARGE
    }
    if mage.is_fake:
        returns = {name: of_fake for name, (_, of_fake) in codes.items()}
        mage.server.pipeline("returning", list(codes), returns=returns, polls_to_finish=3)
    else:
        folder = mage.server.project_dir
        (folder / "custom").mkdir(exist_ok=True)
        for name, (code, _) in codes.items():
            (folder / "custom" / f"{name}.py").write_text(BLOCK.format(code=code))
        blocks = [{"uuid": name, "name": name, "type": "custom", "language": "python"} for name in codes]
        write_pipeline(folder, "returning", blocks)
    run_ids[mage.is_fake] = wire.run(wire.schedule("returning"))
    wire.wait_for(run_ids[mage.is_fake], "completed")
    return run_ids[mage.is_fake]


@pytest.mark.timeout(RUN_SECONDS + 60)
@pytest.mark.parametrize("name", RETURNED)
def test_output_comes_back_as_what_it_was(client, run_id, name):
    _, returned, value = RETURNED[name]

    assert client.get_block_output(run_id, name) == (returned if value is ... else value)


def test_table_of_more_than_a_thousand_rows_is_not_all_there(client, run_id):
    with pytest.raises(MageError, match="a table of 1001 rows, of which Mage sends 1000"):
        client.get_block_output(run_id, "too_large")


def test_unknown_block_run_has_no_output(wire):
    assert wire.get("/block_runs/999999/outputs").json()["outputs"] == []


def test_dictionary_is_a_table_of_one_row_or_json(mage, wire, client, run_id):
    [block] = [one for one in client.get_pipeline_run(run_id).block_runs if one.block_uuid == "a_dict"]
    [output] = wire.get(f"/block_runs/{block.id}/outputs").json()["outputs"]

    if VERSION.shows_tables:
        assert (output["type"], output["shape"]) == ("table", [1, 3])
        assert output["sample_data"] == {"columns": ["a", "b", "d"], "rows": [[1, [1, {"c": None}], "x"]]}
    else:
        assert output["text_data"].startswith("{")


@pytest.mark.skipif(VERSION.number != "0.9.80", reason="observed on 0.9.80 only")
def test_number_of_rows_cannot_be_asked_for(mage, wire, client, run_id):
    """The real server compares it, as a text, with a number."""
    if mage.is_fake:
        pytest.skip("the fake takes no such parameter")
    [block] = [one for one in client.get_pipeline_run(run_id).block_runs if one.block_uuid == "a_table"]

    assert wire.get(f"/block_runs/{block.id}/outputs?sample_count=5").json()["error"]["code"] == 500
