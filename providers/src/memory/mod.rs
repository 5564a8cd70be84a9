//! A provider without a server, for tests: it holds the split itself, and fails as it is told.
//!
//! Keep a [`Memory`] to look inside and to bring faults; clones share everything. It keeps the same
//! contract as the real ones while no fault is on.

mod faults;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use haldane_model::{
    Accompanied, Acknowledged, Company, Direction, Health, Mark, Part, Reading, SideName, Split,
    Weight,
};
use haldane_outside::Outside;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

pub use self::faults::Fault;
use crate::{
    Capabilities, Error, ProviderEntry, Roles, SettingsError, Sides, Snapshot, TrafficProvider,
};

/// The row for registries of tests: [`crate::REGISTRY`] does not have it.
pub const ENTRY: ProviderEntry = ProviderEntry {
    kind: "memory",
    schema: || schemars::schema_for!(Settings),
    check: |settings, _scope| Settings::read(settings).map(|_| settings.clone()),
    targets: |settings| vec![format!("memory:{}", settings["name"].as_str().unwrap_or_default())],
    capabilities: |_settings| Inside::new(1).capabilities,
    build: |settings, sides, _outside: &Outside| {
        let name =
            Settings::read(settings).map_err(|errors| Error::Invalid(errors[0].to_string()))?;
        Ok(Arc::new(Memory::named(&name.name, sides)))
    },
};

/// A provider for tests.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    /// Entries of one name share everything.
    name: String,
}

/// A provider without a server. Clones share everything.
#[derive(Clone, Debug)]
pub struct Memory {
    sides: Sides,
    inside: Arc<Mutex<Inside>>,
    changed: watch::Sender<()>,
}

/// One write that was asked for, whether or not it had an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The split that was asked for.
    pub split: Split,
    /// Which way.
    pub direction: Direction,
    /// Our signature.
    pub mark: Mark,
}

/// What a [`Memory`] holds; tests read and change it by [`Memory::with`].
#[derive(Clone, Debug)]
pub struct Inside {
    /// The second side's share, and the mark, of each part.
    pub parts: Vec<(Weight, Option<Mark>)>,
    /// The health of the first and of the second side.
    pub health: (Health, Health),
    /// What is measured of the second side.
    pub measured: Option<Weight>,
    /// Whether the last write has settled.
    pub settled: bool,
    /// Who wrote last.
    pub writer: Option<String>,
    /// What it says of itself; `granularity` is kept by `representable`.
    pub capabilities: Capabilities,
    /// How reads fail.
    pub reads: Fault,
    /// How writes fail.
    pub writes: Fault,
    /// What a preflight answers.
    pub preflight: Result<(), Error>,
    /// Every write that was asked for, in order.
    pub written: Vec<Written>,
    /// The roles of every `finish`.
    pub finished: Vec<Roles>,
    /// What it is told to accompany its split; where `testers` is on it has a rule for them.
    pub company: Vec<Accompanied>,
    /// Every company that was asked for, in order.
    pub accompanied: Vec<Company>,
    /// How often it was released.
    pub released: usize,
}

// === impl Settings ===

impl Settings {
    fn read(settings: &Value) -> Result<Self, Vec<SettingsError>> {
        Self::deserialize(settings).map_err(|error| {
            vec![SettingsError { path: String::new(), message: error.to_string(), help: None }]
        })
    }
}

// === impl Inside ===

impl Inside {
    fn new(parts: usize) -> Self {
        Self {
            parts: vec![(Weight::ZERO, None); parts],
            health: (Health::Untold, Health::Untold),
            measured: None,
            settled: true,
            writer: None,
            capabilities: Capabilities {
                granularity: 1,
                acknowledged: Acknowledged::Programmed,
                settling: Duration::ZERO,
                write_deadline: Duration::from_secs(2),
                signed: true,
                layer7: true,
                sticky: false,
                mirroring: false,
            },
            reads: Fault::None,
            writes: Fault::None,
            preflight: Ok(()),
            written: Vec::new(),
            finished: Vec::new(),
            company: Vec::new(),
            accompanied: Vec::new(),
            released: 0,
        }
    }

    fn reading(&self, side: &SideName, told: usize) -> Option<Reading> {
        let shares = || self.parts[..told].iter().map(|(share, _)| *share);
        let part = |(at, (share, _)): (usize, &(Weight, Option<Mark>))| Part {
            name: format!("part-{at}"),
            share: if at < told { Ok(*share) } else { Err("it does not answer".into()) },
        };
        let marks = self.parts[..told].iter().filter_map(|(_, mark)| *mark);
        Some(Reading {
            side: side.clone(),
            lowest: shares().min()?,
            highest: shares().max()?,
            parts: self.parts.iter().enumerate().map(part).collect(),
            acknowledged: self.capabilities.acknowledged,
            settled: self.settled,
            measured: self.measured,
            mark: marks.max_by_key(|mark| (mark.number, mark.kind)),
            writer: self.writer.clone(),
            health: (self.health.1, self.health.0),
            company: self.company.clone(),
        })
    }

    /// Returns the rollback that a raise under this mark would cover.
    fn overruling(&self, mark: Mark) -> Option<Mark> {
        self.parts.iter().filter_map(|(_, held)| *held).find(|held| mark.yields_to(held))
    }

    fn put(&mut self, share: Weight, mark: Mark, parts: usize) {
        for part in self.parts.iter_mut().take(parts) {
            *part = (share, self.capabilities.signed.then_some(mark));
        }
    }
}

// === impl Memory ===

impl Memory {
    /// Makes one of a single part, with nothing on the second side.
    #[must_use]
    pub fn new(sides: &Sides) -> Self {
        Self::of_parts(sides, 1)
    }

    /// Makes one of several parts.
    #[must_use]
    pub fn of_parts(sides: &Sides, parts: usize) -> Self {
        let inside = Arc::new(Mutex::new(Inside::new(parts)));
        Self { sides: sides.clone(), inside, changed: watch::Sender::new(()) }
    }

    /// Returns the one of this name, the same in the whole process; it is made where it is not there.
    #[must_use]
    pub fn named(name: &str, sides: &Sides) -> Self {
        static NAMED: OnceLock<Mutex<HashMap<String, Memory>>> = OnceLock::new();
        let named = NAMED.get_or_init(Mutex::default);
        let mut named = named.lock().unwrap_or_else(PoisonError::into_inner);
        named.entry(name.to_owned()).or_insert_with(|| Self::new(sides)).clone()
    }

    /// Looks at what it holds, or changes it, and wakes whoever listens.
    pub fn with<T>(&self, look: impl FnOnce(&mut Inside) -> T) -> T {
        let looked = look(&mut self.inside());
        self.changed.send_replace(());
        looked
    }

    /// Returns the share of a side in the part that has most of it.
    #[must_use]
    pub fn share_of(&self, side: &SideName) -> Weight {
        let inside = self.inside();
        let shares = inside.parts.iter().map(|(share, _)| *share);
        let shares =
            shares.map(|share| Split::new(self.sides.second.clone(), share).share_of(side));
        shares.max().unwrap_or(Weight::ZERO)
    }

    /// Sets a split as a person would: the mark stays as it was.
    pub fn foreign_write(&self, split: &Split, writer: Option<&str>) {
        let share = split.share_of(&self.sides.second);
        self.with(|inside| {
            inside.parts.iter_mut().for_each(|part| part.0 = share);
            inside.writer = writer.map(ToOwned::to_owned);
        });
    }

    /// Sets how one side's servers are seen.
    pub fn set_health(&self, side: &SideName, health: Health) {
        let second = *side == self.sides.second;
        self.with(|inside| {
            *(if second { &mut inside.health.1 } else { &mut inside.health.0 }) = health
        });
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TrafficProvider for Memory {
    fn capabilities(&self) -> Capabilities {
        self.inside().capabilities
    }

    fn preflight(&self) -> BoxFuture<'_, Result<Snapshot, Error>> {
        let inside = self.inside();
        let shares: Vec<u16> = inside.parts.iter().map(|(share, _)| share.basis_points()).collect();
        let snapshot = Snapshot { settings: json!({"shares": shares}), warnings: Vec::new() };
        futures::future::ready(inside.preflight.clone().map(|()| snapshot)).boxed()
    }

    fn representable(&self, split: &Split) -> Split {
        let step = self.inside().capabilities.granularity.max(1);
        let points = split.share.basis_points() / step * step;
        let share = if split.share == Weight::FULL { 10_000 } else { points };
        let share = Weight::from_basis_points(share.into()).unwrap_or(split.share);
        Split::new(split.side.clone(), share)
    }

    fn read(&self) -> BoxFuture<'_, Result<Reading, Error>> {
        self.faulty_read().boxed()
    }

    fn write(
        &self,
        split: Split,
        direction: Direction,
        mark: Mark,
    ) -> BoxFuture<'_, Result<(), Error>> {
        self.faulty_write(Written { split, direction, mark }).boxed()
    }

    fn finish(&self, roles: Roles) -> BoxFuture<'_, Result<(), Error>> {
        self.with(|inside| inside.finished.push(roles));
        futures::future::ready(Ok(())).boxed()
    }

    fn release(&self, _snapshot: Snapshot) -> BoxFuture<'_, Result<(), Error>> {
        self.with(|inside| {
            inside.released += 1;
            inside.parts.iter_mut().for_each(|part| part.1 = None);
        });
        futures::future::ready(Ok(())).boxed()
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let listener = self.changed.subscribe();
        futures::stream::unfold(listener, |mut listener| async move {
            listener.changed().await.ok().map(|()| ((), listener))
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{self, Bench};

    impl Bench for Memory {
        fn provider(&self) -> Arc<dyn TrafficProvider> {
            Arc::new(self.clone())
        }

        fn sides(&self) -> Sides {
            self.sides.clone()
        }

        fn foreign_write(&self, share: Weight) {
            Self::foreign_write(self, &Split::new(self.sides.second.clone(), share), None);
        }
    }

    fn sides() -> Sides {
        Sides { first: "blue".into(), second: "green".into() }
    }

    #[tokio::test]
    async fn it_keeps_the_contract() {
        contract::check(|| Memory::new(&sides())).await;
        contract::check(|| Memory::of_parts(&sides(), 3)).await;
        contract::check(|| {
            let coarse = Memory::new(&sides());
            coarse.with(|inside| {
                inside.capabilities.granularity = 100;
                inside.capabilities.signed = false;
            });
            coarse
        })
        .await;
    }

    #[tokio::test]
    async fn entries_of_one_name_share_everything() {
        let build = || (ENTRY.build)(&json!({"name": "shared"}), &sides(), &Outside::default());
        let split = Split::new("green".into(), Weight::FULL);
        build().unwrap().write(split, Direction::Raise, Mark::raise(1)).await.unwrap();
        assert_eq!(Memory::named("shared", &sides()).share_of(&"green".into()), Weight::FULL);
    }
}
