//! The odd cases that need no server: settings, targets, and what a socket's errors become.
