"""For all tests: a report shows what the servers wrote while its test ran."""

pytest_plugins = ["server_logs"]
