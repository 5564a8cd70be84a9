//! The shell in a cluster.
