//! What tells something new by itself: providers whose medium was written to, and what runs the sides.

use std::{collections::HashMap, sync::Arc};

use futures::{StreamExt as _, stream::BoxStream};
use haldane_model::{EntryName, SideName};
use tokio::task::JoinSet;

use super::Driver;
use crate::Input;

/// The watches of one rollout: one per traffic entry, one per side that names a workload.
#[derive(Default)]
pub(super) struct Watches {
    entries: HashMap<EntryName, JoinSet<()>>,
    /// With the workload that each watches.
    sides: HashMap<SideName, (Arc<str>, JoinSet<()>)>,
}

// === impl Driver ===

impl Driver {
    /// Hears of writes to an entry's medium; who built its provider anew hears no more of the former.
    pub(super) fn follow_entry(&mut self, name: &EntryName, mut changes: BoxStream<'static, ()>) {
        let (answers, entry) = (self.answers.clone(), name.clone());
        let mut watch = JoinSet::new();
        watch.spawn(async move {
            while changes.next().await.is_some() {
                let changed = Input::Changed { entry: entry.clone() };
                if answers.send(Box::new(changed)).await.is_err() {
                    return;
                }
            }
        });
        self.watches.entries.insert(name.clone(), watch);
    }

    /// Hears of what runs the sides of the plan in force, and of nothing else.
    pub(super) fn follow_sides(&mut self) {
        let Some(plan) = self.plan() else { return };
        let wanted = || plan.sides.iter().filter_map(|side| Some((side, side.workload.clone()?)));
        self.watches.sides.retain(|name, (workload, _)| {
            wanted().any(|(side, wanted)| side.name == *name && wanted == *workload)
        });
        for (side, workload) in wanted() {
            if self.watches.sides.contains_key(&side.name) {
                continue;
            }
            let mut told = self.ports.workloads.watch(self.core.id(), &workload);
            let (answers, name) = (self.answers.clone(), side.name.clone());
            let mut watch = JoinSet::new();
            watch.spawn(async move {
                loop {
                    let seen = told.borrow_and_update().clone();
                    let news = Input::Side { side: name.clone(), seen };
                    if answers.send(Box::new(news)).await.is_err() || told.changed().await.is_err()
                    {
                        return;
                    }
                }
            });
            self.watches.sides.insert(side.name.clone(), (workload, watch));
        }
    }
}
