//! The embedded store as the loop's port.

use futures::{FutureExt, future::BoxFuture};
use haldane_model::{JournalEntry, RolloutId};
use haldane_runtime::{
    ports::{self, Journal, STORE_DEADLINE, SwapRequest},
    trace::Packed,
};

use crate::store::{Page, StoreHandle, StoredEntry, Swap, Write};

/// The embedded store, seen through the loop's port.
#[derive(Clone, Debug)]
pub struct Kept(pub StoreHandle);

impl ports::Store for Kept {
    fn list(&self) -> BoxFuture<'static, Result<Vec<RolloutId>, String>> {
        let store = self.0.clone();
        async move {
            let listed = store.list(STORE_DEADLINE).await.map_err(|error| error.message)?;
            Ok(listed.into_iter().map(|listed| listed.id).collect())
        }
        .boxed()
    }

    fn load(&self, id: &RolloutId) -> BoxFuture<'static, Result<Option<ports::Stored>, String>> {
        let (store, id) = (self.0.clone(), id.clone());
        async move {
            let stored = store.load(&id, STORE_DEADLINE).await.map_err(|error| error.message)?;
            Ok(stored.map(|stored| ports::Stored { version: stored.version, bytes: stored.bytes }))
        }
        .boxed()
    }

    fn swap(&self, id: &RolloutId, request: SwapRequest) -> BoxFuture<'static, ports::Swap> {
        let (store, id) = (self.0.clone(), id.clone());
        async move {
            let write = match write(request) {
                Ok(write) => write,
                Err(why) => return ports::Swap::Unknown(why),
            };
            match store.swap(&id, write, STORE_DEADLINE).await {
                Swap::Won => ports::Swap::Won,
                Swap::Stale => ports::Swap::Stale,
                Swap::Superseded { term } => ports::Swap::Superseded { term },
                Swap::Unknown(why) => ports::Swap::Unknown(why),
            }
        }
        .boxed()
    }

    fn delete(&self, id: &RolloutId) -> BoxFuture<'static, Result<(), String>> {
        let (store, id) = (self.0.clone(), id.clone());
        async move { store.delete(&id, STORE_DEADLINE).await.map_err(|error| error.message) }
            .boxed()
    }

    fn journal(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Journal, String>> {
        let (store, id) = (self.0.clone(), id.clone());
        async move {
            let page = Page::After(after);
            let stored = store.history(&id, page, limit, STORE_DEADLINE).await;
            let stored = stored.map_err(|error| error.message)?;
            let since = store.complete_since(&id, STORE_DEADLINE).await;
            let since = since.map_err(|error| error.message)?;
            let entries = stored.iter().map(read_entry).collect::<Result<_, _>>()?;
            Ok(Journal { entries, complete_since: since })
        }
        .boxed()
    }

    fn trace(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<Packed>, String>> {
        let (store, id) = (self.0.clone(), id.clone());
        async move {
            let stored = store.trace(&id, after, limit, STORE_DEADLINE).await;
            stored.map_err(|error| error.message)
        }
        .boxed()
    }
}

fn write(request: SwapRequest) -> Result<Write, String> {
    let entries = request.entries.iter().map(|entry| {
        let json =
            serde_json::to_vec(entry).map_err(|error| format!("a journal entry: {error}"))?;
        Ok(StoredEntry { id: entry.id, at_ms: entry.at.as_millisecond(), json })
    });
    Ok(Write {
        expect_version: request.expect,
        term: request.term,
        version: request.version,
        // The envelope carries its header; a copy beside it would only drift.
        header: Vec::new(),
        record: request.bytes,
        entries: entries.collect::<Result<_, String>>()?,
        trace: match &request.trace[..] {
            [] => Vec::new(),
            items => Packed::pack(request.version, items).bytes,
        },
    })
}

fn read_entry(stored: &StoredEntry) -> Result<JournalEntry, String> {
    serde_json::from_slice(&stored.json)
        .map_err(|error| format!("journal entry {} is damaged: {error}", stored.id))
}
