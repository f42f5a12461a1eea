"""Where slow work runs: threads, coroutines, processes, and the schedulers of RxPY."""
