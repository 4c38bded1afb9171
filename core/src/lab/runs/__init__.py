"""What lies on disk: run directories, their locks, and the runs before this one."""
