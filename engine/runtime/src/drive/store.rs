//! The store's calls: each with a deadline; what did not answer is unknown.

use crate::{
    Input,
    ports::{STORE_DEADLINE, Swap, SwapRequest},
};

use super::Driver;

/// What is said of a store that was too late.
const SILENT: &str = "the store did not answer";

// === impl Driver ===

impl Driver {
    pub(super) fn load(&mut self) {
        let call = self.ports.store.load(self.core.id());
        let late = Input::Loaded(Err(SILENT.to_owned()));
        self.spawn_within(STORE_DEADLINE, late, async move { Input::Loaded(call.await) });
    }

    pub(super) fn swap(&mut self, request: SwapRequest) {
        self.swapping = true;
        let call = self.ports.store.swap(self.core.id(), request);
        let late = Input::Swapped(Swap::Unknown(SILENT.to_owned()));
        self.spawn_within(STORE_DEADLINE, late, async move { Input::Swapped(call.await) });
    }

    pub(super) fn delete(&mut self) {
        let call = self.ports.store.delete(self.core.id());
        self.tasks.spawn(async move {
            let _ = tokio::time::timeout(STORE_DEADLINE, call).await;
        });
    }
}
