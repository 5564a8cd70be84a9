//! What the loops tell, on its way to whoever prints it. Full queues drop, they never hold a loop.

use haldane_model::{JournalEntry, RolloutId};
use haldane_runtime::{Notice, drive::Sink};
use tokio::sync::mpsc;

/// How many tellings may wait.
const WAITING_MAX: usize = 1_024;

/// One telling.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// A decision.
    Entry(Box<JournalEntry>),
    /// Something about the engine.
    Notice(String),
}

/// A sink that queues.
#[derive(Debug)]
pub(crate) struct Queue(mpsc::Sender<Told>);

/// Makes a sink and the other end of its queue.
#[must_use]
pub(crate) fn channel() -> (Queue, mpsc::Receiver<Told>) {
    let (send, receive) = mpsc::channel(WAITING_MAX);
    (Queue(send), receive)
}

impl Sink for Queue {
    fn told(&self, _: &RolloutId, entry: &JournalEntry) {
        let _ = self.0.try_send(Told::Entry(Box::new(entry.clone())));
    }

    fn noticed(&self, _: &RolloutId, notice: &Notice) {
        let _ = self.0.try_send(Told::Notice(words(notice)));
    }
}

/// Says a notice in a sentence.
#[must_use]
pub(crate) fn words(notice: &Notice) -> String {
    match notice {
        Notice::StoreTrouble(why) => {
            format!("the record cannot be written; lowering goes out, nothing is raised: {why}")
        }
        Notice::StoreBack => "the record can be written again".to_owned(),
        Notice::Unaccompanied { entry, why } => {
            format!("traffic entry {entry}: testers' rules or the mirror are not as wished: {why}")
        }
        Notice::Superseded => "another engine took over; this one does nothing more".to_owned(),
        Notice::NewerFormat => {
            "the record was written by a newer engine: nothing is judged or raised, and only \
             `haldane abort` is obeyed; run the newer engine"
                .to_owned()
        }
    }
}
