"""What a process tells about itself: log lines, figures and traces."""
