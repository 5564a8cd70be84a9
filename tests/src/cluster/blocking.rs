//! Waiting for what is asynchronous, in a test with or without a runtime.

use std::{panic::resume_unwind, thread};

/// Lives through something on a runtime of its own, so that it may be called within another one.
pub(crate) fn blocking<T: Send>(work: impl Future<Output = T> + Send) -> T {
    blocking_with(|| work)
}

/// The same for what is not to be sent: it is made where it lives.
pub(crate) fn blocking_with<T: Send, F: Future<Output = T>>(work: impl FnOnce() -> F + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(work())
    };
    let joined = thread::scope(|scope| scope.spawn(run).join());
    joined.unwrap_or_else(|panic| resume_unwind(panic))
}
