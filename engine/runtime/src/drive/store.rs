//! The store's calls: each with a deadline; what did not answer is unknown.

use crate::{
    Input,
    ports::{STORE_DEADLINE, Stored, Swap, SwapRequest},
};

use super::Driver;

// === impl Driver ===

impl Driver {
    pub(super) fn load(&mut self) {
        let call = self.ports.store.load(self.core.id());
        let late = Input::Loaded(Err("the store did not answer".to_owned()));
        self.spawn(late, async move {
            let loaded: Result<Option<Stored>, String> =
                match tokio::time::timeout(STORE_DEADLINE, call).await {
                    Ok(loaded) => loaded,
                    Err(_) => Err("the store did not answer".to_owned()),
                };
            Input::Loaded(loaded)
        });
    }

    pub(super) fn swap(&mut self, request: SwapRequest) {
        self.swapping = true;
        let call = self.ports.store.swap(self.core.id(), request);
        let late = Input::Swapped(Swap::Unknown("the store did not answer".to_owned()));
        self.spawn(late, async move {
            let answer = match tokio::time::timeout(STORE_DEADLINE, call).await {
                Ok(answer) => answer,
                Err(_) => Swap::Unknown("the store did not answer".to_owned()),
            };
            Input::Swapped(answer)
        });
    }

    pub(super) fn delete(&mut self) {
        let call = self.ports.store.delete(self.core.id());
        self.tasks.spawn(async move {
            let _ = tokio::time::timeout(STORE_DEADLINE, call).await;
        });
    }
}
