"""How the versions of mage-ai differ in what the client sees; tests/contract runs against each of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Version:
    """
    One version of mage-ai.

    :param invalid_api_key_code: The code, and HTTP status, of ``invalid_api_key``.
    :param invalid_record_code: The code of ``record_invalid``.
    :param knows_http_error_codes: Whether ``_http_error_codes`` does anything.
    :param tells_process_ids: Whether ``/status`` has the ids of the server's processes.
    :param lists_errors: Whether the texts of an exception are in lists, in a log.
    :param shows_tables: Whether a dictionary that a block returns is shown as a table, and not as JSON.
    :param tells_repo_path: Whether runs in lists have ``repo_path``.
    """

    number: str
    invalid_api_key_code: int = 401
    invalid_record_code: int = 400
    knows_http_error_codes: bool = True
    tells_process_ids: bool = True
    tells_repo_path: bool = True
    shows_tables: bool = True
    lists_errors: bool = False


VERSIONS = {
    "0.9.70": Version(
        "0.9.70",
        invalid_api_key_code=403,
        invalid_record_code=402,
        knows_http_error_codes=False,
        tells_process_ids=False,
        tells_repo_path=False,
        shows_tables=False,
        lists_errors=True,
    ),
    "0.9.80": Version("0.9.80"),
}
