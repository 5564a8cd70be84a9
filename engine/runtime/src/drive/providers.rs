//! The providers' calls: reads, writes, clean-ups. A lowering write ends a raise that is under way.

use std::sync::Arc;

use haldane_model::{Company, Direction, EntryName, LeaseSeen, Mark, Plan, Reading, Split};
use haldane_providers::{Error, Roles, Sides, TrafficProvider};

use super::{Driver, TOO_LATE};
use crate::{Input, ports::CALL_MAX};

// === impl Driver ===

impl Driver {
    pub(super) fn read(&mut self, entry: EntryName, id: u64) {
        let asked = self.asked_splits();
        let provider = self.provider(&entry);
        let late = Input::Read { entry: entry.clone(), id, result: Err(too_late()) };
        self.spawn(late, async move {
            let result = match provider {
                Ok(provider) => {
                    provider.read().await.map(|reading| as_asked(&*provider, reading, &asked))
                }
                Err(error) => Err(error),
            };
            Input::Read { entry, id, result }
        });
    }

    pub(super) fn write(
        &mut self,
        entry: EntryName,
        id: u64,
        split: Split,
        direction: Direction,
        mark: Mark,
    ) {
        if direction == Direction::Lower
            && let Some(raising) = self.raising.remove(&entry)
        {
            raising.abort();
        }
        let provider = self.provider(&entry);
        let name = entry.clone();
        let held = self.lease_held();
        // A raise that is late is no raise of ours any more.
        let may_write = move || if direction == Direction::Lower { Ok(()) } else { held() };
        let hangs = Err(Error::Unavailable("the write hangs".to_owned()));
        let late = Input::Written { entry: entry.clone(), id, result: hangs };
        let task = self.spawn(late, async move {
            let result = match provider {
                Ok(provider) => match may_write() {
                    Ok(()) => provider.write(split, direction, mark).await,
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            Input::Written { entry, id, result }
        });
        if direction == Direction::Raise {
            self.raising.insert(name, task);
        }
    }

    /// Returns what asks for the lease at the last moment.
    fn lease_held(&self) -> impl Fn() -> Result<(), Error> + Send + Sync + use<> {
        let (lease, clock) = (self.ports.lease.clone(), self.ports.clock.clone());
        move || match lease.borrow().at(clock.now().mono) {
            LeaseSeen::Held { .. } => Ok(()),
            LeaseSeen::Unsure | LeaseSeen::Other { .. } => {
                Err(Error::Unavailable("the lease is not held".to_owned()))
            }
        }
    }

    /// Like a raise it asks for the lease, and a lowering write ends it; never at once with a raise.
    pub(super) fn accompany(&mut self, entry: EntryName, id: u64, company: Company, mark: Mark) {
        let provider = self.provider(&entry);
        let name = entry.clone();
        let held = self.lease_held();
        let late = Input::Accompanied { entry: entry.clone(), id, result: Err(too_late()) };
        let task = self.spawn(late, async move {
            let result = match provider {
                Ok(provider) => match held() {
                    Ok(()) => provider.accompany(company, mark).await,
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            Input::Accompanied { entry, id, result }
        });
        self.raising.insert(name, task);
    }

    pub(super) fn finish(&mut self, entry: EntryName) {
        let provider = self.provider(&entry);
        let roles = self.roles();
        let late = Input::Finished { entry: entry.clone(), result: Err(too_late()) };
        self.spawn(late, async move {
            let result = match (provider, roles) {
                (Ok(provider), Some(roles)) => provider.finish(roles).await,
                (Err(error), _) => Err(error),
                (Ok(_), None) => Ok(()),
            };
            Input::Finished { entry, result }
        });
    }

    pub(super) fn release(&mut self) {
        let names: Vec<EntryName> = self.clients.providers.keys().cloned().collect();
        for name in names {
            if let Ok(provider) = self.provider(&name) {
                self.tasks.spawn(async move {
                    let call = provider.release(haldane_providers::Snapshot::default());
                    let _ = tokio::time::timeout(CALL_MAX, call).await;
                });
            }
        }
    }

    /// Returns every split that this rollout may ask for.
    pub(super) fn asked_splits(&self) -> Vec<Split> {
        let (Some(record), Some(plan)) = (self.core.record(), self.plan()) else {
            return Vec::new();
        };
        let test = &record.header.test;
        plan.steps.iter().map(|step| Split::new(test.clone(), step.weight)).collect()
    }

    pub(super) fn roles(&self) -> Option<Roles> {
        let header = &self.core.record()?.header;
        Some(Roles { test: header.test.clone(), home: header.home.clone() })
    }

    /// Returns the plan whose settings are in force: the pinned one under way, the written at rest.
    pub(super) fn plan(&self) -> Option<Arc<Plan>> {
        haldane_machine::needs(self.core.record()?, self.core.spec()).plan
    }

    pub(super) fn provider(&mut self, name: &EntryName) -> Result<Arc<dyn TrafficProvider>, Error> {
        let missing = || Error::Invalid(format!("no traffic entry {name}"));
        let plan = self.plan();
        let header = self.core.header().cloned();
        let (kind, settings, sides) = if let Some(plan) = &plan
            && let Some(entry) = plan.entries.iter().find(|entry| entry.name == *name)
        {
            let [first, second] = [plan.sides[0].name.clone(), plan.sides[1].name.clone()];
            (entry.kind.clone(), entry.settings.clone(), Sides { first, second })
        } else {
            let header = header.ok_or_else(missing)?;
            let entry = header.entries.iter().find(|entry| entry.name == *name);
            let entry = entry.ok_or_else(missing)?.clone();
            let [first, second] = header.sides;
            let sides = Sides { first, second };
            (entry.kind.clone(), entry.settings.clone(), sides)
        };
        let known = self.clients.providers.get(name).filter(|(text, _)| *text == settings);
        if let Some((_, provider)) = known {
            return Ok(provider.clone());
        }
        let built = self.ports.factory.provider(&kind, &settings, &sides, &self.ports.outside)?;
        self.follow_entry(name, built.changes());
        self.clients.providers.insert(name.clone(), (settings, built.clone()));
        Ok(built)
    }
}

fn too_late() -> Error {
    Error::Unavailable(TOO_LATE.to_owned())
}

/// Says a reading in the words of what was asked: where a share can only be made nearly, what the
/// provider makes of it counts as it.
fn as_asked(provider: &dyn TrafficProvider, mut reading: Reading, asked: &[Split]) -> Reading {
    for split in asked {
        let made = provider.representable(split).share_of(&reading.side);
        let share = split.share_of(&reading.side);
        for read in [&mut reading.lowest, &mut reading.highest] {
            if *read == made {
                *read = share;
            }
        }
    }
    reading
}
