//! Reading a state directory while no engine runs: what happened is told even then.
//!
//! Reads alone: it takes no lock and no term, and changes nothing.

use std::path::Path;

use haldane_model::{JournalEntry, RolloutId};
use haldane_runtime::{
    codec::{Decoded, decode},
    ports::Journal,
    trace::Packed,
};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::store::read_trace;

/// A state directory, open for reading.
#[derive(Debug)]
pub struct Offline(Connection);

// === impl Offline ===

impl Offline {
    /// Opens a state directory. An error says that there is none, or what is wrong with it.
    pub fn open(state: &Path) -> Result<Self, String> {
        let file = state.join("haldane.db");
        if !file.exists() {
            return Err(format!(
                "{} holds no state: nothing was rolled out there",
                state.display()
            ));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let told = |error: rusqlite::Error| format!("cannot read {}: {error}", file.display());
        let connection = Connection::open_with_flags(&file, flags).map_err(told)?;
        connection.busy_timeout(std::time::Duration::from_secs(2)).map_err(told)?;
        Ok(Self(connection))
    }

    /// Returns the rollouts that are stored, by namespace and name.
    pub fn rollouts(&self) -> Result<Vec<RolloutId>, String> {
        let sql = "select namespace, name from rollout order by namespace, name";
        let mut rows = self.0.prepare(sql).map_err(told)?;
        let ids = rows.query_map((), |row| {
            Ok(RolloutId::new(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?))
        });
        ids.map_err(told)?.collect::<Result<_, _>>().map_err(told)
    }

    /// Returns a rollout's record, or what can be read of a newer engine's; `None` where there is none.
    pub fn record(&self, id: &RolloutId) -> Result<Option<Decoded>, String> {
        let sql = "select record from rollout where namespace = ? and name = ?";
        let key = params![&*id.namespace, &*id.name];
        let bytes: Option<Vec<u8>> =
            self.0.query_row(sql, key, |row| row.get(0)).optional().map_err(told)?;
        bytes.map(|bytes| decode(&bytes)).transpose()
    }

    /// Returns a rollout's journal, oldest first: entries after `after`, at most `limit`.
    pub fn journal(&self, id: &RolloutId, after: u64, limit: usize) -> Result<Journal, String> {
        let sql = "select json from entry where namespace = ? and name = ? and id > ?
                   order by id limit ?";
        let mut rows = self.0.prepare(sql).map_err(told)?;
        let key = params![&*id.namespace, &*id.name, after, limit as u64];
        let texts = rows.query_map(key, |row| row.get::<_, Vec<u8>>(0)).map_err(told)?;
        let mut entries = Vec::new();
        for text in texts {
            let entry: JournalEntry = serde_json::from_slice(&text.map_err(told)?)
                .map_err(|error| format!("a journal entry is damaged: {error}"))?;
            entries.push(entry);
        }
        Ok(Journal { entries, complete_since: self.complete_since(id)? })
    }

    /// Returns what a rollout took in, oldest first: batches after a version, at most `limit`.
    pub fn trace(&self, id: &RolloutId, after: u64, limit: usize) -> Result<Vec<Packed>, String> {
        read_trace(&self.0, id, after, limit).map_err(told)
    }

    fn complete_since(&self, id: &RolloutId) -> Result<Option<Timestamp>, String> {
        let sql = "select dropped_to_ms from rollout where namespace = ? and name = ?";
        let key = params![&*id.namespace, &*id.name];
        let dropped: Option<Option<i64>> =
            self.0.query_row(sql, key, |row| row.get(0)).optional().map_err(told)?;
        Ok(dropped.flatten().and_then(|at| Timestamp::from_millisecond(at).ok()))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it maps errors")]
fn told(error: rusqlite::Error) -> String {
    format!("cannot read the state: {error}")
}
