//! The file itself: tables, the swap, the journal and its retention.
//!
//! Every call blocks on the disk; async callers go through [`super::StoreHandle`].

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use haldane_model::RolloutId;
use haldane_runtime::trace::Packed;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    CompleteSince, Listed, OpenError, Options, Page, StoreError, Stored, StoredEntry, Swap, Write,
    error::is_corrupt, lock::Lock,
};

/// The database within the state directory.
pub(super) const FILE: &str = "haldane.db";
/// The layout of the tables, kept in `user_version`.
const LAYOUT: i64 = 1;
/// How many journal entries one read returns at most.
const HISTORY_MAX: usize = 1_000;
/// How many batches of a trace one read returns at most.
const BATCHES_MAX: usize = 200;
/// How many bytes of them one read returns at most; one batch always.
const READ_BYTES_MAX: usize = 8 << 20;
/// The size of a trace is looked at once in so many versions: the look goes through all batches.
pub(super) const SIZED_EVERY: u64 = 32;
/// How long SQLite waits for a reader such as a backup.
const BUSY: Duration = Duration::from_secs(2);

const TABLES: &str = "
create table if not exists engine (one integer primary key check (one = 1), term integer not null) strict;
create table if not exists rollout (
    namespace text not null, name text not null, version integer not null, term integer not null,
    record blob not null, header blob not null, dropped_to_ms integer,
    primary key (namespace, name)) strict;
create table if not exists entry (
    namespace text not null, name text not null, id integer not null, at_ms integer not null,
    json blob not null, primary key (namespace, name, id)) strict, without rowid;
create table if not exists trace (
    namespace text not null, name text not null, version integer not null, packed blob not null,
    primary key (namespace, name, version)) strict;
insert or ignore into engine values (1, 0);
";

/// An open state directory; the lock goes with it.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    dir: PathBuf,
    entries_max: u64,
    batches_max: u64,
    trace_bytes_max: u64,
    term: u64,
    _lock: Lock,
}

// === impl Store ===

impl Store {
    /// Opens a state directory, makes what is missing, and takes the next term.
    ///
    /// Refused while another engine has it. A corrupt file is reported and left as it is.
    pub fn open(dir: &Path, options: &Options) -> Result<Self, OpenError> {
        let unusable = |source| OpenError::Unusable { path: dir.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
        let lock = Lock::take(dir)?;
        let path = dir.join(FILE);
        make_private(&path)?;
        let failed = |error: rusqlite::Error| open_error(dir, &error);
        let connection = Connection::open(&path).map_err(failed)?;
        let layout = configure(&connection, options).map_err(failed)?;
        if layout > LAYOUT {
            return Err(OpenError::Newer { path, found: layout, known: LAYOUT });
        }
        let check: String =
            connection.query_row("pragma quick_check(1)", (), |row| row.get(0)).map_err(failed)?;
        if check != "ok" {
            return Err(OpenError::Corrupt { path, message: check });
        }
        let mut store = Self {
            connection,
            dir: dir.to_owned(),
            entries_max: options.entries_max.max(1),
            batches_max: options.batches_max.max(1),
            trace_bytes_max: options.trace_bytes_max,
            term: 0,
            _lock: lock,
        };
        store.prepare().map_err(failed)?;
        Ok(store)
    }

    /// Returns the term of this opening; the next opening has a higher one.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Increments the stored term and returns it; every opening does so once.
    pub fn next_term(&mut self) -> Result<u64, StoreError> {
        let term = take_term(&self.connection)
            .map_err(|error| self.error("take the next term", &error))?;
        self.term = term;
        Ok(term)
    }

    /// Reads a rollout's record; `None` where there is none.
    pub fn load(&self, id: &RolloutId) -> Result<Option<Stored>, StoreError> {
        self.connection
            .query_row(
                "select version, term, record, header from rollout where namespace = ? and name = ?",
                params![&*id.namespace, &*id.name],
                |row| {
                    Ok(Stored {
                        version: row.get(0)?,
                        term: row.get(1)?,
                        bytes: row.get(2)?,
                        header: row.get(3)?,
                    })
                },
            )
            .optional()
            .map_err(|error| self.error(&format!("load {id}"), &error))
    }

    /// Lists what is stored, by namespace and name.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let read = || {
            let sql = "select namespace, name, version from rollout order by namespace, name";
            let mut rows = self.connection.prepare_cached(sql)?;
            let listed = rows.query_map((), |row| {
                let (namespace, name) = (row.get::<_, String>(0)?, row.get::<_, String>(1)?);
                Ok(Listed { id: RolloutId::new(&namespace, &name), version: row.get(2)? })
            })?;
            listed.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(|error| self.error("list the rollouts", &error))
    }

    /// Swaps a record and adds its journal entries: all of it, or nothing.
    pub fn swap(&mut self, id: &RolloutId, write: &Write) -> Swap {
        match self.try_swap(id, write) {
            Ok(swap) => swap,
            Err(error) => Swap::Unknown(self.error(&format!("store {id}"), &error).message),
        }
    }

    /// Removes a rollout with its journal; one that is not there is no error.
    pub fn delete(&mut self, id: &RolloutId) -> Result<(), StoreError> {
        let mut remove = || {
            let transaction = self.connection.transaction()?;
            for table in ["rollout", "entry", "trace"] {
                let sql = format!("delete from {table} where namespace = ? and name = ?");
                transaction.execute(&sql, params![&*id.namespace, &*id.name])?;
            }
            transaction.commit()
        };
        let done: Result<(), rusqlite::Error> = remove();
        done.map_err(|error| self.error(&format!("delete {id}"), &error))
    }

    /// Reads a part of a rollout's journal; at most 1 000 entries.
    pub fn history(
        &self,
        id: &RolloutId,
        page: Page,
        limit: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let (bound, sql) = match page {
            Page::Newest => (i64::MAX, "id <= ? order by id desc"),
            Page::Before(id) => (signed(id), "id < ? order by id desc"),
            Page::After(id) => (signed(id), "id > ? order by id"),
        };
        let limit = signed(limit.min(HISTORY_MAX) as u64);
        let read = || {
            let sql = format!(
                "select id, at_ms, json from entry where namespace = ? and name = ? and {sql} limit ?"
            );
            let mut rows = self.connection.prepare_cached(&sql)?;
            let found = rows
                .query_map(params![&*id.namespace, &*id.name, bound, limit], |row| {
                    Ok(StoredEntry { id: row.get(0)?, at_ms: row.get(1)?, json: row.get(2)? })
                })?;
            found.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(|error| self.error(&format!("read the journal of {id}"), &error))
    }

    /// Reads what a rollout took in, oldest first: batches after a version, at most `limit`.
    pub fn trace(
        &self,
        id: &RolloutId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Packed>, StoreError> {
        read_trace(&self.connection, id, after, limit)
            .map_err(|error| self.error(&format!("read the trace of {id}"), &error))
    }

    /// Returns when the last dropped entry was decided: later ones are all there. `None`: none was dropped.
    pub fn complete_since(&self, id: &RolloutId) -> Result<CompleteSince, StoreError> {
        let sql = "select dropped_to_ms from rollout where namespace = ? and name = ?";
        let dropped: Option<Option<i64>> = self
            .connection
            .query_row(sql, params![&*id.namespace, &*id.name], |row| row.get(0))
            .optional()
            .map_err(|error| self.error(&format!("read the journal of {id}"), &error))?;
        Ok(dropped.flatten().and_then(|at| Timestamp::from_millisecond(at).ok()))
    }

    fn prepare(&mut self) -> Result<(), rusqlite::Error> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", LAYOUT)?;
        self.term = take_term(&transaction)?;
        transaction.commit()
    }

    fn try_swap(&mut self, id: &RolloutId, write: &Write) -> Result<Swap, rusqlite::Error> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let engine: u64 = transaction.query_row("select term from engine", (), |row| row.get(0))?;
        let stored: Option<(u64, u64)> = transaction
            .query_row(
                "select version, term from rollout where namespace = ? and name = ?",
                params![&*id.namespace, &*id.name],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let (version, term) = stored.unwrap_or((0, 0));
        let newest = engine.max(term);
        if newest > write.term {
            return Ok(Swap::Superseded { term: newest });
        }
        if version != write.expect_version {
            return Ok(Swap::Stale);
        }
        put(&transaction, id, write)?;
        drop_oldest(&transaction, id, self.entries_max)?;
        drop_oldest_batches(&transaction, id, self.batches_max)?;
        if write.version.is_multiple_of(SIZED_EVERY) {
            drop_large_batches(&transaction, id, self.trace_bytes_max)?;
        }
        transaction.commit()?;
        Ok(Swap::Won)
    }

    /// Makes every later write fail as a file system that turned read-only does.
    #[cfg(test)]
    pub(super) fn forbid_writing(&self) {
        self.connection
            .pragma_update(None, "query_only", true)
            .expect("a pragma that always works");
    }

    fn error(&self, doing: &str, error: &rusqlite::Error) -> StoreError {
        StoreError::of(doing, &self.dir, error)
    }
}

/// Records may hold what only their owner should read.
fn make_private(path: &Path) -> Result<(), OpenError> {
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(OpenError::Unusable { path: path.to_owned(), source }),
    }
}

/// Sets the connection up and returns the layout that the file has.
fn configure(connection: &Connection, options: &Options) -> Result<i64, rusqlite::Error> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    if let Some(pages) = options.pages_max {
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    connection.query_row("pragma user_version", (), |row| row.get(0))
}

fn take_term(connection: &Connection) -> Result<u64, rusqlite::Error> {
    connection.query_row("update engine set term = term + 1 returning term", (), |row| row.get(0))
}

fn put(transaction: &Transaction<'_>, id: &RolloutId, write: &Write) -> rusqlite::Result<()> {
    transaction.execute(
        "insert into rollout (namespace, name, version, term, record, header)
         values (?1, ?2, ?3, ?4, ?5, ?6)
         on conflict do update set version = ?3, term = ?4, record = ?5, header = ?6",
        params![&*id.namespace, &*id.name, write.version, write.term, write.record, write.header],
    )?;
    let mut insert = transaction.prepare_cached("insert into entry values (?, ?, ?, ?, ?)")?;
    for entry in &write.entries {
        insert.execute(params![&*id.namespace, &*id.name, entry.id, entry.at_ms, entry.json])?;
    }
    if !write.trace.is_empty() {
        transaction.prepare_cached("insert into trace values (?, ?, ?, ?)")?.execute(params![
            &*id.namespace,
            &*id.name,
            write.version,
            write.trace
        ])?;
    }
    Ok(())
}

/// Reads batches, oldest first, from a connection that may be another one than the engine's.
pub(crate) fn read_trace(
    connection: &Connection,
    id: &RolloutId,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Packed>> {
    let sql = "select version, packed from trace where namespace = ? and name = ? and version > ?
               order by version limit ?";
    let limit = signed(limit.min(BATCHES_MAX) as u64);
    let mut rows = connection.prepare_cached(sql)?;
    let found = rows
        .query_map(params![&*id.namespace, &*id.name, signed(after), limit], |row| {
            Ok(Packed { version: row.get(0)?, bytes: row.get(1)? })
        })?;
    let (mut batches, mut bytes) = (Vec::new(), 0);
    for batch in found {
        let batch = batch?;
        bytes += batch.bytes.len();
        if bytes > READ_BYTES_MAX && !batches.is_empty() {
            break;
        }
        batches.push(batch);
    }
    Ok(batches)
}

/// Drops the oldest batches past the limit.
fn drop_oldest_batches(
    transaction: &Transaction<'_>,
    id: &RolloutId,
    most: u64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "delete from trace where namespace = ?1 and name = ?2 and version <= (
                 select version from trace where namespace = ?1 and name = ?2
                 order by version desc limit 1 offset ?3)",
        )?
        .execute(params![&*id.namespace, &*id.name, signed(most)])?;
    Ok(())
}

/// Drops the oldest batches past so many bytes; the newest stays.
fn drop_large_batches(
    transaction: &Transaction<'_>,
    id: &RolloutId,
    most: u64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "delete from trace where namespace = ?1 and name = ?2 and version <= (
                 select max(version) from (
                     select version, row_number() over newest as place,
                            sum(length(packed)) over newest as bytes
                     from trace where namespace = ?1 and name = ?2
                     window newest as (order by version desc))
                 where bytes > ?3 and place > 1)",
        )?
        .execute(params![&*id.namespace, &*id.name, signed(most)])?;
    Ok(())
}

/// Drops the oldest entries past the limit, and notes from when on the journal is complete.
fn drop_oldest(transaction: &Transaction<'_>, id: &RolloutId, most: u64) -> rusqlite::Result<()> {
    let last_to_go: Option<(i64, i64)> = transaction
        .prepare_cached(
            "select id, at_ms from entry where namespace = ? and name = ?
             order by id desc limit 1 offset ?",
        )?
        .query_row(params![&*id.namespace, &*id.name, signed(most)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((last, at_ms)) = last_to_go else { return Ok(()) };
    transaction.execute(
        "delete from entry where namespace = ? and name = ? and id <= ?",
        params![&*id.namespace, &*id.name, last],
    )?;
    transaction.execute(
        "update rollout set dropped_to_ms = ? where namespace = ? and name = ?",
        params![at_ms, &*id.namespace, &*id.name],
    )?;
    Ok(())
}

fn open_error(dir: &Path, error: &rusqlite::Error) -> OpenError {
    if is_corrupt(error) {
        OpenError::Corrupt { path: dir.join(FILE), message: error.to_string() }
    } else {
        OpenError::Failed(StoreError::of("open the database", dir, error))
    }
}

/// SQLite counts in signed numbers; what lies beyond is as good as the end.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
