//! The loop: observe, decide, record, perform, tell.
