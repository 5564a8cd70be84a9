//! The claims about what is recorded, checked at every swap that is won.

use std::time::Duration;

use haldane_model::{HoldKind, Now, Place, Reason, Record, State, Weight};
use haldane_runtime::{Core, ports::SwapRequest};

use super::World;

// === impl World ===

impl World {
    pub(super) fn check_record(
        &mut self,
        before: Option<&Record>,
        request: &SwapRequest,
        last_id: u64,
    ) {
        let Some(record) = self.kept.record.clone() else { return };
        let mut next = last_id;
        for entry in &request.entries {
            if entry.id <= last_id {
                continue;
            }
            next += 1;
            if entry.id != next {
                self.break_claim(format!("journal entry {} came where {next} was due", entry.id));
                return;
            }
        }
        if record.next_entry != next + 1 {
            let what = format!("the next entry is {}, the last one {next}", record.next_entry);
            self.break_claim(what);
        }
        let was = before.map(|before| (before.place.state(), before.step()));
        let moved = was.is_some_and(|was| was != (record.place.state(), record.step()));
        if moved && request.entries.is_empty() {
            self.break_claim(format!("{was:?} was left without a word: {:?}", record.place));
        }
        if let Place::RollingBack { .. } = record.place {
            self.truth.rolled_back.insert(record.attempt);
        }
        if let Some(before) = before {
            self.check_pause(before, &record, request);
            self.check_step(before, &record);
            self.check_gates(before, &record);
            self.check_time(before, &record);
        }
    }

    /// A person's pause is lifted by resume alone.
    fn check_pause(&mut self, before: &Record, record: &Record, request: &SwapRequest) {
        let paused = |record: &Record| record.hold(HoldKind::Person).is_some();
        let resumed = request.entries.iter().any(|entry| entry.reason == Reason::Resumed);
        if paused(before) && !paused(record) && !resumed {
            self.break_claim("a person's pause was lifted, and nobody resumed".to_owned());
        }
    }

    /// No step up without a Pass, the step's own bake, or a waiver by name.
    fn check_step(&mut self, before: &Record, record: &Record) {
        if before.attempt != record.attempt || record.state() == State::RollingBack {
            return;
        }
        let (Some(from), Some(to), Some(plan)) = (before.step(), record.step(), &record.plan)
        else {
            return;
        };
        if to <= from || !matches!(before.place, Place::Baking { .. } | Place::Shifting { .. }) {
            return;
        }
        let waived = self.kept.journal.values().any(|entry| {
            let named = matches!(
                entry.reason,
                Reason::PromotedByPerson | Reason::EvidenceWaived | Reason::MaxBakeReached
            );
            named && entry.attempt == record.attempt && entry.step == Some(from)
        });
        let held = self.truth.held.get(&(record.attempt, from)).copied().unwrap_or(0);
        let bake = u64::try_from(plan.steps[from].bake.as_millis()).unwrap_or(0);
        if waived {
            return;
        }
        if held + self.truth.unseen < bake {
            self.break_claim(format!("step {from} was left after {held} of {bake} ms"));
        }
        let silent = plan.weight(from) == Weight::ZERO;
        if !silent && !self.truth.passes.contains(&(record.attempt, from)) {
            self.break_claim(format!("step {from} was left, and no good look reached anyone"));
        }
    }

    /// No time counts in which no process lived, whatever the clocks of the next one say.
    fn check_time(&mut self, before: &Record, record: &Record) {
        let (Some(from), Some(to)) =
            (self.true_moment(&before.ticked.now), self.true_moment(&record.ticked.now))
        else {
            return;
        };
        let idle: u64 = self
            .truth
            .idle
            .iter()
            .map(|(begin, end)| to.min(*end).saturating_sub(from.max(*begin)))
            .sum();
        let lived = Duration::from_millis(to.saturating_sub(from).saturating_sub(idle) + 2);
        let bake = |record: &Record| match &record.place {
            Place::Baking { baked, from, .. } => Some((from.clone(), *baked)),
            Place::Pending { .. }
            | Place::Waiting { .. }
            | Place::Shifting { .. }
            | Place::Promoting { .. }
            | Place::Watching { .. }
            | Place::Healthy
            | Place::RollingBack { .. }
            | Place::Degraded { .. } => None,
        };
        let mut grown = vec![("its deadline", record.progressed.saturating_sub(before.progressed))];
        if let (Some((was_from, was)), Some((is_from, is))) = (bake(before), bake(record))
            && was_from == is_from
        {
            grown.push(("its bake", is.saturating_sub(was)));
        }
        for (what, grown) in grown {
            if grown > lived {
                self.break_claim(format!(
                    "{what} grew by {grown:?} while a process lived {lived:?}"
                ));
            }
        }
    }

    /// Returns the true moment of a look at the clocks of a process of ours.
    fn true_moment(&self, at: &Now) -> Option<u64> {
        let proc = self.procs.get(usize::try_from(at.boot).ok()?.checked_sub(1)?)?;
        Some(proc.boot.1 + u64::try_from(at.mono.as_millis()).ok()?)
    }

    /// A kill loses no more bake than was not written yet.
    pub(super) fn check_loss(&mut self, core: &Core) {
        let Some(Place::Baking { step, baked, .. }) = core.record().map(|r| &r.place) else {
            return;
        };
        let Some(kept) = &self.kept.record else { return };
        let Place::Baking { step: kept_step, baked: kept_baked, .. } = kept.place else { return };
        let lost = baked.saturating_sub(kept_baked).as_secs_f64();
        if *step == kept_step
            && self.weather.store == 0
            && self.store_fault.is_none()
            && lost > 21.0
        {
            self.break_claim(format!("a kill lost {lost} s of bake"));
        }
    }
}
