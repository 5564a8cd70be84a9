//! Where a rollout can be: the columns of the tables, and a record that is calmly in one of them.

use std::sync::Arc;

use haldane_model::{
    Cause, Exposure, Ground, Header, HeaderEntry, Mark, Now, PendingCause, Place, Plan, Record,
};

use super::{BLUE, GREEN, KNOWN, at, secs, stamp};

/// The columns of the machine's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Column {
    /// Before an attempt; the split is known.
    Pending,
    /// Before the second step, at the first one's weight.
    Waiting,
    /// From the first step's weight to the second's; the raise was sent, and is not read yet.
    Shifting,
    /// At the second step's weight, the bake not over.
    Baking,
    /// At 100 %, the clean-up not done.
    Promoting,
    /// Flipped, half of the watch over.
    Watching,
    /// Done; the roles have turned.
    Healthy,
    /// Out of the second step's bake.
    RollingBack,
    /// After a breach.
    Degraded,
}

impl Column {
    /// Every column.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Waiting,
        Self::Shifting,
        Self::Baking,
        Self::Promoting,
        Self::Watching,
        Self::Healthy,
        Self::RollingBack,
        Self::Degraded,
    ];
    /// The columns in which an attempt is under way and home serves.
    pub const IN_FLIGHT: [Self; 4] = [Self::Waiting, Self::Shifting, Self::Baking, Self::Promoting];
    /// The columns whose guards roll back.
    pub const GUARDED: [Self; 5] =
        [Self::Waiting, Self::Shifting, Self::Baking, Self::Promoting, Self::Watching];
    /// The columns at rest.
    pub const AT_REST: [Self; 3] = [Self::Pending, Self::Healthy, Self::Degraded];
}

/// The record of a rollout that is calmly in this column.
pub(super) fn record(column: Column, plan: &Arc<Plan>, now: Now) -> Record {
    let mut record = Record::new(GREEN.into(), BLUE.into(), 1, now);
    record.version = KNOWN;
    record.serving = Some(BLUE.into());
    record.promoted.insert(BLUE.into(), "v1".into());
    let entries = plan.entries.iter().map(|entry| HeaderEntry {
        name: entry.name.clone(),
        kind: entry.kind.clone(),
        settings: entry.settings.clone(),
    });
    record.header = Header {
        test: GREEN.into(),
        home: BLUE.into(),
        sides: [BLUE.into(), GREEN.into()],
        entries: entries.collect(),
        lowered: None,
    };
    for entry in &plan.entries {
        record.marks.insert(entry.name.clone(), Mark::raise(KNOWN));
    }
    record.place = place(column, plan, now);
    let exposed = Some(stamp(at(9_000)));
    if column == Column::Pending {
        return record;
    }
    record.attempt = 1;
    record.revision = Some("v2".into());
    record.previous = Some("v1".into());
    record.plan = Some(plan.clone());
    record.exposed = Exposure { could: exposed.clone(), confirmed: exposed };
    match column {
        Column::Watching => flip(&mut record),
        Column::Healthy => {
            flip(&mut record);
            std::mem::swap(&mut record.header.test, &mut record.header.home);
            record.exposed = Exposure::default();
        }
        Column::Degraded => record.failed = Some("v2".into()),
        Column::Pending
        | Column::Waiting
        | Column::Shifting
        | Column::Baking
        | Column::Promoting
        | Column::RollingBack => {}
    }
    if matches!(column, Column::RollingBack | Column::Degraded) {
        record.marks.values_mut().for_each(|mark| *mark = Mark::rollback(KNOWN));
    }
    record
}

fn flip(record: &mut Record) {
    record.serving = Some(GREEN.into());
    record.promoted.insert(GREEN.into(), "v2".into());
    record.stood = Some("v1".into());
}

fn place(column: Column, plan: &Plan, now: Now) -> Place {
    let since = at(9_000);
    match column {
        Column::Pending => Place::Pending { cause: PendingCause::First },
        Column::Waiting => Place::Waiting { step: 1, since },
        Column::Shifting => Place::Shifting { step: 1, from: plan.weight(0), restore: None },
        Column::Baking => {
            Place::Baking { step: 1, baked: secs(30), from: stamp(at(9_970)), done_at: None }
        }
        Column::Promoting => {
            let left = plan.entries.iter().map(|entry| entry.name.clone()).collect();
            Place::Promoting { left }
        }
        Column::Watching => Place::Watching { watched: secs(300), restore: None },
        Column::Healthy => Place::Healthy,
        Column::RollingBack => {
            Place::RollingBack { cause: Cause::Breach, since: now.wall, out_of: Ground::Flight }
        }
        Column::Degraded => Place::Degraded { cause: Cause::Breach },
    }
}
