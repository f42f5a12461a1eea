"""Workers beside the main thread: processes that call functions on batches of values, and threads that run calls."""
