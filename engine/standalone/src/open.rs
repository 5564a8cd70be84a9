//! The engine of a state directory.

use std::{path::Path, sync::Arc};

use haldane_host::{Engine, Registered, SystemClock};
use haldane_outside::Outside;
use haldane_runtime::{
    drive::{Ports, Sink},
    ports::LeaseTold,
};

use crate::{
    keep::Kept,
    store::{OpenError, Options, Store, StoreHandle},
};

/// Opens a state directory; refused while another engine has it. Its lock is held until the engine is dropped.
///
/// # Errors
/// Where another engine has it, or it cannot be read or written.
pub fn open(state: &Path, sink: Arc<dyn Sink>) -> Result<Arc<Engine>, OpenError> {
    let store = Store::open(state, &Options::default())?;
    let store = StoreHandle::start(store)
        .map_err(|source| OpenError::Unusable { path: state.to_owned(), source })?;
    // The lock on the directory is the lease: nobody takes it from a process that lives.
    let lease = LeaseTold::forever(store.term());
    Ok(Engine::new(Ports {
        store: Arc::new(Kept(store)),
        clock: Arc::new(SystemClock::start()),
        factory: Arc::new(Registered),
        outside: Outside::default(),
        sink,
        lease,

        workloads: Arc::new(()),
    }))
}
