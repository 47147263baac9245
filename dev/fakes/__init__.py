"""What stands in for other people's servers in tests, held to them by tests/contract."""
