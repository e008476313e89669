"""Results of steps, shared by checkouts and machines: keys, path sets, entries and stores."""
