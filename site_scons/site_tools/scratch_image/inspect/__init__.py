"""The finished image, looked at: its test, seccomp profile, bill of materials and report."""
