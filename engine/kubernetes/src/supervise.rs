//! Tasks that must not end: one that panics is counted, told and begun anew.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;

/// How soon a task that panicked begins anew.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs what `begin` makes until that ends by itself.
pub(crate) async fn supervise<F>(
    what: &'static str,
    panics: Arc<AtomicU64>,
    mut begin: impl FnMut() -> F,
) where
    F: Future<Output = ()>,
{
    while AssertUnwindSafe(begin()).catch_unwind().await.is_err() {
        panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!("{what} panicked; it begins anew");
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_panics_is_counted_and_begins_anew_until_it_ends_by_itself() {
        let panics = Arc::new(AtomicU64::new(0));
        let mut begun = 0;
        let task = supervise("a test", panics.clone(), || {
            begun += 1;
            let last = begun == 3;
            async move { assert!(last, "it panics twice") }
        });
        task.await;
        assert_eq!((begun, panics.load(Ordering::Relaxed)), (3, 2));
    }
}
